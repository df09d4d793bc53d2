"""What a plan must serve besides prices: a battery's content, a contract's least quantity, power that was sold as reserve."""

from __future__ import annotations

import datetime
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from hashwerk.dispatch.grid import HOUR_S, FloatArray, Grid
from hashwerk.dispatch.problem import Battery, Ppa, Reserve
from hashwerk.dispatch.settings import BatterySettings, ReserveSettings
from hashwerk.energy.settings import SourceSettings
from hashwerk.energy.sources import SourceKind
from hashwerk.site.energy import accounts
from hashwerk.site.energy.record import QUARTER_S, Quarter


@dataclass(frozen=True, slots=True, kw_only=True)
class Contract:
    """A contract to take energy, and how far it is fulfilled in the settlement period, the local month."""

    source: SourceSettings
    taken_wh: float
    period_stop_s: float


def contract_of(sources: Sequence[SourceSettings]) -> SourceSettings | None:
    """Return the contract that plans are made with: the first whose power is known."""
    return next((one for one in sources if one.kind == SourceKind.CONTRACT.value and one.power_kw), None)


def taken_wh(source: SourceSettings, quarters: Sequence[Quarter]) -> float:
    """Return what was taken of a contract: imports up to its power, in the quarters of an hour that are known."""
    most_wh = (source.power_kw or 0.0) * 1e3 * QUARTER_S / HOUR_S
    return sum(min(float(accounts.taken_wh(one)), most_wh) for one in quarters if accounts.is_known(one))


def month_stop_s(now: float, zone: datetime.tzinfo) -> float:
    """Return the end of the local month."""
    begin = datetime.datetime.fromtimestamp(accounts.month_begin_s(now, zone), zone)
    later = begin.replace(day=28) + datetime.timedelta(days=7)
    return datetime.datetime(later.year, later.month, 1, tzinfo=zone).timestamp()


def plan_contract(grid: Grid, contract: Contract | None, market_per_mwh: FloatArray) -> Ppa | None:
    """Return the contract over a plan's intervals.

    Of what is left to take only that must be taken here which cannot be taken later in the period.

    Args:
        grid: The intervals.
        contract: None: there is none.
        market_per_mwh: What the market pays for what is not used; not a number where that is not known.
    """
    if contract is None:
        return None
    source = contract.source
    power_w = (source.power_kw or 0.0) * 1e3
    later_s = max(0.0, contract.period_stop_s - float(grid.ends_s[-1]))
    left_wh = float(source.min_take_mwh) * 1e6 - contract.taken_wh
    resale = np.where(np.isfinite(market_per_mwh), market_per_mwh, 0.0) if source.resold else None
    return Ppa(
        name=source.name,
        price_per_mwh=float(source.price_per_mwh),
        power_w=np.full(len(grid), power_w),
        min_take_wh=max(0.0, left_wh - power_w * later_s / HOUR_S),
        shortfall_per_mwh=float(source.shortfall_per_mwh),
        resale_per_mwh=resale,
    )


def plan_battery(
    settings: BatterySettings | None, content: float | None
) -> tuple[Battery | None, str | None]:
    """Return the battery with its content, and what should be said about it.

    Args:
        settings: None: there is none.
        content: Stored part of the capacity, 0 to 1; None: nobody tells.
    """
    if settings is None:
        return None, None
    if content is None:
        return None, "the battery is left out: no feed tells how full it is"
    capacity_wh = settings.capacity_kwh * 1e3
    battery = Battery(
        capacity_wh=capacity_wh,
        power_w=settings.power_kw * 1e3,
        stored_wh=content * capacity_wh,
        efficiency=settings.efficiency,
        wear_per_mwh=settings.wear_per_mwh,
        reserve_wh=min(settings.reserve_share, content) * capacity_wh,
    )
    return (
        battery,
        "the battery's part of the plan is a recommendation: its own control carries it out, or does not",
    )


def plan_reserves(
    grid: Grid, settings: Sequence[ReserveSettings], zone: datetime.tzinfo
) -> tuple[Reserve, ...]:
    """Return what was sold as reserve over a plan's intervals: an interval that touches the hours sold is one of them."""
    found = []
    for one in settings:
        sold = [
            _touches(float(a), float(b), one, zone) for a, b in zip(grid.starts_s, grid.ends_s, strict=True)
        ]
        sold_w = np.where(sold, one.sold_kw * 1e3, 0.0)
        found.append(Reserve(name=f"reserve {one.name}", sold_w=sold_w, response_s=one.response_s))
    return tuple(found)


def _touches(start_s: float, stop_s: float, sold: ReserveSettings, zone: datetime.tzinfo) -> bool:
    first, last = (datetime.datetime.fromtimestamp(at, zone) for at in (start_s, max(start_s, stop_s - 1.0)))
    hours = {first.hour, last.hour}
    if sold.from_hour < sold.to_hour:
        return any(sold.from_hour <= hour < sold.to_hour for hour in hours)
    return any(hour >= sold.from_hour or hour < sold.to_hour for hour in hours)  # over midnight, or all day
