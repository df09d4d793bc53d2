"""What must hold of the ways by which orders of grid operators arrive, beyond the type of each setting."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from hashwerk.config.addresses import is_loopback
from hashwerk.config.problems import Problem
from hashwerk.grid_orders.settings import GridOrderSettings, ModbusMapOrders, MqttOrders, OpenAdrOrders

if TYPE_CHECKING:
    from hashwerk.config.site import SiteConfig


def check_grid_orders(config: SiteConfig) -> Iterator[Problem]:
    """Yield what is wrong: two of one name, a port open to others by oversight, a file that is not there, nobody to obey."""
    names = [one.name for one in config.grid_order]
    if names and not (config.fleet.is_configured and config.dispatch.enabled):
        yield Problem(
            "grid_order",
            "orders are obeyed by the fleet's dispatch, and there is none",
            hint="set ranges in [fleet], and enabled = true in [dispatch]",
        )
    for number, one in enumerate(config.grid_order):
        path = f"grid_order[{number}]"
        if names.index(one.name) < number:
            yield Problem(f"{path}.name", f"two are called {one.name!r}")
        yield from _check_files(path, one)
        if isinstance(one, ModbusMapOrders):
            yield from _check_listening(path, one, config.listen.beyond_loopback)


def _check_listening(path: str, one: ModbusMapOrders, may_be_reached: bool) -> Iterator[Problem]:
    if not is_loopback(one.host) and not may_be_reached:
        yield Problem(
            f"{path}.host",
            f"{one.host} can be reached by other computers",
            hint="set beyond_loopback = true in [listen] if that is meant",
        )
    for master in one.masters:
        try:
            ipaddress.ip_network(master)
        except ValueError as error:
            yield Problem(f"{path}.masters", str(error), hint="an address or a network: 10.0.1.0/24")


def _check_files(path: str, one: GridOrderSettings) -> Iterator[Problem]:
    files: dict[str, str | None] = {}
    if isinstance(one, OpenAdrOrders):
        files = {
            "certificate": one.certificate,
            "key": one.key,
            "passphrase_file": one.passphrase_file,
            "ca_file": one.ca_file,
        }
    elif isinstance(one, MqttOrders):
        files = {
            "password_file": one.password_file,
            "ca_file": one.ca_file,
            "certificate": one.certificate,
            "key": one.key,
        }
    for name, file in files.items():
        if file is not None and not Path(file).expanduser().is_file():
            yield Problem(f"{path}.{name}", f"there is no file {file}")
