"""The limit that binds, and how the site stands to it."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Final

import msgspec

from hashwerk.fleet.commands import Command, SetMode, Wake
from hashwerk.site.energy.as_seen import drawn_w, power_in_mode_w
from hashwerk.site.energy.ports import MachineNow
from hashwerk.site.energy.under_way import UnderWay

#: More than what is under way is shed only if it is missing for so long, times the pace: meters and polls take turns.
_CONFIRM_S: Final = 10.0
#: A plan with a new order in it is waited for so long, whatever the pace: it knows of modes, and may let more machines run.
_PLAN_S: Final = 8.0
#: Whoever was above the limit for so long, times the pace, by the meter, counts on nothing that could be an error of ours.
_LATE_S: Final = 50.0
#: So much below a hard limit nothing is raised any more, as a share of it.
MARGIN: Final = 0.005


class Bound(msgspec.Struct, frozen=True, kw_only=True):
    """How the site stands to the limit that binds."""

    now: float
    cap_w: float | None  # None: there is none
    import_w: float | None
    expected_w: float | None  # what is under way counted in
    room_w: float  # for whoever would draw more
    is_ordered: bool  # a grid operator's order is in force
    is_above: bool  # measured
    is_late: bool  # it was above for long: the worse of two reckonings counts
    is_over: bool  # what is under way counted in
    is_sure: bool  # it is no matter of a meter or a plan that is a moment behind


class LimitWatch:
    """Watches power under the limit that binds. Owned by one loop."""

    def __init__(self, under_way: UnderWay, pace: float) -> None:
        self._under_way = under_way
        self._pace = pace
        self._above_since: float | None = None  # by the meter
        self._over_since: float | None = None  # what is under way counted in

    def look(
        self,
        machines: Sequence[MachineNow],
        now: float,
        import_w: float | None,
        cap_w: float | None,
        *,
        orders_active: bool,
        is_planned: bool,
    ) -> Bound:
        """Return how the site stands to the limit that binds, with what is under way counted in.

        ``is_planned`` says that the plan knows the limit, or that there is none to wait for.
        """
        expected_w, highest_w = (
            (None, None) if import_w is None else self._under_way.expected_w(machines, import_w)
        )
        is_above = cap_w is not None and import_w is not None and import_w > cap_w
        if not is_above:
            self._above_since = None
        elif self._above_since is None:
            self._above_since = now
        is_late = self._above_since is not None and now - self._above_since >= _LATE_S * self._pace
        expected_w = highest_w if is_late else expected_w
        is_over = cap_w is not None and expected_w is not None and expected_w > cap_w
        if not is_over:
            self._over_since = None
        elif self._over_since is None:
            self._over_since = now
        waited_s = 0.0 if self._over_since is None else now - self._over_since
        room_w = math.inf
        if cap_w is not None and import_w is not None and highest_w is not None:
            taken_w = max(import_w + self._under_way.rise_w(machines), highest_w)
            room_w = cap_w * (1 - MARGIN) - taken_w
        elif orders_active:
            room_w = 0.0  # nobody knows what there is room for
        return Bound(
            now=now,
            cap_w=cap_w,
            import_w=import_w,
            expected_w=expected_w,
            room_w=room_w,
            is_ordered=orders_active,
            is_above=is_above,
            is_late=is_late,
            is_over=is_over,
            is_sure=(is_planned or waited_s >= _PLAN_S)
            and (is_late or not self._under_way.is_anything or waited_s >= _CONFIRM_S * self._pace),
        )


def as_fits(machine: MachineNow, command: Command, room_w: float) -> tuple[Command, float]:
    """Return a command to draw more, in the highest mode that there is room for, and by how much power rises."""
    now_w = drawn_w(machine)
    mode = command.mode if isinstance(command, Wake | SetMode) else None
    rise_w = power_in_mode_w(machine, mode) - now_w
    if not isinstance(command, Wake) or mode is None or rise_w <= room_w:
        return command, rise_w
    lower = [one for one in machine.modes if one.power_w - now_w <= min(room_w, rise_w)]
    if not lower:
        return command, rise_w
    return Wake(lower[-1].name), lower[-1].power_w - now_w


def lowest(*limits_w: float | None) -> float | None:
    """Return the lowest of limits; None if there is none."""
    return min((limit_w for limit_w in limits_w if limit_w is not None), default=None)
