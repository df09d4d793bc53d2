"""Intervals for Poisson counts against published and independently computed values, and their coverage."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest

from hashwerk.work.poisson import (
    Rate,
    poisson_interval,
    rate_interval,
    stop_at_nth_interval,
    stop_at_nth_rate,
    weighted_intervals,
)


@pytest.mark.parametrize(
    ("count", "low", "high"),
    [
        # Garwood's 95 % limits as tabulated, for example, by the US National Center for Health Statistics.
        (0, 0.0, 3.6889),
        (1, 0.0253, 5.5716),
        (2, 0.2422, 7.2247),
        (5, 1.6235, 11.6683),
        (10, 4.7954, 18.3904),
        (20, 12.2165, 30.8884),
        (50, 37.1110, 65.9190),
        (99, 80.4640, 120.5290),
    ],
)
def test_garwoods_limits(count: int, low: float, high: float) -> None:
    assert poisson_interval(count) == pytest.approx((low, high), abs=2e-3)


def test_the_limits_are_where_the_tails_are_one_in_forty() -> None:
    from scipy.stats import poisson

    for count in (1, 7, 400):
        low, high = poisson_interval(count)
        assert poisson.sf(count - 1, low) == pytest.approx(0.025, rel=1e-9)
        assert poisson.cdf(count, high) == pytest.approx(0.025, rel=1e-9)


def test_ten_thousand_shares_give_two_percent() -> None:
    low, high = poisson_interval(10_000)
    assert (high - low) / 2 / 10_000 == pytest.approx(0.0196, abs=2e-4)  # 1.96 standard errors of 1 % each


def test_one_target_has_garwoods_interval_exactly() -> None:
    low, high = poisson_interval(10)
    rate = rate_interval({40: 10}, 50.0)
    assert rate.hs == 10 * 2**40 / 50
    assert (rate.low_hs, rate.high_hs) == pytest.approx((low * 2**40 / 50, high * 2**40 / 50))
    assert rate_interval({40: 10}, 50.0, method="bonferroni") == pytest.approx(rate)  # type: ignore[comparison-overlap]


def test_the_gamma_interval_of_a_published_example() -> None:
    # Down's syndrome by number of earlier children (the data of Fay and Feuer 1997, table II); the bounds in the
    # chi-square form of the paper, which is written differently from ours.
    from scipy.stats import chi2

    counts = np.array([0, 8, 63, 112, 262, 295])
    births = np.array([327, 30_666, 123_419, 149_919, 104_088, 34_392])
    standard = np.array([319_933, 931_318, 786_511, 488_235, 237_863, 61_313])
    weights = standard / births / standard.sum()
    y, v = weights @ counts, weights**2 @ counts
    w = weights.max()
    low = v / (2 * y) * chi2.ppf(0.025, 2 * y**2 / v)
    high = (v + w**2) / (2 * (y + w)) * chi2.ppf(0.975, 2 * (y + w) ** 2 / (v + w**2))
    assert weighted_intervals(y, v, w) == (pytest.approx(low), pytest.approx(high))


def test_a_target_in_use_without_a_share_widens_the_upper_bound_only() -> None:
    seen, also = rate_interval({40: 10}, 1.0), rate_interval({40: 10, 45: 0}, 1.0)
    assert (also.hs, also.low_hs, also.shares) == (seen.hs, pytest.approx(seen.low_hs), 10)
    assert also.high_hs > seen.high_hs
    assert rate_interval({40: 0}, 1.0) == Rate(0.0, 0.0, pytest.approx(3.6889 * 2**40, rel=1e-4), 0)


def test_the_largest_targets_do_not_overflow() -> None:
    rate = rate_interval({0: 3, 128: 3}, 1e-3)
    assert 0 < rate.low_hs < rate.hs < rate.high_hs < float("inf")


@pytest.mark.parametrize(
    ("counts", "duration"), [({}, 1.0), ({40: -1}, 1.0), ({40: 1}, 0.0), ({40: 1}, float("nan"))]
)
def test_what_has_no_rate_is_refused(counts: dict[int, int], duration: float) -> None:
    with pytest.raises(ValueError, match=r"target|negative|positive"):
        rate_interval(counts, duration)


@pytest.mark.parametrize("confidence", [0.0, 1.0, -1.0, 95.0])
def test_confidence_is_a_probability(confidence: float) -> None:
    with pytest.raises(ValueError, match="confidence"):
        poisson_interval(1, confidence)
    with pytest.raises(ValueError, match="confidence"):
        stop_at_nth_interval(1, 1.0, confidence)


def test_stopping_at_an_event_is_unbiased_and_exact() -> None:
    random = np.random.default_rng(7)
    for count in (2, 3, 10):
        times = random.gamma(count, 1 / 5.0, 200_000)  # the wait for the count-th event at 5 a second
        rates = np.array([stop_at_nth_rate(count, time) for time in times[:50_000]], np.float64)
        error = rates.std() / np.sqrt(len(rates))
        assert count == 2 or abs(rates.mean() - 5.0) < 5 * error  # for 2 the variance is infinite
        low, high = stop_at_nth_interval(count, 1.0)
        assert ((low / times <= 5) & (high / times >= 5)).mean() == pytest.approx(0.95, abs=0.003)
    assert stop_at_nth_rate(1, 3.0) is None
    for bad in ((0, 1.0), (1, 0.0)):
        with pytest.raises(ValueError, match=r"event|positive"):
            stop_at_nth_rate(*bad)
        with pytest.raises(ValueError, match=r"event|positive"):
            stop_at_nth_interval(*bad)


def test_scipy_is_not_loaded_before_it_is_needed() -> None:
    code = "import sys, hashwerk.work.poisson, hashwerk.store; print('scipy' in sys.modules)"
    answer = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True
    )
    assert answer.stdout.strip() == "False"
