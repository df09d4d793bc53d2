"""What machines were told, and what of it the meter does not show yet."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Final

import msgspec

from hashwerk.fleet.commands import Command, SetMode, SetPowerLimit, Sleep, Wake
from hashwerk.fleet.identity import MachineKey
from hashwerk.fleet.machine import Capability
from hashwerk.fleet.states import State
from hashwerk.site.energy.as_seen import drawn_w, power_in_mode_w
from hashwerk.site.energy.ports import MachineNow

#: The same command is repeated after so long, times the fleet's pace; until then the fleet itself tells again who did not hear.
_AGAIN_S: Final = 600.0
#: Who has slept for so long, times the pace, has done as told.
_DONE_S: Final = 60.0
#: Some time until a poll sees what a command did, beside the machine's own.
SEEN_S: Final = 15.0
#: A lower mode must show so long after the order, times the pace, less the time that falling asleep would take: an order is
#: obeyed within a minute, and whoever does not come down by his mode has to sleep by then.
_DEADLINE_S: Final = 40.0
#: A change of mode that takes longer than so many times of what it has is not tried against a deadline.
_HOPE: Final = 4.0
#: Whoever has done half of it by then is waited for so long more, times the pace.
_MORE_S: Final = 20.0


class Pending(msgspec.Struct, frozen=True, kw_only=True):
    """A change of power that was told."""

    from_w: float
    goal_w: float
    until: float  # by then it shows, or it is not counted any more
    may_last: bool = True  # whoever is half way is waited for once more


class UnderWay:
    """What was told to whom and when. Owned by one loop; without a clock of its own.

    Args:
        pace: How much faster than real ones machines live, as a factor on times.
    """

    def __init__(self, pace: float) -> None:
        self._pace = pace
        self._pending: dict[MachineKey, Pending] = {}
        self._import_w: float | None = None
        self._before_w: float | None = None  # the meter when the first of what is under way was told
        self.told: dict[MachineKey, tuple[Command, float]] = {}

    def last(self, key: MachineKey) -> Command | None:
        """Return what a machine was told last; None if it was told nothing."""
        told = self.told.get(key)
        return None if told is None else told[0]

    def look(self, machines: Iterable[MachineNow], now: float, import_w: float | None) -> None:
        """Count no more on what should have shown by now."""
        powers = {machine.key: drawn_w(machine) for machine in machines}
        kept: dict[MachineKey, Pending] = {}
        for key, one in self._pending.items():
            if key not in powers:
                continue
            if one.until > now:
                kept[key] = one
            elif one.may_last and abs(powers[key] - one.goal_w) <= 0.5 * abs(one.from_w - one.goal_w):
                until = one.until + _MORE_S * self._pace
                kept[key] = msgspec.structs.replace(one, until=until, may_last=False)
            else:
                self._settle(one, powers[key])
        self._pending, self._import_w = kept, import_w
        if not kept:
            self._before_w = None

    def _settle(self, one: Pending, power_w: float) -> None:
        """Count what has become of a change as done."""
        if self._before_w is not None:
            self._before_w += power_w - one.from_w

    def expected_w(self, machines: Iterable[MachineNow], import_w: float) -> tuple[float, float]:
        """Return what the meter will show once everything has shown, reckoned in two ways: the lower and the higher.

        Once from what meter and machines say now, and once from what the meter said before anything was told. A meter and polls
        are never of the same moment: while power falls, one of the two is wrong.
        """
        by_polls_w = import_w + sum(
            self._pending[machine.key].goal_w - drawn_w(machine)
            for machine in machines
            if machine.key in self._pending
        )
        if self._before_w is None:
            return by_polls_w, by_polls_w
        told_w = self._before_w + sum(one.goal_w - one.from_w for one in self._pending.values())
        return min(by_polls_w, told_w), max(by_polls_w, told_w)

    def goal_w(self, machine: MachineNow) -> float | None:
        """Return what a machine is about to draw; None if nothing is under way."""
        one = self._pending.get(machine.key)
        return None if one is None else one.goal_w

    def rise_w(self, machines: Iterable[MachineNow]) -> float:
        """Return by how much power will still rise; what falls makes room only once the meter shows it."""
        return sum(
            max(0.0, self._pending[machine.key].goal_w - drawn_w(machine))
            for machine in machines
            if machine.key in self._pending
        )

    @property
    def is_anything(self) -> bool:
        """Whether a change is under way."""
        return bool(self._pending)

    def is_new(self, machine: MachineNow, command: Command, now: float, *, is_hard: bool) -> bool:
        """Say whether telling this changes anything: it is not so already, and was not said a moment ago."""
        if isinstance(command, Sleep) and not machine.is_on and not machine.power_w:
            return False
        told = self.told.get(machine.key)
        if told is not None and told[0] == command and now - told[1] < _AGAIN_S * self._pace:
            return False
        if isinstance(command, SetPowerLimit) and not Capability.POWER_LIMIT & machine.capabilities:
            return False
        is_free = not machine.is_busy or self.has_done(machine, now)
        return is_hard or is_free or isinstance(command, SetPowerLimit)

    def has_done(self, machine: MachineNow, now: float) -> bool:
        """Say whether a machine sleeps as told though its order is still open: others of the order are slower."""
        told = self.told.get(machine.key)
        is_asleep = told is not None and isinstance(told[0], Sleep) and machine.state is State.ASLEEP
        return is_asleep and told is not None and now - told[1] >= _DONE_S * self._pace

    def is_deaf(self, machine: MachineNow, now: float) -> bool:
        """Say whether a machine was told to sleep, had its time, and draws the power of work all the same."""
        told = self.told.get(machine.key)
        if told is None or not isinstance(told[0], Sleep):
            return False
        is_late = now - told[1] >= machine.sleep_s + SEEN_S * self._pace
        return is_late and (machine.power_w is None or machine.power_w > machine.idle_w * 1.5 + 20.0)

    def patience_s(self, machine: MachineNow) -> float:
        """Return how long a lower mode may take to show against a deadline; 0: it is not tried."""
        patience_s = max(0.0, _DEADLINE_S * self._pace - machine.sleep_s)
        return patience_s if machine.mode_s <= _HOPE * patience_s else 0.0

    def note(self, machine: MachineNow, command: Command, now: float) -> None:
        """Keep what a machine is told now."""
        self.told[machine.key] = (command, now)
        seen_s = SEEN_S * self._pace
        match command:
            case Sleep():
                goal_w, takes_s = machine.idle_w, machine.sleep_s + seen_s
            case Wake(mode) if machine.modes:
                goal_w, takes_s = power_in_mode_w(machine, mode), machine.wake_s + seen_s
            case SetMode(mode):
                goal_w = power_in_mode_w(machine, mode) * _as_this_one(machine)
                is_lower = goal_w < drawn_w(machine)
                takes_s = self.patience_s(machine) if is_lower else machine.mode_s + seen_s
            case _:
                self._drop(machine)
                return
        self._drop(machine)
        if not self._pending:
            self._before_w = self._import_w
        self._pending[machine.key] = Pending(
            from_w=drawn_w(machine), goal_w=goal_w, until=now + takes_s, may_last=command != Sleep()
        )

    def _drop(self, machine: MachineNow) -> None:
        one = self._pending.pop(machine.key, None)
        if one is not None:
            self._settle(one, drawn_w(machine))

    def forget(self, keys: Sequence[MachineKey]) -> None:
        """Forget what could not be told."""
        for key in keys:
            self.told.pop(key, None)
            self._pending.pop(key, None)

    def ended_others(self, keys: Sequence[MachineKey]) -> None:
        """Forget what was told with earlier orders that the fleet has ended: whoever else was in them may be told again."""
        chosen = set(keys)
        self.told = {
            key: told for key, told in self.told.items() if key in chosen or isinstance(told[0], Sleep)
        }


def _as_this_one(machine: MachineNow) -> float:
    """Return what a machine draws as a share of what its mode says: of another mode it will draw as much more or less."""
    if machine.mode is None or machine.state is not State.HASHING or machine.power_limit_w is not None:
        return 1.0
    return min(1.25, max(0.8, drawn_w(machine) / power_in_mode_w(machine, machine.mode)))
