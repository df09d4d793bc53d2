"""What a command did, as measured once that can be seen: after the machine's power has settled, whatever became of the order.

An order goes on when a machine has done as told; its power takes longer. So the effect is looked for apart, up to a deadline,
and then it is on record, or that nothing could measure it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import msgspec

from hashwerk.fleet.commands import Command, SetMode, SetPowerLimit, Sleep, Wake
from hashwerk.fleet.conduct import Conduct, View
from hashwerk.fleet.identity import MachineKey
from hashwerk.fleet.limits import words
from hashwerk.fleet.measure import Effect, Verdict, Vote
from hashwerk.fleet.modes import point_of
from hashwerk.fleet.orders import Progress
from hashwerk.fleet.states import CHANGE_OF
from hashwerk.fleet.verify import CHANGES, METER_NOISE_W, Look, effect_of, seen_at
from hashwerk.work.poisson import Rate

#: What the record says of a command that was carried out, as far as anybody can tell, with a power that nobody has seen.
NO_POWER: Final = "nothing measured its power"
#: So many shares tell what a machine hashed before to a tenth or so.
_SHARES_BEFORE: Final = 300
#: A power that moves by less than this share is steady,
_STEADY: Final = 0.04
#: once it has done so for such a share of the time that the change is expected to take.
_LONG_ENOUGH: Final = 0.1


class Told(msgspec.Struct, frozen=True, kw_only=True):
    """A command whose effect is still to be seen."""

    order_id: str
    key: MachineKey
    command: Command
    at: float
    before_w: float | None
    expected_w: float | None  # to be saved, as planned; below zero: to be drawn more
    mode_before: str | None = None
    before: Rate | None = None  # its hash rate by shares before it was told


def told(order_id: str, progress: Progress, before: Rate | None) -> Told | None:
    """Return what is to be watched of what a machine was told last; None for what takes no time and shows in no power."""
    command, at = progress.command, progress.sent_at
    if type(command) not in CHANGES or at is None:
        return None
    step, back = progress.step, progress.is_restore
    saves_w = step.saves_w
    return Told(
        order_id=order_id,
        key=step.key,
        command=command,
        at=at,
        before_w=step.after_w if back else step.before_w,
        expected_w=None if saves_w is None else -saves_w if back else saves_w,
        mode_before=None if back else step.mode_before,
        before=before,
    )


@dataclass(slots=True)
class Steadiness:
    """Since when a power has not changed: a start and a change of mode are ramps, minutes long."""

    power_w: float | None = None
    since: float = 0.0
    until: float = 0.0

    def add(self, power_w: float, at: float) -> None:
        """Take in what was seen at a moment."""
        if self.power_w is None or abs(power_w - self.power_w) > max(METER_NOISE_W, _STEADY * self.power_w):
            self.power_w, self.since = power_w, at
        self.until = at

    def lasts_s(self) -> float:
        """Return how long it has been so."""
        return self.until - self.since


class Seen(msgspec.Struct, frozen=True):
    """An effect as it is seen now, and whether that is the last word."""

    effect: Effect
    is_final: bool


def effect_seen(
    one: Told, view: View, conduct: Conduct, now: float, verified: Effect | None = None, *, steady: Steadiness
) -> Seen | None:
    """Return the effect of a command once its power was seen, or nothing more is waited for; None until then.

    Args:
        one: What the machine was told.
        view: The fleet now.
        conduct: How long is waited.
        now: Unix seconds.
        steady: How steady its power is; what is seen now is added.
        verified: What its order has found out already: a measurement of then stands until another contradicts it.
    """
    look, change = view.look(one.key), CHANGES[type(one.command)]
    if look is None:
        nobody = Effect(
            machine=Vote.CANNOT_SAY, shares=Vote.CANNOT_SAY, meter=Vote.CANNOT_SAY, before_w=one.before_w
        )
        text = f"{words(one.command)}: it is no longer in the fleet, nothing could measure it"
        return Seen(msgspec.structs.replace(nobody, text=text), is_final=True)
    settles_s = view.settles_s(one.key, change)
    steady_at = max(one.at + settles_s, look.since + conduct.settle_s)
    waits_s = conduct.verify_s + 2 * conduct.settle_s
    is_late = now >= one.at + max(settles_s, view.deadline_s(one.key, change)) + waits_s
    if (now <= steady_at or look.state in CHANGE_OF) and not is_late:
        return None
    effect = _joined(
        _effect(one, look, view, conduct, now=now, steady_at=steady_at, is_late=is_late), verified
    )
    has_meter = look.measured is not None and look.measured.power_w is not None
    is_seen = effect.after_w is not None
    if effect.after_w is not None and (at := seen_at(look, effect.basis)) is not None:
        steady.add(effect.after_w, at)
    is_steady = steady.lasts_s() >= max(conduct.settle_s, _LONG_ENOUGH * settles_s)
    may_be_seen = has_meter or look.reading is None or look.reading.at <= steady_at
    is_over = is_steady if is_seen else not may_be_seen
    if is_late or (is_over and _is_decided(effect, one, has_meter=has_meter)):
        return Seen(_in_words(effect, is_steady=is_steady), is_final=True)
    return Seen(effect, is_final=False) if is_seen else None


def _effect(
    one: Told, look: Look, view: View, conduct: Conduct, *, now: float, steady_at: float, is_late: bool
) -> Effect:
    command = one.command
    expected_w, before, expected_hs = _expected(one, look)
    begins_at = max(one.at, look.since) + conduct.flight_s if isinstance(command, Sleep | Wake) else steady_at
    return effect_of(
        command,
        look,
        sent_at=one.at,
        before_w=one.before_w,
        expected_w=expected_w,
        before=before,
        since=view.rate(one.key, begins_at, now) if now > begins_at else None,
        is_late=is_late,
        steady_at=steady_at,
        expected_hs=expected_hs,
    )


def _expected(one: Told, look: Look) -> tuple[float | None, Rate | None, float | None]:
    """Return the watts to be saved, the hash rate before and the one that should show, as far as modes are known.

    Few shares say little of what a machine hashed before; what is known of the mode it ran in says more.
    """
    inlet_c = None if look.reading is None else look.reading.inlet_c
    if isinstance(one.command, SetPowerLimit):
        over_w = None if one.before_w is None else one.before_w - one.command.power_limit_w
        return (over_w if over_w is not None and over_w > 0 else None), one.before, None
    if not isinstance(one.command, SetMode):
        return one.expected_w, one.before, None
    point, was = point_of(look.points, one.command.mode), point_of(look.points, one.mode_before)
    if point is None:
        return one.expected_w, one.before, None
    expected_w, expected_hs, before = one.expected_w, point.hashrate_hs, one.before
    if expected_w is None and one.before_w is not None:
        expected_w = one.before_w - point.power_at_w(inlet_c)
    if before is not None and before.shares < _SHARES_BEFORE:
        before = (
            None if was is None else Rate(was.hashrate_hs, was.hashrate_hs, was.hashrate_hs, before.shares)
        )
    elif was is not None and before is not None:
        expected_hs *= before.hs / was.hashrate_hs  # as this machine ran before
    return expected_w, before, expected_hs


def _is_decided(effect: Effect, one: Told, *, has_meter: bool) -> bool:
    """Say whether nothing surer will come: a measurement spoke, or none ever will and the machine did."""
    if effect.verdict is Verdict.CONFIRMED:
        return True  # that it is not so is said at the end only: some are slower than is published
    is_power = isinstance(one.command, Sleep | SetMode | SetPowerLimit)
    has_shares = one.before is not None and one.before.shares > 0 and is_power
    wakes = isinstance(one.command, Wake) and one.before is not None
    return effect.machine is Vote.YES and not (has_shares or wakes or (has_meter and is_power))


def _joined(effect: Effect, verified: Effect | None) -> Effect:
    """Return an effect with what was measured before, unless a measurement speaks again."""
    if verified is None or Vote.CANNOT_SAY is verified.shares is verified.meter:
        return effect
    if not Vote.CANNOT_SAY is effect.shares is effect.meter:
        return effect
    return msgspec.structs.replace(
        effect,
        machine=verified.machine,
        shares=verified.shares,
        meter=verified.meter,
        text=verified.text,
    )


def _in_words(effect: Effect, *, is_steady: bool) -> Effect:
    """Return an effect that says what nobody could measure."""
    if effect.after_w is not None and not is_steady:
        return msgspec.structs.replace(effect, text=f"{effect.text}; its power had not settled yet")
    if Vote.CANNOT_SAY is effect.shares is effect.meter and effect.after_w is None:
        return msgspec.structs.replace(effect, text=f"{effect.text}; nothing could measure it")
    if effect.after_w is None:
        return msgspec.structs.replace(effect, text=f"{effect.text}; {NO_POWER}")
    return effect
