"""Energy as a part of the `site` process: opened from the configuration, run beside fleet and pages."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

from hashwerk.clock import Clock
from hashwerk.config.site import SiteConfig
from hashwerk.dispatch.orders import OrderSource
from hashwerk.feeds.node import NodeFeed
from hashwerk.grid_orders.build import open_order_sources, show_to
from hashwerk.grid_orders.present import Present
from hashwerk.site.energy.fleet_port import FleetMachines
from hashwerk.site.energy.metered import SiteRegisters
from hashwerk.site.energy.own_node import OwnNode, tells_money
from hashwerk.site.energy.planner import EnergyParts
from hashwerk.site.energy.service import EnergyService
from hashwerk.site.fleet.service import FleetService
from hashwerk.site.messages import Snapshot
from hashwerk.site.metering import RECORD

log = logging.getLogger(__name__)


def parts_of(config: SiteConfig) -> EnergyParts:
    """Return the sections of a site file that energy is run by."""
    return EnergyParts(dispatch=config.dispatch, energy=config.energy, feeds=config.feed, place=config.policy)


@asynccontextmanager
async def running_energy(
    config: SiteConfig,
    fleet: FleetService | None,
    folder: Path,
    clock: Clock,
    *,
    sources: Sequence[OrderSource] = (),
    latest: Callable[[], Snapshot | None] | None = None,
) -> AsyncIterator[EnergyService | None]:
    """Run the site's energy; None without a fleet, or where the site file says so.

    Orders come from ``sources``, from the ways that the site file names in its sections ``[[grid_order]]``, and through the API.
    Of a node of the main network, whose work ``latest`` shows, difficulty and fees are taken where no feed tells them.

    A mistake that ends its loops is logged and ends nothing else: pages go on, machines go on as they are.

    Raises:
        ConfigError: If a feed, a tariff, the rules or a way by which orders arrive cannot be used.
        StoreError: If the record cannot be used.
    """
    if fleet is None or not config.dispatch.enabled:
        yield None
        return
    machines = FleetMachines(fleet, clock)
    every = (*sources, *open_order_sources(config.grid_order, clock, folder))
    service = EnergyService(
        parts_of(config),
        machines,
        clock,
        folder / "energy.sqlite",
        sources=every,
        registers=SiteRegisters(folder / RECORD, config.meter),
        own_feeds=[]
        if latest is None or not tells_money(config.node)
        else [NodeFeed("own node", OwnNode(latest))],
    )
    show_to(
        every,
        lambda: Present(
            import_w=service.import_w, sheddable_w=service.sheddable_w(), is_commanded=service.controls
        ),
    )
    await asyncio.to_thread(service.open)
    task = asyncio.create_task(service.run(), name="energy")
    task.add_done_callback(_tell_failure)
    try:
        yield service
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        await service.close()


def _tell_failure(task: asyncio.Task[None]) -> None:
    if not task.cancelled() and (error := task.exception()) is not None:
        log.error("energy is no longer planned and steered", exc_info=error)
