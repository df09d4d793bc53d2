"""From bytes to answers: everything that came in during one turn of the event loop is handled together.

One batch is parsed and judged in compiled code, handed to the ledger in one call, and answered after its
commit with one write per connection. Blocks go to the node first, before the ledger and before any verdict.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final

import numpy as np
from numpy.typing import NDArray

from hashwerk.clock import Clock
from hashwerk.pool.connection import Connection
from hashwerk.pool.jobs import JobBook
from hashwerk.pool.seats import Seats
from hashwerk.pool.statistics import Statistics
from hashwerk.stratum.ports import Ledger
from hashwerk.stratum.v1.codec import RequestId
from hashwerk.stratum.v1.events import Event, SubmitReceived
from hashwerk.work.batch import ROW_DTYPE, check_batch
from hashwerk.work.share import FLAG_BLOCK, SHARE_DTYPE, Verdict

log = logging.getLogger(__name__)

OnEvents = Callable[[Connection, list[Event], float], None]
OnBlocks = Callable[[NDArray[np.void]], None]


@dataclass(slots=True)
class _Batch:
    """Shares on their way: from the socket to the ledger and back."""

    received_at: float  # perf_counter
    connections: list[Connection] = field(default_factory=list)
    ids: list[RequestId] = field(default_factory=list)
    submits: list[tuple[int, int, int, int, int, int, int]] = field(default_factory=list)
    sizes: list[int] = field(default_factory=list)
    rows: NDArray[np.void] = field(default_factory=lambda: np.zeros(0, ROW_DTYPE))

    def add(self, connection: Connection, event: SubmitReceived) -> None:
        """Take a share."""
        worker_id = connection.session.worker_of(event.user)
        verdict = Verdict.ACCEPTED if worker_id is not None else Verdict.UNAUTHORIZED
        bits = event.version_bits or 0
        self.connections.append(connection)
        self.ids.append(event.id)
        self.sizes.append(event.extranonce2_size)
        self.submits.append(
            (worker_id or 0, event.job_id, event.ntime, event.nonce, bits, event.extranonce2, verdict)
        )

    def pack(self, time_us: int) -> None:
        """Write the shares into rows."""
        rows = np.zeros(len(self.submits), ROW_DTYPE)
        columns = zip(*self.submits, strict=True)
        names = ("worker", "job", "ntime", "nonce", "version", "extranonce2", "verdict")
        for name, values in zip(names, columns, strict=True):
            rows[name] = values
        rows["time_us"] = time_us
        self.rows = rows


class Intake:
    """Collects what comes in and judges it once per turn of the loop.

    Resource handling:
        A batch holds its shares until the ledger has answered; `idle` is set when none is under way.
    """

    def __init__(
        self,
        *,
        book: JobBook,
        seats: Seats,
        ledger: Ledger,
        statistics: Statistics,
        clock: Clock,
        on_events: OnEvents,
        on_blocks: OnBlocks,
    ) -> None:
        self._book = book
        self._seats = seats
        self._ledger = ledger
        self._statistics = statistics
        self._clock = clock
        self._on_events = on_events
        self._on_blocks = on_blocks
        self._loop = asyncio.get_running_loop()
        self._chunks: list[tuple[Connection, bytes]] = []
        self._received_at = 0.0
        self._under_way = 0
        self.idle: Final = asyncio.Event()
        self.idle.set()

    def receive(self, connection: Connection, data: bytes) -> None:
        """Take bytes of a connection; they are handled after everything else that is ready to be read."""
        if not self._chunks:
            self._received_at = time.perf_counter()
            self._loop.call_soon(self._process)
        self._chunks.append((connection, data))

    def _process(self) -> None:
        chunks, self._chunks = self._chunks, []
        now, at = self._clock.monotonic(), self._clock.time()
        batch = _Batch(self._received_at)
        for connection, data in chunks:
            self._read(connection, data, batch, now)
        if batch.submits:
            self._judge(batch, now, at)

    def _read(self, connection: Connection, data: bytes, batch: _Batch, now: float) -> None:
        session = connection.session
        *lines, rest = (session.take_held() + data).split(b"\n")
        for line in lines:
            fits = len(line) <= session.limits.max_line_bytes
            events = session.receive_line(line, now) if fits else session.line_too_long()
            self._take(connection, events, batch, now)
        if rest:
            self._take(connection, session.receive_data(rest, now), batch, now)
        connection.flush()

    def _take(self, connection: Connection, events: list[Event], batch: _Batch, now: float) -> None:
        for event in events:
            if isinstance(event, SubmitReceived):
                batch.add(connection, event)
            else:
                self._on_events(connection, [event], now)

    def _judge(self, batch: _Batch, now: float, at: float) -> None:
        batch.pack(int(at * 1e6))
        rows = batch.rows
        seats = np.array([connection.seat or 0 for connection in batch.connections], np.int32)
        checked = check_batch(
            self._book.table,
            rows,
            extranonce2_sizes=np.array(batch.sizes, np.uint8),
            seats=seats,
            terms=self._seats.terms,
            now=at,
        )
        if checked.blocks:
            self._on_blocks(rows[(rows["flags"] & FLAG_BLOCK) != 0])
        self._book.duplicates.judge_batch(rows, checked)
        self._under_way += 1
        self.idle.clear()
        self._ledger.append(rows.view(SHARE_DTYPE), lambda error: self._answer(batch, error))

    def _answer(self, batch: _Batch, error: BaseException | None) -> None:
        rows, now = batch.rows, self._clock.monotonic()
        if error is not None:
            self._book.duplicates.forget_rows(rows)
            rows["verdict"][rows["verdict"] == Verdict.ACCEPTED] = Verdict.NOT_STORED
        self._statistics.count_shares(rows)
        touched = dict.fromkeys(batch.connections)
        for connection, request_id, verdict in zip(
            batch.connections, batch.ids, rows["verdict"].tolist(), strict=True
        ):
            if verdict == Verdict.ACCEPTED:
                connection.session.accept_share(request_id)
                events = connection.session.apply_verdicts(1, 0, now)
            else:
                connection.session.reject_share(request_id, Verdict(verdict))
                events = connection.session.apply_verdicts(0, 1, now)
            if events:
                self._on_events(connection, events, now)
        for connection in touched:
            connection.flush()
        ended_at = time.perf_counter()
        self._statistics.submit_latency.add(ended_at - batch.received_at, now, len(rows))
        self._under_way -= 1
        if not self._under_way:
            self.idle.set()
