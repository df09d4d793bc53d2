"""Keeps the library for other makes within the addresses that something may be sent to.

`pyasic_rs` follows the redirects of a machine's page and has no setting against it, so a hostile machine could make it send
requests to any address. Its HTTP client obeys the usual environment variables, looked up for every new client and applied to
every hop: here all addresses but the allowed ones are said to be behind a proxy that is a closed door of our own. Not even a
name is looked up.

The variables are set for the C library only (`os.putenv`): nothing that is written in Python sees them.

Resource handling: one bound socket that nobody listens on, for as long as the process lives.
"""

from __future__ import annotations

import ipaddress
import os
import socket
from collections.abc import Iterable, Iterator
from typing import Final

from hashwerk.errors import FleetError
from hashwerk.fleet.settings import range_bounds

_PROXIES: Final = ("http_proxy", "https_proxy", "all_proxy")
_EXCEPT: Final = "no_proxy"
_confined: list[Confinement] = []
_door: int | None = None


class Confinement:
    """A promise that nothing is sent outside some ranges. Several at once allow what any of them allows."""

    def __init__(self, ranges: Iterable[str]) -> None:
        """Confine from now on.

        Args:
            ranges: As for `hashwerk.devices.addresses_of`.

        Raises:
            FleetError: If one cannot be read.
        """
        self.networks = tuple(str(network) for text in ranges for network in _networks(text))
        _confined.append(self)
        _apply()

    def __enter__(self) -> Confinement:
        return self

    def __exit__(self, *_: object) -> None:
        self.release()

    def release(self) -> None:
        """End the promise; a second time does nothing."""
        if self in _confined:
            _confined.remove(self)
            _apply()


def _networks(text: str) -> Iterator[ipaddress.IPv4Network | ipaddress.IPv6Network]:
    try:
        version, first, last = range_bounds(text)
    except ValueError as error:
        raise FleetError(f"not an address range: {text!r} ({error})") from None
    if version == 4:
        yield from ipaddress.summarize_address_range(
            ipaddress.IPv4Address(first), ipaddress.IPv4Address(last)
        )
    else:
        yield from ipaddress.summarize_address_range(
            ipaddress.IPv6Address(first), ipaddress.IPv6Address(last)
        )


def _apply() -> None:
    if not _confined:
        for name in (*_PROXIES, _EXCEPT):
            _set(name, os.environ.get(name), os.environ.get(name.upper()))
        return
    proxy = f"http://127.0.0.1:{_door_port()}"
    for name in _PROXIES:
        _set(name, proxy, proxy)
    allowed = ",".join(dict.fromkeys(network for each in _confined for network in each.networks))
    _set(_EXCEPT, allowed, allowed)


def _set(name: str, lower: str | None, upper: str | None) -> None:
    for variable, value in ((name, lower), (name.upper(), upper)):
        if value is None:
            os.unsetenv(variable)
        else:
            os.putenv(variable, value)


def _door_port() -> int:
    """Return a port of this computer that refuses everybody: bound, so that nobody else can have it, and never listened on."""
    global _door  # noqa: PLW0603 - one for the process, as the environment is
    if _door is None:
        door = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
        door.bind(("127.0.0.1", 0))
        _door = int(door.getsockname()[1])
        door.detach()  # held until the process ends
    return _door
