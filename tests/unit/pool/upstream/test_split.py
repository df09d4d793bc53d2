"""The split of hash rate between pools: simulated halls, measured in accepted work."""

from __future__ import annotations

import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hashwerk.pool.upstream.split import Seated, Split

BALANCE_S = 5.0


def hold(
    split: Split, pools: tuple[int, ...], rates_hs: list[float], seconds: float, *, seed: int = 1
) -> tuple[dict[int, float], int]:
    """Let machines work and be moved; return the part of the work each pool got, and the number of moves.

    Shares of a machine are Poisson, each worth five seconds of its work, as vardiff has it.
    """
    chance = random.Random(seed)
    of = {number: split.next_pool(pools, {}, rate) for number, rate in enumerate(rates_hs)}
    got = dict.fromkeys(pools, 0.0)
    moves = 0
    for _ in range(int(seconds / BALANCE_S)):
        for number, rate in enumerate(rates_hs):
            shares = sum(chance.random() < 0.1 for _ in range(10))  # one in five seconds
            work = shares * rate * BALANCE_S
            split.add(of[number], work)
            got[of[number]] += work
        split.age(BALANCE_S)
        for move in split.moves(
            pools, [Seated(number, of[number], rate) for number, rate in enumerate(rates_hs)]
        ):
            of[move.number] = move.pool
            moves += 1
    whole = sum(got.values())
    return {pool: work / whole for pool, work in got.items()}, moves


@pytest.mark.parametrize(
    "rates_hs",
    [
        pytest.param([100.0] * 200, id="two hundred alike"),
        pytest.param([100.0], id="one alone"),
        pytest.param([1_000.0, 1.0, 1.0, 1.0], id="a large one and three small ones"),
        pytest.param([90.0, 110.0, 200.0, 14.0, 37.0, 250.0, 80.0], id="seven of all sizes"),
    ],
)
def test_the_ratio_is_held_within_one_percent_over_an_hour(rates_hs: list[float]) -> None:
    parts, _ = hold(Split({1: 70.0, 2: 30.0}), (1, 2), rates_hs, 3_600)
    assert parts[1] == pytest.approx(0.7, abs=0.01)


def test_machines_are_moved_seldom() -> None:
    _, moves = hold(Split({1: 70.0, 2: 30.0}), (1, 2), [100.0] * 200, 3_600)
    assert moves < 200 * 60  # less than once a minute for a machine


def test_three_pools() -> None:
    parts, _ = hold(Split({1: 1.0, 2: 2.0, 3: 5.0}), (1, 2, 3), [100.0] * 40, 3_600)
    assert [parts[pool] for pool in (1, 2, 3)] == pytest.approx([0.125, 0.25, 0.625], abs=0.01)


def test_a_pool_that_was_away_is_not_paid_back_with_everything() -> None:
    split = Split({1: 70.0, 2: 30.0})
    split.add(2, 1e6)  # the first was away for a while
    machines = [Seated(number, 2, 10.0) for number in range(10)]
    moves = split.moves((1, 2), machines)
    assert {move.pool for move in moves} == {1}
    assert 7 <= len(moves) <= 10


def test_no_move_for_a_gain_of_nothing() -> None:
    split = Split({1: 50.0, 2: 50.0}, {1: 500.0, 2: 500.0})
    assert split.moves((1, 2), [Seated(1, 1, 10.0), Seated(2, 2, 10.0)]) == []


@settings(max_examples=60)
@given(
    st.lists(st.floats(0.1, 1e6), min_size=1, max_size=30),
    st.lists(st.floats(1, 100), min_size=1, max_size=5),
    st.lists(st.floats(0, 1e9), min_size=5, max_size=5),
    st.randoms(),
)
def test_moves_bring_rates_nearer_to_what_is_wanted(
    rates_hs: list[float], weights: list[float], work: list[float], chance: random.Random
) -> None:
    pools = tuple(range(1, len(weights) + 1))
    split = Split(dict(zip(pools, weights, strict=True)), dict(zip(pools, work, strict=False)))
    machines = [Seated(number, chance.choice(pools), rate) for number, rate in enumerate(rates_hs)]
    of = {machine.number: machine.pool for machine in machines}

    def distance() -> float:
        wanted = split._wanted(pools, sum(rates_hs))
        return sum(
            abs(wanted[pool] - sum(rates_hs[n] for n, at in of.items() if at == pool)) for pool in pools
        )

    before = distance()
    moves = split.moves(pools, machines)
    for move in moves:
        assert of[move.number] != move.pool
        of[move.number] = move.pool
    assert len({move.number for move in moves}) <= len(machines)
    assert distance() <= before * (1 + 1e-9) + 1e-6
    assert sum(split.debts(pools).values()) == pytest.approx(0, abs=1e-3 * (1 + sum(work)))
