"""What is done without a solver, a feed or a plan: emergency orders, heat, feeders, and signals that fall silent.

These rules come last and win. They only ever take power away.
"""

from __future__ import annotations

import enum
from collections.abc import Mapping, Sequence
from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from hashwerk.dispatch.cover import cover
from hashwerk.dispatch.instructions import Instruction
from hashwerk.fleet.commands import SetPowerLimit, Sleep

WhenStale = Literal["keep", "curtail", "fall back"]


class GuardedMachine(msgspec.Struct, frozen=True, kw_only=True):
    """A machine as the guard sees it. Power that is not known is taken to be the highest there could be."""

    name: str
    highest_w: float
    lowest_w: float | None = None  # None: takes no power limit
    residual_w: float = 0.0
    hashrate_per_w: float = 1.0
    feeder: str | None = None
    power_w: float | None = None
    chip_max_c: float | None = None
    inlet_c: float | None = None
    is_deaf: bool = False  # told to sleep before, and it does not: nothing is saved by telling it again

    @property
    def assumed_w(self) -> float:
        """Measured power, or the worst case where it is not known."""
        return self.highest_w if self.power_w is None else self.power_w


class GuardedFeeder(msgspec.Struct, frozen=True, kw_only=True):
    """A feeder: its limit and what its meter says; None: the machines' own power is added up instead."""

    name: str
    limit_w: float
    measured_w: float | None = None


class Signal(msgspec.Struct, frozen=True, kw_only=True):
    """A signal that decisions rest on, how old it is, and what its silence means."""

    name: str
    age_s: float | None  # None: never heard
    max_age_s: float
    when_stale: WhenStale

    @property
    def is_stale(self) -> bool:
        """Whether it is too old to be believed."""
        return self.age_s is None or self.age_s > self.max_age_s


class SafetySettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Thresholds of the guard."""

    chip_warm_c: Annotated[
        float, Meta(description="Chips at which a machine goes to its lowest limit, in °C.")
    ] = 90.0
    chip_hot_c: Annotated[float, Meta(description="Chips at which it sleeps, in °C.")] = 100.0
    inlet_hot_c: Annotated[float, Meta(description="Inlet air at which it sleeps, in °C.")] = 45.0
    feeder_margin: Annotated[
        float, Meta(description="A feeder above its limit is shed to so much below it.", ge=0, lt=1)
    ] = 0.02

    def __post_init__(self) -> None:
        """Check what types cannot say.

        Raises:
            ValueError: If machines would sleep before they are gentle; the decoder adds the line.
        """
        if self.chip_warm_c >= self.chip_hot_c:
            raise ValueError("chip_warm_c lies below chip_hot_c")


class Stance(enum.Enum):
    """What the plan may still do, from free to nothing."""

    FREE = "free"
    KEEP = "keep"  # go on as before, start nothing new
    FALL_BACK = "fall back"  # to the declared fallback policy
    CURTAIL = "curtail"  # machines sleep
    STOP = "stop"  # an emergency: everything sleeps now


class Decision(msgspec.Struct, frozen=True, kw_only=True):
    """What the guard asks for."""

    stance: Stance
    instructions: tuple[Instruction, ...]
    reasons: tuple[str, ...]
    shortfall_w: Mapping[str, float]  # by feeder: what stays above a limit with every machine on it asleep


_SEVERITY = {Stance.FREE: 0, Stance.KEEP: 1, Stance.FALL_BACK: 2, Stance.CURTAIL: 3, Stance.STOP: 4}
_MEANS: Mapping[WhenStale, Stance] = {
    "keep": Stance.KEEP,
    "fall back": Stance.FALL_BACK,
    "curtail": Stance.CURTAIL,
}


def guard(
    machines: Sequence[GuardedMachine],
    *,
    feeders: Sequence[GuardedFeeder] = (),
    signals: Sequence[Signal] = (),
    emergency: str | None = None,
    settings: SafetySettings | None = None,
) -> Decision:
    """Return what must be done now, whatever the plan says.

    Args:
        machines: All that may be switched.
        feeders: With their limits.
        signals: With their ages and what silence means.
        emergency: The order that stops everything, in words; None: there is none.
        settings: Thresholds.
    """
    settings = settings or SafetySettings()
    stance, reasons = _stance(signals, emergency)
    if stance in (Stance.STOP, Stance.CURTAIL):
        reason = reasons[0]
        asleep = tuple(_sleep(machine, reason) for machine in machines if _draws(machine))
        return Decision(stance=stance, instructions=asleep, reasons=tuple(reasons), shortfall_w={})
    instructions: dict[str, Instruction] = {}
    for machine in machines:
        instruction = _against_heat(machine, settings)
        if instruction is not None:
            instructions[machine.name] = instruction
            reasons.append(f"{machine.name}: {instruction.reason}")
    shortfall_w: dict[str, float] = {}
    for feeder in feeders:
        left_w = _shed(feeder, machines, instructions, reasons, settings)
        if left_w > 0:
            shortfall_w[feeder.name] = left_w
    return Decision(
        stance=stance,
        instructions=tuple(instructions.values()),
        reasons=tuple(reasons),
        shortfall_w=shortfall_w,
    )


def _stance(signals: Sequence[Signal], emergency: str | None) -> tuple[Stance, list[str]]:
    if emergency is not None:
        return Stance.STOP, [f"emergency: {emergency}"]
    stance, reasons = Stance.FREE, list[str]()
    for signal in signals:
        if not signal.is_stale:
            continue
        means = _MEANS[signal.when_stale]
        age = "was never heard" if signal.age_s is None else f"is {signal.age_s:.0f} s old"
        text = f"{signal.name} {age}, at most {signal.max_age_s:.0f} s are believed: {signal.when_stale}"
        if _SEVERITY[means] > _SEVERITY[stance]:
            stance = means
            reasons.insert(0, text)
        else:
            reasons.append(text)
    return stance, reasons


def _draws(machine: GuardedMachine) -> bool:
    return machine.power_w is None or machine.power_w > machine.residual_w * 1.1 + 5.0


def _sleep(machine: GuardedMachine, reason: str) -> Instruction:
    return Instruction(machine=machine.name, command=Sleep(), reason=reason)


def _against_heat(machine: GuardedMachine, settings: SafetySettings) -> Instruction | None:
    if not _draws(machine):
        return None
    chip_c, inlet_c = machine.chip_max_c, machine.inlet_c
    if chip_c is not None and chip_c >= settings.chip_hot_c:
        return _sleep(machine, f"chip at {chip_c:.0f} °C, {settings.chip_hot_c:.0f} allowed")
    if inlet_c is not None and inlet_c >= settings.inlet_hot_c:
        return _sleep(machine, f"air at {inlet_c:.0f} °C, {settings.inlet_hot_c:.0f} allowed")
    if chip_c is not None and chip_c >= settings.chip_warm_c and machine.lowest_w is not None:
        return Instruction(
            machine=machine.name,
            command=SetPowerLimit(power_limit_w=round(machine.lowest_w)),
            reason=f"chip at {chip_c:.0f} °C, gentle above {settings.chip_warm_c:.0f}",
        )
    return None


def _shed(
    feeder: GuardedFeeder,
    machines: Sequence[GuardedMachine],
    instructions: dict[str, Instruction],
    reasons: list[str],
    settings: SafetySettings,
) -> float:
    """Put machines on a feeder to sleep until it is below its limit, the least efficient first; return what is left above."""
    fed = [machine for machine in machines if machine.feeder == feeder.name]
    drawn_w = feeder.measured_w
    if drawn_w is None:
        drawn_w = sum(machine.assumed_w for machine in fed)
    if drawn_w <= feeder.limit_w:
        return 0.0
    reason = f"feeder {feeder.name} at {drawn_w / 1e3:,.1f} of {feeder.limit_w / 1e3:,.1f} kW"
    reasons.append(reason)
    excess_w = drawn_w - feeder.limit_w * (1 - settings.feeder_margin)
    running = list[GuardedMachine]()
    for machine in sorted(fed, key=lambda machine: machine.hashrate_per_w):
        if not _draws(machine) or machine.is_deaf:
            continue
        already = instructions.get(machine.name)
        if already is not None and isinstance(already.command, Sleep):
            excess_w -= machine.assumed_w - machine.residual_w
        else:
            running.append(machine)
    saved_w = [machine.assumed_w - machine.residual_w for machine in running]
    for place in cover(excess_w, saved_w):
        machine = running[place]
        instructions[machine.name] = _sleep(machine, reason)
        excess_w -= saved_w[place]
    return max(0.0, excess_w)
