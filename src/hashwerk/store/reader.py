"""The ledger for everyone who does not write it: another process, a report, a test.

Resource handling: one connection that cannot write, shared by the threads of a process one call at a time.
"""

from __future__ import annotations

import datetime as dt
import math
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from threading import Lock
from types import TracebackType
from typing import Any, Final, Self

import msgspec
import numpy as np

from hashwerk.errors import StoreError
from hashwerk.store import fate_groups, share_groups
from hashwerk.store.blocks import read_blocks
from hashwerk.store.codec import Counts, count_shares, merge_counts
from hashwerk.store.connection import connect_reader, store_error
from hashwerk.store.fates import without_fate
from hashwerk.store.jobs import first_position, read_job
from hashwerk.store.migrations import check_file
from hashwerk.store.proved import ProvedRow, UpstreamRow, daily, proved, read_upstreams
from hashwerk.store.rates import RateWindow
from hashwerk.store.recovery import load_rates, read_created_at
from hashwerk.store.rollup import MINUTE_S, STEPS_S, read_counts, read_position, totals_of
from hashwerk.store.schema import SCHEMA_VERSION
from hashwerk.stratum.ports import BlockRecord, FateRecords, ShareRecords
from hashwerk.work.job import Job
from hashwerk.work.poisson import Rate, rate_interval
from hashwerk.work.share import SHARE_DTYPE, Verdict

# Windows up to this long are read share by share, longer ones by the minute.
_FINE_WINDOW_S: Final = 120.0


class WorkerRow(msgspec.Struct, frozen=True):
    """A machine of an account."""

    id: int
    account_id: int
    account: str
    machine: str
    created_at: float


class EventRow(msgspec.Struct, frozen=True):
    """A change of state, as the page *Log* shows it."""

    id: int
    time: float
    kind: str
    message: str
    details: dict[str, Any]


class Totals(msgspec.Struct, frozen=True):
    """What was handed in since the beginning, exactly."""

    accepted: int
    accepted_work: int  # hashes
    rejected: dict[str, int]  # by reason in lower case


class SeriesPoint(msgspec.Struct, frozen=True):
    """One step of a plot; ``rate`` is None where nothing at all was recorded, which is a gap and not a
    zero."""

    start_s: int
    rate: Rate | None
    rejected: int


class LedgerReader:
    """Reads a ledger while another process writes it. Every call sees one consistent state."""

    def __init__(self, path: Path) -> None:
        """Open the ledger at ``path``.

        Raises:
            StoreError: If there is none, or it is of another schema than this program's.
        """
        self.path = Path(path)
        self._lock = Lock()
        self._connection = connect_reader(self.path)
        try:
            version = check_file(self._connection, self.path)
            if version != SCHEMA_VERSION:
                raise StoreError(
                    f"{self.path}: the ledger has schema {version}; serve brings it to {SCHEMA_VERSION}"
                )
        except BaseException:
            self._connection.close()
            raise

    def close(self) -> None:
        """Give the connection back."""
        self._connection.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def shares(self, first: int, limit: int) -> tuple[int, ShareRecords]:
        """Return (position of the first one, records) from position ``first`` on; older ones may be
        removed."""
        with self._snapshot() as connection:
            parts = list(share_groups.read(connection, first, limit))
        if not parts:
            return first, np.empty(0, SHARE_DTYPE)
        return parts[0][0], np.concatenate([shares for _, shares in parts])

    def shares_since(self, time_s: float) -> ShareRecords:
        """Return all records received at or after a time."""
        with self._snapshot() as connection:
            return _since(connection, time_s)

    def position_at(self, time_s: float) -> int:
        """Return a position before which no share was received at or after a time; `shares` goes on from there."""
        with self._snapshot() as connection:
            return share_groups.position_at(connection, int(time_s * 1e6))

    def shares_of_jobs(self, job_ids: set[int]) -> ShareRecords:
        """Return the accepted shares that name one of these jobs."""
        with self._snapshot() as connection:
            first = first_position(connection, job_ids)
            if first is None:
                return np.empty(0, SHARE_DTYPE)
            return share_groups.of_jobs(connection, job_ids, first)

    def job(self, job_id: int) -> Job | None:
        """Return one job with its template; None if unknown or no longer whole."""
        with self._snapshot() as connection:
            return read_job(connection, job_id)

    def workers(self) -> list[WorkerRow]:
        """Return all workers in the order of their first sight."""
        with self._snapshot() as connection:
            return [
                WorkerRow(*row)
                for row in connection.execute(
                    "SELECT workers.id, account, accounts.name, machine, workers.created_at"
                    " FROM workers JOIN accounts ON accounts.id = account ORDER BY workers.id"
                )
            ]

    def blocks(self, limit: int | None = None) -> tuple[BlockRecord, ...]:
        """Return the found blocks, newest first."""
        with self._snapshot() as connection:
            return read_blocks(connection, limit)

    def upstreams(self) -> list[UpstreamRow]:
        """Return every upstream pool there ever was, in the order of first sight."""
        with self._snapshot() as connection:
            return read_upstreams(connection)

    def fates(self, from_us: int, to_us: int) -> FateRecords:
        """Return the fates of shares handed in during [from, to), in the order in which they became known.

        A share that could not be handed in counts when it was given up.
        """
        with self._snapshot() as connection:
            return fate_groups.read(connection, from_us, to_us)

    def fate_reasons(self) -> dict[int, str]:
        """Return the words of every reason by its id; 0 is none and is not among them."""
        with self._snapshot() as connection:
            return dict(connection.execute("SELECT id, text FROM fate_reasons").fetchall())

    def without_fate(self, window_s: float = 900.0) -> ShareRecords:
        """Return the shares that met their pool's target and have no fate yet, on the jobs of the last window."""
        with self._snapshot() as connection:
            return without_fate(connection, window_s)[0]

    def proved(self, upstream: str, start: int, end: int) -> list[ProvedRow] | None:
        """Return one row a worker of what was handed in to the pool of this name during [start, end), Unix seconds.

        None: the ledger does not hold that interval whole, because the pool was not there yet or because retention
        has removed some of it.
        """
        with self._snapshot() as connection:
            return proved(connection, upstream, start, end)

    def proved_days(
        self, from_day: dt.date, to_day: dt.date, upstream: str
    ) -> dict[dt.date, list[ProvedRow] | None]:
        """Return `proved` for every UTC day from ``from_day`` to ``to_day``, both included."""
        with self._snapshot() as connection:
            return daily(connection, upstream, from_day, to_day)

    def events(self, limit: int, before: int | None = None) -> list[EventRow]:
        """Return the newest ``limit`` events, newest first, of those with an id below ``before``."""
        with self._snapshot() as connection:
            rows = connection.execute(
                "SELECT id, time, kind, message, details FROM events WHERE ? IS NULL OR id < ?"
                " ORDER BY id DESC LIMIT ?",
                (before, before, limit),
            ).fetchall()
        return [
            EventRow(id_, time, kind, message, msgspec.json.decode(details, type=dict[str, Any]))
            for id_, time, kind, message, details in rows
        ]

    def totals(self) -> Totals:
        """Return the counts since the beginning, up to the last committed share."""
        with self._snapshot() as connection:
            rows = connection.execute("SELECT verdict, work_log2, count FROM totals").fetchall()
            for _, shares in share_groups.read(connection, read_position(connection)):
                rows += totals_of(count_shares(shares))
        accepted = [(work_log2, count) for verdict, work_log2, count in rows if verdict == Verdict.ACCEPTED]
        rejected: dict[str, int] = {}
        for verdict, _, count in rows:
            if verdict != Verdict.ACCEPTED:
                reason = Verdict(verdict).name.lower()
                rejected[reason] = rejected.get(reason, 0) + count
        work = sum(count << work_log2 for work_log2, count in accepted)
        return Totals(sum(count for _, count in accepted), work, rejected)

    def rollup(self, since_s: float, until_s: float) -> Counts:
        """Return shares per worker, target and verdict in whole minutes from ``since_s`` up to ``until_s``.

        Both ends are rounded down to a minute.
        """
        since, until = int(since_s // MINUTE_S * MINUTE_S), int(until_s // MINUTE_S * MINUTE_S)
        with self._snapshot() as connection:
            return _rollup(connection, since, until)

    def hashrate(
        self, window_s: float, now: float, *, worker: int | None = None, account: int | None = None
    ) -> Rate | None:
        """Return the hash rate of a worker, an account or all, over the last ``window_s``; None before any
        time.

        Windows above two minutes begin at a whole minute, and the rate divides by the time since then.
        """
        with self._snapshot() as connection:
            wanted = _wanted(connection, worker, account)
            known = _known_since(connection, worker, account, now)
            since = max(now - window_s, known)
            if window_s <= _FINE_WINDOW_S:
                shares = _since(connection, since)
                counts = count_shares(shares[shares["time_us"] <= int(now * 1e6)])
            else:
                start = int(-(-(now - window_s) // MINUTE_S) * MINUTE_S)
                since = max(float(start), known)
                counts = _rollup(connection, start, int(now) + MINUTE_S)
        return None if now <= since else _rate(_of_workers(counts, wanted), now - since)

    def hashrates(self, now: float) -> RateWindow:
        """Return the rates over 1 min, 10 min, 1 h and 24 h of everyone, as the ledger stood at ``now``."""
        with self._snapshot() as connection:
            return load_rates(connection, now)

    def series(
        self,
        step_s: int,
        since_s: float,
        until_s: float,
        *,
        worker: int | None = None,
        account: int | None = None,
    ) -> list[SeriesPoint]:
        """Return one point for each step from ``since_s`` (rounded down to a step) up to ``until_s``.

        Shares count by whole minutes, the last of which may be under way.

        Raises:
            ValueError: If ``step_s`` is not a whole number of minutes.
        """
        if step_s <= 0 or step_s % MINUTE_S:
            raise ValueError(f"step must be whole minutes: {step_s} s")
        coarsest = max(step for step in STEPS_S if step_s % step == 0)
        first, end = int(since_s // step_s * step_s), int(-(-until_s // MINUTE_S) * MINUTE_S)
        parts: dict[int, list[Counts]] = {}
        with self._snapshot() as connection:
            wanted = _wanted(connection, worker, account)
            for start, _, counts in read_counts(connection, first, end, coarsest):
                parts.setdefault(start - start % step_s, []).append(counts)
            for _, shares in share_groups.read(connection, read_position(connection)):
                seconds = shares["time_us"] // 1_000_000
                for step in np.unique(seconds // step_s).tolist():
                    within = (seconds // step_s == step) & (seconds < end)
                    parts.setdefault(step * step_s, []).append(count_shares(shares[within]))
        return [
            _point(start, min(step_s, until_s - start), parts.get(start), wanted)
            for start in range(first, math.ceil(until_s), step_s)
        ]

    @contextmanager
    def _snapshot(self) -> Iterator[sqlite3.Connection]:
        with self._lock:
            try:
                self._connection.execute("BEGIN")
                try:
                    yield self._connection
                finally:
                    self._connection.execute("COMMIT")
            except sqlite3.Error as error:
                raise store_error(error, self.path, "cannot be read") from error


def _since(connection: sqlite3.Connection, time_s: float) -> ShareRecords:
    limit = int(time_s * 1e6)
    parts = [
        shares[shares["time_us"] >= limit]
        for _, shares in share_groups.read(connection, share_groups.position_at(connection, limit))
    ]
    return np.concatenate(parts) if parts else np.empty(0, SHARE_DTYPE)


def _rollup(connection: sqlite3.Connection, since_s: int, until_s: int) -> Counts:
    parts = [counts for _, _, counts in read_counts(connection, since_s, until_s)]
    for _, shares in share_groups.read(connection, read_position(connection)):
        seconds = shares["time_us"] // 1_000_000
        parts.append(count_shares(shares[(seconds >= since_s) & (seconds < until_s)]))
    return merge_counts(parts)


def _wanted(connection: sqlite3.Connection, worker: int | None, account: int | None) -> set[int] | None:
    if worker is not None:
        return {worker}
    if account is None:
        return None
    return {row[0] for row in connection.execute("SELECT id FROM workers WHERE account = ?", (account,))}


def _known_since(
    connection: sqlite3.Connection, worker: int | None, account: int | None, now: float
) -> float:
    """Return since when this worker, account or ledger has been there; a share moves it in no way."""
    if worker is None and account is None:
        return read_created_at(connection, now)
    column = "id" if worker is not None else "account"
    row = connection.execute(
        f"SELECT min(created_at) FROM workers WHERE {column} = ?",  # noqa: S608
        (account if worker is None else worker,),
    ).fetchone()
    return now if row[0] is None else float(row[0])


def _of_workers(counts: Counts, wanted: set[int] | None) -> Counts:
    return (
        counts if wanted is None else counts[np.isin(counts["worker"], np.array(sorted(wanted), np.uint32))]
    )


def _rate(counts: Counts, duration_s: float) -> Rate:
    by_target = {
        work_log2: count for verdict, work_log2, count in totals_of(counts) if verdict == Verdict.ACCEPTED
    }
    # Without any share the target in use is not known here, so no upper bound is either.
    return rate_interval(by_target, duration_s) if by_target else Rate(0.0, 0.0, float("inf"), 0)


def _point(
    start_s: int, duration_s: float, parts: list[Counts] | None, wanted: set[int] | None
) -> SeriesPoint:
    if parts is None:
        return SeriesPoint(start_s, None, 0)
    counts = _of_workers(merge_counts(parts), wanted)
    rejected = int(counts["count"][counts["verdict"] != Verdict.ACCEPTED].sum(dtype=np.int64))
    return SeriesPoint(start_s, _rate(counts, duration_s), rejected)
