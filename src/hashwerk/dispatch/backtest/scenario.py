"""A backtest set up: history on a grid, machines, limits, contract, and every assumption in words."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

import msgspec
import numpy as np

from hashwerk.dispatch.backtest.contract import Contract
from hashwerk.dispatch.backtest.history import History
from hashwerk.dispatch.backtest.settings import BacktestSettings
from hashwerk.dispatch.compose import make_problem
from hashwerk.dispatch.grid import DAY_S, FloatArray, Grid, IntArray
from hashwerk.dispatch.problem import (
    Battery,
    Carbon,
    CleanOnly,
    CoincidentPeak,
    DemandCharge,
    Group,
    GroupHistory,
    Limit,
    Problem,
    Ramp,
)

PRICE, HASHPRICE, LOCAL, CARBON, CLEAN = "price", "hashprice", "local", "carbon", "clean"
LIMIT, MAY_RUN, RULE_COST, RULE_CAP = "limit", "may run", "cost of rules", "cap of rules"
PEAK, EXPECTED_PEAK = "peak", "expected peak"


class _Span(NamedTuple):
    """Intervals of a scenario's grid that make those of a plan, so many each."""

    first: int
    last: int
    step: int

    @property
    def edges(self) -> IntArray:
        return np.arange(0, self.last - self.first, self.step)

    def mean(self, fine: FloatArray) -> FloatArray:
        return np.asarray(np.add.reduceat(fine, self.edges) / np.add.reduceat(np.ones(len(fine)), self.edges))

    def least(self, fine: FloatArray) -> FloatArray:
        return np.asarray(np.minimum.reduceat(fine, self.edges))

    def of(self, whole: FloatArray) -> FloatArray:
        """Return means of what is known of the whole grid from the beginning."""
        return self.mean(whole[self.first : self.last])


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
    contract: Contract | None = None

    def problem_as_known(self) -> Problem:
        """Return the whole span, each value as it was known when its interval began: for causal policies."""
        return self._problem(self.grid, self.history.as_known, None, _Span(0, len(self.grid), 1))

    def problem_settled(self) -> Problem:
        """Return the whole span as it turned out: for the accounts and the bound."""
        span = _Span(0, len(self.grid), 1)
        return self._problem(self.grid, self.history.settled, None, span, settled=True)

    def problem_at(
        self,
        first: int,
        last: int,
        step: int,
        histories: tuple[GroupHistory, ...],
        *,
        stored_wh: float,
        month_to_date_w: Sequence[float],
    ) -> Problem:
        """Return the problem as it stood when interval ``first`` began.

        Args:
            first, last: Intervals of the scenario's grid.
            step: How many of them make one interval of the plan.
            histories: Of the machines.
            stored_wh: In the battery.
            month_to_date_w: Of each demand charge, the peak of the month so far, or what is planned for it.
        """
        grid = self.grid
        view = self.history.at(float(grid.starts_s[first]))
        starts_s = grid.starts_s[first:last:step]
        ends_s = np.append(starts_s[1:], grid.starts_s[last - 1] + grid.durations_s[last - 1])
        coarse, span = Grid(starts_s, ends_s - starts_s), _Span(first, last, step)

        def expected(name: str) -> FloatArray:
            if name.startswith((LIMIT, RULE_CAP)):
                # A limit that nobody has announced is not expected.
                return span.least(np.nan_to_num(view.known(name, first, last), nan=np.inf, posinf=np.inf))
            if name.startswith(EXPECTED_PEAK):
                return span.mean(np.nan_to_num(view.known(name, first, last)))
            fine = view.expected(name, first, last, daily=name not in {HASHPRICE, MAY_RUN, RULE_COST})
            return span.least(fine) if name == MAY_RUN else span.mean(fine)

        problem = self._problem(coarse, expected, histories, span, month_to_date_w)
        if problem.battery is not None:
            battery = replace_battery(problem.battery, stored_wh)
            problem = replace(problem, battery=battery)
        return problem

    def _problem(
        self,
        grid: Grid,
        series: Callable[[str], FloatArray],
        histories: tuple[GroupHistory, ...] | None,
        span: _Span,
        month_to_date_w: Sequence[float] | None = None,
        *,
        settled: bool = False,
    ) -> Problem:
        s = self.settings
        buy, sell = self._prices(series, span)
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
        return make_problem(
            grid,
            self.groups,
            hashprice_per_ph_day=series(HASHPRICE),
            buy_per_mwh=buy,
            sell_per_mwh=sell,
            histories=histories,
            available=self._available(series, grid),
            auxiliary_w=s.auxiliary_kw * 1e3,
            cooling_share=s.cooling_share,
            local_w=np.maximum(0.0, np.nan_to_num(series(LOCAL))) * 1e3 if s.local is not None else 0.0,
            export_limit_w=s.export_limit_kw * 1e3,
            limits=self._limits(series, grid),
            ramp=self._ramp(),
            battery=battery,
            demand=self._demand(span, month_to_date_w),
            coincident=self._coincident(series, span, settled=settled),
            carbon=carbon,
            clean=CleanOnly(contracted_w=np.nan_to_num(series(CLEAN)) * 1e3)
            if s.clean_kw is not None
            else None,
            currency=s.currency,
        )

    def _prices(self, series: Callable[[str], FloatArray], span: _Span) -> tuple[FloatArray, FloatArray]:
        """Return what buying costs and selling brings: never more than buying costs."""
        price, s, contract = series(PRICE), self.settings, self.contract
        if contract is None:
            buy, sell = price + s.fees_per_mwh, price - s.sell_discount_per_mwh
        else:
            buy = span.of(contract.buy_fixed) + span.of(contract.buy_factor) * price
            sell = span.of(contract.sell_fixed) + span.of(contract.sell_factor) * price
            sell = np.maximum(sell, contract.sells_at_no_less)
        if RULE_COST in self.history:
            buy = buy + series(RULE_COST)
        return buy, np.minimum(sell, buy)

    def _available(self, series: Callable[[str], FloatArray], grid: Grid) -> IntArray | None:
        """Return how many machines may run; None: all of them, all the time."""
        if MAY_RUN not in self.history:
            return None
        counts = np.array([group.count for group in self.groups], dtype=np.int64)
        return counts[:, None] * (series(MAY_RUN) > 0.5)[None, :]

    def _limits(self, series: Callable[[str], FloatArray], grid: Grid) -> list[Limit]:
        s = self.settings
        limits = []
        if s.breaker_kw is not None:
            limits.append(Limit(name="breaker", limit_w=np.full(len(grid), s.breaker_kw * 1e3)))
        for feeder, limit_kw in s.feeders_kw.items():
            limits.append(
                Limit(name=f"feeder {feeder}", limit_w=np.full(len(grid), limit_kw * 1e3), feeder=feeder)
            )
        changing = [(f"{LIMIT} {number}", one.name, one.feeder) for number, one in enumerate(s.limits)]
        if RULE_CAP in self.history:
            changing.append((RULE_CAP, "rule of the place", None))
        for key, name, feeder_name in changing:
            limit_kw_at = series(key)
            limit_w = np.where(np.isfinite(limit_kw_at), limit_kw_at * 1e3, np.inf)
            limits.append(Limit(name=name, limit_w=limit_w, feeder=feeder_name))
        return limits

    def _ramp(self) -> Ramp | None:
        up, down = self.settings.up_kw_per_minute, self.settings.down_kw_per_minute
        if up is None and down is None:
            return None
        return Ramp(
            up_w_per_s=None if up is None else up * 1e3 / 60,
            down_w_per_s=None if down is None else down * 1e3 / 60,
        )

    def _coincident(
        self, series: Callable[[str], FloatArray], span: _Span, *, settled: bool
    ) -> list[CoincidentPeak]:
        """Return charges on peaks of the grid: as they happened for the accounts, as they were expected for plans."""
        peaks = []
        for number, one in enumerate(self.settings.coincident):
            key = f"{PEAK} {number}" if settled else f"{EXPECTED_PEAK} {number}"
            chance = np.maximum(0.0, np.nan_to_num(series(key))) if key in self.history else np.zeros(0)
            if len(chance):
                peaks.append(
                    CoincidentPeak(name=one.name, price_per_kw=one.price_per_kw, chance=chance * span.step)
                )
        return peaks

    def _demand(self, span: _Span, month_to_date_w: Sequence[float] | None) -> list[DemandCharge]:
        """Return the demand charges: of the tariff, or of the settings."""
        charges = []
        if self.settings.demand is not None:
            one = self.settings.demand
            charges.append(
                DemandCharge(
                    name="peak",
                    price_per_kw=one.price_per_kw_month,
                    month_to_date_w=0.0,
                    interval_s=one.interval_s,
                )
            )
        for term in self.contract.demand if self.contract is not None else ():
            applies = np.logical_or.reduceat(term.applies[span.first : span.last], span.edges)
            charges.append(
                DemandCharge(
                    name=term.name,
                    price_per_kw=term.price_per_kw,
                    month_to_date_w=term.floor_kw * 1e3,
                    interval_s=term.interval_s,
                    applies=None if term.applies.all() else applies,
                )
            )
        if month_to_date_w is None:
            return charges
        return [
            replace(charge, month_to_date_w=max(charge.month_to_date_w, so_far_w))
            for charge, so_far_w in zip(charges, month_to_date_w, strict=True)
        ]


def replace_battery(battery: Battery, stored_wh: float) -> Battery:
    """Return a battery with something else in it."""
    return msgspec.structs.replace(battery, stored_wh=min(stored_wh, battery.capacity_wh))
