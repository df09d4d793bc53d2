"""A client of the cgminer API: one command per connection, each with a hard deadline and a bounded reply.

Machines have a single thread and no queue: never two commands on one connection, never two connections at once.
"""

from __future__ import annotations

import asyncio
import contextlib
import functools
import ipaddress
from collections.abc import Sequence
from typing import Final, cast

import msgspec

from hashwerk.devices.cgminer_reply import Reply, decode_reply
from hashwerk.errors import DecodeError, DeviceError
from hashwerk.fleet.ports import Address

DEFAULT_PORT: Final = 4028
#: The estats of three boards of 160 chips are about 40 kB.
MAX_REPLY_BYTES: Final = 512 * 1024
#: Addresses whose form is known.
_HOSTS: Final = 65_536


class UnreachableError(DeviceError):
    """No connection came about: nothing was sent."""


class NoReplyError(DeviceError):
    """The request was sent and nothing useful came back: what the machine made of it is unknown."""


def json_request(command: str, parameter: str | None = None) -> bytes:
    """Return ``{"command":…}``, with a parameter if given."""
    fields = {"command": command}
    if parameter is not None:
        fields["parameter"] = parameter
    return msgspec.json.encode(fields)


def joined_request(commands: Sequence[str]) -> bytes:
    """Return one request for several readings; each must be without parameter."""
    return json_request("+".join(commands))


def text_request(command: str, parameter: str | None = None) -> bytes:
    """Return the older form ``command|parameter``, which every firmware knows."""
    return (command if parameter is None else f"{command}|{parameter}").encode()


async def ask(
    address: Address, request: bytes, *, timeout_s: float, max_bytes: int = MAX_REPLY_BYTES
) -> Reply:
    """Send one request and return the decoded reply.

    Raises:
        UnreachableError: If there was no connection: nothing was sent.
        NoReplyError: If it was sent and nothing, or nothing that can be read, came back in time.
    """
    data = await exchange(address, request, timeout_s=timeout_s, max_bytes=max_bytes)
    try:
        return decode_reply(data)
    except DecodeError as error:
        raise NoReplyError(f"{address.host} answers with nothing that can be read: {error}") from None


async def exchange(
    address: Address, request: bytes, *, timeout_s: float, max_bytes: int = MAX_REPLY_BYTES
) -> bytes:
    """Send ``request`` on a connection of its own and return the reply's bytes, up to its NUL or to the end.

    A machine that neither ends its reply nor closes costs the whole deadline; what it sent until then is returned.

    *Resource handling*: the connection is closed in every case. *Cancellation*: aborts it.

    Raises:
        UnreachableError: If there was no connection: nothing was sent.
        NoReplyError: If nothing came back in time, or more than ``max_bytes``.
    """
    loop = asyncio.get_running_loop()
    host, port = ip_address(address.host), address.port or DEFAULT_PORT
    peer = _Peer(request, loop.create_future(), max_bytes)
    try:
        async with asyncio.timeout(timeout_s):
            await loop.create_connection(lambda: peer, host, port)
            await peer.done
    except TimeoutError:
        if not peer.is_connected:
            raise UnreachableError(f"{host} does not answer within {timeout_s:g} s") from None
        if not peer.received:
            raise NoReplyError(f"{host} is connected and silent for {timeout_s:g} s") from None
    except OSError as error:
        if not peer.is_connected:
            raise UnreachableError(f"{host}: {error.strerror or error}") from None
        raise NoReplyError(f"{host} broke the connection: {error.strerror or error}") from None
    finally:
        peer.abandon()
    if not peer.received:
        raise NoReplyError(f"{host} closed without a reply")
    return bytes(peer.received)


class _Peer(asyncio.Protocol):
    """Writes a request as soon as there is a connection, and collects the reply."""

    __slots__ = ("_max_bytes", "_request", "_transport", "done", "is_connected", "received")

    def __init__(self, request: bytes, done: asyncio.Future[None], max_bytes: int) -> None:
        self.done = done
        self.received = bytearray()
        self.is_connected = False
        self._request = request
        self._max_bytes = max_bytes
        self._transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.is_connected = True
        self._transport = cast("asyncio.Transport", transport)
        self._transport.write(self._request)

    def data_received(self, data: bytes) -> None:
        self.received += data
        if len(self.received) > self._max_bytes:
            self._finish(NoReplyError(f"a reply of more than {self._max_bytes} bytes"))
        elif data.endswith(b"\x00"):
            self._finish(None)

    def connection_lost(self, exc: Exception | None) -> None:
        # What came before a broken connection is a reply all the same: some machines reset instead of closing.
        self._finish(None if self.received else exc)

    def _finish(self, error: Exception | None) -> None:
        if self.done.done():
            return
        if error is None:
            self.done.set_result(None)
        else:
            self.done.set_exception(error)

    def abandon(self) -> None:
        if self._transport is not None:
            self._transport.abort()
        if self.done.done() and not self.done.cancelled():
            self.done.exception()  # retrieved, so that nobody warns of an exception after a deadline


@functools.lru_cache(maxsize=_HOSTS)
def ip_address(host: str) -> str:
    """Return ``host`` if it is an IP address: no name is ever looked up on the way to a machine.

    Raises:
        UnreachableError: If it is none.
    """
    with contextlib.suppress(ValueError):
        return str(ipaddress.ip_address(host))
    raise UnreachableError(f"not an IP address: {host!r}")
