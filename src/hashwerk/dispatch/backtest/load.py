"""A backtest's files read and put on a grid, and every assumption in words."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Final

import numpy as np

from hashwerk.dispatch.backtest.contract import Contract, load_contract
from hashwerk.dispatch.backtest.hashprice_history import hashprice_history
from hashwerk.dispatch.backtest.history import History, Published, bridged, publication_times
from hashwerk.dispatch.backtest.place import load_obligations
from hashwerk.dispatch.backtest.scenario import (
    CARBON,
    CLEAN,
    EXPECTED_PEAK,
    HASHPRICE,
    LIMIT,
    LOCAL,
    MAY_RUN,
    PEAK,
    PRICE,
    RULE_CAP,
    RULE_COST,
    Scenario,
)
from hashwerk.dispatch.backtest.series_files import describe_gaps, on_grid, read_series
from hashwerk.dispatch.backtest.settings import BacktestSettings, SeriesSettings
from hashwerk.dispatch.grid import DAY_S, uniform_grid
from hashwerk.errors import ConfigError, FeedError

#: What is made of hours that a series does not have. An hour without a factor is never taken for a clean one.
_WITH_GAPS: Final = {
    PRICE: "left out of every account",
    LOCAL: "counted as zero",
    CLEAN: "counted as zero",
    CARBON: "taken to be as the last hour before",
}
#: What of the series besides the price is named with every result.
_SAID: Final = {LOCAL: "own generation", CLEAN: "contracted clean energy"}


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
        values, gaps = on_grid(raw, grid), describe_gaps(raw, grid)
        if not np.isfinite(values).any():
            raise FeedError(f"{raw.name} has no value in the span of the backtest")
        if key in _SAID:
            assumptions.append(f"{_SAID[key]}: {raw.name}")
        if gaps is not None and not key.startswith((PEAK, EXPECTED_PEAK)):
            assumptions.append(f"{gaps}: {_WITH_GAPS.get(key, 'no limit there')}")
        found = Published(raw.name, values, publication_times(grid, one.publication, raw.resolution_s))
        if key.startswith((PEAK, EXPECTED_PEAK)):
            # A peak of an hour is spread over the intervals of the grid.
            values = values * min(1.0, settings.interval_s / raw.resolution_s)
            found = Published(raw.name, values, found.published_s)
        if key.startswith(LIMIT):
            # Who is bound knows it: at the latest when it begins.
            unbound = np.where(np.isfinite(values), values, np.inf)
            found = Published(raw.name, unbound, np.minimum(found.published_s, grid.starts_s))
        series[key] = bridged(found) if key == CARBON else found

    contract = load_contract(settings.tariff, grid)
    _check_contract(settings, contract)
    if settings.price is not None:
        take(PRICE, settings.price)
    else:
        series[PRICE] = Published("the tariff", np.zeros(len(grid)), np.full(len(grid), -np.inf))
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
    for number, limit in enumerate(settings.limits):
        take(f"{LIMIT} {number}", limit.series)
    for number, peak in enumerate(settings.coincident):
        take(f"{PEAK} {number}", peak.happened)
        if peak.expected is not None:
            take(f"{EXPECTED_PEAK} {number}", peak.expected)
        else:
            assumptions.append(f"{peak.name}: nobody sees the peaks coming")
    if settings.place.jurisdictions:
        power_kw = sum(one.count * max(mode.power_w for mode in one.modes) for one in settings.groups) / 1e3
        rules = load_obligations(settings.place, frozenset(settings.fuels), power_kw, settings.currency, grid)
        series |= {MAY_RUN: rules.may_run, RULE_COST: rules.cost_per_mwh, RULE_CAP: rules.cap_kw}
        assumptions += rules.assumptions
    hashprice = hashprice_history(folder, settings.hashprice, grid, settings.currency)
    series[HASHPRICE] = Published("hashprice", hashprice, grid.starts_s.copy())
    missing = ~np.isfinite(series[PRICE].values)
    return Scenario(
        name=name,
        settings=settings,
        grid=grid,
        groups=tuple(group.group() for group in settings.groups),
        history=History(grid, series),
        missing=missing,
        contract=contract,
        assumptions=(
            *_assumptions(settings, series[PRICE].name, contract),
            *assumptions,
            *settings.assumptions,
        ),
    )


def _check(settings: BacktestSettings, start_s: float, stop_s: float) -> None:
    if stop_s <= start_s:
        raise ConfigError("a backtest ends after it begins")
    if DAY_S % settings.interval_s:
        raise ConfigError(f"interval_s must divide a day: {settings.interval_s:g}")
    if settings.planning.step_s % settings.interval_s:
        raise ConfigError("planning.step_s must be a multiple of interval_s")
    feeders = {group.feeder for group in settings.groups}
    for feeder in (*settings.feeders_kw, *(one.feeder for one in settings.limits if one.feeder is not None)):
        if feeder not in feeders:
            raise ConfigError(f"a limit is for the feeder {feeder!r}, which feeds no group")
    if settings.carbon is not None and settings.carbon.series is None and settings.carbon.g_per_kwh is None:
        raise ConfigError("backtest.carbon needs g_per_kwh or a series")
    if "carbon budget" in settings.policies and (
        settings.carbon is None or settings.carbon.budget_t_per_month is None
    ):
        raise ConfigError("the carbon budget policy needs backtest.carbon with budget_t_per_month")


def _check_contract(settings: BacktestSettings, contract: Contract | None) -> None:
    if contract is None:
        if settings.price is None:
            raise ConfigError("backtest needs a price or a tariff")
        return
    if contract.currency != settings.currency:
        raise ConfigError(
            f"the tariff is in {contract.currency}, the backtest in {settings.currency}: set currency"
        )
    if settings.fees_per_mwh or settings.sell_discount_per_mwh:
        raise ConfigError(
            "fees_per_mwh and sell_discount_per_mwh have no place beside a tariff, which has its own"
        )
    if settings.demand is not None and contract.demand:
        raise ConfigError("backtest.demand has no place beside a tariff that charges for power")
    needs_market = bool(contract.buy_factor.any() or contract.sell_factor.any())
    if needs_market and settings.price is None:
        raise ConfigError(f"the tariff {contract.name} needs the market's prices: backtest.price")
    if not needs_market and settings.price is not None:
        raise ConfigError(
            f"the tariff {contract.name} has no use for a market's price: leave out backtest.price"
        )


def _assumptions(settings: BacktestSettings, price_name: str, contract: Contract | None) -> list[str]:
    money = settings.hashprice
    lines = [f"energy price: {price_name}"]
    fees = f"{settings.fees_per_mwh:g} {settings.currency}/MWh" if settings.fees_per_mwh else "none"
    if contract is None:
        lines.append(f"grid fees, taxes and levies: {fees} on each imported MWh")
    else:
        lines += contract.assumptions
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
        "what is not yet published the optimiser takes to be the median at the same time of the last seven days, shifted by the"
        " last known difference, which fades in two hours"
    )
    if settings.battery is not None:
        lines.append("the battery is half full at the beginning; the optimiser alone uses it")
    if settings.demand is not None:
        lines.append(
            f"demand charge: {settings.demand.price_per_kw_month:g} {settings.currency} per kW of each UTC month's highest mean"
            f" over {settings.demand.interval_s / 60:g} min"
        )
    if settings.demand is None and not (contract is not None and contract.demand):
        lines.append("there is no charge on the peak of a month")
    if settings.carbon is None:
        lines.append("nothing is known of the local mix: emissions are not counted")
    else:
        source = settings.carbon.factor_set or "factors without a name"
        lines.append(f"emissions are those of imports, {source}, averages and not marginal")
    return lines
