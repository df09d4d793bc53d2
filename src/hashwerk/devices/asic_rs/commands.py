"""Commands through the library, and what is known of each after it was sent: for some firmwares nothing but that."""

from __future__ import annotations

import asyncio
import re
from typing import Any, Final, assert_never

from pyasic_rs.asic_rs import FanConfig, MiningMode, Pool, PoolGroup, TuningConfig

from hashwerk.devices.asic_rs.firmwares import LIBRARY_SUPPORT, Firmware
from hashwerk.fleet.commands import (
    NEEDS,
    Command,
    Locate,
    Reboot,
    SetFan,
    SetMode,
    SetPools,
    SetPowerLimit,
    Sleep,
    Wake,
)
from hashwerk.fleet.machine import Capability, Outcome, OutcomeKind

#: What the library's errors say where the machine itself said no; all others may be a lost answer.
_REFUSAL: Final = re.compile(
    r"(?:error|code):? 4\d\d|unauthori[sz]ed|authenticat|error status|not supported|permission", re.IGNORECASE
)
_MESSAGE_LENGTH: Final = 200


def capabilities_of(miner: Any, firmware: Firmware) -> Capability:
    """Return what our table and the library agree on."""
    able = firmware.capabilities
    for command, needed in NEEDS.items():
        if command not in firmware.own and not getattr(miner, LIBRARY_SUPPORT[command]):
            able &= ~needed
    return able


def why_not(miner: Any, firmware: Firmware, command: Command) -> str | None:
    """Return why a command cannot be sent to this machine, None if it can."""
    if NEEDS[type(command)] not in capabilities_of(miner, firmware):
        return f"{miner.make} with {miner.firmware} has no {type(command).__name__}"
    mode = command.mode if isinstance(command, (SetMode, Wake)) else None
    if mode is not None and mode.lower() not in (name.lower() for name in firmware.modes):
        return f"no mode {mode!r}; there are {', '.join(firmware.modes) or 'none'}"
    if isinstance(command, SetFan) and command.percent is None:
        return (
            "the library can give the fans back only with a target temperature, which is not ours to choose"
        )
    if isinstance(command, SetPools) and not command.pools:
        return "no pools"
    return None


async def send(miner: Any, firmware: Firmware, command: Command, deadline: float) -> Outcome:
    """Send a command and say what is known of it: for some firmwares that is nothing but that it was sent."""
    try:
        async with asyncio.timeout_at(deadline):
            is_taken = await _tell(miner, firmware, command)
    except TimeoutError:
        return Outcome(kind=OutcomeKind.UNANSWERED, message="no answer within the deadline")
    except Exception as error:  # whatever it is: the command may have been carried out
        kind = OutcomeKind.REFUSED if _REFUSAL.search(str(error)) else OutcomeKind.UNANSWERED
        return Outcome(kind=kind, message=str(error)[:_MESSAGE_LENGTH])
    if not is_taken:
        if type(command) in firmware.refuses:
            return Outcome(kind=OutcomeKind.REFUSED, message="the machine said no")
        return Outcome(
            kind=OutcomeKind.UNANSWERED, message="refused or failed; the library does not tell which"
        )
    if _kind_on_the_wire(command, firmware) in firmware.silent:
        return Outcome(
            kind=OutcomeKind.UNANSWERED, message="sent; this firmware does not say whether it took it"
        )
    return Outcome(kind=OutcomeKind.ACCEPTED)


def _kind_on_the_wire(command: Command, firmware: Firmware) -> type:
    is_mode = isinstance(command, Wake) and command.mode is not None and firmware.mode_wakes
    return SetMode if is_mode else type(command)


async def _tell(miner: Any, firmware: Firmware, command: Command) -> bool:
    match command:
        case Sleep():
            return bool(await miner.pause())
        case Wake(mode=mode):
            if mode is not None and firmware.mode_wakes:
                return await _set_mode(miner, mode)
            is_awake = bool(await miner.resume())
            return is_awake and (mode is None or await _set_mode(miner, mode))
        case SetMode(mode=mode):
            return await _set_mode(miner, mode)
        case SetPowerLimit(power_limit_w=limit):
            return bool(await miner.set_power_limit(float(limit)))
        case Reboot():
            return bool(await miner.restart())
        case Locate(on=on):
            return bool(await miner.set_fault_light(on))
        case SetPools(pools=pools):
            slots = [Pool(url=pool.url, username=pool.user, password=pool.password) for pool in pools]
            return bool(await miner.set_pools_config([PoolGroup(name="", quota=1, pools=slots)]))
        case SetFan(percent=percent):
            assert percent is not None  # `why_not` has sent it away
            return bool(await miner.set_fan_config(FanConfig.manual(percent)))
        case _:
            assert_never(command)


async def _set_mode(miner: Any, mode: str) -> bool:
    modes = {"low": MiningMode.Low, "normal": MiningMode.Normal, "high": MiningMode.High}
    return bool(await miner.set_tuning_config(TuningConfig.mode(modes[mode.lower()])))
