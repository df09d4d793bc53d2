"""What waits in the ledger's queue for the writer thread."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass
from typing import Any

import msgspec

from hashwerk.stratum.ports import Done, ShareRecords


@dataclass(slots=True, frozen=True)
class Write:
    """A row that must reach the disk, in order. After a failed commit it is tried again before anything else.

    ``apply`` therefore must give the same result when it runs twice. ``committed`` runs on the event loop.
    """

    apply: Callable[[sqlite3.Connection], Any]
    committed: Callable[[], Any] | None = None


@dataclass(slots=True, frozen=True)
class Append:
    """A batch of shares. It is stored with its group or not at all, and ``done`` is told which."""

    shares: ShareRecords
    done: Done
    queued_at: float  # monotonic


@dataclass(slots=True, frozen=True)
class Upkeep:
    """A piece of maintenance in a transaction of its own; its caller waits for the result."""

    apply: Callable[[sqlite3.Connection], Any]
    result: Future[Any]


class Stop(msgspec.Struct, frozen=True):
    """The last entry: everything before it is to be committed, then the writer ends."""


Entry = Write | Append | Upkeep | Stop
