"""Each hour's energy by source, with the rule that was declared before it and the emission factors it was counted with.

A rule holds from a full hour on until another one is declared. What an hour was attributed by stays with it for good.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from decimal import Decimal
from typing import Final

import msgspec

from hashwerk.energy.factors import FactorSet, Fuel
from hashwerk.energy.scores import HOUR_S, MatchedHour, emissions
from hashwerk.energy.sources import Attributed, Attribution, AttributionError, Declaration, Flows, Source
from hashwerk.energy.sources import SourceKind as Kind
from hashwerk.errors import ConfigError

_PPM: Final = 1_000_000


class StandingRule(msgspec.Struct, frozen=True, kw_only=True):
    """A rule of attribution with all it depends on. It holds from `start_s` until the next one begins."""

    start_s: int
    declared_s: int
    rule: str  # a key of `sources.RULES`
    order: tuple[str, ...] = ()
    sources: tuple[Source, ...] = ()
    factors: FactorSet  # as they were, whatever a later version calls by the same name

    def __post_init__(self) -> None:
        if self.start_s % HOUR_S:
            raise AttributionError(f"a rule holds from a full hour on, and not from {self.start_s}")
        self.declaration(self.start_s)

    def declaration(self, hour_s: int) -> Declaration:
        """Return the rule as it is declared for one hour.

        Raises:
            AttributionError: If it was declared later than the hour began.
        """
        return Declaration(
            rule=self.rule,
            start_s=hour_s,
            stop_s=hour_s + HOUR_S,
            declared_s=self.declared_s,
            order=self.order,
        )

    def says_the_same(self, other: StandingRule) -> bool:
        """Say whether two rules differ in nothing but their times."""
        return msgspec.structs.replace(other, start_s=self.start_s, declared_s=self.declared_s) == self


class GridHour(msgspec.Struct, frozen=True, kw_only=True):
    """What the grid was in an hour, as far as somebody told it."""

    g_per_kwh: Decimal | None = None
    residual_g_per_kwh: Decimal | None = None  # None: as the grid itself
    clean_ppm: int | None = None
    source: str = "not told"


class EnergyHour(msgspec.Struct, frozen=True, kw_only=True):
    """One hour's energy by source, in Wh; emissions in mg of CO2e, None where a factor is not known."""

    start_s: int
    covered_s: int  # of which power was known; energy of the rest is not in it
    is_metered: bool  # imports were counted by registers; else they are integrated power
    load_wh: int
    by_source: dict[str, int]
    surplus_wh: dict[str, int] = {}
    clean_wh: int
    rule: str
    rule_start_s: int
    declared_s: int
    factors: str  # name, vintage and scope
    grid: GridHour = GridHour()
    location_mg: int | None = None  # imports, at the grid's own intensity
    market_mg: int | None = None  # imports, contracts first and the rest at the residual mix
    own_mg: int | None = None
    remark: str = ""  # why emissions are not known

    def matched(self) -> MatchedHour:
        """Return the hour as scores are made of."""
        return MatchedHour(
            start_s=self.start_s,
            load_wh=self.load_wh,
            clean_wh=self.clean_wh,
            grid_clean_ppm=self.grid.clean_ppm,
        )


def rule_at(rules: Sequence[StandingRule], time_s: float) -> StandingRule | None:
    """Return the rule that holds at a moment; None before the first."""
    held = [one for one in rules if one.start_s <= time_s]
    return max(held, key=lambda one: one.start_s, default=None)


def attribute_hour(
    rule: StandingRule, flows: Sequence[Flows], grid: GridHour, *, is_metered: bool
) -> EnergyHour:
    """Return whose energy an hour was.

    Args:
        rule: That holds in the hour.
        flows: What meters showed over intervals of the hour, in order; what was not measured is left out.
        grid: What the grid was.
        is_metered: Whether imports were counted by registers.

    Raises:
        AttributionError: If there is no interval, one lies outside the hour, or one names a source unknown to the rule.
    """
    if not flows:
        raise AttributionError("an hour without an interval that was measured has no energy to attribute")
    hour_s = flows[0].start_s // HOUR_S * HOUR_S
    attribution = Attribution(rule.declaration(hour_s), rule.sources)
    done = [attribution.attribute(one) for one in flows]
    hour = EnergyHour(
        start_s=hour_s,
        covered_s=sum(one.stop_s - one.start_s for one in flows),
        is_metered=is_metered,
        load_wh=sum(one.load_wh for one in done),
        by_source=_sum([one.by_source for one in done]),
        surplus_wh=_sum([one.surplus_wh for one in done]),
        clean_wh=sum(one.clean_wh(attribution.fuels) for one in done),
        rule=rule.rule,
        rule_start_s=rule.start_s,
        declared_s=rule.declared_s,
        factors=rule.factors.label,
        grid=grid,
    )
    return _with_emissions(hour, rule, done, attribution.fuels)


def _with_emissions(
    hour: EnergyHour, rule: StandingRule, done: Sequence[Attributed], fuels: Mapping[str, Fuel]
) -> EnergyHour:
    """Return the hour with what it emitted, or why that is not known: a factor is never guessed."""
    grid = hour.grid
    if grid.g_per_kwh is None:
        return msgspec.structs.replace(hour, remark="nobody told the grid's intensity")
    residual = grid.g_per_kwh if grid.residual_g_per_kwh is None else grid.residual_g_per_kwh
    try:
        found = emissions(
            done,
            fuels,
            frozenset(source.name for source in rule.sources if source.kind is Kind.CONTRACT),
            factors=rule.factors,
            grid_g_per_kwh={one.start_s: grid.g_per_kwh for one in done},
            residual_g_per_kwh={one.start_s: residual for one in done},
        )
    except ConfigError as error:
        return msgspec.structs.replace(hour, remark=str(error))
    return msgspec.structs.replace(
        hour, location_mg=found.location_mg, market_mg=found.market_mg, own_mg=found.own_mg
    )


def _sum(parts: Sequence[Mapping[str, int]]) -> dict[str, int]:
    names = dict.fromkeys(name for part in parts for name in part)
    return {name: sum(part.get(name, 0) for part in parts) for name in names}


def clean_ppm(share: float | None) -> int | None:
    """Return a part of the whole in ppm; None: not told."""
    return None if share is None else round(min(max(share, 0.0), 1.0) * _PPM)
