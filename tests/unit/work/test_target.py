"""Share targets as powers of two."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hashwerk.work.target import (
    MAX_WORK_LOG2,
    MIN_WORK_LOG2,
    difficulty_from_work_log2,
    target_from_work_log2,
    work_log2_from_difficulty,
)

DIFFICULTY_1_TARGET = 0xFFFF << 208


@pytest.mark.parametrize("work_log2", range(MIN_WORK_LOG2, MAX_WORK_LOG2 + 1))
def test_work_is_exact_and_the_machines_target_is_stricter(work_log2: int) -> None:
    target = target_from_work_log2(work_log2)
    assert 2**256 // (target + 1) == 2**work_log2
    difficulty = difficulty_from_work_log2(work_log2)
    assert work_log2_from_difficulty(difficulty) == work_log2
    if work_log2 >= 32:
        assert isinstance(difficulty, int)
        assert DIFFICULTY_1_TARGET // difficulty <= target


@given(st.floats(min_value=2.0**-32, max_value=2.0**96, exclude_max=True))
def test_never_harder_than_asked(difficulty: float) -> None:
    work_log2 = work_log2_from_difficulty(difficulty)
    assert difficulty_from_work_log2(work_log2) <= difficulty < 2 * difficulty_from_work_log2(work_log2)


@pytest.mark.parametrize("difficulty", [0.0, -1.0, math.inf, math.nan])
def test_no_difficulty(difficulty: float) -> None:
    with pytest.raises(ValueError, match="difficulty"):
        work_log2_from_difficulty(difficulty)


@pytest.mark.parametrize("work_log2", [-1, MAX_WORK_LOG2 + 1])
def test_no_target(work_log2: int) -> None:
    with pytest.raises(ValueError, match="out of range"):
        target_from_work_log2(work_log2)


def test_extremes_are_clamped() -> None:
    assert work_log2_from_difficulty(1e-300) == MIN_WORK_LOG2
    assert work_log2_from_difficulty(1e300) == MAX_WORK_LOG2
