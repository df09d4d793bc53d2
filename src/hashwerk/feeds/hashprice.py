"""Hashprice, computed here from the node's difficulty and fees and an exchange's price; it is never scraped."""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal
from typing import Final

from hashwerk.economics.hashprice import hashprice_per_th_day
from hashwerk.energy.ports import Feed, Signal
from hashwerk.energy.published import PublishedSeries
from hashwerk.energy.series import Series, SeriesInfo
from hashwerk.errors import FeedError
from hashwerk.feeds.build import series_from_rows

_STEP_S: Final = 600
#: A price or a difficulty older than this makes no hashprice.
_MAX_PART_AGE_S: Final = 3_600


class Hashprice:
    """What one PH/s earns in a day, from two other feeds.

    Args:
        name: Shown on pages.
        node: Gives difficulty and the share of fees.
        exchange: Gives the coin's price.
        subsidy_sat: Of the blocks being mined.
    """

    def __init__(self, name: str, node: Feed, exchange: Feed, subsidy_sat: int) -> None:
        self.name = name
        self._node = node
        self._exchange = exchange
        self._subsidy_sat = subsidy_sat

    async def fetch(self, start_s: int, stop_s: int, now_s: float) -> Mapping[Signal, PublishedSeries]:
        """Return the hashprice now, and what it was made from.

        Raises:
            FeedError: If one of the parts is missing or older than an hour.
        """
        chain = await self._node.fetch(start_s, stop_s, now_s)
        market = await self._exchange.fetch(start_s, stop_s, now_s)
        parts = {**chain, **market}
        difficulty = self._latest(parts, Signal.DIFFICULTY, now_s)
        share = self._latest(parts, Signal.FEE_SHARE, now_s)
        price = self._latest(parts, Signal.COIN_PRICE, now_s)
        currency = parts[Signal.COIN_PRICE].info.currency
        value = hashprice_per_th_day(
            Decimal(repr(difficulty)), self._subsidy_sat, Decimal(repr(share)), Decimal(repr(price))
        )
        info = SeriesInfo(
            name=self.name,
            unit=f"{currency}/PH/day",
            resolution_s=_STEP_S,
            source=f"computed: {parts[Signal.DIFFICULTY].info.source}, {parts[Signal.COIN_PRICE].info.source}",
            currency=currency,
        )
        start = int(now_s) // _STEP_S * _STEP_S
        made = series_from_rows(info, [start], [float(value * 1_000)], int(now_s))
        return {**parts, Signal.HASHPRICE: made}

    def _latest(self, parts: Mapping[Signal, PublishedSeries], signal: Signal, now_s: float) -> float:
        series: Series | None = parts[signal].as_of(now_s) if signal in parts else None
        if series is None or not series.known.any():
            raise FeedError(f"{self.name} lacks the {signal.value}")
        age_s = series.age_s(now_s)
        if age_s is None or age_s > _MAX_PART_AGE_S:
            raise FeedError(f"{self.name}: the {signal.value} is {age_s or 0:.0f} s old")
        return float(series.values[series.known][-1])
