"""Connections to the ledger's file: one writer, any number of readers, and one lock that keeps it so."""

from __future__ import annotations

import errno
import fcntl
import os
import sqlite3
import time
from pathlib import Path
from typing import Final

from hashwerk.errors import StoreError, StoreFullError
from hashwerk.store.settings import StoreSettings

# STRICT tables came with 3.37.
MIN_SQLITE: Final = (3, 37, 0)
_LOCK_POLL_S: Final = 0.02
# Primary result codes (https://sqlite.org/rescode.html).
_BUSY, _LOCKED, _IOERR, _CORRUPT, _FULL, _NOTADB = 5, 6, 10, 11, 13, 26


def store_error(error: sqlite3.Error, path: Path, what: str) -> StoreError:
    """Return the ledger's own error for one of SQLite's; it names the file and says what was tried."""
    code = getattr(error, "sqlite_errorcode", 0) & 0xFF
    if code == _FULL:
        return StoreFullError(f"{path}: {what}: no room left on the disk")
    if code == _IOERR:
        return StoreFullError(
            f"{path}: {what}: the disk refused ({getattr(error, 'sqlite_errorname', error)})"
        )
    if code in {_BUSY, _LOCKED}:
        return StoreError(f"{path}: {what}: the database is locked by another process")
    if code in {_CORRUPT, _NOTADB}:
        return StoreError(f"{path}: {what}: the file is damaged or not a database ({error})")
    return StoreError(f"{path}: {what}: {error}")


class WriterLock:
    """The right to write the ledger, held for as long as the process lives and no longer.

    SQLite's own locks last a transaction; identifiers given out in memory need one owner all the time.
    """

    __slots__ = ("_fd", "_path", "_target")

    def __init__(self, target: Path) -> None:
        self._target = target
        self._path = target.with_name(target.name + ".lock")
        self._fd: int | None = None

    def acquire(self, timeout_s: float) -> None:
        """Take the lock, waiting for a predecessor to let go.

        Raises:
            StoreError: If another process still holds it after ``timeout_s``; the message names file and
            process.
        """
        deadline = time.monotonic() + timeout_s
        try:
            fd = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except OSError as error:
            raise StoreError(f"{self._path}: cannot be opened: {error.strerror}") from error
        while True:
            try:
                fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except OSError as error:
                if error.errno not in {errno.EAGAIN, errno.EACCES}:
                    os.close(fd)
                    raise StoreError(f"{self._path}: cannot be locked: {error.strerror}") from error
                if time.monotonic() >= deadline:
                    owner = os.pread(fd, 32, 0).decode("ascii", "replace").strip() or "unknown"
                    os.close(fd)
                    raise StoreError(f"{self._target}: the ledger is locked by process {owner}") from error
                time.sleep(_LOCK_POLL_S)
        self._fd = fd
        try:
            os.ftruncate(fd, 0)
            os.pwrite(fd, f"{os.getpid()}\n".encode(), 0)
        except OSError:
            # The number is for people only; on a full disk the lock holds all the same.
            return

    def release(self) -> None:
        """Let go; the file stays, since removing it could lock out a successor who already waits."""
        if self._fd is not None:
            os.close(self._fd)
            self._fd = None


def connect_writer(path: Path, settings: StoreSettings) -> sqlite3.Connection:
    """Return the one writing connection: WAL, every commit synced.

    Only this connection ever checkpoints: SQLite before 3.51.3 can lose frames when two connections do so at
    once.

    Raises:
        StoreError: If the file cannot be opened.
    """
    if sqlite3.sqlite_version_info < MIN_SQLITE:
        raise StoreError(f"SQLite {sqlite3.sqlite_version} is too old; 3.37 is needed")
    try:
        connection = sqlite3.connect(
            path, timeout=settings.lock_timeout_s, isolation_level=None, check_same_thread=False
        )
    except sqlite3.Error as error:
        raise store_error(error, path, "cannot be opened") from error
    try:
        # Takes effect on a new file only; it lets retention give pages back without rewriting the file.
        connection.execute("PRAGMA auto_vacuum = INCREMENTAL")
        mode = connection.execute("PRAGMA journal_mode = WAL").fetchone()[0]
        if mode != "wal":
            raise StoreError(f"{path}: this file system cannot hold a write-ahead log (journal mode {mode})")
        connection.execute("PRAGMA synchronous = FULL")
        # macOS: fsync alone leaves data in the drive's cache. Elsewhere these two do nothing.
        connection.execute("PRAGMA fullfsync = ON")
        connection.execute("PRAGMA checkpoint_fullfsync = ON")
        connection.execute(f"PRAGMA wal_autocheckpoint = {settings.checkpoint_pages}")
        connection.execute("PRAGMA secure_delete = OFF")
        connection.execute("PRAGMA cache_size = -16384")
        connection.execute("PRAGMA temp_store = MEMORY")
    except sqlite3.Error as error:
        connection.close()
        raise store_error(error, path, "cannot be opened") from error
    except StoreError:
        connection.close()
        raise
    return connection


def connect_reader(path: Path, timeout_s: float = 5.0) -> sqlite3.Connection:
    """Return a connection that cannot write and never checkpoints; it works while another process writes.

    Raises:
        StoreError: If there is no ledger at this path, or it cannot be read.
    """
    if not path.exists():
        raise StoreError(f"{path}: there is no ledger here yet")
    try:
        connection = sqlite3.connect(
            f"{path.absolute().as_uri()}?mode=ro",
            uri=True,
            timeout=timeout_s,
            isolation_level=None,
            check_same_thread=False,
        )
        connection.execute("PRAGMA query_only = ON")
    except sqlite3.Error as error:
        raise store_error(error, path, "cannot be opened for reading") from error
    return connection
