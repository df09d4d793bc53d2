"""What is really true of a hall and its machines, whatever they say themselves. All of it is simulation."""

from __future__ import annotations

import msgspec

from hashwerk.twin.machine import Machine


class MachineTruth(msgspec.Struct, frozen=True, kw_only=True):
    """What is really true of a machine, whatever it says itself. Simulation."""

    name: str
    model: str
    host: str
    port: int
    http_port: int
    mac: str
    breaker: str
    feeder: str
    phase: str
    power_w: float
    hashrate_hs: float  # full size
    energy_wh: float
    hashes: float  # full size
    board_c: float
    inlet_c: float
    point: str
    asleep: bool  # what its firmware was told
    accepted: int
    rejected: int
    faults: tuple[str, ...]


class HallView(msgspec.Struct, frozen=True, kw_only=True):
    """A hall at a moment, in a few numbers. Simulation."""

    simulation: bool = True
    at: float
    machines: int
    phases: dict[str, int]
    power_w: float
    energy_wh: float
    hashrate_hs: float  # full size
    scale: float
    hashed: int  # hashes really done, at scale
    shortfall: float | None  # share of the hashes owed that the threads could not do; None: nothing was owed
    sessions: int  # machines with a job
    accepted: int
    rejected: int
    ambient_c: float
    faults: dict[str, int]


def truth_of(machine: Machine, now: float) -> MachineTruth:
    """Return the truth about a machine at a moment."""
    plant, identity = machine.state(now), machine.identity
    return MachineTruth(
        name=identity.name,
        model=machine.model.key,
        host=machine.host,
        port=machine.port,
        http_port=machine.http_port,
        mac=":".join(identity.mac[at : at + 2] for at in range(0, 12, 2)),
        breaker=identity.breaker,
        feeder=identity.feeder,
        phase=plant.phase(now).value,
        power_w=plant.power_w(now),
        hashrate_hs=plant.hashrate_hs(now),
        energy_wh=plant.energy_wh,
        hashes=plant.hashes,
        board_c=plant.board_c,
        inlet_c=plant.inlet_c,
        point=machine.model.points[machine.point].name,
        asleep=machine.asleep,
        accepted=sum(slot.accepted for slot in machine.slots),
        rejected=sum(slot.rejected for slot in machine.slots),
        faults=tuple(kind.value for kind in machine.faults),
    )
