"""The coin's last price at an exchange, public and without a key: one row of a table each."""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal, InvalidOperation
from typing import Final

import msgspec

from hashwerk.energy.ports import Signal
from hashwerk.energy.published import PublishedSeries
from hashwerk.energy.series import SeriesInfo
from hashwerk.errors import FeedError
from hashwerk.feeds.build import series_from_rows
from hashwerk.feeds.fields import field_of
from hashwerk.feeds.pool_accounts.transport import Api
from hashwerk.feeds.settings import ExchangeFeed

_STEP_S: Final = 300


class Ticker(msgspec.Struct, frozen=True, kw_only=True):
    """Where an exchange writes its last price."""

    base_url: str
    paths: Mapping[str, str]  # by currency
    field: str
    error_field: str | None = None


TICKERS: Final = {
    "kraken": Ticker(
        base_url="https://api.kraken.com",
        paths={"USD": "/0/public/Ticker?pair=XBTUSD", "EUR": "/0/public/Ticker?pair=XBTEUR"},
        field="result.*.c.0",
        error_field="error",
    ),
    "bitstamp": Ticker(
        base_url="https://www.bitstamp.net",
        paths={"USD": "/api/v2/ticker/btcusd/", "EUR": "/api/v2/ticker/btceur/"},
        field="last",
    ),
    "coinbase": Ticker(
        base_url="https://api.exchange.coinbase.com",
        paths={"USD": "/products/BTC-USD/ticker", "EUR": "/products/BTC-EUR/ticker"},
        field="price",
    ),
}


class Exchange:
    """The last price, good for the five minutes it was asked in."""

    def __init__(self, settings: ExchangeFeed) -> None:
        self.name = settings.name
        self._ticker = TICKERS[settings.exchange]
        self._path, _, query = self._ticker.paths[settings.currency].partition("?")
        self._query = dict(part.split("=", 1) for part in query.split("&") if part)
        self._api = Api(settings.name, settings.base_url or self._ticker.base_url)
        self._info = SeriesInfo(
            name=settings.name,
            unit=f"{settings.currency}/BTC",
            resolution_s=_STEP_S,
            source=settings.exchange,
            currency=settings.currency,
        )

    async def fetch(self, start_s: int, stop_s: int, now_s: float) -> Mapping[Signal, PublishedSeries]:
        """Return the price now; the past and the future are not asked for.

        Raises:
            FeedError: If the exchange does not answer, reports an error, or no price.
        """
        reply: object = await self._api.get(self._path, object, self._query)
        if self._ticker.error_field is not None:
            errors = field_of(self.name, reply, self._ticker.error_field)
            if errors:
                raise FeedError(f"{self.name} reports {str(errors)[:200]}")
        text = field_of(self.name, reply, self._ticker.field)
        try:
            price = Decimal(str(text))
        except InvalidOperation as error:
            raise FeedError(f"{self.name} says {text!r} for a price") from error
        if not price.is_finite() or price <= 0:
            raise FeedError(f"{self.name} says {price} for a price")
        start = int(now_s) // _STEP_S * _STEP_S
        return {Signal.COIN_PRICE: series_from_rows(self._info, [start], [float(price)], int(now_s))}
