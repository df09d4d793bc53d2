"""The configured meters at work: their power steers, their registers are recorded."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Coroutine
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any, Final

from hashwerk.clock import Clock
from hashwerk.config.site import SiteConfig
from hashwerk.energy.ports import Meter
from hashwerk.meters.mqtt import Mqtt
from hashwerk.meters.station import Station
from hashwerk.meters.table import open_meters
from hashwerk.site.energy.readings import Readings

log = logging.getLogger(__name__)

RECORD: Final = "meters.sqlite"


@asynccontextmanager
async def running_meters(
    config: SiteConfig, folder: Path, clock: Clock
) -> AsyncIterator[tuple[Station, ...]]:
    """Open the configured meters; whoever has the stations reads them. What they count goes to the record in ``folder``.

    Raises:
        ConfigError: If a register map, a password or a file cannot be read.
        StoreError: If the record cannot be used.
    """
    if not config.meter:
        yield ()
        return
    meters = open_meters(config.meter, clock)
    readings = Readings(folder / RECORD)
    async with AsyncExitStack() as stack:
        for meter in meters:
            stack.push_async_callback(meter.close)
        await asyncio.to_thread(readings.open)
        stack.push_async_callback(readings.close)
        for task in (
            _start(readings.run(), "meter-record"),
            *(_start(m.run(), f"meter-{m.name}") for m in _heard(meters)),
        ):
            stack.push_async_callback(_end, task)
        yield tuple(
            Station(meter, settings, clock, readings.record)
            for meter, settings in zip(meters, config.meter, strict=True)
        )


def _heard(meters: tuple[Meter, ...]) -> list[Mqtt]:
    """Return the meters that speak by themselves and are listened to."""
    return [meter for meter in meters if isinstance(meter, Mqtt)]


def _start(work: Coroutine[Any, Any, None], name: str) -> asyncio.Task[None]:
    task = asyncio.create_task(work, name=name)
    task.add_done_callback(_tell_failure)
    return task


async def _end(task: asyncio.Task[None]) -> None:
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


def _tell_failure(task: asyncio.Task[None]) -> None:
    if not task.cancelled() and (error := task.exception()) is not None:
        log.error("%s has ended", task.get_name(), exc_info=error)
