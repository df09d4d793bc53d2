"""A fleet in a process of its own, as the `site` process runs it, with its pages: it can be killed like one.

    python fleet_process.py <orders as JSON>

It prints the API's URL and the token once it listens.
"""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import httpx
import msgspec
import uvloop

from hashwerk.clock import SystemClock
from hashwerk.config.web_settings import WebSettings
from hashwerk.devices import open_drivers
from hashwerk.errors import DeviceError
from hashwerk.fleet.measure import MeterReading
from hashwerk.fleet.settings import FleetSettings
from hashwerk.site.fleet import FleetService
from hashwerk.site.fleet.token import local_token
from hashwerk.store import LedgerReader
from hashwerk.web.app import create_app
from hashwerk.web.fleet_api import fleet_router
from hashwerk.web.server import serve_web
from hashwerk.web.state import MineView, Site


class TwinMeter:
    """The meters of a simulated hall: of the site, its feeders and its breakers. They tell true power, never machines."""

    def __init__(self, control_port: int) -> None:
        self._url = f"http://127.0.0.1:{control_port}/power"
        self._client = httpx.AsyncClient(timeout=2.0)

    async def read(self) -> Sequence[MeterReading]:
        """Return what the meters show."""
        try:
            values: dict[str, Any] = (await self._client.get(self._url)).json()
        except (httpx.HTTPError, ValueError) as error:
            raise DeviceError(f"the meter does not answer: {error!r}") from error
        at = values["at"]
        return [
            MeterReading(at=at, power_w=values["power_w"], scope="site"),
            *(
                MeterReading(at=at, power_w=power_w, scope=f"breaker:{name}")
                for name, power_w in values["breakers_w"].items()
            ),
        ]


async def main(orders: dict[str, Any]) -> None:
    """Run until killed."""
    folder = Path(orders["folder"])
    clock = SystemClock()
    settings = msgspec.convert(orders["settings"], FleetSettings)
    reader = LedgerReader(Path(orders["ledger"])) if orders.get("ledger") else None
    meters = [TwinMeter(orders["control_port"])] if orders.get("control_port") else []
    service = FleetService(
        settings,
        folder / "fleet.sqlite",
        clock,
        drivers=open_drivers(),
        site="test",
        ledger=reader,
        meters=meters,
    )
    service.open()
    token = local_token(folder)
    router = fleet_router(service, is_guarded=False, local_token=token)
    app = create_app(
        MineView(reader, clock),
        WebSettings(port=0),
        clock,
        session_key=bytes(32),
        routers=[router],
        site=Site(fleet=service),
    )

    def ready(url: str) -> None:
        print(json.dumps({"url": url, "token": token}), flush=True)

    async with asyncio.TaskGroup() as group:
        group.create_task(service.run())
        group.create_task(serve_web(app, WebSettings(port=0), asyncio.Event(), ready))


if __name__ == "__main__":
    uvloop.run(main(json.loads(sys.argv[1])))
