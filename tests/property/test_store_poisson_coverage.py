"""The coverage of the intervals, computed or simulated: never below what they promise."""

from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import poisson

from hashwerk.work.poisson import poisson_interval, rate_interval, weighted_intervals

RUNS = 4_000
# Four standard errors of a proportion of 0.95 over that many runs.
SLACK = 4 * (0.95 * 0.05 / RUNS) ** 0.5

means = st.floats(min_value=0.05, max_value=300.0)


@given(mean=means, confidence=st.sampled_from([0.8, 0.95, 0.99]))
def test_garwoods_coverage_is_never_below_its_confidence(mean: float, confidence: float) -> None:
    counts = np.arange(0, int(mean + 20 * mean**0.5 + 60))
    low, high = weighted_intervals(counts, counts, 1.0, confidence)
    covered = poisson.pmf(counts[(low <= mean) & (mean <= high)], mean).sum()
    assert covered >= confidence - 1e-9


@settings(max_examples=60, deadline=None)
@given(
    targets=st.dictionaries(st.integers(30, 50), means, min_size=2, max_size=4),
    seed=st.integers(0, 2**32 - 1),
)
def test_the_gamma_intervals_coverage_holds_for_mixed_targets(targets: dict[int, float], seed: int) -> None:
    random = np.random.default_rng(seed)
    weights = np.ldexp(1.0, np.array(list(targets)))
    truth = float(weights @ np.array(list(targets.values())))
    counts = np.stack([random.poisson(mean, RUNS) for mean in targets.values()])
    low, high = weighted_intervals(weights @ counts, weights**2 @ counts, weights.max())
    assert ((low <= truth) & (truth <= high)).mean() >= 0.95 - SLACK


@settings(max_examples=15, deadline=None)
@given(
    targets=st.dictionaries(st.integers(30, 50), st.floats(0.1, 30.0), min_size=2, max_size=3),
    seed=st.integers(0, 2**32 - 1),
)
def test_the_sum_of_simultaneous_bounds_covers_too_and_is_never_narrower(
    targets: dict[int, float], seed: int
) -> None:
    random = np.random.default_rng(seed)
    truth = sum(2.0**target * mean for target, mean in targets.items())
    covered = 0
    runs = 100
    for _ in range(runs):
        counts = {target: int(random.poisson(mean)) for target, mean in targets.items()}
        wide = rate_interval(counts, 1.0, method="bonferroni")
        assert wide.low_hs <= wide.hs <= wide.high_hs
        covered += wide.low_hs <= truth <= wide.high_hs
    assert covered / runs >= 0.95 - 4 * (0.95 * 0.05 / runs) ** 0.5


@given(count=st.integers(0, 10**9), confidence=st.floats(0.5, 0.999))
def test_the_interval_holds_the_count_and_grows_with_confidence(count: int, confidence: float) -> None:
    low, high = poisson_interval(count, confidence)
    assert 0 <= low <= count < high
    wider_low, wider_high = poisson_interval(count, (1 + confidence) / 2)
    assert wider_low <= low
    assert high <= wider_high
