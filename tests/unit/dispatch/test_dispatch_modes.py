"""Steps between modes, the hull, grids."""

from __future__ import annotations

import numpy as np
import pytest

from hashwerk.dispatch.grid import Grid, rolling_grid, uniform_grid
from hashwerk.dispatch.modes import all_steps, hull_steps
from support.dispatch import group, modes


def test_the_last_step_of_a_real_machine_earns_less_than_its_average() -> None:
    # At 45 a PH and day an S19k Pro averages 81.7 a MWh, yet its last step from 1,657 to 2,794 W earns only 68.1.
    machine = modes((1_657, 80.4), (2_794, 121.7))
    last = hull_steps(machine, 0.0)[-1]
    assert last.break_even_per_mwh(45.0) == pytest.approx(68.1, abs=0.1)
    average = hull_steps(modes((2_794, 121.7)), 0.0)[0]
    assert average.break_even_per_mwh(45.0) == pytest.approx(81.7, abs=0.1)


def test_a_mode_below_the_hull_is_left_out_of_it_and_kept_for_whole_numbers() -> None:
    machine = modes((1_000, 40), (2_000, 60), (3_000, 120))
    assert [step.mode for step in hull_steps(machine, 0.0)] == [2]
    assert [step.mode for step in all_steps(machine, 0.0)] == [0, 1, 2]


def test_steps_of_the_hull_become_less_efficient() -> None:
    steps = hull_steps(modes((1_000, 50), (1_500, 70), (2_000, 95), (3_000, 120), (3_100, 121)), 20.0)
    merit = [step.extra_hashrate_hs / step.extra_power_w for step in steps]
    assert merit == sorted(merit, reverse=True)
    assert sum(step.extra_power_w for step in steps) == 3_080


def test_residual_power_makes_the_first_step_smaller() -> None:
    assert hull_steps(modes((1_000, 50)), 100.0)[0].extra_power_w == 900


@pytest.mark.parametrize("pairs", [(), ((1_000, 50), (900, 60)), ((1_000, 50), (1_100, 50)), ((10, 50),)])
def test_modes_that_do_not_rise_are_refused(pairs: tuple[tuple[float, float], ...]) -> None:
    with pytest.raises(ValueError, match=r"rise|mode to work"):
        group(pairs=pairs, residual_w=20.0)


def test_the_rolling_grid_is_fine_at_first_and_aligned_later() -> None:
    now_s = 1_750_000_123.0
    grid = rolling_grid(now_s)
    assert grid.starts_s[0] <= now_s < grid.ends_s[0]
    assert grid.durations_s[0] == 300
    assert grid.durations_s[-1] == 3_600
    for length_s in (900.0, 3_600.0):
        assert not (grid.starts_s[grid.durations_s == length_s] % length_s).any()
    assert 48 * 3_600 <= grid.ends_s[-1] - now_s <= 49 * 3_600 + 300
    assert len(grid) < 180


def test_a_grid_finds_the_interval_of_a_moment() -> None:
    grid = uniform_grid(0.0, 300.0, 3)
    assert [grid.at(t) for t in (-5.0, 0.0, 299.9, 300.0, 9_999.0)] == [0, 0, 0, 1, 2]


@pytest.mark.parametrize("starts", [[], [0.0, 500.0], [0.0, 200.0]])
def test_a_grid_with_gaps_is_refused(starts: list[float]) -> None:
    with pytest.raises(ValueError, match=r"grid"):
        Grid(np.array(starts), np.full(len(starts), 300.0))
