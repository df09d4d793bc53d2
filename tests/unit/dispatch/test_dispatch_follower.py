"""The follower against a plant that answers late, on a day of torn clouds."""

from __future__ import annotations

import math
from dataclasses import dataclass, field

import numpy as np
import pytest

from hashwerk.dispatch.follower import FollowedMachine, Follower, FollowerSettings
from hashwerk.fleet.commands import SetPowerLimit, Sleep, Wake

DAY_S = 86_400.0
MIDNIGHT_S = 1_750_032_000.0


@dataclass
class Plant:
    """Machines with inertia: limits act in 10 s, sleep in 5 s, a wake takes four minutes with little power at first."""

    machines: dict[str, FollowedMachine]
    limit_w: dict[str, float] = field(default_factory=dict)
    on: dict[str, bool] = field(default_factory=dict)
    woken_at: dict[str, float] = field(default_factory=dict)
    power_w: dict[str, float] = field(default_factory=dict)
    starts: dict[tuple[str, int], int] = field(default_factory=dict)
    changes: list[tuple[float, str, bool]] = field(default_factory=list)

    def obey(self, now: float, name: str, command: object) -> None:
        if isinstance(command, Sleep):
            assert self.on[name]
            self.on[name] = False
            self.changes.append((now, name, False))
        elif isinstance(command, Wake):
            assert not self.on[name]
            self.on[name], self.woken_at[name] = True, now
            day = int(now // DAY_S)
            self.starts[name, day] = self.starts.get((name, day), 0) + 1
            self.changes.append((now, name, True))
        else:
            assert isinstance(command, SetPowerLimit)
            self.limit_w[name] = float(command.power_limit_w)

    def advance(self, now: float, seconds: float) -> float:
        for name, machine in self.machines.items():
            goal_w = self.limit_w[name] if self.on[name] else machine.residual_w
            if self.on[name] and now - self.woken_at.get(name, -math.inf) < machine.wake_s - 20:
                goal_w = 150.0
            self.power_w[name] += (goal_w - self.power_w[name]) * (1 - math.exp(-seconds / 5.0))
        return sum(self.power_w.values())


def make(count: int = 30, *, starts: int = 4) -> tuple[Follower, Plant]:
    machines = {
        f"m{n}": FollowedMachine(
            name=f"m{n}", lowest_w=1_500.0, highest_w=3_000.0, residual_w=20.0, hashrate_per_w=1 + n / 100,
            takes_limits=n % 3 != 0, starts_per_day=starts,
        )
        for n in range(count)
    }  # fmt: skip
    follower = Follower()
    for machine in machines.values():
        follower.add(machine, MIDNIGHT_S, on=False)
    plant = Plant(
        machines=machines,
        limit_w=dict.fromkeys(machines, 3_000.0),
        on=dict.fromkeys(machines, False),
        power_w=dict.fromkeys(machines, 20.0),
    )
    return follower, plant


def run(follower: Follower, plant: Plant, setpoints_w: np.ndarray, step_s: float = 10.0) -> np.ndarray:
    measured = np.zeros(len(setpoints_w))
    for step, setpoint_w in enumerate(setpoints_w):
        now = MIDNIGHT_S + step * step_s
        measured[step] = plant.advance(now, step_s)
        for instruction in follower.step(now, measured[step], float(setpoint_w)).instructions:
            plant.obey(now, instruction.machine, instruction.command)
    return measured


def test_a_noisy_solar_day_costs_no_machine_more_starts_than_it_has() -> None:
    random = np.random.default_rng(7)
    seconds = np.arange(0, DAY_S, 10.0)
    clear = np.maximum(0.0, np.sin((seconds / DAY_S - 0.25) * 2 * np.pi))
    clouds = np.repeat(random.choice([0.25, 0.6, 1.0, 1.0], len(seconds) // 12 + 1), 12)[: len(seconds)]
    setpoints_w = 80_000 * clear * clouds + random.normal(0, 400, len(seconds))
    follower, plant = make()
    measured_w = run(follower, plant, setpoints_w)
    assert plant.starts
    assert max(plant.starts.values()) <= 4
    changed: dict[str, float] = {}
    for now, name, on in plant.changes:
        machine = plant.machines[name]
        assert now - changed.get(name, -math.inf) >= (machine.min_off_s if on else machine.min_on_s)
        changed[name] = now
    # The sun's changes are followed within what limits and starts allow: most of the surplus is used.
    surplus_w = np.maximum(0.0, setpoints_w)
    assert np.minimum(measured_w, surplus_w).sum() > 0.6 * surplus_w.sum()


def test_a_step_down_is_met_by_limits_first_and_nobody_sleeps_for_it() -> None:
    follower, plant = make()
    up = np.full(400, 80_000.0)
    measured_w = run(follower, plant, np.concatenate([up, np.full(12, 70_000.0)]))
    assert measured_w[399] == pytest.approx(80_000, rel=0.02)
    assert measured_w[-1] == pytest.approx(70_000, rel=0.02)
    assert all(on for _, _, on in plant.changes)


def test_what_is_waking_is_counted_in() -> None:
    follower, plant = make()
    measured_w = run(follower, plant, np.full(150, 45_000.0))
    assert measured_w.max() < 45_000 * 1.02
    assert measured_w[-1] == pytest.approx(45_000, rel=0.02)


def test_inside_the_dead_band_nothing_is_done() -> None:
    follower = Follower()
    follower.add(FollowedMachine(name="a", lowest_w=1_500, highest_w=3_000), 0.0, on=True)
    for now in range(0, 600, 5):
        assert follower.step(float(now), 3_000.0, 3_400.0).instructions == ()


def test_a_machine_without_a_start_left_is_not_put_to_sleep_and_the_excess_is_said() -> None:
    follower = Follower()
    follower.add(FollowedMachine(name="a", lowest_w=3_000, highest_w=3_000), 0.0, on=True, starts_left=0)
    for now in range(0, 130, 10):
        step = follower.step(float(now), 3_000.0, 0.0)
        assert step.instructions == ()
    assert step.unmet_w == pytest.approx(2_500.0)


def test_up_is_slower_than_down() -> None:
    def first_instruction_s(measured_w: float, setpoint_w: float) -> int:
        follower = Follower(FollowerSettings(up_wait_s=60.0))
        follower.add(
            FollowedMachine(name="a", lowest_w=1_500, highest_w=3_000), 0.0, on=True, power_w=2_200.0
        )
        return next(
            now for now in range(0, 300, 5) if follower.step(float(now), measured_w, setpoint_w).instructions
        )

    assert first_instruction_s(3_000.0, 2_200.0) == 0
    assert first_instruction_s(2_200.0, 3_000.0) == 60


def test_without_a_measurement_nothing_is_done() -> None:
    follower = Follower()
    follower.add(FollowedMachine(name="a", lowest_w=1_500, highest_w=3_000), 0.0, on=True)
    assert follower.step(0.0, None, 0.0).instructions == ()


def test_an_order_is_at_the_meter_within_a_minute_with_5000_machines() -> None:
    follower, plant = make(5_000)
    for name in plant.machines:
        plant.on[name], plant.power_w[name] = True, 3_000.0
        follower.remove(name)
        follower.add(plant.machines[name], MIDNIGHT_S, on=True, starts_left=0, since=MIDNIGHT_S - 100)
    measured_w = 0.0
    for step in range(12):
        now = MIDNIGHT_S + 5.0 * step
        measured_w = plant.advance(now, 5.0)
        for instruction in follower.step(now, measured_w, 3_000_000.0, ordered=True).instructions:
            plant.obey(now, instruction.machine, instruction.command)
    assert measured_w == pytest.approx(3_000_000.0, rel=0.05)
    assert not plant.starts


def test_one_machine_gets_one_command_a_step() -> None:
    follower, plant = make(60)
    for name in plant.machines:
        follower.remove(name)
        follower.add(plant.machines[name], MIDNIGHT_S, on=True)
    instructions = follower.step(MIDNIGHT_S, 180_000.0, 20_000.0, ordered=True).instructions
    names = [instruction.machine for instruction in instructions]
    assert len(names) == len(set(names))
    assert any(isinstance(instruction.command, Sleep) for instruction in instructions)
