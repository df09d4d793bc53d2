"""The cgminer API's wire format: requests in JSON or text, joined commands, replies that end with NUL.

After cgminer's API-README: ``{"command":"summary","parameter":"…"}`` or ``summary|…``; several commands joined by ``+``
are answered one by one, in JSON as a list under each command's name, in text after ``CMD=name|``. One request a
connection, then the machine closes it.
"""

from __future__ import annotations

import enum
import json
from collections.abc import Callable, Mapping, Sequence
from typing import Final

import msgspec

#: cgminer reads a request with one buffer of this size.
MAX_REQUEST_BYTES: Final = 8192

_MAX_DIGITS: Final = 12

Scalar = str | int | float | bool
Row = Mapping[str, Scalar]


class Code(enum.IntEnum):
    """cgminer's message codes that are in use here."""

    POOL = 7
    DEVS = 9
    SUMMARY = 11
    INVALID_COMMAND = 14
    MISSING_ID = 15
    VERSION = 22
    INVALID_JSON = 23
    SWITCHED_POOL = 27
    CONFIG = 33
    ACCESS_DENIED = 45
    DEVDETAILS = 69
    STATS = 70
    MISSING_PARAMETER = 71
    CHECK = 72
    COIN = 78
    ASC_INFO = 118
    ASC_OK = 119
    ASC_ERROR = 120


class Request(msgspec.Struct, frozen=True):
    """What a client wants; more than one command when they were joined."""

    commands: tuple[str, ...]
    parameter: str
    is_json: bool


class Answer(msgspec.Struct, frozen=True):
    """The answer to one command: a status, and rows of a section."""

    status: str  # S, I, W, E or F
    code: int
    message: str
    section: str | None = None
    rows: Sequence[Row] = ()
    more: Mapping[str, Sequence[Mapping[str, object]]] = {}  # further sections, in JSON only


class BadRequest(msgspec.Struct, frozen=True):
    """Bytes that are no request."""

    is_json: bool


class Silence(msgspec.Struct, frozen=True):
    """The connection is closed without a word, as some firmware does."""


class Bare(msgspec.Struct, frozen=True):
    """An answer outside cgminer's frame, as its own bytes."""

    body: bytes


def parse_request(data: bytes) -> Request | BadRequest | None:
    """Return the request in what has come so far, or None while its JSON is not complete."""
    text = data.decode("utf-8", "replace").rstrip("\0\r\n\t ")
    if not text.lstrip().startswith("{"):
        if not text:
            return None
        command, _, parameter = text.partition("|")
        return Request(tuple(command.split("+")), parameter, is_json=False)
    try:
        value = json.loads(text)
    except ValueError:
        return None if text.count("{") > text.count("}") else BadRequest(is_json=True)
    named = value.get("command") if isinstance(value, dict) else None
    if not isinstance(named, str) or not named:
        return BadRequest(is_json=True)
    given = value.get("parameter")
    return Request(tuple(named.split("+")), "" if given is None else str(given), is_json=True)


def is_number(text: str) -> bool:
    """Return whether a text is a number that a controller takes: up to twelve plain digits."""
    return text.isascii() and text.isdigit() and len(text) <= _MAX_DIGITS


def invalid_command() -> Answer:
    """Return the answer to a command that the firmware does not know."""
    return Answer("E", Code.INVALID_COMMAND, "Invalid command")


def encode_reply(
    request: Request | BadRequest,
    answer: Callable[[str, str], Answer | Silence | Bare],
    *,
    when: int,
    description: str,
) -> bytes:
    """Return the bytes of a reply; nothing at all where the firmware is silent.

    Args:
        request: What was asked.
        answer: Gives the answer to a command with its parameter.
        when: The machine's own clock.
        description: The program's name, as in every status.
    """
    if isinstance(request, BadRequest):
        error = Answer("E", Code.INVALID_JSON, "Invalid JSON")
        return _encode_json(error, when, description) + b"\0"
    answers = []
    for command in request.commands:
        found = answer(command, request.parameter)
        if isinstance(found, Silence):
            return b""
        if isinstance(found, Bare):
            return found.body
        answers.append((command, found))
    if not request.is_json:
        joined = len(answers) > 1
        text = "".join(
            (f"CMD={command}|" if joined else "") + _text(found, when, description)
            for command, found in answers
        )
        return text.encode() + b"\0"
    if len(answers) == 1:
        return _encode_json(answers[0][1], when, description) + b"\0"
    body = {command: [_frame(found, when, description)] for command, found in answers}
    return msgspec.json.encode({**body, "id": 1}) + b"\0"


def _status(answer: Answer, when: int, description: str) -> dict[str, Scalar]:
    return {
        "STATUS": answer.status,
        "When": when,
        "Code": int(answer.code),
        "Msg": answer.message,
        "Description": description,
    }


def _frame(answer: Answer, when: int, description: str) -> dict[str, object]:
    framed: dict[str, object] = {"STATUS": [_status(answer, when, description)]}
    if answer.section is not None:
        framed[answer.section] = answer.rows
    framed |= answer.more
    framed["id"] = 1
    return framed


def _encode_json(answer: Answer, when: int, description: str) -> bytes:
    return msgspec.json.encode(_frame(answer, when, description))


def _text(answer: Answer, when: int, description: str) -> str:
    parts = [_fields(_status(answer, when, description))]
    for row in answer.rows:
        fields = _fields(row)
        # Rows that begin with their own number (POOL=0, STATS=1, ASC=0) carry no section name.
        numbered = next(iter(row), "") in {"POOL", "STATS", "ASC", "DEVDETAILS"}
        parts.append(fields if numbered else f"{answer.section},{fields}")
    return "".join(f"{part}|" for part in parts)


def _fields(row: Row) -> str:
    return ",".join(f"{name}={_plain(value)}" for name, value in row.items())


def _plain(value: Scalar) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    return f"{value:.2f}" if isinstance(value, float) else str(value)
