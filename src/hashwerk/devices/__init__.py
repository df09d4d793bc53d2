"""Machines: finding them, reading them, telling them what to do.

`open_drivers` returns the drivers, `scan` finds machines in address ranges, `identify` asks one address. All speak
through the port `hashwerk.fleet.ports.Driver`, and none of their calls outlasts its deadline. While a `Confinement` lasts,
none sends anything outside its ranges, whatever a machine answers.
"""

from hashwerk.devices.confine import Confinement
from hashwerk.devices.discover import Found, addresses_of, identify, scan
from hashwerk.devices.table import Support, open_drivers, supported

__all__ = ["Confinement", "Found", "Support", "addresses_of", "identify", "open_drivers", "scan", "supported"]
