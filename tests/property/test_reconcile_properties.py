"""Honest pools are never accused, whatever their clock and their rounding; a skim beyond the tolerance always is."""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence
from decimal import Decimal

from hypothesis import given, settings
from hypothesis import strategies as st

from hashwerk.economics.books import day_books
from hashwerk.economics.ports import CreditedDay, ProvedWork, ShareSum, day_window, days_between
from hashwerk.economics.reconcile import Reconciliation, Verdict, reconcile
from hashwerk.economics.schemes import Network, Scheme, Terms, expected_pay_sat

FIRST, LAST = dt.date(2026, 3, 1), dt.date(2026, 3, 4)
START = day_window(FIRST, 0)[0]
TERMS = Terms(scheme=Scheme.FPPS, pool_fee=Decimal("0.02"))
NETWORK = Network(
    difficulty=Decimal(10) ** 9,
    subsidy_sat=312_500_000,
    fees_low_sat=Decimal(3_000_000),
    fees_high_sat=Decimal(5_000_000),
)
BOUNDARY_S = 120

shares_of_days = st.lists(
    st.tuples(
        st.integers(-86_400, 5 * 86_400),  # seconds after the first day's begin
        st.sampled_from([1024, 65_536, 1_000_003]),
        st.sampled_from(["accepted", "accepted", "accepted", "accepted", "lost", "stale"]),
    ),
    min_size=1,
    max_size=150,
)


class Ledger:
    """A list of shares."""

    def __init__(self, rows: list[tuple[int, int, str]]) -> None:
        self._rows = rows

    def proved(self, upstream: str, start: int, end: int) -> Sequence[ProvedWork]:
        sums = {"accepted": ShareSum(), "lost": ShareSum(), "stale": ShareSum()}
        for at, difficulty, fate in self._rows:
            if start <= START + at < end:
                sums[fate] += ShareSum(1, Decimal(difficulty))
        return [
            ProvedWork(
                worker="m1",
                accepted=sums["accepted"],
                lost=sums["lost"],
                rejected={"stale": sums["stale"]} if sums["stale"].shares else {},
            )
        ]


def compare(
    rows: list[tuple[int, int, str]], counted: list[tuple[int, Decimal]], digits: int
) -> Reconciliation:
    """Compare the shares with the books of a pool that counts (time, difficulty) and rounds to so many digits."""
    quantum = Decimal(1).scaleb(-digits)
    credited = []
    for day in days_between(FIRST, LAST):
        start, end = day_window(day, 0)
        work = sum((difficulty for at, difficulty in counted if start <= START + at < end), Decimal(0))
        sat = expected_pay_sat(TERMS, work, NETWORK, 4_000_000).quantize(Decimal(1))
        credited.append(
            CreditedDay(
                day=day, difficulty=work.quantize(quantum), difficulty_step=quantum / 2, mining_sat=sat
            )
        )
    books = day_books(
        Ledger(rows),
        "pool",
        first=FIRST,
        last=LAST,
        credited=credited,
        payouts=None,
        network_of=lambda start, end: [NETWORK],
        day_start_s=0,
        boundary_s=BOUNDARY_S,
    )
    return reconcile(TERMS, books)


@settings(max_examples=60, deadline=None)
@given(shares_of_days, st.integers(-BOUNDARY_S, BOUNDARY_S - 1), st.integers(0, 6), st.booleans(), st.data())
def test_an_honest_pool_is_never_accused(
    rows: list[tuple[int, int, str]], skew_s: int, digits: int, exact: bool, data: st.DataObject
) -> None:
    """Its clock is two minutes off, it rounds, it has some of the unanswered shares, it reads difficulty 1 either way."""
    factor = Decimal(1) if exact else 1 + Decimal(1) / 65_535
    counted = [
        (at + skew_s, difficulty * factor)
        for at, difficulty, fate in rows
        if fate == "accepted" or (fate == "lost" and data.draw(st.booleans()))
    ]
    result = compare(rows, counted, digits)
    assert result.verdict is Verdict.AGREES
    assert result.compared_days == 4


@settings(max_examples=40, deadline=None)
@given(shares_of_days, st.integers(1, 50))
def test_a_skim_beyond_the_tolerance_is_always_found(rows: list[tuple[int, int, str]], per_cent: int) -> None:
    kept = 1 - Decimal(per_cent) / 100
    counted = [(at, difficulty * kept) for at, difficulty, fate in rows if fate == "accepted"]
    result = compare(rows, counted, 6)
    borders = (START, day_window(LAST, 0)[1])
    edge = sum(
        difficulty
        for at, difficulty, fate in rows
        if fate != "stale"
        and any(border - BOUNDARY_S <= START + at < border + BOUNDARY_S for border in borders)
    )
    accepted, lost = result.whole.accepted, result.whole.lost
    assert accepted is not None
    assert lost is not None
    if accepted * per_cent / 100 > (accepted + edge + lost) / 65_535 + edge + Decimal("0.001"):
        assert result.verdict is Verdict.SHORT
