"""Bring a ledger file from any earlier schema version to this one, each step in one transaction."""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from pathlib import Path
from typing import Final, NamedTuple

from hashwerk.errors import StoreError
from hashwerk.store.connection import store_error
from hashwerk.store.schema import APPLICATION_ID, SCHEMA_VERSION, SCRIPTS


class FileKind(NamedTuple):
    """A kind of database file, told from others by the number in its header."""

    name: str
    application_id: int


LEDGER: Final = FileKind("ledger", APPLICATION_ID)
#: "HWFL": the machines of a site and what they were told.
FLEET: Final = FileKind("fleet record", 0x4857464C)


def check_file(
    connection: sqlite3.Connection, path: Path, kind: FileKind = LEDGER, newest: int = SCHEMA_VERSION
) -> int:
    """Return the schema version of the file, 0 for an empty one.

    Raises:
        StoreError: If the file is not of this kind, or was made by a newer Hashwerk.
    """
    application_id = _pragma(connection, path, "application_id")
    version = _pragma(connection, path, "user_version")
    empty = _pragma(connection, path, "schema_version") == 0
    if application_id != kind.application_id and not (empty and application_id == 0):
        raise StoreError(
            f"{path}: this database is not a Hashwerk {kind.name} (application id {application_id:#x})"
        )
    if version > newest:
        raise StoreError(
            f"{path}: the {kind.name} has schema {version}, this Hashwerk knows up to {newest};"
            " install a newer one"
        )
    return version


def migrate(
    connection: sqlite3.Connection, path: Path, scripts: Sequence[str] = SCRIPTS, kind: FileKind = LEDGER
) -> int:
    """Apply every script the file has not seen yet; return the version it had before.

    A crash or a full disk in between leaves the file at a version that the next start goes on from.

    Raises:
        StoreError: If the file cannot be used or a step fails; the message names the file.
    """
    found = check_file(connection, path, kind, max(SCHEMA_VERSION if kind is LEDGER else 0, len(scripts)))
    for version in range(found, len(scripts)):
        try:
            connection.execute("BEGIN IMMEDIATE")
            connection.execute(f"PRAGMA application_id = {kind.application_id}")
            for statement in statements(scripts[version]):
                connection.execute(statement)
            connection.execute(f"PRAGMA user_version = {version + 1}")
            connection.execute("COMMIT")
        except sqlite3.Error as error:
            if connection.in_transaction:
                connection.execute("ROLLBACK")
            raise store_error(
                error, path, f"cannot bring the schema from {version} to {version + 1}"
            ) from error
    return found


def statements(script: str) -> list[str]:
    """Return the statements of a script one by one: `executescript` would commit before it starts."""
    parts: list[str] = []
    statement = ""
    for line in script.splitlines():
        statement += line + "\n"
        if sqlite3.complete_statement(statement):
            parts.append(statement.strip())
            statement = ""
    if statement.strip():
        raise ValueError(f"unfinished statement: {statement.strip()!r}")
    return parts


def _pragma(connection: sqlite3.Connection, path: Path, name: str) -> int:
    try:
        return int(connection.execute(f"PRAGMA {name}").fetchone()[0])
    except sqlite3.Error as error:
        raise store_error(error, path, "cannot be read") from error
