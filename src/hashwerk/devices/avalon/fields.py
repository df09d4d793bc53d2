"""The inner text of an Avalon's ``estats``: ``GHSspd[81072.68] PS[0 1214 1316 242 3189 1320 3504] …``."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Final

from hashwerk.devices.cgminer_reply import Reply, integer_of, number_of, text_of

# The name is bounded and possessive, so that no text, however hostile, costs more than linear time.
_FIELD: Final = re.compile(r"(\w{1,32}+)\[([^\[\]]*)\]")


class Fields:
    """What stands in brackets, by name. A field that is absent or not a number is None."""

    __slots__ = ("_by_name",)

    def __init__(self, text: str) -> None:
        self._by_name: dict[str, str] = dict(_FIELD.findall(text))

    def joined(self, text: str) -> Fields:
        """Return these fields and those of ``text``, which win."""
        joined = Fields(text)
        joined._by_name = self._by_name | joined._by_name
        return joined

    def __contains__(self, name: str) -> bool:
        return name in self._by_name

    def __bool__(self) -> bool:
        return bool(self._by_name)

    def text(self, name: str) -> str | None:
        """Return a field as it stands, None if it is absent or empty."""
        value = self._by_name.get(name)
        return None if value is None else text_of(value)

    def number(self, name: str) -> float | None:
        """Return a field that is one finite number."""
        text = self._by_name.get(name)
        return None if text is None else number_of(text)

    def integer(self, name: str) -> int | None:
        """Return a field that is one whole number."""
        text = self._by_name.get(name)
        return None if text is None else integer_of(text)

    def numbers(self, name: str) -> tuple[float | None, ...]:
        """Return a field that is a list of numbers between blanks, empty if it is absent."""
        text = self._by_name.get(name)
        return () if not text else tuple(map(number_of, text.split()))

    def first_number(self, names: Iterable[str]) -> float | None:
        """Return the first of these fields that is a number."""
        return next((number for name in names if (number := self.number(name)) is not None), None)


def fields_of(stats: Reply) -> Fields:
    """Return the fields of an ``estats`` or ``litestats`` reply, empty if it has none.

    They stand in one long text under ``MM ID0`` (A series, Nano) or ``MM ID0:Summary`` (Mini 3, Q).
    """
    for section in stats.sections.get("STATS", ()):
        for name, value in section.items():
            if name.startswith("MM ID0") and isinstance(value, str):
                return Fields(value)
    return Fields("")
