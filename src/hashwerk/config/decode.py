"""TOML to typed structs, reporting every problem and not only the first."""

from __future__ import annotations

import difflib
import re
import tomllib
import types
import typing
from typing import Any, TypeVar

import msgspec

from hashwerk.config.problems import Problem

T = TypeVar("T", bound=msgspec.Struct)

_TABLE = re.compile(r"^\s*\[{1,2}\s*([^\]]+?)\s*\]{1,2}\s*(?:#.*)?$")
_KEY = re.compile(r"^\s*([A-Za-z0-9_\-.\"']+)\s*=")
_AT_LINE = re.compile(r"\(at line (\d+), column \d+\)")


def line_numbers(text: str) -> dict[str, int]:
    """Return the line on which each setting and table stands, by its dotted path.

    ``tomllib`` keeps no positions. This reads the lines of an already valid document; a key that it overlooks (inside an
    inline table, say) is reported with the line of its table.
    """
    lines: dict[str, int] = {}
    table = ""
    for number, line in enumerate(text.splitlines(), start=1):
        if match := _TABLE.match(line):
            table = _plain(match[1])
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
        line = _line_of(here, lines)
        if key not in known:
            problems.append(Problem(here, "unknown setting", line, _suggest(key, known)))
            continue
        field = known[key]
        nested = _struct_type(field.type)
        if nested is not None and isinstance(value, dict):
            item, found = decode_struct(nested, value, lines, here)
            problems.extend(found)
            decoded[field.name] = item
            continue
        try:
            decoded[field.name] = msgspec.convert(value, field.type)
        except msgspec.ValidationError as error:
            problems.append(Problem(here, _readable(str(error)), line, describe(field)))
    for name, field in known.items():
        if field.required and name not in values:
            here = f"{path}.{name}" if path else name
            problems.append(Problem(here, "is required", _line_of(here, lines), describe(field)))
    if problems:
        return None, problems
    try:
        return kind(**decoded), []
    except (ValueError, TypeError) as error:  # a struct's own __post_init__
        return None, [Problem(path, str(error), _line_of(path, lines))]


def describe(field: msgspec.structs.FieldInfo) -> str | None:
    """Return the documentation of a setting, from its ``Meta(description=…)``."""
    for candidate in typing.get_args(field.type):
        if isinstance(candidate, msgspec.Meta) and candidate.description:
            return candidate.description
    return None


def _struct_type(kind: Any) -> type[msgspec.Struct] | None:
    if typing.get_origin(kind) is typing.Annotated:
        return _struct_type(typing.get_args(kind)[0])
    if typing.get_origin(kind) in (typing.Union, types.UnionType):
        found = [_struct_type(part) for part in typing.get_args(kind)]
        return next((part for part in found if part is not None), None)
    if isinstance(kind, type) and issubclass(kind, msgspec.Struct):
        return kind
    return None


def _line_of(path: str, lines: dict[str, int]) -> int | None:
    while path:
        if path in lines:
            return lines[path]
        path = path.rpartition(".")[0]
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
