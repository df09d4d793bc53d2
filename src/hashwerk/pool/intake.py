"""From bytes to answers: everything that came in during one turn of the event loop is handled together.

One batch is parsed and judged in compiled code, handed to the ledger in one call, and answered after its commit with one
write per connection. Blocks go to the node first, before the ledger and before any verdict.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final, Protocol

import numpy as np
from numpy.typing import NDArray

from hashwerk.clock import Clock
from hashwerk.pool.connection import Connection
from hashwerk.pool.jobs import JobBook
from hashwerk.pool.rows import Shares, fill, note_shares
from hashwerk.pool.seats import NO_SEAT, Seats
from hashwerk.pool.statistics import Statistics
from hashwerk.stratum.ports import Ledger
from hashwerk.stratum.v1.codec import RequestId
from hashwerk.stratum.v1.events import Event, SubmitReceived
from hashwerk.stratum.v1.results import encode_batch
from hashwerk.stratum.v1.submits import SUBMIT_DTYPE, Stop, most_submits, scan_batch, scan_submits
from hashwerk.work.batch import check_batch
from hashwerk.work.share import FLAG_BLOCK, SHARE_DTYPE, Verdict

log = logging.getLogger(__name__)

#: Up to so many connections are scanned one by one; more are worth the arrays that one call for all takes.
_FEW: Final = 3

OnEvent = Callable[[Connection, Event, float], None]
OnBlocks = Callable[[NDArray[np.void]], None]


class Forwarder(Protocol):
    """Takes shares on to the pools their jobs came from. Rows are of `work.batch.ROW_DTYPE`."""

    def forward(self, rows: NDArray[np.void]) -> None:
        """Hand in accepted shares that meet their job's notable target."""
        ...

    def count(self, rows: NDArray[np.void]) -> None:
        """Count accepted shares."""
        ...


@dataclass(slots=True)
class _Span:
    """Shares of one connection that follow each other in a batch."""

    connection: Connection
    first: int
    last: int


@dataclass(slots=True)
class _OddShare:
    """A share that the session core had to read, for its line is written in an unusual way."""

    connection: Connection
    id: RequestId
    event: SubmitReceived


@dataclass(slots=True)
class _Batch:
    """Shares on their way: from the socket to the ledger and back."""

    received_at: float  # perf_counter
    shares: Shares
    spans: list[_Span]
    odd: list[_OddShare]  # the last rows, in this order


@dataclass(slots=True)
class _Reading:
    """What one turn of the loop has read so far."""

    buffer: bytes
    array: NDArray[np.uint8]
    count: int = 0  # rows of the scanner that are filled
    spans: list[_Span] = field(default_factory=list)
    odd: list[_OddShare] = field(default_factory=list)


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
        on_event: OnEvent,
        on_blocks: OnBlocks,
        upstreams: Forwarder | None = None,
    ) -> None:
        self._book = book
        self._seats = seats
        self._ledger = ledger
        self._statistics = statistics
        self._clock = clock
        self._on_event = on_event
        self._on_blocks = on_blocks
        self._upstreams = upstreams
        self._loop = asyncio.get_running_loop()
        self._waiting: list[Connection] = []
        self._received_at = 0.0
        self._submits: NDArray[np.void] = np.empty(1_024, SUBMIT_DTYPE)  # the scanner's, used again each turn
        self._under_way = 0
        self.idle: Final = asyncio.Event()
        self.idle.set()

    def receive(self, connection: Connection, data: bytes) -> None:
        """Take bytes of a connection; they are handled after everything else that is ready to be read."""
        if connection.is_waiting:
            connection.incoming += data
            return
        if not self._waiting:
            self._received_at = time.perf_counter()
            self._loop.call_soon(self._process)
        connection.incoming = connection.incoming + data if connection.incoming else data
        connection.is_waiting = True
        self._waiting.append(connection)

    def _process(self) -> None:
        waiting, self._waiting = self._waiting, []
        now, at = self._clock.monotonic(), self._clock.time()
        reading = self._read(waiting, now)
        count = reading.count + len(reading.odd)
        if not count:
            return
        shares = Shares(count)
        self._name(shares, waiting, reading, int(at * 1e6))
        batch = _Batch(self._received_at, shares, reading.spans, reading.odd)
        self._judge(batch, at)
        self._under_way += 1
        self.idle.clear()
        self._ledger.append(shares.rows.view(SHARE_DTYPE), lambda error: self._answer(batch, error))

    # --- reading -------------------------------------------------------------------------------------------------

    def _read(self, waiting: list[Connection], now: float) -> _Reading:
        buffer = b"".join([connection.incoming for connection in waiting])
        reading = _Reading(buffer, np.frombuffer(buffer, np.uint8))
        if most_submits(len(buffer)) > len(self._submits):
            self._submits = np.empty(2 * most_submits(len(buffer)), SUBMIT_DTYPE)
        sizes = [len(connection.incoming) for connection in waiting]
        for connection in waiting:
            connection.incoming = b""
            connection.is_waiting = False
        if len(waiting) <= _FEW:
            self._read_few(waiting, sizes, reading, now)
        else:
            self._read_many(waiting, sizes, reading, now)
        return reading

    def _read_few(self, waiting: list[Connection], sizes: list[int], reading: _Reading, now: float) -> None:
        start = 0
        for segment, connection in enumerate(waiting):
            end = start + sizes[segment]
            # Before it has subscribed, whatever a connection says goes through its session, which makes it pay.
            newcomer = connection.seat == NO_SEAT
            at = start if newcomer else self._scan(connection, segment, reading, start, end)
            if at < end:
                self._read_rest(connection, segment, reading, at, end, now)
            start = end

    def _read_many(self, waiting: list[Connection], sizes: list[int], reading: _Reading, now: float) -> None:
        ends = np.cumsum(np.array(sizes, np.int64))
        starts = ends - sizes
        newcomers = np.array([connection.seat == NO_SEAT for connection in waiting])
        scan = scan_batch(reading.array, starts, np.where(newcomers, starts, ends), self._submits)
        reading.count = scan.count
        first_rows = scan.first_rows.tolist()
        for segment, connection in enumerate(waiting):
            if first_rows[segment] < first_rows[segment + 1]:
                reading.spans.append(_Span(connection, first_rows[segment], first_rows[segment + 1]))
        for segment in np.flatnonzero((scan.stops != Stop.END) | newcomers).tolist():
            at, end = int(scan.consumed[segment]), int(ends[segment])
            self._read_rest(waiting[segment], segment, reading, at, end, now)

    def _scan(self, connection: Connection, segment: int, reading: _Reading, start: int, end: int) -> int:
        """Read the canonical lines from ``start`` on; return where the first other one begins."""
        first = reading.count
        count, at, _ = scan_submits(reading.array, start, end, self._submits, first)
        if count:
            reading.count += count
            self._submits["segment"][first : reading.count] = segment
            reading.spans.append(_Span(connection, first, reading.count))
        return at

    def _read_rest(  # noqa: PLR0917
        self, connection: Connection, segment: int, reading: _Reading, at: int, end: int, now: float
    ) -> None:
        try:
            self._read_lines(connection, segment, reading, at, end, now)
        except (
            Exception
        ):  # a mistake of ours that one machine has found must not cost the others their answers
            log.exception("a line of %s cannot be handled; the connection is closed", connection.remote)
            self._statistics.count_drop("Internal error")
            connection.drop("Internal error")

    def _read_lines(  # noqa: PLR0917
        self, connection: Connection, segment: int, reading: _Reading, at: int, end: int, now: float
    ) -> None:
        """Read on from a line that the scanner cannot: through the session core, line by line, then scan again."""
        session, buffer = connection.session, reading.buffer
        while at < end and connection.is_open:
            line_end = buffer.find(b"\n", at, end)
            if max(line_end, at if line_end >= 0 else end) - at > session.limits.max_line_bytes:
                self._take(connection, session.line_too_long(), reading, now)
                return
            if line_end < 0:
                connection.incoming = buffer[at:end]
                break
            self._take(
                connection, session.receive_line(buffer[at:line_end].removesuffix(b"\r"), now), reading, now
            )
            at = line_end + 1
            if connection.seat != NO_SEAT:
                at = self._scan(connection, segment, reading, at, end)
        connection.flush()

    def _take(self, connection: Connection, events: list[Event], reading: _Reading, now: float) -> None:
        for event in events:
            if isinstance(event, SubmitReceived):
                reading.odd.append(_OddShare(connection, event.id, event))
            else:
                self._on_event(connection, event, now)

    # --- judging -------------------------------------------------------------------------------------------------

    def _name(self, shares: Shares, waiting: list[Connection], reading: _Reading, time_us: int) -> None:
        """Write the rows of the batch, each in the name of the worker that sent it."""
        seat_of_segment = np.array([connection.seat for connection in waiting], np.int32)
        submits = self._submits[: reading.count]
        strangers = fill(shares, submits, seat_of_segment, self._seats.notes, time_us)
        for row in strangers.tolist():
            connection = waiting[submits[row]["segment"]]
            worker_id = connection.session.worker_of_hash(int(submits[row]["user_hash"]))
            if worker_id is not None:
                shares.rows[row]["worker"] = worker_id
                shares.rows[row]["verdict"] = Verdict.ACCEPTED
        for row, odd in enumerate(reading.odd, start=reading.count):
            self._name_odd(shares, row, odd, time_us)

    def _name_odd(self, shares: Shares, row: int, odd: _OddShare, time_us: int) -> None:
        event = odd.event
        worker_id = odd.connection.session.worker_of(event.user)
        shares.seats[row] = odd.connection.seat
        shares.sizes[row] = event.extranonce2_size
        shares.ids[row] = 0
        record = shares.rows[row]
        record["time_us"], record["worker"] = time_us, worker_id or 0
        record["job"], record["extranonce2"] = event.job_id, event.extranonce2
        record["ntime"], record["nonce"] = event.ntime, event.nonce
        record["version"] = event.version_bits or 0
        record["hash_key"] = record["work_log2"] = record["flags"] = record["epoch"] = 0
        record["verdict"] = Verdict.ACCEPTED if worker_id is not None else Verdict.UNAUTHORIZED

    def _judge(self, batch: _Batch, at: float) -> None:
        shares = batch.shares
        checked = check_batch(
            self._book.table,
            shares.rows,
            extranonce2_sizes=shares.sizes,
            seats=shares.seats,
            terms=self._seats.terms,
            now=at,
        )
        if checked.blocks:
            self._on_blocks(shares.rows[(shares.rows["flags"] & FLAG_BLOCK) != 0])
        self._book.duplicates.judge_batch(shares.rows, checked)
        if self._upstreams is not None:
            accepted = shares.rows[shares.rows["verdict"] == Verdict.ACCEPTED]
            if checked.blocks:
                self._upstreams.forward(accepted[(accepted["flags"] & FLAG_BLOCK) != 0])
            if len(accepted):
                self._upstreams.count(accepted)
        note_shares(shares.rows, shares.seats, self._seats.notes)

    # --- answering -----------------------------------------------------------------------------------------------

    def _answer(self, batch: _Batch, error: BaseException | None) -> None:
        shares = batch.shares
        if error is not None:
            self._book.duplicates.forget_rows(shares.rows)
            # The ledger may still hold the rows it was given, so the verdicts are changed in a copy.
            shares.rows = shares.rows.copy()
            shares.rows["verdict"][shares.rows["verdict"] == Verdict.ACCEPTED] = Verdict.NOT_STORED
        self._statistics.count_shares(shares.rows)
        results = encode_batch(shares.ids, np.ascontiguousarray(shares.rows["verdict"]))
        for span in batch.spans:
            span.connection.write(results.lines(span.first, span.last))
        verdicts = shares.rows["verdict"][len(shares.rows) - len(batch.odd) :].tolist()
        for odd, verdict in zip(batch.odd, verdicts, strict=True):
            if verdict == Verdict.ACCEPTED:
                odd.connection.session.accept_share(odd.id)
            else:
                odd.connection.session.reject_share(odd.id, Verdict(verdict))
            odd.connection.flush()
        now = time.perf_counter()
        self._statistics.submit_latency.add(
            now - batch.received_at, self._clock.monotonic(), len(shares.rows)
        )
        self._under_way -= 1
        if not self._under_way:
            self.idle.set()
