"""437 difficulty periods of mainnet with header, chain work and hash: compact targets, work and retargets."""

from __future__ import annotations

import csv
from itertools import pairwise
from pathlib import Path

import msgspec
import pytest

from hashwerk.chain.header import BlockHeader, hash_from_hex
from hashwerk.chain.nbits import next_nbits, retarget_nbits
from hashwerk.chain.network import NETWORKS
from hashwerk.chain.target import (
    compact_from_target,
    difficulty_from_target,
    hash_meets_target,
    target_from_compact,
    work_from_target,
)

MAIN = NETWORKS["main"]
PERIOD = 2016
HOUR_S = 3_600


class Epoch(msgspec.Struct, frozen=True):
    height: int
    header: BlockHeader
    chainwork: int
    difficulty: float
    block_hash: bytes


@pytest.fixture(scope="module")
def epochs(data_folder: Path) -> list[Epoch]:
    with (data_folder / "btc_difficulty_epochs.csv").open(newline="") as file:
        return [
            Epoch(
                int(row["height"]),
                BlockHeader.parse(bytes.fromhex(row["header_hex"])),
                int(row["chainwork_hex"], 16),
                float(row["difficulty"]),
                hash_from_hex(row["block_hash"]),
            )
            for row in csv.DictReader(file)
            if row["kind"] == "exact"
        ]


def test_targets_difficulties_and_hashes(epochs: list[Epoch]) -> None:
    assert len(epochs) == 437
    for epoch in epochs:
        target = target_from_compact(epoch.header.nbits)
        assert compact_from_target(target) == epoch.header.nbits
        assert difficulty_from_target(target) == pytest.approx(epoch.difficulty, rel=1e-12)
        assert epoch.header.hash() == epoch.block_hash
        assert hash_meets_target(epoch.block_hash, target)


def test_work_adds_up_from_period_to_period(epochs: list[Epoch]) -> None:
    assert epochs[0].chainwork == work_from_target(target_from_compact(epochs[0].header.nbits))
    for epoch, after in pairwise(epochs):
        assert after.height == epoch.height + PERIOD
        period_work = work_from_target(target_from_compact(epoch.header.nbits)) * (PERIOD - 1)
        first_work = work_from_target(target_from_compact(after.header.nbits))
        assert after.chainwork == epoch.chainwork + period_work + first_work


def test_every_retarget_is_explained_by_a_possible_time(epochs: list[Epoch]) -> None:
    """The last block of a period is not in the data: its time is found from the nBits that followed.

    The new target grows with that time, so the times that give the real nBits are an interval. The block that
    began the next period came a little later, or with a clock up to two hours behind.
    """
    exact = 0
    for epoch, after in pairwise(epochs):
        nbits, first_time = epoch.header.nbits, epoch.header.time
        earliest = _first_time_at_or_above(nbits, first_time, after.header.nbits)
        assert retarget_nbits(MAIN, nbits, first_time, earliest) == after.header.nbits
        assert earliest <= after.header.time + 2 * HOUR_S
        if after.header.nbits == MAIN.genesis.nbits:
            continue  # at the limit any later time gives the same
        beyond = _first_time_at_or_above(nbits, first_time, after.header.nbits + 1)
        # In the first year blocks came hours apart.
        gap_s = 24 * HOUR_S if after.height < 40_000 else 3 * HOUR_S
        assert beyond > after.header.time - gap_s
        exact += 1
    assert exact > 400


def test_the_first_retarget_exactly(epochs: list[Epoch], data_folder: Path) -> None:
    data = (data_folder / "btc_headers_0_2016.bin").read_bytes()

    def header_at(height: int) -> BlockHeader:
        return BlockHeader.parse(data[height * 80 : height * 80 + 80])

    assert header_at(PERIOD) == epochs[1].header
    assert next_nbits(MAIN, PERIOD, header_at, epochs[1].header.time) == epochs[1].header.nbits


def _first_time_at_or_above(nbits: int, first_time: int, wanted_nbits: int) -> int:
    """The earliest last time for which the new target is not below the wanted one."""
    wanted = target_from_compact(wanted_nbits)
    low, high = first_time, first_time + 4 * MAIN.target_timespan_s
    while low < high:
        middle = (low + high) // 2
        if target_from_compact(retarget_nbits(MAIN, nbits, first_time, middle)) >= wanted:
            high = middle
        else:
            low = middle + 1
    return low
