"""The intervals of a plan: fine where it is about to be carried out, coarse where it is only a view ahead.

Time is UTC and intervals are half-open: interval t is [starts_s[t], starts_s[t] + durations_s[t]).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

FloatArray = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]
BoolArray = npt.NDArray[np.bool_]

DAY_S: Final = 86_400.0
HOUR_S: Final = 3_600.0

#: Lengths of intervals and until how far ahead each is used: 5 min for 6 h, 15 min for a day, hours to the end of the next.
ROLLING: Final = ((300.0, 6 * HOUR_S), (900.0, DAY_S), (HOUR_S, 2 * DAY_S))


@dataclass(frozen=True, slots=True, eq=False)
class Grid:
    """Consecutive half-open intervals.

    Args:
        starts_s: Beginnings, Unix seconds, shape (T,).
        durations_s: Lengths, shape (T,).

    Raises:
        ValueError: If the intervals are empty, leave a gap or overlap.
    """

    starts_s: FloatArray
    durations_s: FloatArray

    def __post_init__(self) -> None:
        if len(self.starts_s) == 0 or self.starts_s.shape != self.durations_s.shape:
            raise ValueError(
                f"a grid needs intervals: {len(self.starts_s)} starts, {len(self.durations_s)} durations"
            )
        if not (self.durations_s > 0).all():
            raise ValueError("an interval lasts longer than nothing")
        if not np.allclose(self.starts_s[1:], (self.starts_s + self.durations_s)[:-1], atol=1e-6, rtol=0):
            raise ValueError("the intervals of a grid follow each other without gap or overlap")

    def __len__(self) -> int:
        return len(self.starts_s)

    @property
    def ends_s(self) -> FloatArray:
        """Ends of the intervals, Unix seconds."""
        return self.starts_s + self.durations_s

    @property
    def hours(self) -> FloatArray:
        """Lengths in hours: what turns MW into MWh."""
        return self.durations_s / HOUR_S

    @property
    def days(self) -> IntArray:
        """The UTC day that each interval begins in, days since 1970."""
        return (self.starts_s // DAY_S).astype(np.int64)

    def at(self, time_s: float) -> int:
        """Return the number of the interval that contains a moment; moments outside give the first or the last."""
        return int(np.clip(np.searchsorted(self.starts_s, time_s, side="right") - 1, 0, len(self) - 1))


def uniform_grid(start_s: float, duration_s: float, count: int) -> Grid:
    """Return ``count`` intervals of equal length."""
    starts_s = start_s + duration_s * np.arange(count, dtype=np.float64)
    return Grid(starts_s.astype(np.float64), np.full(count, float(duration_s)))


def rolling_grid(now_s: float, sections: tuple[tuple[float, float], ...] = ROLLING) -> Grid:
    """Return the grid of a plan made at ``now_s``: each section goes on until the next, longer, interval can begin.

    Args:
        now_s: Unix seconds; the first interval is the one that contains it.
        sections: (length, until) pairs in seconds, lengths rising, each length a multiple of the one before.
    """
    start_s = now_s // sections[0][0] * sections[0][0]
    starts: list[FloatArray] = []
    at_s = start_s
    for number, (length_s, until_s) in enumerate(sections):
        coarser_s = sections[number + 1][0] if number + 1 < len(sections) else length_s
        end_s = -(-(start_s + until_s) // coarser_s) * coarser_s
        starts.append(np.arange(at_s, end_s, length_s))
        at_s = end_s
    edges = np.concatenate([*starts, np.array([at_s])]).astype(np.float64)
    lengths_s: FloatArray = np.diff(edges)
    return Grid(edges[:-1], lengths_s)
