"""What was proved here for an upstream pool, and what it made of it: the ledger's side of reconciliation.

Work is exact: local work in hashes as integers, a pool's in difficulty as `Decimal`, summed without rounding.
"""

from __future__ import annotations

import datetime as dt
import decimal
import sqlite3
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, field
from decimal import Decimal
from fractions import Fraction
from typing import Final

import msgspec
import numpy as np

from hashwerk.store import fate_groups, share_groups
from hashwerk.store.jobs import decode_part
from hashwerk.stratum.ports import FateRecords
from hashwerk.work.fate import Fate
from hashwerk.work.job import UpstreamPart
from hashwerk.work.share import Verdict

_DAY_S: Final = 86_400
_IN_CHUNK: Final = 500
#: Wide enough for any sum of difficulties that a JSON number can name; one that is not raises.
_EXACT: Final = decimal.Context(prec=1_000, traps=[decimal.Inexact, decimal.InvalidOperation])


class UpstreamRow(msgspec.Struct, frozen=True):
    """An upstream pool as it was configured once."""

    id: int
    name: str
    url: str
    user: str
    created_at: float


class FateSum(msgspec.Struct, frozen=True):
    """A number of shares and the sum of their difficulties, as the pool announced them."""

    shares: int = 0
    difficulty: Decimal = Decimal(0)


class ProvedRow(msgspec.Struct, frozen=True, kw_only=True):
    """One worker's shares on the jobs of one pool in one interval."""

    worker_id: int
    account: str
    machine: str
    local_shares: int  # accepted here, most of them below the pool's difficulty; by time of receipt
    local_work: int  # hashes
    accepted: FateSum = FateSum()  # the pool said so; by the time they were handed in, here and below
    rejected: dict[str, FateSum] = {}  # by the pool's words
    lost: FateSum = FateSum()

    @property
    def forwarded(self) -> FateSum:
        """All that met the pool's target and has a fate."""
        parts = [self.accepted, *self.rejected.values(), self.lost]
        return FateSum(sum(part.shares for part in parts), exact_sum(part.difficulty for part in parts))


@dataclass(slots=True)
class _Tally:
    shares: int = 0
    work: int = 0
    fates: dict[tuple[int, int], tuple[int, Fraction]] = field(default_factory=dict)  # by fate and reason

    def sum_of(self, fate: Fate, reason: int) -> FateSum:
        count, difficulty = self.fates[fate, reason]
        return FateSum(count, exact(difficulty))


def exact(value: Fraction) -> Decimal:
    """Return a sum of decimal numbers as one."""
    return _EXACT.divide(Decimal(value.numerator), Decimal(value.denominator))


def exact_sum(values: Iterable[Decimal]) -> Decimal:
    """Return the sum without rounding."""
    return exact(sum((Fraction(value) for value in values), Fraction(0)))


def read_upstreams(connection: sqlite3.Connection) -> list[UpstreamRow]:
    """Return all upstream pools in the order of first sight."""
    rows = connection.execute("SELECT id, name, url, user, created_at FROM upstreams ORDER BY id")
    return [UpstreamRow(*row) for row in rows]


def daily(
    connection: sqlite3.Connection, upstream: str, from_day: dt.date, to_day: dt.date
) -> dict[dt.date, list[ProvedRow] | None]:
    """Return `proved` for every UTC day from ``from_day`` to ``to_day``, both included."""
    days = [from_day + dt.timedelta(days=number) for number in range((to_day - from_day).days + 1)]
    starts = [int(dt.datetime(day.year, day.month, day.day, tzinfo=dt.UTC).timestamp()) for day in days]
    return {
        day: proved(connection, upstream, start, start + _DAY_S)
        for day, start in zip(days, starts, strict=True)
    }


def proved(connection: sqlite3.Connection, upstream: str, start: int, end: int) -> list[ProvedRow] | None:
    """Return one row a worker for the pools of this name in [start, end); None if not all of it is held."""
    ids = {
        row[0]: row[1]
        for row in connection.execute("SELECT id, created_at FROM upstreams WHERE name = ?", (upstream,))
    }
    if not ids or min(ids.values()) > start or _is_removed(connection, start * 1_000_000):
        return None
    tallies: defaultdict[int, _Tally] = defaultdict(_Tally)
    if not _add_fates(connection, tallies, set(ids), start, end):
        return None
    _add_local(connection, tallies, set(ids), start, end)
    words = dict(connection.execute("SELECT id, text FROM fate_reasons").fetchall())
    names = {
        row[0]: (row[1], row[2])
        for row in connection.execute(
            "SELECT workers.id, accounts.name, machine FROM workers JOIN accounts ON accounts.id = account"
        )
    }
    return [_row(worker, *names[worker], tallies[worker], words) for worker in sorted(tallies)]


def _row(worker: int, account: str, machine: str, tally: _Tally, words: dict[int, str]) -> ProvedRow:
    kinds = tally.fates.keys()
    return ProvedRow(
        worker_id=worker,
        account=account,
        machine=machine,
        local_shares=tally.shares,
        local_work=tally.work,
        accepted=_together(tally, Fate.ACCEPTED),
        rejected={
            words.get(reason, ""): tally.sum_of(Fate.REJECTED, reason)
            for fate, reason in kinds
            if fate == Fate.REJECTED
        },
        lost=_together(tally, Fate.LOST),
    )


def _together(tally: _Tally, fate: Fate) -> FateSum:
    parts = [value for (kind, _), value in tally.fates.items() if kind == fate]
    return FateSum(sum(count for count, _ in parts), exact(sum((part for _, part in parts), Fraction(0))))


def _is_removed(connection: sqlite3.Connection, start_us: int) -> bool:
    """Return whether retention has removed fates or shares from this time on."""
    fates_us = fate_groups.read_removed_up_to(connection)
    shares_us = connection.execute("SELECT max(last_time_us) FROM removals").fetchone()[0]
    return any(removed_us is not None and removed_us >= start_us for removed_us in (fates_us, shares_us))


def _add_fates(
    connection: sqlite3.Connection, tallies: dict[int, _Tally], ids: set[int], start: int, end: int
) -> bool:
    """Count fates; return False if a job that tells a share's difficulty is gone."""
    fates = fate_groups.read(connection, start * 1_000_000, end * 1_000_000)
    fates = fates[np.isin(fates["upstream"], np.array(sorted(ids), np.uint16))]
    parts = _parts(connection, np.unique(fates["job"]).tolist())
    difficulties = {job: Fraction(part.difficulty) for job, part in parts.items()}
    for (worker, job, fate, reason), count in _grouped(fates).items():
        if job not in difficulties:
            return False
        kinds = tallies[worker].fates
        before, difficulty = kinds.get((fate, reason), (0, Fraction(0)))
        kinds[fate, reason] = before + count, difficulty + count * difficulties[job]
    return True


def _grouped(fates: FateRecords) -> dict[tuple[int, int, int, int], int]:
    """Return how many fates each worker, job, fate and reason has."""
    keys = np.stack([fates[name].astype(np.int64) for name in ("worker", "job", "fate", "reason")], axis=1)
    found, counts = np.unique(keys, axis=0, return_counts=True)
    return {
        (row[0], row[1], row[2], row[3]): count
        for row, count in zip(found.tolist(), counts.tolist(), strict=True)
    }


def _add_local(
    connection: sqlite3.Connection, tallies: dict[int, _Tally], ids: set[int], start: int, end: int
) -> None:
    """Count the shares that were accepted here on jobs of these pools, group by group."""
    start_us, end_us = start * 1_000_000, end * 1_000_000
    ours: dict[int, bool] = {}  # job → whether it is of these pools
    for _, shares in share_groups.read(connection, share_groups.position_at(connection, start_us)):
        times = shares["time_us"]
        if int(times.min()) >= end_us + share_groups.TIME_SLACK_US:
            return
        counted = shares[(times >= start_us) & (times < end_us) & (shares["verdict"] == Verdict.ACCEPTED)]
        jobs = np.unique(counted["job"]).tolist()
        unknown = [job for job in jobs if job not in ours]
        parts = _parts(connection, unknown)
        ours.update({job: job in parts and parts[job].upstream_id in ids for job in unknown})
        counted = counted[np.isin(counted["job"], np.array([job for job in jobs if ours[job]], np.uint32))]
        keys = counted["worker"].astype(np.uint64) << np.uint64(8) | counted["work_log2"]
        for key, count in zip(*(part.tolist() for part in np.unique(keys, return_counts=True)), strict=True):
            tally = tallies[key >> 8]
            tally.shares += count
            tally.work += count << (key & 0xFF)


def _parts(connection: sqlite3.Connection, jobs: list[int]) -> dict[int, UpstreamPart]:
    """Return what each of these jobs owes to a pool; own jobs and unknown ones are left out."""
    found: dict[int, UpstreamPart] = {}
    for start in range(0, len(jobs), _IN_CHUNK):
        chunk = jobs[start : start + _IN_CHUNK]
        marks = ",".join("?" * len(chunk))
        for id_, blob in connection.execute(
            f"SELECT id, upstream FROM jobs WHERE upstream_id IS NOT NULL AND id IN ({marks})",  # noqa: S608
            chunk,
        ):
            found[id_] = decode_part(blob)
    return found
