"""What rules ask of a site, and what they answer."""

from __future__ import annotations

import math
from collections.abc import Mapping
from datetime import date
from decimal import Decimal

import msgspec

from hashwerk.policy.rule import Confidence


class SiteFacts(msgspec.Struct, frozen=True, kw_only=True):
    """What rules ask about a site. None is unknown: who may be bound and does not know it is told so."""

    places: tuple[str, ...]  # ("KZ",), ("CN", "CN-SC"); a rule holds if it names one of them
    power_kw: Decimal
    connected: date | None = None  # or last expanded
    fuels: frozenset[str] = frozenset()  # what its power is made of, own plants and contracts
    connection: str | None = None
    circumstances: frozenset[str] = frozenset()  # "own power", "no meter"
    price_paid_per_kwh: Decimal | None = None


class Cost(msgspec.Struct, frozen=True, kw_only=True):
    """An addition to every kWh, and which rule asks for it. ``highest`` bounds it where the price paid is not known."""

    rule: str
    per_kwh: Decimal
    currency: str
    reason: str


class CapFound(msgspec.Struct, frozen=True, kw_only=True):
    """A bound on power."""

    rule: str
    power_kw: Decimal | None
    share_of_peak: Decimal | None
    on_call: bool


class Reason(msgspec.Struct, frozen=True, kw_only=True):
    """A rule and what it says here, in one sentence."""

    rule: str
    text: str
    confidence: Confidence


class Answer(msgspec.Struct, frozen=True, kw_only=True):
    """What holds for a site at a moment."""

    at_s: float
    may_run: bool
    reasons: tuple[Reason, ...]  # why not, or under which condition
    costs: tuple[Cost, ...]
    caps: tuple[CapFound, ...]
    duties: tuple[Reason, ...]
    tariffs: tuple[str, ...]
    readings: Mapping[str, str]  # of each ambiguous rule that holds, the one used
    otherwise: tuple[str, ...]  # what other readings would change, in words
    unknown: tuple[str, ...]  # facts about the site that decide whether a rule binds, and are not given

    def extra_per_kwh(self, currency: str) -> Decimal:
        """Return the sum of the costs of one currency."""
        return sum((cost.per_kwh for cost in self.costs if cost.currency == currency), Decimal(0))


class Outlook(msgspec.Struct, frozen=True, kw_only=True):
    """What is coming, as it could be known at a moment."""

    pending: tuple[str, ...]  # rules announced and not in force
    changes: int  # rules that came into force there so far
    observed_years: float
    changes_per_year: float  # (changes + ½) / years: Jeffreys' estimate of a Poisson rate

    def chance_of_change(self, years: float) -> float:
        """Return the probability of one change or more within so many years, at this rate."""
        return -math.expm1(-self.changes_per_year * years)
