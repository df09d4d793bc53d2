"""What a machine may not be asked now, and why: the wear of starts, and how long to wait after a failure."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field
from typing import Final, assert_never

import msgspec

from hashwerk.fleet.commands import (
    NEEDS,
    Command,
    Locate,
    Reboot,
    SetFan,
    SetMode,
    SetPools,
    SetPowerLimit,
    Sleep,
    Wake,
)
from hashwerk.fleet.machine import Capability
from hashwerk.fleet.states import State, Transition

DAY_S: Final = 86_400.0
#: From these nobody knows since when a machine does what it is found doing.
_UNSEEN: Final = (State.UNKNOWN, State.UNREACHABLE)


class Limits(msgspec.Struct, frozen=True, kw_only=True):
    """What a machine bears. The defaults spare power supplies and fans."""

    min_on_s: float = 600.0
    min_off_s: float = 300.0
    starts_a_day: int = 12
    attempts: int = 3
    first_retry_s: float = 15.0
    max_retry_s: float = 900.0

    def retry_s(self, failures: int) -> float:
        """Return how long to wait after so many failures: twice as long each time."""
        return min(self.max_retry_s, self.first_retry_s * 2.0 ** max(0, failures - 1))


@dataclass(slots=True)
class Wear:
    """When a machine started and slept. Owned by the fleet's task."""

    started_at: float | None = None
    slept_at: float | None = None
    starts: deque[float] = field(default_factory=lambda: deque(maxlen=256))

    def note(self, transition: Transition) -> None:
        """Take in a change of state."""
        if transition.now is State.HASHING and transition.was in (
            State.WAKING,
            State.REBOOTING,
            State.ASLEEP,
        ):
            self.started_at = transition.at
            self.starts.append(transition.at)
        elif transition.now is State.ASLEEP and not (transition.was in _UNSEEN and self._slept_before):
            self.slept_at = transition.at

    @property
    def _slept_before(self) -> bool:
        """Whether it slept when it was last seen: found so again, by a new process too, it has slept since."""
        return self.slept_at is not None and (self.started_at is None or self.started_at < self.slept_at)

    def starts_today(self, now: float) -> int:
        """Return how often it started within the last day."""
        return sum(1 for at in self.starts if at > now - DAY_S)


def why_not(
    command: Command,
    *,
    state: State,
    capabilities: Capability,
    wear: Wear,
    limits: Limits,
    now: float,
    is_ambiguous: bool = False,
    must: bool = False,
) -> str | None:
    """Say in words why a machine is not to be told this now; None if it may be.

    Args:
        command: What it would be told.
        state: What it is doing.
        capabilities: What its firmware can be told.
        wear: When it started and slept.
        limits: What it bears.
        now: Unix seconds.
        is_ambiguous: Another machine claims to be this one.
        must: An order that comes before wear, as from the grid: minimum times and the budget of starts do not hold.
    """
    if is_ambiguous:
        return "two machines share its identity"
    if not NEEDS[type(command)] & capabilities:
        return f"its firmware cannot be told to {words(command)}"
    if state is State.UNREACHABLE:
        return "it does not answer"
    if isinstance(command, Sleep) and state in (State.ASLEEP, State.FALLING_ASLEEP):
        return f"it is {state.value} already"
    if isinstance(command, Wake) and state in (State.HASHING, State.WAKING, State.CHANGING_MODE):
        return f"it is {state.value} already"
    if state is State.REBOOTING:
        return "it is rebooting"
    if must:
        return None
    if isinstance(command, Sleep) and wear.started_at is not None:
        left_s = wear.started_at + limits.min_on_s - now
        if left_s > 0:
            return f"it started {now - wear.started_at:.0f} s ago and stays on for another {left_s:.0f} s"
    if isinstance(command, Wake) and wear.slept_at is not None:
        left_s = wear.slept_at + limits.min_off_s - now
        if left_s > 0:
            return f"it fell asleep {now - wear.slept_at:.0f} s ago and stays off for another {left_s:.0f} s"
    # Whoever is put to sleep has to be started again: the budget is checked where it can still be kept.
    if isinstance(command, Sleep | Reboot) and wear.starts_today(now) >= limits.starts_a_day:
        return (
            f"it has started {wear.starts_today(now)} times within a day, {limits.starts_a_day} are allowed"
        )
    return None


def ready_at(command: Command, wear: Wear, limits: Limits) -> float | None:
    """Return when a machine has run or slept out its time for a command; None if there is none to run out."""
    match command:
        case Sleep():
            return None if wear.started_at is None else wear.started_at + limits.min_on_s
        case Wake():
            return None if wear.slept_at is None else wear.slept_at + limits.min_off_s
        case _:
            return None


def words(command: Command) -> str:
    """Return a command as people say it; without passwords."""
    match command:
        case Sleep():
            return "sleep"
        case Wake(mode):
            return f"wake in mode {mode}" if mode else "wake"
        case SetMode(mode):
            return f"change to mode {mode}"
        case SetPowerLimit(power_limit_w):
            return f"draw no more than {power_limit_w} W"
        case Reboot():
            return "reboot"
        case Locate(on):
            return "turn its light " + ("on" if on else "off")
        case SetPools(pools):
            return "use pools " + ", ".join(pool.url.rpartition("@")[2] for pool in pools)
        case SetFan(percent):
            return "run its fans by itself" if percent is None else f"run its fans at {percent} %"
        case _:
            assert_never(command)
