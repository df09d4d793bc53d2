"""Shares with what each stands for: 2^w hashes, times the scale of its account."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Final

import numpy as np
from numpy.typing import NDArray

from hashwerk.work.poisson import weighted_intervals

#: Work is kept by time in steps of this length, for the comparison with meters.
BIN_US: Final = 60_000_000
#: Shares by (work_log2, scale).
Weighed = Mapping[tuple[int, int], int]
_LAST: Final = 2**62  # no minute lies beyond


def hashes_of(counts: Weighed) -> int:
    """Return the hashes that shares stand for, exactly."""
    return sum((count << work_log2) * scale for (work_log2, scale), count in counts.items())


def interval_of_hashes(counts: Weighed, confidence: float = 0.95) -> tuple[float, float | None]:
    """Return the interval of the hashes that shares stand for; without a share there is no upper end.

    The gamma method of Fay and Feuer on the weighted sum, see `weighted_intervals`.
    """
    shown = [(float(scale) * 2.0**work_log2, count) for (work_log2, scale), count in counts.items() if count]
    if not shown or not any(weight for weight, _ in shown):
        return 0.0, None
    weights, numbers = (np.array(column, np.float64) for column in zip(*shown, strict=True))
    low, high = weighted_intervals(
        float(weights @ numbers), float(weights**2 @ numbers), float(weights.max()), confidence
    )
    return float(low), float(high)


class MinuteWork:
    """Work by the minute in which it was received, summed over any span at once."""

    def __init__(self, minutes: Mapping[tuple[int, int, int], int]) -> None:
        """Take shares by minute, work_log2 and scale."""
        keys = sorted(minutes)
        self._kinds = sorted({(work_log2, scale) for _, work_log2, scale in keys})
        number = {kind: index for index, kind in enumerate(self._kinds)}
        self._minutes = np.array([minute for minute, _, _ in keys], np.int64)
        self._kind = np.array([number[work_log2, scale] for _, work_log2, scale in keys], np.int64)
        self._counts = np.array([minutes[key] for key in keys], np.int64)

    def within(self, start_us: int, end_us: int) -> Weighed:
        """Return the shares of the whole minutes inside an interval."""
        first, end = min(-(-start_us // BIN_US), _LAST), min(end_us // BIN_US, _LAST)
        part = slice(*np.searchsorted(self._minutes, [first, end]).tolist())
        found: NDArray[np.int64] = np.zeros(len(self._kinds), np.int64)
        np.add.at(found, self._kind[part], self._counts[part])
        return {kind: count for kind, count in zip(self._kinds, found.tolist(), strict=True) if count}


def weigh(counts: Iterable[tuple[NDArray[np.int64], int]]) -> Weighed:
    """Return shares by (work_log2, scale) from counts by work_log2, each with its scale."""
    found: dict[tuple[int, int], int] = {}
    for row, scale in counts:
        for work_log2 in np.flatnonzero(row).tolist():
            key = work_log2, scale
            found[key] = found.get(key, 0) + int(row[work_log2])
    return found
