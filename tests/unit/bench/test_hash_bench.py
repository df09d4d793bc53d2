"""The hash bench: what it measures adds up, and people and programs can read it."""

import io

import msgspec
import pytest
from rich.console import Console

from hashwerk.bench.hash import HashBench, Spread, render, run_hash_bench
from hashwerk.work.kernel import available_strategies, describe_host


@pytest.fixture(scope="module")
def bench() -> HashBench:
    return run_hash_bench(threads=2, seconds=0.1)


def test_every_strategy_is_measured_against_the_fastest(bench: HashBench) -> None:
    assert [speed.strategy for speed in bench.strategies] == [
        strategy.name for strategy in available_strategies()
    ]
    first = bench.strategies[0]
    assert bench.mhs_per_thread == first.mhs.median > 0
    assert first.ratio == Spread(1.0, 1.0, 1.0)
    for speed in bench.strategies:
        assert 0 < speed.mhs.low <= speed.mhs.median <= speed.mhs.high
        assert speed.compile_s >= 0
    assert bench.host == describe_host()


def test_all_threads_are_measured_together(bench: HashBench) -> None:
    assert bench.threads == 2
    assert bench.mhs_all_threads > 0
    assert 0 < bench.scaling.low <= bench.scaling.median <= bench.scaling.high


def test_programs_can_read_it(bench: HashBench) -> None:
    decoded = msgspec.json.decode(msgspec.json.encode(bench), type=HashBench)
    assert decoded == bench


def test_people_can_read_it(bench: HashBench) -> None:
    out = io.StringIO()
    render(bench, Console(file=out, width=120))
    text = out.getvalue()
    assert f"{bench.mhs_per_thread:.2f}" in text
    assert "on 2 threads" in text
    assert all(speed.strategy in text for speed in bench.strategies)


def test_a_progress_bar_is_shown_on_a_terminal() -> None:
    out = io.StringIO()
    run_hash_bench(
        threads=1, seconds=0.1, widths=[1], console=Console(file=out, force_terminal=True, width=80)
    )
    assert "hashing" in out.getvalue()


def test_widths_are_measured_widest_first() -> None:
    bench = run_hash_bench(threads=1, seconds=0.1, widths=[1, 4])
    assert [speed.width for speed in bench.strategies] == [4, 1]


def test_refuses_what_it_cannot_measure() -> None:
    with pytest.raises(ValueError, match="vector-3"):
        run_hash_bench(seconds=0.1, widths=[3])
    with pytest.raises(ValueError, match="positive"):
        run_hash_bench(seconds=0)
