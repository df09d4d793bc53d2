"""The merit order: all steps of all groups, the one that earns most per watt first."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from hashwerk.dispatch.formulation.columns import Steps, steps_of
from hashwerk.dispatch.grid import FloatArray, IntArray
from hashwerk.dispatch.modes import HOURS_PER_DAY, HS_PER_PHS
from hashwerk.dispatch.problem import Problem


@dataclass(frozen=True, slots=True, eq=False)
class MeritOrder:
    """Steps on the convex hull in falling order of hash per watt, so that each group's lower steps come first.

    The hashprice is one for the whole site: the order is the same at every price.
    """

    steps: Steps
    group: IntArray  # (S,)
    rank: IntArray  # (S,) the step's place in its group
    power_w: FloatArray  # (S,) per machine
    hashrate_hs: FloatArray  # (S,)

    @property
    def mwh_per_ph_day(self) -> FloatArray:
        """Break-even price per unit of hashprice, shape (S,): hash per watt, in the units of the two prices."""
        return np.asarray(self.hashrate_hs / HS_PER_PHS / HOURS_PER_DAY / (self.power_w / 1e6))

    def break_even_per_mwh(self, problem: Problem) -> FloatArray:
        """Return the price below which each step pays in each interval, cooling counted, shape (S, T)."""
        earned = problem.hashprice_per_ph_day / (1 + problem.cooling_share)
        return np.asarray(self.mwh_per_ph_day[:, None] * earned[None, :])

    def available(self, problem: Problem) -> IntArray:
        """Return how many machines each step can have, shape (S, T)."""
        return problem.available[self.group]

    def to_at_least(self, counts: IntArray | FloatArray) -> FloatArray:
        """Return counts (S, T) as an array (G, K, T)."""
        at_least = np.zeros((*self.steps.exists.shape, counts.shape[1]))
        at_least[self.group, self.rank] = counts
        return at_least

    def from_at_least(self, at_least: FloatArray) -> FloatArray:
        """Return an array (G, K, T) as counts (S, T)."""
        return np.asarray(at_least[self.group, self.rank])


def merit_order(problem: Problem) -> MeritOrder:
    """Return the merit order of a problem's groups; at equal merit the group named first comes first."""
    steps = steps_of(problem, integer=False)
    group, rank = np.nonzero(steps.exists)
    power_w, hashrate_hs = steps.power_w[group, rank], steps.hashrate_hs[group, rank]
    order = np.lexsort((rank, group, -hashrate_hs / power_w))
    return MeritOrder(steps, group[order], rank[order], power_w[order], hashrate_hs[order])


def round_counts(order: MeritOrder, fractional: FloatArray) -> IntArray:
    """Return whole counts (S, T) for fractional ones: rounded down, then the best steps filled up again while power lasts.

    The machines together never draw more than they would have with fractions.
    """
    # What is a fraction only through the solver's tolerance is none.
    near = np.round(fractional)
    exact = np.where(np.abs(fractional - near) < 1e-5, near, fractional)
    whole = np.floor(exact)
    left_w = ((exact - whole) * order.power_w[:, None]).sum(axis=0)
    for s in range(len(whole)):
        add = (exact[s] > whole[s]) & (left_w >= order.power_w[s])
        whole[s] += add
        left_w -= add * order.power_w[s]
    for s in range(len(whole)):  # a higher step presupposes the lower one
        below = np.flatnonzero((order.group[:s] == order.group[s]) & (order.rank[:s] < order.rank[s]))
        if len(below):
            whole[s] = np.minimum(whole[s], whole[below[-1]])
    return whole.astype(np.int64)


def cover_reserves(problem: Problem, order: MeritOrder, counts: IntArray) -> IntArray:
    """Return whole counts (S, T) with machines added, the best first, where rounding left less than was sold as reserve."""
    counts = counts.copy()
    most = order.available(problem)
    for reserve in problem.reserves:
        fast = np.array([problem.groups[g].response_s <= reserve.response_s for g in order.group])
        lacking_w = reserve.sold_w - (counts * (order.power_w * fast)[:, None]).sum(axis=0)
        for s in np.flatnonzero(fast):
            # A higher step presupposes the lower one, which stands before it.
            below = np.flatnonzero((order.group[:s] == order.group[s]) & (order.rank[:s] < order.rank[s]))
            room = (counts[below[-1]] if len(below) else most[s]) - counts[s]
            wanted = np.ceil(np.maximum(lacking_w, 0.0) / order.power_w[s] - 1e-9).astype(np.int64)
            more = np.clip(wanted, 0, np.maximum(room, 0))
            counts[s] += more
            lacking_w = lacking_w - more * order.power_w[s]
    return counts
