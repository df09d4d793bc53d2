"""The ledger as pages and API read it: off the event loop, and once for all who look.

`store.reader.LedgerReader` is what stands behind the port; it blocks, so it is called in a thread of its own.
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Final, Protocol, TypeVar

import msgspec

from hashwerk.clock import Clock
from hashwerk.stratum.ports import BlockRecord

T = TypeVar("T")

#: Further back than this no page of events reaches at once.
MAX_EVENTS: Final = 500
MAX_POINTS: Final = 2_000
LOST_STATES: Final = frozenset({"rejected", "orphaned"})


class MeasuredRate(Protocol):
    """A hash rate in hashes per second with its 95 % interval."""

    @property
    def hs(self) -> float:
        """The estimate."""
        ...

    @property
    def low_hs(self) -> float:
        """The lower bound."""
        ...

    @property
    def high_hs(self) -> float:
        """The upper bound; infinite where no share came at all."""
        ...

    @property
    def shares(self) -> int:
        """Accepted shares it rests on."""
        ...


class Step(Protocol):
    """What the shares of one step of time show."""

    @property
    def start_s(self) -> int:
        """Unix seconds at which the step starts."""
        ...

    @property
    def rate(self) -> MeasuredRate | None:
        """The measured hash rate; None where nothing at all was recorded."""
        ...

    @property
    def rejected(self) -> int:
        """Shares rejected."""
        ...


class LedgerEvent(Protocol):
    """A change of state."""

    @property
    def id(self) -> int:
        """Grows with time."""
        ...

    @property
    def time(self) -> float:
        """Unix seconds."""
        ...

    @property
    def kind(self) -> str:
        """What it is about."""
        ...

    @property
    def message(self) -> str:
        """What happened, in words."""
        ...

    @property
    def details(self) -> Mapping[str, Any]:
        """Who and what else."""
        ...


class LedgerWorker(Protocol):
    """A machine of an account."""

    @property
    def id(self) -> int:
        """The worker's number in the ledger."""
        ...

    @property
    def account(self) -> str:
        """The account's name."""
        ...

    @property
    def machine(self) -> str:
        """The machine's name."""
        ...


class Ledger(Protocol):
    """What is asked of the ledger's reader; every call may block, and raises StoreError if it cannot read."""

    def series(self, step_s: int, since_s: float, until_s: float) -> Sequence[Step]:
        """Return the steps between two times, oldest first."""
        ...

    def events(self, limit: int, before: int | None = None) -> Sequence[LedgerEvent]:
        """Return the newest events first, or the newest older than event ``before``."""
        ...

    def blocks(self, limit: int | None = None) -> Sequence[BlockRecord]:
        """Return the blocks found, newest first."""
        ...

    def workers(self) -> Sequence[LedgerWorker]:
        """Return all workers."""
        ...


class Point(msgspec.Struct, frozen=True):
    """A step of a series; a gap has no rate, and a step without shares no upper bound."""

    start: float
    hashrate_hs: float | None = None
    low_hs: float | None = None
    high_hs: float | None = None
    accepted: int = 0
    rejected: int = 0


class Range(msgspec.Struct, frozen=True):
    """A span of time that a chart can show."""

    name: str
    span_s: int
    step_s: int

    @property
    def refresh_s(self) -> float:
        """How long what was read for this range holds."""
        return min(self.step_s / 6, 60.0)


#: Kept in memory from what `serve` reports, so that a mine is seen from its first minute.
LIVE: Final = Range("10 min", 600, 5)

#: Read from the ledger. A new range is one row here; the step divides the span into at most a few hundred points.
RANGES: Final = (
    Range("1 h", 3_600, 60),
    Range("24 h", 86_400, 900),
    Range("7 d", 604_800, 7_200),
)


class History:
    """Reads the ledger for everybody, and keeps what it read for as long as it holds.

    Resource handling:
        One thread; `close` ends it. At most one answer a range is kept.

    Cancellation:
        A cancelled call lets its read run to its end in the thread and drops the answer.
    """

    def __init__(self, ledger: Ledger | None, clock: Clock) -> None:
        self._ledger = ledger
        self._clock = clock
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="ledger-reader")
        self._kept: dict[str, tuple[float, list[Point]]] = {}
        self._found: dict[str, tuple[float, list[float]]] = {}
        self._locks = {span.name: asyncio.Lock() for span in RANGES}

    @property
    def is_known(self) -> bool:
        """Say whether there is a ledger to read."""
        return self._ledger is not None

    async def range(self, span: Range) -> list[Point]:
        """Return the points of a range up to now, with gaps filled in; read at most six times a step.

        Raises:
            StoreError: If the ledger cannot be read.
        """
        async with self._locks[span.name]:
            now = self._clock.time()
            read_at, points = self._kept.get(span.name, (0.0, []))
            if now - read_at >= span.refresh_s or now < read_at:
                points = await self.series(span.step_s, now - span.span_s, now)
                self._kept[span.name] = (now, points)
            return points

    async def series(self, step_s: int, since: float, until: float) -> list[Point]:
        """Return one point for each step from ``since`` to ``until``, aligned to the step.

        The step that is still running is left out: its rate would look low.

        Raises:
            StoreError: If the ledger cannot be read.
        """
        ledger = self._ledger
        if ledger is None:
            return []
        first, last = int(since // step_s) * step_s, int(until // step_s) * step_s
        steps = await self._call(lambda: ledger.series(step_s, float(first), float(last)))
        known = {step.start_s: step for step in steps}
        return [_point(start, known.get(start)) for start in range(first, last, step_s)]

    async def found(self, span: Range) -> list[float]:
        """Return when blocks of ours were found that still count; read as seldom as the points.

        Raises:
            StoreError: If the ledger cannot be read.
        """
        ledger = self._ledger
        if ledger is None:
            return []
        now = self._clock.time()
        read_at, times = self._found.get(span.name, (0.0, []))
        if now - read_at >= span.refresh_s or now < read_at:
            # A private chain finds one every minute or so: this many for each hour of the span is plenty.
            limit = 200 * max(1, span.span_s // 3_600)
            blocks = await self._call(lambda: ledger.blocks(limit))
            times = [block.found_at for block in blocks if block.state not in LOST_STATES]
            self._found[span.name] = (now, times)
        return times

    async def events(self, limit: int, before: int | None = None) -> Sequence[LedgerEvent]:
        """Return the newest events first.

        Raises:
            StoreError: If the ledger cannot be read.
        """
        ledger = self._ledger
        if ledger is None:
            return []
        return await self._call(lambda: ledger.events(limit, before))

    async def blocks(self, limit: int) -> list[tuple[BlockRecord, str | None]]:
        """Return the newest blocks with the name of the machine that found each.

        Raises:
            StoreError: If the ledger cannot be read.
        """
        ledger = self._ledger
        if ledger is None:
            return []
        found = await self._call(lambda: ledger.blocks(limit))
        workers = await self._call(ledger.workers) if found else ()
        names = {worker.id: f"{worker.account}.{worker.machine}".rstrip(".") for worker in workers}
        return [(block, None if block.worker_id is None else names.get(block.worker_id)) for block in found]

    def close(self) -> None:
        """End the thread once its read is done."""
        self._thread.shutdown(wait=False, cancel_futures=True)

    async def _call(self, read: Callable[[], T]) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._thread, read)


def _point(start: int, step: Step | None) -> Point:
    if step is None or step.rate is None:
        return Point(float(start), rejected=0 if step is None else step.rejected)
    rate = step.rate
    high_hs = rate.high_hs if math.isfinite(rate.high_hs) else None
    return Point(float(start), rate.hs, rate.low_hs, high_hs, rate.shares, step.rejected)
