"""Reconciliation against books of honest and of dishonest pools."""

from __future__ import annotations

import datetime as dt
import random
from collections.abc import Sequence
from decimal import Decimal

import pytest

from hashwerk.economics.books import DayBooks, day_books, worker_books
from hashwerk.economics.findings import Finding, Reason
from hashwerk.economics.ports import (
    BlockCredit,
    CreditedDay,
    CreditedWorker,
    Payout,
    ProvedWork,
    ShareSum,
    day_of,
    day_window,
)
from hashwerk.economics.reconcile import Allowance, Reconciliation, Verdict, reconcile
from hashwerk.economics.schemes import Network, Scheme, Terms, expected_pay_sat

FIRST = dt.date(2026, 3, 1)
LAST = dt.date(2026, 3, 5)
DIFFICULTY = 65_536
NETWORK = Network(
    difficulty=Decimal(10) ** 8,
    subsidy_sat=312_500_000,
    fees_low_sat=Decimal(4_000_000),
    fees_high_sat=Decimal(5_000_000),
)
FPPS = Terms(scheme=Scheme.FPPS, pool_fee=Decimal("0.02"))


class Shares:
    """A ledger of single shares: (time, worker, fate)."""

    def __init__(self, rows: list[tuple[int, str, str]], covered: tuple[int, int] | None = None) -> None:
        self.rows = rows
        self.covered = covered

    def proved(self, upstream: str, start: int, end: int) -> Sequence[ProvedWork] | None:
        assert upstream == "pool"
        if self.covered and not (self.covered[0] <= start and end <= self.covered[1]):
            return None
        works = []
        chosen = [row for row in self.rows if start <= row[0] < end]
        for worker in sorted({row[1] for row in chosen}):
            counts = {
                fate: sum(1 for _, w, f in chosen if w == worker and f == fate) for _, _, fate in chosen
            }
            sums = {fate: ShareSum(n, Decimal(n * DIFFICULTY)) for fate, n in counts.items() if n}
            works.append(
                ProvedWork(
                    worker=worker,
                    accepted=sums.pop("accepted", ShareSum()),
                    lost=sums.pop("lost", ShareSum()),
                    rejected=sums,
                )
            )
        return works


def ledger(days: int = 5, seed: int = 1) -> Shares:
    """Shares of two workers every ten minutes or so; one in fifty is stale, one in a hundred is never answered."""
    dice = random.Random(seed)
    start, _ = day_window(FIRST, 0)
    rows = []
    at = start
    while at < start + days * 86_400:
        fate = dice.choices(["accepted", "stale", "lost"], [97, 2, 1])[0]
        rows.append((at, dice.choice(["m1", "m2"]), fate))
        at += dice.randint(300, 900)
    return Shares(rows)


def honest_difficulty(shares: Shares, day: dt.date) -> Decimal:
    works = shares.proved("pool", *day_window(day, 0)) or ()
    return sum((work.accepted.difficulty for work in works), Decimal(0))


def credits(shares: Shares, keep: Decimal = Decimal(1), pay: Decimal = Decimal(1)) -> list[CreditedDay]:
    """Books of a pool that credits ``keep`` of the work and pays ``pay`` of what it owes for it."""
    rows = []
    for n in range(5):
        day = FIRST + dt.timedelta(days=n)
        work = honest_difficulty(shares, day) * keep
        sat = expected_pay_sat(FPPS, work, NETWORK, 4_500_000) * pay
        rows.append(CreditedDay(day=day, difficulty=work, mining_sat=sat))
    return rows


def compare(
    shares: Shares, credited: list[CreditedDay], terms: Terms = FPPS, **options: object
) -> Reconciliation:
    books = books_of(shares, credited)
    return reconcile(terms, books, **options)  # type: ignore[arg-type]


def books_of(
    shares: Shares, credited: list[CreditedDay], payouts: list[Payout] | None = None
) -> list[DayBooks]:
    return day_books(
        shares,
        "pool",
        first=FIRST,
        last=LAST,
        credited=credited,
        payouts=payouts,
        network_of=lambda start, end: [NETWORK],
        day_start_s=0,
        boundary_s=120,
    )


def reasons(findings: Sequence[Finding]) -> set[Reason]:
    return {finding.reason for finding in findings}


def test_an_honest_pool_agrees_and_rejects_are_told_without_judgement() -> None:
    shares = ledger()
    result = compare(shares, credits(shares))
    assert result.verdict is Verdict.AGREES
    assert result.compared_days == 5
    assert reasons(result.whole.findings) == {Reason.REJECTED, Reason.LOST}
    assert result.whole.proved is not None
    assert result.whole.accepted is not None
    assert result.whole.rejected is not None
    assert result.whole.lost is not None
    assert result.whole.proved == result.whole.accepted + result.whole.rejected + result.whole.lost
    assert result.whole.credited == result.whole.accepted
    assert [line.name for line in result.days] == [f"2026-03-0{n}" for n in range(1, 6)]


def test_work_that_is_accepted_but_not_credited_is_found_with_its_size() -> None:
    shares = ledger()
    result = compare(shares, credits(shares, keep=Decimal("0.97")))
    assert result.verdict is Verdict.SHORT
    [short] = [f for f in result.whole.findings if f.reason is Reason.CREDITED_LESS]
    assert short.size is not None
    assert result.whole.accepted is not None
    assert abs(short.size / result.whole.accepted + Decimal("0.03")) < Decimal("0.000001")
    assert short.low is not None
    assert Reason.PAID_LESS not in reasons(result.whole.findings), "what was credited was paid as agreed"


def test_a_skim_that_hides_in_each_days_tolerance_is_found_in_the_sum() -> None:
    """One share a day less than accepted: no day can tell it from a share at midnight, the week can."""
    midnight, _ = day_window(FIRST, 0)
    rows = [(midnight + at, "m1", "accepted") for at in range(0, 5 * 86_400, 120)]
    shares = Shares(rows)
    honest = credits(shares)
    skimmed = [
        CreditedDay(day=row.day, difficulty=row.difficulty - DIFFICULTY)  # type: ignore[operator]
        for row in honest
    ]
    result = compare(shares, skimmed)
    assert all(Reason.CREDITED_LESS not in reasons(line.findings) for line in result.days)
    assert Reason.CREDITED_LESS in reasons(result.whole.findings)
    assert result.verdict is Verdict.SHORT


def test_shares_at_midnight_may_be_counted_on_either_day() -> None:
    midnight, _ = day_window(FIRST + dt.timedelta(days=1), 0)
    rows = [(midnight - 40_000 + n * 1000, "m1", "accepted") for n in range(80)]
    near = [(midnight - 60, "m1", "accepted")] * 5
    shares = Shares(rows + near)
    moved = credits(shares)
    five = 5 * DIFFICULTY
    for n, shift in ((0, -five), (1, five)):
        assert moved[n].difficulty is not None
        moved[n] = CreditedDay(day=moved[n].day, difficulty=moved[n].difficulty + shift)  # type: ignore[operator]
    assert compare(shares, moved).verdict is Verdict.AGREES
    assert all(
        not line.findings or reasons(line.findings) == set() for line in compare(shares, moved).days[:2]
    )


def test_a_pool_that_pays_less_than_its_scheme_is_found() -> None:
    shares = ledger()
    result = compare(shares, credits(shares, pay=Decimal("0.99")))
    assert result.verdict is Verdict.SHORT
    assert Reason.PAID_LESS in reasons(result.whole.findings)
    assert Reason.CREDITED_LESS not in reasons(result.whole.findings)
    generous = compare(shares, credits(shares, pay=Decimal("1.05")))
    assert generous.verdict is Verdict.OVER


def test_without_the_fees_only_the_least_owed_is_held_against_a_pool() -> None:
    shares = ledger()
    bare = Network(difficulty=NETWORK.difficulty, subsidy_sat=NETWORK.subsidy_sat)

    def at(pay: str) -> Reconciliation:
        books = [
            DayBooks(day=b.day, proved=b.proved, credited=b.credited, networks=(bare,))
            for b in books_of(shares, credits(shares, pay=Decimal(pay)))
        ]
        return reconcile(FPPS, books)

    assert at("0.99").verdict is Verdict.AGREES  # the fees were 1.4 % of the reward
    assert at("0.97").verdict is Verdict.SHORT
    assert at("3").verdict is Verdict.AGREES
    assert Reason.FEES_MISSING in reasons(at("1").days[0].findings)
    assert at("1").whole.owed_high_sat is None


def test_a_retarget_inside_a_day_widens_what_is_owed_to_both_difficulties() -> None:
    harder = Network(
        difficulty=NETWORK.difficulty * 2,
        subsidy_sat=NETWORK.subsidy_sat,
        fees_low_sat=Decimal(0),
        fees_high_sat=Decimal(0),
    )
    shares = ledger(1)
    day = books_of(shares, credits(shares, pay=Decimal("0.6")))[0]
    one = reconcile(FPPS, [day])
    both = reconcile(
        FPPS,
        [DayBooks(day=day.day, proved=day.proved, credited=day.credited, networks=(NETWORK, harder))],
    )
    assert one.verdict is Verdict.SHORT
    assert both.verdict is Verdict.AGREES


def test_missing_is_said_and_never_zero() -> None:
    shares = ledger()
    start, _ = day_window(FIRST, 0)
    shares.covered = (start - 1000, start + 2 * 86_400 + 1000)
    result = compare(shares, credits(shares)[1:4])
    first, second, third, fourth, fifth = result.days
    assert reasons(first.findings) >= {Reason.CREDIT_MISSING}
    assert first.credited is None
    assert first.accepted is not None
    assert Reason.CREDIT_MISSING not in reasons(second.findings)
    for line in (third, fourth):
        assert reasons(line.findings) == {Reason.LEDGER_MISSING}
        assert line.proved is None
    assert reasons(fifth.findings) == {Reason.LEDGER_MISSING, Reason.CREDIT_MISSING}
    assert result.compared_days == 1
    assert result.unpaid_sat is None


def test_with_nothing_to_compare_nothing_is_told() -> None:
    result = compare(Shares([]), [])
    assert result.verdict is Verdict.UNTOLD
    only_names = compare(ledger(), [CreditedDay(day=FIRST)])
    assert only_names.verdict is Verdict.UNTOLD


def test_what_is_credited_and_not_yet_paid() -> None:
    shares = ledger()
    credited = credits(shares)
    at, _ = day_window(FIRST + dt.timedelta(days=2), 0)
    payouts = [Payout(at=at + 5, amount_sat=Decimal(1000))]
    result = reconcile(FPPS, books_of(shares, credited, payouts))
    whole = sum((row.mining_sat for row in credited if row.mining_sat is not None), Decimal(0))
    assert result.unpaid_sat == whole - 1000
    assert [line.paid_sat for line in result.days] == [0, 0, 1000, 0, 0]


@pytest.mark.parametrize(
    ("paid_blocks", "of_each", "verdict"),
    [
        (60, "1", Verdict.AGREES),
        (48, "1", Verdict.AGREES),  # bad luck
        (75, "1", Verdict.AGREES),  # good luck
        (30, "1", Verdict.SHORT),  # blocks withheld
        (60, "0.5", Verdict.SHORT),  # half of each block withheld
        (110, "1", Verdict.OVER),
    ],
)
def test_luck_explains_what_it_can_and_no_more(paid_blocks: int, of_each: str, verdict: Verdict) -> None:
    shares = ledger()
    tides = Terms(scheme=Scheme.TIDES, pool_fee=Decimal("0.01"))
    owed = sum(
        expected_pay_sat(tides, honest_difficulty(shares, FIRST + dt.timedelta(days=n)), NETWORK, 4_500_000)
        for n in range(5)
    )
    each = owed / 60 * Decimal(of_each)  # a share of the pool at which sixty blocks are expected
    per_day = [paid_blocks // 5] * 4 + [paid_blocks - paid_blocks // 5 * 4]
    credited = [
        CreditedDay(day=FIRST + dt.timedelta(days=n), mining_sat=each * count, blocks=count)
        for n, count in enumerate(per_day)
    ]
    result = compare(shares, credited, tides)
    assert result.verdict is verdict
    assert all(Reason.PAID_LESS not in reasons(line.findings) for line in result.days), "a day is luck"
    if verdict is not Verdict.AGREES:
        judged = [f for f in result.whole.findings if f.confidence is not None]
        assert judged
        assert judged[0].low is not None
        assert judged[0].high is not None


@pytest.mark.parametrize(("net_sat", "is_short"), [(1_242_000, False), (1_237_500, False), (1_237_498, True)])
def test_a_single_block_that_pays_less_than_its_window_is_found_without_any_luck(
    net_sat: int, is_short: bool
) -> None:
    """Shares of 3.2e6 in a window of 8·10⁸ are 0.4 % of it: of 312.5e6 sat 1,250,000, less one per cent."""
    tides = Terms(scheme=Scheme.TIDES, pool_fee=Decimal("0.01"))
    block = BlockCredit(
        at=day_window(FIRST, 0)[0] + 60, window_shares=Decimal(3_200_000), net_sat=Decimal(net_sat)
    )
    credited = [CreditedDay(day=FIRST, mining_sat=block.net_sat, blocks=1, block_credits=(block,))]
    result = compare(ledger(), credited, tides)
    assert (Reason.BLOCK_LESS in reasons(result.days[0].findings)) is is_short
    if is_short:
        assert result.verdict is Verdict.SHORT
    solo = compare(ledger(), credited, Terms(scheme=Scheme.SOLO))
    assert Reason.BLOCK_LESS not in reasons(solo.days[0].findings), "no window, nothing to hold against it"


def test_no_block_at_all_needs_the_share_of_the_pool_to_be_judged() -> None:
    shares = ledger()
    tides = Terms(scheme=Scheme.TIDES)
    credited = [
        CreditedDay(day=FIRST + dt.timedelta(days=n), mining_sat=Decimal(0), blocks=0) for n in range(5)
    ]
    untold = compare(shares, credited, tides)
    assert untold.verdict is Verdict.UNTOLD
    assert Reason.LUCK_UNKNOWN in reasons(untold.whole.findings)
    large = compare(shares, credited, tides, pool_share=Decimal("0.9"))  # half a block expected
    assert large.verdict is Verdict.AGREES
    small = compare(shares, credited, tides, pool_share=Decimal("0.01"))  # some forty blocks expected
    assert small.verdict is Verdict.SHORT


def test_workers_are_compared_by_name_over_the_pools_own_interval() -> None:
    shares = ledger()
    start, end = day_window(FIRST, 0)
    works = {work.worker: work.accepted.difficulty for work in shares.proved("pool", start, end) or ()}
    rows = [
        CreditedWorker(worker="m1", start=start, end=end, difficulty=works["m1"] / 2),
        CreditedWorker(worker="stranger", start=start, end=end, difficulty=Decimal(1)),
    ]
    books = worker_books(shares, "pool", rows, boundary_s=120)
    lines = {line.name: line for line in reconcile(FPPS, [], books).workers}
    assert Reason.CREDITED_LESS in reasons(lines["m1"].findings)
    assert Reason.UNKNOWN_THERE in reasons(lines["m2"].findings)
    assert reasons(lines["stranger"].findings) == {Reason.UNKNOWN_HERE}
    shares.covered = (0, 1)
    [line, other] = reconcile(FPPS, [], worker_books(shares, "pool", rows, boundary_s=0)).workers
    assert reasons(line.findings) == reasons(other.findings) == {Reason.LEDGER_MISSING}


def test_a_pools_day_may_begin_elsewhere() -> None:
    start, end = day_window(FIRST, 8 * 3600)
    assert end - start == 86_400
    assert dt.datetime.fromtimestamp(start, dt.UTC).hour == 8
    assert day_of(start, 8 * 3600) == FIRST
    assert day_of(start - 1, 8 * 3600) == FIRST - dt.timedelta(days=1)
    assert day_of(end, 8 * 3600) == FIRST + dt.timedelta(days=1)


def test_a_day_twice_in_the_pools_books_is_refused() -> None:
    with pytest.raises(ValueError, match="twice"):
        books_of(ledger(1), [CreditedDay(day=FIRST), CreditedDay(day=FIRST)])


def test_a_day_that_is_not_closed_is_said() -> None:
    shares = ledger(1)
    result = compare(shares, [CreditedDay(day=FIRST, difficulty=Decimal(0), is_final=False)])
    assert Reason.NOT_FINAL in reasons(result.days[0].findings)


def test_a_lost_share_may_be_in_the_pools_books_or_not() -> None:
    midnight, _ = day_window(FIRST, 0)
    rows = [(midnight + 10_000 + n, "m1", "lost" if n < 3 else "accepted") for n in range(100)]
    shares = Shares(rows)
    for extra, verdict in ((0, Verdict.AGREES), (3, Verdict.AGREES), (4, Verdict.OVER)):
        credited = [CreditedDay(day=FIRST, difficulty=Decimal((97 + extra) * DIFFICULTY))]
        assert compare(shares, credited, allowance=Allowance()).verdict is verdict
