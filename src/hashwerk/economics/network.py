"""What the network will be like: the difficulty to expect after the running period."""

from __future__ import annotations

from decimal import Decimal
from typing import Final

from hashwerk.economics.hashprice import Number

RETARGET_BLOCKS: Final = 2_016
#: A period of 2,016 blocks is measured over the 2,015 intervals between them, and compared with 2,016 intended ones.
MEASURED_INTERVALS: Final = RETARGET_BLOCKS - 1
BLOCK_INTERVAL_S: Final = 600
_LARGEST_CHANGE: Final = Decimal(4)


def expected_next_difficulty(difficulty: Number, intervals: int, elapsed_s: Number) -> Decimal:
    """Return the difficulty to expect after a period of which ``intervals`` block intervals took ``elapsed_s`` seconds.

    The rest of the period is taken to go on at the same pace. D' = D · 2016·600 / (t/n · 2015), within [D/4, 4·D]: the
    consensus rule without the rounding of targets to nBits, which changes D by less than 1/2¹⁵.

    Raises:
        ValueError: If the difficulty or time is not positive, or ``intervals`` is not in 1…2015.
    """
    if not difficulty > 0 or not elapsed_s > 0:
        raise ValueError(f"difficulty and time are positive: {difficulty}, {elapsed_s} s")
    if not 1 <= intervals <= MEASURED_INTERVALS:
        raise ValueError(f"a period has 1 to {MEASURED_INTERVALS} intervals: {intervals}")
    span_s = Decimal(elapsed_s) / intervals * MEASURED_INTERVALS
    change = RETARGET_BLOCKS * BLOCK_INTERVAL_S / span_s
    return difficulty * min(max(change, 1 / _LARGEST_CHANGE), _LARGEST_CHANGE)
