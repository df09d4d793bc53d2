"""A backtest set up: history on a grid, machines, limits, contract, and every assumption in words."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import msgspec
import numpy as np

from hashwerk.dispatch.backtest.history import History
from hashwerk.dispatch.backtest.settings import BacktestSettings
from hashwerk.dispatch.compose import make_problem
from hashwerk.dispatch.grid import DAY_S, FloatArray, Grid
from hashwerk.dispatch.problem import (
    Battery,
    Carbon,
    CleanOnly,
    DemandCharge,
    Group,
    GroupHistory,
    Limit,
    Problem,
)

PRICE, HASHPRICE, LOCAL, CARBON, CLEAN = "price", "hashprice", "local", "carbon", "clean"


@dataclass(frozen=True, slots=True, eq=False)
class Scenario:
    """What is replayed. ``missing`` marks intervals without a price: they are left out of every account."""

    name: str
    settings: BacktestSettings
    grid: Grid
    groups: tuple[Group, ...]
    history: History
    missing: np.ndarray[tuple[int], np.dtype[np.bool_]]
    assumptions: tuple[str, ...]

    def problem_as_known(self) -> Problem:
        """Return the whole span, each value as it was known when its interval began: for causal policies."""
        return self._problem(self.grid, self.history.as_known, None, month_to_date_w=0.0)

    def problem_settled(self) -> Problem:
        """Return the whole span as it turned out: for the accounts and the bound."""
        return self._problem(self.grid, self.history.settled, None, month_to_date_w=0.0)

    def problem_at(
        self,
        first: int,
        last: int,
        step: int,
        histories: tuple[GroupHistory, ...],
        *,
        stored_wh: float,
        month_to_date_w: float,
    ) -> Problem:
        """Return the problem as it stood when interval ``first`` began.

        Args:
            first, last: Intervals of the scenario's grid.
            step: How many of them make one interval of the plan.
            histories: Of the machines.
            stored_wh: In the battery.
            month_to_date_w: Peak of the month so far, or what is planned for it.
        """
        grid = self.grid
        view = self.history.at(float(grid.starts_s[first]))
        starts_s = grid.starts_s[first:last:step]
        ends_s = np.append(starts_s[1:], grid.starts_s[last - 1] + grid.durations_s[last - 1])
        coarse = Grid(starts_s, ends_s - starts_s)

        def expected(name: str) -> FloatArray:
            fine = view.expected(name, first, last, daily=name != HASHPRICE)
            return np.add.reduceat(fine, np.arange(0, last - first, step)) / np.add.reduceat(
                np.ones(last - first), np.arange(0, last - first, step)
            )

        problem = self._problem(coarse, expected, histories, month_to_date_w=month_to_date_w)
        if problem.battery is not None:
            battery = replace_battery(problem.battery, stored_wh)
            problem = replace(problem, battery=battery)
        return problem

    def _problem(
        self,
        grid: Grid,
        series: Callable[[str], FloatArray],
        histories: tuple[GroupHistory, ...] | None,
        *,
        month_to_date_w: float,
    ) -> Problem:
        s = self.settings
        price = series(PRICE)
        limits = []
        if s.breaker_kw is not None:
            limits.append(Limit(name="breaker", limit_w=np.full(len(grid), s.breaker_kw * 1e3)))
        for feeder, limit_kw in s.feeders_kw.items():
            limits.append(
                Limit(name=f"feeder {feeder}", limit_w=np.full(len(grid), limit_kw * 1e3), feeder=feeder)
            )
        battery = None
        if s.battery is not None:
            capacity_wh = s.battery.capacity_kwh * 1e3
            battery = Battery(
                capacity_wh=capacity_wh, power_w=s.battery.power_kw * 1e3, stored_wh=capacity_wh / 2,
                efficiency=s.battery.efficiency, wear_per_mwh=s.battery.wear_per_mwh,
            )  # fmt: skip
        carbon = None
        if s.carbon is not None:
            g_per_kwh = series(CARBON)
            budget_g = None
            if s.carbon.budget_t_per_month is not None:
                span_s = float(grid.durations_s.sum())
                budget_g = s.carbon.budget_t_per_month * 1e6 * span_s / (30.4375 * DAY_S)
            carbon = Carbon(
                g_per_kwh=np.nan_to_num(g_per_kwh), price_per_t=s.carbon.price_per_t, budget_g=budget_g
            )
        demand = []
        if s.demand is not None:
            demand.append(
                DemandCharge(
                    name="peak",
                    price_per_kw=s.demand.price_per_kw_month,
                    month_to_date_w=month_to_date_w,
                    interval_s=s.demand.interval_s,
                )
            )
        return make_problem(
            grid,
            self.groups,
            hashprice_per_ph_day=series(HASHPRICE),
            buy_per_mwh=price + s.fees_per_mwh,
            sell_per_mwh=np.minimum(price - s.sell_discount_per_mwh, price + s.fees_per_mwh),
            histories=histories,
            auxiliary_w=s.auxiliary_kw * 1e3,
            cooling_share=s.cooling_share,
            local_w=np.maximum(0.0, np.nan_to_num(series(LOCAL))) * 1e3 if s.local is not None else 0.0,
            export_limit_w=s.export_limit_kw * 1e3,
            limits=limits,
            battery=battery,
            demand=demand,
            carbon=carbon,
            clean=CleanOnly(contracted_w=np.nan_to_num(series(CLEAN)) * 1e3)
            if s.clean_kw is not None
            else None,
            currency=s.currency,
        )


def replace_battery(battery: Battery, stored_wh: float) -> Battery:
    """Return a battery with something else in it."""
    return msgspec.structs.replace(battery, stored_wh=min(stored_wh, battery.capacity_wh))
