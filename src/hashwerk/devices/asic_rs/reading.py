"""From the library's data to a reading: defaults are not measurements, and averages are not rates."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice
from typing import Any, Final

from pyasic_rs.asic_rs import HashRateUnit, MessageSeverity

from hashwerk.devices import plausible
from hashwerk.devices.asic_rs.firmwares import Firmware
from hashwerk.devices.cgminer_reply import integer_of, text_of
from hashwerk.devices.neighbours import normal_mac
from hashwerk.devices.words import line_of, without_login
from hashwerk.fleet.machine import Board, Capability, Identity, PoolSlot, Reading, WorkState

#: What the library's operating states mean, by their names.
_STATES: Final = {
    "Mining": WorkState.HASHING,
    "Stable": WorkState.HASHING,
    "DegradedMining": WorkState.HASHING,
    "Restricted": WorkState.HASHING,
    "Tuning": WorkState.STARTING,
    "AdjustingFrequency": WorkState.STARTING,
    "AdjustingVoltage": WorkState.STARTING,
    "AdjustingClockVoltage": WorkState.STARTING,
    "Initializing": WorkState.STARTING,
    "Starting": WorkState.STARTING,
    "Restarting": WorkState.STARTING,
    "Idling": WorkState.ASLEEP,
    "Paused": WorkState.ASLEEP,
    "Suspended": WorkState.ASLEEP,
    "Stopped": WorkState.ASLEEP,
    "Error": WorkState.FAULT,
}
#: What their rates call instant is an average over seconds, which takes a while to reach zero.
_STILL: Final = 0.01
_LOWEST_C, _HIGHEST_C = -40.0, 150.0
_MAX_FANS: Final = 16
_MAX_COMPLAINTS: Final = 64


def is_answer(data: Any) -> bool:
    """Whether anything at all came from the machine: of a dead one the library still returns a full set of defaults."""
    told = (data.mac, data.wattage, _uptime_s(data), data.firmware_version, data.serial_number, data.hostname)
    return any(value is not None for value in told) or bool(data.hashrate and data.hashrate.value)


def reading_of(
    data: Any,
    firmware: Firmware,
    *,
    at: float,
    capabilities: Capability,
    mac: str | None,
    asleep: bool | None = None,
) -> Reading:
    """Return the reading of one machine.

    Args:
        data: The library's `MinerData`.
        firmware: The row of its firmware.
        at: When the data were complete, Unix seconds.
        capabilities: What it can be told.
        mac: Its hardware address where the machine itself does not tell.
        asleep: Whether it sleeps, where we asked it ourselves.
    """
    doubts: list[str] = []
    hashrate_hs = plausible.hashrate_hs(_hashrate_hs(data.hashrate), doubts)
    if hashrate_hs is not None and not firmware.is_rate_instant:
        doubts.append(f"hash rate: {hashrate_hs / 1e12:.1f} TH/s is an average since start")
        hashrate_hs = None
    nominal_hs = plausible.hashrate_hs(_hashrate_hs(data.expected_hashrate), doubts)
    state = _state(
        data, firmware, hashrate_hs=hashrate_hs, nominal_hs=nominal_hs, asleep=asleep, doubts=doubts
    )
    target = data.tuning_target
    return Reading(
        at=at,
        identity=_identity(data, firmware, mac),
        capabilities=capabilities,
        state=state,
        hashrate_hs=hashrate_hs,
        nominal_hashrate_hs=nominal_hs or None,
        power_w=plausible.power_w(data.wattage, doubts),
        power_is_measured=None if data.wattage is None else firmware.is_power_measured,
        power_limit_w=None if target is None else plausible.limit_w(target.watts),
        mode=_mode(target),
        modes=firmware.modes if Capability.MODE in capabilities else (),
        chip_max_c=_hottest_c(data.hashboards),
        fans_rpm=tuple(
            speed for fan in data.fans[:_MAX_FANS] if (speed := plausible.fan_rpm(fan.rpm)) is not None
        ),
        boards=tuple(_board(board, firmware, state) for board in data.hashboards[: plausible.MAX_BOARDS]),
        pools=tuple(islice(_pools(data.pools), plausible.MAX_POOLS)),
        uptime_s=_uptime_s(data),
        is_locating=data.light_flashing,
        complaints=tuple(islice(_complaints(data.messages, state), _MAX_COMPLAINTS)),
        doubts=tuple(doubts),
    )


def _identity(data: Any, firmware: Firmware, mac: str | None) -> Identity:
    info = data.device_info
    return Identity(
        mac=normal_mac(data.mac) or mac,
        serial=text_of(data.serial_number),
        make=line_of(info.make).lower(),
        model=line_of(info.model),
        firmware=firmware.name,
        firmware_version=text_of(data.firmware_version) or text_of(data.api_version),
    )


def _state(
    data: Any,
    firmware: Firmware,
    *,
    hashrate_hs: float | None,
    nominal_hs: float | None,
    asleep: bool | None,
    doubts: list[str],
) -> WorkState:
    """Return what it says that it does. The library's `is_mining` is True wherever it knows nothing, so a yes counts for
    nothing without a rate, and a no only from firmware that says so itself."""
    told = None if data.operating_state is None else _STATES.get(str(data.operating_state).partition("(")[0])
    if told in (WorkState.STARTING, WorkState.FAULT):
        return told
    if asleep is None and (told is WorkState.ASLEEP or _says_idle(data, firmware, hashrate_hs)):
        asleep = True
    if asleep:
        if hashrate_hs is None or hashrate_hs <= _STILL * (nominal_hs or 0.0):
            return WorkState.ASLEEP
        doubts.append("state: says asleep, yet its hash rate is not zero")
        return WorkState.UNKNOWN
    if hashrate_hs:
        return WorkState.HASHING
    if hashrate_hs == 0:
        doubts.append("state: hashes nothing and does not tell whether it sleeps")
    return WorkState.UNKNOWN


def _says_idle(data: Any, firmware: Firmware, hashrate_hs: float | None) -> bool:
    """Whether the firmware itself says that it does not mine, and not the library for want of an answer."""
    if data.is_mining or not firmware.tells_mining:
        return False
    return hashrate_hs is not None or not firmware.defaults_to_idle


def _uptime_s(data: Any) -> float | None:
    try:
        uptime = data.uptime
    except (ValueError, OverflowError):  # more seconds than Python's durations hold
        return None
    return None if uptime is None else plausible.uptime_s(uptime.total_seconds())


def _mode(target: Any) -> str | None:
    if target is None:
        return None
    if target.target_mode is not None:
        return str(target.target_mode).rpartition(".")[2].capitalize()
    return text_of(target.preset_name)


def _hashrate_hs(rate: Any) -> float | None:
    return None if rate is None else float(rate.as_unit(HashRateUnit.Hash).value)


def _hottest_c(boards: Any) -> float | None:
    told = (
        value for board in boards for value in (board.outlet_chip_temperature, board.inlet_chip_temperature)
    )
    return max((value for value in told if _is_temperature(value)), default=None)


def _is_temperature(value: float | None) -> bool:
    # Zero is what a sensor without power says.
    return value is not None and value != 0 and _LOWEST_C <= value <= _HIGHEST_C


def _complaints(messages: Any, state: WorkState) -> Iterator[str]:
    for message in messages:
        is_about_sleep = state is WorkState.ASLEEP and message.message.startswith("Miner state")
        if message.severity != MessageSeverity.Info and not is_about_sleep:
            yield line_of(message.message)


def _board(board: Any, firmware: Firmware, state: WorkState) -> Board:
    """Return a board. The library calls a board inactive whose rate it does not know, so that counts only with a rate."""
    is_told = state is WorkState.HASHING and board.hashrate is not None
    return Board(
        slot=board.position,
        hashrate_hs=plausible.hashrate_hs(_hashrate_hs(board.hashrate), [])
        if firmware.is_rate_instant
        else None,
        temperature_c=board.board_temperature if _is_temperature(board.board_temperature) else None,
        chips=board.working_chips,
        working=board.active if is_told else None,
    )


def _pools(groups: Any) -> Iterator[PoolSlot]:
    for group in groups:
        for pool in group.pools:
            if pool.url is not None and pool.url.host:
                yield PoolSlot(
                    url=without_login(line_of(str(pool.url))),
                    user=text_of(pool.user) or "",
                    active=pool.active,
                    accepted=integer_of(pool.accepted_shares),
                    rejected=integer_of(pool.rejected_shares),
                )
