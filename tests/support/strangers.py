"""Strangers who say what they like to a mine, and a look at what they leave behind."""

from __future__ import annotations

import asyncio
import contextlib
import json
import sys
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import psutil

from support.machine import STRATUM, Machine
from support.mine import RunningMine

#: Strangers have two seconds to say who they are, and three to take what they are sent.
SITE = STRATUM + "unread_timeout_s = 3\n[stratum.limits]\nauthorize_timeout_s = 2\n"

DEADLINE_S = 10.0
MIN_SHARES = 100  # of which the latencies are taken
MAX_LOG_BYTES = 4_000
MAX_GROWTH_BYTES = 48 << 20
MAX_P99_S = 0.25  # generous: both cores may be busy with other things


def quantile(values: list[float], part: float) -> float:
    return sorted(values)[int(part * (len(values) - 1))]


@dataclass(slots=True)
class HostileMine:
    """A mine with one good machine, whose shares are timed while strangers do what they do."""

    mine: RunningMine
    good: Machine
    serve: psutil.Process
    report: list[str] = field(default_factory=list)

    @property
    def server(self) -> tuple[str, int]:
        return self.mine.stratum

    @asynccontextmanager
    async def unharmed(self, story: str) -> AsyncIterator[None]:
        """Hold that nobody else is harmed meanwhile, and that afterwards nothing is left.

        The good machine's shares are all accepted, in time; the log hardly grows; files, sessions and memory return.
        """
        files, memory = self.serve.num_fds(), self.serve.memory_info().rss
        logged = self.mine.log.stat().st_size
        self.good.accepted.clear()
        working = asyncio.create_task(self._work())
        try:
            yield
            await self.good.until(lambda: len(self.good.accepted) >= MIN_SHARES)
        finally:
            working.cancel()
            await asyncio.gather(working, return_exceptions=True)
        if not working.cancelled():
            working.result()  # raises what went wrong
        times = list(self.good.accepted.values())
        ended_at = time.time()
        await self.mine.until(lambda s: s["at"] > ended_at and s["sessions"] == 1)
        grown = self.serve.memory_info().rss - memory
        written = self.mine.log.stat().st_size - logged
        sys.stdout.write(
            f"{story}: {len(times)} shares of the good machine meanwhile, p50 {1000 * quantile(times, 0.5):.1f} ms,"
            f" p99 {1000 * quantile(times, 0.99):.1f} ms, max {1000 * max(times):.1f} ms;"
            f" memory {grown / 1e6:+.1f} MB, log {written:+d} bytes\n"
        )
        assert self.good.refused == {}
        assert quantile(times, 0.99) < MAX_P99_S
        assert written < MAX_LOG_BYTES, self.mine.log.read_text()[-written:][:3000]
        assert grown < MAX_GROWTH_BYTES
        assert self.serve.num_fds() <= files + 2

    async def _work(self) -> None:
        """Hand in share after share, each when the one before is answered."""
        while True:
            assert await self.good.answer(self.good.find()) == 0


class Stranger:
    """A connection that says whatever it likes."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer

    async def begin(self, user: str = "stranger.m1") -> dict[str, Any]:
        """Subscribe and authorise; return the first job."""
        self.writer.write(
            b'{"id":1,"method":"mining.subscribe","params":[]}\n'
            + json.dumps({"id": 2, "method": "mining.authorize", "params": [user, "x"]}).encode()
            + b"\n"
        )
        while (message := await self.hear()).get("method") != "mining.notify":
            pass
        return message

    async def hear(self) -> dict[str, Any]:
        async with asyncio.timeout(DEADLINE_S):
            line = await self.reader.readline()
        if not line:
            raise ConnectionError("closed")
        message: dict[str, Any] = json.loads(line)
        return message

    async def answers(self, data: bytes, count: int = 1) -> list[dict[str, Any]]:
        """Say something, and return all answers to it, at least ``count``.

        A request behind it shows when all have come but those to shares, which take longer: these are counted.
        """
        self.writer.write(data + b'{"id":"the end","method":"mining.ping","params":[]}\n')
        found: list[dict[str, Any]] = []
        ended = False
        while not ended or len(found) < count:
            message = await self.hear()
            if message.get("id") == "the end":
                ended = True
            elif "method" not in message:
                found.append(message)
        return found

    async def last_words(self) -> str:
        """Return everything until the server closes."""
        async with asyncio.timeout(DEADLINE_S):
            try:
                return (await self.reader.read()).decode()
            except ConnectionError:
                return ""


@asynccontextmanager
async def stranger(server: tuple[str, int]) -> AsyncIterator[Stranger]:
    """Connect to a server, and leave afterwards."""
    reader, writer = await asyncio.open_connection(*server)
    try:
        yield Stranger(reader, writer)
    finally:
        writer.close()
        with contextlib.suppress(ConnectionError):  # the server was faster
            await writer.wait_closed()


def code_of(answer: dict[str, Any]) -> int | None:
    assert set(answer) == {"id", "result", "error"}
    if answer["error"] is None:
        return None
    code, text, _ = answer["error"]
    assert answer["result"] is None
    assert text
    assert isinstance(code, int)
    return code
