"""How clean a load was: matching by the hour, carbon-free energy, and emissions told in both ways of scope 2.

Surplus in one hour never serves another. Every figure is exact: fractions, and emissions in whole milligrams rounded half to
even once, at the end.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from decimal import Decimal
from fractions import Fraction

import msgspec

from hashwerk.energy.factors import FactorSet, Fuel
from hashwerk.energy.sources import GRID, Attributed

HOUR_S = 3_600


class MatchedHour(msgspec.Struct, frozen=True, kw_only=True):
    """Load and clean energy of one hour, in Wh; the grid's clean part in ppm, None where it is not known."""

    start_s: int
    load_wh: int
    clean_wh: int
    grid_clean_ppm: int | None = None


class ClockHours(msgspec.Struct, frozen=True, kw_only=True):
    """What a score rests on."""

    hours: tuple[MatchedHour, ...]
    longest_s: int  # of the intervals it was made from

    @property
    def is_hourly(self) -> bool:
        """Whether intervals were short enough to speak of hourly matching at all."""
        return self.longest_s <= HOUR_S


def by_hour(
    attributed: Sequence[Attributed],
    fuels: Mapping[str, Fuel],
    grid_clean_ppm: Mapping[int, int] | None = None,
) -> ClockHours:
    """Return load and clean energy per UTC hour, of intervals that lie within one hour each.

    Args:
        attributed: Intervals with their sources.
        fuels: Of each source.
        grid_clean_ppm: The grid's carbon-free part by the beginning of the hour.

    Raises:
        ValueError: If an interval reaches over the end of an hour: its energy cannot be put into hours honestly.
    """
    load: dict[int, int] = {}
    clean: dict[int, int] = {}
    for one in attributed:
        hour = one.start_s // HOUR_S * HOUR_S
        if one.stop_s > hour + HOUR_S:
            raise ValueError(f"the interval from {one.start_s} to {one.stop_s} lies in more than one hour")
        load[hour] = load.get(hour, 0) + one.load_wh
        clean[hour] = clean.get(hour, 0) + one.clean_wh(fuels)
    grid = grid_clean_ppm or {}
    hours = tuple(
        MatchedHour(start_s=hour, load_wh=load[hour], clean_wh=clean[hour], grid_clean_ppm=grid.get(hour))
        for hour in sorted(load)
    )
    longest = max((one.stop_s - one.start_s for one in attributed), default=0)
    return ClockHours(hours=hours, longest_s=longest)


def matching_score(hours: Sequence[MatchedHour]) -> Fraction | None:
    """Return Σ min(L, C) / Σ L over the hours; None where there was no load."""
    load = sum(hour.load_wh for hour in hours)
    matched = sum(min(hour.load_wh, hour.clean_wh) for hour in hours)
    return Fraction(matched, load) if load else None


def cfe_score(hours: Sequence[MatchedHour]) -> Fraction | None:
    """Return Σ [min(L, C) + max(L − C, 0) · grid clean part] / Σ L; None without load.

    An hour whose grid mix is not known adds nothing for the grid.
    """
    load = sum(hour.load_wh for hour in hours)
    if not load:
        return None
    clean = sum(
        (
            min(hour.load_wh, hour.clean_wh)
            + Fraction(max(hour.load_wh - hour.clean_wh, 0) * (hour.grid_clean_ppm or 0), 1_000_000)
            for hour in hours
        ),
        Fraction(0),
    )
    return clean / load


class Emissions(msgspec.Struct, frozen=True, kw_only=True):
    """Scope 2 told twice, and own plants beside it (scope 1, or life cycle by the set's scope). Milligrams of CO2e."""

    location_mg: int  # all imports at the grid's own intensity
    market_mg: int  # contracts at theirs, the rest at the residual mix
    own_mg: int
    factors: str

    @property
    def location_t(self) -> Decimal:
        """Location-based emissions in tonnes."""
        return Decimal(self.location_mg).scaleb(-9)

    @property
    def market_t(self) -> Decimal:
        """Market-based emissions in tonnes."""
        return Decimal(self.market_mg).scaleb(-9)


def emissions(
    attributed: Sequence[Attributed],
    fuels: Mapping[str, Fuel],
    contracts: frozenset[str],
    *,
    factors: FactorSet,
    grid_g_per_kwh: Mapping[int, Decimal],
    residual_g_per_kwh: Mapping[int, Decimal],
) -> Emissions:
    """Return the emissions of a load.

    Args:
        attributed: Intervals with their sources.
        fuels: Of each source.
        contracts: Which sources are contracts: brought by the grid, so they count as imports by location.
        factors: The set that own plants and contracts are counted with.
        grid_g_per_kwh: The grid's intensity by the beginning of each interval.
        residual_g_per_kwh: Of what is left when all instruments are taken out; it is not cleaner than the grid.

    Raises:
        KeyError: If an interval's intensity is missing: it is not guessed.
        ConfigError: If a fuel has no factor in the set.
    """
    location = market = own = Fraction(0)
    for one in attributed:
        for name, wh in one.by_source.items():
            if name == GRID:
                location += wh * Fraction(grid_g_per_kwh[one.start_s])
                market += wh * Fraction(residual_g_per_kwh[one.start_s])
            elif name in contracts:
                location += wh * Fraction(grid_g_per_kwh[one.start_s])
                market += wh * Fraction(factors.factor(fuels[name]))
            else:
                own += wh * Fraction(factors.factor(fuels[name]))
    # Wh · g/kWh is mg.
    return Emissions(
        location_mg=round(location), market_mg=round(market), own_mg=round(own), factors=factors.label
    )


class TakeOrPay(msgspec.Struct, frozen=True, kw_only=True):
    """A contract with a least quantity per period, and how a period ended."""

    name: str
    price_per_mwh: Decimal
    min_take_wh: int
    shortfall_per_mwh: Decimal
    currency: str

    def settle(self, taken_wh: int) -> tuple[Decimal, int, Decimal]:
        """Return what the taken energy costs, the shortfall in Wh, and what that costs, unrounded."""
        shortfall_wh = max(0, self.min_take_wh - taken_wh)
        return (
            self.price_per_mwh * taken_wh / 1_000_000,
            shortfall_wh,
            self.shortfall_per_mwh * shortfall_wh / 1_000_000,
        )
