"""Policies, one by one."""

from __future__ import annotations

import numpy as np
import pytest

from hashwerk.dispatch.policies.always_on import AlwaysOn
from hashwerk.dispatch.policies.clean import CarbonBudget, CleanOnly, SurplusOnly, emission_g
from hashwerk.dispatch.policies.marginal import MarginalStrike
from hashwerk.dispatch.policies.strike import OneStrike
from hashwerk.dispatch.problem import Carbon, Event, GroupHistory, Limit, Ppa
from hashwerk.dispatch.problem import CleanOnly as Matching
from hashwerk.dispatch.schedule import Hold
from hashwerk.errors import DispatchError
from support.dispatch import group, problem


def test_always_on_runs_what_the_limits_leave() -> None:
    plan = AlwaysOn().plan(
        problem(
            [group()], [500.0, 500.0], limits=[Limit(name="breaker", limit_w=np.array([np.inf, 20_000.0]))]
        )
    )
    assert plan.running[0].tolist() == [[0, 7], [10, 3]]
    assert plan.held is not None
    assert plan.held[0].tolist() == [Hold.NOTHING, Hold.SITE]


def test_a_debounce_waits_and_a_band_keeps() -> None:
    prices = [50.0, 90.0, 50.0, 90.0, 90.0, 90.0, 50.0]
    plan = OneStrike(70.0, debounce_s=3_600.0).plan(problem([group()], prices, running=[10]))
    assert plan.on[0].tolist() == [10, 10, 10, 10, 0, 0, 0]
    wide = OneStrike(70.0, band_per_mwh=50.0).plan(problem([group()], prices, running=[10]))
    assert wide.on[0].tolist() == [10] * 7


def test_the_strike_left_open_is_the_break_even_of_the_whole_fleet() -> None:
    # 120 TH/s at 3 kW and 45 per PH and day: 75 per MWh.
    assert OneStrike().plan(problem([group()], [74.9, 75.1])).on[0].tolist() == [10, 0]


def test_a_missing_price_is_not_a_low_one() -> None:
    for policy in (OneStrike(70.0), MarginalStrike()):
        assert policy.plan(problem([group()], [50.0, np.nan, 50.0], running=[10])).on[0].tolist() == [
            10,
            0,
            10,
        ]


def test_cooling_belongs_to_the_watt() -> None:
    # 93.75 / 1.25 = 75.
    plan = MarginalStrike().plan(problem([group()], [74.9, 75.1], cooling_share=0.25))
    assert plan.on[0].tolist() == [10, 0]


def test_own_generation_runs_what_could_not_be_sold_for_more() -> None:
    # 10 kW of sun; the break-evens are 93.75 and 56.25; buying costs 200, selling brings 60.
    sun = problem([group()], [200.0, 200.0], local_w=10_000.0, sell_per_mwh=60.0, export_limit_w=50_000.0)
    plan = MarginalStrike().plan(sun)
    assert plan.running[0, :, 0].tolist() == [6, 0]
    assert plan.export_w[0] == pytest.approx(1_000.0)
    none_sold = MarginalStrike().plan(problem([group()], [200.0], local_w=18_000.0))
    assert none_sold.running[0, :, 0].tolist() == [8, 2]


def test_what_an_event_pays_is_a_price() -> None:
    event = Event(
        name="e", baseline_w=np.full(2, 30_000.0), committed_w=np.array([30_000.0, 0.0]), pay_per_mwh=60.0
    )
    assert MarginalStrike().plan(problem([group()], [50.0, 50.0], events=[event])).on[0].tolist() == [0, 10]


def test_energy_under_contract_costs_what_the_resale_would_bring() -> None:
    ppa = Ppa(
        name="p", price_per_mwh=30.0, power_w=np.array([30_000.0, 0.0]), resale_per_mwh=np.full(2, 40.0)
    )
    assert MarginalStrike().plan(problem([group()], [200.0, 200.0], ppa=ppa)).on[0].tolist() == [10, 0]


def test_clean_only_runs_on_what_is_matched() -> None:
    clean = Matching(contracted_w=np.array([30_000.0, 4_000.0, 0.0]))
    plan = CleanOnly().plan(
        problem([group()], [20.0] * 3, clean=clean, local_w=np.array([0.0, 5_000.0, 5_000.0]))
    )
    assert plan.on[0].tolist() == [10, 6, 3]
    assert (plan.import_w <= clean.contracted_w + 1e-6).all()


def test_a_carbon_budget_takes_the_cleanest_hours() -> None:
    carbon = Carbon(g_per_kwh=np.array([300.0, 50.0, 600.0]), budget_g=12_000.0)
    asked = problem([group()], [40.0] * 3, carbon=carbon)
    plan = CarbonBudget().plan(asked)
    assert emission_g(asked, plan) <= 12_000.0
    assert plan.on[0].tolist() == [10, 10, 0]
    with pytest.raises(DispatchError, match="budget"):
        CarbonBudget().plan(problem([group()], [40.0]))


def test_surplus_goes_to_the_house_first_and_waits_before_it_wakes_anybody() -> None:
    sun = np.array([0.0, 3_000.0, 9_000.0, 9_000.0, 9_000.0, 2_000.0, 2_000.0, 2_000.0])
    asked = problem([group()], [20.0] * 8, local_w=sun, auxiliary_w=2_000.0)
    plan = SurplusOnly(enable_s=3_600.0).plan(asked)
    assert plan.on[0].tolist() == [0, 0, 0, 4, 4, 0, 0, 0]
    assert (plan.import_w <= np.maximum(0.0, 2_000.0 - sun) + 1e-6).all()


def test_starts_are_counted_for_each_day() -> None:
    machines = group(starts_per_day=1)
    history = GroupHistory(
        on_for_s=np.zeros(0), off_for_s=np.full(10, 1e6), starts_left=np.array([1] * 4 + [0] * 6)
    )
    prices = [50.0, 900.0, 50.0, 900.0] * 12
    plan = MarginalStrike().plan(problem([machines], prices, histories=[history]))
    assert plan.starts[0, :24].sum() == 4
    assert plan.starts[0, 24:].sum() == 10
    assert plan.held is not None
    assert Hold.STARTS in plan.held[0]
