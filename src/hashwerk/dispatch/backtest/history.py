"""History with the time at which each value became known: nobody reads what was not yet published.

The values themselves stay inside; what comes out is a view of one moment, or each interval's value as it was known when
that interval began. A policy sees nothing else. Whether it found another way is tested (`hashwerk.dispatch.backtest.leak`).
"""

from __future__ import annotations

import datetime
import zoneinfo
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

import numpy as np

from hashwerk.dispatch.backtest.settings import PublicationSettings
from hashwerk.dispatch.grid import DAY_S, FloatArray, Grid, IntArray
from hashwerk.errors import DispatchError

#: Of so many days the median is what is usual at a time of day.
_DAYS_BACK: Final = 7
#: How fast the last known deviation from the day before loses its meaning.
_SHIFT_FADES_S: Final = 2 * 3_600.0


class NotYetPublishedError(DispatchError):
    """A value was asked for that was not known at the time."""


@dataclass(frozen=True, slots=True, eq=False)
class Published:
    """A series on a grid with the time at which each value became known; what never was is not a number."""

    name: str
    values: FloatArray
    published_s: FloatArray


class History:
    """Series of a backtest. ``settled`` is for the accounts alone, which are made when all is over."""

    __slots__ = ("_series", "grid")

    def __init__(self, grid: Grid, series: Mapping[str, Published]) -> None:
        for one in series.values():
            if one.values.shape != (len(grid),) or one.published_s.shape != (len(grid),):
                raise ValueError(f"{one.name} does not fit the grid")
        self.grid = grid
        self._series = dict(series)

    def __contains__(self, name: str) -> bool:
        return name in self._series

    def at(self, now: float) -> HistoryView:
        """Return what was known at a moment."""
        return HistoryView(self.grid, self._series, now)

    def as_known(self, name: str) -> FloatArray:
        """Return, for each interval, its value if that was known when the interval began, else the last known value."""
        one = self._series[name]
        in_time = np.isfinite(one.values) & (one.published_s <= self.grid.starts_s + 1e-6)
        if in_time.all():
            return one.values.copy()
        return _last_known(one, self.grid, in_time)

    def settled(self, name: str) -> FloatArray:
        """Return what happened, for the accounts."""
        return self._series[name].values.copy()

    def publications(self, name: str) -> FloatArray:
        """Return when each value became known: when, not what."""
        return self._series[name].published_s.copy()

    def changed_after(self, cut_s: float, seed: int) -> History:
        """Return the same history with every value that was published after a moment replaced by noise."""
        random = np.random.default_rng(seed)
        changed = {}
        for key, one in self._series.items():
            unknown = (one.published_s > cut_s) & np.isfinite(one.values)
            spread = float(np.std(one.values[np.isfinite(one.values)])) if unknown.any() else 1.0
            noise = one.values + random.normal(0, 5 * (spread or 1.0), len(one.values))
            changed[key] = Published(one.name, np.where(unknown, noise, one.values), one.published_s)
        return History(self.grid, changed)


class HistoryView:
    """What was known at one moment."""

    __slots__ = ("_grid", "_now", "_series")

    def __init__(self, grid: Grid, series: Mapping[str, Published], now: float) -> None:
        self._grid, self._series, self._now = grid, series, now

    def value(self, name: str, interval: int) -> float:
        """Return one value.

        Raises:
            NotYetPublishedError: If it was not known at the time.
        """
        one = self._series[name]
        if one.published_s[interval] > self._now:
            raise NotYetPublishedError(
                f"{one.name} of {_clock(self._grid.starts_s[interval])} was published at"
                f" {_clock(one.published_s[interval])} and asked for at {_clock(self._now)}"
            )
        return float(one.values[interval])

    def known(self, name: str, first: int, last: int) -> FloatArray:
        """Return the values of a range of intervals; not a number where they were not known or are missing."""
        one = self._series[name]
        values, published_s = one.values[first:last], one.published_s[first:last]
        return np.where(published_s <= self._now, values, np.nan)

    def expected(self, name: str, first: int, last: int, *, daily: bool) -> FloatArray:
        """Return known values, and for the others a forecast: the whole forecast of a backtest, printed as an assumption.

        ``daily``: the median at the same time of the last seven days, shifted by how much the last known value differs from its
        own, less and less (by a factor e in two hours). Otherwise, and where there is no earlier day: the last known value.
        """
        values = self.known(name, first, last)
        missing = ~np.isfinite(values)
        if not missing.any():
            return values
        one = self._series[name]
        seen = np.flatnonzero((one.published_s[:last] <= self._now) & np.isfinite(one.values[:last]))
        if not len(seen):
            return values
        latest = int(seen[-1])
        if daily:
            base = self._usual(name, latest, last)
            shift = one.values[latest] - base[0] if np.isfinite(base[0]) else 0.0
            distance_s = self._grid.starts_s[first:last] - self._grid.starts_s[latest]
            # Of what comes before the last known value nothing is forecast: gaps there are gaps.
            after = np.arange(first, last) > latest
            guess = np.full(last - first, np.nan)
            guess[after] = base[np.arange(first, last)[after] - latest]
            guess += shift * np.exp(-np.maximum(distance_s, 0.0) / _SHIFT_FADES_S)
            values = np.where(missing & np.isfinite(guess), guess, values)
        return np.where(np.isfinite(values), values, one.values[latest])

    def _usual(self, name: str, first: int, last: int) -> FloatArray:
        """Return, for each interval of a range, the median at the same time of what is known of the seven days before."""
        per_day = round(DAY_S / float(self._grid.durations_s[0]))
        earlier = np.full((_DAYS_BACK, last - first), np.nan)
        for days in range(1, _DAYS_BACK + 1):
            low, high = max(0, first - days * per_day), last - days * per_day
            if high > low:
                earlier[days - 1, (last - first) - (high - low) :] = self.known(name, low, high)
        ordered = np.sort(earlier, axis=0)  # what is not a number comes last
        count = np.isfinite(earlier).sum(axis=0)
        at = np.arange(last - first)
        median = (ordered[np.maximum(count - 1, 0) // 2, at] + ordered[count // 2 % _DAYS_BACK, at]) / 2
        return np.where(count > 0, median, np.nan)


def _last_known(
    one: Published, grid: Grid, in_time: np.ndarray[tuple[int], np.dtype[np.bool_]]
) -> FloatArray:
    """Return the values with those not known in time replaced by the latest interval's value that was, if there is one.

    A value that never came stays missing: only those that were late are bridged.
    """
    order: IntArray = np.argsort(one.published_s, kind="stable")
    published_s = one.published_s[order]
    known = np.isfinite(one.values[order])
    latest = np.maximum.accumulate(np.where(known, order, -1))
    place = np.searchsorted(published_s, grid.starts_s + 1e-6, side="right") - 1
    source = np.where(place >= 0, latest[np.maximum(place, 0)], -1)
    late = np.isfinite(one.values) & ~in_time & (source >= 0)
    kept = np.where(in_time, one.values, np.nan)
    return np.where(late, one.values[np.maximum(source, 0)], kept)


def bridged(one: Published) -> Published:
    """Return a series whose gaps have the value before them, and what is missing at the beginning the first one.

    Nobody knew them earlier for that: a value from later keeps the time of its own publication.
    """
    known = np.isfinite(one.values)
    if known.all() or not known.any():
        return one
    place = np.maximum.accumulate(np.where(known, np.arange(len(known)), -1))
    source = np.where(place >= 0, place, int(np.argmax(known)))
    published_s = np.maximum(one.published_s, one.published_s[source])
    return Published(one.name, one.values[source], published_s)


def publication_times(
    grid: Grid, settings: PublicationSettings, resolution_s: float | None = None
) -> FloatArray:
    """Return when the value of each interval became known.

    Daylight saving is here and nowhere else: a day-ahead price is published at a local time for a local day. What is
    published afterwards is known when the series' own interval (``resolution_s``) is over, not when the grid's is.

    Raises:
        DispatchError: If the time zone is not known.
    """
    if settings.kind == "after":
        length_s = grid.durations_s if resolution_s is None else resolution_s
        whole_s = grid.starts_s // length_s * length_s + length_s
        return np.asarray(whole_s + settings.lag_min * 60.0)
    try:
        zone = zoneinfo.ZoneInfo(settings.zone)
    except (zoneinfo.ZoneInfoNotFoundError, ValueError) as error:
        raise DispatchError(f"there is no time zone {settings.zone!r}") from error
    hour, minute = map(int, settings.at.split(":"))
    first = datetime.datetime.fromtimestamp(float(grid.starts_s[0]), zone).date()
    last = datetime.datetime.fromtimestamp(float(grid.starts_s[-1]), zone).date()
    days = [first + datetime.timedelta(days=n) for n in range((last - first).days + 1)]
    begins_s = np.array([datetime.datetime(d.year, d.month, d.day, tzinfo=zone).timestamp() for d in days])
    eve = [day - datetime.timedelta(days=1) for day in days]
    known_s = np.array(
        [datetime.datetime(d.year, d.month, d.day, hour, minute, tzinfo=zone).timestamp() for d in eve]
    )
    return np.asarray(known_s[np.searchsorted(begins_s, grid.starts_s + 1e-6, side="right") - 1])


def _clock(time_s: float) -> str:
    if not np.isfinite(time_s):
        return "no time"
    return f"{np.datetime_as_string(np.datetime64(int(time_s), 's'), unit='m')}Z"
