"""Share targets: powers of two, so that work is exact and jobs are shared by many sessions.

A share target is named by its ``work_log2`` w: a hash counts when it is below 2**(256-w), that is, when it is at
or below the target 2**(256-w) - 1. The work credited is 2**256 // (target + 1) = 2**w hashes, exactly.
"""

from __future__ import annotations

import math
from typing import Final

MIN_WORK_LOG2: Final = 0
MAX_WORK_LOG2: Final = 128
#: Difficulty 1 as machines understand it is 2**32 hashes (its exact target is 0xffff·2**208).
DIFFICULTY_1_WORK_LOG2: Final = 32


def target_from_work_log2(work_log2: int) -> int:
    """Return the share target, the largest hash that counts, as an integer below 2**256."""
    if not MIN_WORK_LOG2 <= work_log2 <= MAX_WORK_LOG2:
        raise ValueError(f"work_log2 out of range: {work_log2}")
    return (1 << (256 - work_log2)) - 1


def difficulty_from_work_log2(work_log2: int) -> int | float:
    """Return the difficulty to announce for a share target.

    A machine that computes its own target as 0xffff·2**208 / difficulty finds one stricter than ours by 1/65536,
    so no share that meets it can be below our target. Whole numbers stay integers: some firmware reads no others.
    """
    exponent = work_log2 - DIFFICULTY_1_WORK_LOG2
    return 1 << exponent if exponent >= 0 else 2.0**exponent


def work_log2_from_difficulty(difficulty: float) -> int:
    """Return the hardest power-of-two target that is not harder than ``difficulty``, clamped to the legal range.

    Raises:
        ValueError: If ``difficulty`` is not a positive finite number.
    """
    if not 0 < difficulty < float("inf"):
        raise ValueError(f"difficulty must be positive and finite: {difficulty}")
    exponent = math.frexp(difficulty)[1] - 1
    return min(max(exponent + DIFFICULTY_1_WORK_LOG2, MIN_WORK_LOG2), MAX_WORK_LOG2)
