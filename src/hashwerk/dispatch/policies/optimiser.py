"""The optimiser: the formulation of docs/formulations, solved again and again over a rolling horizon."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from hashwerk.dispatch.enforce import BatteryUse, keep_limits
from hashwerk.dispatch.formulation.columns import steps_of
from hashwerk.dispatch.grid import FloatArray
from hashwerk.dispatch.merit import MeritOrder, cover_reserves, merit_order, round_counts
from hashwerk.dispatch.policies.marginal import climb_down
from hashwerk.dispatch.problem import Problem
from hashwerk.dispatch.schedule import Origin, Schedule
from hashwerk.dispatch.solve import TIME_LIMIT_S, Solver
from hashwerk.errors import DispatchError


class Optimiser:
    """Plans with HiGHS and falls to the merit order when that fails, saying so. Owned by one task.

    Args:
        integer: Whole numbers of machines over all modes, instead of the linear program and rounding; always
            so where one switch turns a whole group.
        time_limit_s: After which the ladder is used.
    """

    name = "optimiser"
    looks_ahead = True

    def __init__(self, *, integer: bool = False, time_limit_s: float = TIME_LIMIT_S) -> None:
        self._solver = Solver()
        self._integer = integer
        self._time_limit_s = time_limit_s

    def plan(self, problem: Problem) -> Schedule:
        """Return the cheapest plan in whole machines, or the merit order with a remark where there is none."""
        try:
            integer = self._integer or any(group.together for group in problem.groups)
            plan = self._solver.solve(problem, integer=integer, time_limit_s=self._time_limit_s)
        except DispatchError as error:
            return climb_down(problem, str(error))
        if integer:
            return plan
        return in_whole_machines(problem, plan)


def in_whole_machines(problem: Problem, plan: Schedule) -> Schedule:
    """Return a linear plan in whole machines, every hard limit kept."""
    order = merit_order(problem)
    counts = cover_reserves(problem, order, round_counts(order, _fractions(problem, order, plan.running)))
    rounded = keep_limits(
        problem,
        counts,
        order=order,
        origin=Origin.OPTIMISER,
        battery=BatteryUse(plan.charge_w, plan.discharge_w, plan.stored_wh) if problem.battery else None,
        remarks=plan.remarks,
    )
    return replace(rounded, cost=plan.cost, site_price_per_mwh=plan.site_price_per_mwh)


def _fractions(problem: Problem, order: MeritOrder, running: FloatArray) -> FloatArray:
    """Return machines in each step of the merit order or above, shape (S, T)."""
    steps = steps_of(problem, integer=False)
    at_least = np.zeros((*steps.exists.shape, running.shape[2]))
    for g, found in enumerate(steps.of_groups):
        for k, step in enumerate(found):
            at_least[g, k] = running[g, step.mode :].sum(axis=0)
    return order.from_at_least(at_least)
