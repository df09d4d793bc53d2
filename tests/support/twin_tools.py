"""A hall at the real ports, for third-party tools that know no others."""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import pytest

from hashwerk.errors import ConfigError
from hashwerk.twin import MODELS, Hall, HallSettings, Machine

#: Models that tools reach by the miner API alone, and those that need a web server at port 80.
API_MODELS = tuple(key for key, model in MODELS.items() if not model.speaks_http)
WEB_MODELS = tuple(key for key, model in MODELS.items() if model.speaks_http)

DEADLINE_S = 10.0

#: The first three numbers of this process's own addresses: two runs at the same time do not meet.
NETWORK = f"127.{200 + os.getpid() // 250 % 50}.{1 + os.getpid() % 250}"


class QuickClock:
    """A clock that begins now and runs a hundred times too fast: tools wait for nothing, and their times are past."""

    def __init__(self) -> None:
        """Begin now."""
        self._wall_at, self._started_at = time.time(), time.monotonic()

    def time(self) -> float:
        """Return seconds since the Unix epoch, too many of them."""
        return self._wall_at + 100 * (time.monotonic() - self._started_at)

    def monotonic(self) -> float:
        """Return the same."""
        return self.time()


@asynccontextmanager
async def hall_at_real_ports(models: tuple[str, ...], *, first: int) -> AsyncIterator[Hall]:
    """Run a hall with one machine of each model, which live a hundred times as fast; skip where it cannot listen."""
    pool = "stratum+tcp://127.0.0.1:9"  # nobody is there: this is about the other side
    base = f"{NETWORK}.{first}"
    settings = HallSettings(machines=len(models), models=models, base=base, haste=10, pool=pool)
    hall = Hall(settings, clock=QuickClock())
    try:
        await hall.start()
    except ConfigError as error:
        pytest.skip(f"no hall at the real ports, so no tool is tried: {error}")
    try:
        yield hall
    finally:
        await hall.stop()


def machine_of(hall: Hall, key: str) -> Machine:
    """Return the machine of a model."""
    return next(machine for machine in hall.machines if machine.model.key == key)


async def until(condition: Callable[[], bool]) -> None:
    """Wait until a condition holds.

    Raises:
        TimeoutError: If it does not in time.
    """
    async with asyncio.timeout(DEADLINE_S):
        while not condition():  # noqa: ASYNC110 - physics has no event to wait for
            await asyncio.sleep(0.05)
