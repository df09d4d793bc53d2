"""Prices of North American grids, through gridstatus where it is installed."""

from __future__ import annotations

import asyncio
import importlib
import os
from collections.abc import Mapping
from typing import Any, Final

from hashwerk.energy.ports import Signal
from hashwerk.energy.published import PublishedSeries
from hashwerk.energy.series import SeriesInfo
from hashwerk.errors import ConfigError, FeedError
from hashwerk.feeds.build import series_from_rows
from hashwerk.feeds.keys import read_key
from hashwerk.feeds.settings import GridstatusFeed

#: The library's class and method by grid. ERCOT calls its prices SPP, all others LMP.
_CLASSES: Final = {
    "ERCOT": ("Ercot", "get_spp"),
    "PJM": ("PJM", "get_lmp"),
    "CAISO": ("CAISO", "get_lmp"),
    "MISO": ("MISO", "get_lmp"),
    "NYISO": ("NYISO", "get_lmp"),
    "ISONE": ("ISONE", "get_lmp"),
}
#: Grids that are asked for all hubs: they name locations by numbers of their own.
_WHOLE: Final = frozenset({"PJM", "MISO"})
_DAY_S: Final = 86_400


class Gridstatus:
    """Prices of a settlement point.

    The last interval is often missing, and grids have answered with nothing for weeks after renaming a column (gridstatus
    issues 223 and 445, ercot/api-specs 146): an empty answer is an error here, never an empty series.
    """

    def __init__(self, settings: GridstatusFeed) -> None:
        self.name = settings.name
        self._settings = settings
        if settings.key_file is not None:
            # The library takes its keys from the environment alone.
            os.environ[f"{settings.grid}_API_KEY"] = read_key(settings.name, settings.key_file)
        self._library, self._pandas = _libraries(settings.name)

    async def fetch(self, start_s: int, stop_s: int, now_s: float) -> Mapping[Signal, PublishedSeries]:
        """Return the prices of [start_s, stop_s).

        Raises:
            FeedError: If the grid does not answer, without the columns that it should have, or with nothing.
        """
        rows = await asyncio.to_thread(self._ask, start_s, stop_s)
        inside = [row for row in rows if start_s <= row[0] < stop_s]
        if not inside:
            raise FeedError(f"{self.name} answers with nothing for {self._settings.location}")
        lengths = {row[1] - row[0] for row in inside}
        if len(lengths) != 1:
            raise FeedError(f"{self.name} lists intervals of {sorted(lengths)} s")
        info = SeriesInfo(
            name=self.name,
            unit="USD/MWh",
            resolution_s=lengths.pop(),
            source=f"{self._settings.grid} through gridstatus, {self._settings.market}",
            currency="USD",
        )
        series = series_from_rows(info, [row[0] for row in inside], [row[2] for row in inside], int(now_s))
        return {Signal.PRICE: series}

    def _ask(self, start_s: int, stop_s: int) -> list[tuple[int, int, float | None]]:
        settings = self._settings
        class_name, method = _CLASSES[settings.grid]
        stamp = self._pandas.Timestamp
        try:
            grid = getattr(self._library, class_name)()
            # ERCOT's day-ahead files are chosen by the day they were published on: the day before.
            early_s = _DAY_S if settings.grid == "ERCOT" else 0
            only = {} if settings.grid in _WHOLE else {"locations": [settings.location]}
            frame = getattr(grid, method)(
                date=stamp(start_s - early_s, unit="s", tz="UTC"),
                end=stamp(stop_s, unit="s", tz="UTC"),
                market=self._library.Markets(settings.market),
                **only,
            )
        except Exception as error:
            raise FeedError(
                f"{self.name} cannot be asked: {str(error)[:300] or type(error).__name__}"
            ) from error
        return self._rows(frame)

    def _rows(self, frame: Any) -> list[tuple[int, int, float | None]]:
        price = "SPP" if self._settings.grid == "ERCOT" else "LMP"
        missing = {"Location", "Interval Start", "Interval End", price} - set(frame.columns)
        if missing:
            raise FeedError(
                f"{self.name} lacks the column {sorted(missing)[0]!r}; there is {', '.join(map(str, frame.columns))[:300]}"
            )
        columns = (frame[name].tolist() for name in ("Location", "Interval Start", "Interval End", price))
        return [
            (int(begin.timestamp()), int(end.timestamp()), None if value != value else float(value))  # noqa: PLR0124
            for location, begin, end, value in zip(*columns, strict=True)
            if location == self._settings.location
        ]


def _libraries(name: str) -> tuple[Any, Any]:
    try:
        return importlib.import_module("gridstatus"), importlib.import_module("pandas")
    except ImportError as error:
        raise ConfigError(
            f"{name} needs gridstatus, which is not installed: pip install gridstatus; or read prices from a file or an HTTP API"
        ) from error
