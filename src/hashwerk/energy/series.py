"""Time series that know what was published when.

`PublishedSeries` holds every vintage and gives out nothing but views: `as_of` shows what could be known at a moment. What
is read, joined and resampled is a `Series`. Times are Unix seconds in UTC, intervals are half-open and named by their
beginning. Missing is a mark in `quality`, never NaN and never filled in silence.
"""

from __future__ import annotations

import enum
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import msgspec
import numpy as np
import numpy.typing as npt

from hashwerk.energy.intervals import spread_over

FloatArray = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]
QualityArray = npt.NDArray[np.uint8]
BoolArray = npt.NDArray[np.bool_]

#: Later than anything: what is stamped so has been published by nobody yet.
NEVER_S: Final = np.iinfo(np.int64).max


class Aggregate(enum.Enum):
    """What longer intervals make of the values of shorter ones."""

    MEAN = "mean"  # prices, power, intensities
    SUM = "sum"  # energy


class Quality(enum.IntEnum):
    """How a value came about; of several the highest number stands for all, but one missing makes all missing."""

    MISSING = 0
    MEASURED = 1  # or settled, or the result of an auction
    ESTIMATED = 2
    FORECAST = 3
    TYPICAL = 4  # of a typical day: no claim about this one


class SeriesInfo(msgspec.Struct, frozen=True, kw_only=True):
    """What a series is about."""

    name: str
    unit: str  # "EUR/MWh", "g/kWh", "W", "Wh"
    resolution_s: int
    source: str  # who says so, with the attribution that a licence asks for
    aggregate: Aggregate = Aggregate.MEAN
    currency: str | None = None

    def __post_init__(self) -> None:
        if self.resolution_s <= 0:
            raise ValueError(f"{self.name}: a resolution is longer than nothing: {self.resolution_s} s")


class Gap(msgspec.Struct, frozen=True):
    """A span without values."""

    start_s: int
    stop_s: int


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class Series:
    """Values over intervals of one length, as known at one moment.

    Args:
        info: Unit, resolution, source.
        starts_s: Beginnings, strictly rising, shape (N,). Intervals may be left out: they are missing.
        values: Finite everywhere; 0 where the quality is MISSING, shape (N,).
        quality: `Quality` of each value, shape (N,).
        published_s: When each value became known, shape (N,).
        as_of_s: The moment of this view; None: with hindsight.

    Raises:
        ValueError: If shapes differ, intervals overlap, or a value that is not missing is not a number.
    """

    info: SeriesInfo
    starts_s: IntArray
    values: FloatArray
    quality: QualityArray
    published_s: IntArray
    as_of_s: int | None = None

    def __post_init__(self) -> None:
        arrays = (self.starts_s, self.values, self.quality, self.published_s)
        if len({array.shape for array in arrays}) != 1:
            raise ValueError(f"{self.info.name}: arrays of different lengths: {[a.shape for a in arrays]}")
        if (np.diff(self.starts_s) < self.info.resolution_s).any():
            raise ValueError(f"{self.info.name}: intervals overlap or are out of order")
        if not np.isfinite(self.values).all():
            raise ValueError(
                f"{self.info.name}: a value is no number; missing ones are marked by their quality"
            )
        for array in arrays:
            array.flags.writeable = False

    def __len__(self) -> int:
        return len(self.starts_s)

    @property
    def ends_s(self) -> IntArray:
        """Ends of the intervals."""
        return self.starts_s + self.info.resolution_s

    @property
    def known(self) -> BoolArray:
        """Which values are there."""
        known: BoolArray = self.quality != int(Quality.MISSING)
        return known

    def at(self, time_s: float) -> float | None:
        """Return the value of the interval that contains a moment; None where there is none."""
        number = int(np.searchsorted(self.starts_s, time_s, side="right")) - 1
        if number < 0 or time_s >= self.starts_s[number] + self.info.resolution_s or not self.known[number]:
            return None
        return float(self.values[number])

    def between(self, start_s: int, stop_s: int) -> Series:
        """Return the intervals that begin in [start_s, stop_s)."""
        first, last = np.searchsorted(self.starts_s, (start_s, stop_s))
        return self._take(slice(int(first), int(last)))

    def age_s(self, now_s: float) -> float | None:
        """Return how long ago the newest known value was published; None if there is no value."""
        known = self.published_s[self.known]
        return None if len(known) == 0 else now_s - float(known.max())

    def known_until_s(self) -> int | None:
        """Return the end of the last known interval; None if there is none."""
        known = self.ends_s[self.known]
        return None if len(known) == 0 else int(known.max())

    def gaps(self, start_s: int, stop_s: int) -> tuple[Gap, ...]:
        """Return the spans of [start_s, stop_s) without a known value."""
        inside = self.known & (self.ends_s > start_s) & (self.starts_s < stop_s)
        begins = np.append(np.clip(self.starts_s[inside], start_s, stop_s), stop_s)
        ends = np.insert(np.clip(self.ends_s[inside], start_s, stop_s), 0, start_s)
        return tuple(
            Gap(int(end), int(begin)) for end, begin in zip(ends, begins, strict=True) if begin > end
        )

    def on(self, starts_s: npt.ArrayLike, ends_s: npt.ArrayLike) -> tuple[FloatArray, QualityArray]:
        """Return values and qualities over other intervals, of any lengths: means or sums by seconds.

        An interval that is not known throughout is MISSING, its value 0. A sum over part of an interval is ESTIMATED.
        """
        begins, ends = np.asarray(starts_s, dtype=np.int64), np.asarray(ends_s, dtype=np.int64)
        pieces = spread_over(self.starts_s, self.ends_s, begins, ends)
        is_sum = self.info.aggregate is Aggregate.SUM
        values = self.values[pieces.source]
        if is_sum:
            whole = pieces.lengths_s == self.info.resolution_s
            values = np.where(whole, values, values * (pieces.lengths_s / self.info.resolution_s))
            totals = pieces.sum(values)
        else:
            totals = pieces.mean(values)
        quality = self.quality[pieces.source].astype(np.int64)
        worst = pieces.max(quality)
        if is_sum:
            cut = pieces.max((pieces.lengths_s != self.info.resolution_s).astype(np.int64)) > 0
            worst = np.where(cut, np.maximum(worst, int(Quality.ESTIMATED)), worst)
        complete = pieces.covered_s((quality != Quality.MISSING).astype(np.int64)) == ends - begins
        return np.where(complete, totals, 0.0), np.where(complete, worst, 0).astype(np.uint8)

    def resample(self, resolution_s: int) -> Series:
        """Return the series with another resolution, on multiples of it since 1970.

        A longer interval is known when the last of its parts is, and missing if one part is.
        """
        info = msgspec.structs.replace(self.info, resolution_s=resolution_s)
        if len(self) == 0:
            return self._replace(info)
        first = self.starts_s[0] // resolution_s
        last = -(-self.ends_s[-1] // resolution_s)
        starts = np.arange(first, last, dtype=np.int64) * resolution_s
        values, quality = self.on(starts, starts + resolution_s)
        pieces = spread_over(self.starts_s, self.ends_s, starts, starts + resolution_s)
        published = pieces.max(self.published_s[pieces.source])
        return Series(
            info=info,
            starts_s=starts,
            values=values,
            quality=quality,
            published_s=published,
            as_of_s=self.as_of_s,
        )

    def scaled(self, factor: float, unit: str, *, currency: str | None = None) -> Series:
        """Return the series times a factor, in another unit."""
        info = msgspec.structs.replace(self.info, unit=unit, currency=currency or self.info.currency)
        return Series(
            info=info,
            starts_s=self.starts_s,
            values=self.values * factor,
            quality=self.quality,
            published_s=self.published_s,
            as_of_s=self.as_of_s,
        )

    def _take(self, part: slice) -> Series:
        return Series(
            info=self.info,
            starts_s=self.starts_s[part],
            values=self.values[part],
            quality=self.quality[part],
            published_s=self.published_s[part],
            as_of_s=self.as_of_s,
        )

    def _replace(self, info: SeriesInfo) -> Series:
        return Series(
            info=info,
            starts_s=self.starts_s,
            values=self.values,
            quality=self.quality,
            published_s=self.published_s,
            as_of_s=self.as_of_s,
        )


def join(series: Sequence[Series], start_s: int, stop_s: int, resolution_s: int) -> tuple[Series, ...]:
    """Return the series on the same intervals of [start_s, stop_s); what one of them lacks is missing in it alone.

    Raises:
        ValueError: If the span is not a multiple of the resolution, or the views are of different moments.
    """
    if (stop_s - start_s) % resolution_s or stop_s < start_s:
        raise ValueError(f"[{start_s}, {stop_s}) is no multiple of {resolution_s} s")
    if len({one.as_of_s for one in series}) > 1:
        raise ValueError(f"views of different moments: {sorted(str(one.as_of_s) for one in series)}")
    starts = np.arange(start_s, stop_s, resolution_s, dtype=np.int64)
    joined = []
    for one in series:
        values, quality = one.on(starts, starts + resolution_s)
        pieces = spread_over(one.starts_s, one.ends_s, starts, starts + resolution_s)
        joined.append(
            Series(
                info=msgspec.structs.replace(one.info, resolution_s=resolution_s),
                starts_s=starts.copy(),
                values=values,
                quality=quality,
                published_s=pieces.max(one.published_s[pieces.source]),
                as_of_s=one.as_of_s,
            )
        )
    return tuple(joined)


def make_series(
    info: SeriesInfo,
    starts_s: npt.ArrayLike,
    values: Sequence[float | None] | FloatArray,
    *,
    published_s: npt.ArrayLike,
    quality: Quality = Quality.MEASURED,
    as_of_s: int | None = None,
) -> Series:
    """Return a series of values of one quality; None and NaN are missing. ``published_s`` may be one moment for all."""
    starts = np.array(starts_s, dtype=np.int64)
    raw = np.array([np.nan if value is None else value for value in values], dtype=np.float64)
    known = ~np.isnan(raw)
    return Series(
        info=info,
        starts_s=starts,
        values=np.where(known, raw, 0.0),
        quality=np.where(known, int(quality), int(Quality.MISSING)).astype(np.uint8),
        published_s=np.broadcast_to(np.asarray(published_s, dtype=np.int64), starts.shape).copy(),
        as_of_s=as_of_s,
    )
