"""Dense numbers for sparse keys, for whole arrays at once."""

from __future__ import annotations

from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

_Scalar = TypeVar("_Scalar", bound=np.generic)


class KeyTable:
    """Numbers keys 0, 1, 2… in the order of first sight. A number never changes."""

    __slots__ = ("_by_number", "_count", "_numbers", "_sorted")

    def __init__(self) -> None:
        self._count = 0
        self._by_number = np.empty(0, np.int64)
        self._sorted = np.empty(0, np.int64)
        self._numbers = np.empty(0, np.int64)

    def __len__(self) -> int:
        return self._count

    def keys(self) -> NDArray[np.int64]:
        """Return the keys in the order of their numbers; a view, not to be written to."""
        return self._by_number[: self._count]

    def get(self, key: int) -> int | None:
        """Return the number of one key, None if it was never seen."""
        at = int(np.searchsorted(self._sorted, key))
        if at == self._count or self._sorted[at] != key:
            return None
        return int(self._numbers[at])

    def find(self, keys: NDArray[np.int64]) -> NDArray[np.int64]:
        """Return the numbers of these keys, giving new ones where needed."""
        at = np.searchsorted(self._sorted, keys)
        known = at < self._count
        known[known] = self._sorted[at[known]] == keys[known]
        if not known.all():
            self._extend(np.unique(keys[~known]))
            at = np.searchsorted(self._sorted, keys)
        return self._numbers[at]

    def _extend(self, new: NDArray[np.int64]) -> None:
        count = self._count + len(new)
        if count > len(self._by_number):
            self._by_number = grown(self._by_number, count)
        self._by_number[self._count : count] = new
        self._count = count
        self._numbers = np.argsort(self.keys(), kind="stable")
        self._sorted = self.keys()[self._numbers]


def grown(array: NDArray[_Scalar], count: int) -> NDArray[_Scalar]:
    """Return a copy with room for at least ``count`` rows, new ones zero; room doubles, so growth costs
    little."""
    room = max(count, 2 * len(array), 64)
    larger = np.zeros((room, *array.shape[1:]), array.dtype)
    larger[: len(array)] = array
    return larger
