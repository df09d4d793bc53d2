"""Every earlier version of the file is brought to this one; others are refused with a reason."""

from __future__ import annotations

import asyncio
import sqlite3
from pathlib import Path

import pytest

from hashwerk.errors import StoreError
from hashwerk.store import LedgerReader, SqliteLedger
from hashwerk.store.connection import connect_writer
from hashwerk.store.migrations import migrate, statements
from hashwerk.store.schema import APPLICATION_ID, SCHEMA_VERSION, SCRIPTS
from hashwerk.store.settings import StoreSettings
from support.ledger import make_shares, store

SCHEMAS = Path(__file__).parent / "schemas"


def make_file(path: Path, version: int) -> None:
    """Make a file as the Hashwerk of that schema version did, with something in it."""
    connection = sqlite3.connect(path, isolation_level=None)
    connection.execute("PRAGMA auto_vacuum = INCREMENTAL")
    connection.execute("PRAGMA journal_mode = WAL")
    connection.execute(f"PRAGMA application_id = {APPLICATION_ID}")
    for number in range(1, version + 1):
        connection.executescript((SCHEMAS / f"v{number}.sql").read_text())
    connection.execute(f"PRAGMA user_version = {version}")
    if version:
        connection.execute("INSERT INTO accounts VALUES (7, 'alice', ?, ?, 1.5)", (b"s" * 32, b"c" * 32))
        connection.execute("INSERT INTO workers VALUES (9, 7, 'm1', 2.5)")
        connection.execute("INSERT INTO counters VALUES ('job', 500)")
        shares = make_shares(3, worker=9)
        connection.execute(
            "INSERT INTO share_groups (first_position, count, first_time_us, last_time_us, shares)"
            " VALUES (0, 3, 1, 2, ?)",
            (shares.tobytes(),),
        )
    connection.close()


def layout(path: Path) -> list[tuple[str, str]]:
    connection = sqlite3.connect(path)
    try:
        return [
            (name, column[1:])
            for (name,) in connection.execute(
                "SELECT name FROM sqlite_master WHERE type = 'table' ORDER BY name"
            )
            for column in connection.execute(f"PRAGMA table_info({name})")
        ]
    finally:
        connection.close()


def test_released_scripts_are_never_edited() -> None:
    assert len(list(SCHEMAS.glob("v*.sql"))) == SCHEMA_VERSION
    for number, script in enumerate(SCRIPTS, 1):
        frozen = (SCHEMAS / f"v{number}.sql").read_text()
        assert statements(script) == statements(frozen)


@pytest.mark.parametrize("version", range(SCHEMA_VERSION + 1))
async def test_a_file_of_an_earlier_version_is_taken_on(tmp_path: Path, version: int) -> None:
    path, fresh = tmp_path / "old.db", tmp_path / "fresh.db"
    make_file(path, version)
    for file in (path, fresh):
        ledger = SqliteLedger(file, asyncio.get_running_loop())
        ledger.open()
        if file == path and version:
            assert ledger.account("alice").commitment == b"c" * 32
            assert ledger.worker(7, "m1") == 9
            assert ledger.next_job_id() == 500
        assert await store(ledger, make_shares(2, first=3)) is None
        ledger.close()
    assert layout(path) == layout(fresh)
    with LedgerReader(path) as reader:
        assert reader.shares(0, 100)[1]["nonce"].tolist() == ([0, 1, 2, 3, 4] if version else [3, 4])
        assert reader.totals().accepted == (5 if version else 2)


async def test_a_newer_file_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "ledger.db"
    make_file(path, SCHEMA_VERSION)
    with sqlite3.connect(path) as connection:
        connection.execute(f"PRAGMA user_version = {SCHEMA_VERSION + 1}")
    connection.close()
    ledger = SqliteLedger(path, asyncio.get_running_loop())
    with pytest.raises(StoreError, match=rf"ledger\.db: the ledger has schema {SCHEMA_VERSION + 1}.*newer"):
        ledger.open()
    with pytest.raises(StoreError, match="schema"):
        LedgerReader(path)


async def test_a_database_of_something_else_is_refused_and_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "other.db"
    with sqlite3.connect(path) as connection:
        connection.execute("CREATE TABLE mine (x)")
    connection.close()
    with pytest.raises(StoreError, match=r"other\.db: this database is not a Hashwerk ledger"):
        SqliteLedger(path, asyncio.get_running_loop()).open()
    assert layout(path) == [("mine", ("x", "", 0, None, 0))]


async def test_a_file_that_is_no_database_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "text.db"
    path.write_text("not a database, but long enough to be taken for a header of one" * 20)
    with pytest.raises(StoreError, match=r"text\.db: .*not a database"):
        SqliteLedger(path, asyncio.get_running_loop()).open()


def test_a_step_that_fails_leaves_the_version_before_it(tmp_path: Path) -> None:
    path = tmp_path / "ledger.db"
    connection = connect_writer(path, StoreSettings())
    broken = (
        "CREATE TABLE a (x) STRICT;",
        "CREATE TABLE a (x INTEGER) STRICT;",
        "CREATE TABLE b (x INTEGER);",
    )
    with pytest.raises(StoreError, match=r"ledger\.db: cannot bring the schema from 0 to 1"):
        migrate(connection, path, broken)
    good = (SCRIPTS[0], "CREATE TABLE c (x INTEGER) STRICT; SELECT * FROM missing;")
    with pytest.raises(StoreError, match="from 1 to 2"):
        migrate(connection, path, good)
    assert connection.execute("PRAGMA user_version").fetchone()[0] == 1
    assert connection.execute("SELECT count(*) FROM sqlite_master WHERE name = 'c'").fetchone()[0] == 0
    assert migrate(connection, path) == 1
    connection.close()


def test_an_unfinished_statement_is_our_own_mistake() -> None:
    with pytest.raises(ValueError, match="unfinished"):
        statements("CREATE TABLE a (x);\nCREATE TABLE b (")
