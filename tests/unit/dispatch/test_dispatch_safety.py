"""The layer that needs neither solver nor feed."""

from __future__ import annotations

import pytest

from hashwerk.dispatch.safety import GuardedFeeder, GuardedMachine, Signal, Stance, guard
from hashwerk.fleet.commands import SetPowerLimit, Sleep


def machine(name: str, **more: object) -> GuardedMachine:
    return GuardedMachine(
        **({"name": name, "highest_w": 3_000.0, "power_w": 3_000.0, "residual_w": 20.0} | more)
    )  # type: ignore[arg-type]


def test_an_emergency_puts_everybody_to_sleep_who_draws_or_may_draw_power() -> None:
    decision = guard(
        [machine("a"), machine("b", power_w=20.0), machine("c", power_w=None)],
        emergency="frequency below 49.8 Hz",
    )
    assert decision.stance is Stance.STOP
    assert [(i.machine, type(i.command)) for i in decision.instructions] == [("a", Sleep), ("c", Sleep)]
    assert decision.reasons == ("emergency: frequency below 49.8 Hz",)


def test_a_hot_machine_sleeps_and_a_warm_one_is_gentle() -> None:
    decision = guard(
        [
            machine("hot", chip_max_c=101.0),
            machine("warm", chip_max_c=92.0, lowest_w=1_500.0),
            machine("cool", chip_max_c=70.0),
            machine("air", inlet_c=50.0),
        ]
    )
    assert {i.machine: i.command for i in decision.instructions} == {
        "hot": Sleep(),
        "warm": SetPowerLimit(power_limit_w=1_500),
        "air": Sleep(),
    }
    assert decision.stance is Stance.FREE
    assert decision.reasons[0] == "hot: chip at 101 °C, 100 allowed"


def test_a_feeder_above_its_limit_loses_its_least_efficient_machines() -> None:
    machines = [machine(f"m{n}", feeder="A", hashrate_per_w=float(n)) for n in range(4)] + [
        machine("other", feeder="B")
    ]
    decision = guard(machines, feeders=[GuardedFeeder(name="A", limit_w=10_000.0, measured_w=12_100.0)])
    assert [i.machine for i in decision.instructions] == ["m0"]
    assert decision.shortfall_w == {}


def test_a_feeder_without_a_meter_is_reckoned_by_its_machines_at_worst() -> None:
    machines = [machine("known", feeder="A", power_w=2_000.0), machine("silent", feeder="A", power_w=None)]
    feeder = GuardedFeeder(name="A", limit_w=4_500.0)
    assert len(guard(machines, feeders=[feeder]).instructions) == 1


def test_what_cannot_be_shed_is_said() -> None:
    decision = guard(
        [machine("a", feeder="A")], feeders=[GuardedFeeder(name="A", limit_w=1_000.0, measured_w=9_000.0)]
    )
    assert decision.shortfall_w["A"] == pytest.approx(9_000 - 980 - 2_980)


def test_heat_and_feeder_give_one_command_a_machine() -> None:
    both = machine("a", feeder="A", chip_max_c=95.0, lowest_w=1_500.0)
    decision = guard([both], feeders=[GuardedFeeder(name="A", limit_w=2_000.0, measured_w=3_000.0)])
    assert [i.command for i in decision.instructions] == [Sleep()]


@pytest.mark.parametrize(
    ("ages", "stance"),
    [
        ((10.0, 10.0), Stance.FREE),
        ((999.0, 10.0), Stance.FALL_BACK),
        ((10.0, None), Stance.CURTAIL),
        ((999.0, 999.0), Stance.CURTAIL),
    ],
)
def test_silence_means_what_was_declared(ages: tuple[float | None, float | None], stance: Stance) -> None:
    signals = [
        Signal(name="price", age_s=ages[0], max_age_s=300.0, when_stale="fall back"),
        Signal(name="operator's heartbeat", age_s=ages[1], max_age_s=60.0, when_stale="curtail"),
    ]
    decision = guard([machine("a")], signals=signals)
    assert decision.stance is stance
    assert bool(decision.instructions) is (stance is Stance.CURTAIL)


def test_silence_is_said_with_its_age() -> None:
    decision = guard([], signals=[Signal(name="price", age_s=400.0, max_age_s=300.0, when_stale="keep")])
    assert decision.reasons == ("price is 400 s old, at most 300 s are believed: keep",)
    assert decision.stance is Stance.KEEP
