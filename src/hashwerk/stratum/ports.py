"""The ports of the Stratum server: what it needs of a node and of a ledger, defined by the consumer.

Adapters (`node`, `store`) implement them; `site` introduces them to each other.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from typing import Any, Protocol

import msgspec
import numpy as np
from numpy.typing import NDArray

from hashwerk.chain.template import Template
from hashwerk.work.job import Job

ShareRecords = NDArray[np.void]  # rows of hashwerk.work.share.SHARE_DTYPE
FateRecords = NDArray[np.void]  # rows of hashwerk.work.fate.FATE_DTYPE
Done = Callable[[BaseException | None], Any]


class SubmitOutcome(msgspec.Struct, frozen=True):
    """What became of a block handed to a node."""

    accepted: bool  # valid and in the active chain
    reason: str | None = None  # "duplicate", "inconclusive", "high-hash", …; None when newly accepted


class NodeStatus(msgspec.Struct, frozen=True, kw_only=True):
    """The node as it is now."""

    kind: str  # "kernel" or "core"
    network: str
    height: int
    tip: bytes  # internal byte order
    healthy: bool
    message: str | None = None  # in plain words, when not healthy
    url: str | None = None  # without credentials


class Node(Protocol):
    """A source of templates and a sink of blocks."""

    async def start(self) -> None:
        """Open the node; after this `status` is true.

        Raises:
            NodeError: If it cannot be used; the message says what to do.
        """
        ...

    def templates(self) -> AsyncIterator[Template]:
        """Yield the current template, then a new one on each new tip and whenever the work is to be refreshed.

        It never ends before `close`; while the node is unreachable or its template is invalid it yields nothing and
        `status` says why.
        """
        ...

    async def submit_block(self, block: bytes) -> SubmitOutcome:
        """Make the block durable, then hand it to the node. Never raises for a refused block."""
        ...

    async def confirmations(self, block_hash: bytes) -> int | None:
        """Return how many blocks of the active chain stand on this one, itself included; None when not in it."""
        ...

    def status(self) -> NodeStatus:
        """Return the node's state as last seen, without waiting."""
        ...

    async def close(self) -> None:
        """Release everything; the chain's folder can be opened again at once."""
        ...


class Account(msgspec.Struct, frozen=True):
    """Who is credited. ``commitment`` is a salted hash of the name, made when the account is first seen."""

    id: int
    name: str
    commitment: bytes


class SessionRecord(msgspec.Struct, frozen=True, kw_only=True):
    """A Stratum session as the ledger keeps it, enough to resume after a crash."""

    id: int
    token: str  # what the machine hands back in mining.subscribe to resume
    extranonce1: int
    extranonce1_size: int
    extranonce2_size: int
    worker_id: int | None
    user_agent: str
    remote: str
    work_log2: int | None
    started_at: float
    ended_at: float | None = None


class BlockRecord(msgspec.Struct, frozen=True, kw_only=True):
    """A block we found."""

    hash: bytes
    height: int
    found_at: float
    worker_id: int | None
    job_id: int
    reward_sat: int
    state: str  # "submitted" | "accepted" | "rejected" | "mature" | "orphaned"
    reason: str | None = None
    confirmations: int = 0


class Ledger(Protocol):
    """The durable record. One writer; calls return at once and are made durable in the order they were made.

    Identifiers are given out in memory immediately; the row that defines one is always durable no later than the
    first share that names it.
    """

    def account(self, name: str) -> Account:
        """Return the account of this name, made on first sight."""
        ...

    def worker(self, account_id: int, machine: str) -> int:
        """Return the worker id of an account's machine, made on first sight."""
        ...

    def next_job_id(self) -> int:
        """Return a job id that was never used before, also not before a crash."""
        ...

    def next_session(self) -> tuple[int, int]:
        """Return a session id and an extranonce1 counter value that were never used before."""
        ...

    def put_job(self, job: Job) -> None:
        """Record a job before its first share."""
        ...

    def put_session(self, session: SessionRecord) -> None:
        """Record a session, or what changed of it."""
        ...

    def find_session(self, token: str) -> SessionRecord | None:
        """Return the session of this token if it can still be resumed."""
        ...

    def append(self, shares: ShareRecords, done: Done) -> None:
        """Store the records in one commit group with others; call ``done`` on the caller's event loop.

        ``done(None)`` means: on disk. ``done(error)`` means: none of them is stored.
        """
        ...

    def put_block(self, block: BlockRecord) -> None:
        """Record a found block, or its new state."""
        ...

    def upstream(self, name: str, url: str, user: str) -> int:
        """Return the id of an upstream pool, made on first sight of this name, url and user; below 2**16."""
        ...

    def fate_reason(self, text: str) -> int:
        """Return the id of a pool's words, made on first sight; 0 for no words, and when there are too many."""
        ...

    def put_fates(self, fates: FateRecords) -> None:
        """Record what became of shares that were handed in to an upstream pool."""
        ...

    def event(self, kind: str, message: str, **details: Any) -> None:
        """Record a change of state for the page *Log*."""
        ...
