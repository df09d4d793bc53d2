"""TOML to typed structs, reporting every problem and not only the first."""

from __future__ import annotations

import difflib
import re
import tomllib
import types
import typing
from collections.abc import Iterator
from typing import Any, TypeVar

import msgspec

from hashwerk.config.problems import Problem
from hashwerk.errors import ConfigError

T = TypeVar("T", bound=msgspec.Struct)

_TABLE = re.compile(r"^\s*\[{1,2}\s*([^\]]+?)\s*\]{1,2}\s*(?:#.*)?$")
_KEY = re.compile(r"^\s*([A-Za-z0-9_\-.\"']+)\s*=")
_AT_LINE = re.compile(r"\(at line (\d+), column \d+\)")


def line_numbers(text: str) -> dict[str, int]:
    """Return the line on which each setting and table stands, by its dotted path; ``a[0].b`` for ``b`` in the first ``[[a]]``.

    ``tomllib`` keeps no positions. This reads the lines of an already valid document; a key that it overlooks (inside an
    inline table, say) is reported with the line of its table.
    """
    lines: dict[str, int] = {}
    counts: dict[str, int] = {}  # of the tables of each array so far
    table = ""
    for number, line in enumerate(text.splitlines(), start=1):
        if match := _TABLE.match(line):
            *above, name = _plain(match[1]).split(".")
            table = ""
            for part in above:
                table = f"{table}.{part}" if table else part
                if table in counts:
                    table = f"{table}[{counts[table] - 1}]"
            table = f"{table}.{name}" if table else name
            lines.setdefault(table, number)
            if line.lstrip().startswith("[["):
                counts[table] = counts.get(table, 0) + 1
                table = f"{table}[{counts[table] - 1}]"
                lines.setdefault(table, number)
        elif match := _KEY.match(line):
            key = _plain(match[1])
            lines.setdefault(f"{table}.{key}" if table else key, number)
    return lines


def _plain(key: str) -> str:
    return ".".join(part.strip().strip("\"'") for part in key.split("."))


def parse_toml(text: str) -> tuple[dict[str, Any], list[Problem]]:
    """Return the document and, when it is not TOML, the one problem that says where."""
    try:
        return tomllib.loads(text), []
    except tomllib.TOMLDecodeError as error:
        message = str(error)
        match = _AT_LINE.search(message)
        line = int(match[1]) if match else None
        return {}, [Problem("", _AT_LINE.sub("", message).strip(), line, "the file is not valid TOML here")]


def decode_struct(
    kind: type[T], values: dict[str, Any], lines: dict[str, int], path: str = ""
) -> tuple[T | None, list[Problem]]:
    """Return a struct of ``kind`` made from ``values``, or None, and every problem found on the way."""
    problems: list[Problem] = []
    known = {field.encode_name: field for field in msgspec.structs.fields(kind)}
    decoded: dict[str, Any] = {}
    for key, value in values.items():
        here = f"{path}.{key}" if path else key
        line = line_of(here, lines)
        if key == kind.__struct_config__.tag_field:
            continue
        if key not in known:
            problems.append(Problem(here, "unknown setting", line, _suggest(key, known)))
            continue
        field = known[key]
        element = _element_type(field.type)
        if element is not None and isinstance(value, list):
            items = [_decode(element, one, lines, f"{here}[{n}]", field) for n, one in enumerate(value)]
            decoded[field.name] = tuple(item for item, _ in items)
            found = [problem for _, of_one in items for problem in of_one]
            problems.extend(found or _decode(field.type, decoded[field.name], lines, here, field)[1])
            continue
        decoded[field.name], found = _decode(field.type, value, lines, here, field)
        problems.extend(found)
    for name, field in known.items():
        if field.required and name not in values:
            here = f"{path}.{name}" if path else name
            problems.append(Problem(here, "is required", line_of(here, lines), describe(field)))
    if problems:
        return None, problems
    try:
        return kind(**decoded), []
    except (ValueError, TypeError, ConfigError) as error:  # a struct's own __post_init__
        return None, [Problem(path, str(error), line_of(path, lines))]


def _decode(
    kind: Any, value: Any, lines: dict[str, int], here: str, field: msgspec.structs.FieldInfo
) -> tuple[Any, list[Problem]]:
    """Return one value of a setting, with every problem of it where it is a table."""
    nested = _struct_type(kind, value)
    if nested is not None and isinstance(value, dict):
        return decode_struct(nested, value, lines, here)
    try:
        return msgspec.convert(value, kind), []
    except msgspec.ValidationError as error:
        choices = list(_choices(kind))
        if isinstance(value, str) and choices:
            near = difflib.get_close_matches(value, choices, n=1, cutoff=0.4)
            text = f"{value!r} is none of {', '.join(choices)}" + (
                f"; did you mean {near[0]!r}?" if near else ""
            )
            return None, [Problem(here, text, line_of(here, lines), describe(field))]
        return None, [Problem(here, _readable(str(error)), line_of(here, lines), describe(field))]


def describe(field: msgspec.structs.FieldInfo) -> str | None:
    """Return the documentation of a setting, from its ``Meta(description=…)``."""
    for candidate in typing.get_args(field.type):
        if isinstance(candidate, msgspec.Meta) and candidate.description:
            return candidate.description
    return None


def _struct_type(kind: Any, value: Any) -> type[msgspec.Struct] | None:
    """Return the struct a table is decoded to; among several the one that the table's tag names, None if it names none."""
    found = list(_structs(kind))
    tag = found[0].__struct_config__.tag_field if found else None
    if tag is not None:
        named = value.get(tag) if isinstance(value, dict) else None
        found = [one for one in found if one.__struct_config__.tag == named]
    return found[0] if found else None


def _structs(kind: Any) -> Iterator[type[msgspec.Struct]]:
    if typing.get_origin(kind) is typing.Annotated:
        yield from _structs(typing.get_args(kind)[0])
    elif typing.get_origin(kind) in (typing.Union, types.UnionType):
        for part in typing.get_args(kind):
            yield from _structs(part)
    elif isinstance(kind, type) and issubclass(kind, msgspec.Struct):
        yield kind


def _choices(kind: Any) -> Iterator[str]:
    """Return the words a setting can be, where it is one of several."""
    origin = typing.get_origin(kind)
    if origin is typing.Annotated:
        yield from _choices(typing.get_args(kind)[0])
    elif origin in (typing.Union, types.UnionType):
        for part in typing.get_args(kind):
            yield from _choices(part)
    elif origin is typing.Literal:
        yield from (choice for choice in typing.get_args(kind) if isinstance(choice, str))


def _element_type(kind: Any) -> Any:
    """Return what a setting holds several tables of, None if it does not."""
    if typing.get_origin(kind) is typing.Annotated:
        return _element_type(typing.get_args(kind)[0])
    if typing.get_origin(kind) is not tuple:
        return None
    element = typing.get_args(kind)[0]
    return element if next(_structs(element), None) is not None else None


def line_of(path: str, lines: dict[str, int]) -> int | None:
    """Return the line of a setting, or of the nearest table around it that has one."""
    while path:
        if path in lines:
            return lines[path]
        path = path[: max(path.rfind("."), path.rfind("["), 0)]
    return None


def _suggest(key: str, known: dict[str, Any]) -> str:
    close = difflib.get_close_matches(key, known, n=1)
    return f"did you mean {close[0]}?" if close else "known here: " + ", ".join(sorted(known))


def _readable(message: str) -> str:
    message = re.sub(r" - at `\$(.*?)`", lambda match: f" at {match[1]}" if match[1] else "", message)
    for name, plain in (
        ("`str`", "text"),
        ("`int`", "a whole number"),
        ("`float`", "a number"),
        ("`bool`", "true or false"),
        ("`array`", "a list"),
        ("`object`", "a table"),
        ("`null`", "nothing"),
    ):
        message = message.replace(name, plain)
    return message[:1].lower() + message[1:]
