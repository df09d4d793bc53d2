"""One machine's connection: the transport, the protocol core's session, and what the server knows of both."""

from __future__ import annotations

import asyncio
from typing import Protocol, cast

import msgspec

from hashwerk.pool.jobs import OWN, PreparedJob
from hashwerk.pool.room import Room
from hashwerk.pool.seats import NO_SEAT
from hashwerk.stratum.ports import Account, SessionRecord
from hashwerk.stratum.v1.server import ServerSession
from hashwerk.stratum.vardiff import Vardiff


class ConnectionOwner(Protocol):
    """Who is told what happens on a connection."""

    def on_connected(self, connection: Connection) -> None:
        """A machine has connected."""
        ...

    def on_data(self, connection: Connection, data: bytes) -> None:
        """Bytes came in."""
        ...

    def on_lost(self, connection: Connection) -> None:
        """The connection is gone."""
        ...

    def on_full(self, connection: Connection) -> None:
        """The machine does not read what it is sent."""
        ...


class Connection(asyncio.Protocol):
    """A connection as the event loop sees it.

    Resource handling:
        Holds one transport, which `drop` closes. What a machine leaves unread is bounded: beyond the limit
        `ConnectionOwner.on_full` is called, and the connection is aborted.
    """

    __slots__ = (
        "_owner",
        "account",
        "incoming",
        "is_stopped",
        "is_throttled",
        "is_waiting",
        "plane",
        "record",
        "remote",
        "seat",
        "session",
        "source",
        "transport",
        "vardiff",
        "work_log2",
        "write_limit_bytes",
    )

    def __init__(self, owner: ConnectionOwner, session: ServerSession, write_limit_bytes: int) -> None:
        self._owner = owner
        self.session = session
        self.write_limit_bytes = write_limit_bytes
        self.transport: asyncio.Transport | None = None
        self.remote = ""  # host:port
        self.account: Account | None = None
        self.record: SessionRecord | None = None  # from mining.subscribe on
        self.seat = NO_SEAT
        self.plane = 0  # of its extranonce1 (`hashwerk.pool.prefixes`)
        self.source = OWN  # where its jobs come from
        self.work_log2 = 0  # share target of the next job
        self.vardiff: Vardiff | None = None
        self.incoming = b""  # read and not handled yet; between turns of the loop, the start of a line
        self.is_waiting = False  # for the intake
        self.is_throttled = False  # nothing is read for a while: it has cost too much
        self.is_stopped = False  # nothing is read any more: the server ends or hands over

    # What the event loop calls

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Begin."""
        self.transport = cast("asyncio.Transport", transport)
        peer = transport.get_extra_info("peername")
        self.remote = _address(peer) if peer else ""
        self.flush()  # a session that was handed over may have something to say
        self.transport.set_write_buffer_limits(high=self.write_limit_bytes)
        self._owner.on_connected(self)

    def data_received(self, data: bytes) -> None:
        """Hand bytes on."""
        self._owner.on_data(self, data)

    def pause_writing(self) -> None:
        """More is unread than the limit allows."""
        self._owner.on_full(self)

    def connection_lost(self, exc: Exception | None) -> None:
        """End; the reason does not matter, machines go as they like."""
        self.transport = None
        self._owner.on_lost(self)

    # What the server calls

    @property
    def is_open(self) -> bool:
        """Whether anything can still be sent."""
        return self.transport is not None

    @property
    def host(self) -> str:
        """The machine's address without its port."""
        return self.remote.rpartition(":")[0]

    @property
    def room(self) -> Room:
        """The extranonce sizes of this session's jobs.

        Raises:
            ValueError: If it has not subscribed.
        """
        extranonce = self.session.extranonce
        if extranonce is None:
            raise ValueError("no extranonce before mining.subscribe")
        return Room(extranonce.extranonce1_size, extranonce.extranonce2_size)

    def resize(self, room: Room) -> None:
        """Note that the session has another room for extranonces now."""
        if self.record is not None:
            self.record = msgspec.structs.replace(
                self.record, extranonce1_size=room.extranonce1_size, extranonce2_size=room.extranonce2_size
            )

    def flush(self) -> None:
        """Write what the session has to say."""
        data = self.session.data_to_send()
        if data and self.transport is not None:
            self.transport.write(data)

    def write(self, data: bytes) -> None:
        """Write whole lines made elsewhere."""
        if self.transport is not None:
            self.transport.write(data)

    def send_job(self, prepared: PreparedJob, *, clean: bool, now: float) -> None:
        """Send a job; ``now`` is monotonic."""
        self.session.send_job(prepared.job, clean, now, prepared.line(clean=clean))
        self.flush()

    def drop(self, reason: str) -> None:
        """Tell the machine why, and close once it has read it."""
        self.session.close(reason)
        self.flush()
        self.close()

    def close(self) -> None:
        """Close once everything written is sent; the session may be resumed."""
        if self.transport is not None:
            self.transport.close()
            self.transport = None

    def stop_reading(self) -> None:
        """Read nothing until `go_on`."""
        if self.transport is not None and not self.is_stopped:
            self.is_stopped = True
            if not self.is_throttled:
                self.transport.pause_reading()

    def go_on(self) -> None:
        """Read again after `stop_reading`."""
        if self.transport is not None and self.is_stopped:
            self.is_stopped = False
            if not self.is_throttled:
                self.transport.resume_reading()

    def abort(self) -> None:
        """Close at once; what is unsent is lost."""
        if self.transport is not None:
            self.transport.abort()
            self.transport = None

    def throttle(self, delay_s: float, loop: asyncio.AbstractEventLoop) -> None:
        """Read nothing for a while."""
        if self.transport is None or self.is_throttled:
            return
        self.is_throttled = True
        if not self.is_stopped:
            self.transport.pause_reading()
        loop.call_later(delay_s, self._unthrottle)

    def _unthrottle(self) -> None:
        self.is_throttled = False
        if self.transport is not None and not self.is_stopped:
            self.transport.resume_reading()


def _address(peer: tuple[str, int] | str) -> str:
    if isinstance(peer, str):
        return peer
    host, port = peer[:2]
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
