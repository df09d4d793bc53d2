"""Next nBits and times, on short chains made for the purpose.

The periods here are ten blocks long, so that a retarget is ten lines away and not two thousand.
"""

from __future__ import annotations

import msgspec
import pytest

from hashwerk.chain.header import BlockHeader
from hashwerk.chain.nbits import (
    median_time_past,
    minimum_time,
    next_block_rules,
    next_nbits,
    retarget_nbits,
    twenty_minute_edge,
)
from hashwerk.chain.network import NETWORKS, Network

START = 1_700_000_000
LIMIT = 0x1D00FFFF
HARD = 0x1C00FFFF  # a 256th of the limit


def short(name: str) -> Network:
    return msgspec.structs.replace(NETWORKS[name], target_timespan_s=6_000)


MAIN = short("main")
TESTNET4 = short("testnet4")


def header(time: int, nbits: int = HARD) -> BlockHeader:
    return BlockHeader(1, bytes(32), bytes(32), time, nbits, 0)


def chain(*headers: BlockHeader):
    return lambda height: headers[height]


def steady(count: int, nbits: int = HARD, spacing_s: int = 600) -> list[BlockHeader]:
    return [header(START + index * spacing_s, nbits) for index in range(count)]


def test_within_a_period_main_keeps_its_nbits() -> None:
    assert next_nbits(MAIN, 5, chain(*steady(5)), START + 10**6) == HARD


def test_a_retarget_scales_the_target_by_the_time_it_took() -> None:
    # Nine intervals of 600 s in a period meant for ten: 5,400 / 6,000.
    assert next_nbits(MAIN, 10, chain(*steady(10)), START + 6_000) == retarget_nbits(MAIN, HARD, 0, 5_400)
    assert retarget_nbits(MAIN, HARD, 0, 6_000) == HARD
    assert retarget_nbits(MAIN, HARD, 0, 3_000) == 0x1B7FFF80
    assert retarget_nbits(MAIN, HARD, 0, 12_000) == 0x1C01FFFE


def test_a_retarget_is_bounded_to_a_factor_of_four() -> None:
    assert retarget_nbits(MAIN, HARD, 0, -(10**6)) == retarget_nbits(MAIN, HARD, 0, 1_500) == 0x1B3FFFC0
    assert retarget_nbits(MAIN, HARD, 0, 10**6) == retarget_nbits(MAIN, HARD, 0, 24_000) == 0x1C03FFFC


def test_a_retarget_never_passes_the_limit() -> None:
    assert retarget_nbits(MAIN, LIMIT, 0, 10**6) == LIMIT


def test_main_retargets_from_the_last_block_and_testnet4_from_the_first() -> None:
    headers = [*steady(9, HARD), header(START + 6000, LIMIT)]
    assert next_nbits(TESTNET4, 10, chain(*headers), START + 6_600) == HARD
    assert next_nbits(MAIN, 10, chain(*headers), START + 6_600) == LIMIT


def test_regtest_never_retargets() -> None:
    regtest = short("regtest")
    headers = steady(10, regtest.genesis.nbits, spacing_s=1)
    assert next_nbits(regtest, 10, chain(*headers), START + 10) == regtest.genesis.nbits
    assert twenty_minute_edge(regtest, 5, chain(*headers)) is None


def test_testnet4_gives_the_easiest_target_after_twenty_minutes() -> None:
    headers = chain(*steady(5))
    edge = START + 4 * 600 + 1_200
    assert twenty_minute_edge(TESTNET4, 5, headers) == edge
    assert next_nbits(TESTNET4, 5, headers, edge) == HARD
    assert next_nbits(TESTNET4, 5, headers, edge + 1) == LIMIT


def test_after_easy_blocks_the_ordinary_nbits_come_back() -> None:
    headers = [*steady(3), header(START + 3_000, LIMIT), header(START + 4_201, LIMIT)]
    assert next_nbits(TESTNET4, 5, chain(*headers), START + 4_202) == HARD


def test_the_walk_back_stops_where_the_period_begins() -> None:
    headers = [*steady(10), header(START + 6_000, LIMIT), header(START + 8_000, LIMIT)]
    # Block 10 begins a period with the easiest nBits: those of block 9 belong to the last period.
    assert next_nbits(TESTNET4, 12, chain(*headers), START + 8_001) == LIMIT
    assert twenty_minute_edge(TESTNET4, 12, chain(*headers)) is None


def test_no_edge_at_a_retarget_and_on_main() -> None:
    headers = chain(*steady(10))
    assert twenty_minute_edge(TESTNET4, 10, headers) is None
    assert next_nbits(TESTNET4, 10, headers, START + 10**6) == retarget_nbits(MAIN, HARD, 0, 5_400)
    assert twenty_minute_edge(MAIN, 5, headers) is None


def test_median_time_past_of_eleven_and_of_fewer() -> None:
    times = [5, 3, 9, 1, 7, 2, 8, 6, 4, 11, 10, 12]
    headers = chain(*(header(time) for time in times))
    assert median_time_past(headers, 0) == 5
    assert median_time_past(headers, 1) == 5  # of two the later one
    assert median_time_past(headers, 2) == 5
    assert median_time_past(headers, 10) == 6
    assert median_time_past(headers, 11) == 7


def test_minimum_time_is_one_second_above_the_median() -> None:
    assert minimum_time(MAIN, 5, chain(*steady(5))) == START + 2 * 600 + 1


@pytest.mark.parametrize("network", [MAIN, TESTNET4])
def test_a_period_does_not_begin_ten_minutes_before_its_predecessor(network: Network) -> None:
    headers = [*steady(9), header(START + 50000)]
    assert minimum_time(network, 10, chain(*headers)) == START + 50_000 - 600
    assert minimum_time(network, 9, chain(*headers)) == START + 4 * 600 + 1


def test_a_period_does_not_end_before_it_began() -> None:
    headers = [header(START + 50_000), *steady(8)]
    assert minimum_time(MAIN, 9, chain(*headers)) == START + 50_000
    assert minimum_time(MAIN, 8, chain(*headers)) < START + 50_000


def test_rules_of_the_next_block_never_cross_the_edge() -> None:
    headers = chain(*steady(5))
    edge = START + 4 * 600 + 1_200
    before = next_block_rules(TESTNET4, 5, headers, edge)
    assert (before.nbits, before.min_time, before.max_time) == (HARD, START + 1_201, edge)
    after = next_block_rules(TESTNET4, 5, headers, edge + 1)
    assert (after.nbits, after.min_time, after.max_time) == (LIMIT, edge + 1, None)
    # A clock behind the chain is no reason to make a block nobody takes.
    assert next_block_rules(TESTNET4, 5, headers, 0) == before
    assert next_block_rules(MAIN, 5, headers, edge).max_time is None


@pytest.mark.parametrize("function", [minimum_time, twenty_minute_edge])
def test_the_genesis_block_has_no_rules(function) -> None:
    with pytest.raises(ValueError, match="at least 1"):
        function(MAIN, 0, chain(*steady(1)))
    with pytest.raises(ValueError, match="at least 1"):
        next_nbits(MAIN, 0, chain(*steady(1)), START)
