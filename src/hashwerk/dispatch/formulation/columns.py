"""The columns that the families of constraints share, named once."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np

from hashwerk.dispatch.grid import FloatArray, IntArray
from hashwerk.dispatch.modes import HOURS_PER_DAY, HS_PER_PHS, Step, all_steps, hull_steps
from hashwerk.dispatch.problem import Group, Problem

#: Site power is in MW and energy in MWh inside the program, so that coefficients lie near those of counts.
W_PER_MW: Final = 1e6


@dataclass(slots=True)
class Columns:
    """Numbers of columns; −1 where there is none.

    ``at_least[g, k, t]`` counts the machines of group g in the mode of step k or a higher one; a group with fewer steps has
    −1 above them. ``starts[g, t]`` is −1 for a group whose hours are not coupled.
    """

    at_least: IntArray  # (G, K, T)
    starts: IntArray  # (G, T)
    imports: IntArray  # (T,), MW
    exports: IntArray
    local: IntArray
    charge: IntArray
    discharge: IntArray
    stored: IntArray  # MWh at the end of each interval


@dataclass(frozen=True, slots=True, eq=False)
class Steps:
    """The steps of all groups as arrays of shape (G, K); a step that a group does not have is all zero.

    ``unit`` is how many machines one unit of a column stands for: 1, or the whole group where one switch serves all.
    """

    of_groups: tuple[tuple[Step, ...], ...]
    exists: np.ndarray[tuple[int, int], np.dtype[np.bool_]]
    power_w: FloatArray  # of one unit
    hashrate_hs: FloatArray
    unit: IntArray  # (G,)


def steps_of(problem: Problem, *, integer: bool) -> Steps:
    """Return the steps: those of the convex hull for the linear program, all of them for whole numbers."""
    return steps_of_groups(problem.groups, integer=integer)


def steps_of_groups(groups: tuple[Group, ...], *, integer: bool = False) -> Steps:
    """Return the steps of groups as arrays."""
    make = all_steps if integer else hull_steps
    found = tuple(make(group.modes, group.residual_w) for group in groups)
    unit = np.array([group.count if integer and group.together else 1 for group in groups], dtype=np.int64)
    shape = (len(groups), max((len(steps) for steps in found), default=1))
    power_w, hashrate_hs, exists = np.zeros(shape), np.zeros(shape), np.zeros(shape, dtype=bool)
    for number, steps in enumerate(found):
        power_w[number, : len(steps)] = [step.extra_power_w for step in steps]
        hashrate_hs[number, : len(steps)] = [step.extra_hashrate_hs for step in steps]
        exists[number, : len(steps)] = True
    return Steps(
        of_groups=found,
        exists=exists,
        power_w=power_w * unit[:, None],
        hashrate_hs=hashrate_hs * unit[:, None],
        unit=unit,
    )


def revenue_per_step(problem: Problem, steps: Steps) -> FloatArray:
    """Return what one unit of each step earns in each interval: hashprice · ΔH · Δt, shape (G, K, T)."""
    per_hs_hour = problem.hashprice_per_ph_day / HS_PER_PHS / HOURS_PER_DAY
    return steps.hashrate_hs[:, :, None] * (per_hs_hour * problem.grid.hours)[None, None, :]


def is_coupled(group: Group) -> bool:
    """Tell whether a group's hours depend on each other: only then does it need start variables."""
    return bool(
        group.wake_s
        or group.wear_per_start
        or group.min_on_s
        or group.min_off_s
        or group.starts_per_day is not None
    )
