"""The running fleet behind the port of energy."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import msgspec

from hashwerk.clock import Clock
from hashwerk.dispatch.modes import Mode
from hashwerk.fleet.commands import Command
from hashwerk.fleet.identity import MachineKey
from hashwerk.fleet.lease import Holder, Lease
from hashwerk.fleet.limits import Limits
from hashwerk.fleet.machine import Capability, WorkState
from hashwerk.fleet.measure import MeterReading
from hashwerk.fleet.orders import Tell
from hashwerk.fleet.ramp import Ramp
from hashwerk.fleet.states import State
from hashwerk.fleet.timing import Change
from hashwerk.site.energy.ports import MachineNow
from hashwerk.site.fleet.roster import Unit
from hashwerk.site.fleet.service import FleetService

#: Who commands, in the record.
WHO: Final = "dispatcher"
#: What a machine draws asleep where nobody has measured it: at least so much, or that share of its highest mode. An Avalon Q's
#: is the one sample there is of it; it says nothing of its power while it sleeps.
_IDLE_W, _IDLE_SHARE = 15.0, 0.02
_IDLE_KNOWN_W: Final = {"avalon q": 146.0}
#: A machine that sleeps shows it at the meter so long after its expected time, at the latest.
_SLEEP_MARGIN: Final = 1.5
#: Some are told the moment at which they shall sleep, five seconds ahead, and no pace shortens that.
_LEAST_SLEEP_S: Final = 6.0


class FleetMachines:
    """Fills `FleetPort`. Owned by the loop of the fleet."""

    def __init__(self, fleet: FleetService, clock: Clock) -> None:
        self._fleet = fleet
        self._clock = clock
        self._seen_modes: dict[tuple[str, str, str], tuple[Mode, ...]] = {}

    @property
    def limits(self) -> Limits:
        """What machines bear."""
        return self._fleet.roster.limits

    @property
    def may_command(self) -> bool:
        """Whether commands are sent at all."""
        return self._fleet.settings.control

    @property
    def pace(self) -> float:
        """The fleet's pace."""
        return self._fleet.settings.pace

    @property
    def scale(self) -> float:
        """The fleet's scale."""
        return self._fleet.settings.share_scale

    def meter(self, scope: str) -> MeterReading | None:
        """Return what a meter shows."""
        return self._fleet.meters.get(scope)

    def machines(self) -> list[MachineNow]:
        """Return all machines as they are known now."""
        now = self._clock.time()
        times: dict[tuple[str, str, str], tuple[float, float, float]] = {}
        return [self._machine(unit, now, times) for unit in self._fleet.roster.units.values()]

    async def tell(
        self, command: Command, machines: Sequence[MachineKey], *, why: str, is_hard: bool
    ) -> None:
        """Tell machines something, as one order of the fleet.

        Raises:
            FleetError: If a machine is not known.
            StoreError: If the order cannot be recorded.
        """
        fleet = self._fleet
        spec = fleet.spec(
            Tell(command=command),
            who=WHO,
            why=why[:200],
            holder=Holder.CURTAILMENT if is_hard else Holder.DISPATCHER,
            machines=machines,
            must=is_hard,
        )
        await self._clear(machines)
        if is_hard:  # taking power away hurts neither breaker nor feeder: everybody at once
            spec = msgspec.structs.replace(
                spec,
                ramp=Ramp(
                    wave_s=min(1.0, spec.ramp.wave_s), per_breaker=None, per_feeder=None, per_wave=1_000
                ),
            )
        await fleet.give(spec)

    async def _clear(self, machines: Sequence[MachineKey]) -> None:
        """End our own earlier orders for these machines: what they still repeat is no longer wanted."""
        now, leases = self._clock.time(), self._fleet.roster.leases
        wanted = {key for key in machines if leases.of(key, now) is not None}
        if not wanted:
            return
        for order in list(self._fleet.commander.orders.values()):
            if order.is_open and order.spec.who == WHO and wanted.intersection(order.spec.keys or ()):
                await self._fleet.abort(order.spec.id, who=WHO, why="a newer command takes its place")

    def _is_ours(self, lease: Lease) -> bool:
        order = self._fleet.commander.orders.get(lease.name)
        return order is not None and order.spec.who == WHO

    def _machine(
        self, unit: Unit, now: float, times: dict[tuple[str, str, str], tuple[float, float, float]]
    ) -> MachineNow:
        member, reading, roster = unit.member, unit.reading, self._fleet.roster
        identity = member.identity
        lease = roster.leases.of(unit.key, now)
        is_ours = lease is not None and self._is_ours(lease)
        kind = (identity.make, identity.model, identity.firmware)
        if kind not in times:
            times[kind] = (
                roster.timings.of(identity, Change.WAKE).expected_s(),
                max(_LEAST_SLEEP_S, roster.timings.of(identity, Change.SLEEP).expected_s() * _SLEEP_MARGIN),
                roster.timings.of(identity, Change.MODE).expected_s(),
            )
        held_by = None if lease is None or is_ours else f"{lease.holder.name.lower()} {lease.name}"
        if held_by is None and member.is_ambiguous:
            held_by = "nobody: two machines share its identity"
        wake_s, sleep_s, mode_s = times[kind]
        return MachineNow(
            key=unit.key,
            model=f"{identity.model} ({identity.firmware})"
            if identity.firmware.lower() != "stock"
            else identity.model,
            state=unit.condition.state,
            since=unit.condition.since,
            capabilities=Capability.NONE if reading is None else reading.capabilities,
            modes=self._modes(kind, unit),
            mode=None if reading is None else reading.mode,
            power_w=unit.believed().power_w,
            hashrate_hs=_hashrate_hs(unit),
            idle_w=_idle_w(unit, self._modes(kind, unit)),
            power_limit_w=None if reading is None else reading.power_limit_w,
            group=member.group,
            feeder=member.place.feeder,
            chip_max_c=None if reading is None else reading.chip_max_c,
            inlet_c=None if reading is None else reading.inlet_c,
            started_at=unit.wear.started_at,
            slept_at=unit.wear.slept_at,
            starts=unit.wear.starts_today(now),
            wake_s=wake_s,
            sleep_s=sleep_s,
            mode_s=mode_s,
            held_by=held_by,
            is_busy=is_ours,
        )

    def _modes(self, kind: tuple[str, str, str], unit: Unit) -> tuple[Mode, ...]:
        """Return the modes of a machine; where none is published or learned, the one that such machines were seen in."""
        if unit.points:
            return tuple(
                Mode(name=point.mode or "full", power_w=point.power_w, hashrate_hs=point.hashrate_hs)
                for point in unit.points
            )
        reading = unit.reading
        if reading is not None and reading.state is WorkState.HASHING and reading.power_w:
            rate_hs = reading.nominal_hashrate_hs or reading.hashrate_hs
            if rate_hs:
                mode = Mode(name=reading.mode or "full", power_w=reading.power_w, hashrate_hs=rate_hs)
                self._seen_modes[kind] = (mode,)
        return self._seen_modes.get(kind, ())


def _idle_w(unit: Unit, modes: tuple[Mode, ...]) -> float:
    """Return what a machine draws asleep: as metered, else as it says while it sleeps, else as most do."""
    if unit.idle_w is not None:
        return unit.idle_w
    drawn_w = unit.believed().power_w if unit.condition.state is State.ASLEEP else None
    if drawn_w is not None:
        return drawn_w
    known_w = _IDLE_KNOWN_W.get(unit.member.identity.model.casefold())
    return (
        known_w
        if known_w is not None
        else max(_IDLE_W, _IDLE_SHARE * max((m.power_w for m in modes), default=0.0))
    )


def _hashrate_hs(unit: Unit) -> float | None:
    if unit.measured is not None and unit.measured.hashrate is not None:
        return unit.measured.hashrate.hs
    return None if unit.reading is None else unit.reading.hashrate_hs
