"""The port of a policy: a problem goes in, a schedule that keeps every hard limit comes out."""

from __future__ import annotations

from typing import Protocol

from hashwerk.dispatch.problem import Problem
from hashwerk.dispatch.schedule import Schedule


class Policy(Protocol):
    """Decides which machines run.

    ``looks_ahead`` says whether a decision uses what is known of later intervals. A policy that does not is causal: it can be
    handed a whole year of values as each was known at its own time, and is fast; one that does is asked again and again.
    """

    name: str
    looks_ahead: bool

    def plan(self, problem: Problem) -> Schedule:
        """Return what to do over the problem's grid.

        Raises:
            DispatchError: If there is nothing safe that could be done.
        """
        ...
