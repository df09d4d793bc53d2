"""Next nBits against a second formulation that goes forwards: it remembers each period's nBits.

The rules are told in another way here. On testnet4 every ordinary block of a period has the nBits of the
period's first block, so nothing has to be searched backwards; a new period scales them by the time the last
one took.
"""

from __future__ import annotations

from fractions import Fraction

import msgspec
from hypothesis import given
from hypothesis import strategies as st

from hashwerk.chain.header import BlockHeader
from hashwerk.chain.nbits import median_time_past, minimum_time, next_block_rules, next_nbits
from hashwerk.chain.network import NETWORKS, Network
from hashwerk.chain.target import compact_from_target, target_from_compact

START = 1_700_000_000
PERIOD = 8
TIMESPAN_S = PERIOD * 600
SHORT = {
    name: msgspec.structs.replace(NETWORKS[name], target_timespan_s=TIMESPAN_S)
    for name in ("main", "testnet4", "regtest")
}
STEPS = st.lists(
    st.one_of(st.integers(-700, 1_300), st.sampled_from([1_199, 1_200, 1_201, 5_000])),
    min_size=1,
    max_size=60,
)


class Forward:
    """A chain that grows at its tip and knows the nBits of its present period."""

    def __init__(self, network: Network, first_nbits: int) -> None:
        self.network = network
        self.limit = compact_from_target(network.pow_limit)
        self.period_nbits = first_nbits
        self.headers = [BlockHeader(1, bytes(32), bytes(32), START, first_nbits, 0)]

    def expected_nbits(self, time: int) -> int:
        height = len(self.headers)
        tip = self.headers[-1]
        if self.network.no_retarget:
            return self.limit
        if height % PERIOD == 0:
            return self._scaled(tip.time - self.headers[-PERIOD].time)
        if self.network.allow_min_difficulty and time - tip.time > 1_200:
            return self.limit
        return self.period_nbits

    def _scaled(self, took_s: int) -> int:
        factor = min(max(Fraction(took_s, TIMESPAN_S), Fraction(1, 4)), Fraction(4))
        target = int(target_from_compact(self.period_nbits) * factor)
        return compact_from_target(min(target, self.network.pow_limit))

    def grow(self, time: int) -> None:
        nbits = self.expected_nbits(time)
        if len(self.headers) % PERIOD == 0:
            self.period_nbits = nbits
        self.headers.append(BlockHeader(1, bytes(32), bytes(32), time, nbits, 0))


@given(st.sampled_from(["main", "testnet4"]), STEPS)
def test_backwards_and_forwards_agree(name: str, steps: list[int]) -> None:
    forward = Forward(SHORT[name], first_nbits=0x1B0404CB)
    for step in steps:
        height = len(forward.headers)
        time = max(forward.headers[-1].time + step, START)
        header_at = forward.headers.__getitem__
        assert next_nbits(forward.network, height, header_at, time) == forward.expected_nbits(time)
        forward.grow(time)


@given(STEPS)
def test_regtest_never_changes(steps: list[int]) -> None:
    network = SHORT["regtest"]
    forward = Forward(network, first_nbits=network.genesis.nbits)
    for step in steps:
        height = len(forward.headers)
        time = max(forward.headers[-1].time + step, START)
        assert next_nbits(network, height, forward.headers.__getitem__, time) == network.genesis.nbits
        forward.grow(time)


@given(st.sampled_from(["main", "testnet4"]), STEPS, st.integers(-3_000, 3_000))
def test_the_window_of_the_next_block_is_legal_throughout(name: str, steps: list[int], offset_s: int) -> None:
    network = SHORT[name]
    forward = Forward(network, first_nbits=0x1B0404CB)
    for step in steps:
        forward.grow(max(forward.headers[-1].time + step, START))
    height = len(forward.headers)
    header_at = forward.headers.__getitem__
    tip = forward.headers[-1]
    rules = next_block_rules(network, height, header_at, tip.time + offset_s)
    latest = rules.max_time if rules.max_time is not None else rules.min_time + 100_000
    assert rules.min_time <= latest
    for time in (rules.min_time, (rules.min_time + latest) // 2, latest):
        assert forward.expected_nbits(time) == rules.nbits
        assert time > median_time_past(header_at, height - 1)
        if height % PERIOD == 0:
            assert time >= tip.time - 600
        if height % PERIOD == PERIOD - 1:
            assert time >= forward.headers[-PERIOD + 1].time
    if rules.max_time is not None:
        assert forward.expected_nbits(rules.max_time + 1) != rules.nbits
    assert rules.min_time >= minimum_time(network, height, header_at)
