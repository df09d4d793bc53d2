"""What the rules mean for a site: may it run in this hour, at what extra cost, with what duties, under which reading."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from typing import Final
from zoneinfo import ZoneInfo

import msgspec

from hashwerk.policy.answer import Answer, CapFound, Cost, Outlook, Reason, SiteFacts
from hashwerk.policy.rule import (
    Binds,
    Cap,
    Consequence,
    Duty,
    Effect,
    Forbid,
    Hours,
    PolicyError,
    Price,
    Rule,
    Tariff,
    Tax,
    check_rule,
)

_WEEKDAYS: Final = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
_YEAR_S: Final = 365.25 * 86_400


class RuleBook:
    """All rules. Immutable after it is made.

    Args:
        rules: The records.
        readings: Which reading to take, by the rule's id; the first declared one where none is named.

    Raises:
        PolicyError: If a record cannot be used, or a reading is named that it has not.
    """

    def __init__(self, rules: Iterable[Rule], readings: Mapping[str, str] | None = None) -> None:
        self.rules = tuple(rules)
        ids = [rule.id for rule in self.rules]
        if len(set(ids)) < len(ids):
            raise PolicyError("two rules have the same id")
        for rule in self.rules:
            check_rule(rule)
        by_id = {rule.id: rule for rule in self.rules}
        for rule_id, reading in (readings or {}).items():
            if rule_id not in by_id or reading not in by_id[rule_id].readings:
                raise PolicyError(f"rule {rule_id!r} has no reading {reading!r}")
        self._readings = {rule.id: rule.readings[0] for rule in self.rules if rule.readings} | dict(
            readings or {}
        )
        # From when and until when, Unix seconds; a rule without a beginning is not in force, ever.
        self._spans = {
            rule.id: (
                math.inf if (start := rule.effective_s()) is None else start,
                math.inf if (stop := rule.until_s()) is None else stop,
            )
            for rule in self.rules
        }

    def answer(self, site: SiteFacts, at_s: float) -> Answer:
        """Return what holds for a site at a moment, by the rules in force then."""
        in_force, unknown = self._in_force(site, at_s)
        answer = self._evaluate(site, at_s, in_force, self._readings, unknown)
        otherwise = []
        for rule in in_force:
            for reading in rule.readings:
                if reading == self._readings[rule.id]:
                    continue
                other = self._evaluate(site, at_s, in_force, {**self._readings, rule.id: reading}, unknown)
                difference = _difference(answer, other)
                if difference:
                    otherwise.append(f"{rule.title}, read as {reading!r}: {difference}")
        return msgspec.structs.replace(answer, otherwise=tuple(otherwise))

    def may_run(self, site: SiteFacts, times_s: Iterable[float]) -> list[bool]:
        """Return for each moment whether the site may run: what a plan takes as a hard limit."""
        limits = [
            (self._spans[rule.id], rule, effect)
            for rule in self.rules
            if self._concerns(rule, site) and _binds(rule.binds, site)
            for effect in rule.effects_under(self._readings.get(rule.id))
            if isinstance(effect, Forbid | Hours)
        ]
        return [
            not any(
                start <= at_s < stop and self._forbids(rule, effect, at_s)
                for (start, stop), rule, effect in limits
            )
            for at_s in times_s
        ]

    def outlook(self, places: tuple[str, ...], at_s: float, since_s: float) -> Outlook:
        """Return what was announced and how often rules changed in some places, known at ``at_s``, observed since ``since_s``.

        Raises:
            ValueError: If nothing was observed.
        """
        if at_s <= since_s:
            raise ValueError("a rate of change needs a time of observation")
        here = [rule for rule in self.rules if set(rule.places) & set(places) and rule.announced_s() <= at_s]
        pending, changes = [], 0
        for rule in here:
            effective = rule.effective_s()
            if effective is None or effective > at_s:
                pending.append(f"{rule.title} ({rule.id})")
            elif effective >= since_s:
                changes += 1
        years = (at_s - since_s) / _YEAR_S
        return Outlook(
            pending=tuple(pending),
            changes=changes,
            observed_years=years,
            changes_per_year=(changes + 0.5) / years,
        )

    def _in_force(self, site: SiteFacts, at_s: float) -> tuple[list[Rule], tuple[str, ...]]:
        found, unknown = [], []
        for rule in self.rules:
            start, stop = self._spans[rule.id]
            if not (start <= at_s < stop and self._concerns(rule, site)):
                continue
            binds = _binds(rule.binds, site)
            if binds is None:
                unknown.append(
                    f"{rule.title}: whether it binds depends on {_what_is_missing(rule.binds, site)}"
                )
            elif binds:
                found.append(rule)
        return found, tuple(unknown)

    def _concerns(self, rule: Rule, site: SiteFacts) -> bool:
        return not set(rule.places).isdisjoint(site.places)

    def _evaluate(
        self,
        site: SiteFacts,
        at_s: float,
        in_force: list[Rule],
        readings: Mapping[str, str],
        unknown: tuple[str, ...],
    ) -> Answer:
        reasons, costs, caps, duties, tariffs = [], [], [], [], []
        may_run = True
        for rule in in_force:
            for effect in rule.effects_under(readings.get(rule.id)):
                if self._forbids(rule, effect, at_s):
                    may_run = False
                    words = "allows other hours only" if isinstance(effect, Hours) else "forbids to run"
                    reasons.append(_reason(rule, f"{rule.title} {words}"))
                match effect:
                    case Price():
                        costs.append(
                            Cost(
                                rule=rule.id,
                                per_kwh=effect.per_kwh,
                                currency=effect.currency,
                                reason=rule.title,
                            )
                        )
                    case Tax():
                        costs.append(_tax(rule, effect, site))
                    case Cap():
                        caps.append(
                            CapFound(
                                rule=rule.id,
                                power_kw=effect.power_kw,
                                share_of_peak=effect.share_of_peak,
                                on_call=effect.on_call,
                            )
                        )
                    case Duty():
                        duties.append(_reason(rule, effect.text))
                    case Consequence():
                        reasons.append(_reason(rule, effect.text))
                    case Tariff():
                        tariffs.append(effect.name)
                    case _:
                        pass
        used = {rule.id: readings[rule.id] for rule in in_force if rule.readings}
        return Answer(
            at_s=at_s,
            may_run=may_run,
            reasons=tuple(reasons),
            costs=tuple(costs),
            caps=tuple(caps),
            duties=tuple(duties),
            tariffs=tuple(tariffs),
            readings=used,
            otherwise=(),
            unknown=unknown,
        )

    def _forbids(self, rule: Rule, effect: Effect, at_s: float) -> bool:
        if isinstance(effect, Forbid):
            return True
        if not isinstance(effect, Hours):
            return False
        local = datetime.fromtimestamp(at_s, UTC).astimezone(ZoneInfo(rule.zone))
        day = _WEEKDAYS[local.weekday()]
        return not any(
            day in span.days and span.from_hour <= local.hour < span.to_hour for span in effect.spans
        )


def _binds(binds: Binds, site: SiteFacts) -> bool | None:
    """Say whether a rule binds a site; None: it depends on a fact that is not given."""
    parts = [
        binds.min_power_kw is None or site.power_kw >= binds.min_power_kw,
        binds.max_power_kw is None or site.power_kw < binds.max_power_kw,
        True
        if binds.new_since is None
        else None
        if site.connected is None
        else site.connected >= binds.new_since,
        True if not binds.fuels else None if not site.fuels else bool(site.fuels & set(binds.fuels)),
        True
        if not binds.connections
        else None
        if site.connection is None
        else site.connection in binds.connections,
    ]
    if False in parts:
        return False
    return None if None in parts else True


def _what_is_missing(binds: Binds, site: SiteFacts) -> str:
    missing = [
        *(["when the site was connected"] if binds.new_since is not None and site.connected is None else []),
        *(["what its power is made of"] if binds.fuels and not site.fuels else []),
        *(["how it is connected"] if binds.connections and site.connection is None else []),
    ]
    return " and ".join(missing)


def _tax(rule: Rule, effect: Tax, site: SiteFacts) -> Cost:
    """The tax per kWh: of all reasons that apply the highest; without a price paid the highest bracket, and it says so."""
    reasons = [(effect.besides[name], name) for name in sorted(site.circumstances & effect.besides.keys())]
    instead = [(effect.instead[name], name) for name in sorted(site.circumstances & effect.instead.keys())]
    if instead:
        reasons += instead
    elif len(effect.brackets) == 1:
        reasons.append((effect.brackets[0].per_kwh, "flat"))
    elif site.price_paid_per_kwh is None:
        reasons.append(
            (max(bracket.per_kwh for bracket in effect.brackets), "at most: the price paid is not known")
        )
    else:
        paid = site.price_paid_per_kwh
        fitting = next(b for b in effect.brackets if b.below_per_kwh is None or paid < b.below_per_kwh)
        reasons.append((fitting.per_kwh, f"{paid} {effect.currency}/kWh paid"))
    per_kwh, reason = max(reasons, key=lambda one: one[0])
    return Cost(rule=rule.id, per_kwh=per_kwh, currency=effect.currency, reason=f"{rule.title}: {reason}")


def _reason(rule: Rule, text: str) -> Reason:
    return Reason(rule=rule.id, text=text, confidence=rule.confidence)


def _difference(one: Answer, other: Answer) -> str:
    parts = []
    if one.may_run != other.may_run:
        parts.append("it may run" if other.may_run else "it may not run")
    if one.costs != other.costs:
        parts.append(", ".join(f"{cost.per_kwh} {cost.currency}/kWh" for cost in other.costs) or "no cost")
    if one.caps != other.caps:
        parts.append("another bound on power")
    return " and ".join(parts)
