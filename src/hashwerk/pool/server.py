"""The Stratum server: it listens, gives out work, and brings found blocks to the node."""

from __future__ import annotations

import asyncio
import logging
import os
import socket
import ssl
import time
from collections.abc import Callable
from typing import Final

import numpy as np
from numpy.typing import NDArray

from hashwerk.chain.block import assemble_block
from hashwerk.chain.header import hash_to_hex
from hashwerk.chain.template import Template
from hashwerk.clock import Clock
from hashwerk.errors import HashwerkError, NodeError, PoolError, StoreError
from hashwerk.pool.admission import Admission
from hashwerk.pool.connection import Connection
from hashwerk.pool.intake import Intake
from hashwerk.pool.jobs import JobBook
from hashwerk.pool.listen import listen
from hashwerk.pool.seats import Seats
from hashwerk.pool.settings import PoolSettings
from hashwerk.pool.statistics import Broadcast, Statistics
from hashwerk.stratum.ports import BlockRecord, Ledger, Node
from hashwerk.stratum.v1.agents import agent_traits
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
from hashwerk.work.check import assemble_coinbase, check_share
from hashwerk.work.target import work_log2_from_difficulty

log = logging.getLogger(__name__)

_SLICE: Final = 250  # sessions that get a new job between two looks at the sockets
_SWEEP_S: Final = 1.0
_CLEAN_RAISE: Final = 2  # a target so many powers of two harder makes a machine drop its easier work


class StratumServer:
    """Serves Stratum V1 on the event loop it is started on.

    Resource handling:
        `start` opens the listening sockets; `close` waits for what is being stored, answers it, and closes
        every connection. Each connection's unread output is bounded; one that is not read is aborted.

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
        payout_script: bytes,
        private_chain: bool = False,
        entropy: Callable[[int], bytes] = os.urandom,
    ) -> None:
        """Prepare a server.

        Args:
            settings: The operator's settings.
            ledger: Where shares and blocks become durable.
            node: Gives templates and takes blocks.
            clock: Where the time comes from.
            site_key: 32 bytes that name the site in every job's tag.
            payout_script: Who is paid for a block.
            private_chain: Share targets may be harder than the network's: its blocks are worth nothing, and
            machines
                far too fast for it would else flood the node.
            entropy: Random bytes for session tokens.
        """
        self.settings: Final = settings
        self.statistics: Final = Statistics()
        self.seats: Final = Seats()
        self._ledger = ledger
        self._node = node
        self._clock = clock
        self._private_chain = private_chain
        self.book: Final = JobBook(settings, ledger, clock, site_key=site_key, payout_script=payout_script)
        self._admission = Admission(settings, ledger, self.seats, clock, entropy)
        self._intake: Intake | None = None
        self._connections: set[Connection] = set()
        self._servers: list[asyncio.Server] = []
        self._submitting: set[asyncio.Task[None]] = set()
        self._submitted_blocks: dict[bytes, None] = {}
        self.urls: dict[str, str] = {}

    # --- life
    # ----------------------------------------------------------------------------------------------------

    async def start(self, sockets: list[socket.socket] | None = None) -> None:
        """Listen, on sockets of a predecessor if given.

        Raises:
            PoolError: If an address cannot be listened on, or the TLS files cannot be used.
        """
        loop = asyncio.get_running_loop()
        settings = self.settings
        self._intake = Intake(
            book=self.book,
            seats=self.seats,
            ledger=self._ledger,
            statistics=self.statistics,
            clock=self._clock,
            on_events=self._on_events,
            on_blocks=self._on_blocks,
        )
        plain = listen(settings.host, settings.port, settings.backlog) if sockets is None else sockets
        for listener in plain:
            self._servers.append(await loop.create_server(self._new_connection, sock=listener))
        self.urls["stratum"] = f"stratum+tcp://{_shown(plain[0])}"
        if settings.tls_port is not None:
            context = _tls_context(settings)
            for listener in listen(settings.host, settings.tls_port, settings.backlog):
                self._servers.append(
                    await loop.create_server(self._new_connection, sock=listener, ssl=context)
                )
                self.urls["stratum_tls"] = f"stratum+ssl://{_shown(listener)}"

    async def run(self) -> None:
        """Serve until cancelled: take templates from the node and look after sessions."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self._follow_templates(), name="templates")
            group.create_task(self._sweep(), name="sweep")

    async def close(self) -> None:
        """Stop accepting, store and answer what came in, then close every connection."""
        for server in self._servers:
            server.close()
        for connection in list(self._connections):
            connection.stop_reading()
        if self._intake is not None:
            await self._intake.idle.wait()
        if self._submitting:
            await asyncio.gather(*self._submitting, return_exceptions=True)
        for connection in list(self._connections):
            if connection.transport is not None:
                connection.transport.close()

    @property
    def sessions(self) -> int:
        """How many machines are connected."""
        return len(self._connections)

    @property
    def connections(self) -> set[Connection]:
        """All connections; read only."""
        return self._connections

    # --- what connections tell
    # -----------------------------------------------------------------------------------

    def _new_connection(self) -> Connection:
        session = ServerSession(
            self.settings.limits, self._clock.monotonic(), version_mask=self.settings.version_mask
        )
        return Connection(self, session, self.settings.write_limit_bytes)

    def on_connected(self, connection: Connection) -> None:
        """Take in a connection, if there is room."""
        self._connections.add(connection)
        self.statistics.sessions_opened += 1
        if len(self._connections) > self.settings.max_sessions:
            self._drop(connection, "Server is full")

    def on_data(self, connection: Connection, data: bytes) -> None:
        """Hand bytes to the intake."""
        assert self._intake is not None
        self._intake.receive(connection, data)

    def on_lost(self, connection: Connection) -> None:
        """Forget a connection."""
        self._connections.discard(connection)
        self._admission.leave(connection)

    def on_full(self, connection: Connection) -> None:
        """Close a connection whose machine does not read."""
        self.statistics.count_drop("Does not read")
        connection.abort()

    def _drop(self, connection: Connection, reason: str) -> None:
        self.statistics.count_drop(reason)
        connection.drop(reason)

    def _on_events(self, connection: Connection, events: list[Event], now: float) -> None:
        for event in events:
            match event:
                case SubscribeRequested():
                    self._on_subscribe(connection, event)
                case AuthorizeRequested():
                    self._on_authorize(connection, event, now)
                case Configured():
                    self._update_mask(connection, now)
                    if event.minimum_difficulty is not None:
                        self._suggest(connection, None, now)
                case DifficultySuggested(difficulty=difficulty):
                    self._suggest(connection, difficulty, now)
                case Throttled():
                    delay_s = connection.session.read_delay_s(now)
                    connection.throttle(delay_s, asyncio.get_running_loop())
                case Closed(reason=reason):
                    self._drop(connection, reason)
                case _:
                    pass  # answered by the session itself

    def _on_subscribe(self, connection: Connection, event: SubscribeRequested) -> None:
        try:
            self._admission.subscribe(connection, event)
        except StoreError as error:
            log.error("no session can be opened: %s", error)
            self._drop(connection, "The server cannot store sessions now")
            return
        self._update_mask(connection, self._clock.monotonic())
        self._begin_work(connection)

    def _on_authorize(self, connection: Connection, event: AuthorizeRequested, now: float) -> None:
        if self._admission.authorize(connection, event):
            if event.difficulty is not None:
                connection.session.suggested_difficulty = event.difficulty
            self._begin_work(connection)

    def _begin_work(self, connection: Connection) -> None:
        """Send the first job as soon as a session may work."""
        if not connection.session.is_active or connection.seat is None or connection.account is None:
            return
        self.seats.terms[connection.seat]["account"] = connection.account.id
        if connection.session.sent_work_log2 is None:
            connection.work_log2 = self._first_work_log2(connection)
            self._admission.record(connection)
            self._send_job(connection, clean=True)

    def _update_mask(self, connection: Connection, now: float) -> None:
        if connection.seat is not None:
            self.seats.terms[connection.seat]["version_mask"] = connection.session.allowed_version_mask(now)

    # --- share targets
    # -------------------------------------------------------------------------------------------

    def _first_work_log2(self, connection: Connection) -> int:
        session, record = connection.session, connection.record
        if session.suggested_difficulty is not None:
            return self._clamped(connection, work_log2_from_difficulty(session.suggested_difficulty))
        if record is not None and record.work_log2 is not None:
            return self._clamped(connection, record.work_log2)
        return self._clamped(connection, work_log2_from_difficulty(self.settings.start_difficulty))

    def _clamped(self, connection: Connection, work_log2: int) -> int:
        """Return a target within what settings, machine and network allow."""
        settings, session = self.settings, connection.session
        lowest = work_log2_from_difficulty(settings.min_difficulty)
        if session.minimum_difficulty is not None:
            lowest = max(lowest, work_log2_from_difficulty(session.minimum_difficulty))
        lowest = max(lowest, agent_traits(session.user_agent).min_work_log2 or 0)
        work_log2 = max(work_log2, lowest)
        if settings.max_difficulty is not None:
            work_log2 = min(work_log2, work_log2_from_difficulty(settings.max_difficulty))
        network_work_log2 = self.book.network_work_log2
        if not self._private_chain and network_work_log2 is not None:
            work_log2 = min(work_log2, network_work_log2)
        return work_log2

    def _suggest(self, connection: Connection, difficulty: float | None, now: float) -> None:
        """Follow a machine's wish."""
        wanted = connection.work_log2 if difficulty is None else work_log2_from_difficulty(difficulty)
        if connection.session.is_active:
            self._retarget(connection, self._clamped(connection, wanted))

    def _retarget(self, connection: Connection, work_log2: int) -> None:
        if work_log2 == connection.work_log2:
            return
        clean = work_log2 >= connection.work_log2 + _CLEAN_RAISE
        connection.work_log2 = work_log2
        self._admission.record(connection)
        self._send_job(connection, clean=clean)

    # --- jobs
    # ----------------------------------------------------------------------------------------------------

    def _send_job(self, connection: Connection, *, clean: bool) -> None:
        if self.book.template is None or connection.account is None or connection.seat is None:
            return  # it gets one with the first template
        if not connection.session.is_active:
            return
        try:
            prepared = self.book.prepare(connection.account, connection.work_log2, connection.room)
        except HashwerkError as error:
            log.error("no job can be made: %s", error)
            return
        self.seats.note_work(connection.seat, connection.work_log2)
        connection.send_job(prepared, clean=clean, now=self._clock.monotonic())

    async def _follow_templates(self) -> None:
        async for template in self._node.templates():
            await self.use_template(template)

    async def use_template(self, template: Template) -> None:
        """Give every machine a job of this template."""
        started_at = time.perf_counter()
        new_block = self.book.use_template(template)
        if new_block:
            self.seats.next_block()
            log.info("new work: height %d on %s", template.height, hash_to_hex(template.prev_hash))
        await self._broadcast(started_at, new_block=new_block)

    async def _broadcast(self, started_at: float, *, new_block: bool) -> None:
        first_at = None
        # The fastest machines first: their work on the old block is what would be lost.
        targets = sorted(self.seats, key=lambda connection: -connection.work_log2)
        for start in range(0, len(targets), _SLICE):
            for connection in targets[start : start + _SLICE]:
                if connection.is_open:
                    self._send_job(connection, clean=new_block)
            if first_at is None:
                first_at = time.perf_counter()
            await asyncio.sleep(0)
        if first_at is None:
            return
        last_at = time.perf_counter()
        broadcast = Broadcast(
            sessions=len(targets),
            first_ms=1000 * (first_at - started_at),
            last_ms=1000 * (last_at - started_at),
            new_block=new_block,
        )
        self.statistics.count_broadcast(broadcast, self._clock.monotonic())

    # --- blocks
    # --------------------------------------------------------------------------------------------------

    def _on_blocks(self, rows: NDArray[np.void]) -> None:
        for row in rows:
            task = asyncio.get_running_loop().create_task(self._submit_block(row.copy()))
            self._submitting.add(task)
            task.add_done_callback(self._submitting.discard)

    async def _submit_block(self, row: np.void) -> None:
        """Hand a block to the node and record what became of it."""
        job = self.book.job(int(row["job"]))
        if job is None:
            return
        extranonce1, extranonce2 = int(row["extranonce1"]), int(row["extranonce2"])
        header, block_hash = check_share(
            job, extranonce1, extranonce2, int(row["ntime"]), int(row["nonce"]), int(row["version"])
        )
        if block_hash in self._submitted_blocks:
            return
        self._submitted_blocks[block_hash] = None
        while len(self._submitted_blocks) > 1_000:
            del self._submitted_blocks[next(iter(self._submitted_blocks))]
        block = assemble_block(header, assemble_coinbase(job, extranonce1, extranonce2), job.template)
        try:
            outcome = await self._node.submit_block(block)
            accepted, reason = outcome.accepted, outcome.reason
        except NodeError as error:
            accepted, reason = False, str(error)
        self._ledger.put_block(
            BlockRecord(
                hash=block_hash,
                height=job.template.height,
                found_at=int(row["time_us"]) / 1e6,
                worker_id=int(row["worker"]) or None,
                job_id=job.id,
                reward_sat=job.template.coinbase_value_sat,
                state="accepted" if accepted else "rejected",
                reason=reason,
                confirmations=1 if accepted else 0,
            )
        )
        words = "accepted" if accepted else f"refused: {reason}"
        log.info("block %d %s %s", job.template.height, hash_to_hex(block_hash), words)
        self._ledger.event(
            "block", f"Block {job.template.height} {words}", hash=hash_to_hex(block_hash), job=job.id
        )

    # --- looking after sessions
    # ----------------------------------------------------------------------------------

    async def _sweep(self) -> None:
        while True:
            await asyncio.sleep(_SWEEP_S)
            self.book.forget_expired()
            now = self._clock.monotonic()
            for connection in list(self._connections):
                for event in connection.session.on_time(now):
                    self._on_events(connection, [event], now)
                self._update_mask(connection, now)
            if self.book.refresh():
                await self._broadcast(time.perf_counter(), new_block=False)


def _shown(listener: socket.socket) -> str:
    host, port = listener.getsockname()[:2]
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def _tls_context(settings: PoolSettings) -> ssl.SSLContext:
    if settings.tls_certificate is None or settings.tls_key is None:
        raise PoolError("a TLS port needs tls_certificate and tls_key")
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    try:
        context.load_cert_chain(settings.tls_certificate, settings.tls_key)
    except OSError as error:
        raise PoolError(
            f"{settings.tls_certificate}, {settings.tls_key}: cannot be used for TLS: {error}"
        ) from error
    return context
