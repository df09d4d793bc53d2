"""Hash rates as an earlier run left them: from its tables of counts, and from the shares after them."""

from __future__ import annotations

import sqlite3
from typing import Final

from hashwerk.store import share_groups
from hashwerk.store.rates import RateWindow
from hashwerk.store.rollup import DAY_S, HOUR_S, MINUTE_S, QUARTER_S, first_start, read_counts, read_position

CREATED_AT: Final = "created_at"


def read_created_at(connection: sqlite3.Connection, default: float) -> float:
    """Return when the ledger was begun."""
    row = connection.execute("SELECT value FROM meta WHERE key = ?", (CREATED_AT,)).fetchone()
    return default if row is None else float(row[0])


def load_rates(connection: sqlite3.Connection, now: float) -> RateWindow:
    """Return the windows and totals as of the last stored share. Call within one transaction.

    Shares up to the last rollup come in by the minute, those of more than an hour ago by the quarter, later
    ones one by one.
    """
    rates = RateWindow(read_created_at(connection, now))
    for worker, account, created_at in connection.execute("SELECT id, account, created_at FROM workers"):
        rates.add_worker(worker, account, created_at)
    first = first_start(connection)
    if first is not None:
        until = int(now) + DAY_S
        for start, step, counts in read_counts(connection, first - first % DAY_S, until):
            rates.add_counts(start, step, counts, lifetime=True)
        recent = int(now) - HOUR_S
        recent -= recent % QUARTER_S
        for start, step, counts in read_counts(connection, recent - DAY_S, recent, QUARTER_S):
            rates.add_counts(start, step, counts, lifetime=False)
        for start, step, counts in read_counts(connection, recent, until, MINUTE_S):
            rates.add_counts(start, step, counts, lifetime=False)
    for _, shares in share_groups.read(connection, read_position(connection)):
        rates.add(shares)
    return rates
