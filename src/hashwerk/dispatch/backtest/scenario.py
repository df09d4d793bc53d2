"""A backtest set up: history on a grid, machines, limits, contract, and every assumption in words."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import msgspec
import numpy as np

from hashwerk.dispatch.backtest.hashprice_history import hashprice_history
from hashwerk.dispatch.backtest.history import History, Published, publication_times
from hashwerk.dispatch.backtest.series_files import describe_gaps, on_grid, read_series
from hashwerk.dispatch.backtest.settings import BacktestSettings, SeriesSettings
from hashwerk.dispatch.compose import make_problem
from hashwerk.dispatch.grid import DAY_S, FloatArray, Grid, uniform_grid
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
from hashwerk.errors import ConfigError, FeedError

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


def load_scenario(
    name: str, settings: BacktestSettings, folder: Path, start_s: float, stop_s: float
) -> Scenario:
    """Read the files and return the scenario.

    Raises:
        ConfigError: If the span is empty or the settings contradict each other.
        FeedError: If a file cannot be used.
    """
    _check(settings, start_s, stop_s)
    grid = uniform_grid(start_s, settings.interval_s, math.ceil((stop_s - start_s) / settings.interval_s))
    series: dict[str, Published] = {}
    assumptions: list[str] = []

    def take(key: str, one: SeriesSettings) -> None:
        raw = read_series(folder, one)
        gaps = describe_gaps(raw, grid)
        if gaps is not None:
            what = "left out of every account" if key == PRICE else "counted as zero"
            assumptions.append(f"{gaps}: {what}")
        series[key] = Published(
            raw.name, on_grid(raw, grid), publication_times(grid, one.publication, raw.resolution_s)
        )

    take(PRICE, settings.price)
    if settings.local is not None:
        take(LOCAL, settings.local)
    if settings.clean_kw is not None:
        take(CLEAN, settings.clean_kw)
    if settings.carbon is not None:
        if settings.carbon.series is not None:
            take(CARBON, settings.carbon.series)
        else:
            constant = np.full(len(grid), float(settings.carbon.g_per_kwh or 0.0))
            series[CARBON] = Published("constant factor", constant, np.full(len(grid), -np.inf))
    hashprice = hashprice_history(folder, settings.hashprice, grid, settings.currency)
    series[HASHPRICE] = Published("hashprice", hashprice, grid.starts_s.copy())
    missing = ~np.isfinite(series[PRICE].values)
    if missing.all():
        raise FeedError(f"{series[PRICE].name} has no value in the span of the backtest")
    return Scenario(
        name=name,
        settings=settings,
        grid=grid,
        groups=tuple(group.group() for group in settings.groups),
        history=History(grid, series),
        missing=missing,
        assumptions=(*_assumptions(settings, series[PRICE].name), *assumptions, *settings.assumptions),
    )


def _check(settings: BacktestSettings, start_s: float, stop_s: float) -> None:
    if stop_s <= start_s:
        raise ConfigError("a backtest ends after it begins")
    if DAY_S % settings.interval_s:
        raise ConfigError(f"interval_s must divide a day: {settings.interval_s:g}")
    if settings.planning.step_s % settings.interval_s:
        raise ConfigError("planning.step_s must be a multiple of interval_s")
    feeders = {group.feeder for group in settings.groups}
    for feeder in settings.feeders_kw:
        if feeder not in feeders:
            raise ConfigError(f"feeders_kw names {feeder!r}, which feeds no group")
    if settings.carbon is not None and settings.carbon.series is None and settings.carbon.g_per_kwh is None:
        raise ConfigError("backtest.carbon needs g_per_kwh or a series")
    if "carbon budget" in settings.policies and (
        settings.carbon is None or settings.carbon.budget_t_per_month is None
    ):
        raise ConfigError("the carbon budget policy needs backtest.carbon with budget_t_per_month")


def _assumptions(settings: BacktestSettings, price_name: str) -> list[str]:
    money = settings.hashprice
    lines = [f"energy price: {price_name}"]
    fees = f"{settings.fees_per_mwh:g} {settings.currency}/MWh" if settings.fees_per_mwh else "none"
    lines.append(f"grid fees, taxes and levies: {fees} on each imported MWh")
    if money.per_ph_day is None:
        lines.append(
            f"hashprice is computed from difficulty, subsidy and the coin's price at 00:00 UTC; transaction fees are taken to be"
            f" {money.fee_share:.1%} of the reward, the pool keeps {money.pool_fee:.1%}, {money.reject_share:.1%} is rejected"
        )
    else:
        lines.append(
            f"hashprice is constant: {money.per_ph_day:g} {settings.currency}/PH/day before fees and rejects"
        )
    lines.append("every machine is available all the time")
    lines.append(
        "what is not yet published the optimiser takes to be as at the same time of the last known day, shifted by the last known"
        " difference, which fades in two hours"
    )
    if settings.carbon is not None:
        source = settings.carbon.factor_set or "factors without a name"
        lines.append(f"emissions are those of imports, {source}, averages and not marginal")
    return lines
