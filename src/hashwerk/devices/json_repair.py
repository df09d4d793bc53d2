"""JSON as machines really send it: what a strict parser refuses and a reader still understands.

Each repair is for a defect that was seen in the field; none runs on a reply that parses as it is. All are linear in
the length of the reply, so the worst of machines costs milliseconds.
"""

from __future__ import annotations

import re
from typing import Final

import msgspec

from hashwerk.errors import DecodeError

_CONTROL: Final = re.compile(r"[\x00-\x1f]+")
_NOT_A_NUMBER: Final = re.compile(r"([:,\[]\s*)[+-]?(?:nan|inf(?:inity)?)(?=\s*[,}\]])", re.IGNORECASE)
_TRAILING_COMMA: Final = re.compile(r",(?=\s*[}\]])")
_LEADING_COMMA: Final = re.compile(r"([{\[])\s*,")
_MISSING_COMMA: Final = re.compile(r"([}\]])\s*(?=[{\[\"])")
_MISSING_COMMA_AFTER_STRING: Final = re.compile(r'"\s{0,8}(?="[^"\\:,{}\[\]]{1,64}":)')
# A string, an escape outside a string, a bracket, a comma, or the quote of a string that never ends.
_TOKEN: Final = re.compile(r'"(?:[^"\\]|\\.)*+"|\\.|[{}\[\],]|"', re.DOTALL)
_CLOSER: Final = {"{": "}", "[": "]"}
#: cgminer's own replies nest four deep.
_MAX_DEPTH: Final = 32
#: Twice the longest reply known: to repair half a megabyte of commas would stop the loop for a quarter of a second.
MAX_REPAIRED_BYTES: Final = 128 * 1024


def load_object(data: bytes) -> dict[str, object]:
    """Return the JSON object in ``data``, repaired where needed.

    Raises:
        DecodeError: If there is none.
    """
    try:
        return _object(msgspec.json.decode(data))
    except (msgspec.DecodeError, RecursionError, UnicodeDecodeError):
        pass
    if len(data) > MAX_REPAIRED_BYTES:
        raise DecodeError(f"not JSON, and {len(data)} bytes are too many to repair")
    problem: Exception | None = None
    for text in repairs(data.decode("utf-8", "replace")):
        try:
            return _object(msgspec.json.decode(text))
        except (msgspec.DecodeError, RecursionError, UnicodeError) as error:
            problem = error
    raise DecodeError(f"not JSON, nor anything near it: {problem}")


def repairs(text: str) -> tuple[str, ...]:
    """Return ``text`` without the known defects: newlines within strings, bare inf and nan, stray and missing commas, a
    lost opening brace, a truncated tail. Where the tail allows two readings, the fuller one comes first."""
    text = _CONTROL.sub(" ", text).strip()
    if text.startswith(","):
        text = "{" + text[1:]
    text = _NOT_A_NUMBER.sub(r"\1null", text)
    text = _LEADING_COMMA.sub(r"\1", text)
    text = _MISSING_COMMA.sub(r"\1,", text)
    text = _MISSING_COMMA_AFTER_STRING.sub('",', text)
    text = _TRAILING_COMMA.sub("", text)
    return _close(text)


def _close(text: str) -> tuple[str, ...]:
    """Return the first value of ``text``, closed if it was truncated: within its last string, else before it."""
    open_brackets: list[str] = []
    whole, closers = 0, ""  # the text up to here, with these closers, is a value
    for token in _TOKEN.finditer(text):
        mark = token.group()
        if mark == '"':
            return (text + '"' + _closers(open_brackets), text[:whole] + closers)
        if mark in _CLOSER:
            open_brackets.append(_CLOSER[mark])
            whole = token.end()
        elif mark in ("}", "]"):
            if not open_brackets or open_brackets.pop() != mark:
                break
            whole = token.end()
        elif mark == "," and open_brackets:
            whole = token.start()
        else:
            continue
        closers = _closers(open_brackets)
        if not open_brackets or len(open_brackets) > _MAX_DEPTH:
            break
    return (text[:whole] + closers,)


def _closers(open_brackets: list[str]) -> str:
    return "".join(reversed(open_brackets))


def _object(value: object) -> dict[str, object]:
    if not isinstance(value, dict):
        raise DecodeError("not a JSON object")
    return value
