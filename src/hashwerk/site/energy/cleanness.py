"""How clean the hours of a month were, and by which rules they were attributed, as pages and API are told."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import Final

from hashwerk.energy.hours import EnergyHour, StandingRule, rule_at
from hashwerk.energy.scores import HOUR_S, cfe_score, matching_score
from hashwerk.energy.sources import RULES
from hashwerk.site.energy.view import CleanView, HourView, RuleView

_HOURS_SHOWN: Final = 48


def clean_view(
    rules: Sequence[StandingRule], hours: Sequence[EnergyHour], begin_s: float, now: float
) -> CleanView | None:
    """Return how clean the hours were, that are over since a moment; None where no rule was declared."""
    if not rules:
        return None
    matched = [hour.matched() for hour in hours]
    matching, carbon_free = matching_score(matched), cfe_score(matched)
    holds = rule_at(rules, now) or rules[0]
    since_s = max(begin_s, float(rules[0].start_s))
    shown = [one for one in rule_views(rules) if one.until_s is None or one.until_s > since_s]
    return CleanView(
        since_s=since_s,
        until_s=float(hours[-1].start_s + HOUR_S) if hours else since_s,
        rule=holds.rule,
        is_declared_before=all(hour.declared_s <= hour.start_s for hour in hours),
        hourly_matched=None if matching is None else float(matching),
        carbon_free=None if carbon_free is None else float(carbon_free),
        g_per_kwh=intensity_g_per_kwh(hours),
        rules=tuple(shown),
        hours=tuple(_hour_view(hour) for hour in hours[: -_HOURS_SHOWN - 1 : -1]),
    )


def rule_views(rules: Sequence[StandingRule]) -> tuple[RuleView, ...]:
    """Return rules in words, the oldest first; each holds until the next one."""
    stops = [float(after.start_s) for _, after in pairwise(rules)]
    return tuple(
        RuleView(
            rule=one.rule,
            words=RULES[one.rule],
            order=one.order,
            sources=tuple(
                f"{source.name} ({source.kind.value}, {source.fuel.value})" for source in one.sources
            ),
            factors=one.factors.label,
            factors_source=one.factors.source,
            declared_s=float(one.declared_s),
            since_s=float(one.start_s),
            until_s=stop_s,
        )
        for one, stop_s in zip(rules, [*stops, None], strict=False)
    )


def intensity_g_per_kwh(hours: Sequence[EnergyHour]) -> float | None:
    """Return the mean intensity of hours by location, own plants included; None where one of them is not known."""
    load_wh, total_mg = sum(hour.load_wh for hour in hours), 0
    for hour in hours:
        if hour.location_mg is None or hour.own_mg is None:
            return None
        total_mg += hour.location_mg + hour.own_mg
    return total_mg / load_wh if load_wh else None


def _hour_view(hour: EnergyHour) -> HourView:
    return HourView(
        start_s=float(hour.start_s),
        covered_s=float(hour.covered_s),
        load_wh=hour.load_wh,
        by_source=hour.by_source,
        rule=hour.rule,
        g_per_kwh=intensity_g_per_kwh([hour]),
        remark=hour.remark,
    )
