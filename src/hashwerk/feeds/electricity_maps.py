"""Electricity Maps: the average carbon intensity of what is consumed in a zone, life cycle, by the hour."""

from __future__ import annotations

from collections.abc import Mapping

import msgspec

from hashwerk.energy.ports import Signal
from hashwerk.energy.published import PublishedSeries
from hashwerk.energy.series import Quality, SeriesInfo
from hashwerk.errors import FeedError
from hashwerk.feeds.build import series_from_rows
from hashwerk.feeds.keys import read_key
from hashwerk.feeds.moments import iso_s
from hashwerk.feeds.pool_accounts.transport import Api
from hashwerk.feeds.settings import ElectricityMapsFeed


class _Point(msgspec.Struct, rename={"intensity": "carbonIntensity", "estimated": "isEstimated"}):
    datetime: str
    intensity: float | None
    estimated: bool = False


class _History(msgspec.Struct):
    zone: str
    history: list[_Point]


class _Forecast(msgspec.Struct):
    zone: str
    forecast: list[_Point]


class ElectricityMaps:
    """Average carbon intensity of a zone. It is not what one kWh more or less would change: that is the marginal one."""

    def __init__(self, settings: ElectricityMapsFeed) -> None:
        self.name = settings.name
        self._zone = settings.zone
        self._forecast = settings.forecast
        key = read_key(settings.name, settings.key_file)
        self._api = Api(settings.name, settings.base_url, headers={"auth-token": key})
        self._info = SeriesInfo(
            name=settings.name,
            unit="g/kWh",
            resolution_s=3_600,
            source="Electricity Maps, life cycle, average",
        )

    async def fetch(self, start_s: int, stop_s: int, now_s: float) -> Mapping[Signal, PublishedSeries]:
        """Return the last 24 hours, and with `forecast` the hours ahead, as far as they lie in [start_s, stop_s).

        Raises:
            FeedError: If it does not answer, refuses the key, or has nothing.
        """
        history = await self._api.get("/v3/carbon-intensity/history", _History, {"zone": self._zone})
        self._check_zone(history.zone)
        measured = [point for point in history.history if not point.estimated]
        estimated = [point for point in history.history if point.estimated]
        parts = [(measured, Quality.MEASURED), (estimated, Quality.ESTIMATED)]
        if self._forecast:
            ahead = await self._api.get("/v3/carbon-intensity/forecast", _Forecast, {"zone": self._zone})
            self._check_zone(ahead.zone)
            known = {point.datetime for point in history.history}
            parts.append(([p for p in ahead.forecast if p.datetime not in known], Quality.FORECAST))
        found: PublishedSeries | None = None
        for points, quality in parts:
            rows = [(iso_s(self.name, point.datetime), point.intensity) for point in points]
            inside = [row for row in rows if start_s <= row[0] < stop_s and row[1] is not None]
            if inside:
                part = series_from_rows(
                    self._info, [r[0] for r in inside], [r[1] for r in inside], int(now_s), quality=quality
                )
                found = part if found is None else found.merged(part)
        if found is None:
            raise FeedError(f"{self.name} answers with nothing for {self._zone}")
        return {Signal.CARBON_AVERAGE: found}

    def _check_zone(self, zone: str) -> None:
        if zone != self._zone:
            raise FeedError(f"{self.name} was asked for {self._zone} and answers for {zone}")
