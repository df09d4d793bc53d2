"""A machine as follower and guard see it."""

from __future__ import annotations

from hashwerk.dispatch.follower import FollowedMachine
from hashwerk.dispatch.safety import GuardedMachine
from hashwerk.fleet.limits import Limits
from hashwerk.fleet.machine import Capability
from hashwerk.fleet.states import State
from hashwerk.site.energy.ports import MachineNow


def drawn_w(machine: MachineNow) -> float:
    """Return what a machine is believed to draw; many say nothing of it while they sleep."""
    if machine.power_w is not None:
        return machine.power_w
    return machine.idle_w if machine.state is State.ASLEEP else 0.0


def power_in_mode_w(machine: MachineNow, mode: str | None) -> float:
    """Return what a machine draws in a mode; in its highest where that is not known."""
    named = [
        one.power_w for one in machine.modes if mode is not None and one.name.casefold() == mode.casefold()
    ]
    return named[0] if named else machine.modes[-1].power_w


def followed(machine: MachineNow, highest_w: float, *, takes_limits: bool, limits: Limits) -> FollowedMachine:
    """Return a machine for the follower; without modes to choose from it may be brought down to half."""
    best = max(machine.modes, key=lambda mode: mode.power_w)
    return FollowedMachine(
        name=machine.key,
        lowest_w=machine.modes[0].power_w if len(machine.modes) > 1 else 0.5 * highest_w,
        highest_w=highest_w,
        residual_w=machine.idle_w,
        hashrate_per_w=best.hashrate_hs / best.power_w,
        takes_limits=takes_limits,
        wake_s=machine.wake_s,
        sleep_s=machine.sleep_s,
        min_on_s=limits.min_on_s,
        min_off_s=limits.min_off_s,
        starts_per_day=limits.starts_a_day,
    )


def guarded(machine: MachineNow, *, is_deaf: bool = False) -> GuardedMachine:
    """Return a machine for the guard; a deaf one was told to sleep and does not."""
    highest_w = max((mode.power_w for mode in machine.modes), default=machine.power_w or 0.0)
    rate_hs = max((mode.hashrate_hs for mode in machine.modes), default=0.0)
    takes_limits = bool(Capability.POWER_LIMIT & machine.capabilities)
    return GuardedMachine(
        name=machine.key,
        highest_w=highest_w,
        lowest_w=machine.modes[0].power_w if takes_limits and len(machine.modes) > 1 else None,
        residual_w=machine.idle_w,
        hashrate_per_w=rate_hs / highest_w if highest_w else 0.0,
        feeder=machine.feeder,
        power_w=machine.power_w,
        chip_max_c=machine.chip_max_c,
        inlet_c=machine.inlet_c,
        is_deaf=is_deaf,
    )
