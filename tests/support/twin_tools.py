"""A hall at the real ports, for third-party tools that know no others."""

from __future__ import annotations

import asyncio
import os
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


@asynccontextmanager
async def hall_at_real_ports(models: tuple[str, ...], *, first: int) -> AsyncIterator[Hall]:
    """Run a hall with one machine of each model, a thousand times as quick as real ones; skip where it cannot listen."""
    pool = "stratum+tcp://127.0.0.1:9"  # nobody is there: this is about the other side
    hall = Hall(
        HallSettings(machines=len(models), models=models, base=f"{NETWORK}.{first}", haste=1000, pool=pool)
    )
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
