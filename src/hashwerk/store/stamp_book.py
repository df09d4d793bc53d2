"""External time on disk: the stamps of this site's epochs, and what this site has witnessed for others.

Resource handling:
    One file, `stamps.sqlite`, beside the ledger, one writer; what is put is on disk when the call returns. Readers need no
    permission to write. Calls block and may come from any thread.
"""

from __future__ import annotations

import sqlite3
from pathlib import Path
from typing import Any, Final, NamedTuple

from hashwerk.evidence.bundle import Stamp
from hashwerk.evidence.epoch import SIGNED_HEADER, SignedHeader
from hashwerk.evidence.witness import Asked
from hashwerk.store.connection import connect_reader, store_error
from hashwerk.store.migrations import FileKind
from hashwerk.store.owned_file import OwnedFile
from hashwerk.store.settings import StoreSettings

#: The file's name, beside the ledger.
NAME: Final = "stamps.sqlite"
#: The file's application id, "HWST".
STAMPS: Final = FileKind("book of stamps", 0x48575354)
_V1: Final = """
CREATE TABLE stamps (
    id INTEGER PRIMARY KEY, epoch INTEGER NOT NULL, kind INTEGER NOT NULL, service TEXT NOT NULL, at_us INTEGER NOT NULL,
    waits INTEGER NOT NULL, data BLOB NOT NULL, UNIQUE (epoch, service)) STRICT;
CREATE INDEX stamps_waiting ON stamps (service) WHERE waits;
CREATE TABLE witnessed (
    site BLOB NOT NULL, number INTEGER NOT NULL, header BLOB NOT NULL, statement BLOB NOT NULL, at_us INTEGER NOT NULL,
    PRIMARY KEY (site, number)) STRICT, WITHOUT ROWID;
CREATE TABLE equivocations (
    id INTEGER PRIMARY KEY, site BLOB NOT NULL, at_us INTEGER NOT NULL, first BLOB NOT NULL, second BLOB NOT NULL,
    UNIQUE (first, second)) STRICT;
"""
SCRIPTS: Final = (_V1,)
#: A site that shows contradictions again and again fills no disk: so many are kept of each.
MOST_EQUIVOCATIONS: Final = 16


class KeptStamp(NamedTuple):
    """A stamp, who gave it, and whether it waits for its block."""

    stamp: Stamp
    service: str
    waits: bool
    at_us: int


class Witnessed(NamedTuple):
    """An epoch that this site signed for."""

    number: int
    header: SignedHeader
    statement: bytes
    at_us: int


class Equivocation(NamedTuple):
    """Two signed headers of one site that cannot both be."""

    site: bytes
    first: bytes
    second: bytes
    at_us: int


class StampBook:
    """The writer's side."""

    def __init__(self, path: Path, settings: StoreSettings | None = None) -> None:
        self._file = OwnedFile(path, STAMPS, SCRIPTS, settings)

    def open(self) -> None:
        """Open the file, and make it where there is none.

        Raises:
            StoreError: If it cannot be used.
        """
        self._file.open()

    def put(self, stamp: Stamp, service: str, now_us: int, *, waits: bool = False) -> None:
        """Keep a stamp, in place of an earlier one of the same epoch by the same service.

        Raises:
            StoreError: If it could not be written.
        """
        self._write(
            "INSERT INTO stamps (epoch, kind, service, at_us, waits, data) VALUES (?, ?, ?, ?, ?, ?)"
            " ON CONFLICT (epoch, service) DO UPDATE SET data = excluded.data, waits = excluded.waits",
            (stamp.epoch, int(stamp.kind), service, now_us, int(waits), stamp.data),
        )

    def last_of(self, service: str) -> KeptStamp | None:
        """Return the newest stamp of a service.

        Raises:
            StoreError: If it cannot be read.
        """
        found = self._kept("WHERE service = ? ORDER BY epoch DESC LIMIT 1", (service,))
        return found[0] if found else None

    def waiting(self, service: str) -> list[KeptStamp]:
        """Return the stamps of a service that wait for their block, the oldest first.

        Raises:
            StoreError: If they cannot be read.
        """
        return self._kept("WHERE service = ? AND waits ORDER BY epoch LIMIT 100", (service,))

    def around(self, asked: Asked) -> dict[int, SignedHeader]:
        """Return the epochs of a site that were signed for: those around the one that is asked for, and the last.

        Raises:
            StoreError: If they cannot be read.
        """
        rows = self._read(
            "SELECT number, header FROM witnessed WHERE site = ?1 AND (number BETWEEN ?2 - 1 AND ?2 + 1"
            " OR number = (SELECT max(number) FROM witnessed WHERE site = ?1))",
            (asked.site, asked.number),
        )
        return {row[0]: SIGNED_HEADER.decode(row[1]) for row in rows}

    def statement(self, asked: Asked) -> bytes | None:
        """Return what was said of an epoch.

        Raises:
            StoreError: If it cannot be read.
        """
        rows = self._read(
            "SELECT statement FROM witnessed WHERE site = ? AND number = ?", (asked.site, asked.number)
        )
        return bytes(rows[0][0]) if rows else None

    def witness(self, asked: Asked, statement: bytes, now_us: int) -> None:
        """Keep that an epoch was signed for, before anybody has the statement.

        Raises:
            StoreError: If it could not be written: then nothing may be given out.
        """
        header = SIGNED_HEADER.encode(asked.signed)
        self._write(
            "INSERT INTO witnessed VALUES (?, ?, ?, ?, ?)",
            (asked.site, asked.number, header, statement, now_us),
        )

    def convict(self, site: bytes, first: SignedHeader, second: SignedHeader, now_us: int) -> None:
        """Keep the proof that a site signed two histories.

        Raises:
            StoreError: If it could not be written.
        """
        self._write(
            "INSERT OR IGNORE INTO equivocations (site, at_us, first, second) SELECT ?1, ?2, ?3, ?4"
            " WHERE (SELECT count(*) FROM equivocations WHERE site = ?1) < ?5",
            (site, now_us, SIGNED_HEADER.encode(first), SIGNED_HEADER.encode(second), MOST_EQUIVOCATIONS),
        )

    def equivocations(self) -> list[Equivocation]:
        """Return the proofs that are kept.

        Raises:
            StoreError: If they cannot be read.
        """
        rows = self._read("SELECT site, first, second, at_us FROM equivocations ORDER BY id", ())
        return [Equivocation(*row) for row in rows]

    def newest_witnessed(self) -> dict[bytes, Witnessed]:
        """Return the last epoch of each site that was signed for.

        Raises:
            StoreError: If they cannot be read.
        """
        rows = self._read(
            "SELECT site, max(number), header, statement, at_us FROM witnessed GROUP BY site", ()
        )
        return {row[0]: Witnessed(row[1], SIGNED_HEADER.decode(row[2]), row[3], row[4]) for row in rows}

    def close(self) -> None:
        """Close the file."""
        self._file.close()

    def _kept(self, where: str, values: tuple[object, ...]) -> list[KeptStamp]:
        rows = self._read(f"SELECT epoch, kind, data, service, waits, at_us FROM stamps {where}", values)  # noqa: S608
        return [_kept_stamp(row) for row in rows]

    def _read(self, query: str, values: tuple[object, ...]) -> list[tuple[Any, ...]]:
        with self._file.reading("reading stamps") as connection:
            return connection.execute(query, values).fetchall()

    def _write(self, query: str, values: tuple[object, ...]) -> None:
        with self._file.writing("keeping a stamp") as connection:
            connection.execute(query, values)


def read_kept(ledger: Path, first: int, last: int) -> tuple[KeptStamp, ...]:
    """Return the stamps of the epochs ``first`` … ``last`` that lie beside a ledger. No file, no stamps.

    Raises:
        StoreError: If the file cannot be read.
    """
    path = ledger.with_name(NAME)
    if not path.exists():
        return ()
    connection = connect_reader(path)
    try:
        rows = connection.execute(
            "SELECT epoch, kind, data, service, waits, at_us FROM stamps WHERE epoch BETWEEN ? AND ? ORDER BY epoch, id",
            (first, last),
        ).fetchall()
    except sqlite3.Error as error:
        raise store_error(error, path, "reading stamps") from error
    finally:
        connection.close()
    return tuple(_kept_stamp(row) for row in rows)


def stamps_beside(connection: sqlite3.Connection, first: int, last: int) -> tuple[KeptStamp, ...]:
    """Return the stamps of the epochs ``first`` … ``last`` that lie beside the ledger of a connection.

    Raises:
        StoreError: If the file cannot be read.
    """
    file = connection.execute("SELECT file FROM pragma_database_list WHERE name = 'main'").fetchone()[0]
    return read_kept(Path(file), first, last) if file else ()


def _kept_stamp(row: tuple[Any, ...]) -> KeptStamp:
    return KeptStamp(Stamp(epoch=row[0], kind=row[1], data=row[2]), row[3], bool(row[4]), row[5])
