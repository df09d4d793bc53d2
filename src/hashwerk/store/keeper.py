"""Closes the epochs of a running mine, beside its server.

Resource handling: one connection that cannot write, used on worker threads one call at a time; `close` gives it back.
Cancellation: `take_in` and `close_epoch` block, so they are run on a thread; a caller that goes away changes nothing, and `close`
ends them early.

Machines must not feel any of it, and what they would feel is Python's lock. So the open epoch is prepared bit by bit (`take_in`,
once a second), what is done for each share is compiled code without that lock, and all else is done in pieces of about a
millisecond with as long a rest after each. A low priority would make it worse: a thread that waits for the processor while it
holds the lock holds up the server.

A number is never signed twice: while a closed epoch waits for the disk none is closed after it, and its root is given out
only once it is durable. What a crash leaves unstored was shown to nobody.
"""

from __future__ import annotations

import logging
import sqlite3
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from threading import Event, Lock
from typing import Final

from hashwerk.errors import DecodeError, EvidenceError, StoreError
from hashwerk.evidence.closer import EpochCloser
from hashwerk.evidence.key_files import SiteKeys
from hashwerk.evidence.records import Prefix, PrefixTable, Record
from hashwerk.store import epochs, key_changes, logbook
from hashwerk.store.connection import connect_reader
from hashwerk.store.epochs import PreparedEpoch
from hashwerk.store.open_epoch import OpenEpoch, place_after, warm_up
from hashwerk.store.records import put_record
from hashwerk.store.writes import Write

log = logging.getLogger(__name__)

#: Shares that were received before an epoch's end are on disk after so long, but for a disk in trouble.
SETTLE_S: Final = 2.0
#: So long the end of an epoch waits for what the logbook is to say of it.
_PATIENCE_S: Final = 14.0
_STORE_TIMEOUT_S: Final = 30.0
#: `take_in` takes so many shares at a time: after a downtime it does not keep a closing mine waiting.
_MOST_SHARES: Final = 1 << 18
#: How long a piece of work may hold the interpreter, and how long the rest after it is.
_PIECE_S: Final = 0.001

Enqueue = Callable[[Write], None]


class EpochKeeper:
    """The chain of epochs of one ledger."""

    def __init__(
        self,
        path: Path,
        keys: SiteKeys,
        enqueue: Enqueue,
        *,
        declarations: Sequence[Record],
        interval_s: float,
        key_folder: Path | None = None,
        store_timeout_s: float = _STORE_TIMEOUT_S,
        key_step: key_changes.Step = key_changes.no_step,
    ) -> None:
        """Keep the ledger at ``path``.

        Args:
            path: The ledger; a writer has it open.
            keys: The site's keys.
            enqueue: Hands a write to the ledger's writer; its ``committed`` is called once it is durable.
            declarations: What holds from now on; only what differs from what is in force is logged.
            interval_s: Length of an epoch. Epochs end at whole multiples of it.
            key_folder: Where the keys lie: a rotation that is asked for there happens with the next epoch. None: never.
            store_timeout_s: How long `close_epoch` waits for the disk.
            key_step: Called with the name of each step of a rotation that was just made durable.
        """
        self._path = path
        self._logbook = path.with_name(logbook.NAME)
        self._keys = keys
        self._enqueue = enqueue
        self._declarations = tuple(declarations)
        self._interval_us = int(interval_s * 1e6)
        self._key_folder = key_folder
        self._store_timeout_s = store_timeout_s
        self._key_step = key_step
        self._lock = Lock()
        self._connection: sqlite3.Connection | None = None
        self._closer: EpochCloser | None = None
        self._open: OpenEpoch | None = None
        self._pending: tuple[PreparedEpoch, Event] | None = None
        self._root = bytes(32)
        self._end_us = 0
        self._ending = Event()
        self._resumed = 0.0
        self._prefixes: set[Prefix] = set()

    @property
    def prefixes(self) -> frozenset[Prefix]:
        """What is declared of extranonces, in force or soon to be: nobody else may work with them."""
        return frozenset(self._prefixes)

    @property
    def root(self) -> bytes:
        """The hash of the last durable epoch: what following jobs carry. Zero before `open`."""
        return self._root

    def open(self, now: float) -> bytes:
        """Go on after the last epoch, or begin; return the root. Blocks until durable.

        Raises:
            StoreError: If the ledger cannot be read, or does not take the first epoch.
            EvidenceError: If its evidence is damaged, or no recovery key is at hand to begin with.
        """
        with self._lock:
            self._ending.clear()
            connection = self._connection = connect_reader(self._path)
            if self._key_folder is not None:
                self._keys = key_changes.finish(connection, self._key_folder, self._key_step)
            closer = self._closer = epochs.open_closer(connection, self._keys)
            now_us = int(now * 1e6)
            if closer.number == 0:
                self._store(epochs.begin(connection, closer, self._declarations, now_us))
            else:
                self._root = closer.root
                self._end_us = closer.start_us or 0
                self._prefixes = {
                    prefix for table in closer.standing.all(PrefixTable) for prefix in table.prefixes
                }
                if self._declare(closer, now_us):
                    self._close_at_once(now_us)
            warm_up()
            return self._root

    def due(self, now: float) -> bool:
        """Return whether an epoch's time is over."""
        return self._boundary(now) > self._end_us

    def take_in(self, now: float) -> None:
        """Prepare the open epoch: take in what of it was committed since the last time. Blocks, but hardly works.

        Raises:
            StoreError: If the ledger cannot be read.
            EvidenceError: If a row is missing or damaged.
        """
        with self._lock:
            connection, closer = self._ready()
            until_us = max(self._boundary(now), self._next_boundary(closer.start_us or 0))
            with self._begun_anew_after_errors():
                self._prepare(connection, closer).take_in(until_us, _MOST_SHARES)

    def close_epoch(self, now: float, prefixes: Sequence[Prefix] = ()) -> bytes:
        """Close the epoch that ended last, if one is due; return the root of the last durable one. Blocks.

        After a downtime one long epoch covers it, empty or not.

        Args:
            now: UTC, seconds.
            prefixes: Whose machines have which extranonce1: declared for the upstream pools where they are news.

        Raises:
            StoreError: If the disk has not taken the last closed epoch yet, or the ledger cannot be read.
            EvidenceError: If a row is missing or damaged.
        """
        with self._lock:
            self._settle()
            connection, closer = self._ready()
            self._declare_pools(connection, closer, prefixes)
            end_us = self._boundary(now)
            if end_us > self._end_us and self._is_told(end_us, now):
                with self._begun_anew_after_errors():
                    self._rotate(connection, closer, int(now * 1e6))
                    connection, closer = self._ready()
                    self._store(self._prepare(connection, closer).close(closer, end_us))
            return self._root

    def close(self) -> None:
        """Give the connection back."""
        self._ending.set()
        with self._lock:
            if self._connection is not None:
                self._connection.close()
            self._connection = self._closer = self._open = None

    def _ready(self) -> tuple[sqlite3.Connection, EpochCloser]:
        """Return connection and closer; the latter is made anew from the ledger after an error."""
        if self._connection is None:
            raise StoreError(f"{self._path}: the keeper of epochs is not open")
        if self._closer is None:
            self._closer = epochs.open_closer(self._connection, self._keys)
        return self._connection, self._closer

    def _prepare(self, connection: sqlite3.Connection, closer: EpochCloser) -> OpenEpoch:
        """Return what was prepared of the open epoch: the one after that which waits for the disk, or after the last stored."""
        if self._open is None:
            last = epochs.last_epoch(connection) if self._pending is None else self._pending[0]
            if last is None:
                raise StoreError(f"{self._path}: the first epoch is missing")
            self._open = OpenEpoch(connection, closer, place_after(last), self._logbook, self._rest)
        return self._open

    @contextmanager
    def _begun_anew_after_errors(self) -> Iterator[None]:
        """Forget what was prepared, and what was closed but not handed to the disk, when something fails."""
        try:
            yield
        except BaseException:
            self._open = None
            if self._pending is None:
                self._closer = None
            raise

    def _is_told(self, end_us: int, now: float) -> bool:
        """Say whether the writer of the logbook has said everything up to the end, or has had its time.

        Meters show what they counted up to a moment some seconds after it; so their readings are in the epoch that they are of.
        """
        patience_us = min(_PATIENCE_S * 1e6, self._interval_us / 2)
        if now * 1e6 >= end_us + patience_us:
            return True
        try:
            through_us = logbook.logged_through(self._logbook)
        except StoreError:
            return True  # closing says so, and goes on without
        # One that fell silent before is not waited for, or every epoch would be late.
        return through_us is None or through_us >= end_us or through_us < self._end_us

    def _rest(self) -> None:
        """Leave the interpreter to others if it was held for long enough; called between small pieces of work."""
        if time.perf_counter() - self._resumed < _PIECE_S:
            return
        if self._ending.wait(_PIECE_S):
            raise StoreError(f"{self._path}: the keeper of epochs is closing")
        self._resumed = time.perf_counter()

    def _boundary(self, now: float) -> int:
        return int((now - SETTLE_S) * 1e6) // self._interval_us * self._interval_us

    def _next_boundary(self, time_us: int) -> int:
        return (time_us // self._interval_us + 1) * self._interval_us

    def _rotate(self, connection: sqlite3.Connection, closer: EpochCloser, now_us: int) -> None:
        """Let the next key take over with the open epoch, if that was asked for; the files follow once it is durable."""
        if self._key_folder is None:
            return
        try:
            change = key_changes.asked_rotation(connection, self._key_folder, now_us)
        except EvidenceError as error:  # keys that do not fit keep no epoch open
            log.warning("the key is not rotated: %s", error)
            return
        if change is not None:
            self._key_step("asked")
            stored = Event()
            self._enqueue(Write(change.store, stored.set))
            if not stored.wait(self._store_timeout_s):
                raise StoreError(f"{self._path}: the change of the key waits for the disk")
            self._key_step("logged")
        if len(epochs.read_key_events(connection)) != len(closer.events):
            self._keys = key_changes.finish(connection, self._key_folder, self._key_step)
            self._closer = epochs.open_closer(connection, self._keys)

    def _store(self, prepared: PreparedEpoch) -> None:
        stored, rows = Event(), epochs.rows_of(prepared)
        self._enqueue(Write(lambda connection: epochs.store_rows(connection, rows), stored.set))
        self._pending, self._open = (prepared, stored), None
        stored.wait(self._store_timeout_s)
        self._settle()

    def _settle(self) -> None:
        """Take over the epoch that waits for the disk, once it is there."""
        if self._pending is None:
            return
        prepared, stored = self._pending
        header = prepared.epoch.header
        if not stored.is_set():
            raise StoreError(
                f"{self._path}: epoch {header.number} waits for the disk; no other is closed before"
            )
        self._pending = None
        self._root = prepared.epoch.signed.hash()
        self._end_us = header.end_us

    def _declare(self, closer: EpochCloser, now_us: int) -> bool:
        """Log what is declared otherwise than what is in force; it holds from the next epoch on. Return whether there was any."""
        in_force = set(closer.standing.records)
        pools = {table.upstream for table in closer.standing.all(PrefixTable)}
        news = [
            record
            for record in self._declarations
            if record not in in_force and not (isinstance(record, PrefixTable) and record.upstream in pools)
        ]
        for record in news:
            self._log(record, now_us)
        return bool(news)

    def _close_at_once(self, now_us: int) -> None:
        """End the open epoch now, so that what was declared holds before the next share. What fails is closed in its time."""
        logged = Event()
        self._enqueue(Write(lambda _: None, logged.set))
        try:
            if not logged.wait(self._store_timeout_s):
                raise StoreError(f"{self._path}: what is declared waits for the disk")
            connection, closer = self._ready()
            end_us = max(now_us, self._end_us) + 1
            with self._begun_anew_after_errors():
                self._store(self._prepare(connection, closer).close(closer, end_us))
        except (StoreError, EvidenceError, DecodeError) as error:
            log.warning("what is declared holds from the next epoch on: %s", error)

    def _declare_pools(
        self, connection: sqlite3.Connection, closer: EpochCloser, prefixes: Sequence[Prefix]
    ) -> None:
        """Declare upstream pools as soon as they are known, so that their work stands as what it is: unbound.

        Whose machines work is declared again when there are new ones, or one is said to be another account's.
        """
        tables = {table.upstream: table for table in closer.standing.all(PrefixTable)}
        for (name,) in connection.execute("SELECT DISTINCT name FROM upstreams ORDER BY name").fetchall():
            table = tables.get(name)
            if table is None or not set(prefixes) <= set(table.prefixes):
                news = PrefixTable(upstream=name, work_log2=0, prefixes=tuple(prefixes))
                self._log(news, self._end_us)
                tables[name] = news
        self._prefixes = {
            prefix
            for table in (*closer.standing.all(PrefixTable), *tables.values())
            for prefix in table.prefixes
        }

    def _log(self, record: Record, now_us: int) -> None:
        self._enqueue(Write(lambda connection: put_record(connection, record, now_us)))
