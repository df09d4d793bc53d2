"""A hall on a virtual clock behind the port of energy: the twin's own physics, its own times, its own refusals.

Nothing sleeps: power and state are worked out for whatever moment the clock shows.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from hashwerk.clock import VirtualClock
from hashwerk.dispatch.modes import Mode
from hashwerk.fleet.commands import Command, SetMode, SetPowerLimit, Sleep, Wake
from hashwerk.fleet.identity import MachineKey
from hashwerk.fleet.limits import DAY_S, Limits
from hashwerk.fleet.machine import Capability
from hashwerk.fleet.measure import MeterReading
from hashwerk.fleet.states import State
from hashwerk.site.energy import EnergyParts, EnergyService
from hashwerk.site.energy.ports import MachineNow
from hashwerk.twin.catalogue import find_model
from hashwerk.twin.models import Model, limited
from hashwerk.twin.physics import Phase, Plant, Settled, change_course, sleep_course, start_course

_STATES = {
    Phase.STARTING: State.WAKING,
    Phase.HASHING: State.HASHING,
    Phase.FALLING: State.FALLING_ASLEEP,
    Phase.ASLEEP: State.ASLEEP,
}


@dataclass(slots=True)
class VirtualMachine:
    """One machine."""

    key: MachineKey
    model: Model
    plant: Plant
    mode: str
    since: float
    feeder: str | None = None
    started_at: float | None = None
    slept_at: float | None = None
    starts: list[float] = field(default_factory=list)
    limit_w: float | None = None
    is_deaf: bool = False  # says yes, and does nothing
    held_by: str | None = None
    chip_c: float = 60.0

    def goal(self) -> Settled:
        """Return where it goes when it hashes."""
        point = next(point for point in self.model.points if point.name == self.mode)
        if self.limit_w is not None:
            return Settled(*limited(self.model.points, self.limit_w))
        return Settled(point.power_w, point.hashrate_hs)


class VirtualHall:
    """Machines, their meter, and the fleet's rules, as `FleetPort`."""

    def __init__(
        self,
        clock: VirtualClock,
        *models: str,
        machines: int,
        limits: Limits | None = None,
        house_w: float = 0.0,
    ) -> None:
        self.clock = clock
        self.house_w = house_w
        self.is_metered = True
        self.own_w: Callable[[float], float] = lambda now: 0.0
        self.told: list[tuple[float, Command, tuple[MachineKey, ...], str, bool]] = []
        self._limits = limits or Limits()
        kinds = [find_model(name) for name in models]
        self.all = [self._machine(kinds[number % len(kinds)], number) for number in range(machines)]
        self._by_key = {machine.key: machine for machine in self.all}

    def _machine(self, model: Model, number: int) -> VirtualMachine:
        now = self.clock.time()
        point = model.points[model.default_point]
        course = change_course(now - 1.0, 0.5, Settled(0, 0), Settled(point.power_w, point.hashrate_hs))
        plant = Plant(model=model, at=now, course=course)
        return VirtualMachine(f"mac:{number:04d}", model, plant, point.name, now - DAY_S)

    # --- the port ---

    @property
    def limits(self) -> Limits:
        return self._limits

    @property
    def may_command(self) -> bool:
        return True

    @property
    def pace(self) -> float:
        return 1.0

    @property
    def scale(self) -> float:
        return 1.0

    def machines(self) -> list[MachineNow]:
        return [self._now(machine) for machine in self.all]

    def meter(self, scope: str) -> MeterReading | None:
        if scope == "site" and self.is_metered:
            now = self.clock.time()
            power_w = self.power_w() + self.house_w - self.own_w(now)
            return MeterReading(at=now, power_w=power_w, scope="site")
        if scope == "source:Roof" and self.is_metered:
            return MeterReading(at=self.clock.time(), power_w=self.own_w(self.clock.time()), scope=scope)
        return None

    async def tell(
        self, command: Command, machines: Sequence[MachineKey], *, why: str, is_hard: bool
    ) -> None:
        now = self.clock.time()
        self.told.append((now, command, tuple(machines), why, is_hard))
        for key in machines:
            machine = self._by_key[key]
            if not machine.is_deaf:
                self._take(machine, command, now, is_hard=is_hard)

    # --- inside ---

    def power_w(self) -> float:
        now = self.clock.time()
        return sum(machine.plant.power_w(now) for machine in self.all)

    def on(self) -> int:
        now = self.clock.time()
        return sum(1 for m in self.all if m.plant.phase(now) in (Phase.STARTING, Phase.HASHING))

    def _now(self, machine: VirtualMachine) -> MachineNow:
        now = self.clock.time()
        model, timing = machine.model, machine.model.timing
        can = Capability.SLEEP | (Capability.MODE if len(model.points) > 1 else Capability.NONE)
        return MachineNow(
            key=machine.key,
            model=model.product,
            state=_STATES[machine.plant.phase(now)],
            since=machine.since,
            capabilities=can,
            modes=tuple(
                Mode(name=p.name, power_w=p.power_w, hashrate_hs=p.hashrate_hs) for p in model.points
            ),
            mode=machine.mode,
            power_w=machine.plant.power_w(now),
            hashrate_hs=machine.plant.hashrate_hs(now),
            idle_w=model.idle_w,
            power_limit_w=machine.limit_w,
            feeder=machine.feeder,
            chip_max_c=machine.chip_c,
            started_at=machine.started_at,
            slept_at=machine.slept_at,
            starts=sum(1 for at in machine.starts if at > now - DAY_S),
            wake_s=timing.init_s + timing.ramp_s,
            sleep_s=timing.sleep_s,
            held_by=machine.held_by,
        )

    def _take(self, machine: VirtualMachine, command: Command, now: float, *, is_hard: bool) -> None:
        """Do as told; what the fleet would refuse is a mistake of whoever told it."""
        timing, idle_w, limits = machine.model.timing, machine.model.idle_w, self._limits
        plant, phase = machine.plant, machine.plant.phase(now)
        match command:
            case Sleep():
                young = machine.started_at is not None and now - machine.started_at < limits.min_on_s
                assert is_hard or not young, f"{machine.key} has only just started"
                machine.plant = plant.turned(now, sleep_course(now, timing, idle_w, plant.power_w(now)))
                machine.since = machine.slept_at = now
            case Wake(mode):
                if phase in (Phase.HASHING, Phase.STARTING):
                    return
                young = machine.slept_at is not None and now - machine.slept_at < limits.min_off_s
                assert not young, f"{machine.key} has only just fallen asleep"
                machine.mode = mode or machine.mode
                machine.limit_w = None
                machine.plant = plant.turned(now, start_course(now, timing, idle_w, machine.goal()))
                machine.since = machine.started_at = now
                machine.starts.append(now)
            case SetMode(mode):
                before = Settled(plant.power_w(now), plant.hashrate_hs(now))
                machine.mode, machine.limit_w = mode, None
                machine.plant = plant.turned(now, change_course(now, timing.mode_s, before, machine.goal()))
            case SetPowerLimit(limit_w):
                before = Settled(plant.power_w(now), plant.hashrate_hs(now))
                machine.limit_w = float(limit_w)
                machine.plant = plant.turned(now, change_course(now, 10.0, before, machine.goal()))
            case _:
                raise AssertionError(f"nobody tells a machine to {command}")


@dataclass(slots=True)
class VirtualDay:
    """Drives a service through time: each loop's work at its own pace, on a clock that is moved."""

    service: EnergyService
    clock: VirtualClock
    step_s: float = 10.0
    _next_plan_s: float = 0.0

    async def drive(self, duration_s: float, each: object = None) -> None:
        """Move time on."""
        end_s = self.clock.time() + duration_s
        while self.clock.time() < end_s:
            now = self.clock.time()
            if now >= self._next_plan_s or self.service.wants_plan:
                await self.service.plan_once()
                self._next_plan_s = now + self.service.settings.every_s
            await self.service.steer_once()
            await self.service.record_once()
            if callable(each):
                each(now)
            self.clock.advance(self.step_s)
            await asyncio.sleep(0)


def open_service(hall: VirtualHall, clock: VirtualClock, folder: Path, parts: EnergyParts) -> EnergyService:
    """Return a service on a hall, its record open."""
    service = EnergyService(parts, hall, clock, folder / "energy.sqlite")
    service.open()
    return service
