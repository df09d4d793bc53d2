"""Which headers were counted, to find one that was counted twice; with bounded memory.

The first 16 bytes of a header's hash are uniform and as good as the whole to tell headers apart.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from typing import IO, Final

import numpy as np
from numpy.typing import NDArray

from hashwerk.evidence.share_leaf import Bytes2D

_PARTS: Final = 64
_ENTRY: Final = np.dtype(
    [
        ("first", "<u8"),
        ("second", "<u8"),
        ("epoch", "<u8"),
        ("position", "<u4"),
        ("work_log2", "u1"),
        ("scale", "u1"),  # index of what each of its hashes stands for, see `SeenHashes.scales`
        ("is_bound", "u1"),
    ]
)
#: Entries held in memory, 31 bytes each; beyond that they go to files, by the first byte of the hash.
MAX_HELD: Final = 2_000_000
_MOST_SCALES: Final = 256

Place = tuple[int, int]  # epoch and position


class SeenHashes:
    """Collects hashes with their places; `duplicate` says whether two are the same.

    Resource handling: call `close`.
    """

    def __init__(self, max_held: int = MAX_HELD) -> None:
        self._max_held = max_held
        self._files: list[IO[bytes]] | None = None
        self._held: list[NDArray[np.void]] = []
        self._is_lost = False
        self.scales: list[int] = []
        self.count = 0

    def add(
        self,
        hashes: Bytes2D,
        epoch: int,
        positions: NDArray[np.uint32],
        works: NDArray[np.uint8],
        *,
        scale: int,
        is_bound: bool,
    ) -> None:
        """Add the hashes of a chunk of one account's shares, with the log2 of what each is credited."""
        entries = np.empty(len(hashes), _ENTRY)
        entries["work_log2"], entries["is_bound"] = works, is_bound
        entries["scale"] = self._scale(scale)
        halves = np.ascontiguousarray(hashes[:, :16]).view("<u8")
        entries["first"], entries["second"] = halves[:, 0], halves[:, 1]
        entries["epoch"], entries["position"] = epoch, positions
        self.count += len(entries)
        if self._files is None and self.count <= self._max_held:
            self._held.append(entries)
            return
        if self._files is None:
            self._files = [tempfile.TemporaryFile() for _ in range(_PARTS)]  # noqa: SIM115 - closed by `close`
            for held in self._held:
                self._spill(held)
            self._held = []
        self._spill(entries)

    def duplicate(self) -> tuple[Place, Place] | None:
        """Return the places of two shares with one header; None: there are none."""
        if self._files is None:
            return _duplicate(np.concatenate(self._held)) if self._held else None
        for file in self._files:
            file.seek(0)
            found = _duplicate(np.frombuffer(file.read(), _ENTRY))
            if found is not None:
                return found
        return None

    def parts(self) -> Iterator[NDArray[np.void]] | None:
        """Return all entries in pieces: those of one piece can be in the piece of that number of another only.

        None: they were in files that are closed.
        """
        return None if self._is_lost else self._pieces()

    def close(self) -> None:
        """Remove the files; what is held in memory stays."""
        for file in self._files or ():
            file.close()
        self._is_lost = self._is_lost or self._files is not None
        self._files = None

    def _pieces(self) -> Iterator[NDArray[np.void]]:
        held = np.concatenate(self._held) if self._held else np.empty(0, _ENTRY)
        piece_of = held["first"] % np.uint64(_PARTS)
        for number in range(_PARTS):
            if self._files is None:
                yield held[piece_of == number]
            else:
                self._files[number].seek(0)
                yield np.frombuffer(self._files[number].read(), _ENTRY)

    def _scale(self, scale: int) -> int:
        if scale not in self.scales and len(self.scales) < _MOST_SCALES:
            self.scales.append(scale)
        # Beyond that a bundle changes its scale all the time, which is a contradiction of its own.
        return self.scales.index(scale) if scale in self.scales else _MOST_SCALES - 1

    def _spill(self, entries: NDArray[np.void]) -> None:
        assert self._files is not None
        parts = entries["first"] % np.uint64(_PARTS)
        for part in np.unique(parts).tolist():
            self._files[part].write(entries[parts == part].tobytes())


def _duplicate(entries: NDArray[np.void]) -> tuple[Place, Place] | None:
    ordered = np.argsort(entries["first"])
    first = entries["first"][ordered]
    same = np.flatnonzero(first[1:] == first[:-1])
    # Half a hash may agree by chance or by design; only the whole 16 bytes count.
    seen: dict[tuple[int, int], Place] = {}
    for index in np.unique(np.concatenate([same, same + 1])).tolist():
        entry = entries[ordered[index]]
        key = int(entry["first"]), int(entry["second"])
        place = int(entry["epoch"]), int(entry["position"])
        known = seen.setdefault(key, place)
        if known != place:
            return min(known, place), max(known, place)
        if known is not place:
            return known, place
    return None
