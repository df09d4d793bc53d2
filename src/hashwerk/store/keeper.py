"""Closes the epochs of a running mine, beside its server.

Resource handling: one connection that cannot write, used on worker threads one call at a time; `close` gives it back.
Cancellation: `close_epoch` blocks, so it is run on a thread; a caller that goes away changes nothing.

A number is never signed twice: while a closed epoch waits for the disk none is closed after it, and its root is given out
only once it is durable. What a crash leaves unstored was shown to nobody.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Sequence
from pathlib import Path
from threading import Event, Lock
from typing import Final

from hashwerk.errors import StoreError
from hashwerk.evidence.closer import EpochCloser
from hashwerk.evidence.key_files import SiteKeys
from hashwerk.evidence.records import PrefixTable, Record
from hashwerk.store import epochs, key_changes, logbook
from hashwerk.store.connection import connect_reader
from hashwerk.store.epochs import PreparedEpoch
from hashwerk.store.records import put_record
from hashwerk.store.writes import Write

#: Shares that were received before an epoch's end are on disk after so long, but for a disk in trouble.
SETTLE_S: Final = 2.0
_STORE_TIMEOUT_S: Final = 30.0

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
        """
        self._path = path
        self._logbook = path.with_name(logbook.NAME)
        self._keys = keys
        self._enqueue = enqueue
        self._declarations = tuple(declarations)
        self._interval_us = int(interval_s * 1e6)
        self._key_folder = key_folder
        self._store_timeout_s = store_timeout_s
        self._lock = Lock()
        self._connection: sqlite3.Connection | None = None
        self._closer: EpochCloser | None = None
        self._pending: tuple[PreparedEpoch, Event] | None = None
        self._root = bytes(32)
        self._end_us = 0

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
            self._connection = connect_reader(self._path)
            if self._key_folder is not None:
                self._keys = key_changes.finish(self._connection, self._key_folder)
            closer = self._closer = epochs.open_closer(self._connection, self._keys)
            now_us = int(now * 1e6)
            if closer.number == 0:
                begun = epochs.begin(self._connection, closer, self._declarations, now_us)
                self._store(begun)
            else:
                self._root = closer.root
                self._end_us = closer.start_us or 0
                self._declare(closer, now_us)
            return self._root

    def due(self, now: float) -> bool:
        """Return whether an epoch's time is over."""
        return self._boundary(now) > self._end_us

    def close_epoch(self, now: float) -> bytes:
        """Close the epoch that ended last, if one is due; return the root of the last durable one. Blocks.

        After a downtime one long epoch covers it, empty or not.

        Raises:
            StoreError: If the disk has not taken the last closed epoch yet, or the ledger cannot be read.
            EvidenceError: If a row is missing or damaged.
        """
        with self._lock:
            self._settle()
            if self._connection is None or self._closer is None:
                raise StoreError(f"{self._path}: the keeper of epochs is not open")
            self._declare_pools(self._end_us)
            end_us = self._boundary(now)
            if end_us > self._end_us:
                self._rotate(self._connection, int(now * 1e6))
                self._store(epochs.prepare_epoch(self._connection, self._closer, end_us, self._logbook))
            return self._root

    def close(self) -> None:
        """Give the connection back."""
        with self._lock:
            if self._connection is not None:
                self._connection.close()
            self._connection = None

    def _boundary(self, now: float) -> int:
        return int((now - SETTLE_S) * 1e6) // self._interval_us * self._interval_us

    def _rotate(self, connection: sqlite3.Connection, now_us: int) -> None:
        """Let the next key take over with the open epoch, if that was asked for; the files follow once it is durable."""
        if self._key_folder is None:
            return
        change = key_changes.asked_rotation(connection, self._key_folder, now_us)
        if change is not None:
            stored = Event()
            self._enqueue(Write(change.store, stored.set))
            if not stored.wait(self._store_timeout_s):
                raise StoreError(f"{self._path}: the change of the key waits for the disk")
        if (self._key_folder / key_changes.AFTER).exists():
            self._keys = key_changes.finish(connection, self._key_folder)
            self._closer = epochs.open_closer(connection, self._keys)

    def _store(self, prepared: PreparedEpoch) -> None:
        stored = Event()
        self._pending = prepared, stored
        self._enqueue(Write(lambda connection: epochs.store_epoch(connection, prepared), stored.set))
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

    def _declare(self, closer: EpochCloser, now_us: int) -> None:
        """Log what is declared otherwise than what is in force; it holds from the next epoch on."""
        in_force = set(closer.standing.records)
        for record in self._declarations:
            if record not in in_force:
                self._log(record, now_us)

    def _declare_pools(self, at_us: int) -> None:
        """Declare upstream pools as soon as they are known, so that their work stands as what it is: unbound."""
        assert self._connection is not None and self._closer is not None
        known = {table.upstream for table in self._closer.standing.all(PrefixTable)}
        for (name,) in self._connection.execute(
            "SELECT DISTINCT name FROM upstreams ORDER BY name"
        ).fetchall():
            if name not in known:
                self._log(PrefixTable(upstream=name, work_log2=0, prefixes=()), at_us)

    def _log(self, record: Record, now_us: int) -> None:
        self._enqueue(Write(lambda connection: put_record(connection, record, now_us)))
