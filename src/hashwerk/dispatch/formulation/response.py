"""Demand response and reserves: docs/formulations/response.md."""

from __future__ import annotations

import numpy as np

from hashwerk.dispatch.formulation.balance import largest_import_mw
from hashwerk.dispatch.formulation.columns import W_PER_MW, Columns, Steps
from hashwerk.dispatch.formulation.model import Model
from hashwerk.dispatch.problem import Event, Problem


def add_events(model: Model, problem: Problem, columns: Columns, *, integer: bool) -> None:
    """Add each event: a hard limit in an emergency, else delivery that is paid.

        emergency:  import[t] ≤ baseline_t − committed_t
        economic:   missed[t] ≥ 0;  missed[t] ≥ committed_t − baseline_t + import[t]
                    objective: + (pay + penalty) · Δt · missed[t] − pay · Δt · committed_t

    The dual of an emergency is what it costs to obey. In the linear program an import above the baseline goes on costing,
    which keeps it convex; the whole-number one may forgo an event with a binary, and then misses the commitment and no more.
    """
    for number, event in enumerate(problem.events):
        during = np.flatnonzero(event.committed_w > 0)
        if not len(during):
            continue
        if event.emergency:
            model.add_rows(
                f"event {number}",
                [(columns.imports[during], 1.0)],
                upper=(event.baseline_w - event.committed_w)[during] / W_PER_MW,
                limit=event.name,
                times_s=problem.grid.starts_s[during],
            )
        else:
            _add_paid(model, problem, columns, event, number, integer=integer)


def _add_paid(
    model: Model, problem: Problem, columns: Columns, event: Event, number: int, *, integer: bool
) -> None:
    during = np.flatnonzero(event.committed_w > 0)
    hours, times_s = problem.grid.hours[during], problem.grid.starts_s[during]
    committed_mw, baseline_mw = event.committed_w[during] / W_PER_MW, event.baseline_w[during] / W_PER_MW
    missed = model.add_columns(
        f"missed {number}",
        (len(during),),
        cost=(event.pay_per_mwh + event.penalty_per_mwh) * hours,
        times_s=times_s,
    )
    model.offset -= float((event.pay_per_mwh * hours * committed_mw).sum())
    rows = model.add_rows(
        f"event {number}",
        [(missed, 1.0), (columns.imports[during], -1.0)],
        lower=committed_mw - baseline_mw,
        times_s=times_s,
    )
    if integer:
        forgone = model.add_columns(f"forgone {number}", (len(during),), upper=1.0, integer=True)
        model.add_to_rows(rows, forgone, committed_mw + largest_import_mw(problem))
        model.add_rows(f"forgone {number}", [(missed, 1.0), (forgone, -committed_mw)], lower=0.0)


def add_reserves(model: Model, problem: Problem, steps: Steps, columns: Columns) -> None:
    """Add that what was sold as reserve can be turned off in time.

        Σ_{g: response_g ≤ required} Σ_k ΔW_gk · y[g,k,t] ≥ sold_t

    The dual is what the headroom costs.
    """
    for number, reserve in enumerate(problem.reserves):
        fast = np.array([group.response_s <= reserve.response_s for group in problem.groups])
        during = np.flatnonzero(reserve.sold_w > 0)
        if not len(during):
            continue
        chosen = steps.exists & fast[:, None]
        over_time = columns.at_least[chosen][:, during]
        nothing = np.full(len(during), -1, dtype=np.int64)
        model.add_rows(
            f"reserve {number}",
            [(nothing, 0.0), (over_time, steps.power_w[chosen][:, None] / W_PER_MW)],
            lower=reserve.sold_w[during] / W_PER_MW,
            limit=reserve.name,
            times_s=problem.grid.starts_s[during],
        )
