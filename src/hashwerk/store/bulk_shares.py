"""Shares read many groups at a time, for a thread that must not take the interpreter from the server.

A row at a time costs two changes of Python's lock a row, and a busy mine has a thousand rows a second. So SQLite itself puts the
groups behind one another, in one step during which the interpreter is free; compiled code takes the result apart.
"""

from __future__ import annotations

import sqlite3
from typing import Any, Final

import numpy as np
from numba import njit

from hashwerk.store import share_groups
from hashwerk.store.codec import RAW
from hashwerk.stratum.ports import ShareRecords
from hashwerk.work.share import SHARE_DTYPE

_HEAD_DIGITS: Final = 24
# Text cannot hold any byte, digits can. Each group says where it stands, so nothing hangs on the order they come in.
_GROUPS: Final = """
SELECT sum(count), max(encoding),
  CAST(group_concat(printf('%016X%08X', first_position, count) || hex(shares), '') AS BLOB)
FROM (
  SELECT first_position, count, encoding, shares FROM share_groups
  WHERE first_position < ?1 + ?2 AND first_position >= coalesce(
    (SELECT first_position FROM share_groups WHERE first_position <= ?1 ORDER BY first_position DESC LIMIT 1), ?1)
  ORDER BY first_position
)
"""


def read_bulk(connection: sqlite3.Connection, first: int, count: int) -> tuple[int, ShareRecords] | None:
    """Return shares from position ``first`` on, and the position of the first of them; None: there are none.

    About ``count`` shares, whole groups; fewer where there are fewer or where some were removed.

    Raises:
        DecodeError: If a group is damaged.
    """
    held, encoding, text = connection.execute(_GROUPS, (first, count)).fetchone()
    if held is None:
        return _next_after(connection, first)
    if encoding == RAW:
        shares = np.empty(held, SHARE_DTYPE)
        start, found = _parse(np.frombuffer(text, np.uint8), shares.view(np.uint8), SHARE_DTYPE.itemsize)
        if start + found > first:
            skipped = max(0, first - start)
            return start + skipped, shares[skipped:found]
    return _one_by_one(connection, first, count)


def warm_up() -> None:
    """Load the compiled code."""
    _parse(np.frombuffer(b"", np.uint8), np.empty(0, np.uint8), 1)


def _next_after(connection: sqlite3.Connection, first: int) -> tuple[int, ShareRecords] | None:
    """Return the next group, if one stands far behind ``first``: what was between was removed."""
    return next(share_groups.read(connection, first, 1), None)


def _one_by_one(connection: sqlite3.Connection, first: int, count: int) -> tuple[int, ShareRecords] | None:
    """Read groups that were packed, or that do not join up."""
    parts: list[bytes] = []
    start = end = first
    for position, shares in share_groups.read(connection, first, count):
        if not parts:
            start = end = position
        if position != end:
            break
        parts.append(shares.tobytes())
        end = position + len(shares)
    if not parts:
        return None
    return start, np.frombuffer(bytearray(b"".join(parts)), SHARE_DTYPE)


@njit(cache=True, nogil=True)
def _digit(letter: int) -> int:
    return letter - 48 if letter < 58 else letter - 55


@njit(cache=True, nogil=True)
def _number(text: Any, at: int, digits: int) -> int:
    value = 0
    for k in range(digits):
        value = value * 16 + _digit(int(text[at + k]))
    return value


@njit(cache=True, nogil=True)
def _parse(text: Any, out: Any, size: int) -> tuple[int, int]:
    """Write the groups' bytes to ``out`` as far as each follows the one before; return the first position and the number."""
    start, found, at, written = 0, 0, 0, 0
    while at + _HEAD_DIGITS <= len(text):
        position, count = _number(text, at, 16), _number(text, at + 16, 8)
        at += _HEAD_DIGITS
        if found == 0:
            start = position
        if position != start + found or at + 2 * count * size > len(text):
            break
        for k in range(count * size):
            out[written + k] = 16 * _digit(int(text[at + 2 * k])) + _digit(int(text[at + 2 * k + 1]))
        at += 2 * count * size
        written += count * size
        found += count
    return start, found
