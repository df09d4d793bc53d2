"""2,145 raw mainnet headers: the first 2,017, and 128 in a row of the year 2021."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path

import pytest

from hashwerk.chain.header import HEADER_SIZE, BlockHeader
from hashwerk.chain.nbits import median_time_past, minimum_time, next_nbits, twenty_minute_edge
from hashwerk.chain.network import NETWORKS
from hashwerk.chain.target import hash_meets_target, target_from_compact

MAIN = NETWORKS["main"]


def read(path: Path) -> list[BlockHeader]:
    data = path.read_bytes()
    headers = [BlockHeader.parse(data[at : at + HEADER_SIZE]) for at in range(0, len(data), HEADER_SIZE)]
    assert b"".join(header.serialize() for header in headers) == data
    return headers


@pytest.mark.parametrize(
    ("name", "count"), [("btc_headers_0_2016.bin", 2017), ("btc_headers_665280_665407.bin", 128)]
)
def test_headers_are_chained_and_worked_for(data_folder: Path, name: str, count: int) -> None:
    headers = read(data_folder / name)
    assert len(headers) == count
    for header in headers:
        assert hash_meets_target(header.hash(), target_from_compact(header.nbits))
    for before, after in pairwise(headers):
        assert after.prev_hash == before.hash()


def test_the_first_period_and_its_retarget(data_folder: Path) -> None:
    headers = read(data_folder / "btc_headers_0_2016.bin")
    assert headers[0] == MAIN.genesis
    for height in range(1, len(headers)):
        header = headers[height]
        assert next_nbits(MAIN, height, headers.__getitem__, header.time) == header.nbits
        assert twenty_minute_edge(MAIN, height, headers.__getitem__) is None
        assert header.time > median_time_past(headers.__getitem__, height - 1)
        assert header.time >= minimum_time(MAIN, height, headers.__getitem__)


def test_a_period_of_2021_keeps_its_nbits(data_folder: Path) -> None:
    first_height = 665_280
    headers = read(data_folder / "btc_headers_665280_665407.bin")

    def header_at(height: int) -> BlockHeader:
        return headers[height - first_height]

    assert first_height % MAIN.retarget_interval == 0
    for height in range(first_height + 11, first_height + len(headers)):
        header = header_at(height)
        assert next_nbits(MAIN, height, header_at, header.time) == header.nbits
        assert header.time >= minimum_time(MAIN, height, header_at)
