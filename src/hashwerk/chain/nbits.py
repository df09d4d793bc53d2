"""What the next block's header must say: its nBits, and the times it may carry.

Formulas are those of Bitcoin Core's proof-of-work and header checks; testnet4's are BIP-0094. Heights are of
the *new* block; ``header_at`` gives the headers of the active chain below it.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

import msgspec

from hashwerk.chain.header import BlockHeader
from hashwerk.chain.network import Network
from hashwerk.chain.target import compact_from_target, target_from_compact

HeaderAt = Callable[[int], BlockHeader]

#: A block may come at most this much before its predecessor where a period begins (BIP-0094; the two hours of
#: BIP-0054 are the looser rule).
MAX_TIMEWARP_S: Final = 600
MEDIAN_TIME_SPAN: Final = 11
#: A block further in the future than this is refused for now.
MAX_FUTURE_BLOCK_TIME_S: Final = 7_200


class NextBlockRules(msgspec.Struct, frozen=True):
    """What the next header must obey: nBits, and the window of times in which these nBits hold."""

    nbits: int
    min_time: int
    max_time: int | None  # None: no time beyond which the nBits change


def next_nbits(network: Network, height: int, header_at: HeaderAt, time: int) -> int:
    """Return the nBits of the block at ``height`` with header time ``time``.

    Raises:
        ValueError: If the height is below 1.
    """
    previous = _previous(height, header_at)
    if height % network.retarget_interval == 0:
        return _retarget(network, height, header_at)
    if not network.allow_min_difficulty:
        return previous.nbits
    if time > _twenty_minutes_after(network, previous):
        return compact_from_target(network.pow_limit)
    return _last_ordinary_nbits(network, height, header_at)


def median_time_past(header_at: HeaderAt, tip_height: int) -> int:
    """Return the median time of the eleven blocks up to ``tip_height``, or all there are (BIP-0113)."""
    first = max(0, tip_height - MEDIAN_TIME_SPAN + 1)
    times = sorted(header_at(height).time for height in range(first, tip_height + 1))
    return times[len(times) // 2]


def minimum_time(network: Network, height: int, header_at: HeaderAt) -> int:
    """Return the smallest header time that the block at ``height`` may carry.

    One second above the median time past. The first block of a retarget period is also not more than 600 s
    before its predecessor: consensus where BIP-0094 holds, and kept on every network, as Bitcoin Core's own
    templates do, because it also satisfies BIP-0054. The last block of a period is not before the first
    (BIP-0054).

    Raises:
        ValueError: If the height is below 1.
    """
    previous = _previous(height, header_at)
    time = median_time_past(header_at, height - 1) + 1
    interval = network.retarget_interval
    if height % interval == 0:
        time = max(time, previous.time - MAX_TIMEWARP_S)
    elif height % interval == interval - 1:
        time = max(time, header_at(height - interval + 1).time)
    return time


def twenty_minute_edge(network: Network, height: int, header_at: HeaderAt) -> int | None:
    """Return the largest header time for which the ordinary nBits hold; one second later the easiest do.

    None where time does not matter: on networks without the 20-minute rule, at a retarget, and while the
    ordinary nBits are the easiest themselves.

    Raises:
        ValueError: If the height is below 1.
    """
    previous = _previous(height, header_at)
    if not network.allow_min_difficulty or height % network.retarget_interval == 0:
        return None
    if _last_ordinary_nbits(network, height, header_at) == compact_from_target(network.pow_limit):
        return None
    return _twenty_minutes_after(network, previous)


def next_block_rules(network: Network, height: int, header_at: HeaderAt, now: int) -> NextBlockRules:
    """Return the nBits for a block made at ``now`` and the header times for which they hold.

    The window never crosses the 20-minute edge: beyond it, the earliest time is the edge plus one second.

    Raises:
        ValueError: If the height is below 1.
    """
    min_time = minimum_time(network, height, header_at)
    time = max(now, min_time)
    nbits = next_nbits(network, height, header_at, time)
    edge = twenty_minute_edge(network, height, header_at)
    if edge is None:
        return NextBlockRules(nbits, min_time, None)
    if time > edge:
        return NextBlockRules(nbits, max(min_time, edge + 1), None)
    return NextBlockRules(nbits, min_time, edge)


def retarget_nbits(network: Network, nbits: int, first_time: int, last_time: int) -> int:
    """Return the nBits after a period of ``nbits`` that lasted from ``first_time`` to ``last_time``.

    target · clamp(last - first, timespan / 4, timespan · 4) // timespan, not above the limit. The times are
    those of the period's first and last block, so one interval is missing: a known off-by-one of the
    protocol.
    """
    timespan_s = network.target_timespan_s
    actual_s = min(max(last_time - first_time, timespan_s // 4), timespan_s * 4)
    target = target_from_compact(nbits) * actual_s // timespan_s
    return compact_from_target(min(target, network.pow_limit))


def _retarget(network: Network, height: int, header_at: HeaderAt) -> int:
    last = header_at(height - 1)
    if network.no_retarget:
        return last.nbits
    first = header_at(height - network.retarget_interval)
    # BIP-0094: the last block of a period may be one of the easiest; the first never is.
    base = first if network.bip94 else last
    return retarget_nbits(network, base.nbits, first.time, last.time)


def _last_ordinary_nbits(network: Network, height: int, header_at: HeaderAt) -> int:
    """Return the nBits of the last block of this period that was not mined by the 20-minute rule."""
    limit = compact_from_target(network.pow_limit)
    below = height - 1
    while below % network.retarget_interval and header_at(below).nbits == limit:
        below -= 1
    return header_at(below).nbits


def _twenty_minutes_after(network: Network, previous: BlockHeader) -> int:
    return previous.time + 2 * network.target_spacing_s


def _previous(height: int, header_at: HeaderAt) -> BlockHeader:
    if height < 1:
        raise ValueError(f"the next block has a height of at least 1: {height}")
    return header_at(height - 1)
