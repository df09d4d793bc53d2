"""Durations of the last minute as percentiles, from a histogram of fixed size."""

from __future__ import annotations

import math
from typing import Final

import numpy as np

_SECONDS: Final = 60
_PER_OCTAVE: Final = 16  # a bin is 4.4 % wide
_SMALLEST_S: Final = 1e-6
_BINS: Final = 26 * _PER_OCTAVE  # up to 67 s


class LatencyWindow:
    """A histogram over the last 60 seconds. Owned by one thread."""

    __slots__ = ("_counts", "_second")

    def __init__(self) -> None:
        self._counts = np.zeros((_SECONDS, _BINS), np.int64)
        self._second = 0

    def add(self, duration_s: float, now: float, weight: int = 1) -> None:
        """Count a duration, ``weight`` times, that ended at ``now``, a monotonic time in seconds."""
        self._advance(int(now))
        octaves = math.log2(max(duration_s, _SMALLEST_S) / _SMALLEST_S)
        self._counts[self._second % _SECONDS, min(int(octaves * _PER_OCTAVE), _BINS - 1)] += weight

    def quantile_ms(self, quantile: float, now: float) -> float | None:
        """Return the upper edge of the bin that holds the quantile, in ms; None when nothing was counted.

        Raises:
            ValueError: If ``quantile`` is not within 0 to 1.
        """
        if not 0 <= quantile <= 1:
            raise ValueError(f"quantile out of range: {quantile}")
        self._advance(int(now))
        cumulative = np.cumsum(self._counts.sum(axis=0))
        total = int(cumulative[-1])
        if total == 0:
            return None
        reached = int(np.searchsorted(cumulative, max(1, math.ceil(quantile * total))))
        return float(1000 * _SMALLEST_S * 2 ** ((reached + 1) / _PER_OCTAVE))

    def _advance(self, second: int) -> None:
        if second <= self._second:
            return
        for passed in range(max(self._second + 1, second - _SECONDS + 1), second + 1):
            self._counts[passed % _SECONDS] = 0
        self._second = second
