"""Jobs to machines: one to a machine that begins or gets a new target, and all of them on a new template."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable
from typing import Final

from hashwerk.chain.header import hash_to_hex
from hashwerk.chain.template import Template
from hashwerk.clock import Clock
from hashwerk.errors import HashwerkError
from hashwerk.pool.connection import Connection
from hashwerk.pool.jobs import OWN, JobBook
from hashwerk.pool.seats import NO_SEAT, Seats
from hashwerk.pool.statistics import Broadcast, Statistics

log = logging.getLogger(__name__)

_SLICE: Final = 100  # machines that get a job between two looks at the sockets: under two milliseconds


class Dispatcher:
    """Sends jobs.

    Cancellation:
        A broadcast that is cancelled has reached some machines and not others; the next one reaches all.
    """

    def __init__(
        self,
        book: JobBook,
        seats: Seats,
        statistics: Statistics,
        clock: Clock,
        fit: Callable[[Connection], None],
    ) -> None:
        """Prepare; ``fit`` brings a connection's target within the bounds of its work before a job is made."""
        self._fit = fit
        self._book = book
        self._seats = seats
        self._statistics = statistics
        self._clock = clock
        self._failure: str | None = None
        self._sending: dict[int, asyncio.Lock] = {}

    @property
    def failure(self) -> str | None:
        """Why no job can be made, in words; None while all is well."""
        return self._failure

    def send(self, connection: Connection, *, clean: bool) -> None:
        """Send the current job of the connection's source, account and target, if it may work and there is work."""
        work = self._book.work(connection.source)
        if connection.account is None or connection.seat == NO_SEAT or work is None:
            return
        if not connection.session.is_active or not connection.is_open:
            return
        self._fit(connection)
        try:
            prepared = self._book.prepare(
                connection.account, connection.work_log2, connection.room, connection.source
            )
        except HashwerkError as error:
            self._fail(str(error))
            return
        self._failure = None
        self._seats.note_work(connection.seat, connection.work_log2)
        connection.send_job(prepared, clean=clean, now=self._clock.monotonic())

    async def use_template(self, template: Template) -> None:
        """Give every machine that works for ourselves a job of this template."""
        started_at = time.perf_counter()
        new_block = self._book.use_template(template)
        if new_block:
            self._seats.next_block(OWN)
            log.info("new work: height %d on %s", template.height, hash_to_hex(template.prev_hash))
        await self.broadcast(OWN, started_at, new_block=new_block)

    async def refresh(self) -> None:
        """Replace jobs that have become old although no template came."""
        if self._book.refresh():
            await self.broadcast(OWN, time.perf_counter(), new_block=False)

    async def broadcast(self, source: int, started_at: float, *, new_block: bool) -> None:
        """Send the current job of a source to all its machines.

        Args:
            source: Where the work comes from.
            started_at: When it came in, by `time.perf_counter`.
            new_block: Whether machines are to drop what they work on.
        """
        async with self._sending.setdefault(source, asyncio.Lock()):
            # The fastest machines first: what they do on the old block is the most that is lost.
            targets = [connection for connection in self._seats if connection.source == source]
            targets.sort(key=lambda connection: -connection.work_log2)
            if not targets:
                return
            first_at = None
            for start in range(0, len(targets), _SLICE):
                for connection in targets[start : start + _SLICE]:
                    if connection.source != source:
                        continue  # moved meanwhile, and has its job
                    self.send(connection, clean=new_block)
                    if first_at is None:
                        first_at = time.perf_counter()
                await asyncio.sleep(0)
        last_at = time.perf_counter()
        broadcast = Broadcast(
            sessions=len(targets),
            first_ms=1000 * ((first_at or last_at) - started_at),
            last_ms=1000 * (last_at - started_at),
            new_block=new_block,
        )
        self._statistics.count_broadcast(broadcast, self._clock.monotonic())

    def forget(self, source: int) -> None:
        """Forget a source that is gone."""
        self._sending.pop(source, None)

    def _fail(self, message: str) -> None:
        if message != self._failure:
            log.error("no job can be made: %s", message)
        self._failure = message
