"""Just enough HTTP/1.1 for a machine's web server and for the control port: small requests, one a connection.

Resource handling:
    A request of more than 64 KiB, or one that is not complete within ten seconds, ends its connection.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Final, cast
from urllib.parse import parse_qsl, urlsplit

import msgspec

MAX_REQUEST_BYTES: Final = 65_536
REQUEST_TIMEOUT_S: Final = 10.0
_REASONS: Final = {
    200: "OK",
    204: "No Content",
    302: "Found",
    400: "Bad Request",
    401: "Unauthorized",
    403: "Forbidden",
    404: "Not Found",
    405: "Method Not Allowed",
    409: "Conflict",
    415: "Unsupported Media Type",
    500: "Internal Server Error",
    503: "Service Unavailable",
}


class HttpRequest(msgspec.Struct, frozen=True):
    """A request as it came."""

    method: str
    path: str
    query: dict[str, str]
    headers: dict[str, str]  # names in lower case
    body: bytes

    def form(self) -> dict[str, str]:
        """Return the fields of an urlencoded body."""
        return dict(parse_qsl(self.body.decode("utf-8", "replace"), keep_blank_values=True))


class HttpResponse(msgspec.Struct, frozen=True):
    """A response to be sent."""

    status: int = 200
    body: bytes = b""
    content_type: str = "application/json"
    headers: tuple[tuple[str, str], ...] = ()

    def encode(self) -> bytes:
        """Return the bytes on the wire; the connection is closed after them."""
        lines = [
            f"HTTP/1.1 {self.status} {_REASONS.get(self.status, 'Status')}",
            f"Content-Type: {self.content_type}",
            f"Content-Length: {len(self.body)}",
            "Connection: close",
            *(f"{name}: {value}" for name, value in self.headers),
        ]
        return "\r\n".join(lines).encode("latin-1") + b"\r\n\r\n" + self.body


def json_response(value: object, status: int = 200) -> HttpResponse:
    """Return a response with a value as JSON."""
    return HttpResponse(status, msgspec.json.encode(value))


def text_response(text: str, status: int = 200, content_type: str = "text/html") -> HttpResponse:
    """Return a response with a text."""
    return HttpResponse(status, text.encode(), content_type)


NOT_FOUND: Final = HttpResponse(404, b"Not Found", "text/plain")
BAD_REQUEST: Final = HttpResponse(400, b"Bad Request", "text/plain")


def parse_http(data: bytes) -> HttpRequest | HttpResponse | None:
    """Return the request in what has come so far, a response that refuses it, or None while it is not complete."""
    head, separator, body = data.partition(b"\r\n\r\n")
    if not separator:
        return None if len(data) <= MAX_REQUEST_BYTES else BAD_REQUEST
    lines = head.decode("latin-1").split("\r\n")
    first = lines[0].split(" ")
    if len(first) != 3 or not first[2].startswith("HTTP/"):
        return BAD_REQUEST
    headers = {}
    for line in lines[1:]:
        name, _, value = line.partition(":")
        headers[name.strip().lower()] = value.strip()
    length = headers.get("content-length", "0")
    if not (length.isascii() and length.isdigit()) or len(length) > 6 or int(length) > MAX_REQUEST_BYTES:
        return BAD_REQUEST
    if len(body) < int(length):
        return None
    target = urlsplit(first[1])
    query = dict(parse_qsl(target.query, keep_blank_values=True))
    return HttpRequest(first[0], target.path, query, headers, body[: int(length)])


class HttpProtocol(asyncio.Protocol):
    """One connection: one request, one response."""

    __slots__ = ("_data", "_respond", "_timer", "transport")

    def __init__(self, respond: Callable[[HttpRequest, HttpProtocol], None]) -> None:
        """Prepare; ``respond`` is given the request and answers now or later with `send`."""
        self._respond = respond
        self._data = b""
        self._timer: asyncio.TimerHandle | None = None
        self.transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Begin to wait for a request."""
        self.transport = cast("asyncio.Transport", transport)
        self._timer = asyncio.get_running_loop().call_later(REQUEST_TIMEOUT_S, self.transport.abort)

    def data_received(self, data: bytes) -> None:
        """Take bytes until the request is complete."""
        self._data += data
        parsed = parse_http(self._data)
        if parsed is None:
            return
        self._stop_timer()
        if isinstance(parsed, HttpResponse):
            self.send(parsed)
        else:
            self._respond(parsed, self)

    def connection_lost(self, exc: Exception | None) -> None:
        """Forget the connection."""
        self._stop_timer()
        self.transport = None

    def send(self, response: HttpResponse | bytes) -> None:
        """Send the response and close."""
        if self.transport is not None:
            self.transport.write(response if isinstance(response, bytes) else response.encode())
            self.transport.close()

    def _stop_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
