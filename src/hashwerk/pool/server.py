"""The Stratum server: it listens, brings machines, jobs and shares together, and ends in order."""

from __future__ import annotations

import asyncio
import logging
import os
import socket
from collections.abc import Callable
from functools import partial
from typing import Final

from hashwerk.chain.template import Template
from hashwerk.clock import Clock
from hashwerk.errors import StoreError
from hashwerk.pool.admission import Admission
from hashwerk.pool.blocks import BlockSubmitter
from hashwerk.pool.connection import Connection
from hashwerk.pool.dispatch import Dispatcher
from hashwerk.pool.intake import Intake
from hashwerk.pool.jobs import WAITING, JobBook
from hashwerk.pool.listen import allow_many_files, listen, set_unread_timeout, shown_address, tls_context
from hashwerk.pool.payees import Payees
from hashwerk.pool.room import Room
from hashwerk.pool.seats import NO_SEAT, Seats
from hashwerk.pool.settings import PoolSettings
from hashwerk.pool.statistics import Statistics
from hashwerk.pool.targets import Targets
from hashwerk.pool.upkeep import SWEEP_S, Upkeep
from hashwerk.pool.upstream.crew import Crew
from hashwerk.pool.upstream.pools import Upstreams
from hashwerk.pool.upstream.settings import UpstreamSettings
from hashwerk.pool.warm_up import warm_up
from hashwerk.stratum.ports import Ledger, Node
from hashwerk.stratum.v1.events import (
    AuthorizeRequested,
    Closed,
    Configured,
    DifficultySuggested,
    Event,
    SubscribeRequested,
    Throttled,
)
from hashwerk.stratum.v1.server import ServerSession
from hashwerk.work.job import Job

log = logging.getLogger(__name__)

_FAREWELL_S: Final = 1.0
_CLEAN_RAISE: Final = 2  # a target so many powers of two harder makes a machine drop its easier work


class StratumServer:
    """Serves Stratum V1 on the event loop it is started on.

    Resource handling:
        `start` opens the listening sockets; `close` waits for what is being stored, answers it, and closes every
        connection. Each connection's unread output is bounded; one that is not read is aborted.

    Cancellation:
        `run` ends when cancelled; connections stay open until `close`.
    """

    def __init__(
        self,
        settings: PoolSettings,
        ledger: Ledger,
        node: Node,
        clock: Clock,
        *,
        site_key: bytes,
        payees: Payees,
        private_chain: bool = False,
        upstreams: tuple[UpstreamSettings, ...] = (),
        network: str = "",
        entropy: Callable[[int], bytes] = os.urandom,
    ) -> None:
        """Prepare a server.

        Args:
            settings: The operator's settings.
            ledger: Where shares and blocks become durable.
            node: Gives templates and takes blocks.
            clock: Where the time comes from.
            site_key: 32 bytes that name the site in every job's tag.
            payees: Who is paid for a block.
            private_chain: Share targets may be harder than the network's: its blocks are worth nothing, and
                machines far too fast for it would else flood the node.
            upstreams: The pools that machines may work for; none: all work is our own.
            network: The name of the chain.
            entropy: Random bytes for session tokens.
        """
        self.settings: Final = settings
        self.statistics: Final = Statistics()
        self.seats: Final = Seats()
        self.urls: Final[dict[str, str]] = {}
        self.book: Final = JobBook(settings, ledger, clock, site_key=site_key, payees=payees)
        self.listeners: Final[list[socket.socket]] = []
        self._ledger = ledger
        self._node = node
        self._clock = clock
        self.admission: Final = Admission(settings, ledger, self.seats, clock, entropy)
        self.targets: Final = Targets(
            settings, self.seats, self.book, clock, private_chain=private_chain, on_target=self._on_target
        )
        self.dispatcher: Final = Dispatcher(self.book, self.seats, self.statistics, clock, self.targets.fit)
        self.crew: Crew | None = None
        self.upstreams: Upstreams | None = None
        if upstreams:
            self._add_upstreams(upstreams, network)
        self.upkeep: Final = Upkeep(self.seats, self.targets, clock, self._on_event)
        self._blocks = BlockSubmitter(self.book, ledger, node)
        self._intake: Intake | None = None
        self._connections: dict[Connection, None] = {}
        self._servers: list[asyncio.Server] = []
        self._deserted = asyncio.Event()  # no connection is left
        self._deserted.set()

    def _add_upstreams(self, pools: tuple[UpstreamSettings, ...], network: str) -> None:
        self.crew = Crew(
            self.settings,
            book=self.book,
            seats=self.seats,
            dispatcher=self.dispatcher,
            ledger=self._ledger,
            clock=self._clock,
            on_mask=lambda connection: self._update_mask(connection, self._clock.monotonic()),
            drop=self._drop,
        )
        self.upstreams = Upstreams(
            self.settings,
            pools,
            network=network,
            book=self.book,
            seats=self.seats,
            dispatcher=self.dispatcher,
            ledger=self._ledger,
            clock=self._clock,
            crew=self.crew,
            machines=self.admission.machines,
        )
        own = Room(self.settings.extranonce1_size, self.settings.extranonce2_size)
        self.admission.room = partial(self.upstreams.room, own)
        self.admission.on_planes = self.upstreams.want_links

    # --- life ----------------------------------------------------------------------------------------------------

    async def start(self, listeners: list[socket.socket] | None = None) -> None:
        """Listen, on a predecessor's sockets if given.

        Raises:
            PoolError: If an address cannot be listened on, or the TLS files cannot be used.
        """
        allow_many_files()
        warm_up()
        loop, settings = asyncio.get_running_loop(), self.settings
        self._intake = Intake(
            book=self.book,
            seats=self.seats,
            ledger=self._ledger,
            statistics=self.statistics,
            clock=self._clock,
            on_event=self._on_event,
            on_blocks=self._blocks.submit,
            upstreams=None if self.upstreams is None else self.upstreams.forwarding,
        )
        context = tls_context(settings) if settings.tls_port is not None else None
        plain = listeners or listen(settings.host, settings.port, settings.backlog)
        self.listeners.extend(plain)
        for listener in plain:
            set_unread_timeout(listener, settings.unread_timeout_s)
            # The loop gets a duplicate, so that ours can be handed to a successor whatever the loop does to its own.
            server = await loop.create_server(
                self.new_connection, sock=listener.dup(), backlog=settings.backlog
            )
            self._servers.append(server)
        self.urls["stratum"] = f"stratum+tcp://{shown_address(plain[0])}"
        if context is not None and settings.tls_port is not None:
            secure = listen(settings.host, settings.tls_port, settings.backlog)
            for listener in secure:
                set_unread_timeout(listener, settings.unread_timeout_s)
                server = await loop.create_server(self.new_connection, sock=listener, ssl=context)
                self._servers.append(server)
            self.urls["stratum_tls"] = f"stratum+ssl://{shown_address(secure[0])}"

    async def run(self) -> None:
        """Serve until cancelled: take templates from the node and look after sessions."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self._follow_templates(), name="templates")
            group.create_task(self.upkeep.look_after_shares(), name="upkeep")
            group.create_task(self._sweep(), name="sweep")
            if self.upstreams is not None:
                group.create_task(self.upstreams.run(), name="upstreams")

    def restorable(self, jobs: tuple[Job, ...]) -> tuple[Job, ...]:
        """Return the jobs of an earlier process whose shares this one can judge to the end.

        Without any pool nobody could take shares of a pool's job further: they are of unknown jobs then.
        """
        return jobs if self.upstreams is not None else tuple(job for job in jobs if job.upstream is None)

    async def use_template(self, template: Template) -> None:
        """Give every machine a job of this template."""
        await self.dispatcher.use_template(template)

    async def stop_listening(self) -> None:
        """Accept nobody any more; connections in the system's queue stay there for a successor, if there is one."""
        for server in self._servers:
            server.close()
        self._servers.clear()

    async def settle(self) -> None:
        """Read nothing any more, and wait until everything read is stored and answered."""
        for connection in self._connections:
            connection.stop_reading()
        await asyncio.sleep(0)  # what was read in this turn of the loop is taken in now
        if self._intake is not None:
            await self._intake.idle.wait()
        await self._blocks.close()
        if self.upstreams is not None:
            await self.upstreams.close()

    async def close(self) -> None:
        """Stop accepting, store and answer what came in, then close every connection."""
        await self.stop_listening()
        await self.settle()
        transports = [each.transport for each in self._connections if each.transport is not None]
        for connection in self.connections:
            connection.close()
        # When this returns, every session's end is in the ledger; one that does not read its last answers is cut off.
        try:
            async with asyncio.timeout(_FAREWELL_S):
                await self._deserted.wait()
        except TimeoutError:
            for transport in transports:
                transport.abort()
            await self._deserted.wait()
        for listener in self.listeners:
            listener.close()
        self.listeners.clear()

    @property
    def sessions(self) -> int:
        """How many machines are connected."""
        return len(self._connections)

    @property
    def connections(self) -> list[Connection]:
        """All connections, oldest first."""
        return list(self._connections)

    # --- what connections tell -----------------------------------------------------------------------------------

    def new_connection(self, session: ServerSession | None = None) -> Connection:
        """Return the protocol of a connection that is being made, with a session of its own or one handed over."""
        if session is None:
            now = self._clock.monotonic()
            session = ServerSession(self.settings.limits, now, version_mask=self.settings.version_mask)
        connection = Connection(self, session, self.settings.write_limit_bytes)
        if self.crew is not None:
            connection.source = WAITING
        return connection

    def resume(self, connection: Connection) -> None:
        """Go on with a session that has its seat, account and target already."""
        if connection.account is not None and connection.session.is_active:
            self.seats.terms[connection.seat]["account"] = connection.account.id
            self.targets.resume(connection)
            if self.crew is not None:
                self.crew.wake()
        self._update_mask(connection, self._clock.monotonic())

    def monotonic(self) -> float:
        """Return the time on the clock of this server's sessions."""
        return self._clock.monotonic()

    def on_connected(self, connection: Connection) -> None:
        """Take in a connection, if there is room."""
        self._connections[connection] = None
        self._deserted.clear()
        self.statistics.sessions_opened += 1
        if len(self._connections) > self.settings.max_sessions:
            self._drop(connection, "Server is full")

    def on_data(self, connection: Connection, data: bytes) -> None:
        """Hand bytes to the intake."""
        assert self._intake is not None
        self._intake.receive(connection, data)

    def on_lost(self, connection: Connection) -> None:
        """Forget a connection."""
        self._connections.pop(connection, None)
        self.admission.leave(connection)
        if not self._connections:
            self._deserted.set()

    def on_full(self, connection: Connection) -> None:
        """Close a connection whose machine does not read."""
        self.statistics.count_drop("Does not read")
        connection.abort()

    def _drop(self, connection: Connection, reason: str) -> None:
        self.statistics.count_drop(reason)
        connection.drop(reason)

    def _on_event(self, connection: Connection, event: Event, now: float) -> None:
        match event:
            case SubscribeRequested():
                self._on_subscribe(connection, event, now)
            case AuthorizeRequested():
                if self.admission.authorize(connection, event):
                    if event.difficulty is not None:
                        connection.session.suggested_difficulty = event.difficulty
                    self._begin_work(connection)
            case Configured():
                self._update_mask(connection, now)
                if event.minimum_difficulty is not None:
                    self.targets.wish(connection)
            case DifficultySuggested():
                self.targets.wish(connection)
            case Throttled():
                connection.throttle(connection.session.read_delay_s(now), asyncio.get_running_loop())
            case Closed(reason=reason):
                self._drop(connection, reason)
            case _:
                pass  # answered by the session itself

    def _on_subscribe(self, connection: Connection, event: SubscribeRequested, now: float) -> None:
        try:
            self.admission.subscribe(connection, event)
        except StoreError as error:
            log.error("no session can be opened: %s", error)
            self._drop(connection, "The server cannot store sessions now")
            return
        self._update_mask(connection, now)
        self._begin_work(connection)

    def _begin_work(self, connection: Connection) -> None:
        """Send the first job as soon as a session may work."""
        if not connection.session.is_active or connection.seat == NO_SEAT or connection.account is None:
            return
        if self.seats.terms[connection.seat]["account"] == 0:
            self.seats.terms[connection.seat]["account"] = connection.account.id
            if self.crew is not None and not self.crew.place(connection):
                return
            self.targets.begin(connection)
            self.admission.record(connection)
            self.dispatcher.send(connection, clean=True)

    def _update_mask(self, connection: Connection, now: float) -> None:
        """Note which version bits a session may roll, and look again once the grace after a change is over."""
        if connection.seat == NO_SEAT:
            return
        allowed = connection.session.allowed_version_mask(now)
        self.seats.terms[connection.seat]["version_mask"] = allowed
        if allowed != connection.session.version_mask:
            asyncio.get_running_loop().call_later(
                self.settings.limits.mask_grace_s + 0.1,
                lambda: self._update_mask(connection, self._clock.monotonic()),
            )

    def _on_target(self, connection: Connection, before: int) -> None:
        self.admission.record(connection)
        work = self.book.work(connection.source)
        if work is not None and work.is_repeating:
            return  # the target comes with the pool's next job: another one now would repeat this one's work
        self.dispatcher.send(connection, clean=connection.work_log2 >= before + _CLEAN_RAISE)

    # --- what runs -----------------------------------------------------------------------------------------------

    async def _follow_templates(self) -> None:
        async for template in self._node.templates():
            await self.use_template(template)

    async def _sweep(self) -> None:
        while True:
            await asyncio.sleep(SWEEP_S)
            self.book.forget_expired()
            await self.dispatcher.refresh()
            await self.upkeep.sweep(self.connections)
