"""History with the time at which each value became known: nobody reads what was not yet published.

The values themselves stay inside; what comes out is a view of one moment, or each interval's value as it was known when
that interval began. A policy sees nothing else. Whether it found another way is tested (`hashwerk.dispatch.backtest.leak`).
"""

from __future__ import annotations

import datetime
import zoneinfo
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from hashwerk.dispatch.backtest.settings import PublicationSettings
from hashwerk.dispatch.grid import DAY_S, FloatArray, Grid, IntArray
from hashwerk.errors import DispatchError


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
            spread = float(np.nanstd(one.values)) or 1.0
            noise = one.values + random.normal(0, 5 * spread, len(one.values))
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
        """Return known values, and for the others the same time of the last known day, or else the last known value.

        This is the whole forecast of a backtest: it is printed as an assumption.
        """
        values = self.known(name, first, last)
        if daily:
            per_day = round(DAY_S / float(self._grid.durations_s[0]))
            for days in range(1, 8):
                missing = ~np.isfinite(values)
                back = first - days * per_day
                if not missing.any() or back < 0:
                    break
                earlier = self.known(name, back, back + (last - first))
                earlier = np.append(earlier, np.full(last - first - len(earlier), np.nan))
                values = np.where(missing, earlier, values)
        if not np.isfinite(values).all():
            one = self._series[name]
            seen = np.flatnonzero((one.published_s <= self._now) & np.isfinite(one.values))
            if len(seen):
                values = np.where(np.isfinite(values), values, one.values[seen[-1]])
        return values


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


def publication_times(grid: Grid, settings: PublicationSettings) -> FloatArray:
    """Return when the value of each interval became known.

    Daylight saving is here and nowhere else: a day-ahead price is published at a local time for a local day.

    Raises:
        DispatchError: If the time zone is not known.
    """
    if settings.kind == "after":
        return np.asarray(grid.ends_s + settings.lag_min * 60.0)
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
