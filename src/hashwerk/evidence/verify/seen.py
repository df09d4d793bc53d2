"""Which headers were counted, to find one that was counted twice; with bounded memory.

The first 16 bytes of a header's hash are uniform and as good as the whole to tell headers apart.
"""

from __future__ import annotations

import tempfile
from typing import IO, Final

import numpy as np
from numpy.typing import NDArray

from hashwerk.evidence.share_leaf import Bytes2D

_PARTS: Final = 64
_ENTRY: Final = np.dtype([("first", "<u8"), ("second", "<u8"), ("epoch", "<u8"), ("position", "<u4")])
#: Entries held in memory, 28 bytes each; beyond that they go to files, by the first byte of the hash.
MAX_HELD: Final = 2_000_000

Place = tuple[int, int]  # epoch and position


class SeenHashes:
    """Collects hashes with their places; `duplicate` says whether two are the same.

    Resource handling: call `close`.
    """

    def __init__(self, max_held: int = MAX_HELD) -> None:
        self._max_held = max_held
        self._files: list[IO[bytes]] | None = None
        self._held: list[NDArray[np.void]] = []
        self.count = 0

    def add(self, hashes: Bytes2D, epoch: int, positions: NDArray[np.uint32]) -> None:
        """Add the hashes of a chunk."""
        entries = np.empty(len(hashes), _ENTRY)
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

    def entries(self) -> NDArray[np.void] | None:
        """Return all entries; None: they are too many to hold."""
        if self._files is not None:
            return None
        return np.concatenate(self._held) if self._held else np.empty(0, _ENTRY)

    def close(self) -> None:
        """Remove the files."""
        for file in self._files or ():
            file.close()
        self._files = None

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
