"""A rule of a place as a dated record: whom it binds, from when, what it does, who says so, and how it can be read."""

from __future__ import annotations

import enum
from datetime import UTC, date, datetime, time
from decimal import Decimal
from typing import Literal
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

import msgspec

from hashwerk.errors import ConfigError

Weekday = Literal["mon", "tue", "wed", "thu", "fri", "sat", "sun"]


class PolicyError(ConfigError):
    """A record of a rule contradicts itself, or an answer asks for a fact about the site that is not given."""


class Confidence(enum.StrEnum):
    """How far a record can be relied on."""

    SEEN = "seen"  # in a public source
    MEMORY = "memory"  # to be checked before use
    ASSUMED = "assumed"  # fills a gap of the sources


class _Effect(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, tag_field="kind"):
    """Base of effects. With ``reading`` the effect holds under that reading of the rule only."""

    reading: str | None = None


class Forbid(_Effect, frozen=True, kw_only=True, tag="forbid"):
    """Nobody who is bound may run; what binds new sites alone is said in `Binds.new_since`."""


class Hours(_Effect, frozen=True, kw_only=True, tag="hours"):
    """Running is allowed in these local spans alone: pairs of weekdays and hours."""

    spans: tuple[Span, ...]


class Span(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Hours of some weekdays, in whole hours; until 24 is to the end of the day."""

    days: tuple[Weekday, ...]
    from_hour: int = 0
    to_hour: int = 24


class Cap(_Effect, frozen=True, kw_only=True, tag="cap"):
    """A bound on power: in kW, or as a share of the highest power of the last 12 months; on call or at all times."""

    power_kw: Decimal | None = None
    share_of_peak: Decimal | None = None
    on_call: bool = False


class Price(_Effect, frozen=True, kw_only=True, tag="price"):
    """An addition to the price of every kWh."""

    per_kwh: Decimal
    currency: str


class PaidBracket(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A tax per kWh for those who pay less than this for power; the last bracket has no bound."""

    below_per_kwh: Decimal | None = None
    per_kwh: Decimal


class Tax(_Effect, frozen=True, kw_only=True, tag="tax"):
    """A tax per kWh, flat or by the price paid; of several reasons the highest holds."""

    currency: str
    brackets: tuple[PaidBracket, ...]
    instead: dict[str, Decimal] = {}  # circumstances that take the place of the brackets
    besides: dict[str, Decimal] = {}  # circumstances that count beside them


class Tariff(_Effect, frozen=True, kw_only=True, tag="tariff"):
    """Who is bound is billed by a tariff of this name."""

    name: str


class Duty(_Effect, frozen=True, kw_only=True, tag="duty"):
    """Something to be done: report, be curtailable, disclose."""

    duty: Literal["report", "curtail", "disclose", "register", "pay"]
    text: str


class Consequence(_Effect, frozen=True, kw_only=True, tag="consequence"):
    """What follows for others or for those who do not obey; no bound on running by itself."""

    text: str


Effect = Forbid | Hours | Cap | Price | Tax | Tariff | Duty | Consequence


class Binds(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Whom a rule binds. Empty: everybody."""

    min_power_kw: Decimal | None = None
    max_power_kw: Decimal | None = None  # below this
    new_since: date | None = None  # connected or expanded on this day or later
    fuels: tuple[str, ...] = ()  # who uses one of these
    connections: tuple[str, ...] = ()  # "grid", "private line"


class Rule(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One record. Dates are local in ``zone``; a date begins at midnight, and ``until`` is the first moment without the rule."""

    id: str
    places: tuple[str, ...]  # ISO 3166 codes, with "/district" where a rule is narrower
    title: str
    zone: str
    announced: date
    effects: tuple[Effect, ...]
    source: str
    confidence: Confidence
    effective: date | None = None  # None: announced and not in force
    effective_time: time = time()  # of that day
    until: date | None = None
    binds: Binds = Binds()
    readings: tuple[str, ...] = ()  # ways to read it; the first one is taken unless another is named
    note: str = ""

    def effective_s(self) -> float | None:
        """Return when it comes into force, Unix seconds."""
        return None if self.effective is None else _moment_s(self.effective, self.zone, self.effective_time)

    def until_s(self) -> float | None:
        """Return when it ends; None: open."""
        return None if self.until is None else _moment_s(self.until, self.zone)

    def announced_s(self) -> float:
        """Return when it could be known: the end of the day it was announced on, or when it came into force if sooner."""
        end_of_day = _moment_s(self.announced, self.zone) + 86_400
        effective = self.effective_s()
        return (
            end_of_day
            if effective is None
            else max(_moment_s(self.announced, self.zone), min(end_of_day, effective))
        )

    def effects_under(self, reading: str | None) -> tuple[Effect, ...]:
        """Return the effects that hold under a reading."""
        return tuple(effect for effect in self.effects if effect.reading in (None, reading))


def check_rule(rule: Rule) -> None:
    """Check a record.

    Raises:
        PolicyError: If its dates run backwards, a reading is not used or not declared, or an effect says nothing.
    """
    try:
        effective, until = rule.effective_s(), rule.until_s()
    except (ZoneInfoNotFoundError, ValueError) as error:
        raise PolicyError(f"rule {rule.id}: {error}") from error
    if until is not None and (effective is None or until <= effective):
        raise PolicyError(f"rule {rule.id} ends before it begins")
    if effective is not None and _moment_s(rule.announced, rule.zone) > effective:
        raise PolicyError(f"rule {rule.id} came into force before it was announced")
    named = {effect.reading for effect in rule.effects} - {None}
    if named != set(rule.readings) or len(rule.readings) == 1:
        raise PolicyError(
            f"rule {rule.id} declares the readings {rule.readings}, its effects have {sorted(map(str, named))}"
        )
    if not (rule.places and rule.effects and rule.source):
        raise PolicyError(f"rule {rule.id} names no place, no effect or no source")
    for effect in rule.effects:
        _check_effect(rule, effect)


def _check_effect(rule: Rule, effect: Effect) -> None:
    if isinstance(effect, Hours):
        for span in effect.spans:
            if not (span.days and 0 <= span.from_hour < span.to_hour <= 24):
                raise PolicyError(f"rule {rule.id}: no span of hours: {span}")
    if isinstance(effect, Cap) and (effect.power_kw is None) is (effect.share_of_peak is None):
        raise PolicyError(f"rule {rule.id}: a cap is in kW or a share of the peak, one of both")
    if isinstance(effect, Tax):
        bounds = [bracket.below_per_kwh for bracket in effect.brackets]
        rising = [bound for bound in bounds if bound is not None]
        if not bounds or bounds[-1] is not None or None in bounds[:-1] or rising != sorted(set(rising)):
            raise PolicyError(f"rule {rule.id}: brackets rise, and the last has no bound")


def _moment_s(day: date, zone: str, at: time = time()) -> float:
    return datetime.combine(day, at, ZoneInfo(zone)).astimezone(UTC).timestamp()
