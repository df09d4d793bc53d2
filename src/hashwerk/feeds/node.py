"""What the node itself tells of the money: difficulty, and the share of fees in the blocks of the last day.

The node is whoever can answer the two questions of `Chain`; `site` hands it in.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final, Protocol

import msgspec

from hashwerk.economics.hashprice import fee_share
from hashwerk.energy.ports import Signal
from hashwerk.energy.published import PublishedSeries
from hashwerk.energy.series import SeriesInfo
from hashwerk.errors import FeedError
from hashwerk.feeds.build import series_from_rows

_STEP_S: Final = 600
#: What a day has on average, and what published hashprices are a mean of.
BLOCKS: Final = 144


class BlockReward(msgspec.Struct, frozen=True, kw_only=True):
    """What a block of the main chain paid."""

    height: int
    subsidy_sat: int
    fees_sat: int


class Chain(Protocol):
    """A node, as far as money goes."""

    async def difficulty(self) -> float:
        """Return the difficulty of the next block.

        Raises:
            NodeError: If the node cannot say.
        """
        ...

    async def last_rewards(self, count: int) -> Sequence[BlockReward]:
        """Return the rewards of the last blocks, as many as there are.

        Raises:
            NodeError: If the node cannot say.
        """
        ...


class NodeFeed:
    """Difficulty and the share of fees, as of now."""

    def __init__(self, name: str, chain: Chain) -> None:
        self.name = name
        self._chain = chain

    async def fetch(self, start_s: int, stop_s: int, now_s: float) -> Mapping[Signal, PublishedSeries]:
        """Return the difficulty and the mean share of fees over the last 144 blocks.

        Raises:
            FeedError: If the chain has no blocks yet.
            NodeError: If the node cannot say.
        """
        difficulty = await self._chain.difficulty()
        rewards = await self._chain.last_rewards(BLOCKS)
        subsidy = sum(block.subsidy_sat for block in rewards)
        fees = sum(block.fees_sat for block in rewards)
        if subsidy + fees == 0:
            raise FeedError(f"{self.name} has no block yet that paid anything")
        share = float(fee_share(subsidy, fees))
        start = int(now_s) // _STEP_S * _STEP_S
        values = {Signal.DIFFICULTY: (difficulty, "1"), Signal.FEE_SHARE: (share, "1")}
        return {
            signal: series_from_rows(
                SeriesInfo(
                    name=f"{self.name} {signal.value}", unit=unit, resolution_s=_STEP_S, source="own node"
                ),
                [start],
                [value],
                int(now_s),
            )
            for signal, (value, unit) in values.items()
        }
