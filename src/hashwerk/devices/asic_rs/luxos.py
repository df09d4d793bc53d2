"""LuxOS: whether it sleeps, which the library does not read, from its own ``config``."""

from __future__ import annotations

from hashwerk.devices.cgminer import ask, json_request
from hashwerk.devices.cgminer_reply import text_of
from hashwerk.errors import DeviceError
from hashwerk.fleet.ports import Address


async def is_curtailed(address: Address, *, timeout_s: float) -> bool | None:
    """Return whether its CurtailMode is anything but None, or its power supply off; None if it does not tell."""
    try:
        config = (await ask(address, json_request("config"), timeout_s=timeout_s)).first("CONFIG")
    except DeviceError:
        return None
    mode, supply_is_on = text_of(config.get("CurtailMode")), config.get("IsPowerSupplyOn")
    if mode is None:
        return None
    return mode.lower() != "none" or supply_is_on is False
