"""A strike price for every step of every group: run step m → m+1 if the price is below hashprice · ΔTH / ΔW.

With nothing that couples the hours this is the optimum, and no forecast can improve on it.
"""

from __future__ import annotations

from hashwerk.dispatch.enforce import keep_limits
from hashwerk.dispatch.merit import merit_order
from hashwerk.dispatch.policies.prices import marginal_buy_per_mwh, worthwhile
from hashwerk.dispatch.problem import Problem
from hashwerk.dispatch.schedule import Origin, Schedule


class MarginalStrike:
    """Runs the steps on the convex hull that earn more than the next watt costs; needs no solver."""

    name = "marginal strike"
    looks_ahead = False

    def plan(self, problem: Problem) -> Schedule:
        """Return the worthwhile steps, as far as the limits allow."""
        order = merit_order(problem)
        return keep_limits(problem, worthwhile(problem, order, marginal_buy_per_mwh(problem)), order=order)


def climb_down(problem: Problem, reason: str) -> Schedule:
    """Return the merit order as the ladder to stand on when no plan could be made; the remark says why."""
    order = merit_order(problem)
    return keep_limits(
        problem,
        worthwhile(problem, order, marginal_buy_per_mwh(problem)),
        order=order,
        origin=Origin.LADDER,
        remarks=(f"running by merit order, without a plan: {reason}",),
    )
