"""The pages with a fleet of any size, as a process of their own: machines in memory, everything else is what runs a mine.

    python hall_site.py --machines 5000 [--port N] [--data FOLDER]

Prints the page's URL and the token for commands once it listens, and "ended" once every page is closed.
"""

from __future__ import annotations

import argparse
import asyncio
import functools
import importlib.util
import json
import random
import signal
import sys
import tempfile
import time
from pathlib import Path
from types import ModuleType

import msgspec

from hashwerk.clock import SystemClock
from hashwerk.config.site import SiteConfig, parse_site
from hashwerk.errors import DeviceError
from hashwerk.fleet.commands import Command, Locate, Reboot, SetMode, Sleep, Wake
from hashwerk.fleet.machine import (
    Board,
    Capability,
    Identity,
    Outcome,
    OutcomeKind,
    PoolSlot,
    Reading,
    WorkState,
)
from hashwerk.fleet.measure import Measured, MeterReading
from hashwerk.fleet.place import Place, Placement
from hashwerk.fleet.ports import Address, Credentials
from hashwerk.site.fleet import FleetService
from hashwerk.site.fleet.token import local_token
from hashwerk.web.app import create_app
from hashwerk.web.fleet_api import fleet_router
from hashwerk.web.server import serve_web
from hashwerk.web.state import MineView, Site
from hashwerk.work.poisson import Rate, poisson_interval

SITE = """
[site]
name = "Demonstration mine"
[web]
port = 0
[fleet]
ranges = ["10.20.0.1-10.20.{last}.250"]
control = true
pace = 0.05
share_scale = {scale}
poll_s = {poll_s}
[fleet.limits]
per_breaker = 16
min_on_s = 1
min_off_s = 1
[[fleet.credentials]]
make = "whatsminer"
password = "horse-battery"
"""
#: make, model, its modes with W and TH/s; the middle one runs.
KINDS = (
    ("avalon", "Avalon Q", {"Eco": (843, 54.2), "Standard": (1403, 80.7), "Super": (1674, 90.0)}),
    ("antminer", "S19j Pro", {None: (2970, 100.0)}),
    ("whatsminer", "M50S", {None: (3276, 126.0)}),
)
ALL = Capability.SLEEP | Capability.MODE | Capability.REBOOT | Capability.LOCATE | Capability.POOLS


@functools.cache
def interval(shares: int) -> tuple[float, float]:
    return poisson_interval(shares)


class Hall:
    """Machines that do as told at once, but for a few; it is the driver that speaks to them, and their meter."""

    name = "memory"

    def __init__(self, machines: int) -> None:
        self.chance = random.Random(11)
        self.asleep: dict[str, bool] = {}
        self.modes: dict[str, str | None] = {}
        self.hosts = [f"10.20.{number // 250}.{number % 250 + 1}" for number in range(machines)]
        self.number = {host: number for number, host in enumerate(self.hosts)}
        for number, host in enumerate(self.hosts):
            self.asleep[host] = number % 9 == 4
            modes = list(self.kind(number)[2])
            self.modes[host] = modes[len(modes) // 2]

    def kind(self, number: int) -> tuple[str, str, dict[str | None, tuple[float, float]]]:
        return KINDS[(number // 250) % 3]

    def fault(self, number: int) -> str:
        return {17: "fault", 94: "silent", 151: "power", 208: "hash", 60: "board"}.get(number % 401, "")

    def power_w(self, host: str) -> float:
        number = self.number[host]
        return 60.0 if self.asleep[host] else self.kind(number)[2][self.modes[host]][0]

    def reading(self, host: str, now: float) -> Reading:
        number = self.number[host]
        make, model, modes = self.kind(number)
        fault, mode, asleep = self.fault(number), self.modes[host], self.asleep[host]
        rate_hs = 0.0 if asleep else modes[mode][1] * 1e12
        boards = tuple(
            Board(
                slot=slot,
                hashrate_hs=0.0 if fault == "board" and slot == 1 else rate_hs / 3,
                temperature_c=30.0 if asleep else 61.0 + slot,
                chips=0 if fault == "board" and slot == 1 else 114,
                working=fault != "board" or slot != 1,
            )
            for slot in range(3)
        )
        state = WorkState.ASLEEP if asleep else WorkState.FAULT if fault == "fault" else WorkState.HASHING
        return Reading(
            at=now,
            identity=Identity(
                mac=f"02:1a:{number >> 16:02x}:{number >> 8 & 255:02x}:{number & 255:02x}:01",
                serial=f"HW{number:07d}",
                make=make,
                model=model,
                firmware="stock",
                firmware_version="24.12.1",
            ),
            capabilities=ALL,
            state=state,
            hashrate_hs=rate_hs,
            nominal_hashrate_hs=modes[mode][1] * 1e12,
            power_w=self.power_w(host) * (0.4 if fault == "power" else 1.0),
            power_is_measured=False,
            mode=mode,
            modes=tuple(name for name in modes if name),
            inlet_c=24.5,
            chip_max_c=31.0 if asleep else 68.0 + number % 9,
            fans_rpm=(0, 0) if asleep else (4_320 + number % 90, 4_280),
            boards=boards,
            pools=(
                PoolSlot(
                    url="stratum+tcp://10.20.255.2:3333",
                    user=f"home.m{number}",
                    active=not asleep,
                    accepted=812,
                    rejected=3,
                ),
                PoolSlot(url="stratum+tcp://10.20.255.3:3333", user=f"home.m{number}", active=False),
            ),
            uptime_s=86_400.0 * 3,
            hardware_errors=12,
            complaints=("PSU overheats (code 233)",) if fault == "fault" else (),
            doubts=("its clock counts from boot",) if number % 50 == 0 else (),
        )

    def measured(self, host: str, now: float) -> Measured:
        number = self.number[host]
        asleep, fault = self.asleep[host], self.fault(number)
        rate_hs = 0.0 if asleep else self.kind(number)[2][self.modes[host]][1] * 1e12
        shares = round((0.55 if fault == "hash" else 1.0) * 240 * (not asleep))
        low, high = interval(shares)
        unit = rate_hs / 240 if rate_hs else 1e10
        return Measured(at=now, hashrate=Rate(shares * unit, low * unit, high * unit, shares), window_s=600.0)

    # The driver

    async def identify(self, address: Address, *, timeout_s: float) -> Reading | None:
        return self.reading(address.host, time.time()) if address.host in self.number else None

    async def read(
        self, address: Address, *, timeout_s: float, credentials: Credentials | None = None
    ) -> Reading:
        if address.host not in self.number or self.fault(self.number[address.host]) == "silent":
            raise DeviceError(f"{address.host} does not answer")
        return self.reading(address.host, time.time())

    async def execute(
        self, address: Address, command: Command, *, timeout_s: float, credentials: Credentials | None = None
    ) -> Outcome:
        match command:
            case Sleep() | Wake():
                self.asleep[address.host] = isinstance(command, Sleep)
            case SetMode(mode):
                self.modes[address.host] = mode
            case Reboot() | Locate():
                pass
            case _:
                return Outcome(kind=OutcomeKind.UNSUPPORTED, message="not in this hall")
        return Outcome(kind=OutcomeKind.ACCEPTED, message="ok")


class HallMeter:
    """The site's meter."""

    def __init__(self, hall: Hall) -> None:
        self.hall = hall

    async def read(self) -> list[MeterReading]:
        power_w = sum(self.hall.power_w(host) for host in self.hall.hosts)
        return [MeterReading(at=time.time(), power_w=power_w, scope="site")]


def furnish(service: FleetService, hall: Hall) -> None:
    """Let every machine be known as if it had been watched for a while."""
    now = time.time()
    for number, host in enumerate(hall.hosts):
        unit, _ = service.roster.heard(Address(host=host), hall.reading(host, now), hall.name)
        assert unit is not None
        unit.measured = hall.measured(host, now)
        unit.commanded = Sleep() if number % 9 == 4 and number % 90 != 4 else None
        if hall.fault(number) == "silent":
            for _ in range(3):
                service.roster.missed(unit, f"{host} does not answer within 5 s", is_unreadable=False)
    service.roster.registry.place(
        [
            Placement(
                address=host,
                place=Place(
                    hall="AB"[number % len(hall.hosts) * 2 // len(hall.hosts)],
                    row=str(number // 250 + 1),
                    shelf=str(number % 250 + 1),
                    breaker=f"B{number // 125 + 1}",
                    feeder=f"F{number // 1_250 + 1}",
                ),
                group=("day", "night")[number // 250 % 2],
            )
            for number, host in enumerate(hall.hosts)
        ]
    )


def load_web_site() -> ModuleType:
    path = Path(__file__).with_name("web_site.py")
    spec = importlib.util.spec_from_file_location("web_site", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["web_site"] = module
    spec.loader.exec_module(module)
    return module


async def serve(config: SiteConfig, folder: Path, machines: int, port: int) -> None:
    loop, shutdown, clock = asyncio.get_running_loop(), asyncio.Event(), SystemClock()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, shutdown.set)
    hall = Hall(machines)
    service = FleetService(
        config.fleet,
        folder / "fleet.sqlite",
        clock,
        drivers=[hall],
        site=config.site.name,
        meters=[HallMeter(hall)],
        channels=(),
    )
    service.open()
    furnish(service, hall)
    token = local_token(folder)
    web_site = load_web_site()
    view = MineView(web_site.SampleLedger(time.time()), clock)
    view.receive(web_site.sample(time.time(), simulation=config.fleet.share_scale != 1.0))
    settings = msgspec.structs.replace(config.web, port=port, title=config.site.name)
    app = create_app(
        view,
        settings,
        clock,
        session_key=bytes(32),
        routers=[fleet_router(service, is_guarded=False, local_token=token)],
        site=Site(fleet=service, config=config),
    )

    take = service.roster.measure

    def measure() -> None:
        """Measure as ever, then with the shares that this hall would have handed in."""
        take()
        now = time.time()
        for unit in service.roster.units.values():
            if unit.member.address is not None:
                unit.measured = hall.measured(unit.member.address.host, now)

    service.roster.measure = measure  # type: ignore[method-assign]

    async def report() -> None:
        while True:
            view.receive(web_site.sample(time.time(), simulation=config.fleet.share_scale != 1.0))
            await asyncio.sleep(1.0)

    tasks = [asyncio.create_task(service.run()), asyncio.create_task(report())]
    await serve_web(
        app, settings, shutdown, lambda url: print(json.dumps({"url": url, "token": token}), flush=True)
    )
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    await service.close()
    print("ended", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--machines", type=int, default=5_000)
    parser.add_argument("--port", type=int, default=0)
    parser.add_argument("--scale", type=float, default=1.0)
    parser.add_argument("--poll", type=float, default=20.0)
    parser.add_argument("--data")
    options = parser.parse_args()
    config = parse_site(
        SITE.format(scale=options.scale, poll_s=options.poll, last=max(0, options.machines - 1) // 250)
    )
    with tempfile.TemporaryDirectory() as folder:
        asyncio.run(serve(config, Path(options.data or folder), options.machines, options.port))


if __name__ == "__main__":
    main()
