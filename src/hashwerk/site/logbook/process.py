"""The writer of evidence as a part of the `site` process: opened from the configuration, run beside fleet and energy."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from hashwerk.clock import Clock
from hashwerk.config.site import SiteConfig
from hashwerk.site.energy.service import EnergyService
from hashwerk.site.fleet.service import FleetService
from hashwerk.site.logbook.writer import LogWriter
from hashwerk.store.logbook import NAME, Logbook

log = logging.getLogger(__name__)


@asynccontextmanager
async def running_logbook(
    config: SiteConfig,
    folder: Path,
    clock: Clock,
    *,
    fleet: FleetService | None,
    energy: EnergyService | None,
) -> AsyncIterator[LogWriter]:
    """Log what becomes evidence. A mistake that ends it is logged and ends nothing else.

    Raises:
        StoreError: If the logbook cannot be used.
    """
    writer = LogWriter(config, folder, clock, Logbook(folder / NAME), fleet=fleet, energy=energy)
    await asyncio.to_thread(writer.open)
    task = asyncio.create_task(writer.run(), name="logbook")
    task.add_done_callback(_tell_failure)
    try:
        yield writer
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        await asyncio.to_thread(writer.close)


def _tell_failure(task: asyncio.Task[None]) -> None:
    if not task.cancelled() and (error := task.exception()) is not None:
        log.error("meters and commands no longer become evidence", exc_info=error)
