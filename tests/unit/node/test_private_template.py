"""Templates of a private chain on both sides of the 20-minute edge, and at a retarget."""

from __future__ import annotations

import pytest

from hashwerk.chain.block import witness_commitment
from hashwerk.chain.header import BlockHeader
from hashwerk.chain.network import network_from_name
from hashwerk.node.private_template import private_template, seconds_until_stale

TESTNET4 = network_from_name("testnet4")
EASIEST = 0x1D00FFFF
ORDINARY = 0x1C3FFFC0  # four times as hard
START = 1_780_000_000
TIP = 5_000  # in the middle of a period


def header_at(height: int) -> BlockHeader:
    """A chain with a block a minute, all at the ordinary difficulty."""
    return BlockHeader(0x20000000, bytes(32), bytes(32), START + 60 * height, ORDINARY, 0)


def template_at(now: float, tip: int = TIP):
    return private_template(TESTNET4, tip, b"\x11" * 32, header_at, now, source="test")


TIP_TIME = header_at(TIP).time
EDGE = TIP_TIME + 1_200


def test_up_to_the_edge_the_ordinary_difficulty_holds_and_times_end_there() -> None:
    for now in (TIP_TIME, TIP_TIME + 600, EDGE):
        template = template_at(now)
        assert (template.nbits, template.max_time) == (ORDINARY, EDGE)
        assert template.min_time <= template.time == now


def test_beyond_the_edge_the_easiest_difficulty_holds_and_times_begin_there() -> None:
    template = template_at(EDGE + 1)
    assert (template.nbits, template.min_time, template.max_time) == (EASIEST, EDGE + 1, None)
    assert template.time == EDGE + 1


def test_a_fraction_of_a_second_does_not_cross_the_edge() -> None:
    assert template_at(EDGE + 0.999).nbits == ORDINARY


def test_a_clock_that_runs_behind_gives_the_earliest_time() -> None:
    template = template_at(TIP_TIME - 86_400)
    assert template.time == template.min_time == header_at(TIP - 5).time + 1


def test_at_a_retarget_there_is_no_edge() -> None:
    tip = 2 * 2_016 - 1
    template = template_at(header_at(tip).time + 86_400, tip)
    assert template.max_time is None
    assert template.nbits == 0x1C0FFFF0  # four times as hard again: the period was far too short


def test_the_rest_of_the_template() -> None:
    template = template_at(TIP_TIME + 5.5)
    assert (template.network, template.height, template.prev_hash) == ("testnet4", TIP + 1, b"\x11" * 32)
    assert template.version == 0x20000000
    assert template.coinbase_value_sat == 50 * 10**8
    assert template.witness_commitment == witness_commitment([])
    assert (template.source, template.received_at) == ("test", TIP_TIME + 5.5)
    assert template_at(TIP_TIME, 420_000 - 1).coinbase_value_sat == 1_250_000_000


@pytest.mark.parametrize(
    ("now", "refresh_s", "expected_s"),
    [(TIP_TIME, 30.0, 30.0), (EDGE - 10, 30.0, 11.0), (EDGE, 30.0, 1.0), (EDGE + 0.75, 30.0, 0.25)],
)
def test_a_template_is_stale_at_its_refresh_or_at_the_edge(
    now: float, refresh_s: float, expected_s: float
) -> None:
    assert seconds_until_stale(template_at(now), now, refresh_s) == expected_s


def test_a_template_whose_edge_has_passed_is_stale_at_once() -> None:
    assert seconds_until_stale(template_at(EDGE), EDGE + 100, 30.0) == 0.0
    assert seconds_until_stale(template_at(EDGE + 1), EDGE + 100, 30.0) == 30.0
