"""The table of shares already credited, by the first 16 bytes of their header hash.

A header belongs to one job only (see docs/adr/0005), so keys are kept per generation of jobs and forgotten
together with it: memory stays flat for as long as the server runs. A generation is a list of open-addressed
tables, each twice the size of the one before; nothing is ever moved, so growing costs no pause.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Final

import numpy as np
from numba import njit
from numpy.typing import NDArray

from hashwerk.work.batch import Checked
from hashwerk.work.share import Verdict

FIRST_CAPACITY: Final = 1 << 12
_ACCEPTED: Final = int(Verdict.ACCEPTED)
_DUPLICATE: Final = int(Verdict.DUPLICATE)


def _new_table(capacity: int) -> NDArray[np.uint64]:
    return np.zeros((capacity, 2), np.uint64)


@dataclass(slots=True)
class _Generation:
    """The keys of one generation. Only the last table takes new keys; it is full at three quarters."""

    tables: list[NDArray[np.uint64]]
    used: int = 0  # slots of the last table that are taken
    count: int = 0  # keys in all tables


@dataclass(slots=True)
class DuplicateTable:
    """The keys of all accepted shares whose jobs can still be handed in."""

    _generations: dict[int, _Generation] = field(default_factory=dict)
    _expected: int = FIRST_CAPACITY // 2  # keys in a generation, as the last one had

    def __len__(self) -> int:
        return sum(generation.count for generation in self._generations.values())

    @property
    def size_bytes(self) -> int:
        """How much memory the tables take when every page of them is touched."""
        return sum(table.nbytes for known in self._generations.values() for table in known.tables)

    def judge_batch(self, rows: NDArray[np.void], checked: Checked) -> None:
        """Mark duplicates among the accepted rows of a checked batch, and remember the others."""
        for generation in range(checked.lowest, checked.highest + 1):
            self.judge(generation, rows, checked.generations)

    def judge(self, generation: int, rows: NDArray[np.void], generations: NDArray[np.uint32]) -> int:
        """Mark duplicates among the accepted rows of one generation, and remember the others.

        Args:
            generation: The generation to look at.
            rows: Rows of `batch.ROW_DTYPE`; the verdict of a duplicate is changed.
            generations: The generation of each row.

        Returns:
            How many rows were remembered.
        """
        known = self._generations.get(generation)
        if known is None:
            known = _Generation([_new_table(_capacity_for(self._expected))])
            self._generations[generation] = known
        for table in known.tables[:-1]:
            _mark_known(table, rows, generations, generation)
        if 4 * (known.used + len(rows)) > 3 * len(known.tables[-1]):
            _mark_known(known.tables[-1], rows, generations, generation)
            known.tables.append(_new_table(_capacity_for(max(2 * known.used, len(rows)))))
            known.used = 0
        added = int(_insert(known.tables[-1], rows, generations, generation))
        known.used += added
        known.count += added
        return added

    def forget_rows(self, rows: NDArray[np.void]) -> None:
        """Take back the accepted rows: they could not be stored, so they may be handed in again."""
        for known in self._generations.values():
            known.count -= sum(int(_remove(table, rows)) for table in known.tables)

    def drop_before(self, generation: int) -> None:
        """Forget all generations older than ``generation``: none of their jobs is valid any more."""
        for old in [number for number in self._generations if number < generation]:
            self._expected = max(self._generations.pop(old).count, FIRST_CAPACITY // 2)


def _capacity_for(count: int) -> int:
    """Return the power of two at which ``count`` keys fill at most half a table."""
    return max(FIRST_CAPACITY, 1 << (2 * count - 1).bit_length())


# A key of zeros marks a free slot, and one of ones a slot whose key was taken back. A header hash that
# begins with either would be taken for the other: at 2**-128 that is as good as never.
_FREE: Final = np.uint64(0)
_TAKEN_BACK: Final = np.uint64(0xFFFF_FFFF_FFFF_FFFF)


@njit(cache=True, nogil=True)
def _find(table: Any, low: Any, high: Any) -> Any:
    """Return the slot of a key, or -1 - slot of where it could be put."""
    mask = len(table) - 1
    at = np.int64(low) & mask
    while table[at, 0] != _FREE or table[at, 1] != _FREE:
        if table[at, 0] == low and table[at, 1] == high:
            return at
        at = (at + 1) & mask
    return -1 - at


@njit(cache=True, nogil=True)
def _mark_known(table: Any, rows: Any, generations: Any, generation: int) -> None:
    for i in range(len(rows)):
        row = rows[i]
        if row.verdict != _ACCEPTED or generations[i] != generation:
            continue
        if _find(table, row.hash_key[0], row.hash_key[1]) >= 0:
            row.verdict = _DUPLICATE


@njit(cache=True, nogil=True)
def _insert(table: Any, rows: Any, generations: Any, generation: int) -> int:
    added = 0
    for i in range(len(rows)):
        row = rows[i]
        if row.verdict == _ACCEPTED and generations[i] == generation:
            at = _find(table, row.hash_key[0], row.hash_key[1])
            if at >= 0:
                row.verdict = _DUPLICATE
                continue
            table[-1 - at, 0], table[-1 - at, 1] = row.hash_key[0], row.hash_key[1]
            added += 1
    return added


@njit(cache=True, nogil=True)
def _remove(table: Any, rows: Any) -> int:
    removed = 0
    for i in range(len(rows)):
        row = rows[i]
        if row.verdict == _ACCEPTED:
            at = _find(table, row.hash_key[0], row.hash_key[1])
            if at >= 0:
                table[at, 0] = table[at, 1] = _TAKEN_BACK
                removed += 1
    return removed
