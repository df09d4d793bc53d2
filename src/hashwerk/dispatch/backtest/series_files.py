"""Series from CSV and Parquet files, put on a backtest's grid without filling a gap."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np

from hashwerk.dispatch.backtest.settings import SeriesSettings
from hashwerk.dispatch.grid import FloatArray, Grid
from hashwerk.errors import FeedError

#: So many rows in a row agree on a resolution.
_RUN: Final = 24


@dataclass(frozen=True, slots=True, eq=False)
class RawSeries:
    """Values as the file has them, with the beginnings of their intervals and how long each holds, shape (N,).

    A market may change its resolution, as Europe's day-ahead auction did in October 2025.
    """

    name: str
    times_s: FloatArray
    values: FloatArray
    holds_s: FloatArray

    @property
    def resolution_s(self) -> float:
        """The longest of them: when it is over, every one of its kind is."""
        return float(self.holds_s.max())


def read_series(folder: Path, settings: SeriesSettings) -> RawSeries:
    """Return a series in the order of time.

    Raises:
        FeedError: If the file or a column is missing, nothing is left of it, or two rows contradict each other.
    """
    times_s, values = _read_columns(folder / settings.file, settings)
    known = np.isfinite(values)
    times_s, values = times_s[known], values[known] * settings.scale
    if len(times_s) < 2:
        raise FeedError(f"{settings.file}: no values of {settings.column} are left")
    order = np.argsort(times_s, kind="stable")
    times_s, values = times_s[order], values[order]
    same = np.diff(times_s) == 0
    if (same & (np.diff(values) != 0)).any():
        at = _clock(times_s[int(np.argmax(same & (np.diff(values) != 0)))])
        raise FeedError(f"{settings.file}: {settings.column} has two different values at {at}")
    keep = np.concatenate([[True], ~same])
    times_s, values = times_s[keep], values[keep]
    name = settings.name or f"{settings.column} of {settings.file}"
    return RawSeries(name, times_s, values, _holds_s(times_s))


def _holds_s(times_s: FloatArray) -> FloatArray:
    """Return how long each value holds: until the next one, and no longer than values do in that part of the file.

    The length of a part is what a run of rows agrees on; fewer are gaps and no resolution. A file without such a run has
    the length that most of its rows have.
    """
    apart_s = np.diff(times_s)
    edges = np.concatenate([[0], np.flatnonzero(np.diff(apart_s)) + 1, [len(apart_s)]])
    lengths = np.diff(edges)
    agreed = lengths >= _RUN
    if not agreed.any():
        usual_s = np.full(len(times_s), float(np.median(apart_s)))
    else:
        runs = np.flatnonzero(agreed)
        nearest = runs[np.clip(np.searchsorted(runs, np.arange(len(lengths)), side="right") - 1, 0, None)]
        of_gap = np.repeat(apart_s[edges[nearest]], lengths)
        usual_s = np.append(of_gap, of_gap[-1])
    return np.asarray(np.minimum(usual_s, np.append(apart_s, np.inf)))


def on_grid(series: RawSeries, grid: Grid) -> FloatArray:
    """Return the value that holds at the beginning of each interval; not a number where the series has none.

    A value holds for its own length and no longer: a gap stays a gap.
    """
    place = np.searchsorted(series.times_s, grid.starts_s, side="right") - 1
    found = series.values[np.maximum(place, 0)].copy()
    age_s = grid.starts_s - series.times_s[np.maximum(place, 0)]
    found[(place < 0) | (age_s >= series.holds_s[np.maximum(place, 0)])] = np.nan
    return found


def describe_gaps(series: RawSeries, grid: Grid) -> str | None:
    """Return in words what of the grid a series does not cover, None if it covers everything."""
    missing = ~np.isfinite(on_grid(series, grid))
    if not missing.any():
        return None
    edges = np.flatnonzero(np.diff(np.concatenate([[False], missing, [False]])))
    gaps = list(zip(edges[::2], edges[1::2], strict=True))
    longest = max(gaps, key=lambda gap: gap[1] - gap[0])
    from_s = grid.starts_s[longest[0]]
    hours = float((grid.hours * missing).sum())
    if len(gaps) == 1:
        return f"{series.name}: {hours:,.0f} h are missing, from {_clock(from_s)}"
    longest_h = float(grid.hours[longest[0] : longest[1]].sum())
    return (
        f"{series.name}: {hours:,.0f} h are missing in {len(gaps)} gaps, the longest from {_clock(from_s)}"
        f" for {longest_h:,.0f} h"
    )


def _read_columns(path: Path, settings: SeriesSettings) -> tuple[FloatArray, FloatArray]:
    import pyarrow as pa
    import pyarrow.compute as pc
    import pyarrow.csv
    import pyarrow.parquet

    if not path.is_file():
        raise FeedError(f"there is no file {path}: name the folder with --data")
    columns = [settings.time, settings.column, *settings.where]
    try:
        read = pyarrow.csv.read_csv if path.suffix == ".csv" else pyarrow.parquet.read_table
        table = read(path)
    except pa.ArrowInvalid as error:
        raise FeedError(f"{path.name} cannot be read: {error}") from error
    absent = [column for column in columns if column not in table.column_names]
    if absent:
        known = ", ".join(table.column_names)
        raise FeedError(f"{path.name} has no column {absent[0]!r}; it has {known}")
    for column, value in settings.where.items():
        table = table.filter(pc.equal(pc.cast(table[column], pa.string()), value))
    stamps = _cast(
        table,
        settings.time,
        path,
        (pa.timestamp("s", tz="UTC"), pa.timestamp("s")),
        "times like 2025-06-16T00:00:00Z",
    )
    if stamps.null_count:
        raise FeedError(f"{path.name}: {settings.time} is empty in {stamps.null_count} of {len(stamps)} rows")
    numbers = _cast(table, settings.column, path, (pa.float64(),), "numbers")
    times_s = np.asarray(pc.cast(stamps, pa.int64()).to_numpy(), dtype=np.float64)
    return times_s, np.asarray(numbers.to_numpy(), dtype=np.float64)


def _cast(table: Any, column: str, path: Path, kinds: Sequence[Any], wanted: str) -> Any:
    """Return a column as the first of some kinds that fits it."""
    import pyarrow as pa
    import pyarrow.compute as pc

    reason = ""
    for kind in kinds:
        try:
            return pc.cast(table[column], kind, safe=False)
        except (pa.ArrowInvalid, pa.ArrowNotImplementedError) as error:
            reason = str(error).partition("\n")[0]
    raise FeedError(f"{path.name}: {column} does not hold {wanted}: {reason}")


def _clock(time_s: float) -> str:
    return f"{np.datetime_as_string(np.datetime64(int(time_s), 's'), unit='m')}Z"
