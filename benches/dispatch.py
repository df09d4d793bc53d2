"""How long a plan takes, as used in the loop, and a backtest of a year: `python benches/dispatch.py [--repeat N]`.

Budgets: 12 groups over 288 intervals with battery, own sun, a demand charge and minimum times under 0.5 s, aim 0.18 s; 100 groups
of 1,000 machines under 5 s, aim 1 s; a year of 15-minute intervals, 12 groups, 4,800 machines, under 1 s for policies with a
threshold and under 2 min for the rolling optimiser. Prices are synthetic: the figures say how fast it is and nothing else.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable

import numpy as np

from hashwerk.dispatch.backtest.foresight import perfect_foresight
from hashwerk.dispatch.backtest.history import History, Published, publication_times
from hashwerk.dispatch.backtest.replay import replay
from hashwerk.dispatch.backtest.run import make_policy
from hashwerk.dispatch.backtest.scenario import Scenario
from hashwerk.dispatch.backtest.settings import (
    BacktestSettings,
    GroupSettings,
    ModeSettings,
    PolicyName,
    PublicationSettings,
    SeriesSettings,
)
from hashwerk.dispatch.compose import make_problem
from hashwerk.dispatch.grid import FloatArray, Grid, rolling_grid, uniform_grid
from hashwerk.dispatch.policies.optimiser import Optimiser
from hashwerk.dispatch.problem import Battery, DemandCharge, Group, Limit, Problem

START_S = 1_735_689_600.0  # 2025-01-01


def group_settings(number: int, groups: int, count: int) -> GroupSettings:
    """Return a group between 18 and 33 J/TH with three modes and minimum times."""
    j_per_th, top_w = 18 + 15 * number / groups, 3_500.0 + 10 * number
    shares = (("eco", 0.5, 0.85), ("normal", 0.8, 0.93), ("high", 1.0, 1.0))
    modes = tuple(
        ModeSettings(name=name, power_w=top_w * power, hashrate_ths=top_w * power / j_per_th / merit)
        for name, power, merit in shares
    )
    return GroupSettings(
        name=f"group {number}", count=count, modes=modes, residual_w=25.0, wake_s=240.0, wear_per_start=0.01,
        min_on_s=1_800.0, min_off_s=900.0, starts_per_day=6, feeder="A" if number % 2 else "B",
    )  # fmt: skip


def prices(starts_s: FloatArray) -> FloatArray:
    """Return hourly prices with two daily waves, noise, and now and then a spike or a negative one."""
    hours, place = np.unique(starts_s // 3_600, return_inverse=True)
    noise = np.array([np.random.default_rng(int(hour)).normal(0, 22) for hour in hours])
    spikes = np.where(hours % 611 == 7, 400.0, np.where(hours % 373 == 5, -90.0, 0.0))
    return (75 + 30 * np.sin(hours / 24 * 4 * np.pi) + noise + spikes)[place]


def plan_problem(grid: Grid, groups: list[Group]) -> Problem:
    """Return the problem of the budget: battery, sun, demand charge, breaker, feeder, minimum times and starts."""
    power_w = sum(group.count * group.modes[-1].power_w for group in groups)
    price = prices(grid.starts_s)
    sun_w = 0.3 * power_w * np.maximum(0.0, np.sin((grid.starts_s % 86_400 / 86_400 - 0.25) * 2 * np.pi))
    return make_problem(
        grid,
        groups,
        hashprice_per_ph_day=45.0,
        buy_per_mwh=price,
        sell_per_mwh=np.minimum(price, 0.9 * price - 2),
        local_w=sun_w,
        export_limit_w=0.1 * power_w,
        auxiliary_w=0.01 * power_w,
        cooling_share=0.03,
        battery=Battery(capacity_wh=0.25 * power_w, power_w=0.12 * power_w, stored_wh=0.12 * power_w),
        demand=[DemandCharge(name="peak", price_per_kw=2.0, month_to_date_w=0.3 * power_w)],
        limits=[
            Limit(name="breaker", limit_w=np.full(len(grid), 0.9 * power_w)),
            Limit(name="feeder A", limit_w=np.full(len(grid), 0.45 * power_w), feeder="A"),
        ],
    )


def plans(
    title: str, groups: int, count: int, make_grid: Callable[[float], Grid], *, repeat: int, budget_s: float
) -> None:
    """Plan again and again, five minutes later each time, and print the first and the others."""
    machines = [group_settings(number, groups, count).group() for number in range(groups)]
    optimiser, times = Optimiser(time_limit_s=60.0), []
    for step in range(repeat):
        problem = plan_problem(make_grid(START_S + 40_000 + 300 * step), machines)
        begun = time.perf_counter()
        plan = optimiser.plan(problem)
        times.append(time.perf_counter() - begun)
        assert not plan.remarks, plan.remarks
    print(
        f"{title:<44} {times[0]:>8.3f} {np.median(times[1:]):>8.3f} {max(times[1:]):>8.3f} s   budget {budget_s:g} s"
    )


def year(intervals: int) -> Scenario:
    """Return a year for twelve groups and 4,800 machines."""
    grid = uniform_grid(START_S, 900.0, intervals)
    day_ahead = PublicationSettings(at="13:00", zone="Europe/Berlin")
    settings = BacktestSettings(
        price=SeriesSettings(file="", column="", publication=day_ahead),
        groups=tuple(group_settings(number, 12, 400) for number in range(12)),
        breaker_kw=15_000.0,
        cooling_share=0.03,
        auxiliary_kw=120.0,
    )
    price = Published("price", prices(grid.starts_s), publication_times(grid, day_ahead))
    earns = Published("hashprice", np.full(intervals, 45.0), grid.starts_s.copy())
    return Scenario(
        name="bench",
        settings=settings,
        grid=grid,
        groups=tuple(group.group() for group in settings.groups),
        history=History(grid, {"price": price, "hashprice": earns}),
        missing=np.zeros(intervals, dtype=bool),
        assumptions=(),
    )


def backtests(days: int) -> None:
    """Replay a year with each policy and print how long it took."""
    scenario = year(96 * days)
    policies: list[tuple[PolicyName, float]] = [
        ("always on", 1.0), ("one strike", 1.0), ("marginal strike", 1.0), ("clean only", 1.0), ("optimiser", 120.0),
    ]  # fmt: skip
    for name, budget_s in policies:
        if name != "optimiser":
            replay(scenario, make_policy(name, scenario.settings))  # compiled now, if not before
        begun = time.perf_counter()
        done = replay(scenario, make_policy(name, scenario.settings))
        seconds = time.perf_counter() - begun
        print(
            f"year of 15 min, 12 groups, {name:<18} {seconds:>8.3f} s, {done.plans} plans   budget {budget_s:g} s"
        )
    begun = time.perf_counter()
    perfect_foresight(scenario.problem_settled(), scenario.missing)
    print(f"year of 15 min, 12 groups, perfect foresight  {time.perf_counter() - begun:>8.3f} s")


def main() -> None:
    """Run the bench."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repeat", type=int, default=8, help="plans a case")
    parser.add_argument("--days", type=int, default=365, help="days of the backtest")
    options = parser.parse_args()
    # The limits' machine code is loaded once a process, or compiled once an installation: not a part of any plan.
    few_machines = [group_settings(number, 2, 2).group() for number in range(2)]
    Optimiser().plan(plan_problem(uniform_grid(START_S, 300.0, 4), few_machines))
    print(f"{'':<44} {'first':>8} {'median':>8} {'worst':>8}   of the later plans, warm")
    few = min(4, options.repeat)

    def day(now: float) -> Grid:
        return uniform_grid(now, 300.0, 288)

    plans("12 groups, 288 intervals of 5 min", 12, 400, day, repeat=options.repeat, budget_s=0.5)
    plans("12 groups, rolling grid of 48 h", 12, 400, rolling_grid, repeat=options.repeat, budget_s=0.5)
    plans("100 groups of 1,000, rolling grid of 48 h", 100, 1_000, rolling_grid, repeat=few, budget_s=5.0)
    plans("100 groups of 1,000, 288 intervals of 5 min", 100, 1_000, day, repeat=few, budget_s=5.0)
    backtests(options.days)


if __name__ == "__main__":
    main()
