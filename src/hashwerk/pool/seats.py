"""The terms of all sessions in packed arrays, so that a batch of shares is judged without touching Python objects."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Final

import numpy as np
from numpy.typing import NDArray

from hashwerk.work.batch import TERMS_DTYPE

if TYPE_CHECKING:
    from hashwerk.pool.connection import Connection

_FIRST_SEATS: Final = 64
_NO_WORK: Final = 255


class Seats:
    """One seat per connection that has an extranonce: a row of `terms`, and the connection."""

    def __init__(self) -> None:
        self.terms: NDArray[np.void] = np.zeros(_FIRST_SEATS, TERMS_DTYPE)
        self._easiest_of_block: NDArray[np.uint8] = np.full(_FIRST_SEATS, _NO_WORK, np.uint8)
        self._connections: list[Connection | None] = [None] * _FIRST_SEATS
        self._free = list(range(_FIRST_SEATS))[::-1]

    def __len__(self) -> int:
        return len(self._connections) - len(self._free)

    def __iter__(self) -> Iterator[Connection]:
        return (connection for connection in self._connections if connection is not None)

    def __getitem__(self, seat: int) -> Connection | None:
        return self._connections[seat]

    def take(self, connection: Connection, *, session_id: int, extranonce1: int) -> int:
        """Return a free seat's number, now this connection's."""
        if not self._free:
            self._grow()
        seat = self._free.pop()
        self._connections[seat] = connection
        row = self.terms[seat]
        row["session"], row["extranonce1"] = session_id, extranonce1
        row["account"] = row["version_mask"] = 0
        row["least_work_log2"] = self._easiest_of_block[seat] = _NO_WORK
        return seat

    def leave(self, seat: int) -> None:
        """Give a seat back."""
        self._connections[seat] = None
        self._free.append(seat)

    def note_work(self, seat: int, work_log2: int) -> None:
        """A job of this target was sent: shares of it count from now on."""
        row = self.terms[seat]
        row["least_work_log2"] = min(int(row["least_work_log2"]), work_log2)
        self._easiest_of_block[seat] = min(int(self._easiest_of_block[seat]), work_log2)

    def next_block(self) -> None:
        """A new block: easier targets than those of the block that ended are over."""
        self.terms["least_work_log2"] = self._easiest_of_block
        self._easiest_of_block[:] = _NO_WORK

    def _grow(self) -> None:
        size = len(self._connections)
        terms = np.zeros(2 * size, TERMS_DTYPE)
        terms[:size] = self.terms
        self.terms = terms
        self._easiest_of_block = np.concatenate([self._easiest_of_block, np.full(size, _NO_WORK, np.uint8)])
        self._connections += [None] * size
        self._free = list(range(2 * size - 1, size - 1, -1))
