"""A hall at the real ports, for third-party tools that know no others."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import pytest

from hashwerk.errors import ConfigError
from hashwerk.twin import MODELS, Hall, HallSettings, Machine

#: Models that tools reach by the miner API alone, and those that need a web server at port 80.
API_MODELS = tuple(key for key, model in MODELS.items() if not model.speaks_http)
WEB_MODELS = tuple(key for key, model in MODELS.items() if model.speaks_http)

DEADLINE_S = 10.0


@asynccontextmanager
async def hall_at_real_ports(base: str, models: tuple[str, ...]) -> AsyncIterator[Hall]:
    """Run a hall with one machine of each model, a thousand times as quick as real ones; skip where it cannot listen."""
    pool = "stratum+tcp://127.0.0.1:9"  # nobody is there: this is about the other side
    hall = Hall(HallSettings(machines=len(models), models=models, base=base, haste=1000, pool=pool))
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
