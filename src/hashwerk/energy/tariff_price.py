"""What a tariff makes of the next kWh, interval by interval: what a plan needs to know of it.

Bills are exact and look back; these prices are floats and look ahead. What is not a price per kWh (power, being connected) is
given apart.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date
from decimal import Decimal

import numpy as np
import numpy.typing as npt

from hashwerk.energy.charges import tax_by_price
from hashwerk.energy.local_time import WallClock, local_date, local_text
from hashwerk.energy.series import Quality, Series
from hashwerk.energy.tariff import (
    AccountSurcharge,
    ByPrice,
    Demand,
    Energy,
    FeedIn,
    Market,
    Percent,
    Rate,
    Tariff,
    TariffError,
    rates_by_time,
)
from hashwerk.energy.usage import BillingFacts

FloatArray = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]
BoolArray = npt.NDArray[np.bool_]


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class Prices:
    """Prices of the next kWh over intervals, in the tariff's currency per MWh, taxes included.

    Args:
        buy_per_mwh: For taking, shape (T,); 0 where it is not known.
        sell_per_mwh: For feeding in, shape (T,).
        quality: `Quality` of the market's price, or MEASURED where the tariff alone says it; MISSING: not known.
    """

    buy_per_mwh: FloatArray
    sell_per_mwh: FloatArray
    quality: npt.NDArray[np.uint8]
    currency: str

    @property
    def buy_or_nan(self) -> FloatArray:
        """Buying prices with NaN where they are not known, as solvers' checks want them."""
        return np.where(self.quality == int(Quality.MISSING), np.nan, self.buy_per_mwh)


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class DemandTerm:
    """A price on the highest mean import, with taxes; ``applies`` says which intervals count, shape (T,)."""

    name: str
    price_per_kw: float
    interval_s: int
    applies: BoolArray
    floor_kw: float  # below this nothing is saved


def prices_ahead(
    tariff: Tariff,
    starts_s: IntArray,
    ends_s: IntArray,
    *,
    market: Series | None = None,
    facts: BillingFacts | None = None,
    month_to_date_kwh: Decimal = Decimal(0),
) -> Prices:
    """Return the price of the next kWh in each interval.

    Args:
        tariff: The contract.
        starts_s: Beginnings of the intervals, shape (T,).
        ends_s: Their ends.
        market: Prices per MWh as known now.
        facts: Circumstances and the year's energy so far; ``price_paid_per_kwh`` for a tax by price.
        month_to_date_kwh: Which block the next kWh falls into; blocks in days are taken for a month of 30.

    Raises:
        TariffError: If the tariff says nothing about an interval, or asks for a fact that is not given.
    """
    facts = facts or BillingFacts()
    wall = WallClock.at(starts_s, tariff.zone)
    known_facts = (tariff, starts_s, wall)
    buy: dict[str, FloatArray] = {}
    sell = np.zeros(len(starts_s))
    market_price, quality = _market(tariff, starts_s, ends_s, market)
    for component in tariff.components:
        match component:
            case Energy():
                buy[component.name] = _energy(known_facts, component, facts, month_to_date_kwh)
            case Market():
                buy[component.name] = market_price * float(component.factor) + float(component.margin_per_mwh)
            case ByPrice():
                buy[component.name] = np.full(len(starts_s), _tax(tariff, component, facts, buy))
            case AccountSurcharge():
                buy[component.name] = _account(tariff, component, starts_s, facts)
            case Percent():
                buy[component.name] = _percent(component, buy)
            case FeedIn():
                sell = sell + _feed_in(component, market_price)
            case _:
                pass  # not a price of the next kWh
    total = np.sum(list(buy.values()), axis=0) if buy else np.zeros(len(starts_s))
    known = quality != int(Quality.MISSING)
    return Prices(
        buy_per_mwh=np.where(known, total, 0.0),
        sell_per_mwh=np.where(known, sell, 0.0),
        quality=quality,
        currency=tariff.currency,
    )


def demand_terms(
    tariff: Tariff, starts_s: IntArray, facts: BillingFacts | None = None
) -> tuple[DemandTerm, ...]:
    """Return the demand charges of a tariff for a plan; prices are for a bill of 30 days."""
    facts = facts or BillingFacts()
    wall = WallClock.at(starts_s, tariff.zone)
    holidays = tariff.holiday_mask(wall)
    before_kw = Decimal(facts.peak_12_months_w or 0) / 1_000
    terms = []
    for component in tariff.components:
        if isinstance(component, Demand):
            months = Decimal(30) / 365 if component.per == "year" else Decimal(1)
            taxes = sum(
                (
                    one.percent
                    for one in tariff.components
                    if isinstance(one, Percent) and (not one.on or component.name in one.on)
                ),
                Decimal(0),
            )
            terms.append(
                DemandTerm(
                    name=component.name,
                    price_per_kw=float(component.per_kw * months * (1 + taxes / 100)),
                    interval_s=component.interval_min * 60,
                    applies=component.when.matches(wall, holidays),
                    floor_kw=float(max(component.minimum_kw, component.ratchet_share * before_kw)),
                )
            )
    return tuple(terms)


def _market(
    tariff: Tariff, starts_s: IntArray, ends_s: IntArray, market: Series | None
) -> tuple[FloatArray, npt.NDArray[np.uint8]]:
    if not tariff.needs_market:
        return np.zeros(len(starts_s)), np.full(len(starts_s), int(Quality.MEASURED), dtype=np.uint8)
    if market is None:
        raise TariffError(f"the tariff {tariff.name} needs the market's prices")
    if market.info.currency != tariff.currency:
        raise TariffError(f"{market.info.name} is in {market.info.unit}, the tariff in {tariff.currency}")
    return market.on(starts_s, ends_s)


def _energy(
    known: tuple[Tariff, IntArray, WallClock],
    component: Energy,
    facts: BillingFacts,
    month_to_date_kwh: Decimal,
) -> FloatArray:
    tariff, starts_s, wall = known
    holidays = tariff.holiday_mask(wall)
    at = facts.year_to_date_kwh if component.blocks_per == "year" else month_to_date_kwh
    price, count = np.zeros(len(starts_s)), np.zeros(len(starts_s), dtype=np.int64)
    for when, rates in rates_by_time(component).items():
        inside = when.matches(wall, holidays)
        count += inside
        price = np.where(inside, float(_block(rates, at).per_kwh) * 1_000, price)
    wrong = np.flatnonzero(count != 1)
    if len(wrong):
        text = local_text(float(starts_s[wrong[0]]), tariff.zone)
        says = "says nothing about" if count[wrong[0]] == 0 else "has two prices for"
        raise TariffError(f"the tariff {tariff.name} {says} {text} ({component.name})")
    return price


def _block(rates: tuple[Rate, ...], at_kwh: Decimal) -> Rate:
    for rate in rates:
        if rate.up_to_kwh is None or at_kwh < rate.up_to_kwh:
            return rate
    return rates[-1]


def _tax(tariff: Tariff, component: ByPrice, facts: BillingFacts, buy: dict[str, FloatArray]) -> float:
    paid = facts.price_paid_per_kwh
    if paid is None:
        parts = [buy[name] for name in component.on if name in buy]
        if len(parts) < len(component.on) or any(np.ptp(part) > 0 for part in parts if len(part)):
            raise TariffError(
                f"the tariff {tariff.name}: {component.name} depends on the mean price paid; say what you expect"
            )
        paid = Decimal(repr(float(sum(part[0] for part in parts)) / 1_000))
    return float(tax_by_price(component, paid, facts.circumstances)[0]) * 1_000


def _account(
    tariff: Tariff, component: AccountSurcharge, starts_s: IntArray, facts: BillingFacts
) -> FloatArray:
    if facts.account_from is None:
        return np.zeros(len(starts_s))
    last = facts.account_to or date.max
    due = [facts.account_from <= local_date(float(start), tariff.zone) < last for start in starts_s]
    return np.where(due, float(component.per_kwh) * 1_000, 0.0)


def _percent(component: Percent, buy: dict[str, FloatArray]) -> FloatArray:
    parts = [price for name, price in buy.items() if not component.on or name in component.on]
    base = np.sum(parts, axis=0) if parts else np.zeros(1)
    return np.asarray(base * float(component.percent) / 100, dtype=np.float64)


def _feed_in(component: FeedIn, market_price: FloatArray) -> FloatArray:
    gross = (
        market_price
        if component.per_kwh is None
        else np.full_like(market_price, float(component.per_kwh) * 1_000)
    )
    worth = gross - float(component.fee_per_mwh)
    return np.maximum(worth, 0.0) if component.not_below_zero else worth
