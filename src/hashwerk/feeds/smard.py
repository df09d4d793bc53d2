"""SMARD, the market data of the Bundesnetzagentur: files of a week, named by their beginning. Open, CC BY 4.0."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

import msgspec

from hashwerk.energy.ports import Signal
from hashwerk.energy.published import PublishedSeries
from hashwerk.energy.series import SeriesInfo
from hashwerk.errors import ConfigError, FeedError
from hashwerk.feeds.build import series_from_rows
from hashwerk.feeds.moments import epoch_s
from hashwerk.feeds.pool_accounts.transport import Api
from hashwerk.feeds.settings import SmardFeed

ATTRIBUTION: Final = "Bundesnetzagentur | SMARD.de, CC BY 4.0"

#: Numbers of the series of day-ahead prices by bidding zone.
PRICES: Final = {
    "DE-LU": 4169,
    "AT": 4170,
    "DK1": 252,
    "DK2": 253,
    "FR": 254,
    "NL": 256,
    "PL": 257,
    "CH": 259,
    "CZ": 261,
    "BE": 4996,
    "NO2": 4997,
}
_WEEK_S: Final = 7 * 86_400
#: Weeks at most in one request: a year and a bit.
_MAX_WEEKS: Final = 60


class _Index(msgspec.Struct):
    timestamps: list[int]


class _Week(msgspec.Struct):
    series: list[tuple[int, float | None]]


class Smard:
    """Prices, generation or load of a region."""

    def __init__(self, settings: SmardFeed) -> None:
        number = settings.series or PRICES.get(settings.region)
        if number is None:
            raise ConfigError(
                f"SMARD has no price known for {settings.region}; there are {', '.join(PRICES)}"
            )
        self.name = settings.name
        self._signal = Signal.PRICE if settings.series is None else Signal.GENERATION
        self._resolution = "quarterhour" if settings.quarters else "hour"
        # Generation comes in MWh per interval; here it is power.
        self._scale = 1.0 if settings.series is None else 1e6 * (4 if settings.quarters else 1)
        self._path = f"/app/chart_data/{number}/{settings.region}"
        self._file = f"{number}_{settings.region}_{self._resolution}"
        self._api = Api(settings.name, settings.base_url)
        self._info = SeriesInfo(
            name=settings.name,
            unit="EUR/MWh" if settings.series is None else "W",
            resolution_s=900 if settings.quarters else 3_600,
            source=ATTRIBUTION,
            currency="EUR" if settings.series is None else None,
        )

    async def fetch(self, start_s: int, stop_s: int, now_s: float) -> Mapping[Signal, PublishedSeries]:
        """Return the weeks that touch [start_s, stop_s).

        Raises:
            FeedError: If SMARD does not answer, or has nothing for the span.
        """
        index = await self._api.get(f"{self._path}/index_{self._resolution}.json", _Index)
        begins = sorted(epoch_s(self.name, stamp, 1_000) for stamp in index.timestamps)
        weeks = [begin for begin in begins if begin < stop_s and begin + _WEEK_S + 3_600 > start_s]
        if not weeks:
            raise FeedError(f"{self.name} answers with nothing: no file for this span")
        if len(weeks) > _MAX_WEEKS:
            raise FeedError(f"{self.name}: {len(weeks)} weeks are more than {_MAX_WEEKS} at a time")
        rows: list[tuple[int, float | None]] = []
        for begin in weeks:
            week = await self._api.get(f"{self._path}/{self._file}_{begin * 1_000}.json", _Week)
            rows += [
                (epoch_s(self.name, stamp, 1_000), None if value is None else value * self._scale)
                for stamp, value in week.series
            ]
        inside = [row for row in rows if start_s <= row[0] < stop_s]
        series = series_from_rows(
            self._info, [row[0] for row in inside], [row[1] for row in inside], int(now_s)
        )
        return {self._signal: series}
