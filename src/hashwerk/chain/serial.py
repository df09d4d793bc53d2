"""The wire format below transactions: a cursor over bytes that refuses what Bitcoin Core refuses.

Counts are checked against what is left before anything is built, so a lying length costs nothing.
"""

from __future__ import annotations

from typing import Final

from hashwerk.errors import DecodeError

#: No object on the wire is longer than this (Bitcoin Core's MAX_SIZE).
MAX_SIZE: Final = 0x0200_0000


def compact_size(number: int) -> bytes:
    """Return a CompactSize: one, three, five or nine bytes, the shortest that fits.

    Raises:
        ValueError: If the number is not in 0 … 2**64 - 1.
    """
    if 0 <= number < 0xFD:
        return bytes((number,))
    if 0 <= number <= 0xFFFF:
        return b"\xfd" + number.to_bytes(2, "little")
    if 0 <= number <= 0xFFFF_FFFF:
        return b"\xfe" + number.to_bytes(4, "little")
    if 0 <= number <= 0xFFFF_FFFF_FFFF_FFFF:
        return b"\xff" + number.to_bytes(8, "little")
    raise ValueError(f"a CompactSize has at most 64 bits and no sign: {number}")


class Cursor:
    """A position in ``data`` that moves forwards only. Reading beyond the end raises `DecodeError`."""

    __slots__ = ("data", "end", "position")

    def __init__(self, data: bytes) -> None:
        self.data = data
        self.position = 0
        self.end = len(data)

    def read(self, size: int) -> bytes:
        """Return the next ``size`` bytes."""
        start = self.position
        stop = start + size
        if stop > self.end:
            raise DecodeError(f"{size} bytes wanted at {start}, {self.end - start} left")
        self.position = stop
        return self.data[start:stop]

    def uint32(self) -> int:
        """Return the next four bytes as an unsigned number, little-endian."""
        return int.from_bytes(self.read(4), "little")

    def uint64(self) -> int:
        """Return the next eight bytes as an unsigned number, little-endian."""
        return int.from_bytes(self.read(8), "little")

    def compact_size(self) -> int:
        """Return a CompactSize; one that is not the shortest or above `MAX_SIZE` is refused, as Core does."""
        start = self.position
        if start >= self.end:
            raise DecodeError(f"a size wanted at {start}, 0 bytes left")
        first = self.data[start]
        self.position = start + 1
        if first < 0xFD:
            return first
        number = int.from_bytes(self.read(1 << first - 0xFC), "little")
        shortest = (0xFD, 0x1_0000, 0x1_0000_0000)[first - 0xFD]
        if number < shortest:
            raise DecodeError(f"size {number} at {start} is not in its shortest form")
        if number > MAX_SIZE:
            raise DecodeError(f"size {number} at {start} is above {MAX_SIZE}")
        return number

    def count(self, smallest_item: int) -> int:
        """Return a CompactSize that counts items of at least ``smallest_item`` bytes, all present."""
        start = self.position
        number = self.compact_size()
        if number * smallest_item > self.end - self.position:
            raise DecodeError(f"{number} items counted at {start}, {self.end - self.position} bytes left")
        return number

    def var_bytes(self) -> bytes:
        """Return bytes preceded by their length."""
        start = self.position
        # The common case first: this line is run for every script and witness item of a block.
        if start < self.end and (size := self.data[start]) < 0xFD:
            self.position = start + 1
            return self.read(size)
        return self.read(self.compact_size())

    def finish(self, what: str) -> None:
        """Refuse trailing bytes."""
        if self.position != self.end:
            raise DecodeError(f"{self.end - self.position} bytes after the end of the {what}")
