"""An upgrade without losing a connection: sockets and sessions go from one process to its successor.

The successor prepares itself, connects to the predecessor's local socket and says so. The predecessor stops reading,
stores and answers what it has, lets go of ledger and node, and sends everything: a message with the sessions' state, then
the file descriptors (SCM_RIGHTS). What machines send meanwhile waits in the system's buffers, and connections that are
being made wait in the listening sockets' queues. The jobs come from the ledger.

Connections over TLS cannot move, for their keys are inside the TLS library: they are closed, and those machines connect
again and resume their sessions.
"""

from __future__ import annotations

import array
import asyncio
import contextlib
import os
import socket
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Final

import msgspec

from hashwerk.errors import PoolError
from hashwerk.pool.connection import Connection
from hashwerk.pool.seats import NO_SEAT
from hashwerk.pool.server import StratumServer
from hashwerk.stratum.ports import Account, SessionRecord
from hashwerk.stratum.v1.server import ServerSession, SessionState
from hashwerk.stratum.vardiff import Vardiff, VardiffState

VERSION: Final = 1
_READY: Final = b"R"
_TAKEN: Final = b"T"
_FILES: Final = b"F"
_FILES_AT_ONCE: Final = 200  # Linux takes 253 in one message, macOS somewhat more
_MAX_STATE_BYTES: Final = 1 << 30
_CONNECTED_AT_ONCE: Final = 500
_FLUSH_S: Final = 0.5
_DEADLINE_S: Final = 30.0


class HandedSession(msgspec.Struct, frozen=True, kw_only=True):
    """One machine's session, in the order of the sockets."""

    session: SessionState
    vardiff: VardiffState | None
    record: SessionRecord | None
    account: Account | None
    remote: str
    work_log2: int
    least_work_log2: int
    incoming: bytes
    plane: int = 0  # of its extranonce1


class Handover(msgspec.Struct, frozen=True, kw_only=True):
    """What goes over, beside the sockets: first the listening ones, then one for each session."""

    version: int
    listeners: int
    sessions: list[HandedSession]


@dataclass(slots=True)
class Received:
    """What a successor got."""

    handover: Handover
    listeners: list[socket.socket]
    sockets: list[socket.socket]

    def close(self) -> None:
        """Close all sockets: nobody will use them."""
        for each in (*self.listeners, *self.sockets):
            each.close()


class HandoverListener:
    """Waits for a successor on a local socket.

    Resource handling:
        One listening socket and at most one connection; `close` gives both back and removes the file.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._listener: socket.socket | None = None
        self._successor: socket.socket | None = None

    def start(self) -> None:
        """Listen; the file of a predecessor is replaced."""
        self._path.unlink(missing_ok=True)
        self._listener = socket.socket(socket.AF_UNIX)
        self._listener.setblocking(False)
        self._listener.bind(str(self._path))
        self._path.chmod(0o600)
        self._listener.listen(4)

    async def requested(self) -> None:
        """Return once a successor is ready to take over."""
        if self._listener is None:
            raise PoolError("the hand-over socket is not open")
        loop = asyncio.get_running_loop()
        while True:
            successor, _ = await loop.sock_accept(self._listener)
            successor.setblocking(False)
            if await loop.sock_recv(successor, 1) == _READY:
                self._successor = successor
                return
            successor.close()

    async def send(self, handover: Handover, files: list[int]) -> None:
        """Send everything to the successor that asked, and wait until it has it.

        Raises:
            PoolError: If it goes away before.
        """
        if self._successor is None:
            raise PoolError("no successor has asked")
        self._successor.setblocking(True)
        self._successor.settimeout(_DEADLINE_S)
        try:
            await asyncio.to_thread(_send, self._successor, handover, files)
        except OSError as error:
            raise PoolError(f"the successor went away during the hand-over: {error}") from error

    def close(self) -> None:
        """Let go of everything."""
        for each in (self._listener, self._successor):
            if each is not None:
                each.close()
        if self._listener is not None:
            self._listener = None
            with contextlib.suppress(OSError):
                self._path.unlink()


async def request_handover(path: Path) -> Received:
    """Ask the predecessor for everything, and return it once it has let go of ledger and node.

    Raises:
        PoolError: If there is none, it does not answer, or it is of another version.
    """
    return await asyncio.to_thread(_request, path)


async def export_sessions(server: StratumServer) -> tuple[Handover, list[int]]:
    """Stop a server for good and return what its successor needs: the state, and files to be closed after sending.

    What was read is stored and answered before. Sessions over TLS, and those that do not read their answers, are
    closed.
    """
    await server.stop_listening()
    await server.settle()
    await _flush(server.connections)
    now = server.monotonic()
    sessions, files = [], [os.dup(listener.fileno()) for listener in server.listeners]
    listeners = len(files)
    for connection in server.connections:
        transport = connection.transport
        if (
            transport is None
            or transport.get_extra_info("sslcontext") is not None
            or transport.get_write_buffer_size()
        ):
            connection.close()
            continue
        sessions.append(_export(server, connection, now))
        files.append(os.dup(transport.get_extra_info("socket").fileno()))
        connection.record = None  # it goes on elsewhere: closing it here does not end it
    return Handover(version=VERSION, listeners=listeners, sessions=sessions), files


async def import_sessions(server: StratumServer, received: Received) -> int:
    """Go on with the sessions of a predecessor on a started server; return how many there are."""
    handed = list(zip(received.handover.sessions, received.sockets, strict=True))
    loop = asyncio.get_running_loop()
    for start in range(0, len(handed), _CONNECTED_AT_ONCE):
        made = []
        for session, sock in handed[start : start + _CONNECTED_AT_ONCE]:
            connection = _import(server, session)
            made.append(loop.connect_accepted_socket(partial(_same, connection), sock))
        await asyncio.gather(*made, return_exceptions=True)  # a machine may have gone meanwhile
    return len(handed)


def _same(connection: Connection) -> Connection:
    return connection


def _export(server: StratumServer, connection: Connection, now: float) -> HandedSession:
    if connection.seat != NO_SEAT:
        server.upkeep.look_at(connection.seat)  # so that no share is lost to vardiff
    return HandedSession(
        session=connection.session.export(now),
        vardiff=None if connection.vardiff is None else connection.vardiff.export(),
        record=connection.record,
        account=connection.account,
        remote=connection.remote,
        work_log2=connection.work_log2,
        least_work_log2=int(server.seats.terms[connection.seat]["least_work_log2"]),
        incoming=connection.incoming,
        plane=connection.plane,
    )


def _import(server: StratumServer, handed: HandedSession) -> Connection:
    session = ServerSession.from_state(handed.session, server.settings.limits)
    connection = server.new_connection(session)
    connection.account = handed.account
    connection.work_log2 = handed.work_log2
    connection.incoming = handed.incoming
    connection.vardiff = None if handed.vardiff is None else Vardiff.from_state(handed.vardiff)
    if handed.record is not None:
        server.admission.take_over(connection, handed.record, handed.plane)
        server.seats.note_work(connection.seat, handed.least_work_log2)
        server.resume(connection)
    return connection


async def _flush(connections: list[Connection]) -> None:
    """Wait a moment for machines to read their last answers."""
    loop = asyncio.get_running_loop()
    deadline = loop.time() + _FLUSH_S
    while loop.time() < deadline:
        transports = (connection.transport for connection in connections)
        if not any(transport is not None and transport.get_write_buffer_size() for transport in transports):
            return
        await asyncio.sleep(0.01)


# What follows blocks and runs in a thread.


def _send(successor: socket.socket, handover: Handover, files: list[int]) -> None:
    state = msgspec.msgpack.encode(handover)
    successor.sendall(len(state).to_bytes(8, "big") + len(files).to_bytes(4, "big") + state)
    for start in range(0, len(files), _FILES_AT_ONCE):
        packed = array.array("i", files[start : start + _FILES_AT_ONCE])
        successor.sendmsg([_FILES], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, packed)])
    for number in files:
        os.close(number)
    files.clear()
    if successor.recv(1) != _TAKEN:
        raise ConnectionError("it ended before it had everything")


def _request(path: Path) -> Received:
    with socket.socket(socket.AF_UNIX) as predecessor:
        predecessor.settimeout(_DEADLINE_S)
        try:
            predecessor.connect(str(path))
            predecessor.sendall(_READY)
            head = _receive_exactly(predecessor, 12)
            size, count = int.from_bytes(head[:8], "big"), int.from_bytes(head[8:], "big")
            if size > _MAX_STATE_BYTES:
                raise PoolError(f"{path}: a hand-over of {size} bytes is not one of ours")
            handover = msgspec.msgpack.decode(_receive_exactly(predecessor, size), type=Handover)
            sockets = _receive_sockets(predecessor, count)
            predecessor.sendall(_TAKEN)
        except (OSError, msgspec.DecodeError) as error:
            raise PoolError(f"{path}: the predecessor handed nothing over: {error}") from error
    received = Received(handover, sockets[: handover.listeners], sockets[handover.listeners :])
    if handover.version != VERSION or len(received.sockets) != len(handover.sessions):
        received.close()
        raise PoolError(
            f"{path}: the predecessor's hand-over is of version {handover.version}, not {VERSION}"
        )
    return received


def _receive_exactly(sock: socket.socket, size: int) -> bytes:
    data = bytearray()
    while len(data) < size:
        more = sock.recv(min(size - len(data), 1 << 20))
        if not more:
            raise ConnectionError("it went away")
        data += more
    return bytes(data)


def _receive_sockets(sock: socket.socket, count: int) -> list[socket.socket]:
    sockets: list[socket.socket] = []
    try:
        while len(sockets) < count:
            # One byte at a time: each belongs to one message, and files come with the first byte of theirs.
            data, files, _, _ = socket.recv_fds(sock, 1, _FILES_AT_ONCE)
            if data != _FILES:
                raise ConnectionError("it went away")
            sockets += [socket.socket(fileno=number) for number in files]
        for each in sockets:
            each.setblocking(False)
    except BaseException:
        for each in sockets:
            each.close()
        raise
    return sockets
