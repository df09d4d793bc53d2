"""Which limits contradict each other: docs/formulations/conflict.md.

Each named limit is a set of rows. Starting from all of them, each is left out in turn: where the rest still contradicts
itself the limit had no part in it and stays out. What remains is irreducible: leave out any one, and there is a plan.
(Chinneck & Dravnieks 1991, "Locating minimal infeasible constraint sets in linear programs", the deletion filter.)
"""

from __future__ import annotations

from typing import Any

import highspy
import numpy as np

from hashwerk.dispatch.formulation.model import INFINITY, Model
from hashwerk.dispatch.formulation.program import to_highs
from hashwerk.dispatch.grid import FloatArray, IntArray


def name_conflict(model: Model) -> tuple[str, ...]:
    """Return the names of limits that cannot be kept together, in the order in which they were added; () if none is."""
    highs = _feasibility(model)
    rows = {name: np.concatenate(parts) for name, parts in model.limits.items()}
    lower, upper = model.row_bounds
    kept = list(rows)
    for name in list(rows):
        _set_bounds(
            highs, rows[name], np.full(len(rows[name]), -INFINITY), np.full(len(rows[name]), INFINITY)
        )
        if _is_feasible(highs):
            _set_bounds(highs, rows[name], lower[rows[name]], upper[rows[name]])
        else:
            kept.remove(name)
    return tuple(kept)


def _feasibility(model: Model) -> Any:
    """Return a solver with the program's linear relaxation and no objective."""
    highs: Any = highspy.Highs()  # type: ignore[no-untyped-call]
    highs.setOptionValue("output_flag", False)
    highs.setOptionValue("threads", 1)
    highs.setOptionValue("time_limit", 10.0)
    program = to_highs(model, integer=False)
    program.col_cost_ = np.zeros(model.column_count)
    highs.passModel(program)
    return highs


def _set_bounds(highs: Any, rows: IntArray, lower: FloatArray, upper: FloatArray) -> None:
    highs.changeRowsBounds(len(rows), rows.astype(np.int32), lower, upper)


def _is_feasible(highs: Any) -> bool:
    highs.run()
    return bool(highs.getModelStatus() == highspy.HighsModelStatus.kOptimal)
