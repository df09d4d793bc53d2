"""From a plan to commands: who makes up its counts, what the meter says of it, and what safety takes away.

Three voices, each louder than the one before: the plan decides who is on and in which mode; where a limit binds, the follower
keeps measured power below it with power limits, and above it with sleep as well; the guard comes last and wins. On own surplus
the follower alone decides, at the meter. A machine is told
something when that changes something, and the same thing again only after a while: the fleet verifies and repeats by itself.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Final, Protocol

import msgspec

from hashwerk.dispatch.follower import Follower
from hashwerk.dispatch.instructions import Instruction
from hashwerk.dispatch.policies.clean import SurplusOnly
from hashwerk.dispatch.safety import Decision, GuardedFeeder, Signal, Stance, guard
from hashwerk.dispatch.settings import DispatchSettings
from hashwerk.errors import FleetError, StoreError
from hashwerk.fleet.commands import Command, SetMode, SetPowerLimit, Sleep, Wake
from hashwerk.fleet.identity import MachineKey
from hashwerk.fleet.limits import Limits
from hashwerk.fleet.machine import Capability
from hashwerk.fleet.states import State
from hashwerk.site.energy.as_seen import followed, guarded, power_in_mode_w
from hashwerk.site.energy.groups import Wanted, assign, command_for
from hashwerk.site.energy.planning import Plan
from hashwerk.site.energy.ports import FleetPort, MachineNow
from hashwerk.site.energy.surplus import SurplusFollower

log = logging.getLogger(__name__)

#: The same command is repeated after so long, times the fleet's pace; until then the fleet itself tells again who did not hear.
_AGAIN_S: Final = 600.0
#: Who was shed under an order sleeps on for so long, times the pace, whatever new plans say.
_SHED_S: Final = 900.0
#: A change of mode is waited for no longer than this under an order, times the pace: its deadline is near.
_MODE_S: Final = 30.0
#: Who has slept for so long, times the pace, has done as told.
_DONE_S: Final = 60.0
#: Some time until a poll sees what a command did, beside the machine's own.
_SEEN_S: Final = 15.0


class Batch(msgspec.Struct, frozen=True, kw_only=True):
    """One command for many machines: one order of the fleet."""

    command: Command
    machines: tuple[MachineKey, ...]
    why: str
    is_hard: bool
    ends_others: bool = False  # earlier orders for these machines end with it


class Steps(msgspec.Struct, frozen=True, kw_only=True):
    """What one look asked for."""

    batches: tuple[Batch, ...]
    decision: Decision
    setpoint_w: float | None
    is_hard: bool


class Steering:
    """Carries plans out. Owned by one loop; without a clock of its own."""

    def __init__(self, settings: DispatchSettings, fleet: FleetPort) -> None:
        self._settings = settings
        self._fleet = fleet
        self._follower = Follower(settings=settings.follower)
        self._surplus = SurplusFollower(settings, fleet.limits)
        self._followed: dict[MachineKey, tuple[bool, float]] = {}
        self._follows_hard = False
        self._shed: dict[MachineKey, float] = {}  # asleep by the follower or the guard, since when
        self._under_way: dict[
            MachineKey, tuple[float, float]
        ] = {}  # watts that the meter will show, until when
        self.told: dict[MachineKey, tuple[Command, float]] = {}

    def new_plan(self, now: float, *, orders_active: bool) -> None:
        """Forget who was shed: a new plan counts with what is measured. Under an order they sleep on for a while."""
        kept_s = _SHED_S * self._fleet.pace if orders_active else 0.0
        self._shed = {key: since for key, since in self._shed.items() if now - since < kept_s}

    def look(
        self,
        now: float,
        plan: Plan | None,
        machines: Sequence[MachineNow],
        *,
        import_w: float | None,
        signals: Sequence[Signal] = (),
        emergency: str | None = None,
        orders_active: bool = False,
        is_shown_only: bool = False,
    ) -> Steps:
        """Return what must be told to whom now.

        Args:
            now: Unix seconds.
            plan: What is to be carried out; None: there is none, and only the guard speaks.
            machines: All of the fleet.
            import_w: Measured; None: not known.
            signals: What decisions rest on, with ages.
            emergency: The order that stops everything, in words.
            orders_active: Whether a grid operator's order is in force: then nothing waits.
            is_shown_only: Nothing will be sent, and nothing is to be remembered as told.
        """
        decision = self._guard(machines, signals, emergency)
        batches: dict[tuple[Command, bool, str], list[MachineKey]] = {}
        by_key = {machine.key: machine for machine in machines}
        self._under_way = {
            key: entry for key, entry in self._under_way.items() if entry[1] > now and key in by_key
        }

        def ask(machine: MachineNow, command: Command, why: str, *, is_hard: bool) -> None:
            if self._is_new(machine, command, now, is_hard=is_hard):
                batches.setdefault((command, is_hard, why), []).append(machine.key)
                if not is_shown_only:
                    self._note(machine, command, now)

        for instruction in decision.instructions:
            machine = by_key[instruction.machine]
            self._shed[machine.key] = now
            ask(machine, instruction.command, instruction.reason, is_hard=True)
        setpoint_w, is_hard = None, False
        if plan is not None and decision.stance not in {Stance.STOP, Stance.CURTAIL}:
            cap_w = plan.limit_w(now)
            setpoint_w = self._setpoint(plan, now)
            is_hard = orders_active or (cap_w is not None and import_w is not None and import_w > cap_w)
            follows_surplus = plan.policy == SurplusOnly.name and not is_hard
            if follows_surplus:
                setpoint_w = 0.0
                if not is_shown_only and decision.stance is not Stance.KEEP:
                    followed, hard = self._surplus.step(now, machines, import_w)
                    for instruction in followed:
                        ask(by_key[instruction.machine], instruction.command, "own surplus", is_hard=hard)
            elif decision.stance is not Stance.KEEP or is_hard:
                room_w = math.inf
                if cap_w is not None and import_w is not None:
                    room_w = cap_w - import_w - self._under_way_w(machines)
                self._carry_out(plan, by_key, now, ask, is_hard=orders_active, room_w=room_w)
            is_bound = is_hard or (cap_w is not None and not follows_surplus)
            trims: tuple[Instruction, ...] = ()
            if is_bound and not is_shown_only:
                trims = self._follow(plan, machines, now, import_w, setpoint_w, is_hard=is_hard)
            for instruction in trims:
                machine = by_key[instruction.machine]
                if isinstance(instruction.command, Sleep):
                    self._shed[machine.key] = now
                if not isinstance(instruction.command, Wake):
                    ask(machine, instruction.command, instruction.reason, is_hard=is_hard)
        return Steps(
            batches=tuple(
                Batch(
                    command=command,
                    machines=tuple(keys),
                    why=why,
                    is_hard=hard,
                    ends_others=any(by_key[key].is_busy for key in keys),
                )
                for (command, hard, why), keys in batches.items()
            ),
            decision=decision,
            setpoint_w=setpoint_w,
            is_hard=is_hard,
        )

    async def send(self, steps: Steps) -> int:
        """Hand the batches to the fleet; return how many machines were told. Who could not be told is told later."""
        sent = 0
        for batch in steps.batches:
            try:
                await self._fleet.tell(batch.command, batch.machines, why=batch.why, is_hard=batch.is_hard)
            except (FleetError, StoreError) as error:
                log.error("%d machines are not told to %s: %s", len(batch.machines), batch.command, error)
                for key in batch.machines:
                    self.told.pop(key, None)
                    self._under_way.pop(key, None)
            else:
                sent += len(batch.machines)
                if batch.ends_others:
                    # The fleet has ended earlier orders: what else was in them may be told again.
                    chosen = set(batch.machines)
                    self.told = {
                        key: told
                        for key, told in self.told.items()
                        if key in chosen or isinstance(told[0], Sleep)
                    }
        return sent

    # --- the plan ---

    def _carry_out(
        self,
        plan: Plan,
        machines: Mapping[MachineKey, MachineNow],
        now: float,
        ask: Ask,
        *,
        is_hard: bool,
        room_w: float,
    ) -> None:
        """Ask for what makes up the plan's counts; whoever would draw more has to fit under the limit that binds."""
        for number, herd in enumerate(plan.herds):
            wanted = assign(
                herd,
                plan.counts(number, now),
                machines,
                limits=self._fleet.limits,
                now=now,
                excluded=frozenset(self._shed),
            )
            for key, how in wanted.items():
                command = command_for(machines[key], how)
                if command is None:
                    continue
                rise_w = (
                    0.0
                    if how.mode is None
                    else power_in_mode_w(machines[key], how.mode) - (machines[key].power_w or 0.0)
                )
                if rise_w > 0 and rise_w > room_w:
                    continue
                room_w -= max(0.0, rise_w)
                hard_sleep = is_hard and isinstance(command, Sleep)
                if hard_sleep or self._may_now(machines[key], how, now):
                    ask(machines[key], command, f"plan of {plan.policy}", is_hard=hard_sleep)

    def _may_now(self, machine: MachineNow, wanted: Wanted, now: float) -> bool:
        """Say whether the fleet would do it now: minimum times and starts are left to run out, without asking in vain."""
        limits: Limits = self._fleet.limits
        if machine.is_busy and not self._has_done(machine, now):
            return False
        if wanted.mode is None:
            is_young = machine.started_at is not None and now - machine.started_at < limits.min_on_s
            return not is_young and machine.starts < limits.starts_a_day
        return machine.is_on or machine.slept_at is None or now - machine.slept_at >= limits.min_off_s

    @staticmethod
    def _setpoint(plan: Plan, now: float) -> float:
        """Return what the site should draw in this interval."""
        return float(plan.schedule.import_w[plan.at(now)])

    # --- the meter ---

    def _follow(
        self,
        plan: Plan,
        machines: Sequence[MachineNow],
        now: float,
        import_w: float | None,
        setpoint_w: float,
        *,
        is_hard: bool,
    ) -> tuple[Instruction, ...]:
        """Return what brings measured power to the set-point.

        Under a hard limit whoever is on may be put to sleep; otherwise only power limits move: what a plan wants on stays on.
        """
        if is_hard != self._follows_hard:
            self._follower, self._followed = Follower(settings=self._settings.follower), {}
            self._follows_hard = is_hard
        self._renew(plan, machines, now, is_hard=is_hard)
        if import_w is None or not self._followed:
            return ()
        under_way_w = self._under_way_w(machines)
        cap_w = plan.limit_w(now)
        if is_hard and cap_w is not None:
            setpoint_w = cap_w  # below a limit there is nothing to complain of
            if import_w + under_way_w <= cap_w:
                return ()
        step = self._follower.step(now, import_w + under_way_w, setpoint_w, ordered=is_hard)
        return step.instructions

    def _under_way_w(self, machines: Sequence[MachineNow]) -> float:
        """Return by how much power will still change: what was told, less what machines draw by now."""
        return sum(
            self._under_way[machine.key][0] - (machine.power_w or 0.0)
            for machine in machines
            if machine.key in self._under_way
        )

    def _renew(self, plan: Plan, machines: Sequence[MachineNow], now: float, *, is_hard: bool) -> None:
        """Tell the follower who there is to follow with: whoever is on and ours."""
        planned = {key for herd in plan.herds for key in herd.keys}
        here: dict[MachineKey, tuple[bool, float]] = {}
        for machine in machines:
            takes_limits = bool(Capability.POWER_LIMIT & machine.capabilities)
            is_asleep = isinstance(self._last(machine.key), Sleep) or not machine.is_on
            if machine.key not in planned or is_asleep or machine.reason_not_ours is not None:
                continue
            if not is_hard and not takes_limits:
                continue
            highest_w = power_in_mode_w(machine, machine.mode)
            here[machine.key] = (takes_limits, highest_w)
            if machine.key not in self._followed:
                self._follower.add(
                    followed(machine, highest_w, takes_limits=takes_limits, limits=self._fleet.limits),
                    now,
                    on=True,
                    power_w=machine.power_limit_w or machine.power_w or highest_w,
                    starts_left=0,
                    since=machine.started_at,
                )
        for gone in self._followed.keys() - here.keys():
            self._follower.remove(gone)
        self._followed = here

    # --- safety ---

    def _guard(
        self, machines: Iterable[MachineNow], signals: Sequence[Signal], emergency: str | None
    ) -> Decision:
        ours = [machine for machine in machines if machine.held_by is None]
        return guard(
            [guarded(machine) for machine in ours],
            feeders=[
                GuardedFeeder(name=name, limit_w=limit_kw * 1e3, measured_w=self._feeder_w(name))
                for name, limit_kw in self._settings.limits.feeders_kw.items()
            ],
            signals=signals,
            emergency=emergency,
            settings=self._settings.safety,
        )

    def _feeder_w(self, name: str) -> float | None:
        found = self._fleet.meter(f"feeder:{name}")
        return None if found is None else found.power_w

    # --- what was told ---

    def _last(self, key: MachineKey) -> Command | None:
        told = self.told.get(key)
        return None if told is None else told[0]

    def _is_new(self, machine: MachineNow, command: Command, now: float, *, is_hard: bool) -> bool:
        """Say whether telling this changes anything: it is not so already, and was not said a moment ago."""
        if isinstance(command, Sleep) and not machine.is_on and not machine.power_w:
            return False
        told = self.told.get(machine.key)
        if told is not None and told[0] == command and now - told[1] < _AGAIN_S * self._fleet.pace:
            return False
        if isinstance(command, SetPowerLimit) and not Capability.POWER_LIMIT & machine.capabilities:
            return False
        is_free = not machine.is_busy or self._has_done(machine, now)
        return is_hard or is_free or isinstance(command, SetPowerLimit)

    def _has_done(self, machine: MachineNow, now: float) -> bool:
        """Say whether a machine sleeps as told though its order is still open: others of the order are slower."""
        told = self.told.get(machine.key)
        is_asleep = told is not None and isinstance(told[0], Sleep) and machine.state is State.ASLEEP
        return is_asleep and told is not None and now - told[1] >= _DONE_S * self._fleet.pace

    def _note(self, machine: MachineNow, command: Command, now: float) -> None:
        self.told[machine.key] = (command, now)
        seen_s = _SEEN_S * self._fleet.pace
        match command:
            case Sleep():
                self._under_way[machine.key] = (machine.idle_w, now + machine.sleep_s + seen_s)
            case Wake(mode) if machine.modes:
                self._under_way[machine.key] = (power_in_mode_w(machine, mode), now + machine.wake_s + seen_s)
            case SetMode(mode):
                waited_s = min(machine.mode_s, _MODE_S * self._fleet.pace)
                self._under_way[machine.key] = (power_in_mode_w(machine, mode), now + waited_s + seen_s)
            case _:
                self._under_way.pop(machine.key, None)


class Ask(Protocol):
    """Takes what a machine is to be told."""

    def __call__(self, machine: MachineNow, command: Command, why: str, *, is_hard: bool) -> None:
        """Tell it, unless that changes nothing."""
        ...
