"""From a plan to commands: who makes up its counts, what the meter says of it, and what safety takes away.

Three voices, each louder than the one before: the plan decides who is on and in which mode; where a limit binds, the follower
keeps measured power below it with power limits, and above it with sleep as well; the guard comes last and wins. On own surplus
the follower alone decides, at the meter. A machine is told
something when that changes something, and the same thing again only after a while: the fleet verifies and repeats by itself.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Mapping, Sequence
from typing import Final, Protocol

import msgspec

from hashwerk.dispatch.follower import Follower
from hashwerk.dispatch.instructions import Instruction
from hashwerk.dispatch.policies.clean import SurplusOnly
from hashwerk.dispatch.safety import Decision, Signal, Stance
from hashwerk.dispatch.settings import DispatchSettings
from hashwerk.errors import FleetError, StoreError
from hashwerk.fleet.commands import Command, Sleep, Wake
from hashwerk.fleet.identity import MachineKey
from hashwerk.fleet.limits import Limits
from hashwerk.fleet.machine import Capability
from hashwerk.site.energy.as_seen import drawn_w, followed, power_in_mode_w
from hashwerk.site.energy.binding import MARGIN, Bound, LimitWatch, as_fits, lowest
from hashwerk.site.energy.groups import Wanted, assign, command_for
from hashwerk.site.energy.guarding import Guarding
from hashwerk.site.energy.planning import Plan
from hashwerk.site.energy.ports import FleetPort, MachineNow
from hashwerk.site.energy.surplus import SurplusFollower
from hashwerk.site.energy.under_way import UnderWay

log = logging.getLogger(__name__)

#: Who was shed under an order sleeps on for so long, times the pace, whatever new plans say; but who fits below the limit.
_SHED_S: Final = 900.0
#: Who was shed may wake again after so long, times the pace, where there is room.
_RESTORE_S: Final = 60.0
#: A plan's own figure is that good, as a share of an order's limit.
_BELOW_PLAN: Final = 0.02
_NOBODY: Final = frozenset[MachineKey]()


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
        self._shed: dict[MachineKey, float] = {}  # asleep by the follower, since when
        self._guarded: dict[MachineKey, float] = {}  # asleep by the guard, since when
        self._under_way = UnderWay(fleet.pace)
        self._guarding = Guarding(settings, fleet, self._under_way)
        self._watch = LimitWatch(self._under_way, fleet.pace)

    @property
    def told(self) -> Mapping[MachineKey, tuple[Command, float]]:
        """What each machine was told last, and when."""
        return self._under_way.told

    def new_plan(self, now: float, *, orders_active: bool) -> None:
        """Forget who was shed: a new plan counts with what is measured. Under an order they sleep on for a while."""
        kept_s = _SHED_S * self._fleet.pace if orders_active else 0.0
        self._shed = {key: since for key, since in self._shed.items() if now - since < kept_s}
        self._guarded = {key: since for key, since in self._guarded.items() if now - since < kept_s}

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
        ordered_w: float | None = None,
        is_shown_only: bool = False,
    ) -> Steps:
        """Return what must be told to whom now.

        Args:
            now: Unix seconds.
            plan: What is to be carried out; None: there is none, and only orders and the guard speak.
            machines: All of the fleet.
            import_w: Measured; None: not known.
            signals: What decisions rest on, with ages.
            emergency: The order that stops everything, in words.
            orders_active: Whether a grid operator's order is in force: then nothing waits.
            ordered_w: The lowest import that an order in force asks for; plans that are made without it, or not at all, do
                not keep it from being obeyed.
            is_shown_only: Nothing will be sent, and nothing is to be remembered as told.
        """
        self._under_way.look(machines, now, import_w)
        decision = self._guarding.look(machines, signals, emergency, now)
        batches: dict[tuple[Command, bool, str], list[MachineKey]] = {}
        by_key = {machine.key: machine for machine in machines}

        def ask(machine: MachineNow, command: Command, why: str, *, is_hard: bool) -> None:
            if self._under_way.is_new(machine, command, now, is_hard=is_hard):
                batches.setdefault((command, is_hard, why), []).append(machine.key)
                if not is_shown_only:
                    self._under_way.note(machine, command, now)

        for instruction in decision.instructions:
            machine = by_key[instruction.machine]
            by_all = decision.stance in {Stance.STOP, Stance.CURTAIL}
            (self._shed if by_all else self._guarded)[machine.key] = now
            ask(machine, instruction.command, instruction.reason, is_hard=True)
        setpoint_w, is_hard = None, False
        may_follow = decision.stance not in {Stance.STOP, Stance.CURTAIL}
        if may_follow and (plan is not None or (orders_active and ordered_w is not None)):
            planned_w = None if plan is None else plan.limit_w(now)
            cap_w = lowest(planned_w, ordered_w)
            is_planned = plan is None or ordered_w is None or cap_w == planned_w
            setpoint_w = cap_w if plan is None else self._setpoint(plan, now)
            bound = self._watch.look(
                machines, now, import_w, cap_w, orders_active=orders_active, is_planned=is_planned
            )
            is_hard = orders_active or bound.is_over or bound.is_above
            follows_surplus = plan is not None and plan.policy == SurplusOnly.name and not is_hard
            sleepers = _NOBODY
            if follows_surplus:
                setpoint_w = 0.0
                if not is_shown_only and decision.stance is not Stance.KEEP:
                    followed, hard = self._surplus.step(now, machines, import_w)
                    for instruction in followed:
                        ask(by_key[instruction.machine], instruction.command, "own surplus", is_hard=hard)
            elif plan is not None and (decision.stance is not Stance.KEEP or is_hard):
                sleepers = self._carry_out(plan, by_key, bound, ask)
            is_bound = is_hard or (cap_w is not None and not follows_surplus)
            trims: tuple[Instruction, ...] = ()
            if is_bound and not is_shown_only:
                trims = self._follow(plan, machines, bound, setpoint_w, is_hard=is_hard, first=sleepers)
            for instruction in trims:
                machine = by_key[instruction.machine]
                if isinstance(instruction.command, Sleep):
                    self._shed[machine.key] = now
                if not isinstance(instruction.command, Wake):
                    ask(machine, instruction.command, instruction.reason, is_hard=is_hard)
        elif may_follow and plan is None:
            self._restore(by_key, now, ask)
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
                self._under_way.forget(batch.machines)
            else:
                sent += len(batch.machines)
                if batch.ends_others:
                    self._under_way.ended_others(batch.machines)
        return sent

    def _restore(self, machines: Mapping[MachineKey, MachineNow], now: float, ask: Ask) -> None:
        """Wake whom an order put to sleep and no plan would: the fleet staggers them."""
        for key in list(self._shed):
            machine = machines.get(key)
            if machine is None or machine.is_on:
                del self._shed[key]
            elif machine.reason_not_ours is None and self._may_now(machine, Wanted("as before"), now):
                ask(machine, Wake(), "the order is over", is_hard=False)

    # --- the plan ---

    def _carry_out(
        self, plan: Plan, machines: Mapping[MachineKey, MachineNow], bound: Bound, ask: Ask
    ) -> frozenset[MachineKey]:
        """Ask for what makes up the plan's counts; whoever would draw more has to fit under the limit that binds.

        While the site is above it, the plan does not say who sleeps: those whom it would have asleep are returned, the first
        to go if power limits and modes that show in time do not do.
        """
        now, room_w, sleepers = bound.now, bound.room_w, list[MachineKey]()
        spare_w = self._spare_w(plan, bound)
        for number, herd in enumerate(plan.herds):
            wanted = assign(
                herd,
                plan.counts(number, now),
                machines,
                limits=self._fleet.limits,
                now=now,
                excluded=self._excluded(bound),
            )
            for key, how in wanted.items():
                machine = machines[key]
                command = command_for(machine, how)
                if command is None:
                    continue
                if isinstance(command, Sleep):
                    if bound.is_over:
                        sleepers.append(key)
                    elif drawn_w(machine) - machine.idle_w <= spare_w:
                        is_hard = bound.is_ordered and bound.import_w is None
                        if is_hard or self._may_now(machine, how, now):
                            spare_w -= drawn_w(machine) - machine.idle_w
                            ask(machine, command, f"plan of {plan.policy}", is_hard=is_hard)
                    continue
                command, rise_w = as_fits(machine, command, room_w)
                if rise_w > max(0.0, room_w):
                    continue
                if rise_w < 0 and not self._may_lower(machine, rise_w, spare_w, bound):
                    continue
                room_w -= max(0.0, rise_w)
                if self._may_now(machine, how, now):
                    spare_w += min(0.0, rise_w)
                    ask(machine, command, f"plan of {plan.policy}", is_hard=False)
        return frozenset(sleepers)

    def _excluded(self, bound: Bound) -> frozenset[MachineKey]:
        """Return who sleeps on whatever the plan says: shed by the guard, or by the follower where there is no room again."""
        shed = self._shed.items()
        if bound.is_ordered and bound.import_w is not None:
            shed = {k: at for k, at in shed if bound.now - at < _RESTORE_S * self._fleet.pace}.items()
        return frozenset(self._guarded) | {key for key, _ in shed}

    def _spare_w(self, plan: Plan, bound: Bound) -> float:
        """Return by how much power may fall as planned: below an order, no further than to what the plan has."""
        if not bound.is_ordered or bound.import_w is None or bound.expected_w is None or bound.cap_w is None:
            return math.inf
        lowest_w = self._setpoint(plan, bound.now) - _BELOW_PLAN * bound.cap_w
        return min(bound.import_w, bound.expected_w) - lowest_w

    def _may_lower(self, machine: MachineNow, rise_w: float, spare_w: float, bound: Bound) -> bool:
        """Say whether a lower mode helps against a limit, or may be as planned below it."""
        return self._under_way.patience_s(machine) > 0 if bound.is_over else -rise_w <= spare_w

    def _may_now(self, machine: MachineNow, wanted: Wanted, now: float) -> bool:
        """Say whether the fleet would do it now: minimum times and starts are left to run out, without asking in vain."""
        limits: Limits = self._fleet.limits
        if machine.is_busy and not self._under_way.has_done(machine, now):
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
        plan: Plan | None,
        machines: Sequence[MachineNow],
        bound: Bound,
        setpoint_w: float | None,
        *,
        is_hard: bool,
        first: frozenset[MachineKey],
    ) -> tuple[Instruction, ...]:
        """Return what brings measured power to the set-point.

        Under a hard limit whoever is on may be put to sleep; otherwise only power limits move: what a plan wants on stays on.
        """
        now = bound.now
        if is_hard != self._follows_hard:
            self._follower, self._followed = Follower(settings=self._settings.follower), {}
            self._follows_hard = is_hard
        self._renew(plan, machines, now, is_hard=is_hard)
        if bound.import_w is None or bound.expected_w is None or setpoint_w is None or not self._followed:
            return ()
        if not is_hard or bound.cap_w is None:
            return self._follower.step(now, bound.expected_w, setpoint_w, ordered=is_hard).instructions
        # Above the limit everything that is under way counts; below it what falls makes no room before it is seen.
        measured_w, at_most_w = self._under_way.expected_w(machines, bound.import_w)
        measured_w = at_most_w if bound.is_late else measured_w
        if measured_w > bound.cap_w:
            if not bound.is_sure:
                return ()
            step = self._follower.step(now, measured_w, bound.cap_w, ordered=True, is_limit=True, first=first)
            return step.instructions
        highest_w = bound.cap_w * (1 - MARGIN)
        measured_w = max(bound.import_w, at_most_w)
        return () if measured_w > highest_w else self._follower.step(now, measured_w, highest_w).instructions

    def _renew(self, plan: Plan | None, machines: Sequence[MachineNow], now: float, *, is_hard: bool) -> None:
        """Tell the follower who there is to follow with: whoever is on and ours."""
        planned = None if plan is None or is_hard else {key for herd in plan.herds for key in herd.keys}
        here: dict[MachineKey, tuple[bool, float]] = {}
        for machine in machines:
            takes_limits = bool(Capability.POWER_LIMIT & machine.capabilities)
            is_asleep = isinstance(self._under_way.last(machine.key), Sleep) or not machine.is_on
            is_others = planned is not None and machine.key not in planned
            if is_others or is_asleep or machine.reason_not_ours is not None:
                continue
            if not is_hard and not takes_limits:
                continue
            highest_w = power_in_mode_w(machine, machine.mode)
            here[machine.key] = (takes_limits, highest_w)
            soon_w = self._under_way.goal_w(machine)
            power_w = machine.power_w if soon_w is None else soon_w
            if machine.key not in self._followed:
                self._follower.add(
                    followed(machine, highest_w, takes_limits=takes_limits, limits=self._fleet.limits),
                    now,
                    on=True,
                    power_w=soon_w or machine.power_limit_w or machine.power_w or highest_w,
                    starts_left=max(0, self._fleet.limits.starts_a_day - machine.starts) if is_hard else 0,
                    since=machine.started_at,
                )
            elif is_hard and power_w is not None:
                self._follower.see(machine.key, power_w, now)
        for gone in self._followed.keys() - here.keys():
            self._follower.remove(gone)
        self._followed = here


class Ask(Protocol):
    """Takes what a machine is to be told."""

    def __call__(self, machine: MachineNow, command: Command, why: str, *, is_hard: bool) -> None:
        """Tell it, unless that changes nothing."""
        ...
