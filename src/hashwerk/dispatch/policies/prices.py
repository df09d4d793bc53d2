"""What the next watt costs a site, and which steps are worth it."""

from __future__ import annotations

import numpy as np
from numba import njit

from hashwerk.dispatch.grid import FloatArray, IntArray
from hashwerk.dispatch.merit import MeritOrder
from hashwerk.dispatch.problem import Problem


def marginal_buy_per_mwh(problem: Problem, carbon_price_per_t: float | None = None) -> FloatArray:
    """Return what one more MWh of import costs: the price, its carbon, peaks of the grid, what an event would pay for it.

    Energy under a contract that can be resold costs what the resale would bring.
    """
    price = problem.buy_per_mwh.copy()
    ppa = problem.ppa
    if ppa is not None:
        contracted = ppa.power_w > 0
        instead = (
            ppa.resale_per_mwh if ppa.resale_per_mwh is not None else np.full(len(price), ppa.price_per_mwh)
        )
        price = np.where(contracted, np.minimum(price, instead), price)
    if problem.carbon is not None:
        per_t = problem.carbon.price_per_t if carbon_price_per_t is None else carbon_price_per_t
        price = price + per_t * problem.carbon.g_per_kwh / 1_000
    price = price + coincident_per_mwh(problem)
    for event in problem.events:
        if not event.emergency:
            price = price + np.where(event.committed_w > 0, event.pay_per_mwh + event.penalty_per_mwh, 0.0)
    return price


def coincident_per_mwh(problem: Problem) -> FloatArray:
    """Return what the grid's peaks are expected to add to each MWh of import: chance · price / Δt."""
    added = np.zeros(len(problem.grid))
    for peak in problem.coincident:
        added = added + peak.chance * peak.price_per_kw * 1_000 / problem.grid.hours
    return added


def worthwhile(problem: Problem, order: MeritOrder, buy_per_mwh: FloatArray) -> IntArray:
    """Return the machines of each step that earn more than they cost, shape (S, T).

    A step below the buying price runs. One between the selling and the buying price runs only on own generation that is left
    over by the house and by better steps: the last watts of it would only be sold, or lost where nothing can be fed in.
    Where a price is missing nothing is worthwhile.
    """
    sell = problem.sell_per_mwh if problem.export_limit_w > 0 else np.minimum(0.0, buy_per_mwh)
    sell = np.minimum(sell, buy_per_mwh)
    residual_w = sum(group.residual_w * group.count for group in problem.groups)
    cooled = 1 + problem.cooling_share
    spare_w = np.nan_to_num(problem.local_w) / cooled - residual_w - problem.auxiliary_w / cooled
    return _worthwhile(
        order.break_even_per_mwh(problem), order.power_w, order.available(problem), buy_per_mwh, sell, spare_w
    )


@njit(cache=True, nogil=True)
def _worthwhile(  # noqa: PLR0917 - machine code takes plain arrays
    break_even: FloatArray,
    power_w: FloatArray,
    available: IntArray,
    buy: FloatArray,
    sell: FloatArray,
    spare_w: FloatArray,
) -> IntArray:
    steps, times = break_even.shape
    want = np.zeros((steps, times), np.int64)
    for t in range(times):
        left_w = spare_w[t]
        for s in range(steps):
            if break_even[s, t] > buy[t]:
                count = available[s, t]
            elif break_even[s, t] > sell[t] and left_w > 0.0:
                count = min(available[s, t], int(left_w // power_w[s]))
            else:
                break
            want[s, t] = count
            left_w -= count * power_w[s]
    return want
