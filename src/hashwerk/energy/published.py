"""All vintages of a series. Nobody reads a value from here that was not yet published at the moment he names."""

from __future__ import annotations

import numpy as np

from hashwerk.energy.series import (
    FloatArray,
    IntArray,
    QualityArray,
    Series,
    SeriesInfo,
)


class PublishedSeries:
    """Every value that was published for every interval, forecasts and corrections included.

    It cannot be read but through `as_of`, or `hindsight` for whoever settles accounts or computes the bound of perfect
    foresight, and then says so.
    """

    __slots__ = ("_published_s", "_quality", "_starts_s", "_values", "info")

    def __init__(
        self,
        info: SeriesInfo,
        starts_s: IntArray,
        values: FloatArray,
        quality: QualityArray,
        published_s: IntArray,
    ) -> None:
        """Sort the vintages; of those with the same interval and moment the last given stands.

        Raises:
            ValueError: If shapes differ, a value is no number, or intervals overlap without being the same.
        """
        if len({array.shape for array in (starts_s, values, quality, published_s)}) != 1:
            raise ValueError(f"{info.name}: arrays of different lengths")
        order = np.lexsort((np.arange(len(starts_s)), published_s, starts_s))
        starts, moments = starts_s[order], published_s[order]
        same = (starts[1:] == starts[:-1]) & (moments[1:] == moments[:-1])
        order = order[np.append(~same, True)] if len(order) else order
        self.info = info
        self._starts_s, self._published_s = starts_s[order], published_s[order]
        self._values, self._quality = values[order], quality[order]
        steps = np.diff(self._starts_s)
        if ((steps > 0) & (steps < info.resolution_s)).any():
            raise ValueError(f"{info.name}: intervals overlap without being the same")
        if not np.isfinite(self._values).all():
            raise ValueError(f"{info.name}: a value is no number; missing ones are marked by their quality")

    def __len__(self) -> int:
        return len(self._starts_s)

    def __repr__(self) -> str:
        return f"PublishedSeries({self.info.name!r}, {len(self)} vintages)"

    def as_of(self, now_s: float, start_s: int | None = None, stop_s: int | None = None) -> Series:
        """Return what was known at a moment: for each interval the last value published by then, and no other.

        Args:
            now_s: The moment; a value published at this very second is known.
            start_s: Only intervals that end after this; None: all.
            stop_s: Only intervals that begin before this; None: all.
        """
        return self._view(int(np.floor(now_s)), start_s, stop_s, hindsight=False)

    def hindsight(self, start_s: int | None = None, stop_s: int | None = None) -> Series:
        """Return the last vintage of every interval, whenever it was published: never for a decision."""
        return self._view(int(np.iinfo(np.int64).max), start_s, stop_s, hindsight=True)

    def merged(self, newer: PublishedSeries) -> PublishedSeries:
        """Return the vintages of both. What says the same as the vintage before it is left out: nothing was published.

        Raises:
            ValueError: If unit, resolution or kind differ.
        """
        ours, theirs = self.info, newer.info
        if (ours.unit, ours.resolution_s, ours.aggregate) != (
            theirs.unit,
            theirs.resolution_s,
            theirs.aggregate,
        ):
            raise ValueError(
                f"{ours.name} is in {ours.unit} every {ours.resolution_s} s, {theirs.name} in {theirs.unit}"
                f" every {theirs.resolution_s} s"
            )
        both = PublishedSeries(
            theirs,
            np.concatenate([self._starts_s, newer._starts_s]),
            np.concatenate([self._values, newer._values]),
            np.concatenate([self._quality, newer._quality]),
            np.concatenate([self._published_s, newer._published_s]),
        )
        return both._without_repeats()

    def since(self, start_s: int) -> PublishedSeries:
        """Return the vintages of intervals that end after a moment: what a running site keeps in memory."""
        first = int(np.searchsorted(self._starts_s, start_s - self.info.resolution_s, side="right"))
        return PublishedSeries(
            self.info,
            self._starts_s[first:],
            self._values[first:],
            self._quality[first:],
            self._published_s[first:],
        )

    def vintages(self) -> tuple[IntArray, FloatArray, QualityArray, IntArray]:
        """Return starts, values, qualities and moments of publication, for keeping them in a file or a store."""
        return self._starts_s.copy(), self._values.copy(), self._quality.copy(), self._published_s.copy()

    def _view(self, now_s: int, start_s: int | None, stop_s: int | None, *, hindsight: bool) -> Series:
        first, last = 0, len(self)
        if start_s is not None:
            first = int(np.searchsorted(self._starts_s, start_s - self.info.resolution_s, side="right"))
        if stop_s is not None:
            last = int(np.searchsorted(self._starts_s, stop_s, side="left"))
        rows = first + np.flatnonzero(self._published_s[first:last] <= now_s)
        starts = self._starts_s[rows]
        if len(rows):
            rows = rows[np.append(starts[1:] != starts[:-1], True)]
        return Series(
            info=self.info,
            starts_s=self._starts_s[rows],
            values=self._values[rows],
            quality=self._quality[rows],
            published_s=self._published_s[rows],
            as_of_s=None if hindsight else now_s,
        )

    def _without_repeats(self) -> PublishedSeries:
        same = (
            (self._starts_s[1:] == self._starts_s[:-1])
            & (self._values[1:] == self._values[:-1])
            & (self._quality[1:] == self._quality[:-1])
        )
        keep = np.insert(~same, 0, True) if len(self) else np.zeros(0, dtype=np.bool_)
        return PublishedSeries(
            self.info, self._starts_s[keep], self._values[keep], self._quality[keep], self._published_s[keep]
        )


def published(series: Series) -> PublishedSeries:
    """Return the one vintage of a series as vintages that others can be merged with."""
    return PublishedSeries(series.info, series.starts_s, series.values, series.quality, series.published_s)


def empty_series(info: SeriesInfo) -> PublishedSeries:
    """Return a series of which nothing has been published."""
    none = np.zeros(0, dtype=np.int64)
    return PublishedSeries(info, none, np.zeros(0), np.zeros(0, dtype=np.uint8), none)


def describe_gaps(series: Series, start_s: int, stop_s: int) -> str | None:
    """Return in words when the first gap of a span begins, and how long all are together; None if there is none."""
    gaps = series.gaps(start_s, stop_s)
    if not gaps:
        return None
    at = np.datetime_as_string(np.datetime64(gaps[0].start_s, "s"), unit="m")
    hours = sum(gap.stop_s - gap.start_s for gap in gaps) / 3_600
    return f"{series.info.name} is missing for {hours:g} h in {len(gaps)} gaps, first at {at}Z"
