"""Upstream pools, their words, and the counts of fates, as the ledger has given them out; the rows follow in the queue."""

from __future__ import annotations

import logging
import sqlite3
from collections.abc import Mapping
from typing import Final, NamedTuple

import numpy as np

from hashwerk.errors import StoreError
from hashwerk.store import fate_groups, share_groups
from hashwerk.store.codec import plain_text
from hashwerk.store.jobs import first_position
from hashwerk.store.writes import Write
from hashwerk.stratum.ports import FateRecords, ShareRecords
from hashwerk.work.fate import FATE_DTYPE, Fate
from hashwerk.work.share import FLAG_BLOCK, SHARE_DTYPE

log = logging.getLogger(__name__)

#: The words under which a share is lost whose answer did not come before an end of ours that was none of our choice.
UNANSWERED: Final = "we ended before the pool answered"

_MAX_UPSTREAMS: Final = 0xFFFF
_MAX_REASONS: Final = 10_000
_MAX_REASON_LENGTH: Final = 200
#: A share is handed in within moments of its receive time.
_SLACK_US: Final = 60_000_000


class FateKey(NamedTuple):
    """What fates are counted by."""

    upstream: int
    fate: Fate
    reason: int  # 0: none


class FateCount(NamedTuple):
    """How many, and how long the pool took. Only answers have a latency: of what is lost nothing is known."""

    shares: int
    latency_us_sum: int


_NONE: Final = FateCount(0, 0)


class Fates:
    """Everything of upstream pools that the ledger keeps in memory. Owned by the event loop's thread."""

    __slots__ = ("_next_reason", "_next_upstream", "_reasons", "_totals", "_upstreams", "_workers", "words")

    def __init__(self) -> None:
        self._upstreams: dict[tuple[str, str, str], int] = {}
        self._reasons: dict[str, int] = {}
        self._next_upstream = 1
        self._next_reason = 1
        self._totals: dict[FateKey, FateCount] = {}
        self._workers: dict[int, dict[FateKey, FateCount]] = {}
        self.words: dict[int, str] = {0: ""}  # the text of every reason given out

    def load(self, connection: sqlite3.Connection) -> None:
        """Read what an earlier run left."""
        for id_, *key in connection.execute("SELECT id, name, url, user FROM upstreams"):
            self._upstreams[key[0], key[1], key[2]] = id_
            self._next_upstream = max(self._next_upstream, id_ + 1)
        for id_, text in connection.execute("SELECT id, text FROM fate_reasons"):
            self._reasons[text] = id_
            self.words[id_] = text
            self._next_reason = max(self._next_reason, id_ + 1)
        for row in connection.execute(
            "SELECT worker, upstream, fate, reason, count, latency_us_sum FROM fate_totals"
        ):
            self._count(row[0], FateKey(row[1], Fate(row[2]), row[3]), FateCount(row[4], row[5]))

    def upstream(self, name: str, url: str, user: str, now: float) -> tuple[int, Write | None]:
        """Return the id of an upstream pool, and the write that defines it if it is new.

        Raises:
            StoreError: If there are too many.
        """
        key = plain_text(name), plain_text(url), plain_text(user)
        known = self._upstreams.get(key)
        if known is not None:
            return known, None
        if self._next_upstream > _MAX_UPSTREAMS:
            raise StoreError(f"no upstream id left: {_MAX_UPSTREAMS} are used up")
        id_ = self._next_upstream
        self._next_upstream += 1
        self._upstreams[key] = id_
        row = (id_, *key, now)

        def apply(connection: sqlite3.Connection) -> None:
            connection.execute(
                "INSERT INTO upstreams (id, name, url, user, created_at) VALUES (?,?,?,?,?)", row
            )

        return id_, Write(apply)

    def reason(self, text: str) -> tuple[int, Write | None]:
        """Return the id of a pool's words, and the write that defines it if it is new; 0 when there are too many."""
        text = clipped(text)
        known = self._reasons.get(text)
        if not text or known is not None:
            return known or 0, None
        if self._next_reason > _MAX_REASONS:
            return 0, None
        id_ = self._next_reason
        self._next_reason += 1
        self._reasons[text] = id_
        self.words[id_] = text

        def apply(connection: sqlite3.Connection) -> None:
            connection.execute("INSERT INTO fate_reasons (id, text) VALUES (?,?)", (id_, text))

        return id_, Write(apply)

    def put(self, fates: FateRecords) -> Write:
        """Return the write of these fates; they count once it is on disk.

        Raises:
            ValueError: If the rows are not of `FATE_DTYPE`, or a fate is none.
        """
        if fates.dtype != FATE_DTYPE or fates.ndim != 1:
            raise ValueError(f"fates must be a row of {FATE_DTYPE}: {fates.dtype}, {fates.ndim} dimensions")
        if fates["fate"].max() > max(Fate):
            raise ValueError(f"unknown fate: {fates['fate'].max()}")
        kept = fates.copy()
        counts = count_fates(kept)

        def committed() -> None:
            for (worker, key), count in counts.items():
                self._count(worker, key, count)

        return Write(lambda connection: write_fates(connection, kept, counts), committed)

    def totals(self) -> Mapping[FateKey, FateCount]:
        """Return the counts since the beginning, as far as they are on disk."""
        return self._totals

    def of_worker(self, worker: int) -> Mapping[FateKey, FateCount]:
        """Return the counts of one worker since the beginning."""
        return self._workers.get(worker, {})

    def _count(self, worker: int, key: FateKey, count: FateCount) -> None:
        for counts in (self._totals, self._workers.setdefault(worker, {})):
            before = counts.get(key, _NONE)
            counts[key] = FateCount(
                before.shares + count.shares, before.latency_us_sum + count.latency_us_sum
            )


Counts = dict[tuple[int, FateKey], FateCount]


def clipped(text: str) -> str:
    """Return a peer's words as they are kept: printable, one line, not endless."""
    plain = "".join(mark if mark.isprintable() else " " for mark in text[: 4 * _MAX_REASON_LENGTH])
    return " ".join(plain.split())[:_MAX_REASON_LENGTH]


def count_fates(fates: FateRecords) -> Counts:
    """Return how many of the fates each worker, pool, fate and reason has."""
    answered = (fates["fate"] != Fate.LOST) & (fates["sent_us"] > 0)
    latencies = np.where(answered, np.maximum(fates["known_us"] - fates["sent_us"], 0), 0)
    counts: Counts = {}
    for worker, upstream, fate, reason, latency_us in zip(
        fates["worker"].tolist(),
        fates["upstream"].tolist(),
        fates["fate"].tolist(),
        fates["reason"].tolist(),
        latencies.tolist(),
        strict=True,
    ):
        key = worker, FateKey(upstream, Fate(fate), reason)
        before = counts.get(key, _NONE)
        counts[key] = FateCount(before.shares + 1, before.latency_us_sum + latency_us)
    return counts


def write_fates(connection: sqlite3.Connection, fates: FateRecords, counts: Counts) -> None:
    """Write fates and their counts, within the caller's transaction."""
    fate_groups.write(connection, fates)
    connection.executemany(
        "INSERT INTO fate_totals (worker, upstream, fate, reason, count, latency_us_sum) VALUES (?,?,?,?,?,?)"
        " ON CONFLICT (worker, upstream, fate, reason) DO UPDATE SET count = count + excluded.count,"
        " latency_us_sum = latency_us_sum + excluded.latency_us_sum",
        ((worker, *key, *count) for (worker, key), count in counts.items()),
    )


def without_fate(connection: sqlite3.Connection, window_s: float) -> tuple[ShareRecords, dict[int, int]]:
    """Return the shares that met their pool's target and have no fate, and the pool of every job looked at.

    Looked at are the jobs of the last ``window_s`` before the newest one, so it makes no difference how long ago that was.
    """
    pools: dict[int, int] = dict(
        connection.execute(
            "SELECT id, upstream_id FROM jobs WHERE upstream_id IS NOT NULL AND created_at >="
            " (SELECT max(created_at) FROM jobs WHERE upstream_id IS NOT NULL) - ?",
            (window_s,),
        ).fetchall()
    )
    first = first_position(connection, pools)
    if first is None:
        return np.empty(0, SHARE_DTYPE), pools
    shares = share_groups.of_jobs(connection, set(pools), first)
    shares = shares[shares["flags"] & FLAG_BLOCK != 0]
    if not len(shares):
        return shares, pools
    known = set(fate_groups.read(connection, int(shares["time_us"].min()) - _SLACK_US)["hash_key"].tolist())
    return shares[[key not in known for key in shares["hash_key"].tolist()]], pools


def settle(connection: sqlite3.Connection, fates: Fates, window_s: float, now: float) -> int:
    """Give a fate to every share whose answer did not come before the last run's end; return to how many.

    Within the caller's transaction, before anything else is written. They count as handed in when they were received.
    """
    shares, pools = without_fate(connection, window_s)
    if not len(shares):
        return 0
    reason, write = fates.reason(UNANSWERED)
    if write is not None:
        write.apply(connection)
    lost = np.zeros(len(shares), FATE_DTYPE)
    for name in ("hash_key", "job", "worker"):
        lost[name] = shares[name]
    lost["upstream"] = [pools[job] for job in shares["job"].tolist()]
    lost["reason"], lost["fate"] = reason, Fate.LOST
    lost["sent_us"], lost["known_us"] = shares["time_us"], int(now * 1e6)
    record = fates.put(lost)
    record.apply(connection)
    if record.committed is not None:
        record.committed()
    text = f"{len(lost)} shares had no answer from their pool when the last run ended; they count as lost"
    connection.execute(
        "INSERT INTO events (time, kind, message, details) VALUES (?, 'upstream', ?, '{}')", (now, text)
    )
    log.warning("ledger: %s", text)
    return len(lost)
