"""Counts per minute, quarter of an hour, hour and day, so that pages and totals need not read every share.

Shares are counted as they are stored; once a minute the counts are written together with the position up to
which they hold. After a crash the shares from that position on are read again, so no share is missed or
counted twice.
"""

from __future__ import annotations

import sqlite3
from bisect import bisect_right
from collections.abc import Iterator
from itertools import pairwise
from typing import Final

import numpy as np

from hashwerk.store.codec import Counts, count_shares, decode_counts, encode_counts, merge_counts
from hashwerk.stratum.ports import ShareRecords
from hashwerk.work.share import SHARE_DTYPE

MINUTE_S: Final = 60
QUARTER_S: Final = 900
HOUR_S: Final = 3_600
DAY_S: Final = 86_400
STEPS_S: Final = (MINUTE_S, QUARTER_S, HOUR_S, DAY_S)
_COARSER: Final = tuple(pairwise(STEPS_S))

ROLLED_UP_TO: Final = "rolled_up_to"
_REDUCE_AT: Final = 8_192
_MINUTE_US: Final = 60_000_000


class Rollup:
    """Counts of stored shares that are not in the tables yet. Owned by the writer thread."""

    __slots__ = ("_minutes", "_open", "_raw", "_raw_count", "position", "waiting")

    def __init__(self, position: int) -> None:
        self.position = position  # first position that is not counted yet
        self.waiting = 0  # shares counted here and not yet written
        # As bytes: joining thousands of arrays of records would hold up every thread for 25 ms.
        self._raw: list[bytes] = []
        self._raw_count = 0
        self._minutes: dict[int, Counts] = {}
        self._open: dict[int, set[int]] = {}

    def load(self, connection: sqlite3.Connection) -> None:
        """Find the hours and days whose minutes are there but whose own row is not."""
        for finer, coarser in _COARSER:
            self._open[coarser] = {
                row[0]
                for row in connection.execute(
                    "SELECT DISTINCT start_s - start_s % :coarser AS start FROM rollups WHERE step_s = :finer"
                    " AND NOT EXISTS (SELECT 1 FROM rollups r WHERE r.step_s = :coarser"
                    " AND r.start_s = rollups.start_s - rollups.start_s % :coarser)",
                    {"finer": finer, "coarser": coarser},
                )
            }

    def add(self, shares: ShareRecords) -> None:
        """Count shares that have just been stored; they follow on what was counted before."""
        self._raw.append(shares.tobytes())
        self._raw_count += len(shares)
        self.position += len(shares)
        self.waiting += len(shares)
        if self._raw_count >= _REDUCE_AT:
            self._reduce()

    def write(self, connection: sqlite3.Connection, now: float) -> None:
        """Write all that waits, within the caller's transaction. After its commit call `written`."""
        self._reduce()
        for start, counts in self._minutes.items():
            _merge_row(connection, MINUTE_S, start, counts)
        _add_totals(connection, list(self._minutes.values()))
        for finer, coarser in _COARSER:
            touched = {start - start % coarser for start in self._minutes} | self._open.get(coarser, set())
            self._open[coarser] = {start for start in touched if start + coarser > now}
            for start in sorted(touched - self._open[coarser]):
                _build_row(connection, finer, coarser, start)
        connection.execute(
            "INSERT OR REPLACE INTO meta (key, value) VALUES (?, ?)", (ROLLED_UP_TO, self.position)
        )

    def written(self) -> None:
        """Forget what the committed transaction holds."""
        self._minutes.clear()
        self.waiting = 0

    def _reduce(self) -> None:
        if not self._raw:
            return
        shares = np.frombuffer(b"".join(self._raw), SHARE_DTYPE)
        self._raw.clear()
        self._raw_count = 0
        minutes = shares["time_us"] // _MINUTE_US
        for minute in np.unique(minutes).tolist():
            counts = count_shares(shares[minutes == minute])
            start = minute * MINUTE_S
            known = self._minutes.get(start)
            self._minutes[start] = counts if known is None else merge_counts([known, counts])


def read_position(connection: sqlite3.Connection) -> int:
    """Return the position up to which the tables of counts hold."""
    row = connection.execute("SELECT value FROM meta WHERE key = ?", (ROLLED_UP_TO,)).fetchone()
    return 0 if row is None else int(row[0])


def read_counts(
    connection: sqlite3.Connection, since_s: int, until_s: int, coarsest_s: int = DAY_S
) -> Iterator[tuple[int, int, Counts]]:
    """Yield (start, step, counts) for the whole minutes from ``since_s`` up to ``until_s``, none twice.

    The coarsest rows that fit are read. A coarse row exists only once its time is over and all of it was
    counted.
    """
    keys = set(
        connection.execute(
            "SELECT start_s, step_s FROM rollups WHERE start_s >= ? AND start_s < ? AND step_s <= ?",
            (since_s, until_s, coarsest_s),
        )
    )
    starts = sorted({start for start, _ in keys})
    at = since_s
    while at < until_s:
        step = next((s for s in reversed(STEPS_S) if (at, s) in keys and at + s <= until_s), None)
        if step is not None:
            row = connection.execute(
                "SELECT counts FROM rollups WHERE step_s = ? AND start_s = ?", (step, at)
            ).fetchone()
            yield at, step, decode_counts(row[0])
            at += step
        else:
            following = bisect_right(starts, at)
            if following == len(starts):
                return
            at = starts[following]


def first_start(connection: sqlite3.Connection) -> int | None:
    """Return the start of the oldest row of counts."""
    row = connection.execute("SELECT min(start_s) FROM rollups").fetchone()
    return None if row[0] is None else int(row[0])


def _merge_row(connection: sqlite3.Connection, step_s: int, start_s: int, counts: Counts) -> None:
    row = connection.execute(
        "SELECT counts FROM rollups WHERE step_s = ? AND start_s = ?", (step_s, start_s)
    ).fetchone()
    _put_row(
        connection, step_s, start_s, counts if row is None else merge_counts([decode_counts(row[0]), counts])
    )


def _build_row(connection: sqlite3.Connection, finer_s: int, coarser_s: int, start_s: int) -> None:
    parts = [
        decode_counts(row[0])
        for row in connection.execute(
            "SELECT counts FROM rollups WHERE step_s = ? AND start_s >= ? AND start_s < ?",
            (finer_s, start_s, start_s + coarser_s),
        )
    ]
    if parts:
        _put_row(connection, coarser_s, start_s, merge_counts(parts))


def _put_row(connection: sqlite3.Connection, step_s: int, start_s: int, counts: Counts) -> None:
    connection.execute(
        "INSERT INTO rollups (step_s, start_s, counts) VALUES (?,?,?)"
        " ON CONFLICT (step_s, start_s) DO UPDATE SET counts = excluded.counts",
        (step_s, start_s, encode_counts(counts)),
    )


def _add_totals(connection: sqlite3.Connection, minutes: list[Counts]) -> None:
    connection.executemany(
        "INSERT INTO totals (verdict, work_log2, count) VALUES (?,?,?)"
        " ON CONFLICT (verdict, work_log2) DO UPDATE SET count = count + excluded.count",
        totals_of(merge_counts(minutes)),
    )


def totals_of(counts: Counts) -> list[tuple[int, int, int]]:
    """Return (verdict, work_log2, count) summed over all workers."""
    if not len(counts):
        return []
    keys = counts["verdict"].astype(np.int64) << 8 | counts["work_log2"]
    sums = np.zeros(1 << 16, np.int64)
    np.add.at(sums, keys, counts["count"].astype(np.int64))
    return [(int(key) >> 8, int(key) & 0xFF, int(sums[key])) for key in np.flatnonzero(sums)]
