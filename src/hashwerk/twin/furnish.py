"""The machines of a hall as they stand at the beginning."""

from __future__ import annotations

import random

import msgspec

from hashwerk.twin import physics
from hashwerk.twin.catalogue import find_model
from hashwerk.twin.machine import Identity, Machine, Slot
from hashwerk.twin.physics import Phase, Plant
from hashwerk.twin.settings import HallSettings


def furnish(settings: HallSettings, now: float, inlet_c: float) -> list[Machine]:
    """Return a hall's machines, each a little different; the same for the same settings."""
    rng = random.Random(settings.seed)  # noqa: S311 - a simulation that can be repeated
    return [_machine(settings, index, rng, now, inlet_c) for index in range(settings.machines)]


def _machine(settings: HallSettings, index: int, rng: random.Random, now: float, inlet_c: float) -> Machine:
    model = find_model(settings.models[index % len(settings.models)])
    breaker = index // settings.per_breaker
    identity = Identity(
        index=index,
        name=f"twin-{index + 1:04d}",
        mac=f"02{settings.seed % 65_536:04x}{index:06x}",
        serial=f"0201{rng.getrandbits(48):012x}",
        breaker=f"B{breaker + 1}",
        feeder=f"F{breaker // settings.breakers_per_feeder + 1}",
        power_factor=min(1.05, max(0.95, rng.gauss(1, 0.015))),
        hash_factor=min(1.03, max(0.97, rng.gauss(1, 0.01))),
        meter_factor=min(1.04, max(0.96, rng.gauss(1, 0.012))),
    )
    machine = Machine(
        identity=identity,
        model=model,
        host=settings.address(index),
        plant=Plant(
            model=model,
            at=now,
            course=physics.still_course(now, model.idle_w, Phase.ASLEEP),
            inlet_c=inlet_c,
            haste=settings.haste,
            board_c=inlet_c,
        ),
        point=model.default_point,
        booted_at=now,
        seed=rng.getrandbits(63),
        haste=settings.haste,
        slots=[] if settings.pool is None else [Slot(settings.pool, f"{settings.user}.{identity.name}")],
    )
    uptime_s = rng.uniform(3_600, 30 * 86_400)
    if settings.started:
        _let_run(machine, now, uptime_s)
    else:
        machine.plant = machine.plant.turned(now, physics.still_course(now, 0.0, Phase.OFF))
        machine.regain_mains(now)
    return machine


def swapped(identity: Identity, count: int) -> Identity:
    """Return a machine's identity after its control board was replaced, the hall's ``count``-th time."""
    mac = f"02ff{int(identity.mac[4:8], 16):04x}{count:04x}"
    return msgspec.structs.replace(identity, mac=mac, serial=f"0201ff{count:010x}")


def _let_run(machine: Machine, now: float, uptime_s: float) -> None:
    """Put a machine where it is after a long time of hashing."""
    goal, plant = machine.goal(machine.point), machine.plant
    machine.booted_at = now - uptime_s
    machine.plant = msgspec.structs.replace(
        plant,
        course=(physics.Knot(now, goal.power_w, goal.hashrate_hs, Phase.HASHING),),
        board_c=physics.steady_temperature_c(machine.model, goal.power_w, plant.inlet_c),
        hashes=goal.hashrate_hs * uptime_s,
        averages_hs=(goal.hashrate_hs,) * len(physics.AVERAGES_S),
    )
