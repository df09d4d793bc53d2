"""The program as HiGHS takes it."""

from __future__ import annotations

from typing import Any

import highspy

from hashwerk.dispatch.formulation.model import Model


def to_highs(model: Model, *, integer: bool) -> Any:
    """Return the program as HiGHS takes it."""
    program = highspy.HighsLp()
    program.num_col_, program.num_row_ = model.column_count, model.row_count
    program.sense_ = highspy.ObjSense.kMinimize
    program.offset_ = model.offset
    program.col_cost_ = model.costs
    program.col_lower_, program.col_upper_ = model.column_bounds
    program.row_lower_, program.row_upper_ = model.row_bounds
    starts, columns, values = model.matrix()
    matrix = program.a_matrix_
    matrix.format_ = highspy.MatrixFormat.kRowwise
    matrix.num_col_, matrix.num_row_ = model.column_count, model.row_count
    matrix.start_, matrix.index_, matrix.value_ = starts, columns, values
    if integer:
        kinds = (highspy.HighsVarType.kContinuous, highspy.HighsVarType.kInteger)
        program.integrality_ = [kinds[int(whole)] for whole in model.integer]
    return program
