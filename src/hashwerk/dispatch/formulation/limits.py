"""Breakers, feeders, orders, rules and ramps: docs/formulations/limits.md."""

from __future__ import annotations

import numpy as np

from hashwerk.dispatch.formulation.columns import W_PER_MW, Columns, Steps
from hashwerk.dispatch.formulation.model import Model
from hashwerk.dispatch.problem import Problem


def add_import_limits(model: Model, problem: Problem, columns: Columns) -> None:
    """Add each named limit of the site's import.

        import[t] ≤ limit_t        for each breaker, order and rule, where it is finite

    The dual is what one more MW would earn in t.
    """
    for number, limit in enumerate(problem.limits):
        bound = np.isfinite(limit.limit_w)
        if limit.feeder is None and bound.any():
            model.add_rows(
                f"limit {number}",
                [(columns.imports[bound], 1.0)],
                upper=limit.limit_w[bound] / W_PER_MW,
                limit=limit.name,
                times_s=problem.grid.starts_s[bound],
            )


def add_feeder_limits(model: Model, problem: Problem, steps: Steps, columns: Columns) -> None:
    """Add each named limit of the machines on a feeder, sleeping ones with their residual power.

        Σ_{g on f} (residual_g · N_g + Σ_k ΔW_gk · y[g,k,t]) ≤ limit_ft

    The dual is what one more MW on the feeder would earn in t.
    """
    for number, limit in enumerate(problem.limits):
        if limit.feeder is None:
            continue
        fed = np.array([group.feeder == limit.feeder for group in problem.groups])
        chosen = steps.exists & fed[:, None]
        residual_w = sum(
            group.residual_w * group.count for group in problem.groups if group.feeder == limit.feeder
        )
        bound = np.isfinite(limit.limit_w)
        if not bound.any():
            continue
        over_time = columns.at_least[chosen][:, bound]
        power_mw = steps.power_w[chosen][:, None] / W_PER_MW
        model.add_rows(
            f"limit {number}",
            [(over_time[0], float(power_mw[0, 0])), (over_time[1:], power_mw[1:])],
            upper=(limit.limit_w[bound] - residual_w) / W_PER_MW,
            limit=limit.name,
            times_s=problem.grid.starts_s[bound],
        )


def add_ramps(model: Model, problem: Problem, columns: Columns) -> None:
    """Add how fast the site's import may change from one interval to the next.

        import[t] − import[t−1] ≤ up · Δt_t        import[t−1] − import[t] ≤ down · Δt_t

    Down is often free, up is limited. The dual is what a faster change would earn.
    """
    ramp = problem.ramp
    if ramp is None:
        return
    before_mw = None if ramp.import_before_w is None else ramp.import_before_w / W_PER_MW
    here = columns.imports if before_mw is not None else columns.imports[1:]
    before = np.concatenate([[-1], columns.imports[:-1]]) if before_mw is not None else columns.imports[:-1]
    durations_s = problem.grid.durations_s[-len(here) :] if len(here) else problem.grid.durations_s[:0]
    first = np.zeros(len(here))
    if before_mw is not None:
        first[0] = before_mw
    for name, sign, w_per_s in (("up", 1.0, ramp.up_w_per_s), ("down", -1.0, ramp.down_w_per_s)):
        if w_per_s is not None and len(here):
            model.add_rows(
                f"ramp {name}",
                [(here, sign), (before, -sign)],
                upper=w_per_s * durations_s / W_PER_MW + sign * first,
                limit=f"ramp {name}",
                times_s=problem.grid.starts_s[-len(here) :],
            )
