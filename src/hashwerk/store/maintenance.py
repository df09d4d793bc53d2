"""What keeps the ledger small: packing old groups, removing what the settings say, giving pages back to the
disk.

Reading and compressing happen on a thread of their own; each change is one short transaction in the writer's
queue, so a share never waits for more than one of them.
"""

from __future__ import annotations

import logging
import sqlite3
from collections.abc import Callable
from concurrent.futures import Future
from contextlib import closing
from functools import partial
from pathlib import Path
from threading import Event, Thread
from typing import Any, Final

from hashwerk.clock import Clock
from hashwerk.errors import StoreError
from hashwerk.store import fate_groups
from hashwerk.store.codec import COLUMNS, RAW, decode_ids, decode_shares, encode_shares
from hashwerk.store.connection import connect_reader, store_error
from hashwerk.store.rollup import HOUR_S, QUARTER_S, read_position
from hashwerk.store.settings import StoreSettings
from hashwerk.store.writes import Upkeep

log = logging.getLogger(__name__)

_DAY_S: Final = 86_400.0
_PACK_SHARES: Final = 16_384
_PACK_GROUPS: Final = 2_000
_CHUNK_ROWS: Final = 500
_VACUUM_PAGES: Final = 256
_VACUUM_ROUNDS: Final = 64
_SWEEP_INTERVAL_S: Final = 3_600.0

Change = Callable[[sqlite3.Connection], Any]


class Maintenance:
    """Runs the rounds. ``submit`` hands a change to the writer thread."""

    def __init__(
        self, path: Path, settings: StoreSettings, clock: Clock, submit: Callable[[Upkeep], None]
    ) -> None:
        self._path = path
        self._settings = settings
        self._clock = clock
        self._submit = submit
        self._stop = Event()
        self._thread: Thread | None = None
        self._next_sweep = 0.0

    def start(self) -> None:
        """Begin a round every `StoreSettings.maintenance_interval_s`."""
        self._thread = Thread(target=self._run, name="ledger-maintenance", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """End after the change that is under way. The writer must still run."""
        self._stop.set()
        if self._thread is not None:
            self._thread.join()
            self._thread = None

    def _run(self) -> None:
        while not self._stop.wait(self._settings.maintenance_interval_s):
            try:
                self.round()
            except StoreError as error:
                log.warning("maintenance of the ledger waits: %s", error)

    def round(self) -> None:
        """Do once all that is due.

        Raises:
            StoreError: If the file cannot be read, or the disk refuses a change.
        """
        connection = connect_reader(self._path)
        try:
            now = self._clock.time()
            self._pack(connection, now)
            self._pack_fates(connection, now)
            self._remove_shares(connection, now)
            self._remove_counts(now)
            self._remove_transactions(connection, now)
            self._remove_events()
            self._vacuum(connection)
        except sqlite3.Error as error:
            raise store_error(error, self._path, "maintenance failed") from error
        finally:
            connection.close()

    def _change(self, change: Change) -> Any:
        result: Future[Any] = Future()
        self._submit(Upkeep(change, result))
        return result.result()

    def _repeat(self, change: Callable[[sqlite3.Connection], int]) -> None:
        """Repeat a change of at most `_CHUNK_ROWS` rows until it finds no more."""
        while not self._stop.is_set() and self._change(change) >= _CHUNK_ROWS:
            continue

    # Compaction

    def _pack(self, connection: sqlite3.Connection, now: float) -> None:
        if self._settings.compact_after_h is None:
            return
        cutoff_us = int((now - self._settings.compact_after_h * 3_600) * 1e6)
        patience_us = int(_DAY_S * 1e6)
        while not self._stop.is_set():
            groups = self._unpacked(connection, cutoff_us)
            shares = sum(group[1] for group in groups)
            full = shares >= _PACK_SHARES or len(groups) == _PACK_GROUPS
            if not groups or not (full or groups[0][3] < cutoff_us - patience_us):
                return
            # One array of the joined bytes: thousands of small arrays would hold up every thread.
            records = decode_shares(b"".join([group[4] for group in groups]), RAW, shares)
            blob = encode_shares(records, COLUMNS)
            first, last = groups[0][0], groups[-1][0]
            row = (
                first,
                shares,
                min(group[2] for group in groups),
                max(group[3] for group in groups),
                blob,
                COLUMNS,
            )

            self._change(partial(_replace_groups, first=first, last=last, row=row))

    def _pack_fates(self, connection: sqlite3.Connection, now: float) -> None:
        if self._settings.compact_after_h is None:
            return
        cutoff_us = int((now - self._settings.compact_after_h * 3_600) * 1e6)
        while not self._stop.is_set() and fate_groups.pack(connection, cutoff_us, self._change):
            continue

    def _unpacked(
        self, connection: sqlite3.Connection, cutoff_us: int
    ) -> list[tuple[int, int, int, int, bytes]]:
        packed = connection.execute("SELECT value FROM meta WHERE key = 'packed_up_to'").fetchone()
        groups = []
        shares = 0
        # Closed before its end, or it would hold on to an old state of the file.
        with closing(
            connection.execute(
                "SELECT first_position, count, first_time_us, last_time_us, shares, encoding FROM share_groups"
                " WHERE first_position >= ? ORDER BY first_position LIMIT ?",
                (0 if packed is None else packed[0], _PACK_GROUPS),
            )
        ) as rows:
            for *group, encoding in rows:
                if group[3] >= cutoff_us or encoding != RAW or shares >= _PACK_SHARES:
                    break
                shares += group[1]
                groups.append((group[0], group[1], group[2], group[3], group[4]))
        return groups

    # Retention

    def _remove_shares(self, connection: sqlite3.Connection, now: float) -> None:
        if self._settings.keep_shares_days is None:
            return
        cutoff = now - self._settings.keep_shares_days * _DAY_S
        counted = read_position(connection)
        self._repeat(lambda writer: _remove_groups(writer, int(cutoff * 1e6), counted, now))
        self._repeat(lambda writer: fate_groups.remove(writer, int(cutoff * 1e6)))
        self._repeat(lambda writer: _delete_before(writer, "jobs", "created_at", cutoff))
        self._repeat(lambda writer: _delete_before(writer, "sessions", "ended_at", cutoff))
        # A template older than the oldest job's, by a margin, has no job left.
        self._repeat(
            lambda writer: (
                writer.execute(
                    "DELETE FROM templates WHERE id IN (SELECT id FROM templates WHERE received_at < ?"
                    " AND id < (SELECT template FROM jobs ORDER BY created_at LIMIT 1) ORDER BY id LIMIT ?)",
                    (cutoff - _DAY_S, _CHUNK_ROWS),
                ).rowcount
            )
        )

    def _remove_counts(self, now: float) -> None:
        cutoff = int(now - self._settings.keep_minutes_days * _DAY_S)
        self._repeat(
            lambda writer: (
                writer.execute(
                    "DELETE FROM rollups WHERE id IN"
                    " (SELECT id FROM rollups r WHERE step_s <= ? AND start_s < ? AND EXISTS"
                    " (SELECT 1 FROM rollups WHERE step_s = ? AND start_s = r.start_s - r.start_s % ?)"
                    " LIMIT ?)",
                    (QUARTER_S, cutoff, HOUR_S, HOUR_S, _CHUNK_ROWS),
                ).rowcount
            )
        )

    def _remove_transactions(self, connection: sqlite3.Connection, now: float) -> None:
        if now < self._next_sweep:
            return
        self._next_sweep = now + _SWEEP_INTERVAL_S
        cutoff = now - self._settings.keep_transactions_h * 3_600
        self._repeat(
            lambda writer: (
                writer.execute(
                    "UPDATE templates SET transaction_ids = NULL WHERE id IN (SELECT id FROM templates"
                    " WHERE transaction_ids IS NOT NULL AND received_at < ? LIMIT ?)",
                    (cutoff, _CHUNK_ROWS),
                ).rowcount
            )
        )
        # A template stored after this look may name any transaction again, so from then on nothing is
        # removed.
        newest = connection.execute("SELECT max(id) FROM templates").fetchone()[0]
        needed: set[int] = set()
        for (ids,) in connection.execute(
            "SELECT transaction_ids FROM templates WHERE transaction_ids IS NOT NULL AND received_at >= 0"
        ):
            needed.update(decode_ids(ids))
        known = connection.execute("SELECT id FROM template_transactions").fetchall()
        unneeded = [row for row in known if row[0] not in needed]
        for start in range(0, len(unneeded), _CHUNK_ROWS):
            rows = unneeded[start : start + _CHUNK_ROWS]
            if self._stop.is_set() or not self._change(
                partial(_delete_transactions, rows=rows, newest=newest)
            ):
                return

    def _remove_events(self) -> None:
        self._repeat(
            lambda writer: (
                writer.execute(
                    "DELETE FROM events WHERE id IN (SELECT id FROM events"
                    " WHERE id <= (SELECT max(id) FROM events) - ? ORDER BY id LIMIT ?)",
                    (self._settings.keep_events, _CHUNK_ROWS),
                ).rowcount
            )
        )

    def _vacuum(self, connection: sqlite3.Connection) -> None:
        """Give free pages back, a few at a time; some stay for the next commits."""
        for _ in range(_VACUUM_ROUNDS):
            free = connection.execute("PRAGMA freelist_count").fetchone()[0]
            if free <= _VACUUM_PAGES or self._stop.is_set():
                return
            self._change(_give_back_pages)


def _remove_groups(writer: sqlite3.Connection, cutoff_us: int, counted: int, now: float) -> int:
    """Remove the oldest groups that ended before the cutoff and put on record which positions are gone."""
    groups = writer.execute(
        "SELECT first_position, count, first_time_us, last_time_us FROM share_groups"
        " WHERE first_position + count <= ? ORDER BY first_position LIMIT ?",
        (counted, _CHUNK_ROWS),
    ).fetchall()
    old = []
    for group in groups:
        if group[3] >= cutoff_us:
            break
        old.append(group)
    if not old:
        return 0
    first, last = old[0][0], old[-1][0]
    writer.execute("DELETE FROM share_groups WHERE first_position BETWEEN ? AND ?", (first, last))
    first_time, last_time = min(group[2] for group in old), max(group[3] for group in old)
    before = writer.execute(
        "SELECT first_position, first_time_us FROM removals"
        " WHERE first_position + count = ? AND reason = 'retention'",
        (first,),
    ).fetchone()
    if before is not None:
        first, first_time = before
    writer.execute(
        "INSERT OR REPLACE INTO removals"
        " (first_position, count, first_time_us, last_time_us, removed_at, reason)"
        " VALUES (?,?,?,?,?,'retention')",
        (first, old[-1][0] + old[-1][1] - first, first_time, last_time, now),
    )
    return len(old)


def _delete_before(writer: sqlite3.Connection, table: str, column: str, cutoff: float) -> int:
    return writer.execute(
        f"DELETE FROM {table} WHERE id IN (SELECT id FROM {table} WHERE {column} < ? LIMIT ?)",  # noqa: S608
        (cutoff, _CHUNK_ROWS),
    ).rowcount


def _delete_transactions(writer: sqlite3.Connection, rows: list[tuple[int]], newest: int | None) -> bool:
    if writer.execute("SELECT max(id) FROM templates").fetchone()[0] != newest:
        return False
    writer.executemany("DELETE FROM template_transactions WHERE id = ?", rows)
    return True


def _replace_groups(writer: sqlite3.Connection, first: int, last: int, row: tuple[Any, ...]) -> None:
    writer.execute("DELETE FROM share_groups WHERE first_position BETWEEN ? AND ?", (first, last))
    writer.execute(
        "INSERT INTO share_groups (first_position, count, first_time_us, last_time_us, shares, encoding)"
        " VALUES (?,?,?,?,?,?)",
        row,
    )
    writer.execute("INSERT OR REPLACE INTO meta (key, value) VALUES ('packed_up_to', ?)", (row[0] + row[1],))


def _give_back_pages(writer: sqlite3.Connection) -> None:
    # The pragma's own count is of no use here: Python steps a statement without columns only once, which is
    # one page.
    for _ in range(_VACUUM_PAGES):
        writer.execute("PRAGMA incremental_vacuum(1)")
