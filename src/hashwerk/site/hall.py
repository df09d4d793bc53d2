"""The `hall` process: a simulated hall that works for this mine, and the meters that stand in front of it. All simulation but
the hashing, at low priority.

Resource handling:
    The sockets of machines and meters are closed before it ends.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from contextlib import AsyncExitStack
from functools import partial
from typing import Final

import msgspec

from hashwerk.meters.register_map import RegisterMap, load_map
from hashwerk.meters.twin import MeterTwin
from hashwerk.site.child import Ready, tell
from hashwerk.site.hashing import NICENESS, lower_priority
from hashwerk.site.orders import Orders
from hashwerk.twin import Hall, HallSettings
from hashwerk.twin.control import ControlServer

log = logging.getLogger(__name__)

#: The model that the hall's meters are: whole Wh in 64 bits, a serial number.
METER_MAP: Final = "schneider-iem3155"


async def run_hall(orders: Orders, stop: asyncio.Event) -> None:
    """Run the hall until ``stop`` is set.

    Raises:
        ConfigError: If an address or a port cannot be had.
    """
    settings = orders.config.twin
    assert settings is not None, "the supervisor starts a hall where one is configured"
    assert orders.stratum_url is not None, "serve is ready before the hall is started"
    lower_priority(NICENESS)
    hall = Hall(msgspec.structs.replace(settings, pool=orders.stratum_url))
    async with AsyncExitStack() as stack:
        stack.push_async_callback(hall.stop)
        await hall.start()
        for meter in hall_meters(hall):
            stack.push_async_callback(meter.stop)
            await meter.start()
        control = ControlServer(hall)
        if settings.control_port is not None:
            stack.push_async_callback(control.stop)
            await control.start(settings.control_port)
        tell(Ready(hall_urls(settings, control.port)))
        await stop.wait()
        seen = hall.view()
        log.info("simulation: the hall has hashed %d times, %d shares accepted", seen.hashed, seen.accepted)


def hall_meters(hall: Hall) -> list[MeterTwin]:
    """Return the meter of the hall and one of each feeder; none where they have no port."""
    port = hall.settings.meter_port
    if port is None:
        return []
    registers = load_map(METER_MAP)
    feeders = sorted({machine.identity.feeder for machine in hall.machines})
    meters = [_meter(hall, registers, port, hall.power_w, hall.energy_wh)]
    for number, feeder in enumerate(feeders, start=1):
        power_w = partial(hall.power_w, feeder=feeder)
        meters.append(_meter(hall, registers, port + number, power_w, partial(hall.energy_wh, feeder=feeder)))
    return meters


def hall_urls(settings: HallSettings, control_port: int | None = None) -> dict[str, str]:
    """Return where the hall can be reached: its first and last machine, its meter, and where faults are injected."""
    last = settings.address(settings.machines - 1)
    urls = {"hall": f"{settings.base}:{settings.port} to {last}:{settings.port}"}
    if settings.meter_port is not None:
        urls["meter"] = f"modbus://{settings.base}:{settings.meter_port}"
    if control_port is not None:
        urls["control"] = f"http://127.0.0.1:{control_port}/"
    return urls


def _meter(
    hall: Hall,
    registers: RegisterMap,
    port: int,
    power_w: Callable[[], float],
    energy_wh: Callable[[], float],
) -> MeterTwin:
    return MeterTwin(
        registers,
        power_w,
        hall.clock,
        energy_wh=energy_wh,
        host=hall.settings.base,
        port=port,
    )
