"""A Stratum server that does exactly what a test says, on a real socket of loopback."""

from __future__ import annotations

import asyncio
import json
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import pytest

DEADLINE_S = 10.0
VERSION_MASK = 0x1FFFE000


class Peer:
    """The server's end of one connection."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self.writer = writer
        self.subscribed_with: list[Any] = []

    async def receive(self) -> dict[str, Any] | None:
        """Return the client's next message, None at the end of the stream."""
        async with asyncio.timeout(DEADLINE_S):
            try:
                line = await self._reader.readline()
            except ConnectionResetError:
                return None
        return json.loads(line) if line else None

    async def receive_method(self, method: str) -> dict[str, Any]:
        """Answer everything of the handshake until a message of this method comes; return that."""
        while (message := await self.receive()) is not None:
            if message["method"] == method:
                return message
            self.answer_handshake(message)
        raise AssertionError(f"the client left before it sent {method}")

    def answer_handshake(
        self, message: dict[str, Any], *, extranonce1: str = "0badc0de", token: str = ""
    ) -> None:
        """Answer configure, subscribe and authorize as a good server does."""
        match message["method"]:
            case "mining.configure":
                result: Any = {"version-rolling": True, "version-rolling.mask": f"{VERSION_MASK:08x}"}
            case "mining.subscribe":
                self.subscribed_with = message["params"]
                result = [[["mining.notify", token or "t1"]], extranonce1, 8]
            case _:
                result = True
        self.send({"id": message["id"], "result": result, "error": None})

    async def greet(
        self, *, job_id: str = "1", difficulty: float = 2**-30, extranonce1: str = "0badc0de", token: str = ""
    ) -> None:
        """Take the client through the whole handshake, then give it a job."""
        while True:
            message = await self.receive()
            assert message is not None, "the client left during the handshake"
            self.answer_handshake(message, extranonce1=extranonce1, token=token)
            if message["method"] == "mining.authorize":
                break
        self.set_difficulty(difficulty)
        self.notify(job_id)

    def set_difficulty(self, difficulty: float) -> None:
        """Announce a difficulty."""
        self.send({"id": None, "method": "mining.set_difficulty", "params": [difficulty]})

    def notify(self, job_id: str, *, prev_hash: str = "11" * 32, clean: bool = True) -> None:
        """Send a job."""
        params = [
            job_id,
            prev_hash,
            "01" * 40,
            "02" * 40,
            ["33" * 32],
            "20000000",
            "1d00ffff",
            "65000000",
            clean,
        ]
        self.send({"id": None, "method": "mining.notify", "params": params})

    def send(self, message: dict[str, Any]) -> None:
        """Send one message."""
        self.send_raw(json.dumps(message).encode() + b"\n")

    def send_raw(self, data: bytes) -> None:
        """Send bytes as they are."""
        self.writer.write(data)

    def close(self) -> None:
        """Close the connection."""
        self.writer.close()

    def abort(self) -> None:
        """Cut the connection."""
        self.writer.transport.abort()


class ScriptedServer:
    """Listens; each connection waits in a queue until the test takes it."""

    def __init__(self, tls: ssl.SSLContext | None = None) -> None:
        self._tls = tls
        self.peers: asyncio.Queue[Peer] = asyncio.Queue()
        self.port = 0
        self._accepted: list[Peer] = []
        self._server: asyncio.Server | None = None

    async def listen(self) -> None:
        """Start to listen; the second time on the same port as the first."""
        self._server = await asyncio.start_server(self._accept, "127.0.0.1", self.port, ssl=self._tls)
        self.port = self._server.sockets[0].getsockname()[1]

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        peer = Peer(reader, writer)
        self._accepted.append(peer)
        self.peers.put_nowait(peer)

    @property
    def url(self) -> str:
        """The server's address."""
        return f"stratum+tcp://127.0.0.1:{self.port}"

    async def peer(self) -> Peer:
        """Return the next connection."""
        async with asyncio.timeout(DEADLINE_S):
            return await self.peers.get()

    async def close(self) -> None:
        """Stop listening and cut every connection."""
        if self._server is not None:
            self._server.close()
            for peer in self._accepted:
                peer.abort()
            await self._server.wait_closed()
            self._server = None


NewServer = Callable[..., Awaitable[ScriptedServer]]


@pytest.fixture
async def new_server() -> AsyncIterator[NewServer]:
    """Make scripted servers; all are closed at the end."""
    servers: list[ScriptedServer] = []

    async def make(tls: ssl.SSLContext | None = None) -> ScriptedServer:
        server = ScriptedServer(tls)
        await server.listen()
        servers.append(server)
        return server

    yield make
    for server in servers:
        await server.close()
