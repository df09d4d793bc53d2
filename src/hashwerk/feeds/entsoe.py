"""ENTSO-E's transparency platform, through entsoe-py where it is installed."""

from __future__ import annotations

import asyncio
import importlib
import itertools
from collections.abc import Mapping
from typing import Any, Final

from hashwerk.energy.ports import Signal
from hashwerk.energy.published import PublishedSeries
from hashwerk.energy.series import SeriesInfo
from hashwerk.errors import ConfigError, FeedError
from hashwerk.feeds.build import series_from_rows
from hashwerk.feeds.keys import read_key
from hashwerk.feeds.settings import EntsoeFeed

_RESOLUTIONS_S: Final = (900, 1_800, 3_600)


class Entsoe:
    """Day-ahead prices of a bidding zone.

    The library is asked for UTC and its answer is cut here: it has shifted and lost single hours at the changes of daylight
    saving, and mixed up sequences of quarters (its issues 388, 445, 468). Rows that contradict each other are refused.
    """

    def __init__(self, settings: EntsoeFeed) -> None:
        self.name = settings.name
        self._area = settings.area
        self._key = read_key(settings.name, settings.key_file)
        self._library, self._pandas = _libraries(settings.name)

    async def fetch(self, start_s: int, stop_s: int, now_s: float) -> Mapping[Signal, PublishedSeries]:
        """Return the prices of [start_s, stop_s).

        Raises:
            FeedError: If the platform does not answer, or with nothing.
        """
        rows = await asyncio.to_thread(self._ask, start_s, stop_s)
        inside = {start: value for start, value in rows if start_s <= start < stop_s}
        if len(inside) < 2:
            raise FeedError(f"{self.name} answers with nothing for {self._area}")
        starts = sorted(inside)
        resolution_s = min(later - earlier for earlier, later in itertools.pairwise(starts))
        if resolution_s not in _RESOLUTIONS_S:
            raise FeedError(f"{self.name} lists prices every {resolution_s} s")
        info = SeriesInfo(
            name=self.name,
            unit="EUR/MWh",
            resolution_s=resolution_s,
            source="ENTSO-E Transparency Platform",
            currency="EUR",
        )
        return {Signal.PRICE: series_from_rows(info, starts, [inside[start] for start in starts], int(now_s))}

    def _ask(self, start_s: int, stop_s: int) -> list[tuple[int, float | None]]:
        stamp = self._pandas.Timestamp
        try:
            client = self._library.EntsoePandasClient(api_key=self._key)
            prices = client.query_day_ahead_prices(
                self._area,
                start=stamp(start_s, unit="s", tz="UTC"),
                end=stamp(stop_s, unit="s", tz="UTC"),
            )
        except Exception as error:
            text = str(error).replace(self._key, "…") or type(error).__name__
            raise FeedError(f"{self.name} cannot be asked for {self._area}: {text[:300]}") from error
        return [
            (int(moment.timestamp()), None if value != value else float(value))  # noqa: PLR0124
            for moment, value in prices.items()
        ]


def _libraries(name: str) -> tuple[Any, Any]:
    try:
        return importlib.import_module("entsoe"), importlib.import_module("pandas")
    except ImportError as error:
        raise ConfigError(
            f"{name} needs entsoe-py, which is not installed: pip install 'hashwerk[entsoe]'; or use SMARD or Energy-Charts,"
            " which need neither library nor key"
        ) from error
