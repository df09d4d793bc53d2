"""A tariff as a backtest takes it: what it makes of the market's price in each interval, and what it charges for power."""

from __future__ import annotations

import math
from dataclasses import dataclass
from decimal import Decimal
from typing import Final

import msgspec
import numpy as np

from hashwerk.dispatch.grid import FloatArray, Grid
from hashwerk.energy.series import Quality, Series, SeriesInfo
from hashwerk.energy.settings import TariffSettings
from hashwerk.energy.tariff import (
    AccountSurcharge,
    ByPrice,
    Demand,
    Energy,
    FeedIn,
    Market,
    Percent,
    Tariff,
)
from hashwerk.energy.tariff_price import DemandTerm, Prices, demand_terms, prices_ahead

#: Two prices of the market between which a tariff is a straight line: above any at which it is cut off.
_LOW_PER_MWH, _HIGH_PER_MWH = 10_000.0, 20_000.0
#: So much of a period's blocks is used up that the next kWh is priced at the last one.
_LAST_BLOCK_KWH: Final = Decimal("Infinity")
_COUNTED = (Energy, Market, ByPrice, AccountSurcharge, Percent, FeedIn, Demand)


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class Contract:
    """What a tariff says of each interval, shape (T,): a price is ``fixed + factor · market``, per MWh."""

    name: str
    currency: str
    buy_fixed: FloatArray
    buy_factor: FloatArray
    sell_fixed: FloatArray
    sell_factor: FloatArray
    sells_at_no_less: float  # than this
    demand: tuple[DemandTerm, ...]
    assumptions: tuple[str, ...]


def load_contract(settings: TariffSettings, grid: Grid) -> Contract | None:
    """Return the contract over a grid; None where there is no tariff.

    Raises:
        TariffError: If the tariff cannot be read, says nothing about an hour, or asks for a fact that is not given.
    """
    tariff = settings.load()
    if tariff is None:
        return None
    starts_s, ends_s = grid.starts_s.astype(np.int64), grid.ends_s.astype(np.int64)
    facts = msgspec.structs.replace(settings.facts(), year_to_date_kwh=_LAST_BLOCK_KWH)

    def prices(market_per_mwh: float) -> Prices:
        market = _constant(market_per_mwh, grid, tariff.currency) if tariff.needs_market else None
        return prices_ahead(
            tariff, starts_s, ends_s, market=market, facts=facts, month_to_date_kwh=_LAST_BLOCK_KWH
        )

    low, high = prices(_LOW_PER_MWH), prices(_HIGH_PER_MWH)
    buy_factor = (high.buy_per_mwh - low.buy_per_mwh) / (_HIGH_PER_MWH - _LOW_PER_MWH)
    sell_factor = (high.sell_per_mwh - low.sell_per_mwh) / (_HIGH_PER_MWH - _LOW_PER_MWH)
    feed_in = [component for component in tariff.components if isinstance(component, FeedIn)]
    return Contract(
        name=tariff.name,
        currency=tariff.currency,
        buy_fixed=low.buy_per_mwh - buy_factor * _LOW_PER_MWH,
        buy_factor=buy_factor,
        sell_fixed=low.sell_per_mwh - sell_factor * _LOW_PER_MWH,
        sell_factor=sell_factor,
        sells_at_no_less=0.0 if any(one.not_below_zero for one in feed_in) else -math.inf,
        demand=demand_terms(tariff, starts_s, facts),
        assumptions=tuple(_assumptions(tariff)),
    )


def _constant(per_mwh: float, grid: Grid, currency: str) -> Series:
    starts_s = grid.starts_s.astype(np.int64)
    info = SeriesInfo(
        name="the market",
        unit=f"{currency}/MWh",
        resolution_s=int(grid.durations_s[0]),
        source="a backtest",
        currency=currency,
    )
    quality = np.full(len(grid), int(Quality.MEASURED), dtype=np.uint8)
    return Series(
        info=info,
        starts_s=starts_s,
        values=np.full(len(grid), per_mwh),
        quality=quality,
        published_s=starts_s.copy(),
    )


def _assumptions(tariff: Tariff) -> list[str]:
    until = "" if tariff.valid_to is None else f" until {tariff.valid_to}"
    lines = [f"tariff: {tariff.name}, valid from {tariff.valid_from}{until}, taken for the whole span"]
    if any(
        isinstance(one, Energy) and len(one.rates) > 1 and any(rate.up_to_kwh for rate in one.rates)
        for one in tariff.components
    ):
        lines.append("energy priced in blocks is priced at the last one")
    if any(isinstance(one, Demand) for one in tariff.components):
        lines.append("power is charged for UTC months, at the price of a bill of 30 days")
    left_out = [one.name for one in tariff.components if not isinstance(one, _COUNTED)]
    if left_out:
        lines.append(f"of the tariff these are left out: {', '.join(left_out)}")
    return lines
