"""Hash rates over the last minute, ten minutes, hour and day, kept in memory from shares as they are stored.

A window is made of buckets of fixed length: its closed buckets and the open one. A rate divides by exactly
the time those cover, or by the time since the worker was first known where that is shorter, so no share moves
the window.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, Final

import msgspec
import numpy as np
from numpy.typing import NDArray

from hashwerk.store.codec import Counts
from hashwerk.store.keys import KeyTable, grown
from hashwerk.stratum.ports import ShareRecords
from hashwerk.work.poisson import Floats, Rate, rate_interval, weighted_intervals
from hashwerk.work.share import Verdict

#: Window name → (bucket length in seconds, number of buckets).
WINDOWS: Final = {"1m": (1, 60), "10m": (10, 60), "1h": (60, 60), "24h": (900, 96)}

_NOBODY: Final = 0  # the worker of shares whose sender is not known
_VERDICTS: Final = max(Verdict) + 1
_REJECTED: Final = [verdict for verdict in Verdict if verdict != Verdict.ACCEPTED]


class RateTable(msgspec.Struct, frozen=True):
    """Hash rates of all workers over one window, one row each, with their 95 % intervals."""

    worker: NDArray[np.int64]
    hs: NDArray[np.float64]
    low_hs: NDArray[np.float64]
    high_hs: NDArray[np.float64]
    shares: NDArray[np.int64]


class RateWindow:
    """Counts of stored shares per worker and target. Owned by one thread."""

    __slots__ = (
        "_account_of",
        "_last_share_us",
        "_rings",
        "_since",
        "_slots",
        "_started_at",
        "_totals",
        "_verdicts",
        "_workers",
    )

    def __init__(self, started_at: float) -> None:
        """Begin at ``started_at``; counts from before can be given by `add_counts`."""
        self._started_at = started_at
        self._workers = KeyTable()  # worker id → row
        self._slots = KeyTable()  # row << 8 | work_log2 → slot
        self._rings = {name: _Ring(width_s, buckets) for name, (width_s, buckets) in WINDOWS.items()}
        self._since = np.empty(0, np.float64)
        self._account_of = np.empty(0, np.int64)
        self._last_share_us = np.empty(0, np.int64)
        self._verdicts = np.empty((0, _VERDICTS), np.int64)
        self._totals = np.zeros((_VERDICTS, 256), np.int64)

    # In

    def add_worker(self, worker: int, account: int, since: float) -> None:
        """Say whose a worker is and since when it has been known."""
        row = int(self._rows(np.array([worker], np.int64))[0])
        self._account_of[row] = account
        self._since[row] = max(since, self._started_at)

    def add(self, shares: ShareRecords) -> None:
        """Count shares that have been stored, whatever their verdict."""
        if not len(shares):
            return
        rows = self._rows(shares["worker"].astype(np.int64))
        verdicts = shares["verdict"].astype(np.int64)
        np.add.at(self._verdicts, (rows, verdicts), 1)
        np.add.at(self._totals, (verdicts, shares["work_log2"]), 1)
        accepted = verdicts == Verdict.ACCEPTED
        if not accepted.any():
            return
        rows, times = rows[accepted], shares["time_us"][accepted]
        np.maximum.at(self._last_share_us, rows, times)
        slots = self._slots.find(rows << 8 | shares["work_log2"][accepted])
        ones = np.ones(len(slots), np.int64)
        for ring in self._rings.values():
            ring.add(slots, times // 1_000_000, ones, len(self._slots))

    def add_counts(self, start_s: int, step_s: int, counts: Counts, *, lifetime: bool) -> None:
        """Count shares of an earlier run, given as a table for one step of time.

        With ``lifetime`` they enter the totals only; without, the windows only.
        """
        rows = self._rows(counts["worker"].astype(np.int64))
        verdicts, numbers = counts["verdict"].astype(np.int64), counts["count"].astype(np.int64)
        if lifetime:
            np.add.at(self._verdicts, (rows, verdicts), numbers)
            np.add.at(self._totals, (verdicts, counts["work_log2"]), numbers)
            return
        accepted = verdicts == Verdict.ACCEPTED
        if not accepted.any():
            return
        slots = self._slots.find(rows[accepted] << 8 | counts["work_log2"][accepted])
        times = np.full(len(slots), start_s + step_s // 2, np.int64)
        np.maximum.at(self._last_share_us, rows[accepted], start_s * 1_000_000)
        for ring in self._rings.values():
            ring.add(slots, times, numbers[accepted], len(self._slots))

    # Out

    def total(self, now: float) -> dict[str, Rate | None]:
        """Return the hash rate of all workers together, by window; None before any time has passed."""
        return {name: self._rate(name, now, None, self._started_at) for name in WINDOWS}

    def worker(self, worker: int, now: float) -> dict[str, Rate | None]:
        """Return the hash rate of one worker, by window; None for a worker that has never handed in a
        share."""
        return self.workers([worker], now)[worker]

    def account(self, account: int, now: float) -> dict[str, Rate | None]:
        """Return the hash rate of one account, by window; None for an account without workers."""
        rows = np.flatnonzero(self._account_of[: len(self._workers)] == account)
        if not len(rows):
            return dict.fromkeys(WINDOWS)
        mine = np.isin(self._slots.keys() >> 8, rows)
        since = float(self._since[rows].min())
        return {name: self._rate(name, now, mine, since) for name in WINDOWS}

    def table(self, window: str, now: float, workers: Sequence[int] | None = None) -> RateTable:
        """Return the hash rate of every worker, or of some, over one window.

        A worker known for no time at all has NaN, one that never handed in a share 0 shares and NaN.

        Raises:
            KeyError: If there is no such window.
        """
        ring = self._rings[window]
        ring.advance(int(now))
        count = len(self._workers)
        keys = self._slots.keys()
        rows, numbers = keys >> 8, ring.sums[: len(keys)]
        weights = np.ldexp(1.0, (keys & 0xFF).astype(np.int32))
        # Without a share in the window the bound is that of the hardest target the worker has had.
        largest, hardest = np.zeros(count), np.zeros(count)
        np.maximum.at(hardest, rows, weights)
        seen = numbers > 0
        np.maximum.at(largest, rows[seen], weights[seen])
        duration = now - np.maximum(self._since[:count], ring.start_s())
        columns = np.stack(
            [
                np.bincount(rows, numbers, count),
                np.bincount(rows, numbers * weights, count),
                np.bincount(rows, numbers * weights**2, count),
                np.where(largest > 0, largest, hardest),
                np.where((duration > 0) & (hardest > 0), duration, np.nan),
            ]
        )
        ids = self._workers.keys()
        if workers is not None:
            ids = np.array(workers, np.int64)
            columns = np.concatenate([columns, [[0.0], [0.0], [0.0], [0.0], [np.nan]]], axis=1)
            columns = columns[:, [-1 if (row := self._workers.get(w)) is None else row for w in workers]]
        shares, work, variance, largest, duration = columns
        low, high = _intervals(work, variance, largest)
        return RateTable(ids, work / duration, low / duration, high / duration, shares.astype(np.int64))

    def workers(self, workers: Sequence[int], now: float) -> dict[int, dict[str, Rate | None]]:
        """Return the hash rates of some workers by window, as `worker` does for one."""
        found: dict[int, dict[str, Rate | None]] = {worker: {} for worker in workers}
        for window in WINDOWS:
            table = self.table(window, now, workers)
            columns = (table.hs, table.low_hs, table.high_hs, table.shares)
            for worker, hs, low, high, shares in zip(
                workers, *(column.tolist() for column in columns), strict=True
            ):
                found[worker][window] = None if math.isnan(hs) else Rate(hs, low, high, shares)
        return found

    def busiest(self, limit: int) -> list[int]:
        """Return the workers with the most work over ten minutes, at most ``limit``, most first.

        Shares in a name that is not authorised are of worker 0, which is nobody and not among them.
        """
        keys = self._slots.keys()
        weights = np.ldexp(1.0, (keys & 0xFF).astype(np.int32))
        work = np.bincount(keys >> 8, self._rings["10m"].sums[: len(keys)] * weights, len(self._workers))
        order = np.argsort(-work, kind="stable")[: limit + 1]
        workers: list[int] = self._workers.keys()[order].tolist()
        return [worker for worker in workers if worker != _NOBODY][:limit]

    @property
    def accepted(self) -> int:
        """Accepted shares since the beginning."""
        return int(self._totals[Verdict.ACCEPTED].sum())

    @property
    def accepted_work(self) -> int:
        """Hashes credited since the beginning, exactly."""
        counts = self._totals[Verdict.ACCEPTED]
        return sum(int(counts[work_log2]) << int(work_log2) for work_log2 in np.flatnonzero(counts))

    @property
    def rejected(self) -> dict[str, int]:
        """Rejected shares since the beginning, by reason in lower case; only reasons that occurred."""
        return _by_reason(self._totals.sum(axis=1))

    def shares_of(self, worker: int) -> tuple[int, dict[str, int]]:
        """Return a worker's accepted shares, and its rejected ones by reason, since the beginning."""
        row = self._workers.get(worker)
        if row is None:
            return 0, {}
        counts = self._verdicts[row]
        return int(counts[Verdict.ACCEPTED]), _by_reason(counts)

    def last_share_at(self, worker: int) -> float | None:
        """Return when a worker's last accepted share came in, None if it never had one."""
        row = self._workers.get(worker)
        if row is None or not self._last_share_us[row]:
            return None
        return int(self._last_share_us[row]) / 1e6

    # Inside

    def _rows(self, workers: NDArray[np.int64]) -> NDArray[np.int64]:
        known = len(self._workers)
        rows = self._workers.find(workers)
        count = len(self._workers)
        if count > len(self._since):
            self._since = grown(self._since, count)
            self._account_of = grown(self._account_of, count)
            self._last_share_us = grown(self._last_share_us, count)
            self._verdicts = grown(self._verdicts, count)
        self._since[known:count] = self._started_at
        return rows

    def _rate(self, window: str, now: float, mine: NDArray[np.bool_] | None, since: float) -> Rate | None:
        ring = self._rings[window]
        ring.advance(int(now))
        keys = self._slots.keys()
        numbers = ring.sums[: len(keys)]
        if mine is not None:
            keys, numbers = keys[mine], numbers[mine]
        duration_s = now - max(since, ring.start_s())
        if duration_s <= 0 or not len(keys):
            return None
        by_target: NDArray[Any] = np.bincount(keys & 0xFF, numbers)
        counts: Mapping[int, int] = {
            int(work_log2): int(by_target[work_log2]) for work_log2 in np.flatnonzero(by_target)
        }
        return rate_interval(counts or {int(keys.max() & 0xFF): 0}, duration_s)


class _Ring:
    """One window: counts per bucket and slot, and their running sums."""

    __slots__ = ("_bucket", "_counts", "_width_s", "sums")

    def __init__(self, width_s: int, buckets: int) -> None:
        self._width_s = width_s
        self._counts = np.zeros((buckets, 0), np.uint32)
        self._bucket = 0  # the open one, counted since the Unix epoch
        self.sums = np.zeros(0, np.int64)

    def start_s(self) -> int:
        """Return when the window begins."""
        return (self._bucket - len(self._counts) + 1) * self._width_s

    def advance(self, second: int) -> None:
        """Open the bucket of this second and let go of those that left the window."""
        bucket = second // self._width_s
        size = len(self._counts)
        for passed in range(max(self._bucket + 1, bucket - size + 1), bucket + 1):
            self.sums -= self._counts[passed % size]
            self._counts[passed % size] = 0
        self._bucket = max(self._bucket, bucket)

    def add(
        self, slots: NDArray[np.int64], seconds: NDArray[np.int64], numbers: NDArray[np.int64], capacity: int
    ) -> None:
        """Count ``numbers`` in the buckets of their seconds; what is older than the window is left out."""
        if capacity > len(self.sums):
            self.sums = grown(self.sums, capacity)
            self._counts = grown(self._counts.T, capacity).T.copy()
        self.advance(int(seconds.max()))
        buckets = seconds // self._width_s
        fresh = buckets > self._bucket - len(self._counts)
        np.add.at(
            self._counts,
            (buckets[fresh] % len(self._counts), slots[fresh]),
            numbers[fresh].astype(np.uint32),
        )
        np.add.at(self.sums, slots[fresh], numbers[fresh])


def _intervals(work: Floats, variance: Floats, largest: Floats) -> tuple[Floats, Floats]:
    """Return intervals for many workers. Those with one target have few distinct counts, each computed
    once."""
    weights = np.where(largest > 0, largest, 1.0)
    single = variance == work * weights
    low, high = np.empty_like(work), np.empty_like(work)
    counts, inverse = np.unique(work[single] / weights[single], return_inverse=True)
    lows, highs = weighted_intervals(counts, counts, 1.0)
    low[single], high[single] = lows[inverse] * weights[single], highs[inverse] * weights[single]
    mixed = ~single
    low[mixed], high[mixed] = weighted_intervals(work[mixed], variance[mixed], weights[mixed])
    return low, high


def _by_reason(counts: NDArray[np.int64]) -> dict[str, int]:
    return {verdict.name.lower(): int(counts[verdict]) for verdict in _REJECTED if counts[verdict]}
