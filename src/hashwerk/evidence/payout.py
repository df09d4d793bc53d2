"""How a reward is shared among accounts: every scheme behind one function, in whole satoshi, exact to the last one.

Remainder rule: each account first gets its share rounded down; the satoshi left over go one each to the accounts with
the largest remainders, equal remainders by account, ascending. So payouts always sum to what is shared out.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from enum import StrEnum
from fractions import Fraction
from typing import Final, NamedTuple

import msgspec
import numpy as np
from numpy.typing import NDArray

from hashwerk.errors import EvidenceError
from hashwerk.evidence.records import PayoutRule

PPM: Final = 1_000_000
#: An output worth less is not relayed: none is made.
DUST_SAT: Final = 546
#: TIDES pays the work of eight times the network's difficulty before each block.
TIDES_WINDOW_PPM: Final = 8 * PPM
#: Windows are summed so many shares at a time: the order of shares may lie in a file.
_STEP: Final = 1 << 16


class Scheme(StrEnum):
    """How rewards are shared."""

    SOLO = "solo"  # the finder takes all
    PROPORTIONAL = "proportional"  # by work since the block before
    PPLNS = "pplns"  # by work in a window of stated length that ends with the block
    TIDES = "tides"  # the same with a window of 8 x difficulty
    FPPS = "fpps"  # every share at its expected value, fees included, less a fee


class ShareOrder(msgspec.Struct, frozen=True):
    """Accepted shares of bound work in the order in which they came."""

    accounts: tuple[bytes, ...]
    account: NDArray[np.uint32]  # index into `accounts`
    work_log2: NDArray[np.uint8]
    from_beginning: bool  # nothing was handed in before the first of them


class FoundBlock(NamedTuple):
    """A block and where its share stands in the order."""

    hash: bytes
    height: int
    at: int  # index of its share in the order
    reward_sat: int
    network_work: int  # expected hashes for it
    state: str  # "pending", "mature" or "reversed"


class BlockPayout(NamedTuple):
    """How one reward is shared. What is not paid out is the fee: nothing is lost."""

    block: FoundBlock
    fee_sat: int
    entries: dict[bytes, int]


class IncompleteWindowError(EvidenceError):
    """The window reaches back to shares that are not here."""


def apportion(amount_sat: int, weights: Mapping[bytes, int]) -> dict[bytes, int]:
    """Share an amount by whole-number weights, exactly.

    Raises:
        EvidenceError: If the amount or a weight is negative, or no weight is positive.
    """
    total = sum(weights.values())
    if amount_sat < 0 or total <= 0 or min(weights.values()) < 0:
        raise EvidenceError(f"cannot share {amount_sat} sat by weights that add up to {total}")
    shared = {account: amount_sat * weight // total for account, weight in weights.items()}
    left = amount_sat - sum(shared.values())
    by_remainder = sorted(weights, key=lambda account: (-(amount_sat * weights[account] % total), account))
    for account in by_remainder[:left]:
        shared[account] += 1
    return {account: sat for account, sat in sorted(shared.items()) if sat}


def share_out(rule: PayoutRule, order: ShareOrder, blocks: Sequence[FoundBlock]) -> list[BlockPayout]:
    """Share the rewards of blocks by a rule that pays by block.

    Args:
        rule: The declared rule; not FPPS, see `fpps`.
        order: The shares.
        blocks: In the order in which they were found. Reversed ones end no round and pay nothing.

    Raises:
        IncompleteWindowError: If a window reaches back before the first share here.
        EvidenceError: If the rule is none of these.
    """
    found = []
    last = -1
    window = Window(order)
    for block in blocks:
        found.append(share_one(rule, order, block, after=last, window=window))
        if block.state != "reversed":
            last = block.at
    return found


def share_one(
    rule: PayoutRule, order: ShareOrder, block: FoundBlock, *, after: int, window: Window | None = None
) -> BlockPayout:
    """Share the reward of one block.

    Args:
        rule: The declared rule; not FPPS.
        order: The shares.
        block: The block; a reversed one pays nothing.
        after: Where the share of the last block before it stands that was not reversed; -1: there is none here.
        window: Of the same order; kept from block to block it moves with them.

    Raises:
        IncompleteWindowError: If its window reaches back before the first share here.
        EvidenceError: If the rule is none that pays by block.
    """
    if block.state == "reversed":
        return BlockPayout(block, 0, {})
    weights = _weights(rule, order, block, after, window or Window(order))
    fee_sat = block.reward_sat * rule.fee_ppm // PPM
    return BlockPayout(block, fee_sat, apportion(block.reward_sat - fee_sat, weights))


def fpps(rule: PayoutRule, work: Mapping[tuple[bytes, int, int], int]) -> dict[bytes, int]:
    """Return what each account is due by full pay per share, rounded down.

    Args:
        rule: Gives the fee.
        work: Hashes by (account, coinbase value in satoshi, expected hashes for a block).
    """
    due: dict[bytes, Fraction] = {}
    for (account, value_sat, network_work), hashes in work.items():
        due[account] = due.get(account, Fraction(0)) + Fraction(value_sat * hashes, network_work)
    kept = Fraction(PPM - rule.fee_ppm, PPM)
    return {account: int(amount * kept) for account, amount in sorted(due.items()) if int(amount * kept)}


def settle(
    due: Mapping[bytes, int], owed: Mapping[bytes, int], threshold_sat: int
) -> tuple[dict[bytes, int], dict[bytes, int]]:
    """Return what is paid now and what stays owed: an account below the threshold waits, and loses nothing."""
    total = {account: due.get(account, 0) + owed.get(account, 0) for account in sorted({*due, *owed})}
    paid = {account: sat for account, sat in total.items() if sat and sat >= threshold_sat}
    return paid, {account: sat for account, sat in total.items() if sat and account not in paid}


def _weights(
    rule: PayoutRule, order: ShareOrder, block: FoundBlock, last: int, window: Window
) -> dict[bytes, int]:
    scheme = rule.scheme
    if scheme == Scheme.SOLO:
        return {order.accounts[int(order.account[block.at])]: 1}
    if scheme == Scheme.PROPORTIONAL:
        if last < 0 and not order.from_beginning:
            raise IncompleteWindowError(
                f"the round of block {block.height} began before the first share here"
            )
        return _sums(order, slice(last + 1, block.at + 1))
    if scheme == Scheme.PPLNS:
        return window.weights(block, rule.window_ppm)
    if scheme == Scheme.TIDES:
        return window.weights(block, TIDES_WINDOW_PPM)
    raise EvidenceError(f"scheme {scheme!r} does not share rewards by block")


class Window:
    """The work of each account in a window that ends with a block's share, and moves on from block to block.

    Moving it costs what it moves over, so that a chain on which every share is a block costs no more than another.
    """

    def __init__(self, order: ShareOrder) -> None:
        self._order = order
        self._start = self._end = 0
        self._sums: dict[bytes, int] = {}
        self._total = 0

    def weights(self, block: FoundBlock, window_ppm: int) -> dict[bytes, int]:
        """Return the work in the window that ends with a block; its oldest share counts in part.

        Raises:
            IncompleteWindowError: If it reaches back before the first share here.
        """
        wanted = block.network_work * window_ppm // PPM
        end = block.at + 1
        if end < self._end:
            self._start = self._end = end
            self._sums, self._total = {}, 0
        self._take(self._end, end, 1)
        self._end = end
        step = 64
        while self._total < wanted and self._start:
            first = max(0, self._start - step)
            self._take(first, self._start, 1)
            self._start, step = first, min(2 * step, _STEP)
        if self._total < wanted and not self._order.from_beginning:
            raise IncompleteWindowError(
                f"the window of block {block.height} began before the first share here"
            )
        self._drop(wanted)
        found = {account: work for account, work in self._sums.items() if work}
        if self._total > wanted:
            oldest = self._order.accounts[int(self._order.account[self._start])]
            found[oldest] -= self._total - wanted
        return {account: work for account, work in found.items() if work}

    def _drop(self, wanted: int) -> None:
        """Let go of the oldest shares without which the window is still full."""
        step = 1
        while self._start < self._end and step:
            last = min(self._start + step, self._end)
            work = sum(_sums(self._order, slice(self._start, last)).values())
            if self._total - work >= wanted:
                self._take(self._start, last, -1)
                self._start, step = last, min(2 * step, _STEP)
            else:
                step //= 2

    def _take(self, first: int, end: int, sign: int) -> None:
        for account, work in _sums(self._order, slice(first, end)).items():
            self._sums[account] = self._sums.get(account, 0) + sign * work
            self._total += sign * work


def _sums(order: ShareOrder, part: slice) -> dict[bytes, int]:
    found: dict[bytes, int] = {}
    for start in range(part.start, part.stop, _STEP):
        step = slice(start, min(part.stop, start + _STEP))
        keys = order.account[step].astype(np.int64) << 8 | order.work_log2[step]
        unique, counts = np.unique(keys, return_counts=True)
        for key, count in zip(unique.tolist(), counts.tolist(), strict=True):
            account = order.accounts[key >> 8]
            found[account] = found.get(account, 0) + (count << (key & 0xFF))
    return found
