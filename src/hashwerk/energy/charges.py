"""What each kind of component charges: one function per kind, exact in Decimal, each line rounded half up once."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import timedelta
from decimal import ROUND_HALF_UP, Decimal
from typing import Final, assert_never

import msgspec
import numpy as np
import numpy.typing as npt

from hashwerk.energy.local_time import WallClock, local_date, local_text
from hashwerk.energy.series import Gap, Series
from hashwerk.energy.tariff import (
    AccountSurcharge,
    ByPrice,
    Coincident,
    Component,
    Demand,
    Energy,
    Excess,
    FeedIn,
    Fixed,
    Market,
    Percent,
    Rate,
    Tariff,
    TariffError,
    rates_by_time,
)
from hashwerk.energy.usage import BillingFacts, Usage

IntArray = npt.NDArray[np.int64]
BoolArray = npt.NDArray[np.bool_]

_CENT: Final = Decimal("0.01")
_DAYS_A_YEAR: Final = Decimal(365)


class Line(msgspec.Struct, frozen=True, kw_only=True):
    """One line of a bill. Amounts are rounded to the cent; income is negative."""

    component: str
    text: str
    quantity: Decimal
    unit: str
    price: Decimal  # per unit, as the tariff says or as the mean of a market
    amount: Decimal


@dataclass(slots=True)
class Work:
    """What is known while a bill is made, and its lines so far."""

    tariff: Tariff
    usage: Usage
    facts: BillingFacts
    market: Series | None
    wall: WallClock
    last: WallClock  # of each interval's last second: no interval may lie in two times of use
    holidays: BoolArray
    normal_wh: IntArray  # without what is charged as excess
    excess_wh: dict[str, int]
    lines: list[Line] = field(default_factory=list)
    peak_kw: Decimal | None = None

    def add(
        self,
        component: str,
        text: str,
        quantity: tuple[Decimal, str],
        *,
        price: Decimal,
        exact: Decimal,
    ) -> None:
        """Add a line; ``quantity`` is an amount and its unit."""
        amount = exact.quantize(_CENT, rounding=ROUND_HALF_UP)
        self.lines.append(
            Line(
                component=component,
                text=text,
                quantity=quantity[0],
                unit=quantity[1],
                price=price,
                amount=amount,
            )
        )

    def mask(self, component: Energy | Demand, when_mask: BoolArray, end_mask: BoolArray) -> BoolArray:
        """Return where a time of use holds.

        Raises:
            TariffError: If an interval lies partly inside: its energy belongs to two prices.
        """
        cut = np.flatnonzero(when_mask != end_mask)
        if len(cut):
            at = local_text(float(self.usage.starts_s[cut[0]]), self.tariff.zone)
            raise TariffError(
                f"the interval of {self.usage.interval_s} s from {at} lies in two times of use of {component.name}"
            )
        return when_mask


def charge(work: Work, component: Component) -> None:
    """Add the lines of a component to a bill.

    Raises:
        TariffError: If something that it asks for is missing.
    """
    match component:
        case Energy():
            _charge_energy(work, component)
        case Market():
            _charge_market(work, component)
        case Demand():
            _charge_demand(work, component)
        case Coincident():
            _charge_coincident(work, component)
        case Fixed():
            times = _times(component.per, work.usage.days)
            work.add(
                component.name,
                component.name,
                (times, component.per),
                price=component.amount,
                exact=times * component.amount,
            )
        case Excess():
            kwh = _kwh(work.excess_wh[component.name])
            if kwh:
                work.add(
                    component.name,
                    component.name,
                    (kwh, "kWh"),
                    price=component.per_kwh,
                    exact=kwh * component.per_kwh,
                )
        case ByPrice():
            _charge_by_price(work, component)
        case AccountSurcharge():
            _charge_account(work, component)
        case Percent():
            _charge_percent(work, component)
        case FeedIn():
            _charge_feed_in(work, component)
        case _:
            assert_never(component)


def _charge_energy(work: Work, component: Energy) -> None:
    count = np.zeros(len(work.normal_wh), dtype=np.int64)
    for when, rates in rates_by_time(component).items():
        inside = work.mask(
            component, when.matches(work.wall, work.holidays), when.matches(work.last, work.holidays)
        )
        count += inside
        kwh = _kwh(int(work.normal_wh[inside].sum()))
        for rate, part in _blocks(work, component, rates, kwh):
            if part:
                work.add(
                    component.name, rate.name, (part, "kWh"), price=rate.per_kwh, exact=part * rate.per_kwh
                )
    wrong = np.flatnonzero(count != 1)
    if len(wrong):
        at = local_text(float(work.usage.starts_s[wrong[0]]), work.tariff.zone)
        says = "says nothing about" if count[wrong[0]] == 0 else "has two prices for"
        raise TariffError(f"the tariff {work.tariff.name} {says} {at} ({component.name})")


def _blocks(
    work: Work, component: Energy, rates: tuple[Rate, ...], kwh: Decimal
) -> Iterable[tuple[Rate, Decimal]]:
    """Cut a quantity into blocks; those of a year begin where the year stands."""
    before = work.facts.year_to_date_kwh if component.blocks_per == "year" else Decimal(0)
    scale = work.usage.days / 30 if component.blocks_per == "30 days" else Decimal(1)
    for rate in rates:
        low = max(rate.above_kwh * scale, before)
        high = before + kwh if rate.up_to_kwh is None else min(rate.up_to_kwh * scale, before + kwh)
        yield rate, max(Decimal(0), high - low)


def _charge_market(work: Work, component: Market) -> None:
    prices = _market_prices(work, component.name)
    energy = [int(wh) for wh in work.normal_wh]
    cost = sum((price * wh for price, wh in zip(prices, energy, strict=True)), Decimal(0)) / 1_000_000
    mwh = Decimal(sum(energy)) / 1_000_000
    exact = cost * component.factor + mwh * component.margin_per_mwh
    mean = exact / mwh if mwh else Decimal(0)
    work.add(
        component.name, component.name, (mwh, "MWh"), price=mean.quantize(Decimal("0.0001")), exact=exact
    )


def _market_prices(work: Work, name: str) -> list[Decimal]:
    starts = work.usage.starts_s
    if work.market is None:
        raise TariffError(f"the tariff {work.tariff.name} needs the market's prices for {name}")
    if work.market.info.currency != work.tariff.currency or not work.market.info.unit.endswith("/MWh"):
        raise TariffError(
            f"{work.market.info.name} is in {work.market.info.unit}, the tariff {work.tariff.name} in"
            f" {work.tariff.currency} per MWh"
        )
    values, quality = work.market.on(starts, starts + work.usage.interval_s)
    missing = np.flatnonzero(quality == 0)
    if len(missing):
        at = local_text(float(starts[missing[0]]), work.tariff.zone)
        raise TariffError(f"{work.market.info.name} has no price for {len(missing)} intervals, first {at}")
    # The shortest decimal that is this float is what the market published.
    return [Decimal(repr(float(value))) for value in values]


def _charge_demand(work: Work, component: Demand) -> None:
    inside = component.when.matches(work.wall, work.holidays)
    means = interval_means_w(work.usage, component.interval_min * 60, inside)
    peak_kw = max(means, default=Decimal(0)) / 1_000
    before_kw = Decimal(work.facts.peak_12_months_w or 0) / 1_000
    billed_kw = max(peak_kw, component.minimum_kw, component.ratchet_share * before_kw)
    work.peak_kw = max(billed_kw, work.peak_kw or Decimal(0))
    times = _times(component.per, work.usage.days)
    text = f"{component.name}, {component.interval_min} min"
    price = component.per_kw * times
    work.add(component.name, text, (billed_kw, "kW"), price=price, exact=billed_kw * price)


def interval_means_w(usage: Usage, length_s: int, inside: BoolArray) -> list[Decimal]:
    """Return the mean import over each interval of a demand charge, counted from full hours, in W.

    Raises:
        TariffError: If the load was measured in longer intervals: peaks within them are not known.
    """
    if usage.interval_s > length_s or length_s % usage.interval_s or usage.start_s % length_s:
        raise TariffError(
            f"a demand charge over {length_s // 60} min cannot be made from intervals of {usage.interval_s} s"
            f" that begin at {usage.start_s}"
        )
    per = length_s // usage.interval_s
    padded = np.append(usage.import_wh, np.zeros(-len(usage.import_wh) % per, dtype=np.int64))
    sums = padded.reshape(-1, per).sum(axis=1)
    counts = (
        np.append(inside, np.zeros(len(padded) - len(inside), dtype=np.bool_)).reshape(-1, per).any(axis=1)
    )
    return [Decimal(int(wh)) * 3_600 / length_s for wh in sums[counts]]


def _charge_coincident(work: Work, component: Coincident) -> None:
    peaks = work.facts.coincident_peaks
    if not peaks:
        return
    means = [_mean_w(work.usage, span) for span in peaks]
    kw = sum(means, Decimal(0)) / len(means) / 1_000
    work.add(
        component.name,
        f"{component.name}, mean of {len(means)}",
        (kw, "kW"),
        price=component.per_kw,
        exact=kw * component.per_kw,
    )


def _mean_w(usage: Usage, span: Gap) -> Decimal:
    first, odd_start = divmod(span.start_s - usage.start_s, usage.interval_s)
    last, odd_stop = divmod(span.stop_s - usage.start_s, usage.interval_s)
    if odd_start or odd_stop or first < 0 or last > len(usage.import_wh) or last <= first:
        raise TariffError(
            f"the coincident peak from {span.start_s} to {span.stop_s} is not made of measured intervals"
        )
    return Decimal(int(usage.import_wh[first:last].sum())) * 3_600 / (span.stop_s - span.start_s)


def _charge_by_price(work: Work, component: ByPrice) -> None:
    kwh = _kwh(int(work.usage.import_wh.sum()))
    if not kwh:
        return
    paid = sum((line.amount for line in work.lines if line.component in component.on), Decimal(0)) / kwh
    per_kwh, reason = tax_by_price(component, paid, work.facts.circumstances)
    work.add(component.name, f"{component.name} ({reason})", (kwh, "kWh"), price=per_kwh, exact=kwh * per_kwh)


def tax_by_price(
    component: ByPrice, paid_per_kwh: Decimal, circumstances: frozenset[str]
) -> tuple[Decimal, str]:
    """Return the tax per kWh and why: of all reasons that apply the dearest holds.

    Raises:
        TariffError: If a circumstance is not one of the tariff's, or no bracket fits.
    """
    unknown = circumstances - component.circumstances.keys() - component.instead.keys()
    if unknown:
        raise TariffError(f"{component.name} knows no circumstance {sorted(unknown)[0]!r}")
    reasons = [(per_kwh, name) for name, per_kwh in component.circumstances.items() if name in circumstances]
    instead = [(per_kwh, name) for name, per_kwh in component.instead.items() if name in circumstances]
    if instead:
        reasons += instead
    else:
        reasons.append((_bracket(component, paid_per_kwh), f"{paid_per_kwh:.4f} per kWh paid"))
    return max(reasons, key=lambda reason: reason[0])


def _bracket(component: ByPrice, paid_per_kwh: Decimal) -> Decimal:
    for bracket in component.brackets:
        if bracket.below_per_kwh is None or paid_per_kwh < bracket.below_per_kwh:
            return bracket.per_kwh
    raise TariffError(f"{component.name} has no bracket for a price of {paid_per_kwh} per kWh")


def _charge_account(work: Work, component: AccountSurcharge) -> None:
    """Σ kWh of the cycle / days of the cycle · days of the surcharge · price: all energy of the account, mined with or not."""
    zone, usage = work.tariff.zone, work.usage
    first, end = local_date(usage.start_s, zone), local_date(usage.stop_s - 1, zone) + timedelta(days=1)
    begins = work.facts.account_from
    stops = min(end, work.facts.account_to or end)
    if begins is None or max(first, begins) >= stops:
        return
    cycle_days, days = (end - first).days, (stops - max(first, begins)).days
    kwh = _kwh(int(usage.import_wh.sum())) * days / cycle_days
    text = f"{component.name}, {days} of {cycle_days} days"
    work.add(component.name, text, (kwh, "kWh"), price=component.per_kwh, exact=kwh * component.per_kwh)


def _charge_percent(work: Work, component: Percent) -> None:
    base = sum(
        (line.amount for line in work.lines if not component.on or line.component in component.on), Decimal(0)
    )
    work.add(
        component.name,
        component.name,
        (base, work.tariff.currency),
        price=component.percent / 100,
        exact=base * component.percent / 100,
    )


def _charge_feed_in(work: Work, component: FeedIn) -> None:
    if work.usage.export_wh is None or not work.usage.export_wh.any():
        return
    energy = [int(wh) for wh in work.usage.export_wh]
    fixed = component.per_kwh
    prices = _market_prices(work, component.name) if fixed is None else [fixed * 1_000] * len(energy)
    worth = [price - component.fee_per_mwh for price in prices]
    if component.not_below_zero:
        worth = [max(price, Decimal(0)) for price in worth]
    exact = sum((price * wh for price, wh in zip(worth, energy, strict=True)), Decimal(0)) / 1_000_000
    mwh = Decimal(sum(energy)) / 1_000_000
    work.add(
        component.name,
        component.name,
        (mwh, "MWh"),
        price=(-exact / mwh).quantize(Decimal("0.0001")),
        exact=-exact,
    )


def _kwh(wh: int) -> Decimal:
    return Decimal(wh) / 1_000


def _times(per: str, days: Decimal) -> Decimal:
    """How often a price stands on the bill of so many days; a bill is one period of its own."""
    match per:
        case "30 days":
            return days / 30
        case "day":
            return days
        case "year":
            return days / _DAYS_A_YEAR
        case _:
            return Decimal(1)
