"""All ways by which orders arrive: one row a kind. A new one is a module, a struct in `settings` and a row here."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import assert_never

from hashwerk.clock import Clock
from hashwerk.dispatch.orders import OrderSource
from hashwerk.grid_orders.dry_contact import DryContact
from hashwerk.grid_orders.file import File
from hashwerk.grid_orders.modbus_map import ModbusMap
from hashwerk.grid_orders.mqtt import Mqtt
from hashwerk.grid_orders.openadr import OpenAdr
from hashwerk.grid_orders.present import Look
from hashwerk.grid_orders.settings import (
    DryContactOrders,
    FileOrders,
    GridOrderSettings,
    ModbusMapOrders,
    MqttOrders,
    OpenAdrOrders,
)


def open_order_sources(
    settings: Sequence[GridOrderSettings], clock: Clock, folder: Path
) -> tuple[OrderSource, ...]:
    """Return the sources that settings describe. What each has heard is kept in ``folder``, in a file of its name.

    Raises:
        ConfigError: If a password, a certificate or an address cannot be used.
    """
    return tuple(_open(one, clock, folder / f"grid-orders-{one.name}.json") for one in settings)


def _open(settings: GridOrderSettings, clock: Clock, memory: Path) -> OrderSource:
    match settings:
        case OpenAdrOrders():
            return OpenAdr(settings, clock, memory)
        case ModbusMapOrders():
            return ModbusMap(settings, clock, memory)
        case DryContactOrders():
            return DryContact(settings, clock, memory)
        case MqttOrders():
            return Mqtt(settings, clock, memory)
        case FileOrders():
            return File(settings, clock, memory)
        case _:
            assert_never(settings)


def show_to(sources: Sequence[OrderSource], look: Look) -> None:
    """Let the sources that report at any time, order or none, look at the site."""
    for source in sources:
        if isinstance(source, ModbusMap | OpenAdr):
            source.look = look
