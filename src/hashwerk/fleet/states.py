"""What a machine is doing, as far as anybody can tell: a table of transitions, each with its cause.

Two things move a machine from state to state: what a poll saw, and what was commanded. A change that was commanded and does
not show within its deadline is *overdue*; the next poll then says where the machine really is.
"""

from __future__ import annotations

import enum
from dataclasses import dataclass
from typing import Final

import msgspec

from hashwerk.fleet.machine import WorkState
from hashwerk.fleet.timing import Change


class State(enum.Enum):
    """What a machine is doing."""

    UNKNOWN = "unknown"
    HASHING = "hashing"
    FALLING_ASLEEP = "falling asleep"
    ASLEEP = "asleep"
    WAKING = "waking"
    CHANGING_MODE = "changing mode"
    REBOOTING = "rebooting"
    FAULTY = "faulty"
    UNREACHABLE = "unreachable"


class Trigger(enum.Enum):
    """What moves a machine from one state to another."""

    SAW_HASHING = "saw hashing"
    SAW_STARTING = "saw starting"
    SAW_ASLEEP = "saw asleep"
    SAW_FAULT = "saw a fault"
    SAW_UNKNOWN = "saw an answer that does not tell"
    SILENT = "no answer"
    TOLD_SLEEP = "told to sleep"
    TOLD_WAKE = "told to wake"
    TOLD_MODE = "told to change mode"
    TOLD_REBOOT = "told to reboot"
    OVERDUE = "overdue"


SAW: Final = {
    WorkState.HASHING: Trigger.SAW_HASHING,
    WorkState.STARTING: Trigger.SAW_STARTING,
    WorkState.ASLEEP: Trigger.SAW_ASLEEP,
    WorkState.FAULT: Trigger.SAW_FAULT,
    WorkState.UNKNOWN: Trigger.SAW_UNKNOWN,
}

_S, _T = State, Trigger
_TOLD: Final = {
    _T.TOLD_SLEEP: (_S.FALLING_ASLEEP, "told to sleep"),
    _T.TOLD_WAKE: (_S.WAKING, "told to wake"),
    _T.TOLD_MODE: (_S.CHANGING_MODE, "told to change mode"),
    _T.TOLD_REBOOT: (_S.REBOOTING, "told to reboot"),
}
_SILENT: Final = {_T.SILENT: (_S.UNREACHABLE, "does not answer")}
_FAULT: Final = {_T.SAW_FAULT: (_S.FAULTY, "reports a fault")}

#: State → trigger → (next state, cause). What is not in the table changes nothing.
TRANSITIONS: Final[dict[State, dict[Trigger, tuple[State, str]]]] = {
    _S.UNKNOWN: _TOLD
    | _SILENT
    | _FAULT
    | {
        _T.SAW_HASHING: (_S.HASHING, "was found hashing"),
        _T.SAW_STARTING: (_S.WAKING, "was found starting"),
        _T.SAW_ASLEEP: (_S.ASLEEP, "was found asleep"),
    },
    _S.HASHING: _TOLD
    | _SILENT
    | _FAULT
    | {
        _T.SAW_ASLEEP: (_S.ASLEEP, "fell asleep unasked"),
        _T.SAW_STARTING: (_S.WAKING, "started anew unasked"),
    },
    _S.FALLING_ASLEEP: _TOLD
    | _FAULT
    | {
        _T.SAW_ASLEEP: (_S.ASLEEP, "fell asleep as told"),
        _T.OVERDUE: (_S.UNKNOWN, "did not fall asleep in time"),
        # Some answer nothing while they go down; only past its deadline is that silence.
    },
    _S.ASLEEP: _TOLD
    | _SILENT
    | _FAULT
    | {
        _T.SAW_HASHING: (_S.HASHING, "woke unasked"),
        _T.SAW_STARTING: (_S.WAKING, "wakes unasked"),
    },
    _S.WAKING: _TOLD
    | _FAULT
    | {
        _T.SAW_HASHING: (_S.HASHING, "hashes again"),
        _T.OVERDUE: (_S.UNKNOWN, "did not wake in time"),
    },
    _S.CHANGING_MODE: _TOLD
    | _FAULT
    | {
        _T.SAW_HASHING: (_S.HASHING, "changed mode as told"),
        _T.SAW_ASLEEP: (_S.ASLEEP, "fell asleep while changing mode"),
        _T.OVERDUE: (_S.UNKNOWN, "did not change mode in time"),
    },
    _S.REBOOTING: _TOLD
    | _FAULT
    | {
        _T.SAW_HASHING: (_S.HASHING, "is back from its reboot"),
        _T.SAW_ASLEEP: (_S.ASLEEP, "is back from its reboot, asleep"),
        _T.OVERDUE: (_S.UNKNOWN, "did not come back in time"),
    },
    _S.FAULTY: _TOLD
    | _SILENT
    | {
        _T.SAW_HASHING: (_S.HASHING, "hashes again without fault"),
        _T.SAW_STARTING: (_S.WAKING, "starts again"),
        _T.SAW_ASLEEP: (_S.ASLEEP, "sleeps, without fault"),
    },
    _S.UNREACHABLE: _FAULT
    | {
        _T.SAW_HASHING: (_S.HASHING, "answers again, hashing"),
        _T.SAW_STARTING: (_S.WAKING, "answers again, starting"),
        _T.SAW_ASLEEP: (_S.ASLEEP, "answers again, asleep"),
        _T.SAW_UNKNOWN: (_S.UNKNOWN, "answers again"),
    },
}

CHANGE_OF: Final = {
    _S.FALLING_ASLEEP: Change.SLEEP,
    _S.WAKING: Change.WAKE,
    _S.CHANGING_MODE: Change.MODE,
    _S.REBOOTING: Change.REBOOT,
}
"""The states that end, and what is under way in each."""

#: Where each change ends when it goes well.
_ARRIVES: Final = {
    _S.FALLING_ASLEEP: _S.ASLEEP,
    _S.WAKING: _S.HASHING,
    _S.CHANGING_MODE: _S.HASHING,
    _S.REBOOTING: _S.HASHING,
}


class Transition(msgspec.Struct, frozen=True, kw_only=True):
    """One change of state and its cause."""

    at: float
    was: State
    now: State
    cause: str
    took_s: float | None = None  # a change that was commanded and went well
    change: Change | None = None  # which


@dataclass(slots=True)
class Condition:
    """The state of one machine. Owned by the fleet's task."""

    state: State = State.UNKNOWN
    since: float = 0.0
    cause: str = "not heard of yet"
    deadline: float | None = None
    wanted_mode: str | None = None  # while it changes mode
    was_told: bool = False  # the change under way was commanded
    silences: int = 0

    def see(self, seen: WorkState, mode: str | None, now: float, wake_deadline_s: float) -> Transition | None:
        """Take in what a poll saw. ``wake_deadline_s`` is how long it may take if it turns out to be starting."""
        self.silences = 0
        if self.state is State.FALLING_ASLEEP and seen in (WorkState.HASHING, WorkState.STARTING):
            return self._overdue(now)
        if self.state is State.CHANGING_MODE and seen is WorkState.HASHING and not self._has_mode(mode):
            return self._overdue(now)
        if self.state is State.WAKING and seen is WorkState.ASLEEP:
            return self._overdue(now)
        if self.state is State.REBOOTING and seen is not WorkState.FAULT and now - self.since < 1.0:
            return None  # it has not gone down yet
        transition = self._move(SAW[seen], now)
        if transition is not None and self.state is State.WAKING:
            self.deadline = now + wake_deadline_s
        return transition or self._overdue(now)

    def miss(self, now: float, silences_needed: int) -> Transition | None:
        """Take in that a poll got no answer; only several in a row make a machine unreachable."""
        self.silences += 1
        if self.silences < silences_needed:
            return None
        if self.state not in CHANGE_OF:
            return self._move(Trigger.SILENT, now)
        if self.deadline is not None and now < self.deadline:
            return None  # many are silent while they change
        return self._force(State.UNREACHABLE, "went silent and did not come back in time", now)

    def tell(
        self, trigger: Trigger, now: float, deadline_s: float, mode: str | None = None
    ) -> Transition | None:
        """Take in that a command was sent and may have been taken; from now on its effect is waited for."""
        transition = self._move(trigger, now)
        if self.state in CHANGE_OF:
            self.deadline, self.was_told, self.wanted_mode = now + deadline_s, True, mode
        return transition

    def _has_mode(self, mode: str | None) -> bool:
        wanted = self.wanted_mode
        return wanted is None or mode is None or wanted.casefold() == mode.casefold()

    def _overdue(self, now: float) -> Transition | None:
        if self.deadline is None or now < self.deadline:
            return None
        return self._move(Trigger.OVERDUE, now)

    def _move(self, trigger: Trigger, now: float) -> Transition | None:
        entry = TRANSITIONS[self.state].get(trigger)
        return None if entry is None else self._force(*entry, now)

    def _force(self, state: State, cause: str, now: float) -> Transition:
        arrived = self.was_told and _ARRIVES.get(self.state) is state
        transition = Transition(
            at=now,
            was=self.state,
            now=state,
            cause=cause,
            took_s=now - self.since if arrived else None,
            change=CHANGE_OF[self.state] if arrived else None,
        )
        self.state, self.since, self.cause = state, now, cause
        self.deadline, self.was_told, self.wanted_mode = None, False, None
        return transition
