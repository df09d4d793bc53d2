"""From an Avalon's replies to a reading: what each field means, and which of them lie.

PS is ``error, control V × 100, hash V × 100, A, DC W, set-point V × 100, wall W``, worked out from recorded samples:
13.16 V × 242 A = 3185 W against 3189 W DC and 3504 W at the wall. GHSspd is the instant rate; GHSavg and MGHS are
averages since start and stay when a machine sleeps; MPO is a target.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import islice
from typing import Final

from hashwerk.devices import plausible
from hashwerk.devices.avalon.fields import Fields
from hashwerk.devices.avalon.models import Dialect, model_of
from hashwerk.devices.cgminer_reply import Section, integer_of, text_of
from hashwerk.devices.neighbours import normal_mac
from hashwerk.devices.words import without_login
from hashwerk.fleet.machine import Board, Capability, Identity, PoolSlot, Reading, WorkState

_GIGA: Final = 1e9
#: An absent sensor says −273; nothing that runs is hotter than this.
_LOWEST_C, _HIGHEST_C = -40.0, 150.0
_PS_DC_W, _PS_WALL_W = 4, 6
_PS_LENGTH_WITH_WALL: Final = 7


def reading_of(
    *,
    at: float,
    dialect: Dialect,
    version: Section,
    fields: Fields,
    pools: Sequence[Section],
    clock_s: float | None,
    capabilities: Capability,
    mac: str | None = None,
) -> Reading:
    """Return the reading of one machine from the replies to one poll.

    Args:
        at: When the replies were complete, Unix seconds.
        dialect: How this model is spoken to.
        version: The entry of VERSION.
        fields: The fields of ``estats`` or ``litestats``.
        pools: The entries of POOLS.
        clock_s: The machine's clock, None where it counts from boot.
        capabilities: What it can be told.
        mac: Its address where the machine itself does not tell.
    """
    doubts: list[str] = []
    hashrate_hs = plausible.hashrate_hs(_scaled(fields.number("GHSspd")), doubts)
    state = _state(fields, hashrate_hs, doubts)
    return Reading(
        at=at,
        identity=_identity(version, fields, mac),
        capabilities=capabilities,
        state=state,
        hashrate_hs=hashrate_hs,
        nominal_hashrate_hs=plausible.hashrate_hs(_scaled(fields.number("GHSmm")), doubts),
        power_w=_power_w(fields, state, doubts),
        power_limit_w=plausible.limit_w(fields.number("MPO")),
        mode=_mode(dialect, fields),
        modes=dialect.modes if Capability.MODE in capabilities else (),
        inlet_c=_celsius(fields.first_number(("Temp", "ITemp")), "inlet temperature", doubts),
        chip_max_c=_chip_max_c(fields, state, doubts),
        fans_rpm=_fans_rpm(fields),
        boards=_boards(fields, state, doubts),
        pools=tuple(islice(filter(None, map(_pool, pools)), plausible.MAX_POOLS)),
        uptime_s=plausible.uptime_s(fields.number("Elapsed")),
        clock_s=clock_s,
        hardware_errors=fields.integer("HW"),
        is_locating=None if fields.integer("Led") is None else fields.integer("Led") == 1,
        complaints=tuple(_complaints(fields, state)),
        doubts=tuple(doubts),
    )


def _identity(version: Section, fields: Fields, mac: str | None) -> Identity:
    running = (fields.text("Ver") or "").rpartition("-")[2] or None
    names = ("LVERSION", "CGVERSION", "VERSION", "BVERSION")
    return Identity(
        mac=normal_mac(version.get("MAC")) or mac,
        serial=_serial(text_of(version.get("DNA")) or fields.text("DNA")),
        make="avalon",
        model=model_of(version, fields),
        firmware="stock",
        firmware_version=next((text for name in names if (text := text_of(version.get(name)))), running),
    )


def _serial(dna: str | None) -> str | None:
    """Return the DNA, which is unique to each control board, if it looks like one."""
    if dna is None or len(dna) < 8 or not dna.isalnum() or not dna.strip("0"):
        return None
    return dna.lower()


def _state(fields: Fields, hashrate_hs: float | None, doubts: list[str]) -> WorkState:
    """Return what it says that it does: asleep is idle and an instant rate of zero; idle alone is not enough."""
    says = (fields.text("SYSTEMSTATU") or "").lower()
    if "in init" in says:
        return WorkState.STARTING
    if "in idle" in says:
        if hashrate_hs == 0:
            return WorkState.ASLEEP
        doubts.append("state: says idle, yet its instant hash rate is not zero")
        return WorkState.UNKNOWN
    if "in work" in says:
        if hashrate_hs == 0:
            doubts.append("state: says working, yet its instant hash rate is zero")
            return WorkState.UNKNOWN
        return WorkState.HASHING
    return WorkState.UNKNOWN


def _power_w(fields: Fields, state: WorkState, doubts: list[str]) -> float | None:
    """Return the power at the wall: WALLPOWER, else the seventh of PS; never DC watts and never a set-point."""
    supply = fields.numbers("PS")
    power_w = fields.number("WALLPOWER")
    if power_w is None and len(supply) >= _PS_LENGTH_WITH_WALL:
        power_w = supply[_PS_WALL_W]
        if power_w is not None and state is WorkState.ASLEEP:
            doubts.append(f"power: PS says {power_w:.0f} W asleep, a figure never checked by a meter")
            return None
    if power_w is None and len(supply) > _PS_DC_W and supply[_PS_DC_W]:
        doubts.append(f"power: only {supply[_PS_DC_W]:.0f} W DC are reported, 4 to 9 % less than at the wall")
        return None
    return plausible.power_w(power_w, doubts)


def _mode(dialect: Dialect, fields: Fields) -> str | None:
    number = fields.integer(dialect.mode_option.upper())
    if number is None or not 0 <= number < len(dialect.modes):
        return None
    return dialect.modes[number]


def _celsius(value: float | None, what: str, doubts: list[str]) -> float | None:
    if value is None or _LOWEST_C <= value <= _HIGHEST_C:
        return value
    if value > _HIGHEST_C:
        doubts.append(f"{what}: says {value:g} °C")
    return None


def _chip_max_c(fields: Fields, state: WorkState, doubts: list[str]) -> float | None:
    hottest = fields.number("TMax")
    # Without power the chips' sensors are dead and their maximum is an initial zero, not a temperature.
    return None if hottest == 0 and state is not WorkState.HASHING else _celsius(hottest, "chips", doubts)


def _fans_rpm(fields: Fields) -> tuple[int, ...]:
    speeds = (plausible.fan_rpm(fields.number(f"Fan{number}")) for number in range(1, 9))
    return tuple(speed for speed in speeds if speed is not None)


def _boards(fields: Fields, state: WorkState, doubts: list[str]) -> tuple[Board, ...]:
    """Return the boards. Their only rates are averages since start, so none is given."""
    averages, hottest = fields.numbers("MGHS"), fields.numbers("MTmax")
    return tuple(
        Board(
            slot=slot,
            temperature_c=_celsius(_at(hottest, slot) or None, f"board {slot}", doubts),
            chips=_chips(fields, slot),
            working=average > 0 if average is not None and state is WorkState.HASHING else None,
        )
        for slot, average in enumerate(averages[: plausible.MAX_BOARDS])
    )


def _chips(fields: Fields, slot: int) -> int | None:
    """Return how many chips of a board answer: those whose temperature is known."""
    temperatures = fields.numbers(f"PVT_T{slot}")
    return sum(1 for value in temperatures if value) or None


def _pool(entry: Section) -> PoolSlot | None:
    url = text_of(entry.get("URL"))
    if url is None:
        return None
    active = entry.get("Stratum Active")
    return PoolSlot(
        url=without_login(url),
        user=text_of(entry.get("User")) or "",
        active=active if isinstance(active, bool) else None,
        accepted=integer_of(entry.get("Accepted")),
        rejected=integer_of(entry.get("Rejected")),
    )


def _complaints(fields: Fields, state: WorkState) -> Iterable[str]:
    supply = fields.numbers("PS")
    if supply and supply[0]:
        yield f"power supply error {supply[0]:g}"
    for slot, code in enumerate(fields.numbers("ECHU")[: plausible.MAX_BOARDS]):
        if code:
            yield f"board {slot} error {code:g}"
    if (code := fields.integer("ECMM")) is not None and code:
        yield f"control board error {code}"
    if (code := fields.integer("FanErr")) is not None and code:
        yield f"fan error {code}"
    if state is WorkState.HASHING:
        for slot, average in enumerate(fields.numbers("MGHS")[: plausible.MAX_BOARDS]):
            if average == 0:
                yield f"board {slot} does not hash"


def _at(values: Sequence[float | None], index: int) -> float | None:
    return values[index] if index < len(values) else None


def _scaled(rate_ghs: float | None) -> float | None:
    return None if rate_ghs is None or rate_ghs < 0 else rate_ghs * _GIGA
