"""A power purchase agreement with take-or-pay: docs/formulations/contracts.md."""

from __future__ import annotations

from hashwerk.dispatch.formulation.columns import W_PER_MW, Columns
from hashwerk.dispatch.formulation.model import Model, Term
from hashwerk.dispatch.problem import Problem


def add_ppa(model: Model, problem: Problem, columns: Columns) -> None:
    """Add what is taken under the contract: used on site instead of bought, or resold.

        used[t] ≤ import[t];  used[t] + resold[t] ≤ contracted_t
        Σ_t Δt · (used[t] + resold[t]) + shortfall ≥ min_take
        objective: + (ppa − buy_t) · Δt · used[t] + (ppa − resale_t) · Δt · resold[t] + penalty · shortfall

    The dual of the take is what one MWh less to take would save. Resold energy never passes the meter: it is settled.
    """
    ppa, grid = problem.ppa, problem.grid
    if ppa is None:
        return
    contracted_mw, times_s = ppa.power_w / W_PER_MW, grid.starts_s
    used = model.add_columns(
        "ppa used",
        (len(grid),),
        upper=contracted_mw,
        cost=(ppa.price_per_mwh - problem.buy_per_mwh) * grid.hours,
        times_s=times_s,
    )
    model.add_rows("ppa used", [(used, 1.0), (columns.imports, -1.0)], upper=0.0, times_s=times_s)
    shortfall = model.add_columns("ppa shortfall", (1,), cost=ppa.shortfall_per_mwh)
    take: list[Term] = [(shortfall, 1.0), (used[:, None], grid.hours[:, None])]
    if ppa.resale_per_mwh is not None:
        resold = model.add_columns(
            "ppa resold",
            (len(grid),),
            upper=contracted_mw,
            cost=(ppa.price_per_mwh - ppa.resale_per_mwh) * grid.hours,
            times_s=times_s,
        )
        model.add_rows("ppa", [(used, 1.0), (resold, 1.0)], upper=contracted_mw, times_s=times_s)
        take.append((resold[:, None], grid.hours[:, None]))
    model.add_rows("ppa take", take, lower=ppa.min_take_wh / W_PER_MW)
