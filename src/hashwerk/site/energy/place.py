"""The rules of the place as a plan takes them: spans in which the site may not run, and what people should know."""

from __future__ import annotations

from decimal import Decimal
from pathlib import Path
from typing import Final

from hashwerk.energy.settings import EnergySettings
from hashwerk.policy.engine import RuleBook
from hashwerk.policy.records import load_rules, shipped_rules
from hashwerk.policy.settings import PlaceSettings

_STEP_S: Final = 900


class Place:
    """The rules that bind a site; without a jurisdiction there are none.

    Raises:
        PolicyError: If the rules cannot be used.
    """

    def __init__(self, place: PlaceSettings, energy: EnergySettings) -> None:
        self._settings = place
        self._fuels = frozenset(source.fuel for source in energy.sources)
        self._price = energy.tariff.price_paid_per_kwh
        self._book: RuleBook | None = None
        if place.jurisdictions:
            own = load_rules(Path(place.rules)) if place.rules is not None else ()
            self._book = RuleBook([*shipped_rules(), *own], place.readings)

    def forbidden(self, start_s: float, stop_s: float, power_w: float) -> tuple[tuple[float, float], ...]:
        """Return the spans in which the site may not run."""
        if self._book is None:
            return ()
        first = int(start_s) // _STEP_S * _STEP_S
        times = list(range(first, int(stop_s) + 1, _STEP_S))
        facts = self._settings.facts(Decimal(round(power_w / 1e3)), self._fuels, self._price)
        may = self._book.may_run(facts, times)
        return tuple(
            (float(at), float(at + _STEP_S)) for at, allowed in zip(times, may, strict=True) if not allowed
        )

    def remarks(self, now: float, power_w: float) -> tuple[str, ...]:
        """Return why the site may not run now, and which facts about it are missing."""
        if self._book is None:
            return ()
        facts = self._settings.facts(Decimal(round(power_w / 1e3)), self._fuels, self._price)
        answer = self._book.answer(facts, now)
        reasons = [] if answer.may_run else [f"rule of the place: {reason.text}" for reason in answer.reasons]
        return (*reasons, *(f"not known, and a rule depends on it: {text}" for text in answer.unknown))
