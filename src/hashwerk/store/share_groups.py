"""The rows that hold the shares: one for each commit group, packed."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator

import numpy as np

from hashwerk.store.codec import decode_shares
from hashwerk.stratum.ports import ShareRecords
from hashwerk.work.share import SHARE_DTYPE, Verdict

# Shares reach the ledger within moments of their receive time; groups may be out of order by less than this.
TIME_SLACK_US = 10_000_000


def end(connection: sqlite3.Connection) -> int:
    """Return the position after the last stored share; 0 when there is none."""
    row = connection.execute(
        "SELECT first_position + count FROM share_groups ORDER BY first_position DESC LIMIT 1"
    ).fetchone()
    return 0 if row is None else int(row[0])


def read(
    connection: sqlite3.Connection, first: int, limit: int | None = None
) -> Iterator[tuple[int, ShareRecords]]:
    """Yield (position of the first share, shares) from position ``first`` on, in order, at most ``limit``
    shares."""
    left = limit
    row = connection.execute(
        "SELECT first_position FROM share_groups WHERE first_position <= ?"
        " ORDER BY first_position DESC LIMIT 1",
        (first,),
    ).fetchone()
    start = first if row is None else row[0]
    for first_position, count, blob, encoding in connection.execute(
        "SELECT first_position, count, shares, encoding FROM share_groups WHERE first_position >= ?"
        " ORDER BY first_position",
        (start,),
    ):
        if first_position + count <= first:
            continue
        shares = decode_shares(blob, encoding, count)
        skipped = max(0, first - first_position)
        shares = shares[skipped:] if left is None else shares[skipped : skipped + left]
        yield first_position + skipped, shares
        if left is not None:
            left -= len(shares)
            if left <= 0:
                return


def position_at(connection: sqlite3.Connection, time_us: int) -> int:
    """Return a position before which no share was received at or after ``time_us``.

    Groups are nearly in the order of time, so this bisects instead of keeping an index, which would cost
    every commit a page. A clock set back by more than `TIME_SLACK_US` makes it approximate.
    """
    limit = time_us - TIME_SLACK_US
    row = connection.execute("SELECT min(first_position) FROM share_groups").fetchone()
    low, high = row[0] or 0, end(connection)
    while low < high:
        middle = (low + high) // 2
        group = connection.execute(
            "SELECT first_position, first_position + count, last_time_us FROM share_groups"
            " WHERE first_position <= ? ORDER BY first_position DESC LIMIT 1",
            (middle,),
        ).fetchone()
        if group[2] < limit:
            low = group[1]
        else:
            high = group[0]
    return low


def of_jobs(connection: sqlite3.Connection, job_ids: set[int], first: int) -> ShareRecords:
    """Return the accepted shares from position ``first`` on that name one of these jobs."""
    wanted = np.array(sorted(job_ids), np.uint32)
    found = [
        shares[(shares["verdict"] == Verdict.ACCEPTED) & np.isin(shares["job"], wanted)]
        for _, shares in read(connection, first)
    ]
    return np.concatenate(found) if found else np.empty(0, SHARE_DTYPE)
