"""What is done for sessions again and again: their costs, their targets, and the end of those that do nothing."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Final

import numpy as np

from hashwerk.clock import Clock
from hashwerk.pool.connection import Connection
from hashwerk.pool.seats import NO_SEAT, Seats
from hashwerk.pool.targets import Targets
from hashwerk.stratum.v1.events import Event

#: How often sessions that handed in shares are looked at. A flood, or a machine far too fast, goes on no longer.
LOOK_S: Final = 0.1
SWEEP_S: Final = 1.0
_LOOKED_AT_ONCE: Final = 32  # between two looks at the sockets: a fraction of a millisecond
_SWEPT_AT_ONCE: Final = 250
_SWEEPS_FOR_ALL: Final = 5  # every connection's deadline is looked at once in so many sweeps

OnEvent = Callable[[Connection, Event, float], None]


class Upkeep:
    """Looks after sessions in small steps, so that shares are answered in between."""

    def __init__(self, seats: Seats, targets: Targets, clock: Clock, on_event: OnEvent) -> None:
        self._seats = seats
        self._targets = targets
        self._clock = clock
        self._on_event = on_event
        self._turn = -1
        self._round: list[Connection] = []

    async def look_after_shares(self) -> None:
        """Charge sessions for their shares and let vardiff see them, until cancelled."""
        while True:
            await asyncio.sleep(LOOK_S)
            notes = self._seats.notes
            due = np.flatnonzero(
                (notes["submits"] > 0) | (notes["deadline"] < self._clock.monotonic())
            ).tolist()
            for start in range(0, len(due), _LOOKED_AT_ONCE):
                for seat in due[start : start + _LOOKED_AT_ONCE]:
                    self.look_at(seat)
                await asyncio.sleep(0)

    def look_at(self, seat: int) -> None:
        """Charge one session for what it handed in since the last look, and let vardiff decide."""
        connection, note = self._seats[seat], self._seats.notes[seat]
        submits, rejected = int(note["submits"]), int(note["rejected"])
        note["submits"] = note["rejected"] = 0
        if connection is None or seat == NO_SEAT:
            return
        if submits:
            now = self._clock.monotonic()
            session = connection.session
            events = session.apply_submits(submits, now)
            for event in events + session.apply_verdicts(submits - rejected, rejected, now):
                self._on_event(connection, event, now)
        self._targets.look_at(seat)

    async def sweep(self, connections: list[Connection]) -> None:
        """Close those of a part of the connections whose time is over."""
        self._turn = (self._turn + 1) % _SWEEPS_FOR_ALL
        if self._turn == 0:
            self._round = connections
        due = self._round[self._turn :: _SWEEPS_FOR_ALL]
        for start in range(0, len(due), _SWEPT_AT_ONCE):
            now = self._clock.monotonic()
            for connection in due[start : start + _SWEPT_AT_ONCE]:
                if not connection.is_open:
                    continue
                for event in connection.session.on_time(now):
                    self._on_event(connection, event, now)
            await asyncio.sleep(0)
