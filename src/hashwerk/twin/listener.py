"""Where machines listen: a loopback address each, with the ports that real ones have.

Resource handling:
    A listening socket is about all that a machine costs while nobody asks. A request of the miner API has ten seconds
    and 8 KiB; a hung machine's connections end after ten minutes at the latest.

Cancellation:
    `Listener.close` closes the sockets and every open connection.
"""

from __future__ import annotations

import asyncio
import errno
import resource
import socket
import struct
import sys
from collections.abc import Callable
from typing import Final, cast

from hashwerk.clock import Clock
from hashwerk.errors import ConfigError
from hashwerk.twin.cgminer import MAX_REQUEST_BYTES
from hashwerk.twin.dialects.base import Dialect
from hashwerk.twin.faults import FaultKind, spoil
from hashwerk.twin.http import HttpProtocol, HttpRequest
from hashwerk.twin.machine import Machine
from hashwerk.twin.physics import Phase

_REQUEST_TIMEOUT_S: Final = 10.0
_HUNG_TIMEOUT_S: Final = 600.0
_BACKLOG: Final = 16
_NO_LINGER: Final = struct.pack("ii", 1, 0)
_SILENT: Final = (Phase.OFF, Phase.BOOTING)
#: Sockets beside the machines' own: the interpreter's, the control port's, connections of clients.
_SPARE_FILES: Final = 512


class _ApiConnection(asyncio.Protocol):
    """One connection to the miner API: one request, one reply, as cgminer does it."""

    __slots__ = ("_data", "_listener", "_timer", "_transport")

    def __init__(self, listener: Listener) -> None:
        self._listener = listener
        self._data = b""
        self._transport: asyncio.Transport | None = None
        self._timer: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)
        transport = self._transport
        listener = self._listener
        if listener.machine.phase(listener.clock.time()) in _SILENT:
            _reset(transport)
            return
        listener.connections.add(transport)
        limit_s = _HUNG_TIMEOUT_S if FaultKind.HANG in listener.machine.faults else _REQUEST_TIMEOUT_S
        self._timer = asyncio.get_running_loop().call_later(limit_s, transport.abort)

    def data_received(self, data: bytes) -> None:
        listener, machine = self._listener, self._listener.machine
        if FaultKind.HANG in machine.faults or self._transport is None:
            return
        self._data += data
        if len(self._data) > MAX_REQUEST_BYTES:
            self._transport.abort()
            return
        now = listener.clock.time()
        machine.advance(now)
        reply = listener.dialect.api(machine, self._data, now)
        if reply is not None:
            self._data = b""
            self._answer(reply)

    def connection_lost(self, exc: Exception | None) -> None:
        if self._timer is not None:
            self._timer.cancel()
        if self._transport is not None:
            self._listener.connections.discard(self._transport)
            self._transport = None

    def _answer(self, reply: bytes) -> None:
        machine = self._listener.machine
        if FaultKind.GARBAGE in machine.faults and reply:
            reply = spoil(reply, machine.turns)
            machine.turns += 1
        slow = machine.faults.get(FaultKind.SLOW)
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if slow is None:
            self._send(reply)
        else:
            self._timer = asyncio.get_running_loop().call_later(slow.delay_s, self._send, reply)

    def _send(self, reply: bytes) -> None:
        if self._transport is not None:
            self._transport.write(reply)
            self._transport.close()


class Listener:
    """A machine's place in the network."""

    __slots__ = ("clock", "connections", "dialect", "machine", "servers")

    def __init__(self, machine: Machine, dialect: Dialect, clock: Clock) -> None:
        """Prepare; `open` begins to listen."""
        self.machine = machine
        self.dialect = dialect
        self.clock = clock
        self.servers: list[asyncio.Server] = []
        self.connections: set[asyncio.Transport] = set()

    async def open(self, host: str, port: int, http_port: int) -> bool:
        """Listen at an address; return whether the web server could be started where it is not needed.

        Raises:
            ConfigError: If the address or a port that tools need cannot be had.
        """
        machine = self.machine
        machine.host = host
        if self.dialect.speaks_api:
            machine.port = await self._serve(host, port, self._api_connection)
        if not self.dialect.speaks_http:
            return True
        try:
            machine.http_port = await self._serve(host, http_port, self._http_connection)
        except ConfigError:
            if machine.model.speaks_http:
                raise
            return False
        return True

    def close(self) -> None:
        """Stop listening and end every connection."""
        for server in self.servers:
            server.close()
        self.servers.clear()
        self.drop()

    def drop(self) -> None:
        """End every connection, as a machine that lost power does."""
        for transport in list(self.connections):
            _reset(transport)
        self.connections.clear()

    async def _serve(self, host: str, port: int, factory: Callable[[], asyncio.Protocol]) -> int:
        listening = bound_socket(host, port)
        try:
            server = await asyncio.get_running_loop().create_server(factory, sock=listening, backlog=_BACKLOG)
        except BaseException:
            listening.close()
            raise
        self.servers.append(server)
        return int(listening.getsockname()[1])

    def _api_connection(self) -> asyncio.Protocol:
        return _ApiConnection(self)

    def _http_connection(self) -> asyncio.Protocol:
        return _WebConnection(self)

    def respond(self, request: HttpRequest, connection: HttpProtocol) -> None:
        """Answer a request to the machine's web server."""
        machine, transport = self.machine, connection.transport
        if transport is None:
            return
        if FaultKind.HANG in machine.faults:
            asyncio.get_running_loop().call_later(_HUNG_TIMEOUT_S, transport.abort)
            return
        now = self.clock.time()
        machine.advance(now)
        body = self.dialect.http(machine, request, now).encode()
        if FaultKind.GARBAGE in machine.faults:
            body = spoil(body, machine.turns)
            machine.turns += 1
        slow = machine.faults.get(FaultKind.SLOW)
        if slow is None:
            connection.send(body)
        else:
            asyncio.get_running_loop().call_later(slow.delay_s, connection.send, body)


class _WebConnection(HttpProtocol):
    """One connection to a machine's web server."""

    __slots__ = ("_listener",)

    def __init__(self, listener: Listener) -> None:
        super().__init__(listener.respond)
        self._listener = listener

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)
        listener = self._listener
        assert self.transport is not None
        if listener.machine.phase(listener.clock.time()) in _SILENT:
            _reset(self.transport)
        else:
            listener.connections.add(self.transport)

    def connection_lost(self, exc: Exception | None) -> None:
        if self.transport is not None:
            self._listener.connections.discard(self.transport)
        super().connection_lost(exc)


def _reset(transport: asyncio.BaseTransport) -> None:
    """End a connection the hard way: a machine that is not there cannot say goodbye."""
    peer = transport.get_extra_info("socket")
    if peer is not None:
        peer.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _NO_LINGER)
    cast("asyncio.Transport", transport).abort()


def bound_socket(host: str, port: int) -> socket.socket:
    """Return a socket bound to a loopback address.

    Raises:
        ConfigError: If that address or port cannot be had; the message says what helps.
    """
    bound = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    try:
        bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        bound.bind((host, port))
    except OSError as error:
        bound.close()
        raise ConfigError(why_not(host, port, error)) from error
    bound.setblocking(False)
    return bound


def why_not(host: str, port: int, error: OSError) -> str:
    """Return in words why an address cannot be listened on, and what helps."""
    if error.errno == errno.EADDRNOTAVAIL:
        if sys.platform == "darwin":
            return (
                f"{host} does not exist on this machine: macOS needs an alias for every address of the hall, "
                f"for example: sudo ifconfig lo0 alias {host} up"
            )
        return f"{host} does not exist on this machine; the loopback interface should have 127.0.0.0/8"
    if error.errno == errno.EADDRINUSE:
        return f"{host}:{port} is taken, perhaps by another hall: choose another base address"
    if error.errno in (errno.EACCES, errno.EPERM):
        return (
            f"port {port} needs rights that this user does not have: choose another one, or allow it, "
            "for example: sudo sysctl net.ipv4.ip_unprivileged_port_start=80"
        )
    return f"cannot listen on {host}:{port}: {error.strerror or error}"


def allow_files(count: int) -> None:
    """Let this process open so many sockets beside what it has.

    Raises:
        ConfigError: If the system's hard limit is lower.
    """
    wanted = count + _SPARE_FILES
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft >= wanted:
        return
    if hard != resource.RLIM_INFINITY and hard < wanted:
        raise ConfigError(
            f"{count} sockets are needed, the system allows {hard} files (ulimit -Hn): fewer machines"
        )
    resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
