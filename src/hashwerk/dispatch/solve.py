"""HiGHS at work: a program goes in, a schedule or a clear reason comes out.

The solver is kept from one plan to the next. The basis of the last plan is carried over by time: what was basic in an
interval still is in the interval of the new grid that covers the same moment, so that the next plan needs few pivots.
"""

from __future__ import annotations

from typing import Any, Final

import highspy
import numpy as np

from hashwerk.dispatch.compose import missing_prices
from hashwerk.dispatch.formulation.build import build
from hashwerk.dispatch.formulation.columns import W_PER_MW, Columns, Steps
from hashwerk.dispatch.formulation.conflict import name_conflict
from hashwerk.dispatch.formulation.model import Block, Model
from hashwerk.dispatch.formulation.program import to_highs
from hashwerk.dispatch.grid import FloatArray, IntArray
from hashwerk.dispatch.problem import Problem
from hashwerk.dispatch.schedule import Origin, Schedule
from hashwerk.errors import DispatchError

TIME_LIMIT_S: Final = 5.0
#: Relative gap at which a whole-number plan is good enough.
GAP: Final = 1e-4
_OPTIMAL: Final = highspy.HighsModelStatus.kOptimal
_INFEASIBLE: Final = (
    highspy.HighsModelStatus.kInfeasible,
    highspy.HighsModelStatus.kUnboundedOrInfeasible,
)


class InfeasibleError(DispatchError):
    """The limits contradict each other; ``limits`` are their names, none of which can be left out of the contradiction."""

    def __init__(self, limits: tuple[str, ...], first_at: str | None = None) -> None:
        self.limits = limits
        named = " and ".join(f"“{name}”" for name in limits) or "the machines' own histories"
        where = f", first at {first_at}" if first_at else ""
        super().__init__(f"no plan keeps {named}{where}")


class SolverError(DispatchError):
    """The solver ran out of time or ended in a way that cannot be trusted."""

    retry = True


class Solver:
    """Solves one plan after another, each beginning from the last one's basis. Owned by one task."""

    __slots__ = ("_basis", "_highs", "iterations")

    def __init__(self) -> None:
        self._highs: Any = highspy.Highs()  # type: ignore[no-untyped-call]
        self._highs.setOptionValue("output_flag", False)
        self._highs.setOptionValue("threads", 1)
        self._basis: tuple[dict[str, Block], dict[str, Block], Any] | None = None
        self.iterations = 0

    def solve(
        self,
        problem: Problem,
        *,
        integer: bool = False,
        time_limit_s: float = TIME_LIMIT_S,
        warm: bool = True,
    ) -> Schedule:
        """Return the cheapest plan.

        Raises:
            InfeasibleError: If limits contradict each other; it names them.
            SolverError: If the solver ends without a proven optimum, for whatever reason.
            DispatchError: If a price is missing.
        """
        missing = missing_prices(problem)
        if missing is not None:
            raise DispatchError(f"no plan: {missing}")
        model, columns, steps = build(problem, integer=integer)
        status = self._run(model, integer=integer, time_limit_s=time_limit_s, warm=warm)
        if status in _INFEASIBLE:
            self._basis = None
            raise InfeasibleError(name_conflict(model))
        if status != _OPTIMAL:
            self._basis = None
            raise SolverError(
                f"the solver ended without a proven plan: {self._highs.modelStatusToString(status)}"
                f" after {self._highs.getRunTime():.2f} s"
            )
        if not integer:
            self._basis = (model.columns, model.rows, self._highs.getBasis())
        return self._schedule(problem, model, columns, steps, integer=integer)

    def _run(self, model: Model, *, integer: bool, time_limit_s: float, warm: bool) -> Any:
        highs = self._highs
        highs.clearSolver()
        # HiGHS counts its run time over all runs of one object, and the limit is on that sum.
        highs.setOptionValue("time_limit", highs.getRunTime() + time_limit_s)
        highs.setOptionValue("mip_rel_gap", GAP)
        if highs.passModel(to_highs(model, integer=integer)) == highspy.HighsStatus.kError:
            raise SolverError("the solver refuses the program: a coefficient is not a number")
        if warm and not integer and self._basis is not None:
            highs.setBasis(_carry(self._basis, model))
        highs.run()
        self.iterations = int(highs.getInfo().simplex_iteration_count)
        return highs.getModelStatus()

    def _schedule(
        self, problem: Problem, model: Model, columns: Columns, steps: Steps, *, integer: bool
    ) -> Schedule:
        solution = self._highs.getSolution()
        values = np.append(np.array(solution.col_value), 0.0)  # column −1, which is none
        at_least: FloatArray = np.asarray(values[columns.at_least] * steps.unit[:, None, None])
        if integer:
            at_least = np.round(at_least)
        on = at_least[:, 0]
        before = np.column_stack([problem.running_before(), on[:, :-1]])
        block = model.rows["balance"]
        duals = np.array(solution.row_dual)[block.start : block.start + block.size]
        return Schedule(
            grid=problem.grid,
            origin=Origin.OPTIMISER,
            running=running_from_steps(problem, steps, at_least),
            starts=np.maximum(0.0, on - before),
            import_w=values[columns.imports] * W_PER_MW,
            export_w=values[columns.exports] * W_PER_MW,
            local_w=values[columns.local] * W_PER_MW,
            charge_w=values[columns.charge] * W_PER_MW,
            discharge_w=values[columns.discharge] * W_PER_MW,
            stored_wh=values[columns.stored] * W_PER_MW,
            cost=float(self._highs.getObjectiveValue()),
            site_price_per_mwh=None if integer else duals / problem.grid.hours,
        )


def running_from_steps(problem: Problem, steps: Steps, at_least: FloatArray) -> FloatArray:
    """Return machines in each mode, shape (G, M, T), from those in each step or above."""
    most = max((len(group.modes) for group in problem.groups), default=1)
    running = np.zeros((len(problem.groups), most, at_least.shape[2]))
    for g, found in enumerate(steps.of_groups):
        for k, step in enumerate(found):
            above = at_least[g, k + 1] if k + 1 < len(found) else 0.0
            running[g, step.mode] = np.maximum(0.0, at_least[g, k] - above)
    return running


def _carry(basis: tuple[dict[str, Block], dict[str, Block], Any], model: Model) -> Any:
    """Return the last plan's basis in the numbers of the new program; a block that is new begins at its lower bound."""
    old_columns, old_rows, old = basis
    carried = highspy.HighsBasis()
    lower, basic = highspy.HighsBasisStatus.kLower, highspy.HighsBasisStatus.kBasic
    carried.col_status = _carry_blocks(old_columns, model.columns, old.col_status, lower)
    carried.row_status = _carry_blocks(old_rows, model.rows, old.row_status, basic)
    carried.alien = True  # the number of basic ones need not fit: HiGHS completes or trims it
    carried.valid = True
    return carried


def _carry_blocks(old: dict[str, Block], new: dict[str, Block], status: Any, otherwise: Any) -> list[Any]:
    carried: list[Any] = []
    for name, block in new.items():
        before = old.get(name)
        places = _same_places(before, block) if before is not None else None
        if places is None:
            carried += [otherwise] * block.size
        else:
            carried += [status[place] for place in places.tolist()]
    return carried


def _same_places(old: Block, new: Block) -> IntArray | None:
    """Return where each member of the new block stood in the old one: the same, or by time where the last axis is time."""
    if old.shape[:-1] != new.shape[:-1]:
        return None
    if new.times_s is None or old.times_s is None:
        return old.indices.ravel() if old.shape == new.shape else None
    if not old.size or not new.size:
        return None
    width = len(old.times_s)
    if width == 0 or old.size % width or new.size % len(new.times_s):
        return None
    if old.size // width != new.size // len(new.times_s):
        return None
    then = np.clip(np.searchsorted(old.times_s, new.times_s, side="right") - 1, 0, width - 1)
    lines = np.arange(old.size // width)[:, None] * width
    return (old.start + lines + then[None, :]).ravel().astype(np.int64)
