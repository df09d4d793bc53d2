"""The subsidy at the edges of the halvings."""

from __future__ import annotations

import pytest

from hashwerk.chain.network import NETWORKS
from hashwerk.chain.subsidy import MAX_MONEY_SAT, subsidy_sat

MAIN = NETWORKS["main"]


@pytest.mark.parametrize(
    ("height", "expected_sat"),
    [
        (0, 5_000_000_000),
        (209_999, 5_000_000_000),
        (210_000, 2_500_000_000),
        (840_000, 312_500_000),
        (6_929_999, 1),
        (6_930_000, 0),
        (210_000 * 64, 0),
        (4_294_967_295, 0),
    ],
)
def test_subsidy_on_main(height: int, expected_sat: int) -> None:
    assert subsidy_sat(MAIN, height) == expected_sat


def test_regtest_halves_every_150_blocks() -> None:
    assert subsidy_sat(NETWORKS["regtest"], 149) == 5_000_000_000
    assert subsidy_sat(NETWORKS["regtest"], 150) == 2_500_000_000


def test_all_subsidies_together_stay_below_21_million() -> None:
    total_sat = sum(
        subsidy_sat(MAIN, era * MAIN.halving_interval) * MAIN.halving_interval for era in range(70)
    )
    assert total_sat == 2_099_999_997_690_000
    assert total_sat < MAX_MONEY_SAT


def test_a_negative_height_is_refused() -> None:
    with pytest.raises(ValueError, match="-1"):
        subsidy_sat(MAIN, -1)
