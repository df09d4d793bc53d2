"""A database file that one process owns: what all records beside the ledger have in common.

Resource handling:
    One file, one writing connection, one lock beside it that is held as long as it is open. Every call is one transaction, and a
    write is on disk when it returns. Calls block and may come from any thread.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from threading import Lock

import msgspec

from hashwerk.errors import StoreError
from hashwerk.store.connection import WriterLock, connect_writer, store_error
from hashwerk.store.migrations import FileKind, migrate
from hashwerk.store.settings import StoreSettings


class OwnedFile:
    """One file of a kind, brought to its newest schema when it is opened."""

    def __init__(
        self, path: Path, kind: FileKind, scripts: Sequence[str], settings: StoreSettings | None = None
    ) -> None:
        self.path = Path(path)
        self._kind = kind
        self._scripts = scripts
        self._settings = settings or StoreSettings()
        self._owner = WriterLock(self.path)
        self._lock = Lock()
        self._connection: sqlite3.Connection | None = None

    def open(self) -> None:
        """Open the file, and make it where there is none.

        Raises:
            StoreError: If it cannot be used, or another process has it.
        """
        self._owner.acquire(self._settings.lock_timeout_s)
        try:
            self._connection = connect_writer(self.path, self._settings)
            migrate(self._connection, self.path, self._scripts, self._kind)
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        """Close the file and let go of it."""
        with self._lock:
            if self._connection is not None:
                self._connection.close()
            self._connection = None
        self._owner.release()

    @contextmanager
    def writing(self, what: str) -> Iterator[sqlite3.Connection]:
        """Give the connection for one transaction: all of it is on disk at the end, or nothing.

        Args:
            what: Is being done, for the error.

        Raises:
            StoreError: If it could not be written.
        """
        with self._lock:
            connection = self._opened(what)
            try:
                connection.execute("BEGIN IMMEDIATE")
                yield connection
                connection.execute("COMMIT")
            except BaseException as error:
                if connection.in_transaction:
                    connection.execute("ROLLBACK")
                if isinstance(error, sqlite3.Error):
                    raise store_error(error, self.path, what) from error
                raise

    @contextmanager
    def reading(self, what: str) -> Iterator[sqlite3.Connection]:
        """Give the connection for a look at what is there.

        Args:
            what: Is being done, for the error.

        Raises:
            StoreError: If it cannot be read.
        """
        with self._lock:
            try:
                yield self._opened(what)
            except sqlite3.Error as error:
                raise store_error(error, self.path, what) from error
            except msgspec.DecodeError as error:
                raise StoreError(f"{self.path}: {what}: {error}") from error

    def _opened(self, what: str) -> sqlite3.Connection:
        if self._connection is None:
            raise StoreError(f"{self.path}: {what}: the {self._kind.name} is not open")
        return self._connection
