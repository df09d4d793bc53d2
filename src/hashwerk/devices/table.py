"""The explicit table of drivers. A new make is one file in this package and one row here."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from hashwerk.devices.asic_rs import AsicRsDriver
from hashwerk.devices.avalon import AvalonDriver
from hashwerk.fleet.ports import Driver

#: In the order in which a new machine is asked who it is: the cheapest and surest first.
DRIVERS: Final[tuple[Callable[[], Driver], ...]] = (AvalonDriver, AsicRsDriver)


def open_drivers() -> tuple[Driver, ...]:
    """Return one driver of each kind, in the order in which machines are to be identified."""
    return tuple(open_driver() for open_driver in DRIVERS)
