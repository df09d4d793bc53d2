"""Hashprice against published figures, break-even, and the spread of luck."""

from __future__ import annotations

import math
from decimal import Decimal, localcontext

import pytest

from hashwerk.economics.hashprice import (
    block_count,
    break_even_per_mwh,
    expected_blocks,
    fee_share,
    hashprice_per_th_day,
    hashprice_sat_per_th_day,
    marginal_j_per_th,
    power_cost_per_th_day,
)

SUBSIDY_SAT = 625_000_000


@pytest.mark.parametrize(
    ("price", "difficulty", "share", "published"),
    [
        (31_338, 14_363_025_673_659, "0.0157", "0.2787"),  # 17 July 2021
        (33_806, 13_672_594_272_814, "0.0126", "0.315"),  # 24 July 2021
    ],
)
def test_hashprice_is_the_published_one(price: int, difficulty: int, share: str, published: str) -> None:
    value = hashprice_per_th_day(difficulty, SUBSIDY_SAT, Decimal(share), price)
    assert value.quantize(Decimal(published)) == Decimal(published)


def test_break_even_is_the_published_one() -> None:
    assert round(break_even_per_mwh(39, Decimal("17.5"))) == 93


def test_at_break_even_the_power_costs_what_the_hash_earns() -> None:
    price = break_even_per_mwh(Decimal(39), Decimal("17.5"))
    assert abs(power_cost_per_th_day(price, Decimal("17.5")) * 1000 - 39) < Decimal("1e-25")


def test_the_callers_decimal_context_changes_nothing() -> None:
    exact = hashprice_sat_per_th_day(14_363_025_673_659, SUBSIDY_SAT, Decimal("0.0157"))
    with localcontext() as context:
        context.prec = 3
        assert hashprice_sat_per_th_day(14_363_025_673_659, SUBSIDY_SAT, Decimal("0.0157")) == exact


def test_fees_are_a_share_of_the_whole_reward() -> None:
    assert fee_share(300, 100) == Decimal("0.25")
    with_fees = hashprice_sat_per_th_day(1, 300, Decimal("0.25"))
    assert with_fees == hashprice_sat_per_th_day(1, 400, 0)


def test_the_extra_watts_decide_and_not_the_average() -> None:
    assert marginal_j_per_th(3_000, 100, 3_500, 110) == 50  # the averages are 30 and 31.8 J/TH
    with pytest.raises(ValueError, match="not faster"):
        marginal_j_per_th(3_000, 100, 3_500, 100)


def test_a_day_at_the_whole_networks_rate_finds_the_blocks_of_a_day() -> None:
    hashrate = Decimal(2**32) / 600  # one block in ten minutes at difficulty 1
    assert abs(expected_blocks(hashrate, 86_400, 1) - 144) < Decimal("1e-20")


def test_the_spread_of_luck() -> None:
    count = block_count(Decimal(144))
    assert (count.low, count.high) == (121, 168)
    assert count.relative_spread is not None
    assert math.isclose(float(count.relative_spread), 1 / 12)
    for expected in ("0.01", "0.5", "3", "40"):
        tail_low, tail_high = _tails(float(expected), block_count(Decimal(expected)))
        assert tail_low <= 0.025
        assert tail_high <= 0.025


def _tails(mean: float, count: object) -> tuple[float, float]:
    """Sum the probabilities outside of the interval, term by term, without the library under test."""
    terms = [math.exp(-mean)]
    for k in range(1, 300):
        terms.append(terms[-1] * mean / k)
    return math.fsum(terms[: count.low]), math.fsum(terms[count.high + 1 :])  # type: ignore[attr-defined]


def test_nothing_expected_is_nothing_found() -> None:
    count = block_count(Decimal(0))
    assert (count.low, count.high, count.relative_spread) == (0, 0, None)


@pytest.mark.parametrize(
    "call",
    [
        lambda: hashprice_sat_per_th_day(0, 1, 0),
        lambda: hashprice_sat_per_th_day(1, -1, 0),
        lambda: hashprice_sat_per_th_day(1, 1, 1),
        lambda: hashprice_per_th_day(1, 1, 0, -1),
        lambda: break_even_per_mwh(1, 0),
        lambda: expected_blocks(-1, 1, 1),
        lambda: block_count(Decimal(-1)),
        lambda: block_count(Decimal(1), 1.0),
        lambda: fee_share(0, 0),
        lambda: fee_share(-1, 1),
    ],
)
def test_what_cannot_be_is_refused(call: object) -> None:
    with pytest.raises(ValueError, match=r"\w"):
        call()  # type: ignore[operator]
