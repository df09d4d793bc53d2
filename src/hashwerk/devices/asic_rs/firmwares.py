"""The explicit table of firmwares behind `pyasic_rs`: what each can be told, and how far its words can be believed.

The library answers for all of them with the same fields, but fills some with defaults, averages or estimates. What is
listed here as not told is never taken from it.
"""

from __future__ import annotations

from typing import Final

import msgspec

from hashwerk.fleet.commands import (
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
from hashwerk.fleet.machine import Capability

_CONTROL: Final = Capability.SLEEP | Capability.REBOOT | Capability.LOCATE | Capability.POOLS


class Firmware(msgspec.Struct, frozen=True, kw_only=True):
    """One firmware: its name in the library and in our readings, and what is known of it."""

    library_name: str
    name: str
    capabilities: Capability
    tells_mining: bool = True  # False: the library's is_mining is a default, inverted or derived
    defaults_to_idle: bool = False  # True: the library says idle where the machine said nothing
    is_rate_instant: bool = True  # False: the only rate is an average since start
    is_power_measured: bool | None = None  # False: the firmware's estimate; None: not known
    modes: tuple[str, ...] = ()
    silent: frozenset[type[Command]] = frozenset()  # the library says yes to these whatever happens
    mode_wakes: bool = False  # setting a mode ends sleep, and a plain wake would forget the mode
    refuses: frozenset[type[Command]] = (
        frozenset()
    )  # here the library's no is the machine's; elsewhere any failure
    own: frozenset[type[Command]] = frozenset()  # sent by ourselves, for the library cannot
    lies: tuple[str, ...] = ()


_MODES: Final = ("Low", "Normal", "High")

FIRMWARES: Final = (
    Firmware(
        library_name="AntMiner Stock",
        name="stock",
        capabilities=_CONTROL | Capability.MODE | Capability.FAN,
        is_power_measured=False,
        modes=_MODES,
        mode_wakes=True,
        silent=frozenset({SetMode, SetFan}),
        refuses=frozenset({Sleep, Wake}),
        lies=(
            "a wake without a mode comes back in Normal, whatever it was before",
            "a change rewrites the whole configuration and restarts the miner",
            "a change of mode or fans is sent, and the library does not read the answer",
        ),
    ),
    Firmware(
        library_name="WhatsMiner Stock",
        name="stock",
        capabilities=_CONTROL | Capability.MODE | Capability.POWER_LIMIT,
        modes=_MODES,
        silent=frozenset({Sleep, Reboot, SetMode}),
        lies=(
            "sleep, reboot and a change of mode are sent, and the library says yes whatever happens",
            "Normal mode is told as a power limit, so the mode is unknown then",
            "the API must be enabled and the password changed before anything can be written",
        ),
    ),
    Firmware(
        library_name="Braiins",
        name="braiins",
        capabilities=_CONTROL | Capability.POWER_LIMIT,
        defaults_to_idle=True,
        is_power_measured=False,
        lies=("power is an estimate", "its own power scaling moves the limit behind our back"),
    ),
    Firmware(
        library_name="LuxOS",
        name="luxos",
        capabilities=_CONTROL,
        tells_mining=False,
        is_power_measured=False,
        lies=("is_mining is always true: whether it sleeps is read from its config by ourselves",),
    ),
    Firmware(
        library_name="VNish",
        name="vnish",
        capabilities=_CONTROL | Capability.POWER_LIMIT,
        is_power_measured=False,
        lies=("a power limit picks the nearest preset below and may restart the tuning",),
    ),
    Firmware(
        library_name="UMC OS",
        name="epic",
        capabilities=_CONTROL | Capability.FAN,
        is_power_measured=True,
        refuses=frozenset({Sleep, Wake, Reboot, Locate}),
        lies=("is_mining is true in every state but Idling",),
    ),
    Firmware(
        library_name="Marathon",
        name="marafw",
        capabilities=Capability.SLEEP | Capability.POOLS,
        is_power_measured=False,
        refuses=frozenset({Sleep, Wake}),
        lies=("power is an estimate",),
    ),
    Firmware(
        library_name="Auradine Stock",
        name="stock",
        capabilities=_CONTROL | Capability.POWER_LIMIT,
        tells_mining=False,
        silent=frozenset({Sleep, Wake}),
        lies=("is_mining is inverted where the firmware answers with a truth value",),
    ),
    Firmware(
        library_name="SealMiner Stock",
        name="stock",
        capabilities=_CONTROL | Capability.POWER_LIMIT,
        tells_mining=False,
        is_rate_instant=False,
        is_power_measured=True,
        lies=("the rate is an average since start", "a power limit reboots the machine"),
    ),
    Firmware(
        library_name="Proto Stock",
        name="stock",
        capabilities=_CONTROL | Capability.POWER_LIMIT | Capability.FAN,
        defaults_to_idle=True,
        is_power_measured=True,
        lies=("just after start it ramps up for minutes while it says Mining",),
    ),
    Firmware(
        library_name="Bitaxe Stock",
        name="stock",
        capabilities=Capability.REBOOT,
        tells_mining=False,
        is_power_measured=True,
        own=frozenset({Reboot}),
        lies=("is_mining is always true", "it cannot be put to sleep: use a smart plug"),
    ),
    Firmware(
        library_name="Nerdaxe Stock",
        name="stock",
        capabilities=Capability.REBOOT,
        tells_mining=False,
        is_power_measured=True,
        own=frozenset({Reboot}),
        lies=("is_mining is always true", "it cannot be put to sleep: use a smart plug"),
    ),
)

#: A firmware that is not in the table is read, believed in nothing that could be a default, and told nothing.
UNKNOWN: Final = Firmware(
    library_name="", name="unknown", capabilities=Capability.NONE, tells_mining=False, is_power_measured=None
)

_BY_NAME: Final = {firmware.library_name: firmware for firmware in FIRMWARES}

#: What the library must say it supports before a command is sent, beside our own table.
LIBRARY_SUPPORT: Final[dict[type, str]] = {
    Sleep: "supports_pause",
    Wake: "supports_resume",
    Reboot: "supports_restart",
    Locate: "supports_set_fault_light",
    SetPools: "supports_pools_config",
    SetPowerLimit: "supports_set_power_limit",
    SetMode: "supports_tuning_config",
    SetFan: "supports_fan_config",
}


def firmware_of(library_name: str) -> Firmware:
    """Return the row of a firmware by the library's name of it."""
    return _BY_NAME.get(library_name, UNKNOWN)
