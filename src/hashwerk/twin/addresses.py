"""Loopback addresses for a hall, found by trying: two mines on one computer never fight for them.

Resource handling:
    A reserved block is held by one bound socket that never listens, for as long as `Reserved` is open. The hall's own
    sockets are opened later, by whoever runs it.
"""

from __future__ import annotations

import socket
from collections.abc import Iterable
from typing import Final

import msgspec

from hashwerk.errors import ConfigError
from hashwerk.twin.listener import bound_socket, why_not
from hashwerk.twin.settings import HallSettings

#: The last byte of the address that holds a block; no hall of fewer machines uses it.
_HOLDER: Final = 254


class Reserved:
    """A hall's settings with addresses that are free, held until closed."""

    def __init__(self, settings: HallSettings, holder: socket.socket) -> None:
        self.settings = settings
        self._holder = holder

    def close(self) -> None:
        """Let others have the addresses."""
        self._holder.close()


def reserve(settings: HallSettings, bases: Iterable[str]) -> Reserved:
    """Return the settings with the first base whose addresses and ports are all free, and hold it.

    Raises:
        ConfigError: If there is none; the message is that of the first base and says what helps.
    """
    first: ConfigError | None = None
    for base in bases:
        here = msgspec.structs.replace(settings, base=base)
        try:
            return Reserved(here, _try(here))
        except ConfigError as error:
            first = first or error
    raise first or ConfigError("no addresses for a hall are named")


def _try(settings: HallSettings) -> socket.socket:
    """Return the socket that holds a block, if all its addresses are free."""
    holder = _holder(settings)
    try:
        for index in range(settings.machines):
            bound_socket(settings.address(index), settings.port).close()
        if settings.meter_port is not None:
            bound_socket(settings.base, settings.meter_port).close()
    except BaseException:
        holder.close()
        raise
    return holder


def _holder(settings: HallSettings) -> socket.socket:
    """Return a socket that nobody else can bind to, whatever options it sets: there is no SO_REUSEADDR on this one."""
    host = f"{settings.base.rpartition('.')[0]}.{_HOLDER}"
    holder = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    try:
        holder.bind((host, settings.port))
    except OSError as error:
        holder.close()
        raise ConfigError(why_not(host, settings.port, error)) from error
    return holder
