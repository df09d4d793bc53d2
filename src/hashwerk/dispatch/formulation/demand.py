"""Demand charges on the means of tariff intervals: docs/formulations/demand.md."""

from __future__ import annotations

import numpy as np

from hashwerk.dispatch.formulation.columns import W_PER_MW, Columns
from hashwerk.dispatch.formulation.model import Model
from hashwerk.dispatch.problem import DemandCharge, Problem


def add_demand_charges(model: Model, problem: Problem, columns: Columns) -> None:
    """Add what a new peak costs, for each charge.

        peak ≥ month_to_date
        peak ≥ Σ_{t in k} Δt_t · import[t] / Δk        for each tariff interval k
        objective: + price · (peak − month_to_date)

    Intervals longer than the tariff's count with their mean, which is exact where import is constant within them. In the
    tariff interval that has begun, what was imported before counts. The duals of the rows add up to the price as long as a
    new peak is set: they share it out over the intervals that set it.
    """
    for charge in problem.demand:
        _add_charge(model, problem, columns, charge)


def _add_charge(model: Model, problem: Problem, columns: Columns, charge: DemandCharge) -> None:
    grid = problem.grid
    floor_mw = charge.month_to_date_w / W_PER_MW
    price_per_mw = charge.price_per_kw * 1_000
    peak = model.add_columns(f"peak {charge.name}", (1,), lower=floor_mw, cost=price_per_mw)
    model.offset -= price_per_mw * floor_mw
    number = (grid.starts_s // charge.interval_s).astype(np.int64)
    counts = np.ones(len(grid), dtype=bool) if charge.applies is None else charge.applies
    keys = np.unique(number[counts])
    if not len(keys):
        return
    members = np.where(counts, np.searchsorted(keys, number), -1)
    length_h = np.maximum(charge.interval_s, grid.durations_s) / 3_600.0
    already_mw = np.zeros(len(keys))
    if counts[0]:
        already_mw[members[0]] = charge.imported_wh / (charge.interval_s / 3_600.0) / W_PER_MW
    first_of_key = np.array([int(np.argmax(members == key)) for key in range(len(keys))])
    rows = model.add_rows(
        f"peak {charge.name}",
        [(np.repeat(peak, len(keys)), -1.0)],
        upper=-already_mw,
        times_s=grid.starts_s[first_of_key],
    )
    model.add_to_rows(rows[members[counts]], columns.imports[counts], (grid.hours / length_h)[counts])
