"""The writer thread: it drains the queue into one transaction after another, and says what became of each.

While the disk syncs one group the next one gathers, so groups grow with the load by themselves.
"""

from __future__ import annotations

import logging
import sqlite3
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from queue import Empty, SimpleQueue

import numpy as np

from hashwerk.clock import Clock
from hashwerk.errors import StoreError
from hashwerk.store.codec import RAW
from hashwerk.store.connection import store_error
from hashwerk.store.rollup import MINUTE_S, Rollup
from hashwerk.store.settings import StoreSettings
from hashwerk.store.writes import Append, Entry, Upkeep, Write
from hashwerk.stratum.ports import ShareRecords
from hashwerk.work.share import SHARE_DTYPE

log = logging.getLogger(__name__)

_IDLE_S = 0.25
_ROLLUP_GRACE_S = 1.0
_ROLLUP_AT = 2_000_000
NO_SHARES: ShareRecords = np.empty(0, SHARE_DTYPE)


@dataclass(slots=True)
class Group:
    """What one commit held, and what became of it."""

    writes: list[Write] = field(default_factory=list)
    appends: list[Append] = field(default_factory=list)
    shares: ShareRecords = field(default_factory=lambda: NO_SHARES)
    error: StoreError | None = None
    sync_s: float = 0.0  # COMMIT alone: write the log's frames and sync them
    first_position: int = 0


class Writer:
    """Everything that runs on the writer thread. It alone uses the writing connection while it runs."""

    def __init__(
        self,
        connection: sqlite3.Connection,
        path: Path,
        settings: StoreSettings,
        clock: Clock,
        *,
        next_position: int,
        rollup: Rollup,
        finished: Callable[[Group], None],
    ) -> None:
        self.queue: SimpleQueue[Entry] = SimpleQueue()
        self._connection = connection
        self._path = path
        self._settings = settings
        self._clock = clock
        self._next_position = next_position
        self._rollup = rollup
        self._finished = finished
        self._unwritten: list[Write] = []  # refused by the disk, to be tried again
        self._stopping = False
        self._mistake = ""  # the last one logged; it is tried again many times
        self._next_rollup = self._minute_end()

    def run(self) -> None:
        """Write until told to stop, then once more what is left."""
        while not self._stopping:
            group, upkeep = self._gather()
            if group.writes or group.appends:
                self._commit_group(group)
                self._finished(group)
            for task in upkeep:
                self._maintain(task)
            if self._clock.time() >= self._next_rollup or self._rollup.waiting >= _ROLLUP_AT:
                self.roll_up()
        self.roll_up()

    @property
    def unwritten(self) -> int:
        """How many rows could not be written before the end."""
        return len(self._unwritten)

    def _gather(self) -> tuple[Group, list[Upkeep]]:
        group = Group(writes=self._unwritten)
        self._unwritten = []
        upkeep: list[Upkeep] = []
        shares = 0
        try:
            entry = self.queue.get(timeout=_IDLE_S)
            while True:
                if isinstance(entry, Append):
                    group.appends.append(entry)
                    shares += len(entry.shares)
                elif isinstance(entry, Write):
                    group.writes.append(entry)
                elif isinstance(entry, Upkeep):
                    upkeep.append(entry)
                else:
                    self._stopping = True
                    break
                if shares >= self._settings.max_group_shares:
                    break
                entry = self.queue.get_nowait()
        except Empty:
            pass
        batches = [append.shares for append in group.appends if len(append.shares)]
        if batches:
            group.shares = batches[0] if len(batches) == 1 else np.concatenate(batches)
        return group, upkeep

    def _commit_group(self, group: Group) -> None:
        group.first_position = self._next_position
        try:
            self._connection.execute("BEGIN IMMEDIATE")
            for write in group.writes:
                write.apply(self._connection)
            if len(group.shares):
                # What is counted and told further on is what was stored, whatever the caller does to its
                # array.
                blob = group.shares.tobytes()
                group.shares = np.frombuffer(blob, SHARE_DTYPE)
                self._insert_shares(group.shares, blob)
            started = time.perf_counter()
            self._connection.execute("COMMIT")
            group.sync_s = time.perf_counter() - started
        except (
            Exception
        ) as error:  # a mistake of ours must not end the thread with machines waiting for answers
            self._roll_back()
            group.error = self._error(error, "nothing of this group was stored")
            self._unwritten = group.writes
            return
        if len(group.shares):
            self._next_position += len(group.shares)
            self._rollup.add(group.shares)

    def _insert_shares(self, shares: ShareRecords, blob: bytes) -> None:
        times = shares["time_us"]
        self._connection.execute(
            "INSERT INTO share_groups (first_position, count, first_time_us, last_time_us, shares, encoding)"
            " VALUES (?,?,?,?,?,?)",
            (self._next_position, len(shares), int(times.min()), int(times.max()), blob, RAW),
        )

    def _maintain(self, task: Upkeep) -> None:
        if not task.result.set_running_or_notify_cancel():
            return
        try:
            self._connection.execute("BEGIN IMMEDIATE")
            value = task.apply(self._connection)
            self._connection.execute("COMMIT")
        except Exception as error:
            self._roll_back()
            task.result.set_exception(self._error(error, "maintenance failed"))
        else:
            task.result.set_result(value)

    def roll_up(self) -> None:
        """Write the counts that wait; on a full disk they go on waiting."""
        self._next_rollup = self._minute_end()
        if not self._rollup.waiting:
            return
        try:
            self._connection.execute("BEGIN IMMEDIATE")
            self._rollup.write(self._connection, self._clock.time())
            self._connection.execute("COMMIT")
        except Exception as error:
            self._roll_back()
            log.warning("counts wait: %s", self._error(error, "rollup failed"))
        else:
            self._rollup.written()

    def _error(self, error: Exception, what: str) -> StoreError:
        if isinstance(error, sqlite3.Error):
            return store_error(error, self._path, what)
        if str(error) != self._mistake:
            self._mistake = str(error)
            log.error("the ledger was given what it cannot store", exc_info=error)
        return StoreError(f"{self._path}: {what}: {error}")

    def _minute_end(self) -> float:
        now = self._clock.time()
        return now - now % MINUTE_S + MINUTE_S + _ROLLUP_GRACE_S

    def _roll_back(self) -> None:
        if self._connection.in_transaction:
            self._connection.execute("ROLLBACK")
