"""A plan: what is known now put into a problem, the problem into a policy, and what comes out into words and columns."""

from __future__ import annotations

import datetime
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Final

import numpy as np

from hashwerk.dispatch.compose import make_problem
from hashwerk.dispatch.grid import DAY_S, HOUR_S, FloatArray, Grid, rolling_grid
from hashwerk.dispatch.orders import OrderBook
from hashwerk.dispatch.policies.always_on import AlwaysOn
from hashwerk.dispatch.policies.clean import CarbonBudget, CleanOnly, SurplusOnly
from hashwerk.dispatch.policies.marginal import MarginalStrike, climb_down
from hashwerk.dispatch.policies.optimiser import Optimiser
from hashwerk.dispatch.policies.port import Policy
from hashwerk.dispatch.policies.strike import OneStrike
from hashwerk.dispatch.problem import Carbon, DemandCharge, Limit, Problem, Ramp
from hashwerk.dispatch.problem import CleanOnly as CleanEnergy
from hashwerk.dispatch.schedule import Schedule
from hashwerk.dispatch.settings import DispatchSettings
from hashwerk.energy.local_time import local_date
from hashwerk.energy.series import Quality, Series
from hashwerk.energy.tariff import Tariff, TariffError
from hashwerk.energy.tariff_price import demand_terms, prices_ahead
from hashwerk.energy.usage import BillingFacts
from hashwerk.errors import DispatchError
from hashwerk.site.energy.groups import Herd
from hashwerk.site.energy.obligations import Contract, plan_battery, plan_contract, plan_reserves

#: The grid of facts/dispatch.md in units of its finest interval: 5 min for 6 h, 15 min for a day, then hours.
_SECTIONS: Final = ((1, 72), (3, 288), (12, None))


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class Known:
    """What a plan is made from, as known at one moment."""

    now: float
    herds: tuple[Herd, ...]
    orders: OrderBook
    price: Series | None
    carbon: Series | None
    generation: Series | None  # own plants, W
    hashprice_per_ph_day: float | None
    generation_w: float  # measured now
    auxiliary_w: float
    cooling_share: float
    import_w: float | None  # measured just now
    month_peaks_w: Mapping[str, float]  # by demand charge
    month_kwh: Decimal = Decimal(0)  # imported so far: which block of a tariff the next kWh falls into
    battery_content: float | None = None  # stored part of its capacity
    contract: Contract | None = None
    zone: datetime.tzinfo = datetime.UTC
    forbidden: tuple[tuple[float, float], ...] = ()  # spans in which rules of the place forbid to run
    remarks: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class Plan:
    """A plan that was made, with the machines that it counts."""

    made_s: float
    took_s: float
    policy: str
    herds: tuple[Herd, ...]
    problem: Problem
    schedule: Schedule
    remarks: tuple[str, ...]

    def at(self, now: float) -> int:
        """Return the number of the interval that a moment is in."""
        return self.schedule.grid.at(now)

    def counts(self, group: int, now: float) -> list[int]:
        """Return how many machines of a group run in each of its modes."""
        modes = len(self.problem.groups[group].modes)
        return [round(float(n)) for n in self.schedule.running[group, :modes, self.at(now)]]

    def limit_w(self, now: float) -> float | None:
        """Return the lowest hard limit of the import that binds now; None if none does."""
        at = self.at(now)
        limits = [float(one.limit_w[at]) for one in self.problem.limits if one.feeder is None]
        lowest = min(limits, default=float("inf"))
        return lowest if np.isfinite(lowest) else None


def make_policy(settings: DispatchSettings, name: str | None = None) -> Policy:
    """Return the policy of the settings, or another by its name."""
    match name or settings.policy:
        case "always on":
            return AlwaysOn()
        case "strike":
            return OneStrike(settings.strike_per_mwh, debounce_s=settings.debounce_s)
        case "marginal strike":
            return MarginalStrike()
        case "clean only":
            return CleanOnly()
        case "carbon budget":
            return CarbonBudget()
        case "surplus only":
            return SurplusOnly()
        case _:
            return Optimiser(time_limit_s=settings.time_limit_s)


def make_grid(settings: DispatchSettings, now: float) -> Grid:
    """Return the intervals of a plan: fine at first, coarser later, up to the horizon."""
    unit_s = float(settings.interval_s)
    horizon_s = max(unit_s, min(settings.horizon_h * HOUR_S, settings.interval_s / 300 * 7 * DAY_S))
    sections = []
    for factor, until in _SECTIONS:
        end_s = horizon_s if until is None else min(until * unit_s, horizon_s)
        sections.append((factor * unit_s, end_s))
        if end_s >= horizon_s:
            break
    return rolling_grid(now, tuple(sections))


def make_problem_of(
    known: Known, settings: DispatchSettings, tariff: Tariff | None, facts: BillingFacts
) -> tuple[Problem, tuple[str, ...]]:
    """Return the problem and what should be said about it.

    Raises:
        DispatchError: If there is nothing to plan with; the message says what is missing.
    """
    if not known.herds:
        raise DispatchError("there is no machine that may be switched")
    remarks = list(known.remarks)
    grid = make_grid(settings, known.now)
    grid, shortened = _as_far_as_known(grid, known, tariff)
    if shortened:
        remarks.append(shortened)
    if tariff is not None and (expired := tariff.not_valid_words(local_date(known.now, tariff.zone))):
        remarks.append(f"{expired}: plans go on with its prices, and there is no bill")
    buy, sell = _prices(grid, known, settings, (tariff, facts), remarks)
    available = np.array([[herd.group.count] * len(grid) for herd in known.herds], dtype=np.int64)
    for start_s, stop_s in known.forbidden:
        available[:, (grid.ends_s > start_s) & (grid.starts_s < stop_s)] = 0
    hashprice = known.hashprice_per_ph_day
    battery, said = plan_battery(settings.battery, known.battery_content)
    remarks += [said] if said else []
    problem = make_problem(
        grid,
        [herd.group for herd in known.herds],
        hashprice_per_ph_day=np.nan if hashprice is None else hashprice,
        buy_per_mwh=buy,
        sell_per_mwh=sell,
        histories=[herd.history for herd in known.herds],
        available=available,
        auxiliary_w=known.auxiliary_w,
        cooling_share=known.cooling_share,
        local_w=_generation(grid, known),
        export_limit_w=settings.limits.export_kw * 1e3,
        limits=_limits(grid, known, settings),
        ramp=_ramp(known, settings),
        battery=battery,
        ppa=plan_contract(grid, known.contract, sell),
        reserves=plan_reserves(grid, settings.reserves, known.zone),
        demand=_demand(grid, known, tariff, facts),
        carbon=_carbon(grid, known, settings),
        clean=CleanEnergy(contracted_w=np.full(len(grid), settings.contracted_clean_kw * 1e3))
        if settings.policy == "clean only"
        else None,
        currency=settings.currency,
    )
    return known.orders.applied_to(problem), tuple(remarks)


def make_plan(
    known: Known,
    settings: DispatchSettings,
    policy: Policy,
    tariff: Tariff | None = None,
    facts: BillingFacts | None = None,
) -> tuple[Problem, Schedule, tuple[str, ...]]:
    """Return what was asked, what was decided, and what should be said about it. Runs in a thread of its own.

    Raises:
        DispatchError: If nothing can be planned at all.
    """
    problem, remarks = make_problem_of(known, settings, tariff, facts or BillingFacts())
    try:
        schedule = policy.plan(problem)
    except DispatchError as error:
        schedule = climb_down(problem, str(error))
    return problem, schedule, (*schedule.remarks, *remarks)


def _as_far_as_known(grid: Grid, known: Known, tariff: Tariff | None) -> tuple[Grid, str | None]:
    """Cut a grid where known prices end: a plan does not guess tomorrow's auction. What is missing now stays missing."""
    price = known.price
    if price is None:
        return grid, None
    if tariff is not None and not _has_market(tariff):
        return grid, None
    until = price.known_until_s()
    if until is None or until <= known.now or until >= grid.ends_s[-1]:
        return grid, None
    count = max(1, int(np.searchsorted(grid.ends_s, until, side="right")))
    at = np.datetime_as_string(np.datetime64(int(grid.ends_s[count - 1]), "s"), unit="m")
    return Grid(
        grid.starts_s[:count], grid.durations_s[:count]
    ), f"prices are known until {at}Z, and no further is planned"


def _has_market(tariff: Tariff) -> bool:
    return any(type(component).__name__ in {"Market", "FeedIn"} for component in tariff.components)


def _prices(
    grid: Grid,
    known: Known,
    settings: DispatchSettings,
    contract: tuple[Tariff | None, BillingFacts],
    remarks: list[str],
) -> tuple[FloatArray, FloatArray]:
    """Return what buying costs and selling brings; not a number where that is not known."""
    starts_s, ends_s = grid.starts_s.astype(np.int64), grid.ends_s.astype(np.int64)
    tariff, facts = contract
    if tariff is not None:
        try:
            prices = prices_ahead(
                tariff,
                starts_s,
                ends_s,
                market=known.price,
                facts=facts,
                month_to_date_kwh=known.month_kwh,
            )
        except TariffError as error:
            raise DispatchError(f"no plan: {error}") from error
        if prices.currency != settings.currency:
            raise DispatchError(
                f"the tariff is in {prices.currency}, plans are in {settings.currency}: set currency in [dispatch]"
            )
        return prices.buy_or_nan, prices.sell_per_mwh
    if known.price is None:
        return np.full(len(grid), settings.fees_per_mwh), np.zeros(len(grid))
    values, quality = known.price.on(starts_s, ends_s)
    market = np.where(quality == int(Quality.MISSING), np.nan, values)
    if (quality == int(Quality.TYPICAL)).any():
        remarks.append("prices are those of a typical day of the month, not today's")
    elif (quality == int(Quality.ESTIMATED)).any():
        remarks.append("some prices are those of the same hour of a day or a week before")
    return market + settings.fees_per_mwh, np.nan_to_num(np.minimum(market, market + settings.fees_per_mwh))


def _limits(grid: Grid, known: Known, settings: DispatchSettings) -> Sequence[Limit]:
    limits = []
    if settings.limits.site_kw is not None:
        limits.append(
            Limit(name="the site's connection", limit_w=np.full(len(grid), settings.limits.site_kw * 1e3))
        )
    feeders = {herd.group.feeder for herd in known.herds}
    for feeder, limit_kw in settings.limits.feeders_kw.items():
        if feeder in feeders:
            limits.append(
                Limit(name=f"feeder {feeder}", limit_w=np.full(len(grid), limit_kw * 1e3), feeder=feeder)
            )
    return limits


def _ramp(known: Known, settings: DispatchSettings) -> Ramp | None:
    limits = settings.limits
    if limits.up_kw_per_minute is None and limits.down_kw_per_minute is None:
        return None
    return Ramp(
        up_w_per_s=None if limits.up_kw_per_minute is None else limits.up_kw_per_minute * 1e3 / 60,
        down_w_per_s=None if limits.down_kw_per_minute is None else limits.down_kw_per_minute * 1e3 / 60,
        import_before_w=known.import_w,
    )


def _demand(grid: Grid, known: Known, tariff: Tariff | None, facts: BillingFacts) -> Sequence[DemandCharge]:
    if tariff is None:
        return ()
    return [
        DemandCharge(
            name=term.name,
            price_per_kw=term.price_per_kw,
            month_to_date_w=max(term.floor_kw * 1e3, known.month_peaks_w.get(term.name, 0.0)),
            interval_s=term.interval_s,
            applies=np.asarray(term.applies, dtype=np.bool_),
        )
        for term in demand_terms(tariff, grid.starts_s.astype(np.int64), facts)
    ]


def _carbon(grid: Grid, known: Known, settings: DispatchSettings) -> Carbon | None:
    if known.carbon is None:
        return None
    values, quality = known.carbon.on(grid.starts_s.astype(np.int64), grid.ends_s.astype(np.int64))
    is_known = quality != int(Quality.MISSING)
    if not is_known.any():
        return None
    budget_g = None
    if settings.policy == "carbon budget" and settings.carbon_budget_t_per_day is not None:
        budget_g = settings.carbon_budget_t_per_day * 1e6 * float(grid.durations_s.sum()) / DAY_S
    # An hour without a figure counts like the mean of the others: never as clean.
    g_per_kwh = np.where(is_known, values, float(values[is_known].mean()))
    return Carbon(g_per_kwh=g_per_kwh, price_per_t=settings.carbon_price_per_t, budget_g=budget_g)


def _generation(grid: Grid, known: Known) -> FloatArray:
    """Return what own plants give: their forecast where there is one, else as now for an hour and nothing after that."""
    ahead = np.where(grid.starts_s < known.now + HOUR_S, known.generation_w, 0.0)
    if known.generation is None:
        return ahead
    values, quality = known.generation.on(grid.starts_s.astype(np.int64), grid.ends_s.astype(np.int64))
    return np.where(quality == int(Quality.MISSING), ahead, np.maximum(0.0, values))
