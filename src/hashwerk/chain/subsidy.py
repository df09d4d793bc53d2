"""The block subsidy: new coin, halved every so many blocks."""

from __future__ import annotations

from typing import Final

from hashwerk.chain.network import Network

SAT_PER_BTC: Final = 100_000_000
MAX_MONEY_SAT: Final = 21_000_000 * SAT_PER_BTC
INITIAL_SUBSIDY_SAT: Final = 50 * SAT_PER_BTC


def subsidy_sat(network: Network, height: int) -> int:
    """Return the subsidy of the block at ``height``: 50 BTC, halved once per halving interval, rounded down.

    Raises:
        ValueError: If the height is negative.
    """
    if height < 0:
        raise ValueError(f"a height is not negative: {height}")
    return INITIAL_SUBSIDY_SAT >> height // network.halving_interval
