"""Who sleeps for a hard limit: enough of them, and nobody in vain."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hashwerk.dispatch.cover import cover


@settings(max_examples=200, deadline=None)
@given(
    saved_w=st.lists(st.floats(0.0, 4_000.0), max_size=40),
    excess_w=st.floats(0.0, 60_000.0),
)
def test_enough_sleep_and_none_of_them_in_vain(saved_w: list[float], excess_w: float) -> None:
    chosen = cover(excess_w, saved_w)
    assert len(set(chosen)) == len(chosen)
    taken_w = float(np.array(saved_w)[chosen].sum()) if len(chosen) else 0.0
    if sum(saved_w) < excess_w - 1e-6:
        assert sorted(chosen) == [place for place, watts in enumerate(saved_w) if watts > 0]
        return
    assert taken_w >= excess_w - 1e-6
    for place in chosen:
        assert taken_w - saved_w[place] < excess_w + 1e-6


@pytest.mark.parametrize(
    ("excess_w", "saved_w", "chosen"),
    [
        (3_100.0, [3_000.0, 3_000.0, 130.0, 130.0], [0, 2]),  # the small one covers the rest
        (100.0, [3_000.0, 1_500.0, 130.0], [2]),  # not the worst of them for a hundred watts
        (3_200.0, [130.0, 130.0, 3_300.0], [2]),  # the large one alone: the small ones stay on
        (0.0, [3_000.0], []),
        (9_000.0, [3_000.0, 1_500.0, 0.0], [0, 1]),  # all that there is
    ],
)
def test_who_it_is(excess_w: float, saved_w: list[float], chosen: list[int]) -> None:
    assert list(cover(excess_w, saved_w)) == chosen
