"""Listens for the IP-report buttons of machines: who presses the button on a machine in the hall learns where it is.

Antminers send a datagram to UDP port 14235 whose text holds the address and the MAC address, separated by a comma; WhatsMiners
one to port 8888 with ``IP:…`` and ``MAC:…``. Neither is documented by its maker: this is common knowledge of tools for operators,
and not in this project's collected facts. Whatever a datagram says, only its MAC address and an address within the configured
ranges are used, and only to look there.

Resource handling: two sockets. A flood is answered by looking at most ten times a second.
"""

from __future__ import annotations

import asyncio
import logging
import re
from collections.abc import Callable
from typing import Final

import msgspec

from hashwerk.errors import FleetError
from hashwerk.fleet.identity import normal_mac
from hashwerk.fleet.settings import Ranges

log = logging.getLogger(__name__)

#: Where each make's button reports to.
PORTS: Final = {"antminer": 14_235, "whatsminer": 8_888}
_MAX_BYTES: Final = 512
_PER_SECOND: Final = 10
_IP: Final = re.compile(r"(?<![\d.])(?:\d{1,3}\.){3}\d{1,3}(?![\d.])")
_MAC: Final = re.compile(r"(?<![0-9A-Fa-f:-])(?:[0-9A-Fa-f]{2}[:-]){5}[0-9A-Fa-f]{2}(?![0-9A-Fa-f:-])")
_LABEL: Final = re.compile(r"(?:MAC|IP)[:=]", re.IGNORECASE)


class Report(msgspec.Struct, frozen=True, kw_only=True):
    """Somebody pressed a machine's button."""

    host: str
    mac: str | None
    make: str
    at: float = 0.0


OnReport = Callable[[Report], object]


def read_report(data: bytes, sender: str, make: str) -> Report | None:
    """Return what a datagram says; None if it is none of a button.

    The sender's address counts unless the text names another; behind a relay only the text is right.
    """
    text = _LABEL.sub(" ", data[:_MAX_BYTES].decode("ascii", "replace"))
    mac_text, ip_text = _MAC.search(text), _IP.search(text)
    mac = normal_mac(mac_text[0]) if mac_text else None
    if mac is None and ip_text is None:
        return None
    return Report(host=ip_text[0] if ip_text else sender, mac=mac, make=make)


class _Ear(asyncio.DatagramProtocol):
    def __init__(self, listener: ReportListener, make: str) -> None:
        self._listener = listener
        self._make = make

    def datagram_received(self, data: bytes, addr: tuple[str, int]) -> None:
        self._listener.hear(data, addr[0], self._make)


class ReportListener:
    """Hears the buttons."""

    def __init__(self, ranges: Ranges, on_report: OnReport) -> None:
        self._ranges = ranges
        self._on_report = on_report
        self._transports: list[asyncio.DatagramTransport] = []
        self._second = 0.0
        self._heard = 0
        self.ports: dict[str, int] = {}

    async def start(self, host: str, ports: dict[str, int] | None = None) -> None:
        """Listen on an address; port 0 lets the system choose.

        Raises:
            FleetError: If a port cannot be had; the others are listened to all the same.
        """
        loop, failures = asyncio.get_running_loop(), []
        for make, port in (PORTS if ports is None else ports).items():
            try:
                transport, _ = await loop.create_datagram_endpoint(
                    lambda make=make: _Ear(self, make),  # type: ignore[misc]
                    local_addr=(host, port),
                )
            except OSError as error:
                failures.append(f"UDP port {port} on {host} cannot be had: {error.strerror}")
                continue
            self._transports.append(transport)
            self.ports[make] = transport.get_extra_info("sockname")[1]
        if failures:
            raise FleetError(f"report buttons: {'; '.join(failures)}")

    def close(self) -> None:
        """Listen no more."""
        for transport in self._transports:
            transport.close()
        self._transports.clear()

    def hear(self, data: bytes, sender: str, make: str) -> None:
        """Take in a datagram."""
        now = asyncio.get_running_loop().time()
        if now - self._second >= 1.0:
            self._second, self._heard = now, 0
        self._heard += 1
        if self._heard > _PER_SECOND:
            return
        report = read_report(data, sender, make)
        if report is None or report.host not in self._ranges:
            log.debug("a datagram of %s is no report of a machine in our ranges", sender)
            return
        self._on_report(report)
