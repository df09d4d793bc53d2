"""The running fleet: the loops that join drivers, the fleet's model, its record, the ledger's shares and the meters.

`FleetService` is the whole of it. Pages and API read `FleetService.view` and call its methods; nothing else commands machines.
"""

from hashwerk.site.fleet.meters import PowerSource
from hashwerk.site.fleet.service import FleetService
from hashwerk.site.fleet.view import FleetColumns, FleetView, MachineView

__all__ = ["FleetColumns", "FleetService", "FleetView", "MachineView", "PowerSource"]
