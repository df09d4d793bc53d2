"""Changes of the site's keys in ledger and folder, so that a crash at any moment loses neither.

A change has three parts, each of them durable before the next begins: the new keys are laid down beside the old ones, in files
that bear the number of the key event they are for; the event is logged; the files in use follow it. The ledger alone says how far
it came: a file of a number that is not logged yet asks for that event, one of a number that is logged was left half done and is
finished when the keys are opened again. So nobody who asks a second time is taken for the first.
"""

from __future__ import annotations

import logging
import re
import sqlite3
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Final

import msgspec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from hashwerk.errors import EvidenceError, StoreError
from hashwerk.evidence.key_files import CURRENT, NEXT, SiteKeys, open_keys, read_key, write_key
from hashwerk.evidence.keys import KeyEvent, key_hash, public_bytes, revoke, rotate
from hashwerk.store import epochs
from hashwerk.store.connection import WriterLock, connect_reader, connect_writer, store_error
from hashwerk.store.migrations import migrate
from hashwerk.store.settings import StoreSettings

log = logging.getLogger(__name__)

_LEDGER: Final = "ledger.sqlite"
_NUMBERED: Final = re.compile(r"site-(?:after|heir|heir-after)-(\d+)\.key")

#: Called with the name of each step that was just made durable; tests end the process there.
Step = Callable[[str], None]


def no_step(_: str) -> None:
    """Do nothing."""


def after_file(folder: Path, number: int) -> Path:
    """Return where the key lies that a rotation of this number commits to. While it is not logged, it is asked for."""
    return folder / f"site-after-{number}.key"


def heir_file(folder: Path, number: int) -> Path:
    """Return where the key lies that a revocation of this number gives the right to sign to."""
    return folder / f"site-heir-{number}.key"


def heir_after_file(folder: Path, number: int) -> Path:
    """Return where the key lies that a revocation of this number commits to."""
    return folder / f"site-heir-after-{number}.key"


class KeyChange(msgspec.Struct, frozen=True):
    """A key event and its number; `store` makes it durable."""

    number: int
    event: KeyEvent

    def store(self, connection: sqlite3.Connection) -> None:
        """Write the event; the open epoch will name it. Writing it again changes nothing."""
        epochs.put_key_event(connection, self.number, self.event)


def ask_rotation(ledger: Path, folder: Path) -> int:
    """Ask a running mine for a rotation; return the number it will have. Asked again before it is logged, it stays one.

    Raises:
        EvidenceError: If the site has not begun, the keys sign for other chains too, or the disk refuses.
        StoreError: If the ledger cannot be read.
    """
    connection = connect_reader(ledger)
    try:
        events, _ = _end(connection)
    finally:
        connection.close()
    _check_alone(ledger, folder)
    _lay_down(folder, len(events))
    return len(events)


def is_asked(folder: Path, events: int) -> bool:
    """Return whether a rotation is asked for that is not among so many key events."""
    return after_file(folder, events).exists()


def asked_rotation(connection: sqlite3.Connection, folder: Path, now_us: int) -> KeyChange | None:
    """Return the rotation that was asked for; None: none was.

    Raises:
        EvidenceError: If the site has not begun, or the key at hand is not the one committed before.
    """
    events, number = _end(connection)
    if not is_asked(folder, len(events)):
        return None
    keys, after = open_keys(folder), read_key(after_file(folder, len(events)))
    at_us = max(now_us, events[-1].body.at_us)
    event = rotate(events[-1], keys.current, keys.next, public_bytes(after), from_epoch=number, now_us=at_us)
    return KeyChange(len(events), event)


def finish(connection: sqlite3.Connection, folder: Path, step: Step = no_step) -> SiteKeys:
    """Let the files in use follow the last key event, as far as they do not yet; return the keys.

    Raises:
        EvidenceError: If a file cannot be read or written, or the key that signs is nowhere.
    """
    events = epochs.read_key_events(connection)
    if not events:
        return open_keys(folder)
    body, number = events[-1].body, len(events) - 1

    def signs(key: Ed25519PrivateKey) -> bool:
        return public_bytes(key) == body.key

    def follows(key: Ed25519PrivateKey) -> bool:
        return key_hash(public_bytes(key)) == body.next_hash

    if not _follow(folder / CURRENT, (folder / NEXT, heir_file(folder, number)), signs, step):
        raise EvidenceError(
            f"{folder / CURRENT} is not the key that signs for this site; put the last backup back ('hashwerk key restore')"
            " or give the right to sign to a new key ('hashwerk key revoke')"
        )
    successors = after_file(folder, number), heir_after_file(folder, number)
    if not _follow(folder / NEXT, successors, follows, step):
        log.warning(
            "%s is not the key that was committed to follow: the key cannot be rotated", folder / NEXT
        )
        if not (folder / NEXT).exists():
            raise EvidenceError(f"{folder / NEXT} is missing; put the last backup back, or revoke the key")
        return open_keys(folder)
    for path in list(folder.iterdir()):
        found = _NUMBERED.fullmatch(path.name)
        if found and int(found[1]) <= number:
            path.unlink()
            step("tidied")
    return open_keys(folder)


def check_present(folder: Path) -> None:
    """Refuse to go on without the keys of a site that has begun, before anybody makes new ones in their place.

    Raises:
        EvidenceError: If a file is missing.
        StoreError: If a ledger of the folder cannot be read.
    """
    missing = [name for name in (CURRENT, NEXT) if not (folder / name).exists()]
    begun = next(_begun_chains(folder), None) if missing else None
    if begun is not None:
        raise EvidenceError(
            f"{folder / missing[0]} is missing, but {begun.name} has been signed for; put the last backup back"
            " ('hashwerk key restore'), or give the right to sign to a new key ('hashwerk key revoke')"
        )


def rotate_stopped(ledger: Path, folder: Path, now_us: int, step: Step = no_step) -> KeyEvent:
    """Rotate the key of a mine that does not run; what was asked for before is done.

    Raises:
        StoreError: If the mine runs, or the ledger cannot be written.
        EvidenceError: If the site has not begun, its keys do not fit, or they sign for other chains too.
    """
    with _Stopped(ledger) as connection:
        events, _ = _end(connection)
        _check_alone(ledger, folder)
        finish(connection, folder)
        _lay_down(folder, len(events))
        step("asked")
        change = asked_rotation(connection, folder, now_us)
        assert change is not None
        return _apply(connection, folder, change, step)


def revoke_stopped(
    ledger: Path, folder: Path, recovery: Ed25519PrivateKey, now_us: int, step: Step = no_step
) -> KeyEvent:
    """Take the right to sign from the present key with the recovery key, and give it to a new one.

    The files of the present key and the next one need not be there.

    Raises:
        StoreError: If the mine runs, or the ledger cannot be written.
        EvidenceError: If this is not the recovery key committed at the beginning, or the keys sign for other chains too.
    """
    with _Stopped(ledger) as connection:
        events, epoch = _end(connection)
        if key_hash(public_bytes(recovery)) != events[0].body.recovery:
            raise EvidenceError("this is not the recovery key that was committed at the beginning")
        _check_alone(ledger, folder)
        heir, after = Ed25519PrivateKey.generate(), Ed25519PrivateKey.generate()
        write_key(heir_file(folder, len(events)), heir)
        write_key(heir_after_file(folder, len(events)), after)
        step("asked")
        at_us = max(now_us, events[-1].body.at_us)
        event = revoke(events[-1], recovery, heir, public_bytes(after), from_epoch=epoch, now_us=at_us)
        return _apply(connection, folder, KeyChange(len(events), event), step)


def _apply(connection: sqlite3.Connection, folder: Path, change: KeyChange, step: Step) -> KeyEvent:
    connection.execute("BEGIN IMMEDIATE")
    try:
        change.store(connection)
    except BaseException:
        connection.execute("ROLLBACK")
        raise
    connection.execute("COMMIT")
    step("logged")
    finish(connection, folder, step)
    return change.event


def _lay_down(folder: Path, number: int) -> None:
    if not after_file(folder, number).exists():
        write_key(after_file(folder, number), Ed25519PrivateKey.generate())


def _follow(
    path: Path, candidates: tuple[Path, ...], fits: Callable[[Ed25519PrivateKey], bool], step: Step
) -> bool:
    """Put the key that fits in its place; return whether there is one."""
    if path.exists() and fits(read_key(path)):
        return True
    for candidate in candidates:
        if candidate.exists() and fits(key := read_key(candidate)):
            write_key(path, key)
            step(path.name)
            return True
    return False


def _end(connection: sqlite3.Connection) -> tuple[tuple[KeyEvent, ...], int]:
    """Return the key events, and the number of the open epoch."""
    events, last = epochs.read_key_events(connection), epochs.last_epoch(connection)
    if not events or last is None:
        raise EvidenceError("the site has not begun: nothing was signed yet, so there is nothing to change")
    return events, last.signed.header.number + 1


def _check_alone(ledger: Path, folder: Path) -> None:
    """Refuse a change that another chain of the folder, which is signed with the same keys, would not know of.

    Raises:
        EvidenceError: If there is one.
    """
    for other in _begun_chains(folder):
        if other != ledger.parent:
            raise EvidenceError(
                f"the keys in {folder} sign for {other.name} too; move {other} into a data folder of its own, with a copy of"
                " the site*.key files, and change the key then"
            )


def _begun_chains(folder: Path) -> Iterator[Path]:
    """Yield the folders of the chains that something was signed for."""
    for path in sorted(folder.glob(f"*/{_LEDGER}")):
        connection = connect_reader(path)
        try:
            if connection.execute("SELECT 1 FROM sqlite_master WHERE name = 'key_events'").fetchone() and (
                epochs.read_key_events(connection)
            ):
                yield path.parent
        except sqlite3.Error as error:
            raise store_error(error, path, "cannot be read") from error
        finally:
            connection.close()


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
