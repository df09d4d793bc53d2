"""Whose energy each hour was, kept for good: rules are declared ahead, hours are closed once they are over."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from datetime import UTC, datetime
from decimal import Decimal
from typing import Final

import msgspec

from hashwerk.energy.hours import EnergyHour, GridHour, StandingRule, attribute_hour, clean_ppm, rule_at
from hashwerk.energy.scores import HOUR_S
from hashwerk.energy.series import Quality, Series
from hashwerk.energy.settings import EnergySettings
from hashwerk.energy.sources import Flows, SourceKind
from hashwerk.errors import ConfigError
from hashwerk.site.energy.accounts import given_wh, is_known, taken_wh
from hashwerk.site.energy.metered import SiteRegisters
from hashwerk.site.energy.record import QUARTER_S, EnergyRecord, Quarter

log = logging.getLogger(__name__)

#: An hour is closed so long after its end, when meters and the last quarter of an hour have been written.
_SETTLED_S: Final = 60.0


class GridTold(msgspec.Struct, frozen=True, kw_only=True):
    """What feeds tell of the grid; None: nobody does."""

    price: Series | None = None
    carbon: Series | None = None
    clean_share: Series | None = None


class Hours:
    """The rules and hours of a site. Its calls block and run on threads, one at a time."""

    def __init__(
        self, energy: EnergySettings, record: EnergyRecord, registers: SiteRegisters | None = None
    ) -> None:
        self._energy = energy
        self._record = record
        self._registers = registers
        self.rules: tuple[StandingRule, ...] = ()

    def declare(self, now: float) -> StandingRule:
        """Declare the rule of the site file, where it is a new one, from the next full hour on; return it.

        Hours that have begun keep the rule they began with.

        Raises:
            StoreError: If it cannot be kept.
        """
        known, rule = self._record.rules(), self._energy.declare(now)
        if known and known[-1].says_the_same(rule):
            rule = known[-1]
        else:
            self._record.put_rule(rule)
            since = datetime.fromtimestamp(rule.start_s, UTC).strftime("%Y-%m-%dT%H:%MZ")
            log.info("energy is attributed to sources by %s from %s on", rule.rule, since)
        self.rules = tuple(self._record.rules())
        return rule

    def open_since_s(self, now: float) -> int | None:
        """Return since when hours are to be closed; None: all are."""
        newest = self._record.newest("hours")
        first = self.rules[0].start_s if self.rules else None
        since_s = first if newest is None else newest + HOUR_S
        return since_s if since_s is not None and since_s + HOUR_S + _SETTLED_S <= now else None

    def close(self, now: float, told: GridTold) -> list[EnergyHour]:
        """Attribute the hours that are over, each by the rule that was declared before it, and keep them.

        An hour in which nothing was measured is not there.

        Raises:
            StoreError: If the record cannot be used.
        """
        since_s = self.open_since_s(now)
        if since_s is None:
            return []
        stop_s = int(now - _SETTLED_S) // HOUR_S * HOUR_S
        quarters = self._record.quarters(since_s, stop_s)
        if self._registers is not None:
            quarters = self._registers.counted(quarters)
        by_hour: dict[int, list[Quarter]] = {}
        for quarter in quarters:
            if is_known(quarter):
                by_hour.setdefault(quarter.start_s // HOUR_S * HOUR_S, []).append(quarter)
        # The last quarter of an hour is written with the first moment after it: a late one is waited for.
        last_s = stop_s - HOUR_S
        if now < stop_s + QUARTER_S and not any(q.start_s == stop_s - QUARTER_S for q in quarters):
            by_hour.pop(last_s, None)
        done = [hour for at_s in sorted(by_hour) if (hour := self._closed(at_s, by_hour[at_s], told))]
        if done:
            self._record.put_hours(done)
        return done

    def _closed(self, hour_s: int, quarters: Sequence[Quarter], told: GridTold) -> EnergyHour | None:
        rule = rule_at(self.rules, hour_s)
        if rule is None:
            return None
        try:
            return attribute_hour(
                rule,
                [_flows(quarter, rule) for quarter in quarters],
                grid_hour(self._energy, told, hour_s),
                is_metered=all(quarter.is_metered for quarter in quarters),
            )
        except ConfigError as error:
            log.error("the energy of the hour from %d on is not attributed: %s", hour_s, error)
            return None


def _flows(quarter: Quarter, rule: StandingRule) -> Flows:
    """Return what a quarter of an hour showed. Own plants count by their own meters; a contract without one for nothing."""
    names = {source.name for source in rule.sources if source.kind is SourceKind.OWN}
    own = {name: round(wh) for name, wh in quarter.sources.items() if name in names and wh > 0}
    taken, given = taken_wh(quarter), given_wh(quarter)
    return Flows(
        start_s=quarter.start_s,
        stop_s=quarter.start_s + QUARTER_S,
        load_wh=max(0, taken - given + sum(own.values())),
        own_wh=own,
        export_wh=given,
    )


def grid_hour(energy: EnergySettings, told: GridTold, hour_s: int) -> GridHour:
    """Return what the grid was in an hour: as feeds tell, else as the site file has it."""
    share, _ = _mean(told.clean_share, hour_s)
    found, source = _mean(told.carbon, hour_s)
    intensity = None if found is None else Decimal(repr(round(found, 3)))
    if intensity is None:
        try:
            intensity = energy.grid.intensity_g_per_kwh(energy.attribution.factor_set())
            source = "the site file" if intensity is not None else "not told"
        except ConfigError as error:
            source = f"not known: {error}"
    return GridHour(
        g_per_kwh=intensity,
        residual_g_per_kwh=energy.grid.residual_g_per_kwh,
        clean_ppm=clean_ppm(share),
        source=source,
    )


def _mean(series: Series | None, hour_s: int) -> tuple[float | None, str]:
    """Return the mean of a series over an hour that it knows whole, and whose it is."""
    if series is None:
        return None, ""
    values, quality = series.on([hour_s], [hour_s + HOUR_S])
    if int(quality[0]) == int(Quality.MISSING):
        return None, ""
    typical = " (a typical day, not this one)" if int(quality[0]) == int(Quality.TYPICAL) else ""
    return float(values[0]), f"{series.info.source}{typical}"
