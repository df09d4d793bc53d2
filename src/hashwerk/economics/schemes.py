"""What payout schemes owe for work: PPS, FPPS, PPLNS, TIDES and solo.

With f the pool's fee, B a block's subsidy, F its transaction fees and D the network's difficulty, work of difficulty d is worth

- PPS: (1−f)·d·B/D, a fixed price, whatever blocks the pool finds;
- FPPS: (1−f)·d·(B+F)/D, with F the fees expected of a block: fixed too, though every pool computes its own mean of F;
- PPLNS and TIDES: each block pays (1−f)·(B+F)·s/(w·D) for shares of difficulty s in the window of w·D before it. A share
  stands in the window while w blocks are found on average, so its expectation is that of FPPS, and luck decides;
- solo: (1−f)·(B+F) a block, with d/D blocks expected.

M. Rosenfeld, "Analysis of Bitcoin Pooled Mining Reward Systems", arXiv 1112.4980; OCEAN's description of TIDES (w = 8).
Everything is `Decimal` or int; nothing is rounded except in `split_reward`, where the sum must be the reward to the satoshi.
"""

from __future__ import annotations

import enum
from collections.abc import Mapping
from decimal import Context, Decimal, localcontext
from typing import Final, TypeVar

import msgspec

from hashwerk.economics.hashprice import Number, block_count

Key = TypeVar("Key")

_PRECISION: Final = Context(prec=40)
TIDES_WINDOW: Final = Decimal(8)


class Scheme(enum.Enum):
    """How a pool turns work into money."""

    PPS = "PPS"
    FPPS = "FPPS"
    PPLNS = "PPLNS"
    TIDES = "TIDES"
    SOLO = "solo"

    @property
    def has_luck(self) -> bool:
        """Whether blocks found decide what is paid."""
        return self not in {Scheme.PPS, Scheme.FPPS}


class Terms(msgspec.Struct, frozen=True, kw_only=True):
    """What was agreed with a pool."""

    scheme: Scheme
    pool_fee: Decimal = Decimal(0)  # share of the subsidy that the pool keeps
    fees_pool_fee: Decimal | None = None  # share of the transaction fees that it keeps, where it differs
    window: Decimal | None = None  # of PPLNS, in multiples of the network's difficulty

    def __post_init__(self) -> None:
        """Refuse fees that are no shares."""
        for fee in (self.pool_fee, self.fees_pool_fee):
            if fee is not None and not 0 <= fee < 1:
                raise ValueError(f"a pool's fee lies in [0, 1): {fee}")


class Network(msgspec.Struct, frozen=True, kw_only=True):
    """The network during some work. Fees differ from block to block, and pools take different means: hence two bounds."""

    difficulty: Decimal
    subsidy_sat: int
    fees_low_sat: Decimal | None = (
        None  # mean fees of a block, the lowest mean a pool may have taken; None: not known
    )
    fees_high_sat: Decimal | None = None


class Pay(msgspec.Struct, frozen=True, kw_only=True):
    """What a scheme owes. The interval is that of luck alone; None where luck has no part, or cannot be told."""

    expected_sat: Decimal
    low_sat: Decimal | None = None
    high_sat: Decimal | None = None
    expected_blocks: Decimal | None = None  # that pay for this work, where luck decides


def expected_pay_sat(terms: Terms, difficulty: Number, network: Network, fees_sat: Number) -> Decimal:
    """Return the expectation of what work earns, in satoshi. Under PPS ``fees_sat`` counts for nothing.

    Raises:
        ValueError: If a difficulty is out of range or fees are negative.
    """
    if not network.difficulty > 0:
        raise ValueError(f"a difficulty is positive: {network.difficulty}")
    if difficulty < 0 or fees_sat < 0:
        raise ValueError(f"work and fees are not negative: {difficulty}, {fees_sat} sat")
    with localcontext(_PRECISION):
        return Decimal(difficulty) / network.difficulty * net_reward_sat(terms, network.subsidy_sat, fees_sat)


def net_reward_sat(terms: Terms, subsidy_sat: int, fees_sat: Number) -> Decimal:
    """Return what is left of a block for miners when the pool has taken its fee."""
    if terms.scheme is Scheme.PPS:
        fees_sat = 0
    fees_pool_fee = terms.pool_fee if terms.fees_pool_fee is None else terms.fees_pool_fee
    with localcontext(_PRECISION):
        return (1 - terms.pool_fee) * subsidy_sat + (1 - fees_pool_fee) * fees_sat


def pay(
    terms: Terms,
    difficulty: Number,
    network: Network,
    *,
    fees_sat: Number = 0,
    pool_share: Number | None = None,
    confidence: float = 0.95,
) -> Pay:
    """Return what a scheme owes for work of ``difficulty``, with luck's interval where luck is part of the scheme.

    ``pool_share`` is this miner's share of the pool's work, which sets how many blocks its pay hangs on: a miner of 1 % of a
    pool is paid by a hundred times as many blocks as alone. Solo needs none. The count of blocks is Poisson, its interval
    exact (`block_count`). For PPLNS and TIDES this takes the miner's share as steady for at least the length of the window
    before and during the work; money of a miner who has just begun comes later than this says.

    Raises:
        ValueError: If an argument is out of range.
    """
    expected = expected_pay_sat(terms, difficulty, network, fees_sat)
    if not terms.scheme.has_luck:
        return Pay(expected_sat=expected)
    share = Decimal(1) if terms.scheme is Scheme.SOLO else pool_share
    if share is None:
        return Pay(expected_sat=expected)
    if not 0 < share <= 1:
        raise ValueError(f"a share of a pool's work lies in (0, 1]: {share}")
    with localcontext(_PRECISION):
        each = share * net_reward_sat(terms, network.subsidy_sat, fees_sat)
        return luck(expected, each, confidence)


def luck(expected_sat: Decimal, per_block_sat: Decimal, confidence: float = 0.95) -> Pay:
    """Return the interval of a pay that comes in equal parts with each block, the number of which is Poisson.

    Raises:
        ValueError: If a block pays nothing.
    """
    if not per_block_sat > 0:
        raise ValueError(f"a block pays something: {per_block_sat} sat")
    with localcontext(_PRECISION):
        count = block_count(expected_sat / per_block_sat, confidence)
        return Pay(
            expected_sat=expected_sat,
            low_sat=count.low * per_block_sat,
            high_sat=count.high * per_block_sat,
            expected_blocks=count.expected,
        )


def window_of(terms: Terms) -> Decimal | None:
    """Return the length of a scheme's window in multiples of the network's difficulty; None: it has none, or none is agreed."""
    if terms.scheme is Scheme.TIDES:
        return terms.window or TIDES_WINDOW
    return terms.window if terms.scheme is Scheme.PPLNS else None


def window_pay_sat(
    terms: Terms, shares_in_window: Number, network_difficulty: Number, reward_sat: int
) -> Decimal:
    """Return what one block of a windowed scheme owes for shares in its window: (1−f)·R·s/(w·D). Nothing of it is luck.

    ``network_difficulty`` is that of the block, ``reward_sat`` its subsidy and fees.

    Raises:
        ValueError: If the scheme has no window, or the shares are more than the window holds.
    """
    window = window_of(terms)
    if window is None:
        raise ValueError(f"{terms.scheme.value} without a window")
    with localcontext(_PRECISION):
        whole = window * network_difficulty
        if not 0 <= shares_in_window <= whole:
            raise ValueError(f"shares of difficulty {shares_in_window} in a window of {whole}")
        return (1 - terms.pool_fee) * reward_sat * shares_in_window / whole


def split_reward(reward_sat: int, weights: Mapping[Key, int]) -> dict[Key, int]:
    """Split a reward in proportion to exact weights so that the parts sum to it to the satoshi.

    Every part is its share rounded down; the satoshi left over go one by one to the largest remainders, equal ones in the
    order of the mapping (A. Hamilton's method).

    Raises:
        ValueError: If the reward or a weight is negative, or all weights are zero.
    """
    whole = sum(weights.values())
    if reward_sat < 0 or any(weight < 0 for weight in weights.values()):
        raise ValueError("rewards and weights are not negative")
    if whole == 0:
        raise ValueError("nobody to split a reward among")
    parts = {key: reward_sat * weight // whole for key, weight in weights.items()}
    remainders = sorted(weights, key=lambda key: -(reward_sat * weights[key] % whole))
    for key in remainders[: reward_sat - sum(parts.values())]:
        parts[key] += 1
    return parts
