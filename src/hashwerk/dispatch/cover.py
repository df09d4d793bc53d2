"""Which machines are put to sleep so that a hard limit is kept, and no more of them than that takes."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from hashwerk.dispatch.grid import FloatArray, IntArray


def cover(excess_w: float, saved_w: Sequence[float] | FloatArray) -> IntArray:
    """Return the places of the machines to put to sleep, shape (K,), rising; all of them where that is not enough.

    What they save together is at least ``excess_w``, and none of them could stay on: too much is taken by less than the
    smallest of them. First whoever fits into what is left of the excess, in the order given; what still remains then goes to
    the smallest machine that is larger than it; at last whoever turns out not to be needed stays on, the largest first.

    Args:
        excess_w: How much is above the limit.
        saved_w: What each machine saves asleep, shape (N,), the one that shall go first in front.
    """
    saves = np.asarray(saved_w, dtype=np.float64)
    useful = np.flatnonzero(saves > 0)
    chosen = list[int]()
    left_w = excess_w
    for place in useful.tolist():
        if left_w <= 0:
            break
        if saves[place] <= left_w:
            chosen.append(place)
            left_w -= float(saves[place])
    if left_w > 0:
        others = np.setdiff1d(useful, chosen)
        if len(others):  # each of them saves more than what is left, else it had been taken
            last = int(others[np.argmin(saves[others])])
            chosen.append(last)
            left_w -= float(saves[last])
    for place in sorted(chosen, key=lambda place: (-saves[place], -place)):
        if saves[place] <= -left_w:
            chosen.remove(place)
            left_w += float(saves[place])
    return np.array(sorted(chosen), dtype=np.int64)
