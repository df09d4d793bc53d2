"""One connection to a pool: bytes and timers around the protocol core, and the shares that wait for an answer."""

from __future__ import annotations

import asyncio
import ssl
from dataclasses import dataclass
from typing import Final, Protocol, assert_never, cast

from hashwerk import __version__
from hashwerk.client.settings import ServerUrl
from hashwerk.pool.upstream.health import LinkHealth
from hashwerk.pool.upstream.settings import UpstreamSettings
from hashwerk.stratum.v1.client import ClientSession
from hashwerk.stratum.v1.client_events import (
    Accepted,
    Authorized,
    ClientEvent,
    ClientJob,
    Failed,
    JobReceived,
    MessageShown,
    ReconnectRequested,
    Rejected,
    Subscribed,
)
from hashwerk.work.job import UpstreamPart

#: Shares that may wait for answers. A pool that answers none for `reply_timeout_s` has failed before this many are out.
MAX_WAITING: Final = 65_536
_MAX_USERS: Final = 10_000
_WRITE_LIMIT_BYTES: Final = 4 << 20
_USER_AGENT: Final = f"hashwerk/{__version__}"
#: Words with which pools refuse a share for its user's name and not for its work.
_NAME_WORDS: Final = ("unauthorized", "not authorized", "worker mismatch", "unknown worker", "invalid worker")
_CODE_UNAUTHORIZED: Final = 24


@dataclass(slots=True)
class Waiting:
    """A share on its way through the pool."""

    hash_key: bytes
    job_id: int
    worker_id: int
    sent_at: float  # Unix seconds
    sent_monotonic: float
    user: str | None


class LinkOwner(Protocol):
    """Who is told what happens on a link."""

    def on_work(self, link: Link, job: ClientJob, now: float) -> None:
        """The pool sent a job."""
        ...

    def on_answer(self, link: Link, share: Waiting, refused: Rejected | None) -> None:
        """The pool answered a share."""
        ...

    def on_message(self, link: Link, text: str) -> None:
        """The pool has something to say to people."""
        ...

    def on_ended(self, link: Link, reason: str, unanswered: list[Waiting]) -> None:
        """The connection is over."""
        ...


class Link(asyncio.Protocol):
    """A connection to a pool, from the attempt to its end.

    Resource handling:
        Holds one transport; `end` closes it, whatever the pool does. `closed` is set once it is gone.
    """

    def __init__(self, number: int, settings: UpstreamSettings, server: ServerUrl, owner: LinkOwner) -> None:
        """Prepare a connection; ``number`` is never used again."""
        self.number: Final = number
        self.settings: Final = settings
        self.server: Final = server
        self.job: ClientJob | None = None
        self.last_job_at: float | None = None  # Unix seconds
        self.ended: str | None = None  # why
        self.closed: Final = asyncio.Event()
        self.next_server: ServerUrl | None = None  # where the pool wants us, if that is allowed
        self.retry_after_s = 0.0
        self.single_name = not settings.worker_names
        self.jobs = 0
        self._owner = owner
        self._loop = asyncio.get_running_loop()
        self.health: Final = LinkHealth(settings, self._loop.time())
        self._transport: asyncio.Transport | None = None
        self._waiting: dict[int, Waiting] = {}
        self._users: dict[str, bool | None] = {}  # None: asked for
        self._session = ClientSession(
            user=settings.user,
            password=settings.password,
            user_agent=_USER_AGENT,
            version_mask=0xFFFF_FFFF if settings.version_rolling else None,
            suggest_difficulty=settings.suggest_difficulty,
            host=server.host,
        )

    # What the event loop calls

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Introduce ourselves."""
        made = cast("asyncio.Transport", transport)
        made.set_write_buffer_limits(high=_WRITE_LIMIT_BYTES)
        self._transport = made
        if self.ended is not None:
            made.abort()
        else:
            self.flush()

    def data_received(self, data: bytes) -> None:
        """Take what the pool says."""
        if self.ended is not None:
            return
        now = self._loop.time()
        for event in self._session.receive_data(data, now):
            if not self._handle(event, now):
                return
        self.flush()

    def pause_writing(self) -> None:
        """The pool does not read."""
        self.end("the pool does not read what it is sent")

    def connection_lost(self, exc: Exception | None) -> None:
        """The connection is gone."""
        self._transport = None
        self.end("the pool closed the connection" if exc is None else f"the connection broke: {exc}")
        self.closed.set()

    # What the owner calls

    async def open(self) -> None:
        """Connect.

        Raises:
            OSError: If nobody answers or TLS fails.
        """
        settings, server = self.settings, self.server
        context: ssl.SSLContext | None = None
        if server.tls:
            context = ssl.create_default_context(cafile=settings.tls_ca_file)
            if not settings.tls_verify:
                context.check_hostname = False
                context.verify_mode = ssl.CERT_NONE
        async with asyncio.timeout(settings.connect_timeout_s):
            await self._loop.create_connection(lambda: self, server.host, server.port, ssl=context)

    @property
    def is_open(self) -> bool:
        """Whether shares can be handed in."""
        return self._transport is not None and self.ended is None and self.job is not None

    @property
    def waiting(self) -> int:
        """Shares without an answer."""
        return len(self._waiting)

    def name(self, machine: str) -> str | None:
        """Return the user a machine's shares go in under; None: the connection's own. Unknown names are asked for."""
        if self.single_name:
            return None
        user = f"{self.settings.user}.{machine}"
        if user not in self._users:
            if len(self._users) >= _MAX_USERS:
                return None
            self._users[user] = None
            self._session.authorize(user)
            return None
        return user if self._users[user] else None

    def submit(
        self, part: UpstreamPart, share: Waiting, *, extranonce: bytes, ntime: int, nonce: int, version: int
    ) -> None:
        """Write a share; `flush` sends it.

        Args:
            part: What its job owes to the pool.
            share: What is to be remembered until the answer.
            extranonce: Our own extranonce1 and extranonce2.
            ntime: The header's time.
            nonce: The header's nonce.
            version: The header's whole version.
        """
        extranonce2 = part.padding + extranonce
        request = self._session.submit_raw(
            job_id=part.job_id,
            extranonce2=extranonce2,
            ntime=ntime,
            nonce=nonce,
            # BIP-0310: the header's version is the job's outside the mask and these bits inside it. Around a change of
            # mask the pool may take it by either.
            version_bits=version & (part.version_mask | self._session.version_mask)
            if self._session.is_rolling_agreed
            else None,
            user=share.user,
        )
        if not self._waiting:
            self.health.on_waiting(share.sent_monotonic)
        self._waiting[request] = share

    def flush(self) -> None:
        """Send what was written."""
        data = self._session.data_to_send()
        if data and self._transport is not None:
            self._transport.write(data)

    def end(self, reason: str) -> None:
        """End the connection; its owner hears why, once."""
        if self.ended is not None:
            return
        self.ended = reason
        if self._transport is not None:
            self._transport.abort()
        unanswered = list(self._waiting.values())
        self._waiting.clear()
        self._owner.on_ended(self, reason, unanswered)

    # Inside

    def _handle(self, event: ClientEvent, now: float) -> bool:
        """Draw the consequences of what the pool said; return whether the connection goes on."""
        match event:
            case JobReceived(job):
                self.job = job
                self.jobs += 1
                self.health.on_job(now)
                self._owner.on_work(self, job, now)
            case Accepted(request):
                self._answered(request, None, now)
            case Rejected(request):
                self._answered(request, event, now)
            case Authorized(user, refused):
                self._users[user] = refused is None
                if refused is not None:
                    self.single_name = True  # the pool knows one name a connection
            case Subscribed():
                pass
            case MessageShown(text):
                self._owner.on_message(self, text)
            case ReconnectRequested():
                self._on_reconnect(event)
            case Failed(reason):
                self.end(reason)
            case _:
                assert_never(event)
        return self.ended is None

    def _answered(self, request: int, refused: Rejected | None, now: float) -> None:
        share = self._waiting.pop(request, None)
        if share is None:
            return
        oldest = next(iter(self._waiting.values()), None)
        self.health.on_waiting(None if oldest is None else oldest.sent_monotonic)
        if refused is not None and share.user is not None and _is_about_the_name(refused):
            self.single_name = True
        self.health.on_answer(
            now,
            accepted=refused is None,
            code=None if refused is None else refused.code,
            reason="" if refused is None else refused.reason,
        )
        self._owner.on_answer(self, share, refused)

    def _on_reconnect(self, event: ReconnectRequested) -> None:
        """Go where the pool wants us if it is within its domain, else only connect again."""
        self.retry_after_s = event.wait_s
        if event.allowed and (event.host is not None or event.port is not None):
            self.next_server = ServerUrl(
                event.host or self.server.host, event.port or self.server.port, self.server.tls
            )
            self.end(f"the pool asked us to connect to {self.next_server}")
        elif event.host is not None and not event.allowed:
            self.end(
                f"the pool asked us to go to {event.host[:80]}, which is not of its domain: not followed"
            )
        else:
            self.end("the pool asked us to connect again")


def _is_about_the_name(refused: Rejected) -> bool:
    return refused.code == _CODE_UNAUTHORIZED or any(words in refused.reason.lower() for words in _NAME_WORDS)
