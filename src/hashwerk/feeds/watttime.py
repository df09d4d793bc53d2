"""WattTime: marginal emissions in five-minute steps, as a forecast and as history. Pounds per MWh become grams per kWh."""

from __future__ import annotations

import base64
from collections.abc import Mapping
from typing import Final

import msgspec

from hashwerk.energy.ports import Signal
from hashwerk.energy.published import PublishedSeries
from hashwerk.energy.series import Quality, SeriesInfo
from hashwerk.errors import FeedError
from hashwerk.feeds.build import series_from_rows
from hashwerk.feeds.keys import read_key
from hashwerk.feeds.moments import iso_s, iso_text
from hashwerk.feeds.pool_accounts.transport import Api
from hashwerk.feeds.settings import WattTimeFeed

#: Exactly, by the definition of the pound: 453.59237 g/lb over 1,000 kWh/MWh.
G_PER_KWH_OF_LB_PER_MWH: Final = 0.45359237
#: A token lasts 30 minutes.
_TOKEN_S: Final = 25 * 60.0


class _Token(msgspec.Struct):
    token: str


class _Point(msgspec.Struct):
    point_time: str
    value: float | None


class _Meta(msgspec.Struct):
    data_point_period_seconds: int
    region: str
    units: str


class _Data(msgspec.Struct):
    data: list[_Point]
    meta: _Meta


class WattTime:
    """Marginal emissions of a region."""

    def __init__(self, settings: WattTimeFeed) -> None:
        self.name = settings.name
        self._settings = settings
        password = read_key(settings.name, settings.password_file)
        basic = base64.b64encode(f"{settings.user}:{password}".encode()).decode()
        self._login = Api(settings.name, settings.base_url, headers={"Authorization": f"Basic {basic}"})
        self._api: Api | None = None
        self._token_at_s = 0.0

    async def fetch(self, start_s: int, stop_s: int, now_s: float) -> Mapping[Signal, PublishedSeries]:
        """Return history before now and the forecast after it, within [start_s, stop_s).

        Raises:
            FeedError: If it does not answer, refuses the account, answers for another region or unit, or with nothing.
        """
        api = await self._session(now_s)
        query = {"region": self._settings.region, "signal_type": "co2_moer"}
        history = await api.get(
            "/v3/historical",
            _Data,
            {**query, "start": iso_text(start_s), "end": iso_text(min(stop_s, now_s))},
        )
        forecast = await api.get("/v3/forecast", _Data, query)
        found = None
        for reply, quality in ((forecast, Quality.FORECAST), (history, Quality.MEASURED)):
            part = self._series(reply, quality, (start_s, stop_s), int(now_s))
            if part is not None:
                # What was measured stands where a forecast of the same moment is older or equal.
                found = part if found is None else found.merged(part)
        if found is None:
            raise FeedError(f"{self.name} answers with nothing for {self._settings.region}")
        return {Signal.CARBON_MARGINAL: found}

    async def _session(self, now_s: float) -> Api:
        if self._api is None or now_s - self._token_at_s > _TOKEN_S:
            token = (await self._login.get("/login", _Token)).token
            self._api = Api(self.name, self._settings.base_url, headers={"Authorization": f"Bearer {token}"})
            self._token_at_s = now_s
        return self._api

    def _series(
        self, reply: _Data, quality: Quality, span: tuple[int, int], now_s: int
    ) -> PublishedSeries | None:
        if reply.meta.region != self._settings.region:
            raise FeedError(
                f"{self.name} was asked for {self._settings.region} and answers for {reply.meta.region}"
            )
        if reply.meta.units != "lbs_co2_per_mwh":
            raise FeedError(f"{self.name} answers in {reply.meta.units!r}")
        info = SeriesInfo(
            name=self.name,
            unit="g/kWh",
            resolution_s=reply.meta.data_point_period_seconds,
            source="WattTime, marginal operating emissions",
        )
        rows = [
            (iso_s(self.name, point.point_time), point.value * G_PER_KWH_OF_LB_PER_MWH)
            for point in reply.data
            if point.value is not None
        ]
        inside = [row for row in rows if span[0] <= row[0] < span[1]]
        if not inside:
            return None
        return series_from_rows(info, [r[0] for r in inside], [r[1] for r in inside], now_s, quality=quality)
