"""Lays the ledger and a pool's books side by side, a pool's day at a time, so that `reconcile` can compare them."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Sequence
from decimal import Decimal

import msgspec

from hashwerk.economics.ports import (
    CreditedDay,
    CreditedWorker,
    Payout,
    ProvedDays,
    ProvedWork,
    day_of,
    day_window,
    days_between,
    total,
)
from hashwerk.economics.schemes import Network

NetworkOf = Callable[[int, int], Sequence[Network]]
"""The network's states during [start, end): one, or two on the day of a retarget; none where it is not known."""


class DayBooks(msgspec.Struct, frozen=True, kw_only=True):
    """One day as both sides have it. None: that side does not have it."""

    day: dt.date
    proved: tuple[ProvedWork, ...] | None
    edge_start: Decimal = Decimal(
        0
    )  # difficulty so near to the day's begin that the pool may count it otherwise
    edge_end: Decimal = Decimal(0)
    credited: CreditedDay | None = None
    networks: tuple[Network, ...] = ()
    paid_sat: Decimal | None = None


class WorkerBooks(msgspec.Struct, frozen=True, kw_only=True):
    """One worker over one interval as both sides have it."""

    worker: str
    start: int
    end: int
    proved: ProvedWork | None  # None: no share of this name in the ledger
    is_covered: bool  # False: the ledger does not cover the interval
    edge: Decimal = Decimal(0)
    credited: CreditedWorker | None = None


def day_books(
    ledger: ProvedDays,
    upstream: str,
    *,
    first: dt.date,
    last: dt.date,
    credited: Sequence[CreditedDay],
    payouts: Sequence[Payout] | None,
    network_of: NetworkOf,
    day_start_s: int,
    boundary_s: int,
) -> list[DayBooks]:
    """Return both sides of every day from ``first`` to ``last``, both included.

    ``boundary_s`` is how far the pool's clock and ours, and handing in and crediting, may lie apart: what was accepted or
    never answered within it of a day's begin or end is kept as that day's edges.

    Raises:
        ValueError: If the pool has a day twice.
    """
    by_day = {row.day: row for row in credited}
    if len(by_day) != len(credited):
        raise ValueError("the pool's books have a day twice")
    edges: dict[int, Decimal] = {}

    def edge(at: int) -> Decimal:
        if at not in edges:
            near = ledger.proved(upstream, at - boundary_s, at + boundary_s) if boundary_s else ()
            edges[at] = total(work.accepted + work.lost for work in near or ()).difficulty
        return edges[at]

    books = []
    for day in days_between(first, last):
        start, end = day_window(day, day_start_s)
        proved = ledger.proved(upstream, start, end)
        paid = None if payouts is None else _paid_sat(payouts, day, day_start_s)
        books.append(
            DayBooks(
                day=day,
                proved=None if proved is None else tuple(proved),
                edge_start=edge(start),
                edge_end=edge(end),
                credited=by_day.get(day),
                networks=tuple(network_of(start, end)),
                paid_sat=paid,
            )
        )
    return books


def worker_books(
    ledger: ProvedDays, upstream: str, credited: Sequence[CreditedWorker], *, boundary_s: int
) -> list[WorkerBooks]:
    """Return both sides of every worker and interval that the pool lists, and of those that only the ledger has."""
    books = []
    for start, end in sorted({(row.start, row.end) for row in credited}):
        there = {row.worker: row for row in credited if (row.start, row.end) == (start, end)}
        proved = ledger.proved(upstream, start, end)
        here = {work.worker: work for work in proved or ()}
        edges: dict[str, Decimal] = {}
        for at in (start, end):
            for work in ledger.proved(upstream, at - boundary_s, at + boundary_s) or () if boundary_s else ():
                near = work.accepted + work.lost
                edges[work.worker] = edges.get(work.worker, Decimal(0)) + near.difficulty
        books += [
            WorkerBooks(
                worker=worker,
                start=start,
                end=end,
                proved=here.get(worker),
                is_covered=proved is not None,
                edge=edges.get(worker, Decimal(0)),
                credited=there.get(worker),
            )
            for worker in sorted(here.keys() | there.keys())
        ]
    return books


def _paid_sat(payouts: Sequence[Payout], day: dt.date, day_start_s: int) -> Decimal:
    return sum((row.amount_sat for row in payouts if day_of(row.at, day_start_s) == day), Decimal(0))
