"""Replies of the cgminer API, without I/O: JSON and text, single and joined, whole or damaged.

JSON is ``{"STATUS":[{…}],"VERSION":[{…}],"id":1}``, text ``STATUS=S,When=…,Msg=…|VERSION,API=3.7,…|``; both often end
with a NUL. A joined request ``version+estats`` is answered with ``{"version":[{…}],"estats":[{…}],"id":1}``.
"""

from __future__ import annotations

import codecs
import math
import re
from collections.abc import Iterator, Mapping
from typing import Final

import msgspec

from hashwerk.devices.json_repair import MAX_REPAIRED_BYTES, load_object
from hashwerk.devices.words import line_of
from hashwerk.errors import DecodeError

#: A machine whose clock was never set counts from boot: a time below this (2001) is none.
CLOCK_IS_SET_FROM_S: Final = 1_000_000_000
#: And a time after this (2100) is none either.
_CLOCK_IS_SET_UNTIL_S: Final = 4_102_444_800
#: Larger ones are no counters of a machine, and neither a database nor a page could hold them.
_MAX_INTEGER: Final = 1 << 53

_NUMERIC: Final = frozenset({int, float, str})  # and so no bool
_SECTION_NAME: Final = re.compile(r"[A-Z]+")

Section = Mapping[str, object]


class Status(msgspec.Struct, frozen=True, kw_only=True):
    """What the machine says of the command."""

    letter: str  # S success, I information, W warning, E error, F fatal
    when_s: float | None = None
    code: int | None = None
    message: str = ""

    @property
    def is_ok(self) -> bool:
        """Whether the command was carried out as far as the machine tells: information is success too."""
        return self.letter in ("S", "I")

    @property
    def clock_s(self) -> float | None:
        """The machine's clock in Unix seconds, None where it counts from boot."""
        if self.when_s is None or not CLOCK_IS_SET_FROM_S <= self.when_s < _CLOCK_IS_SET_UNTIL_S:
            return None
        return self.when_s


class Reply(msgspec.Struct, frozen=True, kw_only=True):
    """One reply: the status and the sections; of a joined request, one reply for each command."""

    status: Status | None = None
    sections: Mapping[str, tuple[Section, ...]] = {}
    joined: Mapping[str, Reply] = {}

    def first(self, section: str) -> Section:
        """Return the first entry of a section, empty if it has none."""
        entries = self.sections.get(section, ())
        return entries[0] if entries else {}


def decode_reply(data: bytes) -> Reply:
    """Return what a machine answered.

    Raises:
        DecodeError: If it is neither JSON nor text of the cgminer API, even after repair.
    """
    if data.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        data = data.decode("utf-16", "replace").encode("utf-8", "replace")
    data = data.removeprefix(codecs.BOM_UTF8).strip(b"\x00 \t\r\n")
    if data[:1] in (b"{", b","):
        return _reply_from_object(load_object(data))
    if len(data) > MAX_REPAIRED_BYTES:
        raise DecodeError(f"a text of {len(data)} bytes")
    return _reply_from_text(data.decode("utf-8", "replace"))


def number_of(value: object) -> float | None:
    """Return a finite number, given as such or as text; None for everything else."""
    if type(value) not in _NUMERIC:
        return None
    try:
        number = float(value)  # type: ignore[arg-type]
    except (ValueError, OverflowError):
        return None
    return number if math.isfinite(number) else None


def integer_of(value: object) -> int | None:
    """Return a whole number, None where there is none, or one that no machine counts to."""
    number = number_of(value)
    return None if number is None or abs(number) > _MAX_INTEGER else int(number)


def text_of(value: object) -> str | None:
    """Return a non-empty text as one short line without surrounding blanks, None for everything else."""
    return line_of(value.strip()) or None if isinstance(value, str) else None


def _reply_from_object(fields: dict[str, object]) -> Reply:
    status, sections, joined = None, {}, {}
    for name, value in fields.items():
        entries = _entries(value)
        if name == "STATUS":
            status = _status(entries[0] if entries else {"STATUS": value})
        elif len(entries) == 1 and isinstance(entries[0].get("STATUS"), list):
            joined[name] = _reply_from_object(dict(entries[0]))
        elif entries:
            sections[name] = entries
    if status is None and not sections and not joined:
        raise DecodeError("a reply without a status and without content")
    return Reply(status=status, sections=sections, joined=joined)


def _entries(value: object) -> tuple[Section, ...]:
    if isinstance(value, dict):
        return (value,)
    if isinstance(value, list):
        return tuple(entry for entry in value if isinstance(entry, dict))
    return ()


def _status(entry: Section) -> Status:
    return Status(
        letter=(text_of(entry.get("STATUS")) or "?")[:1],
        when_s=number_of(entry.get("When")),
        code=integer_of(entry.get("Code")),
        message=text_of(entry.get("Msg")) or "",
    )


def _reply_from_text(text: str) -> Reply:
    status: Status | None = None
    sections: dict[str, list[Section]] = {}
    for name, entry in _text_sections(text):
        if name == "STATUS" and status is None:
            status = _status(entry)
        else:
            sections.setdefault(name, []).append(entry)
    if status is None:
        raise DecodeError("neither JSON nor a text with a status")
    return Reply(status=status, sections={name: tuple(entries) for name, entries in sections.items()})


def _text_sections(text: str) -> Iterator[tuple[str, Section]]:
    for section in _unbroken_sections(text):
        tokens = list(_split_outside_brackets(section))
        name, _, number = tokens[0].partition("=")
        entry: dict[str, object] = {name.strip(): number}
        for token in tokens[1:]:
            key, is_pair, value = token.partition("=")
            if is_pair:
                entry[key.strip()] = value
        yield name.strip(), entry


def _unbroken_sections(text: str) -> Iterator[str]:
    """Yield what stands between bars; a bar within a message does not end a section."""
    section = ""
    for piece in text.split("|"):
        head = piece.partition(",")[0].strip()
        if section and piece.strip() and not ("=" in head or _SECTION_NAME.fullmatch(head)):
            section += "|" + piece
            continue
        if section:
            yield section
        section = piece.strip()
    if section:
        yield section


def _split_outside_brackets(section: str) -> Iterator[str]:
    """Yield what stands between commas; those within brackets or after a backslash separate nothing."""
    pending: list[str] = []
    depth = 0
    for piece in section.split(","):
        depth += piece.count("[") - piece.count("]")
        pending.append(piece)
        if depth <= 0 and not piece.endswith("\\"):
            yield ",".join(pending)
            pending, depth = [], 0
    if pending:
        yield ",".join(pending)
