"""The third truth: what shares and meters say of a machine, and where the three truths part.

Commanded, reported and measured stay three fields. What the fleet believes for its own sums says what it rests on.
"""

from __future__ import annotations

import enum
from collections.abc import Sequence
from typing import Final

import msgspec

from hashwerk.fleet.machine import Reading, WorkState
from hashwerk.fleet.modes import ModePoint, point_of
from hashwerk.work.poisson import Rate

#: Reported power may differ so much from what the curve gives before it is doubted: meters of machines are off by 10 %,
#: nameplates by up to 20 %.
POWER_TOLERANCE: Final = 0.30
#: A claimed hash rate may lie so far outside the interval of the shares: firmware's instant rate swings.
CLAIM_TOLERANCE: Final = 0.15
#: Fewer shares than this give an interval too wide to accuse anybody.
MIN_SHARES: Final = 20


class MeterReading(msgspec.Struct, frozen=True, kw_only=True):
    """What a meter showed, and what it measures: a machine, a breaker, a feeder, or the site."""

    at: float
    power_w: float
    scope: str  # "machine:<key>", "breaker:B1", "feeder:F1", "site"


class Measured(msgspec.Struct, frozen=True, kw_only=True):
    """What was measured of one machine. Missing is None."""

    at: float
    hashrate: Rate | None = None  # from shares, with its 95 % interval
    window_s: float | None = None  # over which
    power_w: float | None = None  # of a meter of its own
    power_at: float | None = None  # when that meter was read
    is_settled: bool = True  # it has run as it runs now for long enough that the rate can be held against it


class Basis(enum.Enum):
    """What a power rests on, the surest first."""

    METER = "meter"
    REPORTED = "reported"
    CURVE = "curve"  # what a machine of this kind draws at the rate its shares show
    NOTHING = "nothing"


class Believed(msgspec.Struct, frozen=True, kw_only=True):
    """The power that sums are made of, and what it rests on. None is unknown, not zero."""

    power_w: float | None
    basis: Basis
    doubt: str | None = None  # why what it reports is not believed


def expected_power_w(
    reading: Reading, measured: Measured | None, points: Sequence[ModePoint], idle_w: float | None
) -> float | None:
    """Return what a machine of this kind draws doing what this one shows to do; None where no curve is known."""
    if reading.state is WorkState.ASLEEP:
        return idle_w
    if reading.state is not WorkState.HASHING:
        return None
    point = point_of(points, reading.mode)
    if point is None:
        return None
    # Half a machine (a dead board) draws about half: power follows the rate of what still works.
    rate_hs = _proved_hs(reading.hashrate_hs, measured)
    share = 1.0 if rate_hs is None else min(1.0, rate_hs / point.hashrate_hs)
    return point.power_at_w(reading.inlet_c) * share


def _proved_hs(claimed_hs: float | None, measured: Measured | None) -> float | None:
    """Return what it claims to hash as far as its shares bear that out: chance alone makes nobody a liar."""
    if measured is None or not measured.is_settled:
        return claimed_hs
    rate = measured.hashrate
    if rate is None or rate.shares < MIN_SHARES:
        return claimed_hs
    return rate.hs if claimed_hs is None else min(max(claimed_hs, rate.low_hs), rate.high_hs)


def believe_power(
    reading: Reading | None,
    measured: Measured | None,
    points: Sequence[ModePoint],
    *,
    idle_w: float | None = None,
) -> Believed:
    """Return the power to count with: a meter's, else the machine's own word where its curve bears it out, else the curve's."""
    if measured is not None and measured.power_w is not None:
        doubt = None if reading is None else _lie(reading.power_w, measured.power_w, 0.15, "its meter shows")
        return Believed(power_w=measured.power_w, basis=Basis.METER, doubt=doubt)
    if reading is None:
        return Believed(power_w=None, basis=Basis.NOTHING)
    expected_w = expected_power_w(reading, measured, points, idle_w)
    if reading.power_w is None:
        basis = Basis.NOTHING if expected_w is None else Basis.CURVE
        return Believed(power_w=expected_w, basis=basis)
    if expected_w is None or reading.state is WorkState.ASLEEP:
        return Believed(power_w=reading.power_w, basis=Basis.REPORTED)
    doubt = _lie(reading.power_w, expected_w, POWER_TOLERANCE, "what it does takes about")
    if doubt is None or _may_be_changing(reading, measured, points, expected_w):
        return Believed(power_w=reading.power_w, basis=Basis.REPORTED)
    return Believed(power_w=expected_w, basis=Basis.CURVE, doubt=doubt)


def _may_be_changing(
    reading: Reading, measured: Measured | None, points: Sequence[ModePoint], expected_w: float
) -> bool:
    """Say whether a power is that of a start or of a change of mode.

    When it starts, a machine draws power before it hashes; in a new mode it draws and hashes for a while as in the old one.
    """
    point = point_of(points, reading.mode)
    if measured is None or measured.is_settled or reading.power_w is None or point is None:
        return False
    over = max(1.0, (reading.hashrate_hs or 0.0) / point.hashrate_hs)
    return expected_w <= reading.power_w <= (1 + POWER_TOLERANCE) * over * point.power_at_w(reading.inlet_c)


def _lie(reported_w: float | None, true_w: float, tolerance: float, how_known: str) -> str | None:
    if reported_w is None or abs(reported_w - true_w) <= max(tolerance * true_w, 25.0):
        return None
    return f"says it draws {reported_w:,.0f} W, but {how_known} {true_w:,.0f} W"


def hashrate_claim(reading: Reading, measured: Measured | None) -> str | None:
    """Return in words how the claimed hash rate differs from what the shares prove; None while it does not."""
    if measured is None or measured.hashrate is None or reading.hashrate_hs is None:
        return None
    if not measured.is_settled:
        return None
    rate = measured.hashrate
    claimed = reading.hashrate_hs
    if claimed > rate.high_hs * (1 + CLAIM_TOLERANCE) and (rate.shares >= MIN_SHARES or rate.hs == 0):
        return (
            f"says it hashes {claimed / 1e12:.1f} TH/s, its shares show {rate.hs / 1e12:.1f}"
            f" ({rate.low_hs / 1e12:.1f} to {rate.high_hs / 1e12:.1f}) TH/s"
        )
    if claimed < rate.low_hs * (1 - CLAIM_TOLERANCE) and rate.shares >= MIN_SHARES:
        return f"says it hashes {claimed / 1e12:.1f} TH/s, its shares show at least {rate.low_hs / 1e12:.1f} TH/s"
    return None


class Vote(enum.Enum):
    """What one witness says on whether a command has been carried out."""

    YES = "yes"
    NO = "no"
    CANNOT_SAY = "cannot say"


class Verdict(enum.Enum):
    """What the witnesses together say."""

    CONFIRMED = "confirmed"  # a measurement shows it, and no other contradicts
    CLAIMED = "claimed"  # only the machine says so
    CONTRADICTED = "contradicted"  # a measurement shows that it is not so
    OPEN = "open"  # nobody can say yet


class Effect(msgspec.Struct, frozen=True, kw_only=True):
    """What was measured after a command."""

    machine: Vote
    shares: Vote
    meter: Vote
    before_w: float | None = None
    after_w: float | None = None  # once its power has settled; None: nobody has seen it since
    basis: Basis | None = None  # what ``after_w`` is: its meter's, or the machine's own word
    text: str = ""

    @property
    def verdict(self) -> Verdict:
        """What the witnesses together say: measurements before the machine's own word."""
        measured = (self.shares, self.meter)
        if Vote.NO in measured:
            return Verdict.CONTRADICTED
        if Vote.YES in measured:
            return Verdict.CONTRADICTED if self.machine is Vote.NO else Verdict.CONFIRMED
        if self.machine is Vote.YES:
            return Verdict.CLAIMED
        return Verdict.CONTRADICTED if self.machine is Vote.NO else Verdict.OPEN


def sleep_by_shares(rate: Rate | None, before_hs: float | None) -> Vote:
    """Say by shares since the machine should sleep whether it does; half its former rate is the line between the two.

    The line is the one Proto Fleet draws; here the whole 95 % interval must lie on one side of it.
    """
    if rate is None or not before_hs:
        return Vote.CANNOT_SAY
    if rate.high_hs < 0.5 * before_hs:
        return Vote.YES
    return Vote.NO if rate.low_hs > 0.5 * before_hs else Vote.CANNOT_SAY


def change_by_shares(rate: Rate | None, before_hs: float | None, after_hs: float | None) -> Vote:
    """Say by shares since it should hash at another rate whether it does; the line is half way between the two rates.

    The whole 95 % interval must lie on one side of it. Rates that differ by less than a tenth are not told apart.
    """
    if rate is None or not before_hs or not after_hs or abs(after_hs - before_hs) < 0.1 * before_hs:
        return Vote.CANNOT_SAY
    line_hs = 0.5 * (before_hs + after_hs)
    is_below, is_above = rate.high_hs < line_hs, rate.low_hs > line_hs
    if not (is_below or is_above):
        return Vote.CANNOT_SAY
    return Vote.YES if is_below is (after_hs < before_hs) else Vote.NO


def drop_by_meter(before_w: float | None, after_w: float | None, expected_w: float, noise_w: float) -> Vote:
    """Say by a meter whether power fell by at least half of what was expected; cannot say where noise hides it.

    What is to rise has an expected fall below zero.
    """
    if before_w is None or after_w is None or abs(expected_w) <= 2 * noise_w:
        return Vote.CANNOT_SAY
    fell_w = before_w - after_w if expected_w > 0 else after_w - before_w
    return Vote.YES if fell_w >= 0.5 * abs(expected_w) - noise_w else Vote.NO
