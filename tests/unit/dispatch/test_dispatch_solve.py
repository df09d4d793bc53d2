"""Plans, their failures and what is done then."""

from __future__ import annotations

from dataclasses import replace

import highspy
import numpy as np
import pytest

from hashwerk.dispatch.accounts import settle
from hashwerk.dispatch.compose import make_problem
from hashwerk.dispatch.grid import rolling_grid
from hashwerk.dispatch.policies.optimiser import Optimiser
from hashwerk.dispatch.problem import (
    Battery,
    Carbon,
    DemandCharge,
    Event,
    GroupHistory,
    Limit,
    Ppa,
    Ramp,
    Reserve,
)
from hashwerk.dispatch.schedule import Origin
from hashwerk.dispatch.solve import InfeasibleError, Solver, SolverError
from hashwerk.errors import DispatchError
from support.dispatch import HASHPRICE, MIDNIGHT_S, group, problem


def test_each_step_runs_below_its_own_break_even() -> None:
    # 1.5 kW for 75 TH/s breaks even at 93.75, the next 1.5 kW for 45 TH/s at 56.25.
    plan = Solver().solve(problem([group()], [50.0, 70.0, 100.0]))
    assert plan.running[0].tolist() == [[0, 10, 0], [10, 0, 0]]
    assert plan.cost == pytest.approx(-(45 * 1.2 / 24 - 0.03 * 50 + 45 * 0.75 / 24 - 0.015 * 70))


def test_the_dual_of_the_balance_is_the_price_of_what_is_bought() -> None:
    plan = Solver().solve(problem([group()], [50.0, 70.0]))
    assert plan.site_price_per_mwh == pytest.approx([50.0, 70.0])


def test_extreme_prices_are_prices() -> None:
    plan = Solver().solve(problem([group()], [-500.0, 9_000.0]))
    assert plan.on[0].tolist() == [10, 0]


def test_a_missing_price_is_said_and_not_guessed() -> None:
    asked = problem([group()], [50.0, np.nan, np.nan])
    with pytest.raises(
        DispatchError, match=r"buying price is missing in 2 of 3 intervals, first at 2025-06-16T01:00Z"
    ):
        Solver().solve(asked)
    plan = Optimiser().plan(asked)
    assert plan.origin is Origin.LADDER
    assert plan.on[0].tolist() == [10, 0, 0]
    assert "without a plan" in plan.remarks[0]


def test_limits_that_contradict_each_other_are_named_and_no_others() -> None:
    young = GroupHistory(on_for_s=np.zeros(10), off_for_s=np.zeros(0))
    asked = problem(
        [group(min_on_s=7_200.0)],
        [50.0, 50.0, 50.0],
        histories=[young],
        limits=[
            Limit(name="breaker", limit_w=np.full(3, 40_000.0)),
            Limit(name="order 17", limit_w=np.array([np.inf, 5_000.0, np.inf])),
        ],
    )
    with pytest.raises(InfeasibleError) as caught:
        Solver().solve(asked)
    assert caught.value.limits == ("minimum time on of a", "order 17")
    assert "“minimum time on of a” and “order 17”" in str(caught.value)


def test_where_limits_contradict_each_other_the_order_is_obeyed_and_it_is_said() -> None:
    young = GroupHistory(on_for_s=np.zeros(10), off_for_s=np.zeros(0))
    order = Limit(name="order 17", limit_w=np.array([np.inf, 5_000.0, np.inf]))
    asked = problem([group(min_on_s=7_200.0)], [50.0] * 3, histories=[young], limits=[order])
    plan = Optimiser().plan(asked)
    assert plan.origin is Origin.LADDER
    assert plan.import_w[1] <= 5_000.0
    assert plan.on[0].tolist() == [10, 3, 10]
    assert plan.remarks[1] == "7 machines of a stop before their minimum time: a hard limit comes first"


def test_a_house_above_the_limit_is_not_ours_to_switch_and_it_is_said() -> None:
    asked = problem(
        [group()], [50.0], auxiliary_w=9_000.0, limits=[Limit(name="order", limit_w=np.array([2_000.0]))]
    )
    with pytest.raises(InfeasibleError) as caught:
        Solver().solve(asked)
    assert caught.value.limits == ("order",)
    plan = Optimiser().plan(asked)
    assert plan.on.sum() == 0
    assert "7.0 kW more than allowed by order at" in plan.remarks[-1]


def test_a_solver_that_runs_out_of_time_is_a_failure_and_the_ladder_is_used() -> None:
    now_s = MIDNIGHT_S
    groups = [group(f"g{n}", 400, min_on_s=1_800.0, wake_s=240.0) for n in range(12)]
    grid = rolling_grid(now_s)
    price = 75 + 30 * np.sin(np.arange(len(grid)) / 7)
    asked = make_problem(grid, groups, hashprice_per_ph_day=HASHPRICE, buy_per_mwh=price)
    with pytest.raises(SolverError, match="Time limit"):
        Solver().solve(asked, time_limit_s=0.0)
    plan = Optimiser(time_limit_s=0.0).plan(asked)
    assert plan.origin is Origin.LADDER
    assert "without a proven plan" in plan.remarks[0]
    assert plan.on.max() == 400


def test_an_unknown_status_is_a_failure(monkeypatch: pytest.MonkeyPatch) -> None:
    solver = Solver()

    class Odd(highspy.Highs):  # type: ignore[misc]
        def getModelStatus(self) -> object:
            return highspy.HighsModelStatus.kUnknown

    odd = Odd()
    odd.setOptionValue("output_flag", False)
    monkeypatch.setattr(solver, "_highs", odd)
    with pytest.raises(SolverError, match="Unknown"):
        solver.solve(problem([group()], [50.0]))


def test_a_warm_start_gives_the_same_plan_with_fewer_pivots() -> None:
    groups = [
        group(f"g{n}", 100, ((1_500, 75 + n), (3_000, 120 + n)), min_on_s=1_800.0, wake_s=240.0)
        for n in range(6)
    ]
    warm, cold_pivots = Solver(), 0
    for step in range(4):
        grid = rolling_grid(MIDNIGHT_S + 300 * step)
        price = 75 + 40 * np.sin(grid.starts_s // 3_600 * 1.7)
        asked = make_problem(
            grid, groups, hashprice_per_ph_day=HASHPRICE, buy_per_mwh=price,
            demand=[DemandCharge(name="d", price_per_kw=3.0, month_to_date_w=500_000.0)],
            battery=Battery(capacity_wh=4e5, power_w=1e5, stored_wh=2e5),
        )  # fmt: skip
        cold = Solver()
        assert warm.solve(asked).cost == pytest.approx(cold.solve(asked).cost, rel=1e-9)
        cold_pivots = cold.iterations
    assert warm.iterations < cold_pivots / 3


def test_a_demand_charge_is_paid_only_above_the_month_so_far() -> None:
    asked = problem(
        [group()],
        [20.0, 20.0],
        demand=[DemandCharge(name="d", price_per_kw=1_000.0, month_to_date_w=15_000.0)],
    )
    plan = Solver().solve(asked)
    assert plan.import_w == pytest.approx([15_000.0, 15_000.0])
    assert settle(asked, plan).demand_cost == pytest.approx(0.0)


def test_what_was_imported_before_counts_in_the_tariff_interval_that_has_begun() -> None:
    charge = DemandCharge(name="d", price_per_kw=1_000.0, month_to_date_w=12_000.0, imported_wh=2_000.0)
    asked = problem([group()], [20.0, 20.0], interval_s=300.0, start_s=MIDNIGHT_S + 300, demand=[charge])
    # 12 kW over 15 min are 3 kWh; 2 of them are gone, 1 is left for 10 min.
    assert Solver().solve(asked).import_w.sum() * 300 / 3_600 == pytest.approx(1_000.0)


def test_a_contract_to_take_is_taken_at_a_loss_rather_than_paid_for_nothing() -> None:
    ppa = Ppa(
        name="p",
        price_per_mwh=60.0,
        power_w=np.full(2, 30_000.0),
        min_take_wh=30_000.0,
        shortfall_per_mwh=60.0,
    )
    plan = Solver().solve(problem([group()], [120.0, 120.0], ppa=ppa))
    assert plan.import_w.sum() == pytest.approx(
        30_000.0
    )  # both steps would sleep at 120 without the contract


def test_an_event_is_delivered_where_it_pays_more_than_the_hash() -> None:
    event = Event(
        name="e",
        baseline_w=np.full(3, 30_000.0),
        committed_w=np.array([0.0, 20_000.0, 0.0]),
        pay_per_mwh=200.0,
        penalty_per_mwh=50.0,
    )
    asked = problem([group()], [40.0] * 3, events=[event])
    plan = Solver().solve(asked)
    assert plan.import_w == pytest.approx([30_000.0, 10_000.0, 30_000.0])
    account = settle(asked, plan)
    assert account.event_income == pytest.approx(4.0)
    assert account.margin == pytest.approx(-plan.cost)  # type: ignore[operator]


def test_an_event_whose_baseline_is_exceeded_can_be_forgone_by_whole_numbers() -> None:
    event = Event(
        name="e",
        baseline_w=np.array([10_000.0]),
        committed_w=np.array([5_000.0]),
        pay_per_mwh=100.0,
        penalty_per_mwh=1.0,
    )
    asked = problem([group()], [1.0], events=[event], hashprice_per_ph_day=200.0)
    plan = Solver().solve(asked, integer=True)
    assert plan.import_w[0] == pytest.approx(30_000.0)
    assert settle(asked, plan).margin == pytest.approx(-plan.cost)  # type: ignore[operator]


def test_reserve_keeps_fast_groups_on_at_a_loss() -> None:
    groups = [group("slow", response_s=600.0), group("fast", response_s=30.0)]
    reserve = Reserve(name="reserve", sold_w=np.array([20_000.0]), response_s=60.0)
    plan = Solver().solve(problem(groups, [200.0], reserves=[reserve]))
    assert plan.on[:, 0].tolist() == [0, 10]


def test_the_dual_of_the_carbon_budget_makes_the_dirtier_hour_sleep() -> None:
    carbon = Carbon(g_per_kwh=np.array([100.0, 900.0]), budget_g=3_000.0)
    plan = Solver().solve(problem([group()], [40.0, 30.0], carbon=carbon))
    assert plan.import_w == pytest.approx([30_000.0, 0.0])


def test_a_battery_moves_energy_and_ends_no_emptier() -> None:
    battery = Battery(capacity_wh=10_000, power_w=10_000, stored_wh=2_000, efficiency=0.81)
    plan = Solver().solve(problem([group(count=1)], [10.0, 300.0], battery=battery, auxiliary_w=20_000.0))
    assert plan.charge_w[0] == pytest.approx(8_000 / 0.9)
    assert plan.discharge_w[1] == pytest.approx(8_000 * 0.9)
    assert plan.stored_wh.tolist() == pytest.approx([10_000, 2_000])


def test_nothing_is_bought_to_be_sold() -> None:
    asked = problem([group()], [10.0], sell_per_mwh=50.0, export_limit_w=1e6)
    for integer in (False, True):
        plan = Solver().solve(asked, integer=integer)
        assert min(plan.import_w[0], plan.export_w[0]) == pytest.approx(0.0)


def test_a_ramp_from_the_measured_import_is_kept() -> None:
    asked = problem(
        [group()], [20.0] * 3, interval_s=300.0, ramp=Ramp(up_w_per_s=20.0, import_before_w=3_000.0)
    )
    assert Solver().solve(asked).import_w == pytest.approx([9_000.0, 15_000.0, 21_000.0])


@pytest.mark.parametrize(
    ("more", "message"),
    [
        ({"buy_per_mwh": np.zeros(2)}, "buying price has 2 values"),
        ({"limits": [Limit(name="x", limit_w=np.zeros(2))]}, "the limit 'x' has 2 values"),
        (
            {"limits": [Limit(name="x", limit_w=np.array([1.0, np.nan, 1.0]))]},
            "'x' is not known in 1 intervals",
        ),
        ({"cooling_share": np.nan}, "share of cooling is not known"),
        ({"limits": [Limit(name="x", limit_w=np.zeros(3), feeder="F9")]}, "'F9', which feeds no group"),
        ({"available": np.full((1, 3), 11)}, "says that 11 are available"),
        ({"available": np.full((2, 3), 1)}, "shape"),
        ({"histories": [GroupHistory(on_for_s=np.zeros(3), off_for_s=np.zeros(3))]}, "histories of 6"),
    ],
)
def test_what_does_not_fit_is_refused_with_a_reason(more: dict[str, object], message: str) -> None:
    arguments: dict[str, object] = {"hashprice_per_ph_day": HASHPRICE, "buy_per_mwh": 50.0} | more
    grid = problem([group()], [1.0] * 3).grid
    with pytest.raises(DispatchError, match=message):
        make_problem(grid, [group()], **arguments)  # type: ignore[arg-type]


def test_a_schedule_of_the_optimiser_keeps_the_cost_of_its_plan() -> None:
    asked = problem([group()], [50.0, 70.0, 100.0])
    assert Optimiser().plan(asked).cost == pytest.approx(-settle(asked, Optimiser().plan(asked)).margin)
    assert replace(asked, currency="USD").currency == "USD"
