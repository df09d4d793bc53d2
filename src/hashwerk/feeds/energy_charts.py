"""Energy-Charts of Fraunhofer ISE: day-ahead prices and carbon of Europe, arrays side by side. Open, no key."""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from typing import Final

import msgspec

from hashwerk.energy.ports import Signal
from hashwerk.energy.published import PublishedSeries
from hashwerk.energy.series import Quality, SeriesInfo
from hashwerk.errors import FeedError
from hashwerk.feeds.build import series_from_rows
from hashwerk.feeds.moments import epoch_s, iso_text
from hashwerk.feeds.pool_accounts.transport import Api
from hashwerk.feeds.settings import EnergyChartsCarbonFeed, EnergyChartsFeed

_RESOLUTIONS_S: Final = (900, 1_800, 3_600)
#: The coupled European day-ahead market trades quarters of an hour for delivery since 1 October 2025, local time.
QUARTERS_SINCE_S: Final = 1_759_269_600


class _Prices(msgspec.Struct):
    unix_seconds: list[int]
    price: list[float | None]
    unit: str
    license_info: str = ""


class _Carbon(msgspec.Struct):
    unix_seconds: list[int]
    co2eq: list[float | None]
    co2eq_forecast: list[float | None] = []


class EnergyCharts:
    """Day-ahead prices of a bidding zone."""

    def __init__(self, settings: EnergyChartsFeed) -> None:
        self.name = settings.name
        self._zone = settings.zone
        self._api = Api(settings.name, settings.base_url)

    async def fetch(self, start_s: int, stop_s: int, now_s: float) -> Mapping[Signal, PublishedSeries]:
        """Return the prices of [start_s, stop_s), in the resolution that the market had.

        Raises:
            FeedError: If it does not answer, in another unit, or with nothing.
        """
        reply = await self._api.get(
            "/price",
            _Prices,
            {"bzn": self._zone, "start": iso_text(start_s), "end": iso_text(stop_s)},
        )
        unit = reply.unit.replace(" ", "")
        if unit not in {"EUR/MWh", "EUR/MWH"}:
            raise FeedError(f"{self.name} gives prices in {reply.unit!r}")
        if len(reply.unix_seconds) != len(reply.price):
            raise FeedError(
                f"{self.name} lists {len(reply.unix_seconds)} times and {len(reply.price)} prices"
            )
        starts = [epoch_s(self.name, stamp) for stamp in reply.unix_seconds]
        rows = {
            start: value
            for start, value in zip(starts, reply.price, strict=True)
            if start_s <= start < stop_s
        }
        info = SeriesInfo(
            name=self.name,
            unit="EUR/MWh",
            resolution_s=_resolution_s(self.name, sorted(rows)),
            source=f"Energy-Charts (Fraunhofer ISE): {reply.license_info.strip() or 'licence not stated'}"[
                :300
            ],
            currency="EUR",
        )
        # A span over the change from hours to quarters is given in quarters: a price holds in each part of its hour.
        starts_s, values = _in_quarters(rows, info.resolution_s)
        return {Signal.PRICE: series_from_rows(info, starts_s, values, int(now_s))}


class EnergyChartsCarbon:
    """Average carbon intensity of a country's mix: today's as far as it is known, and the forecast for the rest."""

    def __init__(self, settings: EnergyChartsCarbonFeed) -> None:
        self.name = settings.name
        self._country = settings.country
        self._api = Api(settings.name, settings.base_url)

    async def fetch(self, start_s: int, stop_s: int, now_s: float) -> Mapping[Signal, PublishedSeries]:
        """Return what it has within [start_s, stop_s): today and tomorrow, whatever is asked for.

        Raises:
            FeedError: If it does not answer, or with nothing.
        """
        reply = await self._api.get("/co2eq", _Carbon, {"country": self._country})
        starts = [epoch_s(self.name, stamp) for stamp in reply.unix_seconds]
        info = SeriesInfo(
            name=self.name,
            unit="g/kWh",
            resolution_s=_resolution_s(self.name, starts),
            source=f"Energy-Charts (Fraunhofer ISE), CO2 equivalents of {self._country}, average",
        )
        measured = {start for start, value in zip(starts, reply.co2eq, strict=False) if value is not None}
        found: PublishedSeries | None = None
        for values, quality in ((reply.co2eq, Quality.MEASURED), (reply.co2eq_forecast, Quality.FORECAST)):
            if values and len(values) != len(starts):
                raise FeedError(f"{self.name} lists {len(starts)} times and {len(values)} values")
            rows = [
                (start, value)
                for start, value in zip(starts, values, strict=False)
                if value is not None
                and start_s <= start < stop_s
                and (quality is Quality.MEASURED or start not in measured)
            ]
            if rows:
                part = series_from_rows(
                    info, [row[0] for row in rows], [row[1] for row in rows], int(now_s), quality=quality
                )
                found = part if found is None else found.merged(part)
        if found is None:
            raise FeedError(f"{self.name} answers with nothing for {self._country}")
        return {Signal.CARBON_AVERAGE: found}


def _resolution_s(name: str, starts: list[int]) -> int:
    if len(starts) < 2:
        raise FeedError(f"{name} answers with nothing: {len(starts)} rows")
    smallest = min(later - earlier for earlier, later in itertools.pairwise(starts))
    if smallest not in _RESOLUTIONS_S:
        raise FeedError(f"{name} lists prices every {smallest} s")
    return smallest


def _in_quarters(rows: Mapping[int, float | None], resolution_s: int) -> tuple[list[int], list[float | None]]:
    """Spread the hours before the market's change over the parts of an answer in quarters; elsewhere nothing is added."""
    found: dict[int, float | None] = {}
    for start in sorted(rows):
        parts = 3_600 // resolution_s if start < QUARTERS_SINCE_S else 1
        for part in range(parts):
            found[start + part * resolution_s] = rows[start]
    return list(found), list(found.values())
