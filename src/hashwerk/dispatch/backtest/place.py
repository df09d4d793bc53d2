"""Rules of the place as a backtest takes them: when the site may run, what each kWh costs more, how much power it may have.

Each is a series with the time at which it became known: the day a rule was announced, or the day it came into force if that
was sooner.
"""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path

import numpy as np

from hashwerk.dispatch.backtest.history import Published
from hashwerk.dispatch.grid import BoolArray, FloatArray, Grid
from hashwerk.policy.answer import Answer, SiteFacts
from hashwerk.policy.engine import RuleBook
from hashwerk.policy.records import load_rules, shipped_rules
from hashwerk.policy.rule import Forbid, Hours, Rule
from hashwerk.policy.settings import PlaceSettings


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class Obligations:
    """What rules ask of a site over a grid."""

    may_run: Published  # 1 where it may, 0 where it may not
    cost_per_mwh: Published  # on each imported MWh
    cap_kw: Published  # infinite where there is none
    assumptions: tuple[str, ...]


def load_obligations(
    settings: PlaceSettings, fuels: frozenset[str], power_kw: float, currency: str, grid: Grid
) -> Obligations:
    """Return the obligations of a site over a grid.

    Raises:
        PolicyError: If the rules cannot be used.
    """
    rules = [*shipped_rules(), *(load_rules(Path(settings.rules)) if settings.rules is not None else ())]
    book = RuleBook(rules, settings.readings)
    facts = settings.facts(Decimal(round(power_kw)), fuels)
    here = [rule for rule in rules if set(rule.places) & set(facts.places)]
    edges_s = _edges_s(here, grid)
    answers = [book.answer(facts, at_s) for at_s in edges_s]
    of_interval = np.searchsorted(edges_s, grid.starts_s, side="right") - 1
    per_kwh = np.array([float(answer.extra_per_kwh(currency)) for answer in answers])
    caps_kw = np.array([_cap_kw(answer) for answer in answers])
    forbidden = _forbidden(here, facts, settings, grid)
    may_run = ~np.logical_or.reduce([np.zeros(len(grid), dtype=bool), *forbidden.values()])
    known_s = _known_s(here, grid)
    return Obligations(
        may_run=Published("rules of the place", may_run.astype(np.float64), known_s),
        cost_per_mwh=Published("costs by rules of the place", per_kwh[of_interval] * 1_000, known_s),
        cap_kw=Published("caps by rules of the place", caps_kw[of_interval], known_s),
        assumptions=tuple(_words(answers, forbidden, facts, currency, grid)),
    )


def _edges_s(here: list[Rule], grid: Grid) -> list[float]:
    """Return the beginning of the grid and every moment in it at which a rule begins or ends."""
    first_s, last_s = float(grid.starts_s[0]), float(grid.ends_s[-1])
    changes_s = {at_s for rule in here for at_s in (rule.effective_s(), rule.until_s()) if at_s is not None}
    return [first_s, *sorted(at_s for at_s in changes_s if first_s < at_s < last_s)]


def _forbidden(
    here: list[Rule], facts: SiteFacts, settings: PlaceSettings, grid: Grid
) -> dict[str, BoolArray]:
    """Return the intervals in which each rule stands against running, by its title; rules that never do are left out."""
    found = {}
    for rule in here:
        if any(isinstance(effect, Forbid | Hours) for effect in rule.effects):
            reading = settings.readings.get(rule.id)
            book = RuleBook([rule], {} if reading is None else {rule.id: reading})
            against = ~np.array(book.may_run(facts, grid.starts_s.tolist()), dtype=bool)
            if against.any():
                found[rule.title] = against
    return found


def _known_s(here: list[Rule], grid: Grid) -> FloatArray:
    """Return when what holds in each interval was known: when the last rule that decides it was announced."""
    known_s = np.full(len(grid), -np.inf)
    for rule in here:
        effective_s = rule.effective_s()
        if effective_s is not None:
            known_s = np.where(grid.starts_s >= effective_s, np.maximum(known_s, rule.announced_s()), known_s)
    return np.asarray(np.minimum(known_s, grid.starts_s), dtype=np.float64)


def _cap_kw(answer: Answer) -> float:
    caps = [float(cap.power_kw) for cap in answer.caps if cap.power_kw is not None and not cap.on_call]
    return min(caps, default=np.inf)


def _words(
    answers: list[Answer], forbidden: dict[str, BoolArray], facts: SiteFacts, currency: str, grid: Grid
) -> list[str]:
    lines = [
        f"rule of the place: {title}: the site may not run in {float(grid.hours[against].sum()):,.0f} h"
        for title, against in forbidden.items()
    ]
    for cost in dict.fromkeys(cost for answer in answers for cost in answer.costs):
        counted = "" if cost.currency == currency else f"; not counted, the site reckons in {currency}"
        lines.append(f"rule of the place: {cost.per_kwh} {cost.currency}/kWh more, {cost.reason}{counted}")
    on_call = dict.fromkeys(
        cap.rule for answer in answers for cap in answer.caps if cap.on_call or cap.power_kw is None
    )
    lines += [
        f"the cap of the rule {rule} is left out: it holds on call, or as a share of a peak"
        for rule in on_call
    ]
    unknown = dict.fromkeys(text for answer in answers for text in answer.unknown)
    lines += [f"not known, and a rule depends on it: {text}" for text in unknown]
    return lines or [f"no rule of {', '.join(facts.places)} binds the site in this time"]
