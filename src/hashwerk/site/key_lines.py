"""Which keys sign a site's evidence: the present one, the one that is committed to follow, and those before.

Only public keys and their hashes are read; private keys stay in their files.
"""

from __future__ import annotations

import sqlite3
from pathlib import Path

import msgspec

from hashwerk.errors import StoreError
from hashwerk.evidence.key_files import RECOVERY
from hashwerk.evidence.keys import REVOCATION, fingerprint
from hashwerk.store.connection import connect_reader, store_error
from hashwerk.store.epochs import read_key_events


class KeyLine(msgspec.Struct, frozen=True, kw_only=True):
    """A key of the site in one line."""

    role: str  # "signs", "next", "recovery", "before", "revoked"
    fingerprint: str
    since: float | None = None  # when it began; None: it has not
    from_epoch: int | None = None
    is_here: bool | None = None  # recovery: its file lies in the data folder; None: does not apply


def read_key_lines(ledger: Path, keys: Path) -> tuple[KeyLine, ...]:
    """Return the keys of a site, the present one first; nothing before the site has begun.

    Args:
        ledger: The ledger's database.
        keys: The folder of the key files.

    Raises:
        StoreError: If the ledger cannot be read.
    """
    if not ledger.exists():
        raise StoreError(f"{ledger}: there is no ledger yet")
    connection = connect_reader(ledger)
    try:
        events = read_key_events(connection)
    except sqlite3.Error as error:
        raise store_error(error, ledger, "the keys cannot be read") from error
    finally:
        connection.close()
    if not events:
        return ()
    lines = [
        KeyLine(
            role="signs",
            fingerprint=fingerprint(event.body.key),
            since=event.body.at_us / 1e6,
            from_epoch=event.body.from_epoch,
        )
        for event in events
    ]
    former = [
        msgspec.structs.replace(line, role="revoked" if after.body.kind == REVOCATION else "before")
        for line, after in zip(lines, events[1:], strict=False)
    ]
    last, genesis = events[-1].body, events[0].body
    coming = KeyLine(role="next", fingerprint=last.next_hash.hex())
    recovery = KeyLine(
        role="recovery", fingerprint=genesis.recovery.hex(), is_here=(keys / RECOVERY).exists()
    )
    return (lines[-1], coming, recovery, *reversed(former))
