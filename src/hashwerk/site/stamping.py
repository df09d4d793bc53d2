"""Has the site's epochs stamped by those whom the settings name, and keeps asking until they do.

Owned by the loop of the `site` process; every service has a task of its own, so that one that is slow holds up no other.
Resource handling: what was given is on disk before the next thing is asked. Cancellation: `run` ends at once.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from hashwerk.clock import Clock
from hashwerk.errors import HashwerkError
from hashwerk.evidence.keys import EVENT
from hashwerk.site.time_services import Epoch, EquivocationClaimedError, TimeService
from hashwerk.store import epochs
from hashwerk.store.connection import connect_reader
from hashwerk.store.stamp_book import KeptStamp, StampBook

log = logging.getLogger(__name__)

#: How often a service's turn is looked for.
LOOK_S: Final = 5.0
#: After a failure the pause doubles from the first to the last of these.
FIRST_PAUSE_S: Final = 15.0
LAST_PAUSE_S: Final = 3_600.0
#: A proof that waits for its block is asked for so often: blocks come every ten minutes.
COMPLETE_S: Final = 900.0


@dataclass(slots=True)
class ServiceState:
    """What people are told of a service."""

    name: str
    problem: str = ""
    failures: int = 0
    last_epoch: int | None = None  # that it stamped
    last_at: float | None = None
    waiting: int = 0  # stamps that wait for their block


class Stamping:
    """The stamps of one site."""

    def __init__(
        self,
        ledger: Path,
        book: StampBook,
        services: Sequence[TimeService],
        clock: Clock,
        *,
        every_s: float,
        look_s: float = LOOK_S,
        first_pause_s: float = FIRST_PAUSE_S,
        complete_s: float = COMPLETE_S,
    ) -> None:
        """Stamp the epochs of ``ledger`` every ``every_s`` seconds, keep what is given in ``book``."""
        self._ledger = ledger
        self._book = book
        self._services = tuple(services)
        self._clock = clock
        self._every_s = every_s
        self._look_s = look_s
        self._first_pause_s = first_pause_s
        self._complete_s = complete_s
        self.states = [ServiceState(service.name) for service in self._services]

    async def run(self) -> None:
        """Stamp until cancelled."""
        async with asyncio.TaskGroup() as group:
            for service, state in zip(self._services, self.states, strict=True):
                group.create_task(self._keep(service, state), name=f"stamp-{service.name}")

    async def _keep(self, service: TimeService, state: ServiceState) -> None:
        asked_at = float("-inf")  # when waiting stamps were last asked for
        while True:
            pause = self._look_s
            try:
                await self._stamp_if_due(service, state)
                if self._clock.monotonic() - asked_at >= self._complete_s:
                    asked_at = self._clock.monotonic()
                    await self._complete(service, state)
                if state.problem:
                    log.info("%s stamps again", service.name)
                state.problem, state.failures = "", 0
            except HashwerkError as error:
                pause = self._failed(state, error)
            await asyncio.sleep(pause)

    def _failed(self, state: ServiceState, error: HashwerkError) -> float:
        """Return how long to wait."""
        if str(error) != state.problem:
            log.warning("no external time: %s", error)
        state.problem = str(error)
        state.failures += 1
        if isinstance(error, EquivocationClaimedError):
            return LAST_PAUSE_S
        return float(min(self._first_pause_s * 2 ** min(state.failures - 1, 16), LAST_PAUSE_S))

    async def _stamp_if_due(self, service: TimeService, state: ServiceState) -> None:
        """Have the last epoch stamped, if the one that was stamped last ended long enough before it."""
        last = await asyncio.to_thread(self._book.last_of, service.name)
        _note(state, last)
        epoch = await asyncio.to_thread(self._due, None if last is None else last.stamp.epoch)
        if epoch is None:
            return
        given = await service.stamp(epoch)
        now = self._clock.time()
        await asyncio.to_thread(self._book.put, given.stamp, service.name, int(now * 1e6), waits=given.waits)
        state.last_epoch, state.last_at = epoch.number, now
        log.info("epoch %d is stamped by %s", epoch.number, service.name)

    async def _complete(self, service: TimeService, state: ServiceState) -> None:
        waiting = await asyncio.to_thread(self._book.waiting, service.name)
        state.waiting = len(waiting)
        for kept in waiting:
            given = await service.complete(kept.stamp)
            if given is not None:
                now_us = int(self._clock.time() * 1e6)
                await asyncio.to_thread(self._book.put, given.stamp, service.name, now_us)
                state.waiting -= 1

    def _due(self, stamped: int | None) -> Epoch | None:
        """Return the last closed epoch if it is to be stamped now."""
        if not self._ledger.exists():
            return None
        connection = connect_reader(self._ledger)
        try:
            last = epochs.last_epoch(connection)
            if last is None or last.signed.header.number == 0:
                return None
            if stamped is not None:
                rows = list(epochs.read_epochs(connection, stamped, stamped))
                since_us = last.signed.header.end_us - (rows[0].signed.header.end_us if rows else 0)
                if last.signed.header.number <= stamped or since_us < self._every_s * 1e6:
                    return None
            events = tuple(EVENT.encode(event) for event in epochs.read_key_events(connection))
            return Epoch(last.signed, events)
        finally:
            connection.close()


def _note(state: ServiceState, last: KeptStamp | None) -> None:
    if last is not None:
        state.last_epoch, state.last_at = last.stamp.epoch, last.at_us / 1e6
