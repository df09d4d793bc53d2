"""The difficulty to expect."""

from decimal import Decimal

import pytest

from hashwerk.economics.network import expected_next_difficulty


def test_the_largest_fall_ever_is_what_its_period_says() -> None:
    """Height 689,472: 19,932,791,027,262 → 14,363,025,673,659, that is, a period of 19.4 days instead of 14."""
    before, after = 19_932_791_027_262, 14_363_025_673_659
    span_s = Decimal(before) / after * 2016 * 600
    assert abs(expected_next_difficulty(before, 2015, span_s) - after) < 1
    assert 19 < span_s / 86_400 < 20


def test_half_a_period_at_the_intended_pace_changes_almost_nothing() -> None:
    assert expected_next_difficulty(1000, 1000, 600_000) == 1000 * Decimal(2016) / 2015


def test_no_more_than_fourfold() -> None:
    assert expected_next_difficulty(1000, 100, 1) == 4000
    assert expected_next_difficulty(1000, 1, 10**9) == 250


@pytest.mark.parametrize("arguments", [(0, 1, 1), (1, 0, 1), (1, 2016, 1), (1, 1, 0)])
def test_what_cannot_be_is_refused(arguments: tuple[int, int, int]) -> None:
    with pytest.raises(ValueError, match=r"\w"):
        expected_next_difficulty(*arguments)
