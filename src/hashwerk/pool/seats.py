"""The terms of all sessions in packed arrays, so that a batch of shares is judged without touching Python objects."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Final

import numpy as np
from numpy.typing import NDArray

from hashwerk.work.batch import TERMS_DTYPE

if TYPE_CHECKING:
    from hashwerk.pool.connection import Connection

#: The seat of a connection that has not subscribed. Its terms are all zero: no job is of account 0.
NO_SEAT: Final = 0

#: What the server notes of a session beside its terms.
NOTES_DTYPE: Final = np.dtype(
    [
        ("user_hash", "<u8"),  # of the user first authorised; nearly all shares come in this name
        ("worker", "<u4"),  # …and its worker
        ("submits", "<u4"),  # handed in since the session was last looked at
        ("rejected", "<u4"),  # …of these
        ("new_shares", "<u4"),  # accepted of these, of the target that came last
        ("new_work_log2", "u1"),  # that target
        ("easiest", "u1"),  # target sent since the last block
        ("deadline", "<f8"),  # when vardiff is to look even without a share, monotonic
    ],
    align=True,
)

_FIRST_SEATS: Final = 64
_NO_WORK: Final = 255


class Seats:
    """One seat per connection that has an extranonce: a row of `terms`, a row of `notes`, and the connection."""

    def __init__(self) -> None:
        self.terms: NDArray[np.void] = np.zeros(_FIRST_SEATS, TERMS_DTYPE)
        self.notes: NDArray[np.void] = _new_notes(_FIRST_SEATS)
        self._connections: list[Connection | None] = [None] * _FIRST_SEATS
        self._free = list(range(_FIRST_SEATS - 1, NO_SEAT, -1))

    def __len__(self) -> int:
        return len(self._connections) - len(self._free) - 1

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
        self.notes[seat] = _new_notes(1)[0]
        row = self.terms[seat]
        row["session"], row["extranonce1"] = session_id, extranonce1
        row["account"] = row["version_mask"] = 0
        row["least_work_log2"] = _NO_WORK
        return seat

    def leave(self, seat: int) -> None:
        """Give a seat back."""
        self._connections[seat] = None
        self.notes[seat] = _new_notes(1)[0]
        self._free.append(seat)

    def note_work(self, seat: int, work_log2: int) -> None:
        """A job of this target was sent: shares of it count from now on."""
        terms, notes = self.terms[seat], self.notes[seat]
        terms["least_work_log2"] = min(int(terms["least_work_log2"]), work_log2)
        notes["easiest"] = min(int(notes["easiest"]), work_log2)

    def next_block(self, source: int) -> None:
        """A new block: targets easier than those of the block that ended are over for the machines of this source."""
        rows = [
            seat for seat, each in enumerate(self._connections) if each is not None and each.source == source
        ]
        self.terms["least_work_log2"][rows] = self.notes["easiest"][rows]
        self.notes["easiest"][rows] = _NO_WORK

    def _grow(self) -> None:
        size = len(self._connections)
        self.terms = np.concatenate([self.terms, np.zeros(size, TERMS_DTYPE)])
        self.notes = np.concatenate([self.notes, _new_notes(size)])
        self._connections += [None] * size
        self._free = list(range(2 * size - 1, size - 1, -1))


def _new_notes(size: int) -> NDArray[np.void]:
    notes = np.zeros(size, NOTES_DTYPE)
    notes["easiest"] = _NO_WORK
    notes["deadline"] = np.inf
    return notes
