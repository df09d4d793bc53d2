"""Policies for those who want to be clean: hourly matching, a carbon budget, own surplus only."""

from __future__ import annotations

from typing import Final

import numpy as np

from hashwerk.dispatch.enforce import keep_limits
from hashwerk.dispatch.grid import FloatArray
from hashwerk.dispatch.merit import MeritOrder, merit_order
from hashwerk.dispatch.policies.prices import marginal_buy_per_mwh, worthwhile
from hashwerk.dispatch.policies.strike import debounced
from hashwerk.dispatch.problem import Problem
from hashwerk.dispatch.schedule import Schedule
from hashwerk.errors import DispatchError

#: Above any carbon price that was ever asked; at it nothing runs that emits.
_HIGHEST_PER_T: Final = 1e6


class CleanOnly:
    """Marginal strike on clean energy alone: own plants, and imports matched by contracted clean energy in the same hour."""

    name = "clean only"
    looks_ahead = False

    def plan(self, problem: Problem) -> Schedule:
        """Return the worthwhile steps that clean energy covers. Without a contract nothing is imported for machines."""
        order = merit_order(problem)
        want = worthwhile(problem, order, marginal_buy_per_mwh(problem))
        limit_w = _standing_import_w(problem)
        if problem.clean is not None:
            limit_w = np.maximum(limit_w, problem.clean.contracted_w)
        return keep_limits(problem, want, order=order, import_limit_w=limit_w)


class CarbonBudget:
    """Marginal strike at the lowest carbon price that keeps the budget over the grid: the optimum where nothing couples hours."""

    name = "carbon budget"
    looks_ahead = True

    def plan(self, problem: Problem) -> Schedule:
        """Return the worthwhile steps at the price of carbon that keeps the budget.

        Raises:
            DispatchError: If the problem has no budget.
        """
        if problem.carbon is None or problem.carbon.budget_g is None:
            raise DispatchError("the carbon budget policy needs a carbon intensity and a budget")
        order = merit_order(problem)
        low, high = problem.carbon.price_per_t, _HIGHEST_PER_T
        best = self._at(problem, order, low)
        if emission_g(problem, best) <= problem.carbon.budget_g:
            return best
        best = self._at(problem, order, high)
        for _ in range(50):
            middle = (low + high) / 2 if high < 10_000 else max(low, 1.0) ** 0.5 * high**0.5
            tried = self._at(problem, order, middle)
            if emission_g(problem, tried) <= problem.carbon.budget_g:
                best, high = tried, middle
            else:
                low = middle
            if high - low < 0.01:
                break
        return best

    def _at(self, problem: Problem, order: MeritOrder, price_per_t: float) -> Schedule:
        return keep_limits(
            problem, worthwhile(problem, order, marginal_buy_per_mwh(problem, price_per_t)), order=order
        )


class SurplusOnly:
    """Runs on what the own plant leaves over after the house, and on nothing else: nothing is bought for machines.

    Args:
        enable_s: How long a surplus for the first machine must last before it is used.
        disable_s: How long it must be gone before machines sleep.
    """

    name = "surplus only"
    looks_ahead = False

    def __init__(self, *, enable_s: float = 0.0, disable_s: float = 0.0) -> None:
        self._enable_s = enable_s
        self._disable_s = disable_s

    def plan(self, problem: Problem) -> Schedule:
        """Return the best steps that the surplus covers where using it earns more than feeding it in."""
        order = merit_order(problem)
        local_w = np.nan_to_num(problem.local_w)
        surplus_w = np.maximum(0.0, local_w - problem.auxiliary_w)
        least_w = min((group.modes[0].power_w for group in problem.groups), default=0.0)
        allowed = debounced(
            -surplus_w,
            np.full(len(surplus_w), -least_w),
            np.full(len(surplus_w), -least_w),
            problem.grid.durations_s,
            max(self._enable_s, self._disable_s),
            bool(problem.running_before().any()),
        )
        never = np.full(len(problem.grid), np.inf)
        want = worthwhile(problem, order, never) * allowed[None, :]
        # What cannot be switched, the house and sleeping machines, may still be bought.
        return keep_limits(problem, want, order=order, import_wish_w=_standing_import_w(problem))


def _standing_import_w(problem: Problem) -> FloatArray:
    residual_w = sum(group.residual_w * group.count for group in problem.groups)
    standing_w = residual_w * (1 + problem.cooling_share) + problem.auxiliary_w
    return np.maximum(0.0, standing_w - np.nan_to_num(problem.local_w))


def emission_g(problem: Problem, schedule: Schedule) -> float:
    """Return what the imports of a schedule emit, g."""
    if problem.carbon is None:
        return 0.0
    return float((schedule.import_w / 1_000 * problem.grid.hours * problem.carbon.g_per_kwh).sum())
