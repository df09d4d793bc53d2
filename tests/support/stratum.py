"""What tests of the Stratum server share: a node and a ledger that do as they are told, and a peer that speaks lines."""

from __future__ import annotations

import asyncio
import hashlib
import json
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from hashwerk.chain.block import witness_commitment
from hashwerk.chain.template import Template
from hashwerk.clock import Clock, SystemClock
from hashwerk.pool.payees import Payees
from hashwerk.pool.server import StratumServer
from hashwerk.pool.settings import PoolSettings
from hashwerk.pool.upstream.settings import UpstreamSettings
from hashwerk.stratum.ports import (
    Account,
    BlockRecord,
    Done,
    FateRecords,
    NodeStatus,
    SessionRecord,
    ShareRecords,
    SubmitOutcome,
)
from hashwerk.stratum.v1.notify import NotifyParams
from hashwerk.work.job import Job

EVERY_HASH = 2.0**-32  # difficulty at which every hash is a share
DEADLINE_S = 10.0
EASY_BLOCK = 0x207FFFFF  # every second hash
HARD_BLOCK = 0x1D00FFFF


def make_template(
    height: int = 1, *, nbits: int = HARD_BLOCK, now: float = 1_750_000_000, **fields: Any
) -> Template:
    """Return a template without transactions; its prevhash follows from its height."""
    return Template(
        **{
            "network": "regtest",
            "height": height,
            "version": 0x20000000,
            "prev_hash": hashlib.sha256(b"%d" % height).digest(),
            "nbits": nbits,
            "time": int(now),
            "min_time": int(now) - 600,
            "coinbase_value_sat": 50 * 10**8,
            "witness_commitment": witness_commitment([]),
            "received_at": now,
        }
        | fields
    )


class FakeNode:
    """A node whose templates and answers are the test's."""

    def __init__(self) -> None:
        self.blocks: list[bytes] = []
        self.outcome = SubmitOutcome(accepted=True)
        self.failure: Exception | None = None
        self._queue: asyncio.Queue[Template] = asyncio.Queue()

    def give(self, template: Template) -> None:
        """Let the next template be this one."""
        self._queue.put_nowait(template)

    async def start(self) -> None:
        """Nothing to open."""

    async def templates(self) -> AsyncIterator[Template]:
        """Yield what was given."""
        while True:
            yield await self._queue.get()

    async def submit_block(self, block: bytes) -> SubmitOutcome:
        """Take a block."""
        self.blocks.append(block)
        if self.failure is not None:
            raise self.failure
        return self.outcome

    async def confirmations(self, block_hash: bytes) -> int | None:
        """No block is known."""
        return None

    def status(self) -> NodeStatus:
        """Always well."""
        return NodeStatus(kind="fake", network="regtest", height=0, tip=bytes(32), healthy=True)

    async def close(self) -> None:
        """Nothing to close."""


class MemoryLedger:
    """A ledger in memory that stores at once, later, or not at all."""

    def __init__(self) -> None:
        self.shares: list[ShareRecords] = []
        self.jobs: dict[int, Job] = {}
        self.sessions: dict[str, SessionRecord] = {}
        self.blocks: list[BlockRecord] = []
        self.events: list[tuple[str, str]] = []
        self.error: Exception | None = None
        self.held: list[tuple[ShareRecords, Done]] | None = None  # a list: appends wait here
        self.fates: list[FateRecords] = []
        self.reasons = [""]
        self._upstreams: dict[tuple[str, str, str], int] = {}
        self._accounts: dict[str, Account] = {}
        self._workers: dict[tuple[int, str], int] = {}
        self._next_job = 0
        self._next_session = 0

    def account(self, name: str) -> Account:
        """Return the account of this name."""
        commitment = hashlib.sha256(name.encode()).digest()
        return self._accounts.setdefault(name, Account(len(self._accounts) + 1, name, commitment))

    def worker(self, account_id: int, machine: str) -> int:
        """Return the worker of this name."""
        return self._workers.setdefault((account_id, machine), len(self._workers) + 1)

    def next_job_id(self) -> int:
        """Return the next number."""
        self._next_job += 1
        return self._next_job

    def next_session(self) -> tuple[int, int]:
        """Return the next number, twice."""
        self._next_session += 1
        return self._next_session, self._next_session

    def put_job(self, job: Job) -> None:
        """Keep a job."""
        self.jobs[job.id] = job

    def put_session(self, session: SessionRecord) -> None:
        """Keep a session."""
        self.sessions[session.token] = session

    def find_session(self, token: str) -> SessionRecord | None:
        """Return a session."""
        return self.sessions.get(token)

    def append(self, shares: ShareRecords, done: Done) -> None:
        """Store, refuse, or hold the shares."""
        if self.held is not None:
            self.held.append((shares, done))
            return
        if self.error is None:
            self.shares.append(shares.copy())
        asyncio.get_running_loop().call_soon(done, self.error)

    def release(self) -> None:
        """Store what was held."""
        held, self.held = self.held or [], None
        for shares, done in held:
            self.append(shares, done)

    def put_block(self, block: BlockRecord) -> None:
        """Keep a block."""
        self.blocks.append(block)

    def upstream(self, name: str, url: str, user: str) -> int:
        """Return the pool of this name, url and user."""
        return self._upstreams.setdefault((name, url, user), len(self._upstreams) + 1)

    def fate_reason(self, text: str) -> int:
        """Return the number of a pool's words."""
        if text not in self.reasons:
            self.reasons.append(text)
        return self.reasons.index(text)

    def put_fates(self, fates: FateRecords) -> None:
        """Keep fates."""
        self.fates.append(fates.copy())

    def event(self, kind: str, message: str, **details: Any) -> None:
        """Keep an event."""
        self.events.append((kind, message))

    @property
    def stored(self) -> int:
        """How many shares are stored."""
        return sum(map(len, self.shares))


class Peer:
    """A machine that speaks Stratum by hand."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer
        self.job: NotifyParams | None = None
        self.difficulty: float | None = None
        self.extranonce1 = ""
        self.extranonce2_size = 8
        self.token = ""
        self.user = ""
        self.others: list[dict[str, Any]] = []  # messages nobody waited for
        self._ids = 0

    @classmethod
    async def connect(cls, url: str, context: ssl.SSLContext | None = None) -> Peer:
        """Connect to a server's URL."""
        host, _, port = url.partition("://")[2].rpartition(":")
        reader, writer = await asyncio.open_connection(
            host.strip("[]"), int(port), ssl=context, server_hostname="localhost" if context else None
        )
        return cls(reader, writer)

    def write(self, data: bytes) -> None:
        """Send bytes as they are."""
        self.writer.write(data)

    def send(self, method: str, *params: Any) -> int:
        """Send a request and return its id."""
        self._ids += 1
        self.write(json.dumps({"id": self._ids, "method": method, "params": list(params)}).encode() + b"\n")
        return self._ids

    async def read(self) -> dict[str, Any]:
        """Return the next message; a job or difficulty is noted."""
        line = await asyncio.wait_for(self.reader.readline(), DEADLINE_S)
        if not line:
            raise ConnectionError("the server closed the connection")
        message: dict[str, Any] = json.loads(line)
        if message.get("method") == "mining.notify":
            self.job = NotifyParams.from_params(message["params"])
        elif message.get("method") == "mining.set_difficulty":
            self.difficulty = message["params"][0]
        return message

    async def answer(self, request_id: int) -> dict[str, Any]:
        """Return the answer to a request."""
        while True:
            message = await self.read()
            if message.get("id") == request_id and "method" not in message:
                return message
            self.others.append(message)

    async def call(self, method: str, *params: Any) -> Any:
        """Send a request and return its result, or its error code as a negative number."""
        message = await self.answer(self.send(method, *params))
        return message["result"] if message["error"] is None else -message["error"][0]

    async def next_job(self) -> NotifyParams:
        """Wait for a job and return it."""
        while (await self.read()).get("method") != "mining.notify":
            pass
        assert self.job is not None
        return self.job

    async def begin(self, user: str = "acc.m1", *subscribe: Any, password: str = "x") -> None:
        """Subscribe, authorise, and wait for the first job."""
        result = await self.call("mining.subscribe", *(subscribe or ("peer/1",)))
        self.token, self.extranonce1, self.extranonce2_size = result[0][0][1], result[1], result[2]
        assert await self.call("mining.authorize", user, password) is True
        self.user = user
        if self.job is None:
            await self.next_job()

    def share(self, nonce: int, **changes: Any) -> list[Any]:
        """Return the parameters of a share of the current job."""
        assert self.job is not None
        fields = {
            "user": self.user,
            "job": self.job.job_id,
            "extranonce2": "00" * self.extranonce2_size,
            "ntime": f"{self.job.ntime:08x}",
            "nonce": f"{nonce:08x}",
        } | changes
        return list(fields.values())

    async def submit(self, nonce: int, **changes: Any) -> Any:
        """Hand in a share of the current job; return True or the negative error code."""
        return await self.call("mining.submit", *self.share(nonce, **changes))

    async def closed(self) -> bytes:
        """Wait for the end of the connection and return what came before."""
        try:
            return await asyncio.wait_for(self.reader.read(), DEADLINE_S)
        except ConnectionError:
            return b""

    async def close(self) -> None:
        """Leave."""
        self.writer.close()
        try:
            await self.writer.wait_closed()
        except (ConnectionError, ssl.SSLError):
            pass  # the server was faster


@asynccontextmanager
async def serving(
    node: FakeNode,
    ledger: Any,
    *,
    clock: Clock | None = None,
    private_chain: bool = True,
    upstreams: tuple[UpstreamSettings, ...] = (),
    **settings: Any,
) -> AsyncIterator[StratumServer]:
    """Run a server on a free loopback port; every hash is a share unless ``settings`` say otherwise."""
    chosen = PoolSettings(
        **{"port": 0, "vardiff": False, "start_difficulty": EVERY_HASH, "min_difficulty": EVERY_HASH}
        | settings
    )
    server = StratumServer(
        chosen,
        ledger,
        node,
        clock or SystemClock(),
        site_key=bytes(32),
        payees=Payees(b"\x51"),
        private_chain=private_chain,
        upstreams=upstreams,
    )
    await server.start()
    run = asyncio.create_task(server.run())
    try:
        yield server
    finally:
        run.cancel()
        await asyncio.gather(run, return_exceptions=True)
        await server.close()


async def until(condition: Any, deadline_s: float = DEADLINE_S) -> None:
    """Wait until a condition holds.

    Raises:
        TimeoutError: If it does not in time.
    """
    async with asyncio.timeout(deadline_s):
        while not condition():  # noqa: ASYNC110 - what is waited for has no event
            await asyncio.sleep(0.005)
