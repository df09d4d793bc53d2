"""Hashprice computed here reproduces published figures, and is not made from old parts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import pytest

from hashwerk.energy.ports import Signal
from hashwerk.energy.published import PublishedSeries
from hashwerk.energy.series import SeriesInfo
from hashwerk.errors import FeedError
from hashwerk.feeds.build import series_from_rows
from hashwerk.feeds.hashprice import Hashprice
from hashwerk.feeds.node import BlockReward, NodeFeed

NOW = 1_626_500_000.0
SUBSIDY_SAT = 625_000_000


class OneChain:
    """A chain whose last day had some share of fees."""

    def __init__(self, difficulty: float, fee_share: float, blocks: int = 144) -> None:
        self._difficulty = difficulty
        self._fees_sat = round(SUBSIDY_SAT * fee_share / (1 - fee_share))
        self._blocks = blocks

    async def difficulty(self) -> float:
        return self._difficulty

    async def last_rewards(self, count: int) -> Sequence[BlockReward]:
        return [
            BlockReward(height=n, subsidy_sat=SUBSIDY_SAT, fees_sat=self._fees_sat)
            for n in range(min(count, self._blocks))
        ]


class Price:
    """An exchange that has one price, from one moment."""

    name = "exchange"

    def __init__(self, price: float, moment: float) -> None:
        self._price, self._moment = price, int(moment)

    async def fetch(self, start_s: int, stop_s: int, now_s: float) -> Mapping[Signal, PublishedSeries]:
        info = SeriesInfo(
            name="exchange", unit="USD/BTC", resolution_s=300, source="exchange", currency="USD"
        )
        start = self._moment // 300 * 300
        return {Signal.COIN_PRICE: series_from_rows(info, [start], [self._price], self._moment)}


@pytest.mark.parametrize(
    ("price", "difficulty", "fees", "published"),
    [(31_338, 14_363_025_673_659, 0.0157, 278.7), (33_806, 13_672_594_272_814, 0.0126, 315.0)],
)
async def test_july_2021_comes_out_as_published(price, difficulty, fees, published):
    feed = Hashprice(
        "hashprice", NodeFeed("node", OneChain(difficulty, fees)), Price(price, NOW), SUBSIDY_SAT
    )
    answer = await feed.fetch(int(NOW), int(NOW) + 1, NOW)
    series = answer[Signal.HASHPRICE].as_of(NOW)
    assert series.values[-1] == pytest.approx(published, abs=0.5)
    assert series.info.unit == "USD/PH/day"
    assert "computed" in series.info.source
    assert {Signal.DIFFICULTY, Signal.FEE_SHARE, Signal.COIN_PRICE} <= answer.keys()


async def test_an_old_price_makes_no_hashprice():
    feed = Hashprice(
        "hashprice", NodeFeed("node", OneChain(1e13, 0.01)), Price(30_000, NOW - 4_000), SUBSIDY_SAT
    )
    with pytest.raises(FeedError, match="the coin price is 4000 s old"):
        await feed.fetch(int(NOW), int(NOW) + 1, NOW)


async def test_a_chain_without_blocks_has_no_share_of_fees():
    with pytest.raises(FeedError, match="no block yet"):
        await NodeFeed("node", OneChain(1.0, 0.0, blocks=0)).fetch(0, 1, NOW)
