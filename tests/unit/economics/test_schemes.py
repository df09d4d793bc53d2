"""What schemes owe, by hand-computed figures, by properties, and against simulated luck."""

from __future__ import annotations

import random
from decimal import Decimal

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hashwerk.economics.schemes import (
    Network,
    Scheme,
    Terms,
    expected_pay_sat,
    luck,
    net_reward_sat,
    pay,
    split_reward,
    window_pay_sat,
)

NETWORK = Network(difficulty=Decimal(1000), subsidy_sat=312_500_000)
FEES_SAT = 10_000_000


def terms(scheme: Scheme, fee: str = "0.02", fees_fee: str | None = None) -> Terms:
    return Terms(
        scheme=scheme, pool_fee=Decimal(fee), fees_pool_fee=None if fees_fee is None else Decimal(fees_fee)
    )


def test_pps_pays_a_fixed_price_for_each_share_and_no_fees() -> None:
    assert expected_pay_sat(terms(Scheme.PPS), 1, NETWORK, FEES_SAT) == Decimal(
        "306250"
    )  # 0.98 · 312.5e6/1000
    assert expected_pay_sat(terms(Scheme.PPS), 7, NETWORK, 0) == 7 * Decimal("306250")


def test_fpps_adds_fees_each_with_its_own_pool_fee() -> None:
    assert expected_pay_sat(terms(Scheme.FPPS), 1, NETWORK, FEES_SAT) == Decimal(
        "316050"
    )  # 0.98 · 322.5e6/1000
    assert expected_pay_sat(terms(Scheme.FPPS, fees_fee="0"), 1, NETWORK, FEES_SAT) == Decimal("316250")


@pytest.mark.parametrize("scheme", [Scheme.FPPS, Scheme.PPLNS, Scheme.TIDES, Scheme.SOLO])
def test_on_average_all_schemes_with_fees_pay_the_same(scheme: Scheme) -> None:
    assert expected_pay_sat(terms(scheme), 500, NETWORK, FEES_SAT) == Decimal("158025000")


@pytest.mark.parametrize("scheme", [Scheme.PPS, Scheme.FPPS])
def test_where_luck_has_no_part_there_is_no_interval(scheme: Scheme) -> None:
    assert pay(terms(scheme), 500, NETWORK, pool_share=Decimal("0.1")).low_sat is None


def test_solo_is_paid_in_whole_blocks() -> None:
    owed = pay(terms(Scheme.SOLO, "0"), 3000, NETWORK, fees_sat=FEES_SAT)
    assert owed.expected_blocks == 3
    assert (owed.low_sat, owed.high_sat) == (0, 7 * 322_500_000)


def test_a_small_miner_of_a_large_pool_is_paid_more_steadily_than_alone() -> None:
    alone = pay(terms(Scheme.SOLO), 3000, NETWORK)
    pooled = pay(terms(Scheme.TIDES), 3000, NETWORK, pool_share=Decimal("0.01"))
    assert pooled.expected_sat == alone.expected_sat
    assert pooled.expected_blocks == 300
    assert pooled.low_sat is not None
    assert pooled.high_sat is not None
    assert alone.high_sat is not None
    assert pooled.high_sat - pooled.low_sat < alone.high_sat / 5


def test_without_the_share_of_the_pool_luck_cannot_be_told() -> None:
    assert pay(terms(Scheme.PPLNS), 3000, NETWORK).low_sat is None


def test_the_interval_of_luck_covers_what_simulated_pools_pay() -> None:
    owed = pay(terms(Scheme.SOLO, "0"), 5000, NETWORK)
    dice = random.Random(5)
    inside = 0
    for _ in range(2000):
        blocks = sum(dice.random() < 0.001 for _ in range(5000))  # 5,000 shares, one in a thousand is a block
        inside += owed.low_sat <= blocks * 312_500_000 <= owed.high_sat  # type: ignore[operator]
    assert inside / 2000 >= 0.94  # nominal: at least 0.95


def test_a_tides_block_pays_the_window_that_ocean_published() -> None:
    """A recorded credit: shares of 1.285e14 in a window of 8·D earned 40,260,623 sat before a fee of one per cent."""
    shares, gross, net = 128_515_457_417_216, 40_260_623, 39_858_017
    difficulty = 127_000_000_000_000
    reward = round(Decimal(gross) * 8 * difficulty / shares)
    tides = terms(Scheme.TIDES, "0.01")
    assert reward > 312_500_000
    assert abs(window_pay_sat(tides, shares, difficulty, reward) - net) < 2


def test_the_whole_window_earns_the_whole_block() -> None:
    tides = terms(Scheme.TIDES, "0")
    assert window_pay_sat(tides, 8000, 1000, 322_500_000) == 322_500_000
    pplns = Terms(scheme=Scheme.PPLNS, window=Decimal(2))
    assert window_pay_sat(pplns, 500, 1000, 322_500_000) == 80_625_000


def test_each_share_of_a_window_is_paid_by_as_many_blocks_as_the_window_is_long_on_average() -> None:
    tides = terms(Scheme.TIDES, "0")
    paid_by_eight_blocks = 8 * window_pay_sat(tides, 80, 1000, 322_500_000)
    assert paid_by_eight_blocks == expected_pay_sat(tides, 80, NETWORK, FEES_SAT)


@settings(max_examples=60, deadline=None)
@given(
    st.integers(0, 2**60),
    st.dictionaries(st.text(max_size=3), st.integers(0, 2**70), min_size=1, max_size=20).filter(
        lambda weights: sum(weights.values()) > 0
    ),
)
def test_a_split_sums_to_the_satoshi_and_is_fair_to_the_satoshi(reward: int, weights: dict[str, int]) -> None:
    parts = split_reward(reward, weights)
    whole = sum(weights.values())
    assert sum(parts.values()) == reward
    assert parts.keys() == weights.keys()
    for key, part in parts.items():
        assert abs(part * whole - reward * weights[key]) < whole  # less than one satoshi off
        assert weights[key] or not part


def test_left_over_satoshi_go_to_the_largest_remainders() -> None:
    assert split_reward(10, {"a": 1, "b": 1, "c": 1}) == {"a": 4, "b": 3, "c": 3}
    assert split_reward(10, {"a": 50, "b": 26, "c": 24}) == {"a": 5, "b": 3, "c": 2}


@pytest.mark.parametrize(
    "call",
    [
        lambda: expected_pay_sat(terms(Scheme.PPS), -1, NETWORK, 0),
        lambda: expected_pay_sat(terms(Scheme.PPS), 1, Network(difficulty=Decimal(0), subsidy_sat=1), 0),
        lambda: terms(Scheme.PPS, "1"),
        lambda: pay(terms(Scheme.TIDES), 1, NETWORK, pool_share=2),
        lambda: window_pay_sat(terms(Scheme.FPPS), 1, 1, 1),
        lambda: window_pay_sat(Terms(scheme=Scheme.PPLNS), 1, 1, 1),
        lambda: window_pay_sat(terms(Scheme.TIDES), 9, 1, 1),
        lambda: split_reward(1, {"a": 0}),
        lambda: split_reward(-1, {"a": 1}),
        lambda: luck(Decimal(1), Decimal(0)),
    ],
)
def test_what_cannot_be_is_refused(call: object) -> None:
    with pytest.raises(ValueError, match=r"\w"):
        call()  # type: ignore[operator]


def test_what_is_left_of_a_block() -> None:
    assert net_reward_sat(terms(Scheme.FPPS, "0.01", "0.5"), 1000, 100) == 1040
