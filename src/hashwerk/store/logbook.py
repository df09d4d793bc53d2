"""What other processes have to say to the evidence: records in a file of their own, taken by whoever closes epochs.

Resource handling:
    One file, `logbook.sqlite`, one writer at a time. An entry is on disk when `append` returns. Readers need no permission to
    write and are in nobody's way.

An entry's number only ever grows, over restarts and even if the file was lost and begun anew: it is the time in microseconds, or
one more than the last. So a reader that goes on from a number takes every entry once and none twice.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Mapping, Sequence
from itertools import takewhile
from pathlib import Path
from typing import Final, NamedTuple

from hashwerk.errors import StoreError
from hashwerk.evidence.leaf import encode_record, record_sums
from hashwerk.evidence.records import Record
from hashwerk.store.connection import connect_reader, store_error
from hashwerk.store.migrations import FileKind
from hashwerk.store.owned_file import OwnedFile
from hashwerk.store.settings import StoreSettings

#: The file's name, beside the ledger.
NAME: Final = "logbook.sqlite"
#: The file's application id, "HWLB".
LOGBOOK: Final = FileKind("logbook", 0x48574C42)
_V1: Final = """
CREATE TABLE entries (id INTEGER PRIMARY KEY, at_us INTEGER NOT NULL, record BLOB NOT NULL) STRICT;
CREATE TABLE kept (name TEXT PRIMARY KEY, value BLOB NOT NULL) STRICT, WITHOUT ROWID;
"""
SCRIPTS: Final = (_V1,)
#: Kept under this name: everything up to that time, in microseconds, is logged.
THROUGH: Final = "through"
#: An epoch takes so many entries at most; the rest goes to the next one.
MOST_ENTRIES: Final = 16_384


class Entry(NamedTuple):
    """A record and its number in the logbook."""

    id: int
    record: bytes


class Logbook:
    """The writer's side. Its calls block until the disk has them; they may come from any thread."""

    def __init__(self, path: Path, settings: StoreSettings | None = None) -> None:
        self.path = Path(path)
        self._file = OwnedFile(path, LOGBOOK, SCRIPTS, settings)

    def open(self) -> None:
        """Open the file, and make it where there is none.

        Raises:
            StoreError: If it cannot be used.
        """
        self._file.open()

    def append(self, records: Sequence[Record], now_us: int, kept: Mapping[str, bytes] | None = None) -> None:
        """Log records, and remember with them where the writer goes on: all of it or nothing.

        Args:
            records: What becomes leaves of the epoch that is open at ``now_us``.
            now_us: The time.
            kept: Values by name, for `kept` after a restart.

        Raises:
            StoreError: If it could not be written; nothing was.
            EvidenceError: If a field of a record does not fit, or a register runs backwards: no epoch could be closed with it.
        """
        for record in records:
            record_sums(record)
        rows = [encode_record(record) for record in records]
        with self._file.writing("logging evidence") as connection:
            last = connection.execute("SELECT coalesce(max(id), 0) FROM entries").fetchone()[0]
            first = max(last + 1, now_us)
            connection.executemany(
                "INSERT INTO entries VALUES (?, ?, ?)",
                ((first + index, now_us, row) for index, row in enumerate(rows)),
            )
            connection.executemany("INSERT OR REPLACE INTO kept VALUES (?, ?)", (kept or {}).items())

    def kept(self) -> dict[str, bytes]:
        """Return the values by name, as last appended.

        Raises:
            StoreError: If they cannot be read.
        """
        with self._file.reading("reading the logbook") as connection:
            return dict(connection.execute("SELECT name, value FROM kept"))

    def close(self) -> None:
        """Close the file."""
        self._file.close()


def read_entries(path: Path, after: int, before_us: int) -> list[Entry]:
    """Return the entries that follow number ``after``, up to the first that was logged at or after ``before_us``.

    An entry behind that one waits for it, whatever its time: a clock that was set back loses nothing. No file, no entries.

    Raises:
        StoreError: If the file cannot be read.
    """
    if not path.exists():
        return []
    connection = connect_reader(path)
    try:
        rows = connection.execute(
            "SELECT at_us, id, record FROM entries WHERE id > ? ORDER BY id LIMIT ?", (after, MOST_ENTRIES)
        )
        return [Entry(row[1], row[2]) for row in takewhile(lambda row: row[0] < before_us, rows)]
    except sqlite3.Error as error:
        raise store_error(error, path, "reading the logbook") from error
    finally:
        connection.close()


def logged_through(path: Path) -> int | None:
    """Return up to which time the writer has logged everything, in microseconds; None: it does not say.

    Raises:
        StoreError: If the file cannot be read.
    """
    if not path.exists():
        return None
    connection = connect_reader(path)
    try:
        row = connection.execute("SELECT value FROM kept WHERE name = ?", (THROUGH,)).fetchone()
        return None if row is None else int(row[0])
    except (sqlite3.Error, ValueError) as error:
        if isinstance(error, sqlite3.Error):
            raise store_error(error, path, "reading the logbook") from error
        raise StoreError(f"{path}: up to when it is complete is damaged") from error
    finally:
        connection.close()
