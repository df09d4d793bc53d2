"""A small HTTP server that answers as feeds do: by path, with whatever a test wants to have gone wrong."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qs, urlsplit


@dataclass
class Asked:
    """One request."""

    path: str
    query: dict[str, str]
    headers: dict[str, str]


@dataclass
class Answer:
    """What is sent. ``body`` is JSON unless it is bytes."""

    body: Any = None
    status: int = 200


@dataclass
class FeedServer:
    """Answers every request by `handle`; what it was asked stands in `asked`."""

    handle: Callable[[Asked], Answer]
    asked: list[Asked] = field(default_factory=list)
    url: str = ""

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
            target = urlsplit(head[0].split(" ")[1])
            query = {name: values[0] for name, values in parse_qs(target.query).items()}
            headers = dict(line.lower().split(": ", 1) for line in head[1:] if ": " in line)
            values = {
                line.split(": ", 1)[0].lower(): line.split(": ", 1)[1] for line in head[1:] if ": " in line
            }
            asked = Asked(target.path, query, {name: values[name] for name in headers})
            self.asked.append(asked)
            answer = self.handle(asked)
            body = answer.body if isinstance(answer.body, bytes) else json.dumps(answer.body).encode()
            writer.write(
                f"HTTP/1.1 {answer.status} X\r\nContent-Type: application/json\r\n"
                f"Content-Length: {len(body)}\r\nConnection: close\r\n\r\n".encode()
                + body
            )
            await writer.drain()
        except (ConnectionError, asyncio.IncompleteReadError):
            pass
        finally:
            writer.close()


@contextlib.asynccontextmanager
async def serve_feed(handle: Callable[[Asked], Answer]) -> AsyncIterator[FeedServer]:
    """Run a server on a free port of loopback."""
    feed = FeedServer(handle)
    server = await asyncio.start_server(feed._serve, "127.0.0.1", 0)
    feed.url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    try:
        yield feed
    finally:
        server.close()
        await server.wait_closed()
