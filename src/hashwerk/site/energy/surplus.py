"""Own surplus, followed at the meter: the house first, machines on what is left over, nothing bought for them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from hashwerk.dispatch.follower import FollowedMachine, Follower
from hashwerk.dispatch.instructions import Instruction
from hashwerk.dispatch.settings import DispatchSettings
from hashwerk.fleet.identity import MachineKey
from hashwerk.fleet.limits import Limits
from hashwerk.fleet.machine import Capability
from hashwerk.site.energy.ports import MachineNow

#: So long machines without a start left may run on bought power.
_BOUGHT_S: Final = 1_800.0


class SurplusFollower:
    """Keeps the site's import at nothing with all machines that are ours. Owned by one task; without a clock.

    What was told and did not happen is found out when its time is over, and counted as it is.
    """

    def __init__(self, settings: DispatchSettings, limits: Limits) -> None:
        self._limits = limits
        self._follower = Follower(settings=settings.follower)
        self._unmet_since: float | None = None
        self._wanted: dict[MachineKey, tuple[bool, float]] = {}  # on, and by when that shows

    def step(
        self, now: float, machines: Sequence[MachineNow], import_w: float | None
    ) -> tuple[tuple[Instruction, ...], bool]:
        """Return what to do now, and whether it comes before minimum times and starts.

        Whoever has no start left stays on through a cloud, but not through the night: what is bought for half an hour is ended.

        Args:
            now: Unix seconds.
            machines: All of the fleet.
            import_w: Measured, negative where power is fed in; None: not known, and nothing is done.
        """
        self._renew(machines, now)
        step = self._follower.step(now, import_w, 0.0)
        if step.unmet_w <= 0:
            self._unmet_since = None
        elif self._unmet_since is None:
            self._unmet_since = now
        is_hard = self._unmet_since is not None and now - self._unmet_since >= _BOUGHT_S
        if is_hard:
            step = self._follower.step(now, import_w, 0.0, ordered=True)
        by_key = {machine.key: machine for machine in machines}
        for instruction in step.instructions:
            machine = by_key[instruction.machine]
            name = type(instruction.command).__name__
            if name in {"Sleep", "Wake"}:
                takes_s = machine.wake_s if name == "Wake" else machine.sleep_s
                self._wanted[machine.key] = (name == "Wake", now + 2 * takes_s)
        return step.instructions, is_hard

    def _renew(self, machines: Sequence[MachineNow], now: float) -> None:
        here = {machine.key for machine in machines if machine.reason_not_ours is None}
        for key in self._wanted.keys() - here:
            self._follower.remove(key)
            del self._wanted[key]
        for machine in machines:
            if machine.key not in here:
                continue
            known = self._wanted.get(machine.key)
            is_as_wanted = known is not None and (known[0] == machine.is_on or now < known[1])
            if not is_as_wanted:
                self._add(machine, now)
                self._wanted[machine.key] = (machine.is_on, now)

    def _add(self, machine: MachineNow, now: float) -> None:
        limits = self._limits
        takes_limits = bool(Capability.POWER_LIMIT & machine.capabilities) and len(machine.modes) > 1
        best = machine.modes[-1]
        self._follower.add(
            FollowedMachine(
                name=machine.key,
                lowest_w=machine.modes[0].power_w,
                highest_w=best.power_w,
                residual_w=machine.idle_w,
                hashrate_per_w=best.hashrate_hs / best.power_w,
                takes_limits=takes_limits,
                wake_s=machine.wake_s,
                sleep_s=machine.sleep_s,
                min_on_s=limits.min_on_s,
                min_off_s=limits.min_off_s,
                starts_per_day=limits.starts_a_day,
            ),
            now,
            on=machine.is_on,
            power_w=machine.power_w,
            starts_left=max(0, limits.starts_a_day - machine.starts),
            since=machine.started_at if machine.is_on else machine.slept_at,
        )
