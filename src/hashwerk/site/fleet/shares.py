"""Hash rates of machines as their shares prove them: the ledger is followed, share by share.

Resource handling: the times of the shares of the last quarter of an hour are kept, 16 bytes each.
"""

from __future__ import annotations

import asyncio
import bisect
import logging
from array import array
from collections.abc import Iterable, Mapping, Sequence
from typing import Final, Protocol

import numpy as np

from hashwerk.clock import Clock
from hashwerk.errors import StoreError
from hashwerk.stratum.ports import ShareRecords
from hashwerk.work.poisson import Rate, weighted_intervals
from hashwerk.work.share import Verdict

log = logging.getLogger(__name__)

#: How far back rates reach.
KEEP_S: Final = 900.0
#: The usual window of a measured rate.
WINDOW_S: Final = 600.0
_BATCH: Final = 50_000


class WorkerName(Protocol):
    """A worker of the ledger."""

    @property
    def id(self) -> int:
        """Its number in share records."""
        ...

    @property
    def account(self) -> str:
        """Whose it is."""
        ...

    @property
    def machine(self) -> str:
        """Its name within the account."""
        ...

    @property
    def created_at(self) -> float:
        """When it was first seen."""
        ...


class ShareLedger(Protocol):
    """What is needed of the ledger's reader."""

    def position_at(self, time_s: float) -> int:
        """Return a position before which no share was received at or after a time."""
        ...

    def shares(self, first: int, limit: int) -> tuple[int, ShareRecords]:
        """Return (position of the first one, records) from a position on."""
        ...

    def workers(self) -> Sequence[WorkerName]:
        """Return all workers."""
        ...


class ShareMeter:
    """Counts shares by worker name. Owned by the fleet's loop; reading the ledger is done in a thread.

    ``scale`` is the hash rate of a machine over that of its twin: 1 for real machines.
    """

    def __init__(
        self, ledger: ShareLedger | None, clock: Clock, *, scale: float = 1.0, interval_s: float = 2.0
    ) -> None:
        self._ledger = ledger
        self._clock = clock
        self._scale = scale
        self._interval_s = interval_s
        self._position: int | None = None
        self._times: dict[int, array[float]] = {}
        self._works: dict[int, array[float]] = {}
        self._lifetime: dict[int, tuple[int, float]] = {}
        self._ids: dict[str, int] = {}
        self._first_at: dict[int, float] = {}
        self._since = clock.time()
        self._read_at: float | None = None
        self._failure = ""

    @property
    def is_fresh(self) -> bool:
        """Whether the ledger was read lately, so that no share means that there was none."""
        return self._read_at is not None and self._clock.time() - self._read_at < 5 * self._interval_s + 5.0

    async def run(self) -> None:
        """Follow the ledger."""
        if self._ledger is None:
            return
        while True:
            await self.follow()
            await asyncio.sleep(self._interval_s)

    async def follow(self) -> None:
        """Take in everything that came into the ledger since the last time."""
        ledger = self._ledger
        if ledger is None:
            return
        now = self._clock.time()
        try:
            if self._position is None:
                self._since = now - KEEP_S
                self._position = await asyncio.to_thread(ledger.position_at, self._since)
            while True:
                first, records = await asyncio.to_thread(ledger.shares, self._position, _BATCH)
                self._position = first + len(records)
                if len(records):
                    await self._learn_names(ledger, records)
                    self.add(records)
                if len(records) < _BATCH:
                    break
        except StoreError as error:
            if str(error) != self._failure:
                log.warning("shares cannot be followed: %s", error)
            self._failure = str(error)
            return
        self._failure = ""
        self._read_at = now

    async def _learn_names(self, ledger: ShareLedger, records: ShareRecords) -> None:
        known = set(self._ids.values())
        if not known.issuperset(np.unique(records["worker"]).tolist()):
            self.learn(await asyncio.to_thread(ledger.workers))

    def learn(self, workers: Iterable[WorkerName]) -> None:
        """Take in which workers there are, and since when."""
        for row in workers:
            self._ids[f"{row.account}.{row.machine}" if row.machine else row.account] = row.id
            self._first_at[row.id] = row.created_at

    def add(self, records: ShareRecords) -> None:
        """Count shares."""
        accepted = records[records["verdict"] == Verdict.ACCEPTED]
        if not len(accepted):
            return
        order = np.argsort(accepted["worker"], kind="stable")
        workers = accepted["worker"][order]
        times = accepted["time_us"][order] / 1e6
        works = np.ldexp(self._scale, accepted["work_log2"][order].astype(np.int32))
        starts = np.flatnonzero(np.r_[True, workers[1:] != workers[:-1]])
        oldest = self._clock.time() - KEEP_S
        for start, end in zip(starts, [*starts[1:], len(workers)], strict=True):
            worker = int(workers[start])
            mine = self._times.setdefault(worker, array("d"))
            work = self._works.setdefault(worker, array("d"))
            mine.extend(times[start:end].tolist())
            work.extend(works[start:end].tolist())
            count, total = self._lifetime.get(worker, (0, 0.0))
            self._lifetime[worker] = count + int(end - start), total + float(works[start:end].sum())
            if mine[0] < oldest:
                cut = bisect.bisect_left(mine, oldest)
                del mine[:cut]
                del work[:cut]

    def lifetime(self, name: str) -> tuple[int, float]:
        """Return shares and work of a worker since we follow the ledger."""
        worker = self._ids.get(name)
        return (0, 0.0) if worker is None else self._lifetime.get(worker, (0, 0.0))

    def knows(self, name: str) -> bool:
        """Say whether the ledger has a worker of this name."""
        return name in self._ids

    def rate(self, name: str, since: float, until: float) -> Rate | None:
        """Return a worker's rate over an interval; None if it never handed in a share, or it lies before our memory."""
        return self.rates({name: (since, until)}).get(name)

    def rates(self, wanted: Mapping[str, tuple[float, float]]) -> dict[str, Rate]:
        """Return rates of many workers at once, each over an interval of its own; those that are not known are left out."""
        if not self.is_fresh:
            return {}
        oldest = self._clock.time() - KEEP_S  # earlier ones are forgotten: that none is left says nothing
        names: list[str] = []
        columns: list[tuple[float, float, float, float, int]] = []
        for name, (start, end) in wanted.items():
            worker = self._ids.get(name)
            until = min(end, self._read_at or end)
            if worker is None or worker not in self._times:
                continue
            since = max(start, oldest, self._since, self._first_at.get(worker, 0.0))
            if until - since < 1.0:
                continue
            times, works = self._times[worker], self._works[worker]
            if not works:
                continue
            low, high = bisect.bisect_left(times, since), bisect.bisect_right(times, until)
            within = works[low:high]
            largest = max(within) if within else works[-1]
            columns.append((sum(within), sum(w * w for w in within), largest, until - since, len(within)))
            names.append(name)
        if not names:
            return {}
        sums, squares, largest_, durations, counts = (
            np.array(column, np.float64) for column in zip(*columns, strict=True)
        )
        lows, highs = weighted_intervals(sums, squares, largest_)
        return {
            name: Rate(total / duration, low / duration, high / duration, int(count))
            for name, total, low, high, duration, count in zip(
                names,
                sums.tolist(),
                lows.tolist(),
                highs.tolist(),
                durations.tolist(),
                counts.tolist(),
                strict=True,
            )
        }
