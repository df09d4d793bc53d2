"""Starts, minimum on and off times, starts a day: docs/formulations/transitions.md.

Stops are eliminated: d = u − Δon, so one column a group and interval says it all (Rajan & Takriti 2005, "Minimum
up/down polytopes of the unit commitment problem with start-up costs").
"""

from __future__ import annotations

import numpy as np

from hashwerk.dispatch.formulation.columns import Steps, is_coupled
from hashwerk.dispatch.formulation.model import Model
from hashwerk.dispatch.grid import FloatArray, Grid, IntArray
from hashwerk.dispatch.modes import HOURS_PER_DAY, HS_PER_PHS
from hashwerk.dispatch.problem import Group, GroupHistory, Problem
from hashwerk.dispatch.schedule import waking_hashrate_hs


def add_starts(
    model: Model, problem: Problem, steps: Steps, at_least: IntArray, *, integer: bool
) -> IntArray:
    """Add u[g,t] ≥ 0, the starts, with their costs; −1 for groups whose hours are not coupled.

        u[g,t] ≥ on[g,t] − on[g,t−1]                    on = y[g,1,·], on[g,−1] from the measured history
        objective: + Σ (wear_g + hashprice_t · H_g · wake_g) · u[g,t]

    H_g is the hash rate of the lowest mode on the hull. The dual is the value of a machine that is already on.
    """
    starts = np.full((len(problem.groups), len(problem.grid)), -1, dtype=np.int64)
    coupled = [g for g, group in enumerate(problem.groups) if is_coupled(group)]
    if not coupled:
        return starts
    lost_share = problem.hashprice_per_ph_day / HS_PER_PHS / HOURS_PER_DAY / 3_600.0
    cost = np.array(
        [
            problem.groups[g].wear_per_start * steps.unit[g]
            + lost_share * steps.unit[g] * waking_hashrate_hs(problem.groups[g]) * problem.groups[g].wake_s
            for g in coupled
        ]
    )
    times_s = problem.grid.starts_s
    starts[coupled] = model.add_columns(
        "starts", (len(coupled), len(problem.grid)), cost=cost, integer=integer, times_s=times_s
    )
    on = at_least[coupled, 0]
    before = np.column_stack([np.full(len(coupled), -1), on[:, :-1]])
    upper = np.zeros(on.shape)
    upper[:, 0] = problem.running_before()[coupled] / np.maximum(1, steps.unit[coupled])
    model.add_rows(
        "starts", [(on, 1.0), (before, -1.0), (starts[coupled], -1.0)], upper=upper, times_s=times_s
    )
    return starts


def add_min_on(model: Model, problem: Problem, steps: Steps, at_least: IntArray, starts: IntArray) -> None:
    """Add that whoever was started in the last L seconds is still on.

        Σ_{τ: t − L < τ ≤ t} u[g,τ] + young[g,t] ≤ on[g,t]

    young[g,t] are the machines whose measured history keeps them on in t, as far as they are available. The dual is what
    stopping a machine early would save.
    """
    for g, group in enumerate(problem.groups):
        if group.min_on_s <= 0:
            continue
        young = np.minimum(
            kept(problem.grid, problem.histories[g].on_for_s, group.min_on_s), problem.available[g]
        )
        unit = max(1, int(steps.unit[g]))
        model.add_rows(
            f"min on {group.name}",
            [(at_least[g, 0], -1.0), (window(problem.grid, starts[g], group.min_on_s), 1.0)],
            upper=-np.ceil(young / unit),
            limit=f"minimum time on of {group.name}",
            times_s=problem.grid.starts_s,
        )


def add_min_off(model: Model, problem: Problem, steps: Steps, at_least: IntArray, starts: IntArray) -> None:
    """Add that whoever was stopped in the last L seconds stays asleep.

        Σ_{t − L < τ ≤ t} u[g,τ] ≤ N_g − on[g, t − L] − resting[g,t]

    where stops were written as u − Δon; on[g, t − L] is the count just before the window, and resting[g,t] the machines that
    the measured history still keeps asleep once the window reaches back before the plan. The dual is what waking early
    would earn.
    """
    for g, group in enumerate(problem.groups):
        if group.min_off_s <= 0:
            continue
        unit = max(1, int(steps.unit[g]))
        resting = kept(problem.grid, problem.histories[g].off_for_s, group.min_off_s)
        before = _before_window(problem.grid, at_least[g, 0], group.min_off_s)
        running = np.where(before < 0, len(problem.histories[g].on_for_s), 0)
        model.add_rows(
            f"min off {group.name}",
            [(before, 1.0), (window(problem.grid, starts[g], group.min_off_s), 1.0)],
            upper=np.maximum(0.0, (group.count - running - resting) // unit),
            limit=f"minimum time asleep of {group.name}",
            times_s=problem.grid.starts_s,
        )


def add_start_budget(model: Model, problem: Problem, steps: Steps, starts: IntArray) -> None:
    """Add the starts of each UTC day.

        Σ_{t in day} u[g,t] ≤ K_g · N_g, on the first day what the machines have left

    The dual is what one more start that day would earn.
    """
    days = problem.grid.days
    for g, group in enumerate(problem.groups):
        if group.starts_per_day is None:
            continue
        unit = max(1, int(steps.unit[g]))
        for day in np.unique(days):
            columns = starts[g][days == day]
            budget = start_budget(group, problem.histories[g], first=day == days[0])
            model.add_rows(
                f"starts of {group.name} {day}",
                [(columns[:1], 1.0), (columns[1:, None], 1.0)] if len(columns) > 1 else [(columns, 1.0)],
                upper=float(budget // unit),
            )


def start_budget(group: Group, history: GroupHistory, *, first: bool) -> int:
    """Return how many starts a group has in a day: the first is the one that has begun."""
    if first and history.starts_left is not None:
        return int(history.starts_left.sum())
    return (group.starts_per_day or 0) * group.count


def kept(grid: Grid, ages_s: FloatArray, minimum_s: float) -> IntArray:
    """Return how many machines of the given ages are held by a minimum time at the beginning of each interval."""
    left_s = np.sort(minimum_s - ages_s)
    elapsed_s = grid.starts_s - grid.starts_s[0]
    return np.asarray(len(left_s) - np.searchsorted(left_s, elapsed_s + 1e-6, side="right"), dtype=np.int64)


def window(grid: Grid, columns: IntArray, length_s: float) -> IntArray:
    """Return the columns of all intervals that began less than ``length_s`` before each one, on a new leading axis."""
    first = np.searchsorted(grid.starts_s, grid.starts_s - length_s + 1e-6, side="left")
    here = np.arange(len(grid))
    back = np.arange(int((here - first).max()) + 1)[:, None]
    chosen = here - back
    return np.where(chosen >= first, columns[np.maximum(chosen, 0)], -1)


def _before_window(grid: Grid, columns: IntArray, length_s: float) -> IntArray:
    first = np.searchsorted(grid.starts_s, grid.starts_s - length_s + 1e-6, side="left")
    return np.where(first > 0, columns[np.maximum(first - 1, 0)], -1)
