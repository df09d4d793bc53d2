"""The network's days out of blocks."""

from __future__ import annotations

import datetime as dt
from decimal import Decimal

import pytest

from hashwerk.economics.network_days import BlockStats, network_days
from hashwerk.economics.ports import day_window

DAY = dt.date(2026, 3, 1)
START, END = day_window(DAY, 0)


def chain(fees: list[int], *, first_day_block: int, step_s: int = 600) -> list[BlockStats]:
    return [
        BlockStats(
            height=1000 + n,
            time=START + (n - first_day_block) * step_s,
            difficulty=Decimal(7),
            subsidy_sat=312_500_000,
            fees_sat=fee,
        )
        for n, fee in enumerate(fees)
    ]


def test_fees_lie_between_the_lowest_and_highest_usual_mean() -> None:
    blocks = chain([100] * 144 + [400] * 144, first_day_block=144)
    [row] = network_days(blocks, DAY, DAY)
    assert row.day == DAY
    assert row.network.difficulty == 7
    assert row.network.fees_high_sat == 400, "the day's own mean"
    assert row.network.fees_low_sat == Decimal(143 * 100 + 400) / 144, "the last 144 at the day's first block"


def test_a_retarget_and_a_halving_each_give_a_part_of_the_day() -> None:
    blocks = chain([100] * 288, first_day_block=144)
    changed = [
        BlockStats(
            height=block.height,
            time=block.time,
            difficulty=Decimal(9) if n >= 200 else block.difficulty,
            subsidy_sat=156_250_000 if n >= 250 else block.subsidy_sat,
            fees_sat=block.fees_sat,
        )
        for n, block in enumerate(blocks)
    ]
    rows = network_days(changed, DAY, DAY)
    assert [(row.network.difficulty, row.network.subsidy_sat) for row in rows] == [
        (7, 312_500_000),
        (9, 312_500_000),
        (9, 156_250_000),
    ]


def test_days_outside_and_days_without_a_block_are_left_out() -> None:
    blocks = chain([100] * 300, first_day_block=144, step_s=86_400)
    rows = network_days(blocks, DAY, DAY + dt.timedelta(days=2))
    assert [row.day for row in rows] == [DAY + dt.timedelta(days=n) for n in range(3)]
    assert network_days(blocks, dt.date(1999, 1, 1), dt.date(1999, 1, 2)) == []


def test_gaps_and_too_few_blocks_before_are_refused() -> None:
    blocks = chain([100] * 288, first_day_block=144)
    with pytest.raises(ValueError, match="gap"):
        network_days(blocks[:10] + blocks[11:], DAY, DAY)
    with pytest.raises(ValueError, match="143 blocks before"):
        network_days(blocks[1:], DAY, DAY)
