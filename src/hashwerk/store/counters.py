"""Identifiers that are never used twice, not even after a crash: blocks of them are reserved on disk ahead of
use."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable

from hashwerk.errors import StoreError
from hashwerk.store.writes import Write

Enqueue = Callable[[Write], None]


class IdCounter:
    """Gives out increasing identifiers below a limit that is durable already.

    Owned by the event loop's thread. While half a block is left a new one is reserved in the background, so
    only a disk that stays full for very long makes it run dry.
    """

    __slots__ = ("_block", "_durable", "_enqueue", "_name", "_next", "_requested", "_top")

    def __init__(self, name: str, first: int, *, block: int, top: int, enqueue: Enqueue) -> None:
        """Start at ``first``, which must be reserved up to ``first + block`` on disk; ``top`` is the last of
        all."""
        self._name = name
        self._next = first
        self._block = block
        self._top = top
        self._durable = self._requested = min(first + block, top + 1)
        self._enqueue = enqueue

    def take(self) -> int:
        """Return the next identifier.

        Raises:
            StoreError: If no reserved one is left.
        """
        if self._next >= self._durable:
            why = "all are used up" if self._next > self._top else "the disk takes no more reservations"
            raise StoreError(f"no {self._name} id left: {why}")
        value = self._next
        self._next += 1
        if self._requested - self._next < self._block // 2 and self._requested <= self._top:
            self._reserve()
        return value

    def _reserve(self) -> None:
        limit = min(self._requested + self._block, self._top + 1)
        self._requested = limit

        def on_disk() -> None:
            self._durable = max(self._durable, limit)

        self._enqueue(Write(lambda connection: write_counter(connection, self._name, limit), on_disk))

    def give_back(self) -> Write:
        """Return the write that frees what was reserved and not used; for an orderly end."""
        value = self._next
        return Write(lambda connection: write_counter(connection, self._name, value))


def write_counter(connection: sqlite3.Connection, name: str, value: int) -> None:
    """Write the first identifier that may not be used yet."""
    connection.execute(
        "INSERT INTO counters (name, value) VALUES (?, ?)"
        " ON CONFLICT (name) DO UPDATE SET value = excluded.value",
        (name, value),
    )


def read_counter(connection: sqlite3.Connection, name: str) -> int:
    """Return the first identifier that was never reserved; 1 in a new ledger."""
    row = connection.execute("SELECT value FROM counters WHERE name = ?", (name,)).fetchone()
    return 1 if row is None else int(row[0])
