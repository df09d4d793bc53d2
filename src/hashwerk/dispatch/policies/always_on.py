"""Always on: what most mines do, and what every other policy is compared with."""

from __future__ import annotations

import numpy as np

from hashwerk.dispatch.enforce import keep_limits
from hashwerk.dispatch.merit import merit_order
from hashwerk.dispatch.problem import Problem
from hashwerk.dispatch.schedule import Schedule


class AlwaysOn:
    """Runs every available machine in its highest mode, as far as the limits allow."""

    name = "always on"
    looks_ahead = False

    def plan(self, problem: Problem) -> Schedule:
        """Return everything on."""
        order = merit_order(problem)
        return keep_limits(problem, np.ascontiguousarray(order.available(problem)), order=order)
