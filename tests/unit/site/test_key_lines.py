"""The keys of a site as they are listed: the present one, the next, the one for recovery, and those before."""

from __future__ import annotations

import sqlite3
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from hashwerk.errors import StoreError
from hashwerk.evidence.key_files import RECOVERY, write_key
from hashwerk.evidence.keys import EVENT, fingerprint, genesis, public_bytes, revoke, rotate
from hashwerk.site.key_lines import read_key_lines


def test_keys_are_listed_with_what_became_of_them(tmp_path: Path) -> None:
    keys = [Ed25519PrivateKey.generate() for _ in range(5)]
    public = [public_bytes(key) for key in keys]
    recovery = Ed25519PrivateKey.generate()
    events = [genesis(keys[0], public[1], public_bytes(recovery), 1_000_000)]
    events.append(rotate(events[0], keys[0], keys[1], public[2], from_epoch=10, now_us=2_000_000))
    events.append(revoke(events[1], recovery, keys[3], public[4], from_epoch=20, now_us=3_000_000))
    ledger = tmp_path / "ledger.sqlite"
    connection = sqlite3.connect(ledger)
    connection.execute("CREATE TABLE key_events (number INTEGER PRIMARY KEY, event BLOB NOT NULL) STRICT")
    connection.executemany("INSERT INTO key_events (event) VALUES (?)", [(EVENT.encode(e),) for e in events])
    connection.commit()
    connection.close()
    write_key(tmp_path / RECOVERY, recovery)
    found = [
        (line.role, line.fingerprint, line.from_epoch, line.is_here)
        for line in read_key_lines(ledger, tmp_path)
    ]
    assert found == [
        ("signs", fingerprint(public[3]), 20, None),
        ("next", fingerprint(public[4]), None, None),
        ("recovery", fingerprint(public_bytes(recovery)), None, True),
        ("revoked", fingerprint(public[1]), 10, None),
        ("before", fingerprint(public[0]), 0, None),
    ]
    (tmp_path / RECOVERY).unlink()
    assert read_key_lines(ledger, tmp_path)[2].is_here is False


def test_without_a_ledger_it_says_so(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match="there is no ledger yet"):
        read_key_lines(tmp_path / "none.sqlite", tmp_path)
