"""Finds new machines in the configured ranges, and gives them their pools where the configuration says so."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from typing import Final

import msgspec

from hashwerk.devices import addresses_of, scan
from hashwerk.errors import DeviceError, FleetError
from hashwerk.fleet.commands import PoolTarget, SetPools
from hashwerk.fleet.machine import Capability
from hashwerk.fleet.ports import Address
from hashwerk.fleet.settings import FleetSettings, JoinSettings
from hashwerk.site.fleet.channels import slug
from hashwerk.site.fleet.reports import Report, ReportListener
from hashwerk.site.fleet.roster import Roster, Unit
from hashwerk.site.fleet.watcher import Watcher
from hashwerk.site.fleet.wire import Wire

log = logging.getLogger(__name__)

#: Knocks at a time: a scan must not drown the polls.
_KNOCKS: Final = 128
_LAST_REPORTS: Final = 32
_REST_S: Final = 60.0

OnNew = Callable[[Unit], Awaitable[None]]


class Discovery:
    """Looks for machines.

    Resource handling: a scan knocks at 128 addresses at a time. Cancellation: `run` ends at once.
    """

    def __init__(
        self, roster: Roster, wire: Wire, watcher: Watcher, settings: FleetSettings, on_new: OnNew
    ) -> None:
        self._roster = roster
        self._wire = wire
        self._watcher = watcher
        self._settings = settings
        self._on_new = on_new
        self._asked = asyncio.Event()
        self._looks: set[asyncio.Task[None]] = set()
        self.reports: list[Report] = []  # the last ones, the newest last: for walking through the hall
        self.is_scanning = False
        self.done, self.total = 0, 0

    def ask(self) -> None:
        """Look for new machines soon."""
        self._asked.set()

    async def run(self) -> None:
        """Search again and again, and listen to buttons."""
        listener = ReportListener(self._wire.ranges, self._reported)
        try:
            if self._settings.report_buttons:
                await self._listen(listener)
            while True:
                await self.search()
                await asyncio.sleep(_REST_S * self._settings.pace)  # whoever asks, not more often than this
                try:
                    async with asyncio.timeout(self._settings.scan_s):
                        await self._asked.wait()
                except TimeoutError:
                    continue
                finally:
                    self._asked.clear()
        finally:
            listener.close()
            for task in self._looks:
                task.cancel()

    async def _listen(self, listener: ReportListener) -> None:
        """Hear buttons; a port that somebody else has costs its make's buttons and nothing more."""
        try:
            await listener.start(self._settings.report_host)
        except FleetError as error:
            log.error("%s; these buttons are not heard", error)

    async def search(self) -> int:
        """Scan the ranges once; return how many new machines joined."""
        self.is_scanning, joined = True, 0

        def progress(done: int, total: int) -> None:
            self.done, self.total = done, total

        try:
            async for found in scan(
                self._silent_addresses(),
                self._wire.drivers,
                timeout_s=self._settings.timeout_s,
                concurrency=_KNOCKS,
                on_progress=progress,
            ):
                unit, is_new = self._roster.heard(found.address, found.reading, found.driver)
                if unit is not None and is_new:
                    joined += 1
                    await self._join(unit)
        finally:
            self.is_scanning = False
        if joined:
            log.info("%d new machines, %d in all", joined, len(self._roster.units))
        return joined

    def _silent_addresses(self) -> list[str]:
        """Return the addresses of the ranges at which no machine of ours answers anyway."""
        now = self._roster.clock.time()
        lately_s = 3 * self._settings.poll_s
        known = {
            unit.member.address.host
            for unit in self._roster.units.values()
            if unit.member.address is not None and unit.read_at is not None and now - unit.read_at < lately_s
        }
        return [host for host in addresses_of(self._settings.ranges) if host not in known]

    async def look_at(self, host: str) -> Unit | None:
        """Look at one address; return the machine there, None if there is none.

        Raises:
            FleetError: If it lies outside the configured ranges.
        """
        identified = await self._wire.identify(Address(host=host))
        if identified is None:
            return None
        driver, reading = identified
        unit, is_new = self._roster.heard(Address(host=host), reading, driver.name)
        if unit is not None and is_new:
            await self._join(unit)
        return unit

    async def _join(self, unit: Unit) -> None:
        group = self._settings.join.group
        if unit.member.group is None and group is not None:
            unit.member.group = group
            unit.changed = True
        self._watcher.add(unit.key, self._settings.poll_s)
        await self._on_new(unit)

    def _reported(self, report: Report) -> None:
        report = msgspec.structs.replace(report, at=self._roster.clock.time())
        self.reports = [*self.reports[-_LAST_REPORTS:], report]
        log.info("the button of the %s at %s was pressed", report.make, report.host)

        async def look() -> None:
            try:
                await self.look_at(report.host)
            except (FleetError, DeviceError) as error:
                log.warning("nothing could be learned of %s: %s", report.host, error)

        task = asyncio.get_running_loop().create_task(look())
        self._looks.add(task)
        task.add_done_callback(self._looks.discard)


def join_command(unit: Unit, settings: JoinSettings) -> SetPools | None:
    """Return what a new machine is to be told of its pools; None if it needs nothing, or cannot be told."""
    reading = unit.reading
    if not settings.enabled or not settings.pools or reading is None:
        return None
    if Capability.POOLS not in reading.capabilities:
        return None
    name = slug((unit.member.identity.mac or unit.member.identity.serial or "machine").replace(":", ""))
    wanted = tuple(
        PoolTarget(url=pool.url, user=pool.user.replace("{name}", name), password=pool.password)
        for pool in settings.pools
    )
    has = [(slot.url, slot.user) for slot in reading.pools[: len(wanted)]]
    return None if has == [(pool.url, pool.user) for pool in wanted] else SetPools(wanted)
