"""A Stratum V1 pool on a real socket that behaves like a decent one, until it is told not to.

Its jobs are real: coinbases from a template, merkle branches, difficulty per job. Every share is checked completely, and what
happened is kept, so that a test can compare a pool's books with a proxy's. Several pools may work on one `Chain`.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import struct
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any, Final, NamedTuple

from hashwerk.chain.coinbase import CoinbaseParts, build_coinbase
from hashwerk.chain.header import BlockHeader, double_sha256
from hashwerk.chain.merkle import merkle_branch, root_from_branch
from hashwerk.client.work import target_from_difficulty
from hashwerk.stratum.v1.notify import NotifyParams
from support.ledger import make_transaction
from support.stratum import make_template

DEADLINE_S: Final = 20.0
VERSION_MASK: Final = 0x1FFFE000
JOBS_KEPT: Final = 64
MASK_GRACE_S: Final = 5.0
_LINE_LIMIT: Final = 1 << 16
#: As pools word them, with the codes that are in use.
STALE, DUPLICATE, LOW, UNKNOWN_JOB = (
    (21, "stale-prevblk"),
    (22, "duplicate"),
    (23, "high-hash"),
    (21, "job not found"),
)
UNAUTHORIZED, MALFORMED, BAD_TIME = (24, "unauthorized worker"), (20, "malformed"), (20, "ntime out of range")
BAD_VERSION = (23, "bad-version")


class Chain:
    """What block pools build on; those that share one move together."""

    def __init__(self, height: int = 800_000) -> None:
        self.height = height
        self.pools: list[ScriptedPool] = []

    def advance(self) -> None:
        """A block was found somewhere: every pool that looks sends work on top of it."""
        self.height += 1
        for pool in self.pools:
            pool.new_block()


class PoolShare(NamedTuple):
    """A share as it came, and what became of it."""

    user: str
    job_id: str
    hash: bytes  # empty: it could not be hashed
    difficulty: float | None  # of its job; None: unknown job
    received_at: float  # monotonic seconds
    refused: tuple[int, str] | None
    answered: bool  # False: we kept silent
    connection: int

    @property
    def hash_key(self) -> bytes:
        """The identity of the share in the ledger."""
        return self.hash[:16]


@dataclass(slots=True)
class PoolJob:
    """A job as one connection got it, with all that held then."""

    params: NotifyParams
    extranonce1: bytes
    extranonce2_size: int
    difficulty: float


@dataclass(slots=True, eq=False)
class Session:
    """One connection."""

    number: int
    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter
    extranonce1: bytes = b""
    extranonce2_size: int = 0
    difficulty: float = 0.0
    client_mask: int | None = None  # None: it never asked for version rolling
    masks: list[tuple[float, int]] = field(default_factory=list)  # since when, and which
    users: set[str] = field(default_factory=set)
    jobs: dict[str, PoolJob] = field(default_factory=dict)
    subscribed: bool = False
    wants_extranonce: bool = False
    held: bytes = b""  # what is not sent yet, after half a line

    @property
    def gets_jobs(self) -> bool:
        """Whether it is through the handshake."""
        return self.subscribed and bool(self.users)

    def allowed_mask(self, now: float) -> int:
        """Return the bits that may be rolled, with those that were allowed a moment ago."""
        allowed = 0
        for since, mask in reversed(self.masks):
            allowed |= mask
            if since < now - MASK_GRACE_S:
                break
        return allowed


class ScriptedPool:
    """The pool. Use `scripted_pool`, or as an async context manager.

    Attributes:
        shares: Every share that came, in order.
        violations: What no decent client does, in words; shares of old work are none.
        messages: Methods of every request, with the user or first parameter.
    """

    def __init__(
        self,
        *,
        name: str = "pool",
        chain: Chain | None = None,
        extranonce1_size: int = 4,
        extranonce2_size: int = 8,
        difficulty: float = 2.0**-20,
        version_mask: int = VERSION_MASK,
        account: str = "acct",
        second_names: bool = True,
        string_errors: bool = False,
        job_every_s: float | None = 5.0,
        transactions: int = 3,
    ) -> None:
        """Prepare; nothing listens before ``async with``.

        Args:
            name: Goes into coinbases, so that pools' jobs differ.
            chain: Shared with other pools; None: one of its own.
            extranonce1_size: Bytes of a connection's own.
            extranonce2_size: Bytes for whoever connects.
            difficulty: Of every new connection.
            version_mask: Bits that may be rolled; 0: no version rolling.
            account: Users are this, or this, a dot and a machine.
            second_names: Whether a connection may have more than one user.
            string_errors: Refuse as ckpool does: no code, a text.
            job_every_s: A new job after so long without one; None: only when told.
            transactions: In each template.
        """
        self.name = name
        self.chain = chain or Chain()
        self.chain.pools.append(self)
        self.extranonce1_size = extranonce1_size
        self.extranonce2_size = extranonce2_size
        self.difficulty = difficulty
        self.version_mask = version_mask
        self.account = account
        self.second_names = second_names
        self.string_errors = string_errors
        self.job_every_s = job_every_s
        self.shares: list[PoolShare] = []
        self.taken: Counter[str] = Counter()  # how many shares of each user
        self.violations: list[str] = []
        self.messages: list[tuple[str, str]] = []
        self.passwords: set[str] = set()
        self.users: set[str] = set()
        self.sessions: list[Session] = []
        self.connections = 0  # ever
        self.height = self.chain.height  # of the last block it noticed
        self.silent = False
        self.jobless = False
        self.stuck = False
        self.refusal: tuple[int, str] | None = None
        self.answer_after_s = 0.0
        self.huge = False
        self.port = 0
        self._transactions = tuple(make_transaction(number) for number in range(transactions))
        self._jobs = 0
        self._extranonces = 0
        self._seen: set[bytes] = set()
        self._news = asyncio.Event()
        self._server: asyncio.Server | None = None
        self._tasks: set[asyncio.Task[None]] = set()

    # --- life ------------------------------------------------------------------------------------------------------

    async def __aenter__(self) -> ScriptedPool:
        """Listen on a free port of loopback."""
        await self.listen()
        self._spawn(self._tick())
        return self

    async def __aexit__(self, *_: object) -> None:
        """Close everything."""
        self.chain.pools.remove(self)
        await self.refuse()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def listen(self) -> None:
        """Take connections; the second time on the same port as the first."""
        self._server = await asyncio.start_server(self._accept, "127.0.0.1", self.port, limit=_LINE_LIMIT)
        self.port = self._server.sockets[0].getsockname()[1]

    async def refuse(self) -> None:
        """Close every connection and take none from now on."""
        if self._server is not None:
            self._server.close()
            self.close_all()
            await self._server.wait_closed()
            self._server = None

    def close_all(self) -> None:
        """Cut every connection."""
        for session in self.sessions:
            session.writer.transport.abort()
        self.sessions.clear()

    @property
    def url(self) -> str:
        """Where it listens."""
        return f"stratum+tcp://127.0.0.1:{self.port}"

    @property
    def accepted(self) -> list[PoolShare]:
        """Shares it took, whether or not it said so."""
        return [share for share in self.shares if share.refused is None]

    @property
    def rejected(self) -> list[PoolShare]:
        """Shares it refused."""
        return [share for share in self.shares if share.refused is not None]

    async def until(self, condition: Callable[[ScriptedPool], object], within_s: float = DEADLINE_S) -> None:
        """Wait until a condition holds that depends on what came in.

        Raises:
            AssertionError: If it does not in time.
        """
        try:
            async with asyncio.timeout(within_s):
                while not condition(self):
                    self._news.clear()
                    await self._news.wait()
        except TimeoutError:
            raise AssertionError(f"{self.name}: not within {within_s} s; {self}") from None

    def __str__(self) -> str:
        """Say what happened so far."""
        return (
            f"{len(self.sessions)} connections of {self.connections}, {len(self.accepted)} shares accepted, "
            f"{len(self.rejected)} refused, {self._jobs} jobs, violations {self.violations[:5]}"
        )

    # --- what a test tells it --------------------------------------------------------------------------------------

    def be_well(self) -> None:
        """Behave again, with work on the chain's last block."""
        self.silent = self.jobless = self.stuck = self.huge = False
        self.refusal = None
        self.answer_after_s = 0.0
        self.new_block()

    def new_block(self) -> None:
        """Notice the chain's last block, unless told to be stuck."""
        if not self.stuck:
            self.height = self.chain.height
            self.send_job(clean=True)

    def set_difficulty(self, difficulty: float, *, with_job: bool) -> None:
        """Change the difficulty of the jobs from now on, with or without one at once."""
        self.difficulty = difficulty
        for session in self.sessions:
            session.difficulty = difficulty
            self.notify(session, "mining.set_difficulty", difficulty)
        if with_job:
            self.send_job()

    def set_extranonce(self, extranonce2_size: int | None = None, *, with_job: bool = True) -> None:
        """Change every connection's extranonce1, and perhaps the size of extranonce2."""
        self.extranonce2_size = extranonce2_size or self.extranonce2_size
        for session in self.sessions:
            self._give_extranonce(session)
            self.notify(session, "mining.set_extranonce", session.extranonce1.hex(), session.extranonce2_size)
        if with_job:
            self.send_job(clean=True)

    def set_version_mask(self, mask: int) -> None:
        """Change the bits that may be rolled."""
        self.version_mask = mask
        for session in self.sessions:
            if session.client_mask is not None:
                session.masks.append((time.monotonic(), mask & session.client_mask))
                self.notify(session, "mining.set_version_mask", f"{mask & session.client_mask:08x}")

    def tell_all(self, method: str, *params: Any) -> None:
        """Send a notification to every connection: `client.reconnect`, `client.show_message`, …"""
        for session in self.sessions:
            self.notify(session, method, *params)

    def send_raw(self, data: bytes) -> None:
        """Send bytes as they are, to every connection."""
        for session in self.sessions:
            self._write(session, data)

    def send_half_a_job(self) -> None:
        """Send half a job to every connection, and nothing more before `send_the_rest`."""
        for session in self.sessions:
            if session.gets_jobs:
                line = self._line("mining.notify", self.make_job(session, clean=False))
                session.writer.write(line[: len(line) // 2])
                session.held = line[len(line) // 2 :]

    def send_the_rest(self) -> None:
        """Send the other half, and everything since."""
        for session in self.sessions:
            session.writer.write(session.held)
            session.held = b""

    def send_job(self, *, clean: bool = False) -> None:
        """Give everybody a new job, unless told to send none."""
        for session in self.sessions:
            if session.gets_jobs and not self.jobless:
                self.notify(session, "mining.notify", *self.make_job(session, clean=clean))

    # --- inside: connections ---------------------------------------------------------------------------------------

    def _spawn(self, coroutine: Any) -> None:
        task = asyncio.get_running_loop().create_task(coroutine)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _tick(self) -> None:
        while self.job_every_s is not None:
            await asyncio.sleep(self.job_every_s)
            self.send_job()

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        session = Session(self.connections, reader, writer, difficulty=self.difficulty)
        self.sessions.append(session)
        self._news.set()
        try:
            while line := await reader.readline():
                await self._hear(session, line)
        except (ConnectionError, asyncio.CancelledError):
            pass  # the other side is gone, or we are closing
        finally:
            if session in self.sessions:
                self.sessions.remove(session)
            writer.transport.abort()
            self._news.set()

    async def _hear(self, session: Session, line: bytes) -> None:
        try:
            request = json.loads(line)
            method, params = request["method"], request["params"]
        except (ValueError, KeyError, TypeError) as error:
            self.violations.append(f"no request: {line[:80]!r} ({error})")
            return
        self.messages.append((method, str(params[0]) if params else ""))
        match method:
            case "mining.submit":
                received_at = time.monotonic()
                if self.answer_after_s:
                    self._spawn(self._answer_later(session, request, received_at))
                else:
                    self._on_submit(session, request, received_at)
            case _ if not self.silent:
                self._on_other(session, request, method, params)
        self._news.set()

    def _on_other(self, session: Session, request: dict[str, Any], method: str, params: list[Any]) -> None:
        match method:
            case "mining.configure":
                self._on_configure(session, request, params)
            case "mining.subscribe":
                session.subscribed = True
                self._give_extranonce(session)
                subscriptions = [
                    ["mining.set_difficulty", f"d{session.number}"],
                    ["mining.notify", f"s{session.number}"],
                ]
                self._reply(
                    session, request, [subscriptions, session.extranonce1.hex(), session.extranonce2_size]
                )
            case "mining.authorize":
                self._on_authorize(session, request, params)
            case "mining.extranonce.subscribe":
                session.wants_extranonce = True
                self._reply(session, request, True)
            case "mining.suggest_difficulty":
                self._reply(session, request, True)
            case _:
                self._refuse(session, request, (20, f"unknown method {method}"))

    def _on_configure(self, session: Session, request: dict[str, Any], params: list[Any]) -> None:
        codes, wanted = params
        result: dict[str, Any] = dict.fromkeys(codes, False)
        if "version-rolling" in codes and self.version_mask:
            session.client_mask = int(wanted.get("version-rolling.mask", "ffffffff"), 16)
            agreed = session.client_mask & self.version_mask
            session.masks.append((time.monotonic(), agreed))
            result |= {"version-rolling": True, "version-rolling.mask": f"{agreed:08x}"}
        if "subscribe-extranonce" in codes:
            session.wants_extranonce = result["subscribe-extranonce"] = True
        self._reply(session, request, result)

    def _on_authorize(self, session: Session, request: dict[str, Any], params: list[Any]) -> None:
        user, password = params[0], params[1]
        self.passwords.add(password)
        is_ours = user == self.account or user.startswith(f"{self.account}.")
        is_second = bool(session.users) and user not in session.users
        if not is_ours or (is_second and not self.second_names):
            self._refuse(session, request, UNAUTHORIZED)
            return
        begins = not session.users
        session.users.add(user)
        self.users.add(user)
        self._reply(session, request, True)
        if begins:
            self.notify(session, "mining.set_difficulty", session.difficulty)
            if not self.jobless:
                self.notify(session, "mining.notify", *self.make_job(session, clean=True))

    def _give_extranonce(self, session: Session) -> None:
        self._extranonces += 1
        session.extranonce1 = self._extranonces.to_bytes(self.extranonce1_size, "big")
        session.extranonce2_size = self.extranonce2_size

    # --- inside: jobs ----------------------------------------------------------------------------------------------

    def make_job(self, session: Session, *, clean: bool) -> list[Any]:
        """Return the parameters of a new job for one connection, and remember what it was given."""
        self._jobs += 1
        template = make_template(
            self.height, now=time.time(), transactions=self._transactions, version=0x20000000 | self._jobs % 7
        )
        outputs = [
            (template.coinbase_value_sat, b"\x00\x14" + hashlib.sha256(self.name.encode()).digest()[:20])
        ]
        branch = merkle_branch([transaction.txid for transaction in template.transactions])
        if self.huge:  # as a pool that pays its miners in the coinbase, in a full block
            outputs += [(0, b"\x00\x14" + number.to_bytes(20, "big")) for number in range(400)]
            branch = tuple(hashlib.sha256(bytes([number])).digest() for number in range(16))
        parts: CoinbaseParts = build_coinbase(
            template=template,
            outputs=outputs,
            pool_tag=f"/{self.name}/".encode(),
            job_number=self._jobs,
            extranonce_size=self.extranonce1_size + session.extranonce2_size,
        )
        params = NotifyParams(
            job_id=f"{self._jobs:x}",
            prev_hash=template.prev_hash,
            coinbase1=parts.coinbase1,
            coinbase2=parts.coinbase2,
            branch=branch,
            version=template.version & ~self.version_mask,
            nbits=template.nbits,
            ntime=template.time,
            clean=clean,
        )
        session.jobs[params.job_id] = PoolJob(
            params, session.extranonce1, session.extranonce2_size, session.difficulty
        )
        if len(session.jobs) > JOBS_KEPT:
            session.jobs.pop(next(iter(session.jobs)))
        return params.to_params()

    # --- inside: shares --------------------------------------------------------------------------------------------

    async def _answer_later(self, session: Session, request: dict[str, Any], received_at: float) -> None:
        await asyncio.sleep(self.answer_after_s)
        self._on_submit(session, request, received_at)
        self._news.set()

    def _on_submit(self, session: Session, request: dict[str, Any], received_at: float) -> None:
        refused, hash_, job = self._check(session, request["params"], received_at)
        if refused is None:
            refused = self.refusal
        if refused is None:
            self._seen.add(hash_)
            self.taken[str(request["params"][0])] += 1
        params = [*request["params"], "", ""]
        self.shares.append(
            PoolShare(
                user=str(params[0]),
                job_id=str(params[1]),
                hash=hash_,
                difficulty=None if job is None else job.difficulty,
                received_at=received_at,
                refused=refused,
                answered=not self.silent,
                connection=session.number,
            )
        )
        if self.silent:
            return
        if refused is None:
            self._reply(session, request, True)
        else:
            self._refuse(session, request, refused)

    def _check(
        self, session: Session, params: list[Any], now: float
    ) -> tuple[tuple[int, str] | None, bytes, PoolJob | None]:
        """Return why a share is refused, None if it is not, its hash, and its job."""
        try:
            user, job_id, extranonce2_hex, ntime_hex, nonce_hex, *bits = params
            extranonce2, ntime = bytes.fromhex(extranonce2_hex), _number(ntime_hex)
            nonce, version_bits = _number(nonce_hex), _number(bits[0]) if bits else None
        except (ValueError, TypeError) as error:
            return self._violated(MALFORMED, f"malformed share {params}: {error}"), b"", None
        if user not in session.users:
            return self._violated(UNAUTHORIZED, f"share of {user}, not authorised"), b"", None
        job = session.jobs.get(job_id)
        if job is None:
            return (
                self._violated(UNKNOWN_JOB, f"unknown job {job_id} on connection {session.number}"),
                b"",
                None,
            )
        if len(extranonce2) != job.extranonce2_size:
            text = f"extranonce2 of {len(extranonce2)} bytes, not {job.extranonce2_size}"
            return self._violated(MALFORMED, text), b"", job
        hash_ = share_hash(job, extranonce2, ntime, nonce, version_bits or 0)
        # BIP-0310: once version rolling is agreed "the client MUST send one additional parameter".
        if (version_bits is not None) != (session.client_mask is not None):
            text = f"version bits {version_bits}, negotiated {session.client_mask is not None}"
            return self._violated(MALFORMED, text), hash_, job
        if (version_bits or 0) & ~session.allowed_mask(now):
            return (
                self._violated(BAD_VERSION, f"version bits {version_bits:08x} outside the mask"),
                hash_,
                job,
            )
        if job.params.prev_hash != make_template(self.height).prev_hash:
            return STALE, hash_, job
        if not job.params.ntime <= ntime <= time.time() + 7200:
            return self._violated(BAD_TIME, f"ntime {ntime}, job's {job.params.ntime}"), hash_, job
        if int.from_bytes(hash_, "little") > target_from_difficulty(job.difficulty):
            return (
                self._violated(LOW, f"share of job {job_id} above the target of {job.difficulty}"),
                hash_,
                job,
            )
        if hash_ in self._seen:
            return self._violated(DUPLICATE, f"share {hash_[:16].hex()} came twice"), hash_, job
        return None, hash_, job

    def _violated(self, refused: tuple[int, str], what: str) -> tuple[int, str]:
        self.violations.append(what)
        return refused

    # --- inside: bytes ---------------------------------------------------------------------------------------------

    def notify(self, session: Session, method: str, *params: Any) -> None:
        """Send a notification to one connection."""
        if not self.silent:
            self._write(session, self._line(method, list(params)))

    @staticmethod
    def _line(method: str, params: list[Any]) -> bytes:
        return json.dumps({"id": None, "method": method, "params": params}).encode() + b"\n"

    def _reply(self, session: Session, request: dict[str, Any], result: Any) -> None:
        self._send(session, {"id": request["id"], "result": result, "error": None})

    def _refuse(self, session: Session, request: dict[str, Any], refused: tuple[int, str]) -> None:
        if self.string_errors:  # ckpool
            message = {"id": request["id"], "result": False, "error": None, "reject-reason": refused[1]}
        else:
            message = {"id": request["id"], "result": None, "error": [*refused, None]}
        self._send(session, message)

    def _send(self, session: Session, message: dict[str, Any]) -> None:
        self._write(session, json.dumps(message).encode() + b"\n")

    @staticmethod
    def _write(session: Session, data: bytes) -> None:
        if session.held:
            session.held += data
        elif not session.writer.is_closing():
            session.writer.write(data)


def _number(text: str) -> int:
    if len(text) != 8:
        raise ValueError(f"not eight digits: {text}")
    return int(text, 16)


def share_hash(job: PoolJob, extranonce2: bytes, ntime: int, nonce: int, version_bits: int) -> bytes:
    """Return a share's header hash, computed from the job as it was sent."""
    params = job.params
    coinbase = params.coinbase1 + job.extranonce1 + extranonce2 + params.coinbase2
    root = root_from_branch(double_sha256(coinbase), params.branch)
    version = params.version | version_bits  # its own bits inside any mask are zero
    return BlockHeader(version, params.prev_hash, root, ntime, params.nbits, nonce).hash()


def find_nonce(
    job: PoolJob, extranonce2: bytes, version_bits: int = 0, *, first: int = 0, meets: bool = True
) -> int:
    """Return the first nonce from ``first`` on that meets the job's difficulty, or does not."""
    params, target = job.params, target_from_difficulty(job.difficulty)
    coinbase = params.coinbase1 + job.extranonce1 + extranonce2 + params.coinbase2
    root = root_from_branch(double_sha256(coinbase), params.branch)
    head = BlockHeader(
        params.version | version_bits, params.prev_hash, root, params.ntime, params.nbits, 0
    ).serialize()[:76]
    nonce = first
    while (int.from_bytes(double_sha256(head + struct.pack("<I", nonce)), "little") <= target) != meets:
        nonce += 1
    return nonce


@asynccontextmanager
async def scripted_pool(**settings: Any) -> AsyncIterator[ScriptedPool]:
    """Run a pool; see `ScriptedPool`."""
    async with ScriptedPool(**settings) as pool:
        yield pool


__all__ = ["Chain", "PoolJob", "PoolShare", "ScriptedPool", "find_nonce", "scripted_pool", "share_hash"]
