"""A simulated hall: many virtual machines, their breakers and feeders, and the truth about all of them.

Resource handling:
    One or two listening sockets a machine, and one connection each to a Stratum server where there is one. Machines
    have no tasks and no timers; physics is worked out when somebody asks.

Cancellation:
    `Hall.stop` may be called at any time, also after a `start` that failed half way; it closes everything.
"""

from __future__ import annotations

import asyncio
import logging
import math
import random
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from hashwerk.client.hashing import NonceScanner
from hashwerk.clock import Clock, SystemClock
from hashwerk.errors import FleetError
from hashwerk.twin.dialects import DIALECTS
from hashwerk.twin.faults import Fault, FaultKind
from hashwerk.twin.furnish import furnish, swapped
from hashwerk.twin.listener import Listener, allow_files
from hashwerk.twin.machine import Machine
from hashwerk.twin.mining import HallMiners
from hashwerk.twin.settings import HallSettings
from hashwerk.twin.truth import HallView, MachineTruth, truth_of
from hashwerk.work.kernel import Scanner

log = logging.getLogger(__name__)

_AMBIENT_INTERVAL_S: Final = 60.0
_WARMEST_HOUR: Final = 15
_SLICE: Final = 50
_SPARE_ADDRESSES: Final = 64


@dataclass(slots=True)
class _Place:
    machine: Machine
    listener: Listener


class Hall:
    """A hall of virtual machines. Everything about it is simulation, except the hashing."""

    def __init__(
        self, settings: HallSettings, *, clock: Clock | None = None, scanner: NonceScanner | None = None
    ) -> None:
        """Make the machines; `start` lets them listen.

        Args:
            settings: How many of what, where.
            clock: Where the time comes from; machines tell it as Unix time.
            scanner: The hashing kernel; made at `start` if it is needed and not given.
        """
        self._scanner = scanner
        self.settings = settings
        self.clock = clock or SystemClock()
        now = self.clock.time()
        self.ambient_c = self._ambient(now)
        self._places = [
            _Place(machine, Listener(machine, DIALECTS[machine.model.dialect], self.clock))
            for machine in furnish(settings, now, self.ambient_c)
        ]
        self._by_name = {place.machine.identity.name: place for place in self._places}
        self._moves = self._swaps = 0
        self._tasks: list[asyncio.Task[None]] = []
        self._miners: HallMiners | None = None

    @property
    def machines(self) -> tuple[Machine, ...]:
        """The machines, in the order of their addresses."""
        return tuple(place.machine for place in self._places)

    def machine(self, name: str) -> Machine:
        """Return a machine by its name, as in twin-0001, or by its present address.

        Raises:
            FleetError: If there is none.
        """
        return self._find(name).machine

    # --- life ---

    async def start(self) -> None:
        """Let every machine listen.

        Raises:
            ConfigError: If an address, a port or the number of sockets cannot be had.
        """
        settings = self.settings
        allow_files(3 * settings.machines if settings.pool else 2 * settings.machines)
        mute = 0
        try:
            for place in self._places:
                host = place.machine.host
                mute += not await place.listener.open(host, settings.port, settings.http_port)
        except BaseException:
            await self.stop()
            raise
        if mute:
            log.warning(
                "%d machines are without their web server: port %d cannot be had", mute, settings.http_port
            )
        if settings.pool is not None:
            scanner = await asyncio.to_thread(Scanner) if self._scanner is None else self._scanner
            self._miners = HallMiners(self.machines, settings, self.clock, scanner)
            self._tasks.append(asyncio.create_task(self._miners.run(), name="twin-miners"))
            self._tasks[-1].add_done_callback(_tell_failure)
        if settings.ambient_swing_c:
            self._tasks.append(asyncio.create_task(self._breathe(), name="twin-ambient"))
        log.info("simulation: %d virtual machines from %s", len(self._places), self._places[0].machine.host)

    async def stop(self) -> None:
        """Close every socket; an error that ended the hashing is raised here."""
        for task in self._tasks:
            task.cancel()
        ends = await asyncio.gather(*self._tasks, return_exceptions=True)
        self._tasks.clear()
        self._miners = None
        for place in self._places:
            place.listener.close()
        await asyncio.sleep(0)  # transports close in the loop's next turn
        for end in ends:
            if isinstance(end, Exception):
                raise end

    # --- the truth ---

    def power_w(
        self, at: float | None = None, *, breaker: str | None = None, feeder: str | None = None
    ) -> float:
        """Return the true power of the hall, a breaker or a feeder at the wall; what a meter there would read."""
        now = self.clock.time() if at is None else at
        return math.fsum(machine.power_w(now) for machine in self._on(breaker, feeder))

    def energy_wh(
        self, at: float | None = None, *, breaker: str | None = None, feeder: str | None = None
    ) -> float:
        """Return the true energy since the hall began; a meter's register."""
        now = self.clock.time() if at is None else at
        total = []
        for machine in self._on(breaker, feeder):
            machine.advance(now)
            total.append(machine.plant.work_until(now)[0])
        return math.fsum(total)

    def hashrate_hs(self, at: float | None = None) -> float:
        """Return the true hash rate, full size."""
        now = self.clock.time() if at is None else at
        return math.fsum(machine.hashrate_hs(now) for machine in self.machines)

    def power_by_breaker_w(self, at: float | None = None) -> dict[str, float]:
        """Return the true power of every breaker."""
        now = self.clock.time() if at is None else at
        sums: dict[str, float] = {}
        for machine in self.machines:
            breaker = machine.identity.breaker
            sums[breaker] = sums.get(breaker, 0.0) + machine.power_w(now)
        return sums

    def power_by_feeder_w(self, at: float | None = None) -> dict[str, float]:
        """Return the true power of every feeder."""
        now = self.clock.time() if at is None else at
        sums: dict[str, float] = {}
        for machine in self.machines:
            feeder = machine.identity.feeder
            sums[feeder] = sums.get(feeder, 0.0) + machine.power_w(now)
        return sums

    def truth(self, at: float | None = None) -> list[MachineTruth]:
        """Return the truth about every machine."""
        now = self.clock.time() if at is None else at
        return [truth_of(machine, now) for machine in self.machines]

    def view(self, at: float | None = None) -> HallView:
        """Return the hall in a few numbers."""
        now = self.clock.time() if at is None else at
        machines, miners = self.machines, self._miners
        faults = Counter(kind.value for machine in machines for kind in machine.faults)
        return HallView(
            at=now,
            machines=len(machines),
            phases=dict(Counter(machine.phase(now).value for machine in machines)),
            power_w=self.power_w(now),
            energy_wh=self.energy_wh(now),
            hashrate_hs=self.hashrate_hs(now),
            scale=self.settings.scale,
            hashed=0 if miners is None else miners.hashes,
            shortfall=None if miners is None or not miners.owed else miners.dropped / miners.owed,
            sessions=0 if miners is None else miners.sessions,
            accepted=sum(slot.accepted for machine in machines for slot in machine.slots),
            rejected=sum(slot.rejected for machine in machines for slot in machine.slots),
            ambient_c=self.ambient_c,
            faults=dict(faults),
        )

    # --- what can be done to it ---

    async def inject(self, name: str, fault: Fault) -> Machine:
        """Give a machine a fault, from now on; return the machine.

        Raises:
            FleetError: If there is no such machine, or it has to move and no address is left.
            ConfigError: If it cannot listen where it moves to.
        """
        place, now = self._find(name), self.clock.time()
        machine = place.machine
        machine.advance(now)
        if fault.kind is FaultKind.POWER_CUT:
            machine.lose_mains(now)
            machine.schedule(now + fault.duration_s, Machine.regain_mains)
            place.listener.drop()
        elif fault.kind is FaultKind.CHANGE_IP:
            await self._move(place)
        elif fault.kind is FaultKind.SWAP_CONTROLLER:
            self._swaps += 1
            machine.identity = swapped(machine.identity, self._swaps)
        else:
            machine.faults[fault.kind] = fault
            if fault.kind is FaultKind.LOSE_BOARD:
                machine.settle(now, 1.0)
            elif fault.kind is FaultKind.CLONE_MAC:
                others = [other for other in self.machines if other is not machine] or [machine]
                machine.show_mac(others[0].identity.mac)
        return machine

    def clear(self, name: str, kind: FaultKind | None = None) -> Machine:
        """Take a fault, or all, from a machine; return the machine.

        Raises:
            FleetError: If there is no such machine.
        """
        machine, now = self._find(name).machine, self.clock.time()
        machine.advance(now)
        for found in list(machine.faults) if kind is None else [kind]:
            if machine.faults.pop(found, None) is None:
                continue
            if found is FaultKind.LOSE_BOARD:
                machine.settle(now, 1.0)
            elif found is FaultKind.CLONE_MAC:
                machine.show_mac(None)
        return machine

    async def inject_counts(self, counts: dict[FaultKind, int]) -> dict[str, FaultKind]:
        """Give faults to so many machines each, no machine two; return which got which.

        Raises:
            FleetError: If there are fewer machines than faults.
        """
        wanted = [kind for kind, count in counts.items() for _ in range(count)]
        if len(wanted) > len(self._places):
            raise FleetError(f"{len(wanted)} faults are too many for {len(self._places)} machines")
        chosen = random.Random(self.settings.seed + 1).sample(self._places, len(wanted))  # noqa: S311
        given = {place.machine.identity.name: kind for place, kind in zip(chosen, wanted, strict=True)}
        for name, kind in given.items():
            await self.inject(name, Fault(kind=kind))
        return given

    def switch_mains(self, *, on: bool, breaker: str | None = None, feeder: str | None = None) -> int:
        """Open or close a breaker, a feeder or the whole hall; return how many machines are behind it.

        Raises:
            FleetError: If nothing is behind it.
        """
        now, touched = self.clock.time(), 0
        for place in self._places:
            machine = place.machine
            if not _is_on(machine, breaker, feeder):
                continue
            touched += 1
            machine.advance(now)
            if on:
                machine.regain_mains(now)
            else:
                machine.lose_mains(now)
                place.listener.drop()
        if not touched:
            raise FleetError(f"no machine is behind {breaker or feeder}")
        return touched

    def set_ambient(self, ambient_c: float) -> None:
        """Give every machine air of this temperature, from now on."""
        now, self.ambient_c = self.clock.time(), ambient_c
        for machine in self.machines:
            machine.breathe(now, ambient_c)

    # --- inside ---

    def _find(self, name: str) -> _Place:
        place = self._by_name.get(name)
        if place is None:
            place = next((place for place in self._places if place.machine.host == name), None)
        if place is None:
            raise FleetError(f"there is no machine {name!r} in this hall")
        return place

    def _on(self, breaker: str | None, feeder: str | None) -> Iterable[Machine]:
        if breaker is None and feeder is None:
            return (place.machine for place in self._places)
        return (place.machine for place in self._places if _is_on(place.machine, breaker, feeder))

    async def _move(self, place: _Place) -> None:
        """Let a machine answer at another address, as after a new DHCP lease; it stays where it is if none is free."""
        settings, before = self.settings, place.machine.host
        taken = {machine.host for machine in self.machines}
        place.listener.close()
        for _ in range(_SPARE_ADDRESSES):
            host = settings.address(len(self._places) + self._moves % _SPARE_ADDRESSES)
            self._moves += 1
            if host in taken:
                continue
            await place.listener.open(host, settings.port, settings.http_port)
            log.info("simulation: %s answers at %s now", place.machine.identity.name, host)
            return
        await place.listener.open(before, settings.port, settings.http_port)
        raise FleetError(f"no spare address is left in this hall: {_SPARE_ADDRESSES} machines have moved")

    def _ambient(self, now: float) -> float:
        settings = self.settings
        hours = now % 86_400 / 3_600 - _WARMEST_HOUR
        return settings.ambient_c + settings.ambient_swing_c * math.cos(2 * math.pi * hours / 24)

    async def _breathe(self) -> None:
        """Let the hall's air follow the day, a few machines at a time."""
        while True:
            await asyncio.sleep(_AMBIENT_INTERVAL_S)
            self.ambient_c = self._ambient(self.clock.time())
            for start in range(0, len(self._places), _SLICE):
                for place in self._places[start : start + _SLICE]:
                    place.machine.breathe(self.clock.time(), self.ambient_c)
                await asyncio.sleep(0)


def _tell_failure(task: asyncio.Task[None]) -> None:
    if not task.cancelled() and (error := task.exception()) is not None:
        log.error("simulation: hashing has ended: %s", error, exc_info=error)


def _is_on(machine: Machine, breaker: str | None, feeder: str | None) -> bool:
    identity = machine.identity
    return (breaker is None or identity.breaker == breaker) and (feeder is None or identity.feeder == feeder)
