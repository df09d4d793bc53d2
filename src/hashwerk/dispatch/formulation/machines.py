"""Machines in modes, as counts: docs/formulations/machines.md."""

from __future__ import annotations

import numpy as np

from hashwerk.dispatch.formulation.columns import Steps, revenue_per_step
from hashwerk.dispatch.formulation.model import Model
from hashwerk.dispatch.grid import IntArray
from hashwerk.dispatch.problem import Problem


def add_counts(model: Model, problem: Problem, steps: Steps, *, integer: bool) -> IntArray:
    """Add y[g,k,t], the machines of group g in step k or higher, and what they earn.

        0 ≤ y[g,k,t] ≤ available[g,t] / unit[g]        for all g, k, t
        objective: − Σ hashprice_t · ΔH_gk · Δt · y[g,k,t]

    The dual of the upper bound is what one more machine of the group would earn in t.
    """
    group_count, step_count = steps.exists.shape
    upper = problem.available[:, None, :] / np.maximum(1, steps.unit)[:, None, None]
    if integer:
        upper = np.floor(upper + 1e-9)
    upper = np.where(steps.exists[:, :, None], upper, 0.0)
    return model.add_columns(
        "at_least",
        (group_count, step_count, len(problem.grid)),
        upper=upper,
        cost=-revenue_per_step(problem, steps),
        integer=integer,
        times_s=problem.grid.starts_s,
    )


def add_order(model: Model, problem: Problem, steps: Steps, at_least: IntArray) -> None:
    """Add that a higher step presupposes the lower one.

        y[g,k+1,t] ≤ y[g,k,t]        for all g, k < K_g, t

    On the convex hull this holds by itself wherever nothing but power couples the steps; with starts it must be said. The
    dual is what it would be worth to be in a higher mode without being on.
    """
    pairs = steps.exists[:, 1:]
    lower, higher = at_least[:, :-1][pairs], at_least[:, 1:][pairs]
    if lower.size:
        model.add_rows("order", [(higher, 1.0), (lower, -1.0)], upper=0.0, times_s=problem.grid.starts_s)
