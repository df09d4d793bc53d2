"""A fleet and a small simulated hall in the test's own process."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import msgspec
import pytest

from hashwerk.clock import SystemClock
from hashwerk.devices import open_drivers
from hashwerk.errors import ConfigError
from hashwerk.fleet.measure import MeterReading
from hashwerk.fleet.settings import FleetSettings
from hashwerk.site.fleet import FleetService
from hashwerk.site.fleet.channels import Channel
from hashwerk.twin import Hall, HallSettings

#: How much faster than real ones these machines live.
HASTE = 40.0
LIMITS = {
    "min_on_s": 0,
    "min_off_s": 0,
    "wave_s": 5.0,
    "verify_s": 1.0,
    "settle_s": 0.5,
    "attempts": 2,
    "first_retry_s": 0.2,
}


class HallMeter:
    """The meter of a hall."""

    def __init__(self, hall: Hall) -> None:
        self._hall = hall

    async def read(self) -> Sequence[MeterReading]:
        """Return its true power."""
        now = self._hall.clock.time()
        return [MeterReading(at=now, power_w=self._hall.power_w(now), scope="site")]


async def until(condition: Callable[[], Any], what: str, within_s: float = 20.0) -> Any:
    """Wait until a condition holds, and return what it found."""
    try:
        async with asyncio.timeout(within_s):
            while not (found := condition()):  # noqa: ASYNC110 - many tasks bring it about
                await asyncio.sleep(0.02)
    except TimeoutError:
        raise AssertionError(f"not within {within_s} s: {what}") from None
    return found


def settings_of(hall: Hall, **changes: Any) -> FleetSettings:
    """Return settings for a hall in a hurry."""
    values: dict[str, Any] = {
        "ranges": [f"{hall.machines[0].host}-{hall.machines[-1].host}"],
        "control": True,
        "poll_s": 0.3,
        "timeout_s": 1.0,
        "pace": 1 / HASTE,
        "silences": 2,
        "partial": False,
        "limits": LIMITS,
    }
    return msgspec.convert(values | changes, FleetSettings)


@asynccontextmanager
async def running_hall(base: str, *models: str, machines: int = 4, **changes: Any) -> AsyncIterator[Hall]:
    """Run a hall whose first machine has address ``base``."""
    hall = Hall(
        HallSettings(
            machines=machines, models=models or ("luxos-s19kpro",), base=base, haste=HASTE, **changes
        )
    )
    try:
        await hall.start()
    except ConfigError as error:
        pytest.skip(f"the twin's addresses cannot be had: {error}")
    try:
        yield hall
    finally:
        await hall.stop()


@asynccontextmanager
async def running_service(
    hall: Hall,
    folder: Path,
    *,
    metered: bool = True,
    channels: Sequence[Channel] | None = None,
    **changes: Any,
) -> AsyncIterator[FleetService]:
    """Run a fleet on a hall until every machine was found hashing."""
    service = FleetService(
        settings_of(hall, **changes),
        folder / "fleet.sqlite",
        SystemClock(),
        drivers=open_drivers(),
        site="Test Mine",
        meters=[HallMeter(hall)] if metered else [],
        channels=channels,
    )
    service.open()
    task = asyncio.create_task(service.run())
    try:
        await until(
            lambda: task.done() or service.view().by_state.get("hashing") == len(hall.machines), "all found"
        )
        assert not task.done(), task
        yield service
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        await service.close()
