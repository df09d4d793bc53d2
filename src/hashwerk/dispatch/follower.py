"""Between two plans: every 5 to 10 seconds, measured power is steered to the set-point.

Power limits move first, because they cost nothing; machines are put to sleep and woken only when limits are exhausted, and
only those that still have a start left today, so that whoever is put to sleep can be woken again. Down is quick and up is
slow. What has been ordered and cannot be measured yet (a machine needs minutes to wake) is counted in, else the same watt
would be asked for twice.

The follower is a state machine without a clock: the site calls `step` with what the meter says and sends what it returns.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from typing import Annotated

import msgspec
from msgspec import Meta

from hashwerk.dispatch.cover import cover
from hashwerk.dispatch.grid import DAY_S
from hashwerk.dispatch.instructions import Instruction
from hashwerk.fleet.commands import SetPowerLimit, Sleep, Wake


class FollowedMachine(msgspec.Struct, frozen=True, kw_only=True):
    """A machine as the follower needs to know it."""

    name: str
    lowest_w: float  # on, at its lowest limit
    highest_w: float
    residual_w: float = 0.0
    hashrate_per_w: float = 1.0  # merit: any unit, the same for all
    takes_limits: bool = True
    wake_s: float = 240.0
    sleep_s: float = 30.0  # until the meter shows it whole: shorter, and the rest is asked for twice
    min_on_s: float = 1_800.0
    min_off_s: float = 600.0
    starts_per_day: int = 6


class FollowerSettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How hard the follower tries to keep measured power at the set-point."""

    dead_band_share: Annotated[
        float, Meta(description="Inside this share of the set-point nothing is done.", ge=0, le=1)
    ] = 0.01
    dead_band_w: Annotated[
        float, Meta(description="Inside so many watts nothing is done; the larger of the two counts.", ge=0)
    ] = 500.0
    up_wait_s: Annotated[
        float, Meta(description="How long a shortage must last before anything is raised.", ge=0)
    ] = 60.0
    down_wait_s: Annotated[
        float, Meta(description="How long an excess must last before anything is lowered.", ge=0)
    ] = 0.0
    sleep_wait_s: Annotated[
        float,
        Meta(
            description="How long an excess lasts that limits cannot remove, before a machine sleeps.", ge=0
        ),
    ] = 60.0
    limit_step_w: Annotated[
        float, Meta(description="Smaller changes of a limit are not worth a command.", ge=0)
    ] = 50.0
    limit_every_s: Annotated[
        float, Meta(description="Least time between two limits of one machine.", ge=0)
    ] = 30.0
    limit_settles_s: Annotated[float, Meta(description="Until the meter shows a new limit whole.", ge=0)] = (
        20.0
    )
    wakes_per_step: Annotated[int, Meta(description="Wakes are staggered: so many at a time.", ge=1)] = 20


@dataclass(slots=True)
class _Followed:
    """A machine's state as commanded. ``settled_at`` is when the meter shows the last command whole."""

    machine: FollowedMachine
    on: bool
    target_w: float
    before_w: float
    since: float
    settled_at: float
    limited_at: float
    day: int
    starts_left: int

    def pending_w(self, now: float) -> float:
        """Return what the meter does not show yet of the last command."""
        return self.target_w - self.before_w if now < self.settled_at else 0.0


class Step(msgspec.Struct, frozen=True, kw_only=True):
    """What one step found and asks for."""

    error_w: float  # set-point less what is measured and under way
    instructions: tuple[Instruction, ...]
    unmet_w: float = (
        0.0  # excess that no machine may remove any more: positive is a matter for the safety layer
    )


@dataclass(slots=True)
class Follower:
    """Steers to a set-point. Owned by one task."""

    settings: FollowerSettings = field(default_factory=FollowerSettings)
    _machines: dict[str, _Followed] = field(default_factory=dict)
    _over_since: float | None = None
    _under_since: float | None = None

    def add(
        self,
        machine: FollowedMachine,
        now: float,
        *,
        on: bool,
        power_w: float | None = None,
        starts_left: int | None = None,
        since: float | None = None,
    ) -> None:
        """Take a machine in, with its true history: how long it has been on or asleep, and the starts it has left today."""
        power = power_w if power_w is not None else (machine.highest_w if on else machine.residual_w)
        self._machines[machine.name] = _Followed(
            machine=machine,
            on=on,
            target_w=power,
            before_w=power,
            since=since if since is not None else now - DAY_S,
            settled_at=now,
            limited_at=-math.inf,
            day=int(now // DAY_S),
            starts_left=machine.starts_per_day if starts_left is None else starts_left,
        )

    def remove(self, name: str) -> None:
        """Forget a machine that is no longer ours to switch."""
        self._machines.pop(name, None)

    def see(self, name: str, power_w: float, now: float) -> None:
        """Take in what a machine draws, or soon will: what it was believed to draw gives way, unless a command is under way."""
        state = self._machines[name]
        if now >= state.settled_at:
            state.target_w = state.before_w = power_w

    def starts_left(self, name: str) -> int:
        """Return how often a machine may still be woken today."""
        return self._machines[name].starts_left

    def step(
        self,
        now: float,
        measured_w: float | None,
        setpoint_w: float,
        *,
        ordered: bool = False,
        is_limit: bool = False,
        first: Collection[str] = (),
    ) -> Step:
        """Return what to do now. Without a measurement nothing is done: the safety layer decides what silence means.

        Args:
            now: Unix seconds.
            measured_w: What the meter says; None: it does not.
            setpoint_w: What it should say.
            ordered: The set-point is a grid operator's order or a hard limit: no wait, no minimum time and no count of starts
                stands in its way; machines with starts left still go first.
            is_limit: Not a watt may be above the set-point, and no machine sleeps that could stay on below it.
            first: Who shall sleep before others, if anybody must.
        """
        if measured_w is None:
            self._over_since = self._under_since = None
            return Step(error_w=math.nan, instructions=())
        for state in self._machines.values():
            self._turn_day(state, now)
        error_w = setpoint_w - measured_w - sum(state.pending_w(now) for state in self._machines.values())
        band_w = max(self.settings.dead_band_w, self.settings.dead_band_share * abs(setpoint_w))
        if error_w < (0.0 if is_limit else -band_w):
            return self._lower(now, error_w, ordered=ordered, is_limit=is_limit, first=first)
        if error_w > band_w:
            return self._raise(now, error_w)
        self._over_since = self._under_since = None
        return Step(error_w=error_w, instructions=())

    def _turn_day(self, state: _Followed, now: float) -> None:
        if int(now // DAY_S) != state.day:
            state.day = int(now // DAY_S)
            state.starts_left = state.machine.starts_per_day

    def _lower(
        self, now: float, error_w: float, *, ordered: bool, is_limit: bool, first: Collection[str]
    ) -> Step:
        self._under_since = None
        if self._over_since is None:
            self._over_since = now
        waited_s = now - self._over_since
        if waited_s < self.settings.down_wait_s and not ordered:
            return Step(error_w=error_w, instructions=())
        excess_w = -error_w
        instructions: list[Instruction] = []
        for state in self._by_merit(reverse=True):
            if excess_w <= 0:
                break
            excess_w -= self._limit(state, now, state.target_w - excess_w, instructions)
        waited_long = waited_s >= self.settings.sleep_wait_s or ordered
        band_w = 0.0 if is_limit else self.settings.dead_band_w
        unmet_w = 0.0
        if excess_w > band_w and waited_long:
            if is_limit:
                excess_w = self._keep_below(now, excess_w, instructions, first)
            else:
                excess_w = self._put_to_sleep(now, excess_w, instructions, ordered=ordered)
            unmet_w = max(0.0, excess_w - band_w)
        # Who was told a new limit in this step is told to sleep instead.
        last = {instruction.machine: instruction for instruction in instructions}
        return Step(error_w=error_w, instructions=tuple(last.values()), unmet_w=unmet_w)

    def _put_to_sleep(
        self, now: float, excess_w: float, instructions: list[Instruction], *, ordered: bool
    ) -> float:
        """Sleep machines, the worst first, as long as more than half of one is in excess; return what is left.

        For an order the last one goes as well.
        """
        for state in self._by_merit(reverse=True):
            machine = state.machine
            saved_w = state.target_w - machine.residual_w
            if excess_w <= self.settings.dead_band_w or (excess_w <= saved_w / 2 and not ordered):
                break
            # A start must be left, or it could not come back today; and what is still waking is left to wake.
            settled = now - state.since >= max(machine.min_on_s, machine.wake_s) and state.starts_left >= 1
            if not state.on or not (settled or ordered):
                continue
            self._sleep(state, now, instructions)
            excess_w -= saved_w
        return excess_w

    def _keep_below(
        self, now: float, excess_w: float, instructions: list[Instruction], first: Collection[str]
    ) -> float:
        """Sleep machines until nothing is in excess, and nobody more; return what is left.

        Who was named first goes, and nobody else if that is enough; then who has a start left and is not waking, then the worst.
        """

        def is_spared(state: _Followed) -> tuple[bool, bool]:
            is_settled = now - state.since >= max(state.machine.min_on_s, state.machine.wake_s)
            return state.machine.name not in first, not (is_settled and state.starts_left >= 1)

        running = sorted((state for state in self._by_merit(reverse=True) if state.on), key=is_spared)
        saved_w = [state.target_w - state.machine.residual_w for state in running]
        named = sum(1 for state in running if state.machine.name in first)
        if sum(saved_w[:named]) >= excess_w:
            running, saved_w = running[:named], saved_w[:named]
        for place in cover(excess_w, saved_w):
            self._sleep(running[place], now, instructions)
            excess_w -= saved_w[place]
        return excess_w

    @staticmethod
    def _sleep(state: _Followed, now: float, instructions: list[Instruction]) -> None:
        """Put a machine to sleep."""
        machine = state.machine
        state.before_w = state.before_w if now < state.settled_at else state.target_w
        state.target_w = machine.residual_w
        state.on, state.since, state.settled_at = False, now, now + machine.sleep_s
        instructions.append(Instruction(machine=machine.name, command=Sleep(), reason="above the set-point"))

    def _raise(self, now: float, error_w: float) -> Step:
        self._over_since = None
        if self._under_since is None:
            self._under_since = now
        if now - self._under_since < self.settings.up_wait_s:
            return Step(error_w=error_w, instructions=())
        shortage_w = error_w
        instructions: list[Instruction] = []
        for state in self._by_merit():
            if shortage_w <= 0:
                break
            shortage_w += self._limit(state, now, state.target_w + shortage_w, instructions)
        woken = 0
        for state in self._by_merit():
            machine = state.machine
            if woken >= self.settings.wakes_per_step or shortage_w <= self.settings.dead_band_w:
                break
            wakes_to_w = machine.lowest_w if machine.takes_limits else machine.highest_w
            added_w = wakes_to_w - machine.residual_w
            if (
                state.on
                or state.starts_left < 1
                or now - state.since < machine.min_off_s
                or added_w > shortage_w
            ):
                continue
            state.starts_left -= 1
            state.before_w, state.target_w = state.target_w, wakes_to_w
            state.on, state.since, state.settled_at = True, now, now + machine.wake_s
            instructions.append(
                Instruction(machine=machine.name, command=Wake(), reason="below the set-point")
            )
            if machine.takes_limits:
                limit = SetPowerLimit(power_limit_w=round(wakes_to_w))
                instructions.append(Instruction(machine=machine.name, command=limit, reason="wakes gently"))
            shortage_w -= added_w
            woken += 1
        return Step(error_w=error_w, instructions=tuple(instructions))

    def _limit(self, state: _Followed, now: float, wanted_w: float, instructions: list[Instruction]) -> float:
        """Move a machine's power limit towards what is wanted; return by how many watts it was lowered."""
        machine = state.machine
        ready = now >= state.settled_at and now - state.limited_at >= self.settings.limit_every_s
        if not (state.on and machine.takes_limits and ready):
            return 0.0
        limit_w = float(round(min(max(wanted_w, machine.lowest_w), machine.highest_w)))
        lowered_w = state.target_w - limit_w
        if abs(lowered_w) < self.settings.limit_step_w:
            return 0.0
        state.before_w, state.target_w = state.target_w, limit_w
        state.limited_at, state.settled_at = now, now + self.settings.limit_settles_s
        command = SetPowerLimit(power_limit_w=round(limit_w))
        reason = "above the set-point" if lowered_w > 0 else "below the set-point"
        instructions.append(Instruction(machine=machine.name, command=command, reason=reason))
        return lowered_w

    def _by_merit(self, *, reverse: bool = False) -> Sequence[_Followed]:
        """Return the machines, the best first; among equals the one with most starts left, then the one changed longest ago."""
        sign = -1.0 if reverse else 1.0
        return sorted(
            self._machines.values(),
            key=lambda state: (-sign * state.machine.hashrate_per_w, -state.starts_left, state.since),
        )
