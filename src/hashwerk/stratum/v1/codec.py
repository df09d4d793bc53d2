"""The wire of Stratum V1: one JSON object a line, in JSON-RPC 1.0's shape.

Nothing here raises for what a peer sent: what cannot be read is a `ProtocolError` value with the text to
answer.
"""

from __future__ import annotations

import re
from enum import IntEnum
from typing import Any, Final

import msgspec

from hashwerk.work.share import Verdict

#: ckpool reads up to 64 KiB and DATUM 16 KiB before a client without a line end is dropped; no miner sends 1
#: KiB.
DEFAULT_MAX_LINE_BYTES: Final = 16_384
#: A line that `submits.scan_submits` may take for its own is shorter than this, so a limit must not be below
#: it.
MIN_MAX_LINE_BYTES: Final = 1_024

#: An id is echoed; nobody's has more characters.
MAX_ID_CHARS: Final = 128

#: What an id may be. JSON-RPC 1.0 says anything; miners send numbers, some strings, and null for a
#: notification.
RequestId = int | float | str | None


class ErrorCode(IntEnum):
    """The error codes of Stratum V1."""

    OTHER = 20
    JOB_NOT_FOUND = 21
    DUPLICATE_SHARE = 22
    LOW_DIFFICULTY = 23
    UNAUTHORIZED = 24
    NOT_SUBSCRIBED = 25


#: What a machine is told about a share. The texts are those miners print; the codes are those they count by.
VERDICT_ERRORS: Final[dict[Verdict, tuple[ErrorCode, str]]] = {
    Verdict.STALE: (ErrorCode.JOB_NOT_FOUND, "Stale share"),
    Verdict.UNKNOWN_JOB: (ErrorCode.JOB_NOT_FOUND, "Job not found"),
    Verdict.DUPLICATE: (ErrorCode.DUPLICATE_SHARE, "Duplicate share"),
    Verdict.LOW_DIFFICULTY: (ErrorCode.LOW_DIFFICULTY, "Low difficulty share"),
    Verdict.TIME_TOO_OLD: (ErrorCode.OTHER, "Time too old"),
    Verdict.TIME_TOO_NEW: (ErrorCode.OTHER, "Time too new"),
    Verdict.BAD_VERSION: (ErrorCode.OTHER, "Version bits outside the mask"),
    Verdict.UNAUTHORIZED: (ErrorCode.UNAUTHORIZED, "Unauthorized worker"),
    Verdict.NOT_SUBSCRIBED: (ErrorCode.NOT_SUBSCRIBED, "Not subscribed"),
    Verdict.MALFORMED: (ErrorCode.OTHER, "Malformed share"),
    Verdict.NOT_STORED: (ErrorCode.OTHER, "Share could not be stored, not credited"),
}


class Request(msgspec.Struct, frozen=True):
    """A request, or a notification when its id is None."""

    id: RequestId
    method: str
    params: list[Any]


class Reply(msgspec.Struct, frozen=True):
    """An answer to a request of ours."""

    id: RequestId
    result: Any
    error: Any
    reject_reason: str | None = None  # ckpool's own field


class ProtocolError(msgspec.Struct, frozen=True):
    """A line that says nothing we understand, and what to answer."""

    id: RequestId
    message: str


class _Line(msgspec.Struct):
    id: Any = None
    method: Any = None
    params: Any = None
    result: Any = None
    error: Any = None
    reject_reason: Any = msgspec.field(default=None, name="reject-reason")


_decoder: Final = msgspec.json.Decoder(_Line)
_encoder: Final = msgspec.json.Encoder()
# NiceHash and others put the number into the name: "mining.suggest_difficulty(1024)".
_CALL_FORM: Final = re.compile(r"(mining\.suggest_difficulty)\(\s*([0-9.eE+-]{1,32})\s*\)")


def decode_message(line: bytes) -> Request | Reply | ProtocolError:
    """Return what a line says; the line end is not part of it.

    Keys beyond JSON-RPC's are tolerated; missing params are an empty list.
    """
    try:
        message = _decoder.decode(line)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return ProtocolError(None, "Not a JSON object")
    if not _is_id(message.id):
        return ProtocolError(None, "Invalid id")
    if message.method is None:
        return _decode_reply(message)
    if not isinstance(message.method, str):
        return ProtocolError(message.id, "Invalid method")
    if message.params is not None and not isinstance(message.params, list):
        return ProtocolError(message.id, "Params must be a list")
    if call := _CALL_FORM.fullmatch(message.method):
        return Request(message.id, call[1], [_number(call[2])])
    return Request(message.id, message.method, message.params or [])


def _is_id(value: Any) -> bool:
    if isinstance(value, str):
        return len(value) <= MAX_ID_CHARS
    return value is None or (isinstance(value, int | float) and not isinstance(value, bool))


def _decode_reply(message: _Line) -> Reply | ProtocolError:
    if message.id is None and message.result is None and message.error is None:
        return ProtocolError(None, "Method missing")
    reason = message.reject_reason
    return Reply(message.id, message.result, message.error, reason if isinstance(reason, str) else None)


def _number(text: str) -> float | str:
    try:
        return float(text)
    except ValueError:
        return text


def encode_request(request_id: RequestId, method: str, params: list[Any]) -> bytes:
    """Return the line of a request."""
    return b'{"id":%b,"method":%b,"params":%b}\n' % (
        _encoder.encode(request_id), _encoder.encode(method), _encoder.encode(params)
    )  # fmt: skip


def encode_notification(method: str, params: list[Any]) -> bytes:
    """Return the line of a notification."""
    return encode_request(None, method, params)


def encode_reply(request_id: RequestId, result: Any) -> bytes:
    """Return the line that answers a request with a result."""
    return b'{"id":%b,"result":%b,"error":null}\n' % (_encoder.encode(request_id), _encoder.encode(result))


def encode_error(request_id: RequestId, code: int, message: str) -> bytes:
    """Return the line that answers a request with an error, ``[code, message, null]``."""
    return b'{"id":%b,"result":null,"error":[%d,%b,null]}\n' % (
        _encoder.encode(request_id), code, _encoder.encode(message)
    )  # fmt: skip


def encode_verdict(request_id: RequestId, verdict: Verdict) -> bytes:
    """Return the line that tells a machine what became of its share."""
    if verdict is Verdict.ACCEPTED:
        return encode_reply(request_id, True)
    code, message = VERDICT_ERRORS[verdict]
    return encode_error(request_id, code, message)


class LineTooLong(msgspec.Struct, frozen=True):
    """A peer sent more than a line may hold; what follows on this connection cannot be read."""

    limit_bytes: int


class LineBuffer:
    """Bytes in, whole lines out, without their LF or CRLF. Holds less than one line."""

    __slots__ = ("_held", "_overflowed", "max_line_bytes")

    def __init__(self, max_line_bytes: int = DEFAULT_MAX_LINE_BYTES, held: bytes = b"") -> None:
        """Begin, with the start of a line taken over from another buffer.

        Raises:
            ValueError: If the limit is below 1 KiB.
        """
        if max_line_bytes < MIN_MAX_LINE_BYTES:
            raise ValueError(f"max_line_bytes must be at least {MIN_MAX_LINE_BYTES}: {max_line_bytes}")
        self.max_line_bytes = max_line_bytes
        self._held = held
        self._overflowed = False

    @property
    def held(self) -> bytes:
        """The start of a line whose end has not come yet."""
        return self._held

    def take(self) -> bytes:
        """Return `held` and forget it."""
        held, self._held = self._held, b""
        return held

    def feed(self, data: bytes) -> list[bytes | LineTooLong]:
        """Return the lines completed by ``data``; after `LineTooLong`, which comes last, nothing more comes."""
        if self._overflowed:
            return []
        *complete, self._held = (self._held + data).split(b"\n")
        lines: list[bytes | LineTooLong] = []
        for line in complete:
            if len(line) > self.max_line_bytes:
                return [*lines, self._overflow()]
            lines.append(line.removesuffix(b"\r"))
        if len(self._held) > self.max_line_bytes:
            lines.append(self._overflow())
        return lines

    def _overflow(self) -> LineTooLong:
        self._held = b""
        self._overflowed = True
        return LineTooLong(self.max_line_bytes)
