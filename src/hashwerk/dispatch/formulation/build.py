"""All families of constraints put together."""

from __future__ import annotations

from hashwerk.dispatch.formulation.balance import add_balance, add_export, add_import, add_local
from hashwerk.dispatch.formulation.battery import add_battery
from hashwerk.dispatch.formulation.carbon import add_carbon, add_clean_only
from hashwerk.dispatch.formulation.coincident import add_coincident_peaks
from hashwerk.dispatch.formulation.columns import Columns, Steps, is_coupled, steps_of
from hashwerk.dispatch.formulation.contracts import add_ppa
from hashwerk.dispatch.formulation.demand import add_demand_charges
from hashwerk.dispatch.formulation.limits import add_feeder_limits, add_import_limits, add_ramps
from hashwerk.dispatch.formulation.machines import add_counts, add_order
from hashwerk.dispatch.formulation.model import Model
from hashwerk.dispatch.formulation.response import add_events, add_reserves
from hashwerk.dispatch.formulation.transitions import add_min_off, add_min_on, add_start_budget, add_starts
from hashwerk.dispatch.problem import Problem


def build(problem: Problem, *, integer: bool = False) -> tuple[Model, Columns, Steps]:
    """Return the program of a problem: linear on the convex hull, or with whole numbers over all modes.

    The linear program bounds the whole-number one from below in cost, save for paid events that are forgone
    (docs/formulations/response.md).
    """
    model, steps = Model(), steps_of(problem, integer=integer)
    at_least = add_counts(model, problem, steps, integer=integer)
    starts = add_starts(model, problem, steps, at_least, integer=integer)
    imports = add_import(model, problem)
    local = add_local(model, problem)
    exports = add_export(model, problem, imports, integer=integer)
    charge, discharge, stored = add_battery(model, problem, integer=integer)
    columns = Columns(
        at_least=at_least,
        starts=starts,
        imports=imports,
        exports=exports,
        local=local,
        charge=charge,
        discharge=discharge,
        stored=stored,
    )
    add_balance(model, problem, steps, columns)
    if integer or any(map(is_coupled, problem.groups)):
        add_order(model, problem, steps, at_least)
    add_min_on(model, problem, steps, at_least, starts)
    add_min_off(model, problem, steps, at_least, starts)
    add_start_budget(model, problem, steps, starts)
    add_import_limits(model, problem, columns)
    add_feeder_limits(model, problem, steps, columns)
    add_ramps(model, problem, columns)
    add_demand_charges(model, problem, columns)
    add_coincident_peaks(model, problem, columns)
    add_ppa(model, problem, columns)
    add_carbon(model, problem, columns)
    add_clean_only(model, problem, columns)
    add_events(model, problem, columns, integer=integer)
    add_reserves(model, problem, steps, columns)
    return model, columns, steps
