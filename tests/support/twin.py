"""What tests of the twin share: a hall on free ports with a clock turned by hand, and a client that knows nothing of it."""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from hashwerk.clock import VirtualClock
from hashwerk.twin import Hall, HallSettings, Machine

_FIELD = re.compile(r"(\w+)\[([^\]]*)\]")


@asynccontextmanager
async def running_hall(**settings: Any) -> AsyncIterator[tuple[Hall, VirtualClock]]:
    """Run a hall; ``settings`` are those of `HallSettings`."""
    clock = VirtualClock()
    defaults = {"machines": 1, "base": "127.79.1.1", "port": 0, "http_port": 0}
    hall = Hall(HallSettings(**(defaults | settings)), clock=clock)
    await hall.start()
    try:
        yield hall, clock
    finally:
        await hall.stop()


async def ask_raw(host: str, port: int, request: bytes, timeout_s: float = 5.0) -> bytes:
    """Send a request and return everything until the machine closes.

    Raises:
        TimeoutError: If it does not close in time.
        ConnectionError: If it resets the connection.
    """
    async with asyncio.timeout(timeout_s):
        reader, writer = await asyncio.open_connection(host, port)
        try:
            writer.write(request)
            return await reader.read()
        finally:
            writer.close()


async def ask(
    machine: Machine, command: str, parameter: str | None = None, timeout_s: float = 5.0
) -> dict[str, Any]:
    """Ask in JSON and return the reply."""
    request = {"command": command} | ({} if parameter is None else {"parameter": parameter})
    reply = await ask_raw(machine.host, machine.port, json.dumps(request).encode(), timeout_s)
    found = json.loads(reply.rstrip(b"\0"))
    assert isinstance(found, dict)
    return found


async def status(machine: Machine, parameter: str) -> tuple[str, int, str]:
    """Send an ``ascset`` and return its status letter, code and message."""
    found = (await ask(machine, "ascset", parameter))["STATUS"][0]
    return found["STATUS"], found["Code"], found["Msg"]


async def fields(machine: Machine, command: str = "estats") -> dict[str, str]:
    """Return the bracketed fields of an Avalon's estats line."""
    row = (await ask(machine, command))["STATS"][0]
    line = row.get("MM ID0:Summary") or row["MM ID0"]
    return dict(_FIELD.findall(line))
