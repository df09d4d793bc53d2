"""Perfect foresight by merit order against the linear program, which knows nothing of merit orders."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hashwerk.dispatch.backtest.foresight import perfect_foresight
from hashwerk.dispatch.problem import DemandCharge, Limit, Problem
from hashwerk.dispatch.solve import Solver
from support.dispatch import group, problem

TIMES = 12


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 2**32 - 1), st.booleans())
def test_both_find_the_same_bound(seed: int, demand: bool) -> None:
    random = np.random.default_rng(seed)
    charges = [DemandCharge(name="d", price_per_kw=0.01, month_to_date_w=0.0)] if demand else []
    asked = some_problem(random, charges)
    bound = perfect_foresight(asked, np.zeros(TIMES, dtype=bool)).margin
    assert bound == pytest.approx(-Solver().solve(asked).cost, abs=1e-4)  # type: ignore[operator]


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 2**32 - 1))
def test_charges_on_means_of_several_intervals_and_on_some_hours_are_bounded_too(seed: int) -> None:
    random = np.random.default_rng(seed)
    some = np.arange(TIMES) % 4 < 2
    charges = [
        DemandCharge(name="half hours", price_per_kw=0.02, month_to_date_w=0.0, interval_s=1_800.0),
        DemandCharge(name="some hours", price_per_kw=0.03, month_to_date_w=0.0, applies=some),
    ]
    asked = some_problem(random, charges[: int(random.integers(1, 3))])
    bound = perfect_foresight(asked, np.zeros(TIMES, dtype=bool)).margin
    assert bound == pytest.approx(-Solver().solve(asked).cost, abs=1e-4)  # type: ignore[operator]


def some_problem(random: np.random.Generator, demand: list[DemandCharge]) -> Problem:
    times = TIMES
    groups = [
        group("a", int(random.integers(1, 20)), residual_w=float(random.choice([0.0, 40.0])), feeder="x"),
        group("b", int(random.integers(1, 20)), ((1_000, 60), (2_500, 110), (3_400, 130)), feeder="y"),
    ]
    buy = np.round(random.normal(60, 70, times), 2)
    return problem(
        groups,
        buy,
        interval_s=900.0,
        sell_per_mwh=buy - float(random.choice([0.0, 15.0])),
        export_limit_w=float(random.choice([0.0, 12_000.0])),
        local_w=random.choice([0.0, 15_000.0, 60_000.0], times),
        auxiliary_w=2_000.0,
        cooling_share=random.uniform(0.0, 0.1, times),
        limits=[
            Limit(name="breaker", limit_w=random.choice([30_000.0, 55_000.0, np.inf], times)),
            Limit(name="feeder", limit_w=np.full(times, 25_000.0), feeder="x"),
        ],
        demand=demand,
    )
