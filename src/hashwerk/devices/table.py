"""The explicit table of drivers. A new make is one file in this package and one row here."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

import msgspec

from hashwerk.devices.asic_rs import AsicRsDriver
from hashwerk.devices.asic_rs.firmwares import FIRMWARES, Firmware
from hashwerk.devices.avalon import AvalonDriver
from hashwerk.devices.avalon.models import DIALECTS, Dialect
from hashwerk.fleet.machine import Capability
from hashwerk.fleet.ports import Driver

#: In the order in which a new machine is asked who it is: the cheapest and surest first.
DRIVERS: Final[tuple[Callable[[], Driver], ...]] = (AvalonDriver, AsicRsDriver)


def open_drivers() -> tuple[Driver, ...]:
    """Return one driver of each kind, in the order in which machines are to be identified."""
    return tuple(open_driver() for open_driver in DRIVERS)


class Support(msgspec.Struct, frozen=True, kw_only=True):
    """What is known of one make and firmware: the rows of docs/guide/machines."""

    machines: str
    driver: str
    power: str
    capabilities: Capability
    modes: tuple[str, ...]
    lies: tuple[str, ...]


def supported() -> tuple[Support, ...]:
    """Return every make and firmware that a driver speaks to, in the order of the tables."""
    return (*(_of_dialect(dialect) for dialect in DIALECTS), *(_of_firmware(row) for row in FIRMWARES))


def _of_dialect(dialect: Dialect) -> Support:
    return Support(
        machines=f"Avalon {dialect.family}",
        driver=AvalonDriver.name,
        power="as the power supply says",
        capabilities=dialect.capabilities,
        modes=dialect.modes,
        lies=dialect.lies,
    )


def _of_firmware(firmware: Firmware) -> Support:
    powers = {True: "measured by the machine", False: "the firmware's estimate", None: "as the machine says"}
    return Support(
        machines=firmware.library_name,
        driver=AsicRsDriver.name,
        power=powers[firmware.is_power_measured],
        capabilities=firmware.capabilities,
        modes=firmware.modes,
        lies=firmware.lies,
    )
