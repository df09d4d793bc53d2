"""The network's days out of Bitcoin Core, for `hashwerk pools chain`."""

from __future__ import annotations

import csv
import datetime as dt
import io
from collections.abc import Callable
from decimal import Context, Decimal, localcontext
from typing import Final

import msgspec

from hashwerk.chain.target import exact_difficulty_from_target, target_from_compact
from hashwerk.economics.network import RETARGET_BLOCKS
from hashwerk.economics.network_days import FEE_WINDOW_BLOCKS, BlockStats, NetworkDay, network_days
from hashwerk.economics.ports import day_window
from hashwerk.errors import NodeError
from hashwerk.node.core_rpc import RpcClient

COLUMNS: Final = ("day", "difficulty", "subsidy_sat", "fees_low_sat", "fees_high_sat")
#: A header's time may be this far ahead of the network's, and behind it by the median of eleven blocks.
_TIME_SLACK_S: Final = 7_200
_DIGITS: Final = Decimal("0.00000001")


class _Header(msgspec.Struct):
    mediantime: int
    bits: str


class _Stats(msgspec.Struct):
    height: int
    time: int
    subsidy: int
    totalfee: int


async def read_days(
    client: RpcClient, first: dt.date, last: dt.date, on_block: Callable[[int, int], None]
) -> list[NetworkDay]:
    """Return the network's days from ``first`` to ``last``, both included; ``on_block`` is told of progress (done, all).

    Raises:
        NodeError: If the node does not answer, has pruned these blocks, or its chain ends before the last day does.
    """
    start, end = day_window(first, 0)[0], day_window(last, 0)[1]
    tip = await client.call("getblockcount", kind=int)
    if (await _header(client, tip)).mediantime < end:
        raise NodeError(f"the node's chain does not yet reach the end of {last}")
    below = await _first_height(client, tip, start - _TIME_SLACK_S) - FEE_WINDOW_BLOCKS
    above = await _first_height(client, tip, end + _TIME_SLACK_S)
    blocks: list[BlockStats] = []
    difficulty = await _difficulty(client, max(0, below))
    for height in range(max(0, below), above + 1):
        if height % RETARGET_BLOCKS == 0:
            difficulty = await _difficulty(client, height)
        fields = ["height", "time", "subsidy", "totalfee"]
        stats = await client.call("getblockstats", [height, fields], kind=_Stats)
        blocks.append(
            BlockStats(
                height=height,
                time=stats.time,
                difficulty=difficulty,
                subsidy_sat=stats.subsidy,
                fees_sat=stats.totalfee,
            )
        )
        on_block(len(blocks), above + 1 - max(0, below))
    try:
        return network_days(blocks, first, last)
    except ValueError as error:
        raise NodeError(f"the chain is too young for {first}: {error}") from error


def as_csv(days: list[NetworkDay]) -> str:
    """Return the days as the file that ``--chain`` of `hashwerk pools reconcile` reads."""
    file = io.StringIO()
    writer = csv.writer(file, lineterminator="\n")
    writer.writerow(COLUMNS)
    for row in days:
        network = row.network
        assert network.fees_low_sat is not None
        assert network.fees_high_sat is not None
        fees = (network.fees_low_sat.quantize(_DIGITS), network.fees_high_sat.quantize(_DIGITS))
        writer.writerow((row.day.isoformat(), network.difficulty, network.subsidy_sat, *fees))
    return file.getvalue()


async def _first_height(client: RpcClient, tip: int, time: int) -> int:
    """Return the lowest height whose median time, which never falls, has reached ``time``; the tip's if none has."""
    low, high = 0, tip
    while low < high:
        middle = (low + high) // 2
        if (await _header(client, middle)).mediantime < time:
            low = middle + 1
        else:
            high = middle
    return low


async def _difficulty(client: RpcClient, height: int) -> Decimal:
    bits = (await _header(client, height)).bits
    try:
        exact = exact_difficulty_from_target(target_from_compact(int(bits, 16)))
    except ValueError as error:
        raise NodeError(f"block {height} has bits {bits!r}: {error}") from error
    with localcontext(Context(prec=60)):
        return (Decimal(exact.numerator) / exact.denominator).quantize(_DIGITS)


async def _header(client: RpcClient, height: int) -> _Header:
    hash_ = await client.call("getblockhash", [height], kind=str)
    return await client.call("getblockheader", [hash_], kind=_Header)
