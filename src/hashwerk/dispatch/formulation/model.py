"""A linear program under construction: columns and rows in blocks, and which rows express a limit that has a name.

Blocks are arrays of indices in the shape of their index sets, so that a family of constraints is written as arithmetic on
arrays. The matrix is built once, row by row, as HiGHS takes it.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import numpy as np
import numpy.typing as npt

from hashwerk.dispatch.grid import FloatArray, IntArray

INFINITY: Final = float("inf")
Bound = float | FloatArray
Term = tuple[IntArray, Bound]


class Block:
    """A family of columns or rows: where it begins, its shape, and whether its last axis is time."""

    __slots__ = ("name", "shape", "start", "times_s")

    def __init__(self, name: str, start: int, shape: tuple[int, ...], times_s: FloatArray | None) -> None:
        self.name = name
        self.start = start
        self.shape = shape
        self.times_s = times_s

    @property
    def size(self) -> int:
        """How many columns or rows it has."""
        return int(np.prod(self.shape))

    @property
    def indices(self) -> IntArray:
        """Their numbers, in the block's shape."""
        return np.arange(self.start, self.start + self.size, dtype=np.int64).reshape(self.shape)


class Model:
    """Columns, rows and the objective, which is minimised."""

    __slots__ = (
        "_column_costs",
        "_column_lower",
        "_column_upper",
        "_entries_column",
        "_entries_row",
        "_entries_value",
        "_integer",
        "_row_lower",
        "_row_upper",
        "columns",
        "limits",
        "offset",
        "rows",
    )

    def __init__(self) -> None:
        self.columns: dict[str, Block] = {}
        self.rows: dict[str, Block] = {}
        self.limits: dict[str, list[IntArray]] = {}  # the named limits, as rows
        self.offset = 0.0
        self._column_lower: list[FloatArray] = []
        self._column_upper: list[FloatArray] = []
        self._column_costs: list[FloatArray] = []
        self._integer: list[npt.NDArray[np.bool_]] = []
        self._row_lower: list[FloatArray] = []
        self._row_upper: list[FloatArray] = []
        self._entries_row: list[IntArray] = []
        self._entries_column: list[IntArray] = []
        self._entries_value: list[FloatArray] = []

    def add_columns(
        self,
        name: str,
        shape: tuple[int, ...],
        *,
        lower: Bound = 0.0,
        upper: Bound = INFINITY,
        cost: Bound = 0.0,
        integer: bool = False,
        times_s: FloatArray | None = None,
    ) -> IntArray:
        """Add a block of columns and return their numbers. ``times_s`` marks the last axis as time (for warm starts)."""
        block = Block(name, self.column_count, shape, times_s)
        self.columns[name] = block
        for values, bound in (
            (self._column_lower, lower),
            (self._column_upper, upper),
            (self._column_costs, cost),
        ):
            values.append(np.broadcast_to(np.asarray(bound, dtype=np.float64), shape).ravel())
        self._integer.append(np.full(block.size, integer))
        return block.indices

    def add_rows(
        self,
        name: str,
        terms: Sequence[Term],
        *,
        lower: Bound = -INFINITY,
        upper: Bound = INFINITY,
        limit: str | None = None,
        times_s: FloatArray | None = None,
    ) -> IntArray:
        """Add lower ≤ Σ value · column ≤ upper, one row for each place of the terms' common shape; return the rows' numbers.

        A term whose array has one axis more than the first term adds several columns to each row. Columns with the number
        −1 stand for nothing. ``limit`` names the limit that the rows express.
        """
        shape = terms[0][0].shape
        block = Block(name, self.row_count, shape, times_s)
        self.rows[name] = block
        for columns, value in terms:
            self._add_entries(block.indices, columns, value)
        self._row_lower.append(np.broadcast_to(np.asarray(lower, dtype=np.float64), shape).ravel())
        self._row_upper.append(np.broadcast_to(np.asarray(upper, dtype=np.float64), shape).ravel())
        if limit is not None:
            self.limits.setdefault(limit, []).append(block.indices.ravel())
        return block.indices

    def add_to_rows(self, rows: IntArray, columns: IntArray, value: Bound) -> None:
        """Add a term to rows that exist."""
        self._add_entries(rows, columns, value)

    def _add_entries(self, rows: IntArray, columns: IntArray, value: Bound) -> None:
        if columns.ndim > rows.ndim:  # several columns a row, on the leading axis
            rows = np.broadcast_to(rows, columns.shape)
        values = np.broadcast_to(np.asarray(value, dtype=np.float64), columns.shape)
        used = (columns >= 0) & (values != 0.0)
        self._entries_row.append(rows[used])
        self._entries_column.append(columns[used])
        self._entries_value.append(values[used])

    @property
    def column_count(self) -> int:
        """How many columns there are so far."""
        return sum(map(len, self._column_lower))

    @property
    def row_count(self) -> int:
        """How many rows there are so far."""
        return sum(map(len, self._row_lower))

    @property
    def costs(self) -> FloatArray:
        """What one unit of each column costs."""
        return np.concatenate(self._column_costs)

    @property
    def column_bounds(self) -> tuple[FloatArray, FloatArray]:
        """Lower and upper bounds of the columns."""
        return np.concatenate(self._column_lower), np.concatenate(self._column_upper)

    @property
    def row_bounds(self) -> tuple[FloatArray, FloatArray]:
        """Lower and upper bounds of the rows."""
        return np.concatenate(self._row_lower), np.concatenate(self._row_upper)

    @property
    def integer(self) -> npt.NDArray[np.bool_]:
        """Which columns are whole numbers."""
        return np.concatenate(self._integer)

    def matrix(self) -> tuple[IntArray, IntArray, FloatArray]:
        """Return the matrix row by row: beginnings of the rows, column numbers, values. No entry may stand twice."""
        rows = np.concatenate(self._entries_row)
        order = np.argsort(rows, kind="stable")
        starts = np.zeros(self.row_count + 1, dtype=np.int64)
        np.cumsum(np.bincount(rows, minlength=self.row_count), out=starts[1:])
        return starts, np.concatenate(self._entries_column)[order], np.concatenate(self._entries_value)[order]
