"""The one way to a machine: only within the configured ranges, one call at a time to each, each with a hard deadline."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Final

from hashwerk.devices import identify
from hashwerk.errors import DeviceError, FleetError
from hashwerk.fleet.commands import Command
from hashwerk.fleet.machine import Outcome, OutcomeKind, Reading
from hashwerk.fleet.ports import Address, Credentials, Driver
from hashwerk.fleet.settings import FleetSettings, Ranges

#: A driver has its own deadline; this much later it is cut off all the same.
_GRACE_S: Final = 1.0
#: Commands may take longer than readings: firmware writes its settings first.
_COMMAND_FACTOR: Final = 3.0


class Wire:
    """Speaks to machines through their drivers. Owned by the fleet's loop.

    Resource handling: at most ``concurrency`` calls at a time; commands do not wait for readings of other machines.

    Cancellation: whatever was under way is closed; what a machine made of a command is then unknown.
    """

    def __init__(self, drivers: Sequence[Driver], settings: FleetSettings) -> None:
        self.drivers = tuple(drivers)
        self._by_name = {driver.name: driver for driver in drivers}
        self.ranges = Ranges(settings.ranges)
        self._timeout_s = settings.timeout_s
        self._readers = asyncio.Semaphore(settings.concurrency)
        self._writers = asyncio.Semaphore(max(8, settings.concurrency // 4))
        self._busy: dict[Address, asyncio.Lock] = {}
        self._credentials = {
            entry.make.lower(): Credentials(user=entry.user, password=entry.password)
            for entry in settings.credentials
        }

    def check(self, host: str) -> None:
        """Make sure that something may be sent to a host.

        Raises:
            FleetError: If it lies outside the configured ranges.
        """
        if host not in self.ranges:
            raise FleetError(f"{host} is outside the configured ranges; nothing is sent there")

    async def read(self, address: Address, driver: str | None, make: str) -> Reading:
        """Return what a machine reports now.

        Raises:
            DeviceError: If it does not answer in time, or with nothing that can be read.
            FleetError: If it lies outside the configured ranges.
        """
        self.check(address.host)
        chosen = self._driver(driver)
        async with self._lock(address), self._readers:
            try:
                async with asyncio.timeout(self._timeout_s + _GRACE_S):
                    return await chosen.read(
                        address, timeout_s=self._timeout_s, credentials=self._credentials.get(make.lower())
                    )
            except TimeoutError:
                raise DeviceError(
                    f"{address.host} does not answer within {self._timeout_s + _GRACE_S:g} s"
                ) from None

    async def identify(self, address: Address) -> tuple[Driver, Reading] | None:
        """Return who speaks to what answers at an address, and its first reading; None if nobody does.

        Raises:
            FleetError: If it lies outside the configured ranges.
        """
        self.check(address.host)
        async with self._lock(address), self._readers:
            return await identify(address, self.drivers, timeout_s=self._timeout_s)

    async def execute(self, address: Address, driver: str | None, make: str, command: Command) -> Outcome:
        """Tell a machine something.

        Raises:
            DeviceError: If it cannot be reached: then nothing was sent.
            FleetError: If it lies outside the configured ranges.
        """
        self.check(address.host)
        chosen = self._driver(driver)
        timeout_s = _COMMAND_FACTOR * self._timeout_s
        async with self._lock(address), self._writers:
            try:
                async with asyncio.timeout(timeout_s + _GRACE_S):
                    return await chosen.execute(
                        address,
                        command,
                        timeout_s=timeout_s,
                        credentials=self._credentials.get(make.lower()),
                    )
            except TimeoutError:
                return Outcome(
                    kind=OutcomeKind.UNANSWERED, message=f"no answer within {timeout_s + _GRACE_S:g} s"
                )

    def forget(self, address: Address) -> None:
        """Let go of an address at which nothing is any more."""
        lock = self._busy.get(address)
        if lock is not None and not lock.locked():
            del self._busy[address]

    def _driver(self, name: str | None) -> Driver:
        if name is not None and name in self._by_name:
            return self._by_name[name]
        return self.drivers[0]

    def _lock(self, address: Address) -> asyncio.Lock:
        return self._busy.setdefault(address, asyncio.Lock())
