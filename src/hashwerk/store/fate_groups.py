"""The rows that hold what became of shares handed in to upstream pools: one for each write, packed when old."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from contextlib import closing
from functools import partial
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from hashwerk.store.codec import COLUMNS, RAW, decode_records, encode_records
from hashwerk.stratum.ports import FateRecords
from hashwerk.work.fate import FATE_DTYPE

#: Up to which time, in microseconds, retention has removed fates.
REMOVED_UP_TO: Final = "fates_removed_up_to_us"

_PACK_FATES: Final = 16_384
_PACK_GROUPS: Final = 2_000
_CHUNK_ROWS: Final = 500
_PATIENCE_US: Final = 86_400_000_000

Change = Callable[[sqlite3.Connection], Any]


def times_us(fates: FateRecords) -> NDArray[np.int64]:
    """Return when each share was handed in, or given up where it could not be: the time it belongs to."""
    times: NDArray[np.int64] = np.where(fates["sent_us"] > 0, fates["sent_us"], fates["known_us"])
    return times


def write(connection: sqlite3.Connection, fates: FateRecords, encoding: int = RAW) -> None:
    """Write one group, within the caller's transaction."""
    times = times_us(fates)
    connection.execute(
        "INSERT INTO fate_groups (count, first_us, last_us, encoding, fates) VALUES (?,?,?,?,?)",
        (len(fates), int(times.min()), int(times.max()), encoding, encode_records(fates, encoding)),
    )


def read(connection: sqlite3.Connection, from_us: int, to_us: int | None = None) -> FateRecords:
    """Return the fates of shares handed in during [from, to), in the order in which they became known."""
    parts = [
        (group[0], decode_records(group[3], group[1], group[2], FATE_DTYPE, "fates"))
        for group in connection.execute(
            "SELECT id, encoding, count, fates FROM fate_groups"
            " WHERE encoding IN (?, ?) AND last_us >= ? AND (? IS NULL OR first_us < ?) ORDER BY id",
            (RAW, COLUMNS, from_us, to_us, to_us),
        )
    ]
    if not parts:
        return np.empty(0, FATE_DTYPE)
    fates = np.concatenate([fates for _, fates in parts])
    times = times_us(fates)
    return fates[(times >= from_us) & ((times < to_us) if to_us is not None else True)]


def read_removed_up_to(connection: sqlite3.Connection) -> int | None:
    """Return the time of the last fate that retention removed; None when all are there."""
    row = connection.execute("SELECT value FROM meta WHERE key = ?", (REMOVED_UP_TO,)).fetchone()
    return None if row is None else int(row[0])


def pack(connection: sqlite3.Connection, cutoff_us: int, change: Callable[[Change], Any]) -> bool:
    """Put old groups together and compress them; nothing is lost. Return whether there is more to do.

    Args:
        connection: To read with.
        cutoff_us: Groups that end before this are old.
        change: Runs a change on the writer's connection, in a transaction of its own.
    """
    groups: list[tuple[int, int, int, bytes]] = []
    count = 0
    # Closed before its end, or it would hold on to an old state of the file.
    with closing(
        connection.execute(
            "SELECT id, count, last_us, fates FROM fate_groups WHERE encoding = ? AND last_us < ?"
            " ORDER BY last_us LIMIT ?",
            (RAW, cutoff_us, _PACK_GROUPS),
        )
    ) as rows:
        for group in rows:
            groups.append(group)
            count += group[1]
            if count >= _PACK_FATES:
                break
    full = count >= _PACK_FATES or len(groups) == _PACK_GROUPS
    if not groups or not (full or groups[0][2] < cutoff_us - _PATIENCE_US):
        return False
    groups.sort()
    fates = np.concatenate([decode_records(group[3], RAW, group[1], FATE_DTYPE, "fates") for group in groups])
    change(partial(_replace, ids=[group[0] for group in groups], fates=fates))
    return full


def _replace(writer: sqlite3.Connection, ids: list[int], fates: FateRecords) -> None:
    writer.executemany("DELETE FROM fate_groups WHERE id = ?", ((id_,) for id_ in ids))
    write(writer, fates, COLUMNS)


def remove(writer: sqlite3.Connection, cutoff_us: int) -> int:
    """Remove some of the groups that ended before the cutoff, and note how far; return how many."""
    groups = writer.execute(
        "SELECT id, last_us FROM fate_groups WHERE encoding IN (?, ?) AND last_us < ? ORDER BY last_us LIMIT ?",
        (RAW, COLUMNS, cutoff_us, _CHUNK_ROWS),
    ).fetchall()
    if groups:
        writer.executemany("DELETE FROM fate_groups WHERE id = ?", ((id_,) for id_, _ in groups))
        last_us = max(groups[-1][1], read_removed_up_to(writer) or 0)
        writer.execute("INSERT OR REPLACE INTO meta (key, value) VALUES (?, ?)", (REMOVED_UP_TO, last_us))
    return len(groups)
