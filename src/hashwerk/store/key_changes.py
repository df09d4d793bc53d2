"""Changes of the site's keys in ledger and folder, so that a crash at any moment loses neither.

A rotation is asked for by laying down the key that will follow the next one (`site-after.key`); whoever writes the ledger logs
the event, and only then the files change places. What a crash leaves half done is finished when the keys are opened again.
"""

from __future__ import annotations

import sqlite3
from pathlib import Path
from typing import Final

import msgspec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from hashwerk.errors import EvidenceError, StoreError
from hashwerk.evidence.key_files import CURRENT, NEXT, SiteKeys, open_keys, read_key, write_key
from hashwerk.evidence.keys import KeyEvent, key_hash, public_bytes, revoke, rotate
from hashwerk.store import epochs
from hashwerk.store.connection import WriterLock, connect_writer
from hashwerk.store.migrations import migrate
from hashwerk.store.settings import StoreSettings

#: The key after the next one. While it lies there, a rotation is asked for or half done.
AFTER: Final = "site-after.key"
#: The key that a revocation gives the right to sign to, until it has it.
HEIR: Final = "site-heir.key"


class KeyChange(msgspec.Struct, frozen=True):
    """A key event and its number; `store` makes it durable."""

    number: int
    event: KeyEvent
    at_us: int  # within the open epoch

    def store(self, connection: sqlite3.Connection) -> None:
        """Write the event; the open epoch will name it. Writing it again changes nothing."""
        epochs.put_key_event(connection, self.number, self.event)


def ask_rotation(folder: Path) -> None:
    """Lay down the key that will follow the next one: the rotation happens with the next epoch.

    Raises:
        EvidenceError: If the disk refuses.
    """
    if not (folder / AFTER).exists():
        write_key(folder / AFTER, Ed25519PrivateKey.generate())


def asked_rotation(connection: sqlite3.Connection, folder: Path, now_us: int) -> KeyChange | None:
    """Return the rotation that was asked for; None: none was, or it is logged already.

    Raises:
        EvidenceError: If the site has not begun, or the key at hand is not the one committed before.
    """
    if not (folder / AFTER).exists():
        return None
    events, number, start_us = _end(connection)
    keys, after = open_keys(folder), read_key(folder / AFTER)
    if key_hash(public_bytes(after)) == events[-1].body.next_hash:
        return None
    at_us = max(now_us, events[-1].body.at_us)
    event = rotate(events[-1], keys.current, keys.next, public_bytes(after), from_epoch=number, now_us=at_us)
    return KeyChange(len(events), event, start_us)


def finish(connection: sqlite3.Connection, folder: Path) -> SiteKeys:
    """Let the files follow the last key event, as far as they do not yet; return the keys.

    Raises:
        EvidenceError: If a file cannot be read or written.
    """
    events = epochs.read_key_events(connection)
    if events and (folder / AFTER).exists():
        after = read_key(folder / AFTER)
        if key_hash(public_bytes(after)) == events[-1].body.next_hash:
            heir = read_key(folder / HEIR) if (folder / HEIR).exists() else None
            if heir is None or public_bytes(heir) != events[-1].body.key:
                keys = open_keys(folder)
                heir = keys.next if public_bytes(keys.next) == events[-1].body.key else keys.current
            write_key(folder / CURRENT, heir)
            write_key(folder / NEXT, after)
            (folder / AFTER).unlink()
            (folder / HEIR).unlink(missing_ok=True)
    return open_keys(folder)


def rotate_stopped(ledger: Path, folder: Path, now_us: int) -> KeyEvent:
    """Rotate the key of a mine that does not run; what was asked for before is done.

    Raises:
        StoreError: If the mine runs, or the ledger cannot be written.
        EvidenceError: If the site has not begun, or its keys do not fit.
    """
    with _Stopped(ledger) as connection:
        finish(connection, folder)
        ask_rotation(folder)
        change = asked_rotation(connection, folder, now_us)
        assert change is not None
        return _apply(connection, folder, change)


def revoke_stopped(ledger: Path, folder: Path, recovery: Ed25519PrivateKey, now_us: int) -> KeyEvent:
    """Take the right to sign from the present key with the recovery key, and give it to a new one.

    Raises:
        StoreError: If the mine runs, or the ledger cannot be written.
        EvidenceError: If this is not the recovery key committed at the beginning.
    """
    with _Stopped(ledger) as connection:
        events, number, start_us = _end(connection)
        if key_hash(public_bytes(recovery)) != events[0].body.recovery:
            raise EvidenceError("this is not the recovery key that was committed at the beginning")
        finish(connection, folder)
        heir, after = Ed25519PrivateKey.generate(), Ed25519PrivateKey.generate()
        write_key(folder / HEIR, heir)
        write_key(folder / AFTER, after)
        at_us = max(now_us, events[-1].body.at_us)
        event = revoke(events[-1], recovery, heir, public_bytes(after), from_epoch=number, now_us=at_us)
        return _apply(connection, folder, KeyChange(len(events), event, start_us))


def _apply(connection: sqlite3.Connection, folder: Path, change: KeyChange) -> KeyEvent:
    connection.execute("BEGIN IMMEDIATE")
    try:
        change.store(connection)
    except BaseException:
        connection.execute("ROLLBACK")
        raise
    connection.execute("COMMIT")
    finish(connection, folder)
    return change.event


def _end(connection: sqlite3.Connection) -> tuple[tuple[KeyEvent, ...], int, int]:
    """Return the key events, and number and begin of the open epoch."""
    events, last = epochs.read_key_events(connection), epochs.last_epoch(connection)
    if not events or last is None:
        raise EvidenceError("the site has not begun: nothing was signed yet, so there is nothing to change")
    return events, last.signed.header.number + 1, last.signed.header.end_us


class _Stopped:
    """The ledger of a mine that does not run."""

    def __init__(self, ledger: Path) -> None:
        self._path = ledger
        self._lock = WriterLock(ledger)

    def __enter__(self) -> sqlite3.Connection:
        if not self._path.exists():
            raise StoreError(f"{self._path}: there is no ledger")
        self._lock.acquire(0.0)
        try:
            self._connection = connect_writer(self._path, StoreSettings())
            migrate(self._connection, self._path)
        except BaseException:
            self._lock.release()
            raise
        return self._connection

    def __exit__(self, *_: object) -> None:
        self._connection.close()
        self._lock.release()
