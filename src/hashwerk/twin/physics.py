"""Power, heat and work of one machine as functions of time. Pure: no clock, no sockets, no randomness.

A machine's future is a `Course`: power and hash rate at a few moments, straight lines between them, constant before the
first and after the last. `Plant` is what has come of it up to a moment: energy, hashes, temperature and moving averages.
All integrals are exact, so asking more often changes nothing, and a machine that nobody asks costs nothing.

Heat is one capacity: dT/dt = (T_steady - T) / tau, with T_steady = T_inlet + R(fan)·P. The fans hold the chips at their
target where they can: R falls with fan speed to the power 0.8 (turbulent flow along a plate), and the controller is taken
as ideal. Leakage makes a warmer hall draw more at the same setting.
"""

from __future__ import annotations

import enum
import math
from collections.abc import Iterator
from typing import Final

import msgspec

from hashwerk.twin.models import Model, Timing

#: cgminer's averages: their time constants in seconds.
AVERAGES_S: Final = (5.0, 60.0, 300.0, 900.0)
#: Wall power rises by so much a degree of inlet air at a fixed setting (leakage; assumed, 2–5 W/K on 3 kW machines).
LEAKAGE_PER_K: Final = 0.0012
REFERENCE_INLET_C: Final = 25.0
#: While chips are initialised and tuned the supply is on and nothing hashes: this share of full power.
INIT_POWER_SHARE: Final = 0.35
_COOLING_EXPONENT: Final = 0.8
_NOMINAL_FAN_SHARE: Final = 0.6
_MIN_FAN_SHARE: Final = 0.15
_PIECES: Final = 8


class Phase(enum.Enum):
    """What a machine is really doing."""

    OFF = "off"  # no mains
    BOOTING = "booting"  # the API does not answer
    STARTING = "starting"  # initialising: the supply is on, nothing hashes
    HASHING = "hashing"
    FALLING = "falling"  # going to sleep: nothing hashes, the power falls
    ASLEEP = "asleep"


class Knot(msgspec.Struct, frozen=True):
    """Power and hash rate at a moment; the phase is that from here on."""

    at: float
    power_w: float
    hashrate_hs: float
    phase: Phase


Course = tuple[Knot, ...]


class Plant(msgspec.Struct, frozen=True, kw_only=True):
    """A machine at a moment, and its course from there."""

    model: Model
    at: float
    course: Course
    inlet_c: float = REFERENCE_INLET_C
    fan_override: float | None = None  # a fixed share of full speed; None: the firmware's own control
    haste: float = 1.0  # how much faster it lives: its averages and its warming too
    board_c: float = REFERENCE_INLET_C
    energy_wh: float = 0.0
    hashes: float = 0.0
    averages_hs: tuple[float, ...] = (0.0, 0.0, 0.0, 0.0)

    def power_w(self, at: float) -> float:
        """Return the power at the wall."""
        course = self.course
        return course[-1].power_w if at >= course[-1].at else _between(course, at)[0]

    def hashrate_hs(self, at: float) -> float:
        """Return the hash rate, full size."""
        course = self.course
        return course[-1].hashrate_hs if at >= course[-1].at else _between(course, at)[1]

    def fan_share(self, at: float) -> float:
        """Return the fans' speed as a share of the full one; asleep they rest."""
        if self.phase(at) in (Phase.OFF, Phase.BOOTING, Phase.ASLEEP):
            return 0.0
        return fan_share(self.model, self.power_w(at), self.inlet_c, self.fan_override)

    def phase(self, at: float) -> Phase:
        """Return what the machine is doing."""
        found = self.course[0].phase
        for knot in self.course:
            if knot.at > at:
                break
            found = knot.phase
        return found

    def advanced(self, at: float) -> Plant:
        """Return the plant at a later moment on the same course; an earlier one gives the plant as it is."""
        if at <= self.at:
            return self
        energy_ws, hashes = 0.0, 0.0
        board_c, averages = self.board_c, list(self.averages_hs)
        for start, end, power_w, hashrate_hs in _pieces(self.course, self.at, at):
            length_s = end - start
            energy_ws += power_w[0] * length_s
            hashes += hashrate_hs[0] * length_s
            steady_c = steady_temperature_c(self.model, power_w[1], self.inlet_c, self.fan_override)
            lived_s = length_s * self.haste
            board_c = _approach(board_c, steady_c, lived_s, self.model.warming_s)
            for index, constant_s in enumerate(AVERAGES_S):
                averages[index] = _approach(averages[index], hashrate_hs[1], lived_s, constant_s)
        return msgspec.structs.replace(
            self,
            at=at,
            board_c=board_c,
            energy_wh=self.energy_wh + energy_ws / 3600,
            hashes=self.hashes + hashes,
            averages_hs=tuple(averages),
        )

    def turned(self, at: float, course: Course) -> Plant:
        """Return the plant at ``at`` with another course from there on."""
        return msgspec.structs.replace(self.advanced(at), course=course)

    def work_until(self, at: float) -> tuple[float, float]:
        """Return energy (Wh) and hashes up to a moment, without temperatures and averages."""
        if at <= self.at:
            return self.energy_wh, self.hashes
        energy_ws, hashes = 0.0, 0.0
        for start, end, power_w, hashrate_hs in _segments(self.course, self.at, at):
            energy_ws += (power_w[0] + power_w[1]) / 2 * (end - start)
            hashes += (hashrate_hs[0] + hashrate_hs[1]) / 2 * (end - start)
        return self.energy_wh + energy_ws / 3600, self.hashes + hashes


def rise_at_full_fan_k_per_w(model: Model) -> float:
    """Return R at full fan speed: the target is held at the default point, 25 °C, with fans at 60 %."""
    nominal_w = model.points[model.default_point].power_w
    nominal = (model.chip_target_c - REFERENCE_INLET_C) / nominal_w
    return nominal * math.pow(_NOMINAL_FAN_SHARE, _COOLING_EXPONENT)


def fan_share(model: Model, power_w: float, inlet_c: float, override: float | None = None) -> float:
    """Return the fans' speed as a share of the full one: as slow as the chips' target allows."""
    if power_w <= 0:
        return 0.0
    if override is not None:
        return override
    room_k = model.chip_target_c - inlet_c
    if room_k <= 0:
        return 1.0
    share = math.pow(rise_at_full_fan_k_per_w(model) * power_w / room_k, 1 / _COOLING_EXPONENT)
    return min(1.0, max(_MIN_FAN_SHARE, share))


def steady_temperature_c(
    model: Model, power_w: float, inlet_c: float, override: float | None = None
) -> float:
    """Return where the chips' temperature goes at a constant power."""
    share = fan_share(model, power_w, inlet_c, override)
    if share == 0:
        return inlet_c
    return inlet_c + rise_at_full_fan_k_per_w(model) * power_w / math.pow(share, _COOLING_EXPONENT)


def leakage_factor(inlet_c: float) -> float:
    """Return how much more a machine draws than at 25 °C inlet air."""
    return 1 + LEAKAGE_PER_K * (inlet_c - REFERENCE_INLET_C)


class Settled(msgspec.Struct, frozen=True):
    """Where a course ends: power and hash rate of one machine at one point, its own spread included."""

    power_w: float
    hashrate_hs: float


def start_course(at: float, timing: Timing, idle_w: float, goal: Settled) -> Course:
    """Return the course from rest to hashing: initialise, then ramp up."""
    init_w = max(idle_w, INIT_POWER_SHARE * goal.power_w)
    first_hash_at = at + timing.init_s
    return (
        Knot(at, idle_w, 0, Phase.STARTING),
        Knot(at + min(1.0, timing.init_s), init_w, 0, Phase.STARTING),
        Knot(first_hash_at, init_w, 0, Phase.HASHING),
        Knot(first_hash_at + timing.ramp_s, goal.power_w, goal.hashrate_hs, Phase.HASHING),
    )


def boot_course(at: float, timing: Timing, idle_w: float, goal: Settled | None) -> Course:
    """Return the course of a machine that has just been given mains or was rebooted; it sleeps on without a goal."""
    boot = (Knot(at, idle_w, 0, Phase.BOOTING),)
    ready_at = at + timing.boot_s
    if goal is None:
        return (*boot, Knot(ready_at, idle_w, 0, Phase.ASLEEP))
    return (*boot, *start_course(ready_at, timing, idle_w, goal))


def sleep_course(at: float, timing: Timing, idle_w: float, power_w: float) -> Course:
    """Return the course into sleep: hashing ends at once, the power falls."""
    return (Knot(at, power_w, 0, Phase.FALLING), Knot(at + timing.sleep_s, idle_w, 0, Phase.ASLEEP))


def change_course(at: float, duration_s: float, now: Settled, goal: Settled) -> Course:
    """Return the course from one running point to another."""
    return (
        Knot(at, now.power_w, now.hashrate_hs, Phase.HASHING),
        Knot(at + duration_s, goal.power_w, goal.hashrate_hs, Phase.HASHING),
    )


def still_course(at: float, power_w: float, phase: Phase) -> Course:
    """Return the course of a machine that does nothing but draw some power."""
    return (Knot(at, power_w, 0, phase),)


_Pair = tuple[float, float]


def _between(course: Course, at: float) -> _Pair:
    """Return power and hash rate at a moment before the last knot."""
    before = course[0]
    for knot in course:
        if knot.at > at:
            if at <= before.at:
                return before.power_w, before.hashrate_hs
            share = (at - before.at) / (knot.at - before.at)
            return (
                before.power_w + share * (knot.power_w - before.power_w),
                before.hashrate_hs + share * (knot.hashrate_hs - before.hashrate_hs),
            )
        before = knot
    return before.power_w, before.hashrate_hs


def _segments(course: Course, start: float, end: float) -> Iterator[tuple[float, float, _Pair, _Pair]]:
    """Yield the straight pieces between two moments: start, end, power and hash rate at both."""
    yield from _before(course, start, end)
    for knot, following in zip(course, (*course[1:], None), strict=True):
        first = max(start, knot.at)
        last = end if following is None else min(end, following.at)
        if last <= first:
            continue
        if following is None:
            yield first, last, (knot.power_w, knot.power_w), (knot.hashrate_hs, knot.hashrate_hs)
            continue
        length_s = following.at - knot.at
        shares = (first - knot.at) / length_s, (last - knot.at) / length_s
        rise_w, rise_hs = following.power_w - knot.power_w, following.hashrate_hs - knot.hashrate_hs
        yield (
            first,
            last,
            (knot.power_w + shares[0] * rise_w, knot.power_w + shares[1] * rise_w),
            (knot.hashrate_hs + shares[0] * rise_hs, knot.hashrate_hs + shares[1] * rise_hs),
        )


def _before(course: Course, start: float, end: float) -> Iterator[tuple[float, float, _Pair, _Pair]]:
    """Yield what lies before the first knot: there it is constant too."""
    first = course[0]
    if start < min(end, first.at):
        yield (
            start,
            min(end, first.at),
            (first.power_w, first.power_w),
            (first.hashrate_hs, first.hashrate_hs),
        )


def _pieces(course: Course, start: float, end: float) -> Iterator[tuple[float, float, _Pair, _Pair]]:
    """Yield short pieces: start, end, then of power and of hash rate the mean and the value that heat and averages see.

    What a slope heats is taken as steps fixed to its knots, not to when somebody asks; so the answer does not depend on
    how often one asks.
    """
    yield from _before(course, start, end)
    for knot, following in zip(course, (*course[1:], None), strict=True):
        if following is None:
            if end > max(start, knot.at):
                power, rate = (knot.power_w, knot.power_w), (knot.hashrate_hs, knot.hashrate_hs)
                yield max(start, knot.at), end, power, rate
            continue
        length_s = (following.at - knot.at) / _PIECES
        if length_s <= 0 or following.at <= start or knot.at >= end:
            continue
        for index in range(_PIECES):
            first = max(start, knot.at + index * length_s)
            last = min(end, knot.at + (index + 1) * length_s)
            if last <= first:
                continue
            mean = ((first + last) / 2 - knot.at) / (_PIECES * length_s)
            middle = (index + 0.5) / _PIECES
            rise_w, rise_hs = following.power_w - knot.power_w, following.hashrate_hs - knot.hashrate_hs
            yield (
                first,
                last,
                (knot.power_w + mean * rise_w, knot.power_w + middle * rise_w),
                (knot.hashrate_hs + mean * rise_hs, knot.hashrate_hs + middle * rise_hs),
            )


def _approach(value: float, goal: float, duration_s: float, constant_s: float) -> float:
    """Return a first-order lag after some time of a constant input."""
    return goal + (value - goal) * math.exp(-duration_s / constant_s)
