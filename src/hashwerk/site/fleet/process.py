"""The fleet as a part of the `site` process: opened from the configuration, run beside the pages."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

from hashwerk.clock import Clock
from hashwerk.config.site import SiteConfig
from hashwerk.devices import open_drivers
from hashwerk.site.fleet.meters import PowerSource
from hashwerk.site.fleet.service import FleetService
from hashwerk.site.fleet.shares import ShareLedger
from hashwerk.site.metering import running_meters

log = logging.getLogger(__name__)


@asynccontextmanager
async def running_fleet(
    config: SiteConfig,
    folder: Path,
    clock: Clock,
    ledger: ShareLedger | None,
    meters: Sequence[PowerSource] = (),
) -> AsyncIterator[FleetService | None]:
    """Run the configured fleet; None where no ranges are configured. Configured meters are read with it, beside those given.

    A mistake that ends the fleet's loops is logged and ends nothing else: pages go on, machines go on as they are.

    Raises:
        StoreError: If the fleet's record cannot be used.
        FleetError: If the file of places cannot be read.
        ConfigError: If a meter's register map or password cannot be read.
    """
    settings = config.fleet
    if not settings.is_configured:
        yield None
        return
    async with running_meters(config, folder, clock) as stations:
        service = FleetService(
            settings,
            folder / "fleet.sqlite",
            clock,
            drivers=open_drivers(),
            site=config.site.name,
            ledger=ledger,
            meters=(*stations, *meters),
        )
        await asyncio.to_thread(service.open)
        task = asyncio.create_task(service.run(), name="fleet")
        task.add_done_callback(_tell_failure)
        try:
            yield service
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
            await service.close()


def _tell_failure(task: asyncio.Task[None]) -> None:
    if not task.cancelled() and (error := task.exception()) is not None:
        log.error("the fleet is no longer watched", exc_info=error)
