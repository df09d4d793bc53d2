"""The ledger on SQLite: every call returns at once, one thread makes everything durable in order.

Resource handling: `open` takes a lock on the file, one connection and two threads; `close` gives all of it
back after the last commit. Cancellation: nothing here awaits, so nothing can be cancelled half-way.
"""

from __future__ import annotations

import asyncio
import logging
import os
import sqlite3
import uuid
from collections.abc import Callable, Mapping
from pathlib import Path
from threading import Thread
from typing import Any, Final

import msgspec
import numpy as np
from numpy.typing import NDArray

from hashwerk.chain.template import Template
from hashwerk.clock import Clock, SystemClock
from hashwerk.errors import StoreError
from hashwerk.store import share_groups
from hashwerk.store.blocks import read_blocks, reviewed, write_block
from hashwerk.store.codec import plain_text
from hashwerk.store.connection import WriterLock, connect_reader, connect_writer, store_error
from hashwerk.store.counters import IdCounter, read_counter, write_counter
from hashwerk.store.fates import FateCount, FateKey, Fates, settle
from hashwerk.store.identities import Identities
from hashwerk.store.jobs import first_position, read_jobs, template_hash, write_job
from hashwerk.store.maintenance import Maintenance
from hashwerk.store.migrations import migrate
from hashwerk.store.rates import RateWindow
from hashwerk.store.recovery import CREATED_AT, load_rates
from hashwerk.store.rollup import Rollup, read_position
from hashwerk.store.settings import StoreSettings
from hashwerk.store.writer import NO_SHARES, Group, Writer
from hashwerk.store.writes import Append, Stop, Write
from hashwerk.stratum.latency import LatencyWindow
from hashwerk.stratum.ports import Account, BlockRecord, Done, FateRecords, SessionRecord, ShareRecords
from hashwerk.work.job import Job
from hashwerk.work.share import SHARE_DTYPE, Verdict

log = logging.getLogger(__name__)

_MAX_U32: Final = 0xFFFF_FFFF
_MAX_OPEN_JOBS: Final = 10_000
_TEMPLATES_HELD: Final = 8
_LAST_VERDICT: Final = max(Verdict)


class LedgerStatus(msgspec.Struct, frozen=True, kw_only=True):
    """The ledger as it is now."""

    healthy: bool
    message: str | None  # in plain words, when not healthy
    pending: int  # shares that wait for the disk
    stored: int  # shares on disk since the beginning
    commit_ms_p50: float | None  # append → on disk, over the shares' batches of the last minute
    commit_ms_p99: float | None
    sync_ms_p50: float | None  # COMMIT alone: the log's frames written and synced
    sync_ms_p99: float | None


class SqliteLedger:
    """The `hashwerk.stratum.ports.Ledger` of one site in one SQLite file.

    All methods are called on the event loop's thread, and ``done`` is called there too.
    """

    def __init__(
        self,
        path: Path,
        loop: asyncio.AbstractEventLoop,
        settings: StoreSettings | None = None,
        clock: Clock | None = None,
        entropy: Callable[[int], bytes] = os.urandom,
    ) -> None:
        self.path = Path(path)
        self.settings = settings or StoreSettings()
        self._loop = loop
        self._clock = clock or SystemClock()
        self._entropy = entropy
        self._lock = WriterLock(self.path)
        self._connection: sqlite3.Connection | None = None
        self._writer: Writer | None = None
        self._thread: Thread | None = None
        self._identities = Identities(self.settings.resume_sessions_s, entropy)
        self._fates = Fates()
        self._blocks: dict[bytes, BlockRecord] = {}
        self._template_hashes: list[tuple[Template, bytes]] = []
        self._pending = 0
        self._stored = 0
        self._error: StoreError | None = None
        self._commit = LatencyWindow()
        self._sync = LatencyWindow()
        self._open_jobs: tuple[Job, ...] = ()
        self.site_uuid = ""
        self.rates = RateWindow(self._clock.time())

    # Life

    def open(self) -> None:
        """Take the lock, bring the schema up to date, recover what a crash left, and start to write.

        Raises:
            StoreError: If another process has the ledger, the file is none, is newer than this program, or
            cannot be
                used; the message names the file.
        """
        if self._thread is not None:
            raise RuntimeError("the ledger is open already")
        self._lock.acquire(self.settings.lock_timeout_s)
        try:
            connection = connect_writer(self.path, self.settings)
            try:
                self._recover(connection)
            except BaseException:
                connection.close()
                raise
        except sqlite3.Error as error:
            self._lock.release()
            raise store_error(error, self.path, "cannot be opened") from error
        except BaseException:
            self._lock.release()
            raise
        self._connection = connection
        self._thread = Thread(target=self._writing.run, name="ledger-writer", daemon=True)
        self._thread.start()
        self._maintenance = Maintenance(self.path, self.settings, self._clock, self._writing.queue.put)
        self._maintenance.start()

    def close(self) -> None:
        """Commit what waits, give back unused identifiers, and let go of the file. Blocks until that is done.

        The remaining ``done`` calls reach the event loop when it runs next.

        Raises:
            StoreError: If rows could not be written to the very end.
        """
        if self._thread is None:
            return
        self._maintenance.stop()
        for counter in (self._job_ids, self._session_ids):
            self._put(counter.give_back())
        self._writing.queue.put(Stop())
        self._thread.join()
        self._thread = None
        assert self._connection is not None
        try:
            if self._writing.unwritten:
                raise StoreError(
                    f"{self.path}: {self._writing.unwritten} rows could not be written before the end"
                )
            self._connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        except sqlite3.Error as error:
            # The log keeps everything; the next start reads it.
            log.warning("%s", store_error(error, self.path, "log was not folded into the database"))
        finally:
            self._connection.close()
            self._connection = None
            self._lock.release()

    def _recover(self, connection: sqlite3.Connection) -> None:
        migrate(connection, self.path)
        now = self._clock.time()
        connection.execute("BEGIN IMMEDIATE")
        row = connection.execute("SELECT value FROM meta WHERE key = 'site_uuid'").fetchone()
        self.site_uuid = str(uuid.UUID(bytes=self._entropy(16), version=4)) if row is None else row[0]
        connection.execute(
            "INSERT OR IGNORE INTO meta (key, value) VALUES ('site_uuid', ?)", (self.site_uuid,)
        )
        connection.execute("INSERT OR IGNORE INTO meta (key, value) VALUES (?, ?)", (CREATED_AT, now))
        self._identities.load(connection, now)
        self._job_ids = self._counter(connection, "job")
        self._session_ids = self._counter(connection, "session")
        self._fates.load(connection)
        settle(connection, self._fates, self.settings.resume_jobs_s, now)
        connection.execute("COMMIT")
        self._blocks = {block.hash: block for block in read_blocks(connection)}
        self._open_jobs = read_jobs(connection, now - self.settings.resume_jobs_s, _MAX_OPEN_JOBS)
        self.rates = load_rates(connection, now)
        rollup = Rollup(read_position(connection))
        rollup.load(connection)
        for _, shares in share_groups.read(connection, rollup.position):
            rollup.add(shares)
        self._stored = max(rollup.position, share_groups.end(connection))
        self._writing = Writer(
            connection,
            self.path,
            self.settings,
            self._clock,
            next_position=self._stored,
            rollup=rollup,
            finished=self._hand_over,
        )

    def _counter(self, connection: sqlite3.Connection, name: str) -> IdCounter:
        first = read_counter(connection, name)
        write_counter(connection, name, min(first + self.settings.id_block, _MAX_U32 + 1))
        return IdCounter(name, first, block=self.settings.id_block, top=_MAX_U32, enqueue=self._put)

    # What the Stratum server asks of it

    def account(self, name: str) -> Account:
        """Return the account of this name, made on first sight."""
        account, write = self._identities.account(name, self._clock.time())
        if write is not None:
            self._put(write)
        return account

    def worker(self, account_id: int, machine: str) -> int:
        """Return the worker id of an account's machine, made on first sight."""
        now = self._clock.time()
        worker, write = self._identities.worker(account_id, machine, now)
        if write is not None:
            self._put(write)
            self.rates.add_worker(worker, account_id, now)
        return worker

    @property
    def account_names(self) -> Mapping[int, str]:
        """The name of every account id given out."""
        return self._identities.account_names

    @property
    def worker_names(self) -> Mapping[int, tuple[str, str]]:
        """The account's name and the machine of every worker id given out."""
        return self._identities.names

    def next_job_id(self) -> int:
        """Return a job id that was never used before, also not before a crash.

        Raises:
            StoreError: If none is left that is reserved on disk.
        """
        return self._job_ids.take()

    def next_session(self) -> tuple[int, int]:
        """Return a session id and an extranonce1 that were never used before; here they are the same number.

        Raises:
            StoreError: If none is left that is reserved on disk.
        """
        number = self._session_ids.take()
        return number, number

    def put_job(self, job: Job) -> None:
        """Record a job before its first share, with its template."""
        hash_ = self._template_hash(job.template)
        self._put(Write(lambda connection: write_job(connection, job, hash_)))

    def put_session(self, session: SessionRecord) -> None:
        """Record a session, or what changed of it."""
        self._put(self._identities.session(session))

    def find_session(self, token: str) -> SessionRecord | None:
        """Return the session of this token if it can still be resumed."""
        return self._identities.find_session(token, self._clock.time())

    def append(self, shares: ShareRecords, done: Done) -> None:
        """Store the records in one commit group with others; call ``done`` on the caller's event loop.

        ``done(None)`` means: on disk. ``done(error)`` means: none of them is stored. The array must not be
        changed before that. An empty batch stores nothing and is done once everything before it is on disk.

        Raises:
            ValueError: If the rows are not of `SHARE_DTYPE`.
        """
        if shares.dtype != SHARE_DTYPE or shares.ndim != 1:
            raise ValueError(
                f"shares must be a row of {SHARE_DTYPE}: {shares.dtype}, {shares.ndim} dimensions"
            )
        if len(shares) and shares["verdict"].max() > _LAST_VERDICT:
            raise ValueError(f"unknown verdict: {shares['verdict'].max()}")
        if self._thread is None or self._pending + len(shares) > self.settings.max_pending_shares:
            why = (
                "is closed"
                if self._thread is None
                else f"has {self._pending} shares waiting for the disk already"
            )
            self._loop.call_soon(done, StoreError(f"{self.path}: the ledger {why}"))
            return
        self._pending += len(shares)
        self._writing.queue.put(Append(shares, done, self._clock.monotonic()))

    def put_block(self, block: BlockRecord) -> None:
        """Record a found block, or its new state."""
        self._blocks[block.hash] = block
        self._put(Write(lambda connection: write_block(connection, block)))

    def upstream(self, name: str, url: str, user: str) -> int:
        """Return the id of an upstream pool, made on first sight of this name, url and user; below 2**16.

        Raises:
            StoreError: If none is left.
        """
        id_, write = self._fates.upstream(name, url, user, self._clock.time())
        if write is not None:
            self._put(write)
        return id_

    def fate_reason(self, text: str) -> int:
        """Return the id of a pool's words, made on first sight; 0 for no words, and when there are too many."""
        id_, write = self._fates.reason(text)
        if write is not None:
            self._put(write)
        return id_

    def put_fates(self, fates: FateRecords) -> None:
        """Record what became of shares that were handed in to an upstream pool.

        Raises:
            ValueError: If the rows are not of `FATE_DTYPE`.
        """
        if len(fates):
            self._put(self._fates.put(fates))

    def event(self, kind: str, message: str, **details: Any) -> None:
        """Record a change of state for the page *Log*."""
        encoded = msgspec.json.encode(details, enc_hook=plain_text).decode()
        row = (self._clock.time(), plain_text(kind), plain_text(message), encoded)

        def apply(connection: sqlite3.Connection) -> None:
            connection.execute("INSERT INTO events (time, kind, message, details) VALUES (?,?,?,?)", row)

        self._put(Write(apply))

    def put(self, write: Write) -> None:
        """Make a row durable, in order with all others; for evidence."""
        self._put(write)

    # What the rest of the mine asks of it

    @property
    def pending(self) -> int:
        """How many shares wait for the disk. Callers slow down their peers when this grows."""
        return self._pending

    def fate_totals(self) -> Mapping[FateKey, FateCount]:
        """Return how many fates there are since the beginning, by (upstream, fate, reason), with their latencies."""
        return self._fates.totals()

    def fates_of_worker(self, worker_id: int) -> Mapping[FateKey, FateCount]:
        """Return the same for the shares of one worker."""
        return self._fates.of_worker(worker_id)

    @property
    def fate_words(self) -> Mapping[int, str]:
        """The words of every reason id given out."""
        return self._fates.words

    def blocks(self) -> tuple[BlockRecord, ...]:
        """Return the found blocks as last seen, oldest first."""
        return tuple(sorted(self._blocks.values(), key=lambda block: (block.found_at, block.height)))

    def update_blocks(self, confirmations: Mapping[bytes, int | None]) -> tuple[BlockRecord, ...]:
        """Take in a look at the node, by block hash as `Node.confirmations` answers; return the blocks that
        changed state.

        Raises:
            KeyError: If a hash is not one of our blocks.
        """
        changed = []
        for hash_, count in confirmations.items():
            before = self._blocks[hash_]
            after = reviewed(before, count, self.settings.maturity_confirmations)
            if after != before:
                self.put_block(after)
            if after.state != before.state:
                changed.append(after)
        return tuple(changed)

    def open_jobs(self) -> tuple[Job, ...]:
        """Return the jobs an earlier run sent out shortly before this one opened, oldest first, templates
        included."""
        return self._open_jobs

    def shares_of_jobs(self, job_ids: set[int]) -> ShareRecords:
        """Return the accepted shares on disk that name one of these jobs, to rebuild the table of duplicates.

        Blocks; meant for the time between `open` and the first share.

        Raises:
            StoreError: If the file cannot be read.
        """
        connection = connect_reader(self.path)
        try:
            first = first_position(connection, job_ids)
            return NO_SHARES if first is None else share_groups.of_jobs(connection, job_ids, first)
        except sqlite3.Error as error:
            raise store_error(error, self.path, "cannot be read") from error
        finally:
            connection.close()

    def recent_hash_keys(self, prev_hash: bytes) -> NDArray[np.void]:
        """Return the hash keys (V16) of the accepted shares on `open_jobs` that build on this block.
        Blocks."""
        job_ids = {job.id for job in self._open_jobs if job.template.prev_hash == prev_hash}
        return self.shares_of_jobs(job_ids)["hash_key"]

    def maintain(self) -> None:
        """Pack and remove at once what is due. Blocks; meant for the command line and for tests.

        Raises:
            StoreError: If the disk refuses.
        """
        self._maintenance.round()

    def status(self) -> LedgerStatus:
        """Return the ledger's state and the latencies of the last minute."""
        now = self._clock.monotonic()
        return LedgerStatus(
            healthy=self._error is None,
            message=None if self._error is None else str(self._error),
            pending=self._pending,
            stored=self._stored,
            commit_ms_p50=self._commit.quantile_ms(0.5, now),
            commit_ms_p99=self._commit.quantile_ms(0.99, now),
            sync_ms_p50=self._sync.quantile_ms(0.5, now),
            sync_ms_p99=self._sync.quantile_ms(0.99, now),
        )

    # Inside

    def _put(self, write: Write) -> None:
        if self._thread is None:
            raise StoreError(f"{self.path}: the ledger is closed")
        self._writing.queue.put(write)

    def _template_hash(self, template: Template) -> bytes:
        # Many jobs are built from one template object; its thousands of transactions are hashed once.
        for known, hash_ in self._template_hashes:
            if known is template:
                return hash_
        hash_ = template_hash(template)
        self._template_hashes = [(template, hash_), *self._template_hashes[: _TEMPLATES_HELD - 1]]
        return hash_

    def _hand_over(self, group: Group) -> None:
        """Bring a finished group from the writer thread to the event loop."""
        try:
            self._loop.call_soon_threadsafe(self._finish, group)
        except RuntimeError:
            # The loop is closed: nobody waits for an answer any more, and what was stored stays stored.
            if not self._loop.is_closed():
                raise

    def _finish(self, group: Group) -> None:
        now = self._clock.monotonic()
        self._pending -= sum(len(append.shares) for append in group.appends)
        self._note_health(group.error)
        if group.error is None:
            self._stored += len(group.shares)
            self._sync.add(group.sync_s, now)
            for write in group.writes:
                if write.committed is not None:
                    write.committed()
        for append in group.appends:
            self._commit.add(now - append.queued_at, now, max(1, len(append.shares)))
            try:
                append.done(group.error)
            except Exception as error:  # one caller's mistake must not keep the others from their answers
                self._loop.call_exception_handler(
                    {"message": "a caller of the ledger failed when told of its shares", "exception": error}
                )
        if group.error is None:
            self.rates.add(group.shares)  # last: machines wait for their answers, pages do not

    def _note_health(self, error: StoreError | None) -> None:
        if (error is None) != (self._error is None):
            if error is not None:
                log.error("ledger: %s", error)
            else:
                log.info("ledger: storing again")
        self._error = error
