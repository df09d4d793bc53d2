"""One connection to one Stratum server, from the TCP handshake to its end."""

from __future__ import annotations

import asyncio
import socket
import ssl
import sys
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Final, assert_never

from hashwerk.client.events import ServerMessage, ShareAccepted, ShareRejected, Submission, Work, WorkReceived
from hashwerk.client.settings import ClientSettings, ServerUrl
from hashwerk.stratum.v1.client import (
    Accepted,
    Authorized,
    ClientEvent,
    ClientJob,
    ClientSession,
    Failed,
    JobReceived,
    MessageShown,
    ReconnectRequested,
    Rejected,
    Subscribed,
)

_READ_SIZE: Final = 1 << 16
#: A peer that vanished without a word is noticed after 60 + 6·10 s, long before the system's own two hours.
_KEEPALIVE_IDLE_S: Final = 60
_KEEPALIVE_INTERVAL_S: Final = 10
_KEEPALIVE_PROBES: Final = 6

ConnectionEvent = WorkReceived | ShareAccepted | ShareRejected | ServerMessage
Deliver = Callable[["Connection", ConnectionEvent], Awaitable[None]]


class Connection:
    """A connection that owns its socket and its protocol core.

    Resource handling:
        At most ``max_in_flight`` shares are unanswered; `submit` waits for room. The socket is read only as
        fast as ``deliver`` takes the events.

    Cancellation:
        Cancelling `run` closes the socket; shares in flight are then unknown.
    """

    def __init__(
        self,
        number: int,
        server: ServerUrl,
        settings: ClientSettings,
        *,
        token: str | None,
        deliver: Deliver,
    ) -> None:
        """Prepare a connection; `run` opens it.

        Args:
            number: What the shares of this connection are marked with.
            server: Where to.
            settings: Who we are and how long we wait.
            token: The session to resume, as this server named it.
            deliver: Takes the events; it may wait.
        """
        self.number = number
        self.server = server
        self.end_reason: str | None = None  # set once the connection is over
        self.retry_after_s = 0.0  # the server's own wish
        self.work: Work | None = None  # the latest job
        self.first_work_at: float | None = None
        self.token = token
        self.unknown: tuple[Submission, ...] = ()  # unanswered when it ended
        self._settings = settings
        self._deliver = deliver
        self._session = ClientSession(
            user=settings.user,
            password=settings.password,
            user_agent=settings.user_agent,
            version_mask=settings.version_rolling_mask,
            resume_token=token,
            suggest_difficulty=settings.suggest_difficulty,
            max_line_bytes=settings.max_line_bytes,
        )
        self._writer: asyncio.StreamWriter | None = None
        self._timeout: asyncio.Timeout | None = None
        self._timeout_reason = ""
        self._ending: str | None = None  # why we want to end it
        self._started_at = 0.0
        self._last_work_at = 0.0
        self._in_flight: dict[int, tuple[Submission, float]] = {}  # by request id, the oldest first
        self._changed = asyncio.Condition()

    @property
    def over(self) -> bool:
        """Whether the connection has ended."""
        return self.end_reason is not None

    @property
    def in_flight(self) -> int:
        """Shares sent and not yet answered."""
        return len(self._in_flight)

    async def run(self) -> None:
        """Connect and serve until the end; ``end_reason`` then says why. A bad peer never raises."""
        reason = "ended from our side"
        try:
            reason = await self._run()
        finally:
            self.end_reason = reason
            self.unknown = tuple(share for share, _ in self._in_flight.values())
            self._in_flight.clear()
            await self._close()
            await self._notify()

    async def submit(self, share: Submission) -> bool:
        """Send a share as soon as there is room; return False, without sending, if the connection is over."""
        async with self._changed:
            await self._changed.wait_for(
                lambda: self.over or len(self._in_flight) < self._settings.max_in_flight
            )
        if self.over or self._writer is None:
            return False
        request = self._session.submit(
            share.work.job,
            extranonce2=share.extranonce2,
            ntime=share.ntime,
            nonce=share.nonce,
            version_bits=share.version_bits,
        )
        self._in_flight[request] = (share, asyncio.get_running_loop().time())
        self._reschedule()
        self._flush()
        with suppress(OSError):  # the reader sees the same end, and says why
            await self._writer.drain()
        return True

    async def settled(self) -> None:
        """Wait until no share is in flight."""
        async with self._changed:
            await self._changed.wait_for(lambda: not self._in_flight)

    async def first_work(self) -> None:
        """Wait until the first job came or the connection is over."""
        async with self._changed:
            await self._changed.wait_for(lambda: self.over or self.work is not None)

    def end(self, reason: str) -> None:
        """Let `run` end soon, for this reason."""
        self._ending = reason
        self._reschedule()

    async def _run(self) -> str:
        self._started_at = asyncio.get_running_loop().time()
        try:
            async with asyncio.timeout(None) as self._timeout:
                self._reschedule()
                reader = await self._open()
                self._reschedule()
                self._flush()
                return await self._read(reader)
        except TimeoutError:
            return self._timeout_reason
        except OSError as error:
            return _plain_words(error)

    async def _open(self) -> asyncio.StreamReader:
        server = self.server
        context = _tls_context(self._settings) if server.tls else None
        reader, self._writer = await asyncio.open_connection(
            server.host, server.port, ssl=context, limit=_READ_SIZE
        )
        peer_socket = self._writer.get_extra_info("socket")
        if peer_socket is not None:
            _keep_alive(peer_socket)
        return reader

    async def _close(self) -> None:
        """Close the socket; what was written still goes out if the peer reads it at once."""
        if self._writer is None:
            return
        self._writer.close()
        try:
            async with asyncio.timeout(self._settings.close_timeout_s):
                await self._writer.wait_closed()
        except (TimeoutError, OSError):
            self._writer.transport.abort()

    def _flush(self) -> None:
        assert self._writer is not None
        if data := self._session.data_to_send():
            self._writer.write(data)

    def _reschedule(self) -> None:
        """Set the time at which the peer's silence ends the connection."""
        deadline, reason = self._next_deadline()
        self._timeout_reason = reason
        if self._timeout is not None and not self._timeout.expired() and not self.over:
            self._timeout.reschedule(deadline)

    def _next_deadline(self) -> tuple[float, str]:
        """Return when to give up, on the event loop's clock, and why."""
        settings = self._settings
        if self._ending is not None:
            return 0.0, self._ending
        if self._writer is None:
            limit_s = settings.connect_timeout_s
            return self._started_at + limit_s, f"no connection within {limit_s:g} s"
        if self.work is None:
            limit_s = settings.handshake_timeout_s
            return self._started_at + limit_s, f"connected, but no job within {limit_s:g} s"
        limit_s = settings.silence_timeout_s
        silence = (self._last_work_at + limit_s, f"connected, but no new job for {limit_s:g} s")
        if not self._in_flight:
            return silence
        limit_s = settings.reply_timeout_s
        oldest_sent_at = next(iter(self._in_flight.values()))[1]
        return min(silence, (oldest_sent_at + limit_s, f"a share was not answered within {limit_s:g} s"))

    async def _read(self, reader: asyncio.StreamReader) -> str:
        loop = asyncio.get_running_loop()
        while data := await reader.read(_READ_SIZE):
            for event in self._session.receive_data(data, loop.time()):
                if (reason := await self._handle(event)) is not None:
                    self._flush()
                    return reason
            self._flush()
            self._reschedule()
        return "the server closed the connection"

    async def _handle(self, event: ClientEvent) -> str | None:
        """Draw the consequences of what the server said; return why the connection is to end, if it is."""
        match event:
            case JobReceived(job):
                await self._take_job(job)
            case Accepted(request):
                await self._answered(request, None)
            case Rejected(request):
                await self._answered(request, event)
            case Subscribed(token):
                self.token = token
            case Authorized():
                pass  # work follows, or does not; that is what is waited for
            case MessageShown(text):
                await self._deliver(self, ServerMessage(text))
            case ReconnectRequested(wait_s=wait_s):
                # Where to is not obeyed: whoever can put a line into the stream could steal the work.
                self.retry_after_s = wait_s
                return "the server asked to reconnect"
            case Failed(reason):
                return reason
            case _:
                assert_never(event)
        return None

    async def _take_job(self, job: ClientJob) -> None:
        now = asyncio.get_running_loop().time()
        self.work = Work(self.number, job)
        self._last_work_at = now
        if self.first_work_at is None:
            self.first_work_at = now
            await self._notify()
        self._reschedule()
        await self._deliver(self, WorkReceived(self.work, clean=job.clean))

    async def _answered(self, request: int, rejected: Rejected | None) -> None:
        """Pass on the answer to a share; it counts as in flight until that is done."""
        if request not in self._in_flight:
            return
        share, sent_at = self._in_flight[request]
        latency_s = asyncio.get_running_loop().time() - sent_at
        if rejected is None:
            await self._deliver(self, ShareAccepted(share, latency_s))
        else:
            await self._deliver(self, ShareRejected(share, latency_s, rejected.code, rejected.reason))
        del self._in_flight[request]
        await self._notify()

    async def _notify(self) -> None:
        async with self._changed:
            self._changed.notify_all()


def _tls_context(settings: ClientSettings) -> ssl.SSLContext:
    context = ssl.create_default_context(cafile=settings.tls_ca_file)
    if not settings.tls_verify:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    return context


def _keep_alive(peer: socket.socket) -> None:
    """Let the system notice a peer that is gone, and send small messages at once."""
    peer.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    peer.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    if sys.platform == "darwin":
        peer.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPALIVE, _KEEPALIVE_IDLE_S)
    else:
        peer.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, _KEEPALIVE_IDLE_S)
    peer.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPINTVL, _KEEPALIVE_INTERVAL_S)
    peer.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPCNT, _KEEPALIVE_PROBES)


def _plain_words(error: OSError) -> str:
    """Return what went wrong, as short as people need it."""
    if isinstance(error, ssl.SSLCertVerificationError):
        return f"the server's certificate is not trusted: {error.verify_message}"
    if isinstance(error, ssl.SSLError):
        return f"no TLS connection: {error.reason or error}"
    if isinstance(error, socket.gaierror):
        return "the host's name is not known"
    if isinstance(error, ConnectionRefusedError):
        return "nobody listens there"
    return (error.strerror or str(error) or type(error).__name__).lower()
