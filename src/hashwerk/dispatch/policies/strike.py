"""One strike price for the whole site, with a debounce: what a timer and a price feed can do."""

from __future__ import annotations

import numpy as np
from numba import njit

from hashwerk.dispatch.enforce import keep_limits
from hashwerk.dispatch.grid import BoolArray, FloatArray
from hashwerk.dispatch.merit import merit_order
from hashwerk.dispatch.problem import Problem
from hashwerk.dispatch.schedule import Schedule


class OneStrike:
    """Runs everything while the price is below the strike, and nothing while it is not.

    Args:
        strike_per_mwh: The price; None: the break-even of all machines together in their highest modes.
        debounce_s: How long the price must be on the other side before anything changes.
        band_per_mwh: Hysteresis: on below strike − band/2, off above strike + band/2.
    """

    name = "one strike"
    looks_ahead = False

    def __init__(
        self, strike_per_mwh: float | None = None, *, debounce_s: float = 0.0, band_per_mwh: float = 0.0
    ) -> None:
        self._strike_per_mwh = strike_per_mwh
        self._debounce_s = debounce_s
        self._band_per_mwh = band_per_mwh

    def plan(self, problem: Problem) -> Schedule:
        """Return everything on or off, interval by interval. A missing price is not below the strike."""
        order = merit_order(problem)
        strike = self._strike(problem)
        on = debounced(
            problem.buy_per_mwh,
            strike - self._band_per_mwh / 2,
            strike + self._band_per_mwh / 2,
            problem.grid.durations_s,
            self._debounce_s,
            bool(problem.running_before().sum() * 2 > sum(group.count for group in problem.groups)),
        )
        return keep_limits(problem, order.available(problem) * on[None, :], order=order)

    def _strike(self, problem: Problem) -> FloatArray:
        if self._strike_per_mwh is not None:
            return np.full(len(problem.grid), self._strike_per_mwh)
        power_w = sum(group.count * group.modes[-1].power_w for group in problem.groups)
        hashrate_hs = sum(group.count * group.modes[-1].hashrate_hs for group in problem.groups)
        per_hashprice = hashrate_hs / 1e15 / 24 / (power_w / 1e6) if power_w else 0.0
        return per_hashprice * problem.hashprice_per_ph_day / (1 + problem.cooling_share)


@njit(cache=True, nogil=True)
def debounced(  # noqa: PLR0917 - machine code takes plain arrays
    value: FloatArray,
    on_below: FloatArray,
    off_above: FloatArray,
    durations_s: FloatArray,
    wait_s: float,
    on: bool,
) -> BoolArray:
    """Return when to be on: on once the value has been below ``on_below`` for ``wait_s``, off likewise above ``off_above``.

    The interval in which the wait is over is the first to change: the value of an interval is known when it begins.
    """
    states = np.zeros(len(value), np.bool_)
    waited_s = 0.0
    for t in range(len(value)):
        other_side = not value[t] < off_above[t] if on else value[t] < on_below[t]
        if other_side:
            if waited_s >= wait_s:
                on = not on
                waited_s = 0.0
            else:
                waited_s += durations_s[t]
        else:
            waited_s = 0.0
        states[t] = on
    return states
