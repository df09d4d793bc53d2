"""Extranonces that are too small to be counted for ever: the lowest free number, and the plane it lies in.

A pool that leaves a machine few bytes has room for few machines on one connection. Numbers beyond that belong to the next
plane, and each plane works over a connection of its own.
"""

from __future__ import annotations

import heapq
from typing import NamedTuple


class Prefix(NamedTuple):
    """An extranonce1 and the plane in which no other live session has it."""

    value: int
    plane: int


class Prefixes:
    """The free numbers of one size of extranonce1. A number given back is given out again."""

    def __init__(self, size: int) -> None:
        """Begin with all free; ``size`` in bytes."""
        self._capacity = 1 << 8 * size
        self._next = 0
        self._free: list[int] = []

    def take(self) -> Prefix:
        """Return the lowest free one."""
        if self._free:
            number = heapq.heappop(self._free)
        else:
            number, self._next = self._next, self._next + 1
        return Prefix(number % self._capacity, number // self._capacity)

    def occupy(self, prefix: Prefix) -> None:
        """A session that comes from a predecessor has this one already."""
        number = prefix.plane * self._capacity + prefix.value
        if number >= self._next:
            for free in range(self._next, number):
                heapq.heappush(self._free, free)
            self._next = number + 1
        elif number in self._free:
            self._free.remove(number)
            heapq.heapify(self._free)

    def give_back(self, prefix: Prefix) -> None:
        """Its session is over."""
        heapq.heappush(self._free, prefix.plane * self._capacity + prefix.value)

    @property
    def planes(self) -> int:
        """How many planes have ever been needed, at least one."""
        return max(1, -(-self._next // self._capacity))
