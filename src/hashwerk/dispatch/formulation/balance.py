"""The energy balance: docs/formulations/balance.md."""

from __future__ import annotations

import numpy as np

from hashwerk.dispatch.formulation.columns import W_PER_MW, Columns, Steps
from hashwerk.dispatch.formulation.model import Model
from hashwerk.dispatch.grid import FloatArray, IntArray
from hashwerk.dispatch.problem import Problem


def standing_load_mw(problem: Problem) -> FloatArray:
    """Return what is drawn with every machine asleep: residual power with its cooling, and the house, MW, shape (T,)."""
    residual_w = sum(group.residual_w * group.count for group in problem.groups)
    return (residual_w * (1 + problem.cooling_share) + problem.auxiliary_w) / W_PER_MW


def add_import(model: Model, problem: Problem) -> IntArray:
    """Add the import, MW, at the buying price.

    import[t] ≥ 0;  objective: + Σ buy_t · Δt · import[t]
    """
    grid = problem.grid
    return model.add_columns(
        "import", (len(grid),), cost=problem.buy_per_mwh * grid.hours, times_s=grid.starts_s
    )


def add_local(model: Model, problem: Problem) -> IntArray:
    """Add own generation behind the meter, MW; it costs nothing more, and part of it cannot be turned down.

    must_take_t ≤ local[t] ≤ available_t
    """
    if not problem.local_w.any():
        return np.full(len(problem.grid), -1, dtype=np.int64)
    return model.add_columns(
        "local",
        (len(problem.grid),),
        lower=np.minimum(problem.must_take_w, problem.local_w) / W_PER_MW,
        upper=problem.local_w / W_PER_MW,
        times_s=problem.grid.starts_s,
    )


def add_export(model: Model, problem: Problem, imports: IntArray, *, integer: bool) -> IntArray:
    """Add what is fed in, MW, at the selling price.

        0 ≤ export[t] ≤ limit;  objective: − Σ sell_t · Δt · export[t]

    Where selling pays no more than buying costs, no optimum does both at once: taking one MWh off each saves buy − sell ≥ 0.
    Elsewhere the whole-number program decides for one of them with a binary b[t], import ≤ (1 − b)·M and export ≤ b·limit,
    and the linear one sells at the buying price, which again leaves nothing to gain from doing both.
    """
    grid = problem.grid
    if problem.export_limit_w <= 0:
        return np.full(len(grid), -1, dtype=np.int64)
    limit_mw = problem.export_limit_w / W_PER_MW
    asymmetric = problem.sell_per_mwh > problem.buy_per_mwh
    sell = problem.sell_per_mwh if integer else np.minimum(problem.sell_per_mwh, problem.buy_per_mwh)
    exports = model.add_columns(
        "export", (len(grid),), upper=limit_mw, cost=-sell * grid.hours, times_s=grid.starts_s
    )
    if integer and asymmetric.any():
        largest_mw = largest_import_mw(problem)
        sells = model.add_columns("sells", (int(asymmetric.sum()),), upper=1.0, integer=True)
        model.add_rows("sells", [(exports[asymmetric], 1.0), (sells, -limit_mw)], upper=0.0)
        model.add_rows("buys", [(imports[asymmetric], 1.0), (sells, largest_mw)], upper=largest_mw)
    return exports


def largest_import_mw(problem: Problem) -> float:
    """Return what the site can draw at most, MW: everything on, everything charging."""
    machines_w = sum(group.count * group.modes[-1].power_w for group in problem.groups)
    battery_w = problem.battery.power_w if problem.battery else 0.0
    cooled = machines_w * (1 + float(problem.cooling_share.max()))
    return (cooled + float(problem.auxiliary_w.max()) + battery_w) / W_PER_MW


def add_balance(model: Model, problem: Problem, steps: Steps, columns: Columns) -> IntArray:
    """Add that what comes in is what is used.

        import + local + discharge = standing_t + (1 + cooling_t) · Σ_{g,k} ΔW_gk · y[g,k,t] + charge + export

    The dual is the site's own price of a MWh in t: a step runs when its break-even is above it.
    """
    cooled_mw = (1 + problem.cooling_share) / W_PER_MW
    chosen = columns.at_least[steps.exists]
    return model.add_rows(
        "balance",
        [
            (columns.imports, 1.0),
            (columns.local, 1.0),
            (columns.discharge, 1.0),
            (columns.charge, -1.0),
            (columns.exports, -1.0),
            (chosen, -steps.power_w[steps.exists][:, None] * cooled_mw[None, :]),
        ],
        lower=standing_load_mw(problem),
        upper=standing_load_mw(problem),
        times_s=problem.grid.starts_s,
    )
