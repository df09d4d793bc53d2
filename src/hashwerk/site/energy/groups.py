"""Machines that are alike made into groups for a plan, and a plan's counts made into machines again."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import msgspec
import numpy as np

from hashwerk.dispatch.grid import DAY_S
from hashwerk.dispatch.modes import Mode
from hashwerk.dispatch.problem import Group, GroupHistory
from hashwerk.fleet.commands import Command, SetMode, Sleep, Wake
from hashwerk.fleet.identity import MachineKey
from hashwerk.fleet.limits import Limits
from hashwerk.fleet.machine import Capability
from hashwerk.fleet.states import State
from hashwerk.site.energy.ports import MachineNow

#: So long after its last change a machine's power counts as that of its mode.
_SETTLED_S: Final = 600.0
_LONG_S: Final = 365 * DAY_S


@dataclass(frozen=True, slots=True, eq=False)
class Herd:
    """A group of a plan with the machines that it counts: running ones first, in the order of its history."""

    group: Group
    history: GroupHistory
    keys: tuple[MachineKey, ...]


def make_herds(
    machines: Sequence[MachineNow], limits: Limits, now: float, *, pace: float = 1.0
) -> list[Herd]:
    """Return the machines that plans may switch, in groups of like ones. Others are not in any."""
    alike: dict[tuple[str, str | None, str | None, bool, int], list[MachineNow]] = {}
    for machine in machines:
        if machine.reason_not_ours is None:
            can_change = bool(Capability.MODE & machine.capabilities)
            key = (machine.model, machine.group, machine.feeder, can_change, len(machine.modes))
            alike.setdefault(key, []).append(machine)
    names = _names(list(alike))
    return [_herd(names[key], members, limits, now, pace) for key, members in sorted(alike.items(), key=str)]


def _names(
    keys: Sequence[tuple[str, str | None, str | None, bool, int]],
) -> dict[tuple[str, str | None, str | None, bool, int], str]:
    """Return a name for each group: as short as tells it from the others."""
    found: dict[tuple[str, str | None, str | None, bool, int], str] = {}
    for key in keys:
        same_model = [other for other in keys if other[0] == key[0]]
        parts = [key[0]]
        if len({other[1] for other in same_model}) > 1:
            parts.append(key[1] or "no group")
        if len({other[2] for other in same_model}) > 1:
            parts.append(f"feeder {key[2]}" if key[2] else "no feeder")
        name = ", ".join(parts)
        taken = sum(1 for other in found.values() if other.partition(" (part ")[0] == name)
        found[key] = name if not taken else f"{name} (part {taken + 1})"
    return found


def _herd(name: str, members: Sequence[MachineNow], limits: Limits, now: float, pace: float) -> Herd:
    running = [machine for machine in members if machine.is_on]
    asleep = [machine for machine in members if not machine.is_on]
    first = members[0]
    idle_w = float(np.median([machine.idle_w for machine in members]))
    modes = _modes(members, idle_w, now, pace)
    if not Capability.MODE & first.capabilities and len(modes) > 1:
        modes = _only_mode(members, modes)
    on_for = np.array([_on_for_s(machine, now) for machine in running])
    off_for = np.array([_off_for_s(machine, now) for machine in asleep])
    left = np.array([max(0, limits.starts_a_day - machine.starts) for machine in [*running, *asleep]])
    group = Group(
        name=name,
        modes=modes,
        count=len(members),
        residual_w=min(idle_w, 0.9 * modes[0].power_w),
        wake_s=float(np.median([machine.wake_s for machine in members])),
        min_on_s=limits.min_on_s,
        min_off_s=limits.min_off_s,
        starts_per_day=limits.starts_a_day,
        feeder=first.feeder,
        response_s=float(np.median([machine.sleep_s for machine in members])),
    )
    history = GroupHistory(
        on_for_s=on_for.astype(np.float64),
        off_for_s=off_for.astype(np.float64),
        starts_left=left.astype(np.int64),
    )
    return Herd(group, history, tuple(machine.key for machine in [*running, *asleep]))


def _on_for_s(machine: MachineNow, now: float) -> float:
    began = machine.since if machine.state is State.WAKING else machine.started_at
    return _LONG_S if began is None else max(0.0, now - began)  # None: it ran before we came


def _off_for_s(machine: MachineNow, now: float) -> float:
    began = machine.since if machine.state is State.FALLING_ASLEEP else machine.slept_at
    return _LONG_S if began is None else max(0.0, now - began)


def _modes(members: Sequence[MachineNow], idle_w: float, now: float, pace: float) -> tuple[Mode, ...]:
    """Return the group's modes with the power that its own machines are measured or reported to draw, where some run in them."""
    known = members[0].modes
    drawn: dict[str, list[float]] = {}
    for machine in members:
        is_settled = machine.state is State.HASHING and now - machine.since >= _SETTLED_S * pace
        if is_settled and machine.power_w and machine.power_limit_w is None:
            name = machine.mode if len(known) > 1 else known[0].name
            drawn.setdefault((name or "").casefold(), []).append(machine.power_w)
    found = []
    for mode in known:
        seen = drawn.get(mode.name.casefold())
        power_w = float(np.mean(seen)) if seen else mode.power_w
        found.append(msgspec.structs.replace(mode, power_w=power_w))
    rising = all(
        low.power_w < high.power_w and low.hashrate_hs < high.hashrate_hs
        for low, high in itertools.pairwise(found)
    )
    return tuple(found) if rising and found[0].power_w > idle_w else known


def _only_mode(members: Sequence[MachineNow], modes: tuple[Mode, ...]) -> tuple[Mode, ...]:
    """Return the one mode that machines are in which cannot be told to change it."""
    names = [(machine.mode or "").casefold() for machine in members]
    return (max(modes, key=lambda mode: (names.count(mode.name.casefold()), mode.power_w)),)


class Wanted(msgspec.Struct, frozen=True):
    """How one machine is wanted: in a mode, or asleep."""

    mode: str | None  # None: asleep


def assign(
    herd: Herd,
    counts: Sequence[int],
    machines: Mapping[MachineKey, MachineNow],
    *,
    limits: Limits,
    now: float,
    excluded: frozenset[MachineKey] = frozenset(),
) -> dict[MachineKey, Wanted]:
    """Return which machines make up a plan's counts of each mode: those that need to change least.

    Whoever is on stays on first, then whoever has slept longest and has starts left wakes. A machine that is no longer ours
    to switch is replaced by another of its group.
    """
    members = [
        machines[key]
        for key in herd.keys
        if key in machines and key not in excluded and machines[key].reason_not_ours is None
    ]
    chosen = sorted(members, key=lambda machine: _keenness(machine, limits, now))[: sum(counts)]
    found = {machine.key: Wanted(None) for machine in members}
    left = dict(zip((mode.name for mode in herd.group.modes), counts, strict=True))
    undecided = []
    for machine in chosen:
        name = next((n for n in left if n.casefold() == (machine.mode or "").casefold()), None)
        if len(left) == 1:
            name = next(iter(left))
        if machine.is_on and name is not None and left[name] > 0:
            left[name] -= 1
            found[machine.key] = Wanted(name)
        else:
            undecided.append(machine)
    names = [name for name in reversed(left) for _ in range(left[name])]
    for machine, name in zip(undecided, names, strict=False):
        found[machine.key] = Wanted(name)
    return found


def _keenness(machine: MachineNow, limits: Limits, now: float) -> tuple[float, ...]:
    if machine.is_on:
        may_not_sleep = machine.started_at is not None and now - machine.started_at < limits.min_on_s
        may_not_sleep |= machine.starts >= limits.starts_a_day
        return (0.0, 0.0 if may_not_sleep else 1.0, -float(machine.starts), -(machine.started_at or 0.0))
    may_not_wake = machine.slept_at is not None and now - machine.slept_at < limits.min_off_s
    return (1.0, 1.0 if may_not_wake else 0.0, float(machine.starts), machine.slept_at or 0.0)


def command_for(machine: MachineNow, wanted: Wanted) -> Command | None:
    """Return what brings a machine to how it is wanted; None if it is so, or on its way."""
    if wanted.mode is None:
        return Sleep() if machine.is_on else None
    can_change = bool(Capability.MODE & machine.capabilities) and len(machine.modes) > 1
    if machine.state is State.ASLEEP:
        return Wake(wanted.mode if can_change else None)
    is_other = machine.mode is not None and machine.mode.casefold() != wanted.mode.casefold()
    if machine.state is State.HASHING and can_change and is_other:
        return SetMode(wanted.mode)
    return None
