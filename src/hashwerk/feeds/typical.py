"""The typical day of a month: what a plan runs on offline. It makes no claim about today, and says so.

The table is computed by ``tools/typical_days.py`` from recorded series with open licences; their attribution stands in its
first lines and goes with every figure.
"""

from __future__ import annotations

import csv
import functools
import importlib.resources
from collections.abc import Mapping
from typing import Final
from zoneinfo import ZoneInfo

import msgspec
import numpy as np

from hashwerk.energy.local_time import WallClock
from hashwerk.energy.ports import Signal
from hashwerk.energy.published import PublishedSeries
from hashwerk.energy.series import Quality, SeriesInfo
from hashwerk.errors import ConfigError
from hashwerk.feeds.build import series_from_rows
from hashwerk.feeds.settings import TypicalFeed

_HOUR_S: Final = 3_600
_FILE: Final = "typical_days.csv"


class TypicalDay(msgspec.Struct, frozen=True, kw_only=True):
    """The days of a zone: a value for each month and local hour."""

    zone: str
    signal: Signal
    unit: str
    time_zone: str
    attribution: str
    mean: tuple[tuple[float, ...], ...]  # [month − 1][hour]
    low: tuple[tuple[float, ...], ...]  # one day in ten lies below
    high: tuple[tuple[float, ...], ...]  # one day in ten lies above


class Typical:
    """Price and carbon of the typical day."""

    def __init__(self, settings: TypicalFeed) -> None:
        self.name = settings.name
        self._days = [day for day in typical_days() if day.zone == settings.zone]
        if not self._days:
            zones = sorted({day.zone for day in typical_days()})
            raise ConfigError(f"no typical days for {settings.zone!r}; there are {', '.join(zones)}")

    async def fetch(self, start_s: int, stop_s: int, now_s: float) -> Mapping[Signal, PublishedSeries]:
        """Return the hours of [start_s, stop_s), each marked as typical."""
        return {day.signal: typical_series(day, start_s, stop_s, int(now_s)) for day in self._days}


def typical_series(day: TypicalDay, start_s: int, stop_s: int, published_s: int) -> PublishedSeries:
    """Return a typical day laid over [start_s, stop_s), an hour at a time."""
    starts = np.arange(start_s // _HOUR_S * _HOUR_S, stop_s, _HOUR_S, dtype=np.int64)
    wall = WallClock.at(starts, day.time_zone)
    values = [
        day.mean[month - 1][minute // 60]
        for month, minute in zip(wall.month.tolist(), wall.minute.tolist(), strict=True)
    ]
    info = SeriesInfo(
        name=f"typical day, {day.zone} {day.signal.value}",
        unit=day.unit,
        resolution_s=_HOUR_S,
        source=f"typical day computed from: {day.attribution}",
        currency=day.unit.removesuffix("/MWh") if day.unit.endswith("/MWh") else None,
    )
    return series_from_rows(info, starts.tolist(), list(values), published_s, quality=Quality.TYPICAL)


@functools.cache
def typical_days() -> tuple[TypicalDay, ...]:
    """Return the table that comes with Hashwerk.

    Raises:
        ConfigError: If it is damaged.
    """
    text = (importlib.resources.files("hashwerk.feeds") / _FILE).read_text(encoding="utf-8")
    rows = list(csv.DictReader(line for line in text.splitlines() if not line.startswith("#")))
    attributions = dict(
        line.removeprefix("# attribution ").split(": ", 1)
        for line in text.splitlines()
        if line.startswith("# attribution ")
    )
    days = []
    for zone, signal in dict.fromkeys((row["zone"], row["signal"]) for row in rows):
        own = [row for row in rows if (row["zone"], row["signal"]) == (zone, signal)]
        if len(own) != 12 * 24:
            raise ConfigError(f"{_FILE} has {len(own)} rows of {zone} {signal} instead of 288")
        tables = {
            name: tuple(
                tuple(float(own[month * 24 + hour][name]) for hour in range(24)) for month in range(12)
            )
            for name in ("mean", "low", "high")
        }
        days.append(
            TypicalDay(
                zone=zone,
                signal=Signal(signal),
                unit=own[0]["unit"],
                time_zone=ZoneInfo(own[0]["time_zone"]).key,
                attribution=attributions[own[0]["attribution"]],
                mean=tables["mean"],
                low=tables["low"],
                high=tables["high"],
            )
        )
    return tuple(days)
