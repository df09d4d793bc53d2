"""Carbon: a price, a budget, or clean energy only: docs/formulations/carbon.md."""

from __future__ import annotations

import numpy as np

from hashwerk.dispatch.formulation.columns import W_PER_MW, Columns
from hashwerk.dispatch.formulation.model import Model
from hashwerk.dispatch.problem import Problem


def add_carbon(model: Model, problem: Problem, columns: Columns) -> None:
    """Add the emission of imports: its price, and the budget of what is left of the period.

        emission = Σ_t Δt · ci_t · import[t]                [t; 1 g/kWh = 1 kg/MWh]
        emission ≤ budget;  objective: + price · emission

    The dual of the budget is the price of carbon, currency per t, at which it would be kept by itself.
    """
    carbon, grid = problem.carbon, problem.grid
    if carbon is None:
        return
    t_per_mw = carbon.g_per_kwh * grid.hours / 1_000
    emission = model.add_columns("emission", (1,), cost=carbon.price_per_t)
    model.add_rows(
        "emission", [(emission, -1.0), (columns.imports[:, None], t_per_mw[:, None])], lower=0.0, upper=0.0
    )
    if carbon.budget_g is not None:
        model.add_rows("carbon budget", [(emission, 1.0)], upper=carbon.budget_g / 1e6, limit="carbon budget")


def add_clean_only(model: Model, problem: Problem, columns: Columns) -> None:
    """Add hourly matching.

        Σ_{t in h} Δt · import[t] ≤ Σ_{t in h} Δt · contracted_t + ε        for each period h

    Own plants stand before the meter, so what they give needs no match. The dual is what one more MWh of clean energy in h
    would earn.
    """
    clean, grid = problem.clean, problem.grid
    if clean is None:
        return
    keys, members = np.unique(grid.starts_s // clean.period_s, return_inverse=True)
    contracted_mwh = np.bincount(members, weights=clean.contracted_w * grid.hours) / W_PER_MW
    first = np.array([int(np.argmax(members == key)) for key in range(len(keys))])
    rows = model.add_rows(
        "clean",
        [(columns.imports[first], grid.hours[first])],
        upper=contracted_mwh + clean.tolerance_wh / W_PER_MW,
        limit="clean energy only",
        times_s=grid.starts_s[first],
    )
    rest = np.setdiff1d(np.arange(len(grid)), first)
    model.add_to_rows(rows[members[rest]], columns.imports[rest], grid.hours[rest])
