"""A battery behind the meter: docs/formulations/battery.md."""

from __future__ import annotations

import numpy as np

from hashwerk.dispatch.formulation.columns import W_PER_MW
from hashwerk.dispatch.formulation.model import Model
from hashwerk.dispatch.grid import IntArray
from hashwerk.dispatch.problem import Problem


def add_battery(model: Model, problem: Problem, *, integer: bool) -> tuple[IntArray, IntArray, IntArray]:
    """Add charge, discharge (MW at the meter) and what is stored at the end of each interval (MWh).

        stored[t] = stored[t−1] + √η · Δt · charge[t] − Δt / √η · discharge[t]
        reserve ≤ stored[t] ≤ capacity;  stored[T] ≥ end, by default stored[−1]
        objective: + Σ wear · Δt · discharge[t]

    The dual of the first row is what a stored MWh is worth in t. It ends no emptier than it began unless that is said: what
    lies beyond the plan is not worthless. Charging and discharging at once only burns energy; that pays only where the price
    is negative, and there the whole-number program decides for one of them.
    """
    grid, battery = problem.grid, problem.battery
    if battery is None:
        none = np.full(len(grid), -1, dtype=np.int64)
        return none, none, none
    power_mw, times_s = battery.power_w / W_PER_MW, grid.starts_s
    one_way = battery.efficiency**0.5
    capacity_mwh, stored_mwh = battery.capacity_wh / W_PER_MW, battery.stored_wh / W_PER_MW
    reserve_mwh = min(battery.reserve_wh / W_PER_MW, stored_mwh)
    lower = np.full(len(grid), reserve_mwh)
    end_mwh = stored_mwh if battery.end_wh is None else battery.end_wh / W_PER_MW
    lower[-1] = max(reserve_mwh, min(end_mwh, capacity_mwh))
    charge = model.add_columns("charge", (len(grid),), upper=power_mw, times_s=times_s)
    discharge = model.add_columns(
        "discharge",
        (len(grid),),
        upper=power_mw,
        cost=battery.wear_per_mwh * grid.hours,
        times_s=times_s,
    )
    stored = model.add_columns("stored", (len(grid),), lower=lower, upper=capacity_mwh, times_s=times_s)
    before = np.concatenate([[-1], stored[:-1]])
    begun = np.zeros(len(grid))
    begun[0] = stored_mwh
    model.add_rows(
        "stored",
        [(stored, 1.0), (before, -1.0), (charge, -one_way * grid.hours), (discharge, grid.hours / one_way)],
        lower=begun,
        upper=begun,
        times_s=times_s,
    )
    burns = problem.buy_per_mwh < 0
    if integer and burns.any():
        charges = model.add_columns("charges", (int(burns.sum()),), upper=1.0, integer=True)
        model.add_rows("charges", [(charge[burns], 1.0), (charges, -power_mw)], upper=0.0)
        model.add_rows("discharges", [(discharge[burns], 1.0), (charges, power_mw)], upper=power_mw)
    return charge, discharge, stored
