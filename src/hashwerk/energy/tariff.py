"""Tariffs as data: what a contract charges for energy, power and being there, read from TOML.

A tariff is a list of components. Each has a name that stands on the bill; percent taxes name what they are on. Money is
Decimal, times of use are local, and a tariff that says nothing about some hour of the year, or two things, is refused when
it is read.
"""

from __future__ import annotations

import importlib.resources
import tomllib
from datetime import date
from decimal import Decimal
from pathlib import Path
from typing import Final, Literal

import msgspec
import numpy as np
import numpy.typing as npt

from hashwerk.energy.local_time import WallClock, zone_of
from hashwerk.errors import ConfigError

BoolArray = npt.NDArray[np.bool_]
Weekday = Literal["mon", "tue", "wed", "thu", "fri", "sat", "sun"]

_WEEKDAYS: Final = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
_DAY_MIN: Final = 1_440
#: Times of use begin and end on these minutes: the finest that any meter settles by.
_STEP_MIN: Final = 5


class TariffError(ConfigError):
    """A tariff does not say what an hour costs, or a bill cannot be made from what was measured."""


class When(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Local times that something holds at. Empty: no bound of this kind."""

    months: tuple[int, ...] = ()
    days: tuple[Weekday, ...] = ()
    hours: tuple[str, ...] = ()  # "07:00-10:00"; "23:00-07:00" goes over midnight
    holidays: bool | None = None  # True: on holidays too, whatever the weekday; False: never on them

    def matches(self, wall: WallClock, holidays: BoolArray) -> BoolArray:
        """Say which moments lie within.

        Raises:
            TariffError: If a span of hours cannot be read.
        """
        inside = np.ones(wall.minute.shape, dtype=np.bool_)
        if self.months:
            inside &= np.isin(wall.month, self.months)
        if self.days:
            days = np.isin(wall.weekday, [_WEEKDAYS.index(day) for day in self.days])
            if self.holidays is not None:
                days = (days | holidays) if self.holidays else (days & ~holidays)
            inside &= days
        elif self.holidays is not None:
            inside &= holidays if self.holidays else ~holidays
        if self.hours:
            inside &= np.any([_in_span(span, wall.minute) for span in self.hours], axis=0)
        return inside


class Rate(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A price of energy at some times, between two quantities of what was taken at these times."""

    name: str
    per_kwh: Decimal
    when: When = When()
    above_kwh: Decimal = Decimal(0)
    up_to_kwh: Decimal | None = None


class Energy(
    msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, tag_field="kind", tag="energy"
):
    """Energy by time of use and by blocks: market price aside, the heart of a tariff; levies per kWh as well."""

    name: str
    rates: tuple[Rate, ...]
    blocks_per: Literal["bill", "30 days", "year"] = "bill"


class Market(
    msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, tag_field="kind", tag="market"
):
    """Energy at a market's price: price · factor + margin, interval by interval, negative prices included."""

    name: str
    factor: Decimal = Decimal(1)
    margin_per_mwh: Decimal = Decimal(0)


class Demand(
    msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, tag_field="kind", tag="demand"
):
    """A price on the highest mean power over an interval of the tariff."""

    name: str
    per_kw: Decimal
    per: Literal["bill", "30 days", "year"] = "bill"
    interval_min: int = 15
    when: When = When()
    minimum_kw: Decimal = Decimal(0)
    ratchet_share: Decimal = Decimal(0)  # of the highest peak before, below which no bill falls


class Coincident(
    msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, tag_field="kind", tag="coincident"
):
    """A price on the mean power in those intervals when the whole grid had its peaks, known only afterwards."""

    name: str
    per_kw: Decimal


class Fixed(
    msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, tag_field="kind", tag="fixed"
):
    """A price for being connected."""

    name: str
    amount: Decimal
    per: Literal["bill", "30 days", "day", "year"] = "bill"


class Excess(
    msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, tag_field="kind", tag="excess"
):
    """Another price for energy that should not have been taken, instead of the energy's own.

    ``above``: what goes beyond the authorised power, or beyond the power left during a curtailment.
    """

    name: str
    per_kwh: Decimal
    above: Literal["authorised", "curtailment"]
    curtailed_share: Decimal = Decimal(
        0
    )  # of the peak of the last 12 months that may be taken while curtailed


class Bracket(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A tax per kWh for those who pay less than this for energy; the last has no bound."""

    below_per_kwh: Decimal | None = None
    per_kwh: Decimal


class ByPrice(
    msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, tag_field="kind", tag="by price"
):
    """A tax per kWh that depends on the mean price paid for energy, and on circumstances of which the dearest holds."""

    name: str
    on: tuple[str, ...]  # components whose amounts make the price
    brackets: tuple[Bracket, ...]
    circumstances: dict[str, Decimal] = {}  # "own power" → per kWh
    instead: dict[str, Decimal] = {}  # circumstances that take the place of the brackets


class AccountSurcharge(
    msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, tag_field="kind", tag="account"
):
    """A surcharge on all energy of an account from a day on; a bill that began before pays by mean days."""

    name: str
    per_kwh: Decimal


class Percent(
    msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, tag_field="kind", tag="percent"
):
    """A tax in percent of other components."""

    name: str
    percent: Decimal
    on: tuple[str, ...] = ()  # empty: all before it


class FeedIn(
    msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, tag_field="kind", tag="feed-in"
):
    """What is paid for energy fed in: a price, or the market's less a fee; nothing below a market price of zero if so said."""

    name: str
    per_kwh: Decimal | None = None  # None: the market's
    fee_per_mwh: Decimal = Decimal(0)
    not_below_zero: bool = False


Component = (
    Energy | Market | Demand | Coincident | Fixed | Excess | ByPrice | AccountSurcharge | Percent | FeedIn
)


class Tariff(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A contract's prices, valid for some dates."""

    name: str
    currency: str
    zone: str
    source: str
    valid_from: date
    components: tuple[Component, ...]
    valid_to: date | None = None  # the first day it no longer holds
    holidays: tuple[date, ...] = ()
    note: str = ""

    def not_valid_words(self, day: date) -> str:
        """Say that the tariff does not hold on a local day; empty: it does."""
        if self.valid_from <= day and (self.valid_to is None or day < self.valid_to):
            return ""
        until = f"before {self.valid_to}" if self.valid_to else "on"
        return f"the tariff {self.name} holds from {self.valid_from} {until}, not on {day}"

    @property
    def circumstances(self) -> frozenset[str]:
        """What a tax of this tariff may ask for."""
        taxes = [one for one in self.components if isinstance(one, ByPrice)]
        return frozenset(name for tax in taxes for name in (*tax.circumstances, *tax.instead))

    def holiday_mask(self, wall: WallClock) -> BoolArray:
        """Say which moments lie on a holiday of this tariff."""
        days = [(day - date(1970, 1, 1)).days for day in self.holidays]
        return np.isin(wall.day, days)

    @property
    def needs_market(self) -> bool:
        """Whether a market's prices are needed to know what energy costs."""
        return any(
            isinstance(one, Market) or (isinstance(one, FeedIn) and one.per_kwh is None)
            for one in self.components
        )


def read_tariff(text: str, name: str) -> Tariff:
    """Return the tariff of a TOML text, checked.

    Raises:
        TariffError: If it cannot be read, or leaves an hour without a price, or gives it two.
    """
    try:
        tariff = msgspec.convert(tomllib.loads(text, parse_float=Decimal), type=Tariff)
    except (tomllib.TOMLDecodeError, msgspec.ValidationError) as error:
        raise TariffError(f"the tariff {name} cannot be read: {error}") from error
    check_tariff(tariff)
    return tariff


def load_tariff(name: str) -> Tariff:
    """Return a tariff of a file, or one that comes with Hashwerk (`shipped_tariffs`) by its name.

    Raises:
        TariffError: If there is none, or it cannot be used.
    """
    if name in shipped_tariffs():
        resource = importlib.resources.files("hashwerk.energy") / "tariffs" / f"{name}.toml"
        return read_tariff(resource.read_text(encoding="utf-8"), name)
    try:
        text = Path(name).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise TariffError(
            f"no tariff {name}: {error}; shipped ones are {', '.join(shipped_tariffs())}"
        ) from error
    return read_tariff(text, name)


def shipped_tariffs() -> tuple[str, ...]:
    """Return the names of the tariffs that come with Hashwerk."""
    folder = importlib.resources.files("hashwerk.energy") / "tariffs"
    return tuple(
        sorted(one.name.removesuffix(".toml") for one in folder.iterdir() if one.name.endswith(".toml"))
    )


def check_tariff(tariff: Tariff) -> None:
    """Check that names are unique and known, and that every local hour of a year has one price and only one.

    Raises:
        TariffError: If not; the message names the hour.
    """
    zone_of(tariff.zone)
    names = [one.name for one in tariff.components]
    if len(set(names)) < len(names):
        raise TariffError(f"the tariff {tariff.name} has two components of one name: {', '.join(names)}")
    for component in tariff.components:
        if isinstance(component, Percent | ByPrice):
            for name in component.on:
                if name not in names:
                    raise TariffError(
                        f"the tariff {tariff.name}: {component.name} is on {name!r}, which it has not"
                    )
        if isinstance(component, Energy):
            _check_energy(tariff, component)
        if isinstance(component, Demand) and (component.interval_min < 1 or 60 % component.interval_min):
            raise TariffError(
                f"the tariff {tariff.name}: {component.interval_min} min is no interval of a demand charge"
            )


def _check_energy(tariff: Tariff, component: Energy) -> None:
    wall, holidays = _every_moment(with_holidays=bool(tariff.holidays))
    count = np.zeros(wall.minute.shape, dtype=np.int64)
    for when, rates in rates_by_time(component).items():
        _check_blocks(tariff, rates)
        count += when.matches(wall, holidays)
    wrong = np.flatnonzero(count != 1)
    if len(wrong):
        first = int(wrong[0])
        at = f"{int(wall.minute[first]) // 60:02d}:{int(wall.minute[first]) % 60:02d}"
        says = "says nothing about" if count[first] == 0 else f"has {int(count[first])} prices for"
        raise TariffError(
            f"the tariff {tariff.name} {says} {at} on a {_WEEKDAYS[int(wall.weekday[first])]}"
            f"{' that is a holiday' if holidays[first] else ''} in month {int(wall.month[first])}"
            f" ({component.name}, {tariff.zone})"
        )


def _check_blocks(tariff: Tariff, rates: tuple[Rate, ...]) -> None:
    at = Decimal(0)
    for number, rate in enumerate(rates):
        is_last = number == len(rates) - 1
        if rate.above_kwh != at or (rate.up_to_kwh is None) is not is_last:
            raise TariffError(
                f"the tariff {tariff.name}: the blocks of {rate.name!r} leave a gap, overlap or have no end"
            )
        at = rate.up_to_kwh or at


def rates_by_time(component: Energy) -> dict[When, tuple[Rate, ...]]:
    """Return the rates that hold at the same times, blocks in their order."""
    groups: dict[When, list[Rate]] = {}
    for rate in component.rates:
        groups.setdefault(rate.when, []).append(rate)
    return {when: tuple(sorted(rates, key=lambda rate: rate.above_kwh)) for when, rates in groups.items()}


def _every_moment(*, with_holidays: bool) -> tuple[WallClock, BoolArray]:
    """Return every local moment of a year that a tariff can tell apart."""
    shape = np.meshgrid(
        np.arange(1, 13),
        np.arange(7),
        np.arange(0, _DAY_MIN, _STEP_MIN),
        np.arange(2 if with_holidays else 1),
        indexing="ij",
    )
    month, weekday, minute, holiday = (axis.ravel().astype(np.int64) for axis in shape)
    return WallClock(month, weekday, minute, np.zeros_like(month)), holiday.astype(np.bool_)


def _in_span(span: str, minute: npt.NDArray[np.int64]) -> BoolArray:
    begin, dash, end = (part.strip() for part in span.partition("-"))
    first, last = _minute_of(begin, span), _minute_of(end, span)
    if not dash or first % _STEP_MIN or last % _STEP_MIN or first == last:
        raise TariffError(f"not a span of hours in steps of {_STEP_MIN} minutes: {span!r}")
    if first < last:
        return np.logical_and(minute >= first, minute < last)
    return np.logical_or(minute >= first, minute < last)


def _minute_of(text: str, span: str) -> int:
    hour, colon, minute = text.partition(":")
    if not (colon and hour.isdigit() and minute.isdigit()):
        raise TariffError(f"not a span of hours like 07:00-10:00: {span!r}")
    found = int(hour) * 60 + int(minute)
    if found > _DAY_MIN or int(minute) > 59:
        raise TariffError(f"no such time of day in {span!r}")
    return found
