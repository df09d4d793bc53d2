"""The fleet as pages and programs see it: sums, one compact message of columns for the hall map, and every detail of one machine.

`FleetColumns` is one list a property, all of the same length and order, so that 5,000 machines are one message of about half a
megabyte of JSON (a tenth of it compressed); words that repeat are indices into the tables that come with it.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import msgspec

from hashwerk.fleet.commands import Sleep
from hashwerk.fleet.identity import MachineKey, normal_mac, normal_serial
from hashwerk.fleet.lease import Lease
from hashwerk.fleet.limits import words
from hashwerk.fleet.machine import Reading
from hashwerk.fleet.measure import Basis, hashrate_claim
from hashwerk.fleet.modes import ModePoint
from hashwerk.fleet.orders import Order
from hashwerk.fleet.place import Place
from hashwerk.fleet.states import State
from hashwerk.site.fleet.deeds import utc
from hashwerk.site.fleet.roster import Roster, Unit
from hashwerk.work.poisson import Rate

#: How the three truths of a machine part, as bits of `FleetColumns.differs`.
DIFFERS_FROM_COMMAND = 1
DIFFERS_IN_POWER = 2
DIFFERS_IN_HASHRATE = 4
IS_STALE = 8


class FleetView(msgspec.Struct, frozen=True, kw_only=True):
    """The fleet in a few numbers. Missing is None."""

    at: float
    machines: int
    by_state: dict[str, int]
    control: bool  # whether commands are sent at all
    simulation: bool
    power_w: float | None  # the site's meter; where there is none the sum of what is believed
    power_is_metered: bool
    power_unknown: int  # machines whose power nobody knows
    reported_hs: float
    measured_hs: float | None
    measured_low_hs: float | None  # 95 % interval of that sum
    measured_high_hs: float | None
    stale: int  # machines not heard of for three polls
    alerts: int
    orders: int
    scanning: bool
    scan_done: int
    scan_total: int
    poll_lateness_s: float


class FleetColumns(msgspec.Struct, frozen=True, kw_only=True):
    """All machines, a list a property. Every list has one entry a machine, in the same order."""

    at: float
    simulation: bool
    states: list[str]  # the table of `state`
    models: list[str]  # the table of `model`
    bases: list[str]  # the table of `basis`
    key: list[MachineKey]
    ip: list[str | None]
    model: list[int]
    state: list[int]
    since: list[int]  # Unix seconds
    age_s: list[int | None]  # since it last answered; None: never
    group: list[str | None]
    hall: list[str | None]
    row: list[str | None]
    shelf: list[str | None]
    breaker: list[str | None]
    feeder: list[str | None]
    commanded: list[str | None]
    mode: list[str | None]
    reported_w: list[int | None]
    power_w: list[int | None]  # what is believed
    basis: list[int]
    reported_ths: list[float | None]
    measured_ths: list[float | None]
    low_ths: list[float | None]
    high_ths: list[float | None]
    chip_c: list[int | None]
    alerts: list[int]
    differs: list[int]  # see DIFFERS_FROM_COMMAND and its neighbours


class CurveView(msgspec.Struct, frozen=True, kw_only=True):
    """One mode of one machine: what is known of it, and what a learned curve still lacks."""

    mode: str | None
    power_w: float
    hashrate_hs: float
    source: str
    power_w_per_k: float
    learning: str | None = None


class MachineView(msgspec.Struct, frozen=True, kw_only=True):
    """Everything about one machine: its three truths side by side. Missing is None."""

    id: MachineKey
    ip: str | None
    mac: str | None
    serial: str | None
    make: str
    model: str
    firmware: str
    firmware_version: str | None
    driver: str | None
    place: Place
    owner: str | None
    group: str | None
    state: str
    since: float
    cause: str
    deadline: float | None
    first_seen_at: float
    seen_at: float | None
    age_s: float | None
    failure: str | None
    worker: str | None
    commanded: str | None
    commanded_at: float | None
    reported: Reading | None
    measured_hs: float | None
    measured_low_hs: float | None
    measured_high_hs: float | None
    measured_shares: int | None
    measured_window_s: float | None
    metered_w: float | None
    power_w: float | None
    power_basis: str
    power_doubt: str | None
    hashrate_doubt: str | None
    capabilities: tuple[str, ...]
    curves: tuple[CurveView, ...]
    starts_today: int
    lease: str | None
    findings: tuple[str, ...]
    error_share: float | None


def columns_of(roster: Roster, alerts_by_machine: dict[str, int]) -> FleetColumns:
    """Return all machines as columns."""
    now = roster.clock.time()
    states, bases = list(State), list(Basis)
    state_index = {state: number for number, state in enumerate(states)}
    basis_index = {basis: number for number, basis in enumerate(bases)}
    models: dict[str, int] = {}
    names = FleetColumns.__struct_fields__[5:]
    lists: dict[str, list[object]] = {name: [] for name in names}
    rows = []
    stale_s = 3 * roster.settings.poll_s
    for unit in roster.units.values():
        member, reading, condition = unit.member, unit.heard, unit.condition
        place, identity = member.place, member.identity
        rate = None if unit.measured is None else unit.measured.hashrate
        believed = unit.believed()
        model = f"{identity.make} {identity.model} ({identity.firmware})"
        rows.append(
            (
                unit.key,
                None if member.address is None else member.address.host,
                models.setdefault(model, len(models)),
                state_index[condition.state],
                int(condition.since),
                None if unit.read_at is None else max(0, int(now - unit.read_at)),
                member.group,
                place.hall,
                place.row,
                place.shelf,
                place.breaker,
                place.feeder,
                None if unit.commanded is None else words(unit.commanded),
                None if reading is None else reading.mode,
                _whole(None if reading is None else reading.power_w),
                _whole(believed.power_w),
                basis_index[believed.basis],
                _ths(None if reading is None else reading.hashrate_hs),
                _ths(None if rate is None else rate.hs),
                _ths(None if rate is None else rate.low_hs),
                _ths(None if rate is None else rate.high_hs),
                _whole(None if reading is None else reading.chip_max_c),
                alerts_by_machine.get(unit.key, 0),
                _differs(unit, believed.doubt is not None, now, stale_s),
            )
        )
    for name, values in zip(names, zip(*rows, strict=True), strict=False):
        lists[name] = list(values)
    return FleetColumns(
        at=now,
        simulation=roster.settings.share_scale != 1.0,
        states=[state.value for state in states],
        models=list(models),
        bases=[basis.value for basis in bases],
        **lists,  # type: ignore[arg-type]
    )


def machine_view(roster: Roster, unit: Unit) -> MachineView:
    """Return everything about one machine."""
    now = roster.clock.time()
    member, identity, measured = unit.member, unit.member.identity, unit.measured
    rate = None if measured is None else measured.hashrate
    believed, lease = unit.believed(), roster.leases.of(unit.key, now)
    reading = unit.reading
    return MachineView(
        id=unit.key,
        ip=None if member.address is None else member.address.host,
        mac=normal_mac(identity.mac),
        serial=normal_serial(identity.serial),
        make=identity.make,
        model=identity.model,
        firmware=identity.firmware,
        firmware_version=identity.firmware_version,
        driver=member.driver,
        place=member.place,
        owner=member.owner,
        group=member.group,
        state=unit.condition.state.value,
        since=unit.condition.since,
        cause=unit.condition.cause,
        deadline=unit.condition.deadline,
        first_seen_at=member.first_seen_at,
        seen_at=unit.read_at or member.seen_at,
        age_s=None if unit.read_at is None else max(0.0, now - unit.read_at),
        failure=unit.failure,
        worker=unit.worker,
        commanded=None if unit.commanded is None else words(unit.commanded),
        commanded_at=unit.commanded_at,
        reported=reading,
        measured_hs=None if rate is None else rate.hs,
        measured_low_hs=None if rate is None else rate.low_hs,
        measured_high_hs=None if rate is None else rate.high_hs,
        measured_shares=None if rate is None else rate.shares,
        measured_window_s=None if measured is None else measured.window_s,
        metered_w=None if measured is None else measured.power_w,
        power_w=believed.power_w,
        power_basis=believed.basis.value,
        power_doubt=believed.doubt,
        hashrate_doubt=_claim(unit),
        capabilities=()
        if reading is None
        else tuple(flag.name.lower() for flag in reading.capabilities if flag.name is not None),
        curves=tuple(_curve(unit, point, now) for point in unit.points),
        starts_today=unit.wear.starts_today(now),
        lease=None if lease is None else _lease_words(lease),
        findings=tuple(f"{utc(finding.at)}: {finding.text}" for finding in unit.findings),
        error_share=unit.error_share,
    )


def _lease_words(lease: Lease) -> str:
    """Return who commands a machine, and until when if that is known."""
    who = f"{lease.holder.name.lower()} {lease.name}"
    return who if lease.until is None else f"{who} until {utc(lease.until)}"


def fleet_view(
    roster: Roster, *, alerts: int, orders: list[Order], scanning: tuple[bool, int, int], lateness_s: float
) -> FleetView:
    """Return the fleet in a few numbers."""
    now = roster.clock.time()
    units = list(roster.units.values())
    by_state: dict[str, int] = {}
    for unit in units:
        by_state[unit.condition.state.value] = by_state.get(unit.condition.state.value, 0) + 1
    powers = [unit.believed().power_w for unit in units]
    known = [power_w for power_w in powers if power_w is not None]
    rates = [
        unit.measured.hashrate
        for unit in units
        if unit.measured is not None and unit.measured.hashrate is not None
    ]
    meter = roster.meter()
    stale_s = 3 * roster.settings.poll_s
    return FleetView(
        at=now,
        machines=len(units),
        by_state=by_state,
        control=roster.settings.control,
        simulation=roster.settings.share_scale != 1.0,
        power_w=meter.power_w if meter is not None else sum(known) if known else None,
        power_is_metered=meter is not None,
        power_unknown=len(powers) - len(known),
        reported_hs=sum(unit.heard.hashrate_hs or 0.0 for unit in units if unit.heard is not None),
        measured_hs=sum(rate.hs for rate in rates) if rates else None,
        measured_low_hs=_end_of(rates, "low_hs"),
        measured_high_hs=_end_of(rates, "high_hs"),
        stale=sum(1 for unit in units if unit.read_at is None or now - unit.read_at > stale_s),
        alerts=alerts,
        orders=sum(1 for order in orders if order.is_open),
        scanning=scanning[0],
        scan_done=scanning[1],
        scan_total=scanning[2],
        poll_lateness_s=lateness_s,
    )


def _end_of(rates: Sequence[Rate], end: str) -> float | None:
    """Return the end of the interval of a sum: machines err on their own, so half widths add up as squares."""
    if not rates:
        return None
    total, width = (
        sum(rate.hs for rate in rates),
        math.hypot(*(getattr(rate, end) - rate.hs for rate in rates)),
    )
    return max(0.0, total - width) if end == "low_hs" else total + width


def _curve(unit: Unit, point: ModePoint, now: float) -> CurveView:
    learned = next((mode for name, mode in unit.learned.items() if name == point.mode), None)
    return CurveView(
        mode=point.mode,
        power_w=point.power_w,
        hashrate_hs=point.hashrate_hs,
        source=point.source.value,
        power_w_per_k=point.power_w_per_k,
        learning=None if learned is None else learned.missing(now),
    )


def _differs(unit: Unit, lies_about_power: bool, now: float, stale_s: float) -> int:
    asked_to_sleep = isinstance(unit.commanded, Sleep)
    state = unit.condition.state
    found = 0
    if (state is State.ASLEEP) != asked_to_sleep and state in (State.ASLEEP, State.HASHING):
        found |= DIFFERS_FROM_COMMAND
    if lies_about_power:
        found |= DIFFERS_IN_POWER
    if _claim(unit) is not None:
        found |= DIFFERS_IN_HASHRATE
    if unit.read_at is None or now - unit.read_at > stale_s:
        found |= IS_STALE
    return found


def _claim(unit: Unit) -> str | None:
    if unit.reading is None or unit.condition.state is not State.HASHING:
        return None
    return hashrate_claim(unit.reading, unit.measured)


def _whole(value: float | None) -> int | None:
    return None if value is None else round(value)


def _ths(value: float | None) -> float | None:
    return None if value is None or value == float("inf") else round(value / 1e12, 2)
