"""The network by days: difficulty, subsidy, and between which means the fees of a block lay."""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence
from decimal import Decimal
from typing import Final

import msgspec

from hashwerk.economics.ports import day_of
from hashwerk.economics.schemes import Network

#: A day of blocks at the intended pace: what most pools and indices take the mean of fees over.
FEE_WINDOW_BLOCKS: Final = 144


class BlockStats(msgspec.Struct, frozen=True, kw_only=True):
    """What one block of the chain paid, and under which difficulty."""

    height: int
    time: int  # of its header
    difficulty: Decimal
    subsidy_sat: int
    fees_sat: int


class NetworkDay(msgspec.Struct, frozen=True, kw_only=True):
    """One day, or one part of it where difficulty or subsidy changed within."""

    day: dt.date
    network: Network


def network_days(blocks: Sequence[BlockStats], first: dt.date, last: dt.date) -> list[NetworkDay]:
    """Return the days from ``first`` to ``last``, both included; a day without a block is left out.

    ``blocks`` are in the order of their heights without a gap, with at least `FEE_WINDOW_BLOCKS` before the first day. The
    bounds of fees are the lowest and highest of: the mean over the day, and the means over the last 144 blocks at each block
    of the day. Every usual definition of FPPS lies between them.

    Raises:
        ValueError: If heights have a gap, or too few blocks lie before the first day.
    """
    if any(block.height != blocks[0].height + n for n, block in enumerate(blocks)):
        raise ValueError("blocks are in the order of their heights, without a gap")
    sums = [0]
    for block in blocks:
        sums.append(sums[-1] + block.fees_sat)
    by_day: dict[dt.date, list[int]] = {}
    for n, block in enumerate(blocks):
        if first <= (day := day_of(block.time, 0)) <= last:
            by_day.setdefault(day, []).append(n)
    days = []
    for day, numbers in sorted(by_day.items()):
        if numbers[0] < FEE_WINDOW_BLOCKS:
            raise ValueError(f"{numbers[0]} blocks before {day}, {FEE_WINDOW_BLOCKS} are needed")
        means = [Decimal(sum(blocks[n].fees_sat for n in numbers)) / len(numbers)]
        means += [Decimal(sums[n + 1] - sums[n + 1 - FEE_WINDOW_BLOCKS]) / FEE_WINDOW_BLOCKS for n in numbers]
        # In the order of first sight; header times may run backwards a little, so a state may come twice.
        states = dict.fromkeys((blocks[n].difficulty, blocks[n].subsidy_sat) for n in numbers)
        days += [
            NetworkDay(
                day=day,
                network=Network(
                    difficulty=difficulty,
                    subsidy_sat=subsidy_sat,
                    fees_low_sat=min(means),
                    fees_high_sat=max(means),
                ),
            )
            for difficulty, subsidy_sat in states
        ]
    return days
