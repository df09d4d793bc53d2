"""Fleet and energy in a process of their own, as the `site` process runs them but without pages: it can be killed like one.

    python energy_process.py <orders as JSON>

It prints the API's URL and the token once it listens.
"""

from __future__ import annotations

import asyncio
import json
import sys
from pathlib import Path
from typing import Any

import msgspec
import uvloop

sys.path.insert(0, str(Path(__file__).parents[1]))

from hashwerk.clock import SystemClock
from hashwerk.config.web_settings import WebSettings
from hashwerk.devices import open_drivers
from hashwerk.fleet.settings import FleetSettings
from hashwerk.site.energy import EnergyParts, EnergyService
from hashwerk.site.energy.fleet_port import FleetMachines
from hashwerk.site.fleet import FleetService
from hashwerk.site.fleet.token import local_token
from hashwerk.web.app import create_api
from hashwerk.web.energy_api import EnergyCollector, energy_router
from hashwerk.web.fleet_api import fleet_router
from hashwerk.web.server import serve_web
from hashwerk.web.state import MineView
from support.fleet_process import TwinMeter


async def main(orders: dict[str, Any]) -> None:
    """Run until killed."""
    folder, clock = Path(orders["folder"]), SystemClock()
    fleet = FleetService(
        msgspec.convert(orders["fleet"], FleetSettings),
        folder / "fleet.sqlite",
        clock,
        drivers=open_drivers(),
        site="test",
        meters=[TwinMeter(orders["control_port"])],
    )
    fleet.open()
    parts = msgspec.convert(orders["parts"], EnergyParts)
    energy = EnergyService(parts, FleetMachines(fleet, clock), clock, folder / "energy.sqlite")
    energy.open()
    token, view = local_token(folder), MineView(None, clock)
    view.collectors.append(EnergyCollector(energy))
    routers = [
        fleet_router(fleet, is_guarded=False, local_token=token),
        energy_router(energy, clock, is_guarded=False, local_token=token),
    ]
    app = create_api(view, WebSettings(port=0), clock, routers=routers)

    def ready(url: str) -> None:
        print(json.dumps({"url": url, "token": token}), flush=True)

    async with asyncio.TaskGroup() as group:
        group.create_task(fleet.run())
        group.create_task(energy.run())
        group.create_task(serve_web(app, WebSettings(port=0), asyncio.Event(), ready))


if __name__ == "__main__":
    uvloop.run(main(json.loads(sys.argv[1])))
