"""A machine with an HTTP API, from a script: paths and what they answer. What it was asked is kept in `asked`."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from typing import Any

_REASONS = {
    200: "OK",
    400: "Bad Request",
    401: "Unauthorized",
    404: "Not Found",
    500: "Internal Server Error",
}


@dataclass
class Page:
    """One answer. ``body`` is sent as JSON unless it is a string."""

    body: Any = None
    status: int = 200
    headers: dict[str, str] = field(default_factory=dict)

    def encode(self) -> bytes:
        """Return the bytes of the response."""
        is_text = isinstance(self.body, str)
        body = (self.body if is_text else json.dumps(self.body)).encode()
        kind = "text/html" if is_text else "application/json"
        head = {"Content-Type": kind, "Content-Length": str(len(body)), "Connection": "close", **self.headers}
        lines = [
            f"HTTP/1.1 {self.status} {_REASONS[self.status]}",
            *(f"{k}: {v}" for k, v in head.items()),
            "",
            "",
        ]
        return "\r\n".join(lines).encode() + body


@dataclass
class HttpMachine:
    """Answers by ``GET /path`` without the query; with ``digest_realm`` only to requests that authenticate."""

    pages: dict[str, Page]
    digest_realm: str | None = None
    asked: list[tuple[str, str]] = field(default_factory=list)
    cookies: list[str] = field(default_factory=list)

    async def handle(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Serve one request."""
        try:
            start = await reader.readexactly(1)
            if not start.isalpha():  # no method starts so: real servers see it at once too
                writer.write(Page("not HTTP", 400).encode())
                return
            head = (start + await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
            request, *lines = head.split("\r\n")
            headers = {k.strip().lower(): v.strip() for k, _, v in (line.partition(":") for line in lines)}
            body = (await reader.readexactly(int(headers.get("content-length", 0)))).decode()
            method, target, _ = request.split(" ")
            writer.write(self._page(f"{method} {target.partition('?')[0]}", body, headers).encode())
            await writer.drain()
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            writer.close()

    def _page(self, name: str, body: str, headers: dict[str, str]) -> Page:
        if self.digest_realm is not None and "authorization" not in headers:
            challenge = f'Digest realm="{self.digest_realm}", nonce="6f1d2a", qop="auth"'
            return Page("who is there?", 401, {"WWW-Authenticate": challenge})
        self.asked.append((name, body))
        self.cookies.append(headers.get("cookie", ""))
        return self.pages.get(name, Page("nothing here", 404))


@contextlib.asynccontextmanager
async def serving(machine: HttpMachine, host: str = "127.0.0.1", port: int = 0) -> AsyncIterator[int]:
    """Serve ``machine`` until left; yield the port."""
    server = await asyncio.start_server(machine.handle, host, port)
    try:
        yield server.sockets[0].getsockname()[1]
    finally:
        server.close()
        await server.wait_closed()
