"""How intervals of one kind lie over those of another: which parts overlap, and for how many seconds."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

FloatArray = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True, eq=False)
class Pieces:
    """The overlaps of source intervals with target intervals, in order of time.

    Args:
        source: Number of the source interval of each piece, shape (P,).
        target: Number of its target interval, rising, shape (P,).
        lengths_s: Length of each piece in seconds, shape (P,).
        targets: How many target intervals there are.
    """

    source: IntArray
    target: IntArray
    lengths_s: IntArray
    targets: int

    def covered_s(self, counts: IntArray) -> IntArray:
        """Return how many seconds of each target are covered by pieces whose count is 1, shape (targets,)."""
        total = np.zeros(self.targets, dtype=np.int64)
        np.add.at(total, self.target, self.lengths_s * counts)
        return total

    def sum(self, values: FloatArray) -> FloatArray:
        """Return the sum of the pieces' values per target, shape (targets,)."""
        return np.bincount(self.target, weights=values, minlength=self.targets).astype(np.float64)

    def mean(self, values: FloatArray) -> FloatArray:
        """Return the mean by seconds per target; a target of one piece has exactly its value; 0 where there is none."""
        seconds = self.sum(self.lengths_s.astype(np.float64))
        totals = self.sum(values * self.lengths_s)
        means = np.divide(totals, seconds, out=np.zeros(self.targets), where=seconds > 0)
        alone = np.bincount(self.target, minlength=self.targets)[self.target] == 1
        means[self.target[alone]] = values[alone]
        return means

    def max(self, values: IntArray) -> IntArray:
        """Return the greatest value per target, 0 where there is none."""
        greatest = np.zeros(self.targets, dtype=np.int64)
        np.maximum.at(greatest, self.target, values)
        return greatest


def spread_over(
    starts_s: IntArray, ends_s: IntArray, target_starts_s: IntArray, target_ends_s: IntArray
) -> Pieces:
    """Return the pieces that source and target intervals have in common; both are sorted and without overlap.

    Raises:
        ValueError: If a target interval is empty, or targets overlap or are out of order.
    """
    if (target_ends_s <= target_starts_s).any() or (target_starts_s[1:] < target_ends_s[:-1]).any():
        raise ValueError("target intervals are longer than nothing, in order, and do not overlap")
    first = np.searchsorted(ends_s, target_starts_s, side="right")
    last = np.searchsorted(starts_s, target_ends_s, side="left")
    counts = np.maximum(last - first, 0)
    target = np.repeat(np.arange(len(target_starts_s), dtype=np.int64), counts)
    offset = np.arange(int(counts.sum()), dtype=np.int64) - np.repeat(np.cumsum(counts) - counts, counts)
    source = np.repeat(first, counts).astype(np.int64) + offset
    lengths = np.minimum(ends_s[source], target_ends_s[target]) - np.maximum(
        starts_s[source], target_starts_s[target]
    )
    return Pieces(source, target, lengths, len(target_starts_s))
