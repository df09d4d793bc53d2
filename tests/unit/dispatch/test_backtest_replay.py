"""Replays: theory reproduced, bounds kept, machines treated as they may be."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from hashwerk.dispatch.backtest.foresight import months, perfect_foresight
from hashwerk.dispatch.backtest.history import History, Published
from hashwerk.dispatch.backtest.replay import replay
from hashwerk.dispatch.backtest.report import PolicyResult, realised, result_of
from hashwerk.dispatch.backtest.run import make_policy
from hashwerk.dispatch.backtest.scenario import Scenario
from hashwerk.dispatch.backtest.settings import (
    BatterySettings,
    CarbonSettings,
    DemandSettings,
    PublicationSettings,
    SeriesSettings,
)
from hashwerk.dispatch.backtest.state import GroupState
from hashwerk.dispatch.grid import uniform_grid
from hashwerk.dispatch.problem import GroupHistory
from support.backtests import START_S, machines, scenario, waves
from support.dispatch_checks import check_machines

EVERY = ["always on", "one strike", "marginal strike", "optimiser", "clean only", "surplus only"]


def run(replayed: Scenario, name: str) -> PolicyResult:
    bound = perfect_foresight(replayed.problem_settled(), replayed.missing)
    done = replay(replayed, make_policy(name, replayed.settings))  # type: ignore[arg-type]
    return result_of(replayed, done, always_on=None, foresight=bound.margin, seconds=0.0)[0]


def test_without_coupling_the_strike_is_perfect_foresight_to_the_cent() -> None:
    groups = [machines("a", 20), machines("b", 7, 0.8), machines("c", 13, 1.3)]
    result = run(
        scenario(waves(96 * 20), groups=groups, auxiliary_kw=5.0, cooling_share=0.05), "marginal strike"
    )
    assert result.regret == 0.0
    assert result.margin > 0


def test_an_interval_of_delay_costs_something() -> None:
    late = PublicationSettings(kind="after")
    assert run(scenario(waves(96 * 20, hourly=False), publication=late), "marginal strike").regret > 0


@pytest.mark.parametrize("name", EVERY)
@pytest.mark.parametrize("kind", ["plain", "demand", "battery", "sun"])
def test_nobody_exceeds_the_bound(name: str, kind: str) -> None:
    intervals = 96 * 5
    sun_kw = np.maximum(0.0, np.sin(np.arange(intervals) / 96 * 2 * np.pi - 1.5)) * 60
    more: dict[str, object] = {
        "plain": {},
        "demand": {"demand": DemandSettings(price_per_kw_month=0.4)},
        "battery": {"battery": BatterySettings(capacity_kwh=60, power_kw=25, wear_per_mwh=2.0)},
        "sun": {"local_kw": sun_kw, "export_limit_kw": 20.0, "sell_discount_per_mwh": 4.0},
    }[kind]  # type: ignore[assignment]
    price = waves(intervals, 7)
    price[100:108] = -60.0
    price[300:304] = 4_000.0
    coupled = [
        machines("a", wake_s=240.0, min_on_s=1_800.0, min_off_s=900.0, wear_per_start=0.01, starts_per_day=4)
    ]
    replayed = scenario(price, groups=[*coupled, machines("b", 11, 0.9)], breaker_kw=80.0, **more)  # type: ignore[arg-type]
    bound = perfect_foresight(replayed.problem_settled(), replayed.missing)
    done = replay(replayed, make_policy(name, replayed.settings))  # type: ignore[arg-type]
    result, _, margins = result_of(replayed, done, always_on=None, foresight=bound.margin, seconds=0.0)
    assert margins.sum() == pytest.approx(result.margin, abs=0.01)
    assert result.regret >= -0.01
    assert result.imported_mwh <= 80.0 * 24 * 5 / 1_000 + 0.1


def test_the_optimiser_is_better_than_the_strike_where_hours_are_coupled() -> None:
    coupled = [machines(wake_s=600.0, min_on_s=3_600.0, wear_per_start=0.03)]
    replayed = scenario(waves(96 * 15, 4), groups=coupled)
    assert run(replayed, "optimiser").margin > run(replayed, "marginal strike").margin
    peaky = scenario(waves(96 * 40, 4), demand=DemandSettings(price_per_kw_month=6.0))
    assert run(peaky, "optimiser").margin > run(peaky, "marginal strike").margin


def test_a_demand_charge_is_no_reason_to_wait_on_the_first_day() -> None:
    # Energy is cheap all month: a peak that is paid once is worth it from the first hour, with no day before to learn from.
    cheap = scenario(np.full(96 * 15, 20.0), demand=DemandSettings(price_per_kw_month=6.0))
    assert run(cheap, "optimiser").margin == pytest.approx(run(cheap, "always on").margin, abs=0.01)


def test_a_rolling_replay_keeps_minimum_times_and_starts_across_its_plans() -> None:
    group = machines(count=30, wake_s=240.0, min_on_s=5_400.0, min_off_s=2_700.0, starts_per_day=2)
    replayed = scenario(waves(96 * 6, 9), groups=[group])
    done = replay(replayed, make_policy("optimiser", replayed.settings))
    long_s = np.full(30, 1e9)
    history = GroupHistory(on_for_s=np.zeros(0), off_for_s=long_s, starts_left=np.full(30, 2))
    grid = replayed.grid
    check_machines(
        replayed.groups[0],
        history,
        done.schedule.on[0],
        done.schedule.starts[0],
        grid.starts_s,
        grid.durations_s,
    )
    assert done.plans > 10
    assert done.fallbacks == 0


def test_a_long_gap_is_told_once_and_not_at_every_moment() -> None:
    price = waves(96 * 5)
    price[: 96 * 4] = np.nan
    done = replay(scenario(price), make_policy("optimiser", scenario(price).settings))
    assert done.fallbacks > 4
    assert len(done.remarks) == 4
    assert all("running by merit order" in remark for remark in done.remarks[:3])
    assert done.remarks[-1] == f"and {done.fallbacks - 3} times something else of that kind"


def test_a_battery_loses_nothing_but_its_losses() -> None:
    battery = BatterySettings(capacity_kwh=60, power_kw=25, efficiency=0.81)
    replayed = scenario(waves(96 * 4, 2), battery=battery)
    plan = replay(replayed, make_policy("optimiser", replayed.settings)).schedule
    hours = replayed.grid.hours
    stored_wh = 30_000 + np.cumsum((plan.charge_w * 0.9 - plan.discharge_w / 0.9) * hours)
    np.testing.assert_allclose(plan.stored_wh, stored_wh, atol=1.0)
    assert plan.stored_wh.min() >= -1.0
    assert plan.stored_wh.max() <= 60_001.0
    assert plan.discharge_w.max() > 0


def test_missing_hours_are_in_no_account() -> None:
    price = waves(96 * 3)
    holes = price.copy()
    holes[40:60] = np.nan
    whole, lacking = run(scenario(price), "always on"), run(scenario(holes), "always on")
    assert lacking.imported_mwh == pytest.approx(whole.imported_mwh * (288 - 20) / 288, rel=1e-3)
    for name in ("marginal strike", "optimiser"):
        assert run(scenario(holes), name).regret >= 0


def test_nobody_exceeds_the_bound_where_prices_are_missing_and_means_of_hours_are_charged() -> None:
    price = waves(96 * 2, 4)
    price[:180] = np.nan
    hourly = DemandSettings(price_per_kw_month=8.0, interval_s=3_600.0)
    carbon = CarbonSettings(g_per_kwh=400.0, price_per_t=40.0)
    for more in ({"demand": hourly}, {"demand": hourly, "carbon": carbon, "breaker_kw": 3.0}):
        for name in EVERY:
            assert run(scenario(price, **more), name).regret >= -0.01, name  # type: ignore[arg-type]


def test_a_carbon_budget_is_kept_day_by_day() -> None:
    # 20 machines of 3 kW emit 60 kW · 0.4 kg = 24 kg an hour; the budget leaves 10.
    carbon = CarbonSettings(g_per_kwh=400.0, budget_t_per_month=10 * 24 * 30.4375 / 1_000)
    replayed = scenario(waves(96 * 4), carbon=carbon, policies=("carbon budget",))
    result = run(replayed, "carbon budget")
    assert result.emission_t is not None
    assert 0.5 * 0.96 <= result.emission_t <= 0.96 * 1.01


def test_whoever_is_not_asked_to_be_clean_is_not_held_to_it() -> None:
    price = waves(96 * 3, 6)
    budget = CarbonSettings(g_per_kwh=400.0, budget_t_per_month=1.0)
    held = scenario(price, carbon=budget, clean_kw=SeriesSettings(file="invented", column="wind"))
    wind = Published("wind", np.full(len(price), 5.0), held.grid.starts_s.copy())
    held = replace(held, history=History(held.grid, {**free_history(held), "clean": wind}))
    free = scenario(price, carbon=CarbonSettings(g_per_kwh=400.0))
    for name in ("one strike", "marginal strike", "optimiser"):
        assert run(held, name).margin == run(free, name).margin, name
    assert run(held, "clean only").margin < run(held, "optimiser").margin
    assert run(held, "carbon budget").margin < run(held, "optimiser").margin


def free_history(replayed: Scenario) -> dict[str, Published]:
    """The series of a scenario, to be put together anew."""
    known = replayed.history
    return {
        key: Published(key, known.settled(key), known.publications(key))
        for key in ("price", "hashprice", "carbon")
    }


def test_flows_are_those_of_the_real_sun_and_not_of_the_expected_one() -> None:
    sun_kw = np.zeros(96)
    sun_kw[48] = 30.0
    replayed = scenario(np.full(96, 70.0), local_kw=sun_kw)
    plan = replay(replayed, make_policy("always on", replayed.settings)).schedule
    real = realised(replayed.problem_settled(), plan)
    assert real.import_w[48] == pytest.approx(30_000.0)
    assert real.import_w[47] == pytest.approx(60_000.0)


def test_the_months_of_a_grid() -> None:
    grid = uniform_grid(START_S, 3_600.0, 24 * 30)
    assert months(grid) == [("2025-06", 0, 360), ("2025-07", 360, 720)]


def test_machines_grow_older_and_days_give_starts_back() -> None:
    group = machines(count=4, starts_per_day=1).group()
    state = GroupState.settled(group, 0, START_S)
    grid = uniform_grid(START_S + 23 * 3_600, 1_800.0, 4)
    state.follow(grid, np.array([2.0, 1.0, 1.0, 3.0]), 0, 4)
    assert sorted(state.on_for_s.tolist()) == [1_800.0, 1_800.0, 7_200.0]
    assert state.starts_left == 2  # two of yesterday's were used, then two of today's four
    history = state.history()
    assert history.starts_left is not None
    assert history.starts_left.sum() == 2
