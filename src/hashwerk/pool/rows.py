"""Compiled code between the scanner's rows and the ledger's: who sent a share, and what each connection is due."""

from __future__ import annotations

from typing import Any, Final

import numpy as np
from numba import njit
from numpy.typing import NDArray

from hashwerk.pool.seats import NO_SEAT
from hashwerk.work.batch import ROW_DTYPE
from hashwerk.work.share import Verdict

_ACCEPTED: Final = int(Verdict.ACCEPTED)
_UNAUTHORIZED: Final = int(Verdict.UNAUTHORIZED)
_NOT_SUBSCRIBED: Final = int(Verdict.NOT_SUBSCRIBED)


class Shares:
    """The shares of one batch as arrays: rows for the ledger, and what is not stored but needed to judge and answer."""

    __slots__ = ("ids", "rows", "seats", "sizes")

    def __init__(self, count: int) -> None:
        """Make room for so many shares; nothing in it is set."""
        self.rows: NDArray[np.void] = np.empty(count, ROW_DTYPE)
        self.ids: NDArray[np.uint64] = np.empty(count, np.uint64)  # of the requests
        self.seats: NDArray[np.int32] = np.empty(count, np.int32)
        self.sizes: NDArray[np.uint8] = np.empty(count, np.uint8)  # bytes of each extranonce2


def fill(
    shares: Shares,
    submits: NDArray[np.void],
    seat_of_segment: NDArray[np.int32],
    notes: NDArray[np.void],
    time_us: int,
) -> NDArray[np.int32]:
    """Write scanned submits (`SUBMIT_DTYPE`) into the first of ``shares``.

    Returns:
        The rows whose user is not the one noted for the seat (`NOTES_DTYPE`); they are marked as unauthorised.
    """
    strangers = np.empty(len(submits), np.int32)
    count = _fill(
        submits,
        seat_of_segment,
        notes,
        time_us,
        shares.rows,
        shares.ids,
        shares.seats,
        shares.sizes,
        strangers,
    )
    found: NDArray[np.int32] = strangers[:count]
    return found


@njit(cache=True, nogil=True)
def _fill(  # noqa: PLR0917 - compiled code takes no keywords
    submits: Any,
    seat_of_segment: Any,
    notes: Any,
    time_us: int,
    rows: Any,
    ids: Any,
    seats: Any,
    sizes: Any,
    strangers: Any,
) -> int:
    unknown = 0
    for i in range(len(submits)):
        submit, row = submits[i], rows[i]
        seat = seat_of_segment[submit.segment]
        ids[i] = submit.id
        seats[i] = seat
        sizes[i] = submit.extranonce2_size
        row.time_us = time_us
        row.job, row.extranonce2 = submit.job, submit.extranonce2
        row.ntime, row.nonce, row.version = submit.ntime, submit.nonce, submit.version_bits
        row.hash_key[0] = row.hash_key[1] = 0
        row.work_log2 = row.flags = row.epoch = 0
        if seat == NO_SEAT:
            row.worker, row.verdict = 0, _NOT_SUBSCRIBED
        elif notes[seat].worker != 0 and submit.user_hash == notes[seat].user_hash:
            row.worker, row.verdict = notes[seat].worker, _ACCEPTED
        else:
            row.worker, row.verdict = 0, _UNAUTHORIZED
            strangers[unknown] = i
            unknown += 1
    return unknown


@njit(cache=True, nogil=True)
def note_shares(rows: Any, seats: Any, notes: Any) -> None:
    """Count the rows of each seat, for vardiff and for what a session costs (`NOTES_DTYPE`)."""
    for i in range(len(rows)):
        note = notes[seats[i]]
        note.submits += 1
        if rows[i].verdict != _ACCEPTED:
            note.rejected += 1
            continue
        if note.new_work_log2 != rows[i].work_log2:
            note.new_work_log2 = rows[i].work_log2
            note.new_shares = 0
        note.new_shares += 1
