"""Shares that were blocks: found while a bundle streams by, then asked for those that a record speaks of.

On an easy chain every share may be one, so they are kept packed and only those that are asked for become objects.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from hashwerk.evidence.job_record import assemble
from hashwerk.evidence.records import Job
from hashwerk.evidence.rehash import Hashed
from hashwerk.evidence.share_leaf import Leaves

_DTYPE: Final = np.dtype(
    [
        ("hash", "V32"),
        ("epoch", "<u8"),
        ("at", "<i8"),
        ("time_us", "<u8"),
        ("extranonce1", "<u8"),
        ("extranonce2", "<u8"),
        ("position", "<u4"),
        ("job", "<u4"),
    ]
)


class BlockShare(NamedTuple):
    """A share that meets the network's target."""

    hash: bytes
    epoch: int
    position: int
    at: int  # among all bound shares of the bundle; -1: its work is unbound
    time_us: int
    job: Job
    extranonce1: int
    extranonce2: int

    def coinbase(self) -> bytes:
        """Return the block's coinbase without witness."""
        return assemble(self.job, self.extranonce1, self.extranonce2)


class BlockShares:
    """All shares of a bundle that were blocks."""

    def __init__(self) -> None:
        self._open: list[NDArray[np.void]] = []
        self._placed: list[NDArray[np.void]] = []
        self._jobs: dict[tuple[int, int], Job] = {}

    def add(self, epoch: int, leaves: Leaves, hashed: Hashed) -> None:
        """Take those of a chunk."""
        hits = np.flatnonzero(hashed.blocks)
        if not len(hits):
            return
        found = np.empty(len(hits), _DTYPE)
        found["hash"] = np.ascontiguousarray(hashed.hashes[hits]).view("V32").reshape(len(hits))
        found["epoch"] = epoch
        for name in ("time_us", "extranonce1", "extranonce2", "position", "job"):
            found[name] = leaves[name][hits]
        self._open.append(found)

    def place(self, positions: NDArray[np.uint32], first: int, jobs: Mapping[int, Job]) -> None:
        """End an epoch: say where its shares stand.

        Args:
            positions: Of its bound shares, ascending.
            first: Where the first of them stands among all.
            jobs: The epoch's jobs by their numbers.
        """
        for found in self._open:
            at = np.searchsorted(positions, found["position"])
            bound = np.array([not jobs[int(job)].upstream for job in found["job"]], np.bool_)
            found["at"] = np.where(bound, first + at, -1)
            for epoch, job in set(zip(found["epoch"].tolist(), found["job"].tolist(), strict=True)):
                self._jobs[epoch, job] = jobs[job]
            self._placed.append(found)
        self._open = []

    def among(self, hashes: Iterable[bytes]) -> dict[bytes, BlockShare]:
        """Return those of these hashes that are here; of one that is here twice, the first."""
        wanted = set(hashes)
        if not wanted:
            return {}
        found: dict[bytes, BlockShare] = {}
        for part in self._placed:
            for row in part:
                hash_ = bytes(row["hash"])
                if hash_ in wanted and hash_ not in found:
                    found[hash_] = self._share(row)
        return found

    def unnamed(self, hashes: Iterable[bytes]) -> int:
        """Return how many of bound work are none of these."""
        known = set(hashes)
        return sum(
            int(row["at"]) >= 0 and bytes(row["hash"]) not in known for part in self._placed for row in part
        )

    def _share(self, row: np.void) -> BlockShare:
        epoch, job = int(row["epoch"]), int(row["job"])
        return BlockShare(
            hash=bytes(row["hash"]),
            epoch=epoch,
            position=int(row["position"]),
            at=int(row["at"]),
            time_us=int(row["time_us"]),
            job=self._jobs[epoch, job],
            extranonce1=int(row["extranonce1"]),
            extranonce2=int(row["extranonce2"]),
        )
