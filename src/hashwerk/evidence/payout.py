"""How a reward is shared among accounts: every scheme behind one function, in whole satoshi, exact to the last one.

Remainder rule: each account first gets its share rounded down; the satoshi left over go one each to the accounts with
the largest remainders, equal remainders by account, ascending. So payouts always sum to what is shared out.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from enum import StrEnum
from fractions import Fraction
from typing import Any, Final, NamedTuple

import msgspec
import numpy as np
from numpy.typing import NDArray

from hashwerk.errors import EvidenceError
from hashwerk.evidence.records import PayoutRule

PPM: Final = 1_000_000
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
    for block in blocks:
        found.append(share_one(rule, order, block, after=last))
        if block.state != "reversed":
            last = block.at
    return found


def share_one(rule: PayoutRule, order: ShareOrder, block: FoundBlock, *, after: int) -> BlockPayout:
    """Share the reward of one block.

    Args:
        rule: The declared rule; not FPPS.
        order: The shares.
        block: The block; a reversed one pays nothing.
        after: Where the share of the last block before it stands that was not reversed; -1: there is none here.

    Raises:
        IncompleteWindowError: If its window reaches back before the first share here.
        EvidenceError: If the rule is none that pays by block.
    """
    if block.state == "reversed":
        return BlockPayout(block, 0, {})
    weights = _weights(rule, order, block, after)
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


def _weights(rule: PayoutRule, order: ShareOrder, block: FoundBlock, last: int) -> dict[bytes, int]:
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
        return _window(order, block, rule.window_ppm)
    if scheme == Scheme.TIDES:
        return _window(order, block, TIDES_WINDOW_PPM)
    raise EvidenceError(f"scheme {scheme!r} does not share rewards by block")


def _window(order: ShareOrder, block: FoundBlock, window_ppm: int) -> dict[bytes, int]:
    """Return the work of each account in the window that ends with the block; its oldest share counts in part."""
    left = block.network_work * window_ppm // PPM
    found: dict[bytes, int] = {}
    end = block.at + 1
    while end and left:
        start = max(0, end - _STEP)
        part = _sums(order, slice(start, end))
        total = sum(part.values())
        if total > left:
            part = _last(order, start, end, left)
            total = left
        for account, work in part.items():
            found[account] = found.get(account, 0) + work
        left -= total
        end = start
    if left and not order.from_beginning:
        raise IncompleteWindowError(f"the window of block {block.height} began before the first share here")
    return found


def _last(order: ShareOrder, start: int, end: int, wanted: int) -> dict[bytes, int]:
    """Return exactly so much work of the last shares of a part that holds more than that."""
    works = order.work_log2[start:end][::-1]
    least, spread = int(works.min()), int(works.max()) - int(works.min())
    exact: Any = np.uint64 if (len(works) << spread) < 1 << 63 else object
    units = np.array([1 << step for step in range(spread + 1)], exact)
    sums = np.cumsum(units[works - least])
    whole = int(np.searchsorted(sums, -(-wanted >> least)))
    # `whole` shares stay below the window; the next one fills it.
    found = _sums(order, slice(end - whole, end))
    oldest = order.accounts[int(order.account[end - whole - 1])]
    inside = int(sums[whole - 1]) << least if whole else 0
    found[oldest] = found.get(oldest, 0) + wanted - inside
    return {account: work for account, work in found.items() if work}


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
