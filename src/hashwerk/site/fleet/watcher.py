"""Looks at every machine again and again, so that one that hangs delays nobody else.

Machines are due at their own moments, spread over the interval, each a little off. A fixed number of workers takes whoever is
due; what takes longer than its deadline is cut off. Who has been silent for long is asked less often, but never given up.
"""

from __future__ import annotations

import asyncio
import heapq
import logging
import random
from collections.abc import Callable
from typing import Final

from hashwerk.clock import Clock
from hashwerk.errors import DeviceError, FleetError
from hashwerk.fleet.identity import MachineKey
from hashwerk.fleet.states import CHANGE_OF, State
from hashwerk.site.fleet.roster import Roster, Unit
from hashwerk.site.fleet.wire import Wire

log = logging.getLogger(__name__)

#: Who does not answer is asked less and less often, at last once in so many intervals.
_PATIENCE: Final = 6
#: Who is changing is looked at more closely.
_CLOSE: Final = 0.5
_JITTER: Final = 0.1

OnReading = Callable[[Unit, bool], None]


class Watcher:
    """Polls all machines of a roster.

    Resource handling: ``concurrency`` tasks at most are under way; each machine is asked by one of them at a time.

    Cancellation: `run` ends at once and closes what is under way.
    """

    def __init__(self, roster: Roster, wire: Wire, clock: Clock, on_reading: OnReading | None = None) -> None:
        self._roster = roster
        self._wire = wire
        self._clock = clock
        self._on_reading = on_reading
        self._due: list[tuple[float, int, MachineKey]] = []
        self._planned: dict[MachineKey, float] = {}
        self._under_way: set[MachineKey] = set()
        self._sequence = 0
        self._changed = asyncio.Event()
        self._random = random.Random(1)  # noqa: S311 - spreads load, guards nothing
        self.polls = 0
        self.lateness_s = 0.0  # how late the last poll began

    def add(self, key: MachineKey, within_s: float = 0.0) -> None:
        """Look at a machine within a while, and from then on."""
        self._plan(key, self._clock.monotonic() + within_s * self._random.random())
        self._changed.set()

    def hurry(self, key: MachineKey) -> None:
        """Look at a machine soon: it was told something."""
        if key in self._planned and key not in self._under_way:
            self._plan(key, self._clock.monotonic() + min(1.0, 0.1 * self._roster.settings.poll_s))
            self._changed.set()

    async def run(self) -> None:
        """Poll until cancelled."""
        for key in self._roster.units:
            self.add(key, self._roster.settings.poll_s)
        queue: asyncio.Queue[MachineKey] = asyncio.Queue(self._roster.settings.concurrency)
        async with asyncio.TaskGroup() as group:
            for _ in range(self._roster.settings.concurrency):
                group.create_task(self._work(queue))
            group.create_task(self._feed(queue))

    async def sweep(self) -> None:
        """Look at every machine once, as fast as it goes."""
        keys = list(self._roster.units)
        queue: asyncio.Queue[MachineKey] = asyncio.Queue()
        for key in keys:
            queue.put_nowait(key)

        async def drain() -> None:
            while not queue.empty():
                await self._poll(queue.get_nowait())

        async with asyncio.TaskGroup() as group:
            for _ in range(min(self._roster.settings.concurrency, len(keys))):
                group.create_task(drain())

    # Inside

    async def _feed(self, queue: asyncio.Queue[MachineKey]) -> None:
        while True:
            now = self._clock.monotonic()
            while self._due and self._due[0][0] <= now:
                at, _, key = heapq.heappop(self._due)
                if self._planned.get(key) != at or key in self._under_way:
                    continue  # planned anew meanwhile
                self._under_way.add(key)
                self.lateness_s = now - at
                await queue.put(key)
            wait_s = self._due[0][0] - self._clock.monotonic() if self._due else 1.0
            self._changed.clear()
            try:
                async with asyncio.timeout(max(0.0, min(wait_s, 1.0))):
                    await self._changed.wait()
            except TimeoutError:
                continue

    async def _work(self, queue: asyncio.Queue[MachineKey]) -> None:
        while True:
            key = await queue.get()
            try:
                await self._poll(key)
            finally:
                self._under_way.discard(key)
            unit = self._roster.units.get(key)
            if unit is None:
                self._planned.pop(key, None)
            else:
                self._plan(key, self._clock.monotonic() + self._next_s(unit))
                self._changed.set()

    async def _poll(self, key: MachineKey) -> None:
        unit = self._roster.units.get(key)
        if unit is None:
            return
        address = unit.member.address
        if address is None:
            self._roster.missed(unit, "its address belongs to another machine now", is_unreadable=False)
            return
        self.polls += 1
        try:
            reading = await self._wire.read(address, unit.member.driver, unit.member.identity.make)
        except DeviceError as error:
            self._roster.missed(unit, str(error), is_unreadable=_is_unreadable(error))
            return
        except FleetError as error:  # the ranges were changed: it is no longer ours to ask
            self._roster.missed(unit, str(error), is_unreadable=False)
            return
        found, is_new = self._roster.heard(address, reading, unit.member.driver)
        if found is not unit:
            self._roster.missed(unit, "another machine answers at its address", is_unreadable=False)
        if found is not None and self._on_reading is not None:
            self._on_reading(found, is_new)

    def _next_s(self, unit: Unit) -> float:
        interval_s = self._roster.settings.poll_s
        if unit.condition.state is State.UNREACHABLE:
            interval_s *= min(_PATIENCE, 1 + unit.condition.silences / self._roster.settings.silences)
        elif unit.condition.state in CHANGE_OF:
            interval_s *= _CLOSE
        return interval_s * (1 + _JITTER * (2 * self._random.random() - 1))

    def _plan(self, key: MachineKey, at: float) -> None:
        self._sequence += 1
        self._planned[key] = at
        heapq.heappush(self._due, (at, self._sequence, key))


def _is_unreadable(error: DeviceError) -> bool:
    """Say whether a machine answered, but with nothing that can be read: drivers tell it in words only."""
    text = str(error)
    return "be read" in text or "make a reading" in text or "does not answer as" in text
