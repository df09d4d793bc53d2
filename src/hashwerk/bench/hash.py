"""How fast this machine hashes: every strategy on one thread, and the fastest on all threads.

Strategies are compared by short runs that alternate, A B C A B C …, and each is compared with the first one's run of the
same turn: a machine that slows down slows all of them. Quoted are medians, and the range of the middle half.
"""

from __future__ import annotations

import os
import statistics
import threading
import time
from collections.abc import Sequence
from typing import Final

import msgspec
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table

from hashwerk.units import format_hashrate
from hashwerk.work.kernel import HostDescription, Kind, Scanner, Strategy, available_strategies, describe_host

_RUN_S: Final = 0.05
_FIRST_COUNT: Final = 1 << 16
#: No header: the speed does not depend on it, and no hash is below a target of 0.
_HEADER: Final = bytes(range(76))
_NEVER: Final = 0
_MIN_TURNS: Final = 5


class Spread(msgspec.Struct, frozen=True):
    """A median and the range of the middle half of all runs."""

    median: float
    low: float  # a quarter of the runs are below
    high: float  # a quarter of the runs are above

    @classmethod
    def of(cls, values: Sequence[float]) -> Spread:
        """Return the spread of at least two values."""
        low, median, high = statistics.quantiles(values, n=4, method="inclusive")
        return cls(median, low, high)


class StrategySpeed(msgspec.Struct, frozen=True):
    """One strategy on one thread."""

    strategy: str
    width: int | None  # lanes of the vector; None where there is no vector
    mhs: Spread  # million hashes a second
    ratio: Spread  # to the first strategy's run of the same turn
    compile_s: float  # the first time in this process


class HashBench(msgspec.Struct, frozen=True):
    """What `run_hash_bench` measured."""

    mhs_per_thread: float  # the fastest strategy on one thread, median
    mhs_all_threads: float  # the same on all threads at once, median
    threads: int
    scaling: Spread  # all threads over one thread, run by run
    strategies: tuple[StrategySpeed, ...]
    turns: int
    host: HostDescription
    load_average_1m: float | None  # before the bench; other work on the machine lowers the figures


def run_hash_bench(
    *,
    threads: int | None = None,
    seconds: float = 6.0,
    widths: Sequence[int] = (),
    console: Console | None = None,
) -> HashBench:
    """Measure the hashing kernels.

    Args:
        threads: How many at once; None takes one for each core this process may use.
        seconds: About how long to measure; at least five turns are made.
        widths: Vector widths to measure; none measures all strategies.
        console: Shows a progress bar if it is a terminal.

    Raises:
        ValueError: If the processor lacks a width, or an argument is out of range.
    """
    if seconds <= 0 or (threads is not None and threads < 1):
        raise ValueError(f"seconds and threads must be positive: {seconds}, {threads}")
    load = os.getloadavg()[0] if hasattr(os, "getloadavg") else None
    thread_count = threads or _usable_cores()
    rigs = [_Rig(strategy) for strategy in _chosen(widths)]
    turns = max(_MIN_TURNS, round(seconds / (_RUN_S * (len(rigs) + 1))))
    single: list[list[float]] = [[] for _ in rigs]
    together: list[float] = []
    with _progress(console) as progress:
        task = progress.add_task("hashing", total=turns)
        for _ in range(turns):
            for rig, rates in zip(rigs, single, strict=True):
                rates.append(rig.run())
            together.append(_run_together(rigs[0], thread_count))
            progress.advance(task)
    return HashBench(
        mhs_per_thread=statistics.median(single[0]),
        mhs_all_threads=statistics.median(together),
        threads=thread_count,
        scaling=Spread.of([both / one for both, one in zip(together, single[0], strict=True)]),
        strategies=tuple(rig.speed(rates, single[0]) for rig, rates in zip(rigs, single, strict=True)),
        turns=turns,
        host=describe_host(),
        load_average_1m=load,
    )


class _Rig:
    """A strategy that is ready to run, and the number of nonces that takes about `_RUN_S`."""

    def __init__(self, strategy: Strategy) -> None:
        self._strategy = strategy
        started_at = time.perf_counter()
        self._scanner = Scanner(strategy=strategy)
        self._compile_s = time.perf_counter() - started_at
        self._count = _FIRST_COUNT
        self._count = int(self.run() * 1e6 * _RUN_S) or 1

    def run(self) -> float:
        """Return the speed of one run in MH/s."""
        started_at = time.perf_counter()
        self._scanner.scan(_HEADER, 0, self._count, _NEVER)
        return self._count / (time.perf_counter() - started_at) / 1e6

    def speed(self, rates: Sequence[float], reference: Sequence[float]) -> StrategySpeed:
        """Return what the runs say, in comparison with those of the first strategy."""
        return StrategySpeed(
            strategy=self._strategy.name,
            width=self._strategy.width if self._strategy.kind is Kind.VECTOR else None,
            mhs=Spread.of(rates),
            ratio=Spread.of([rate / other for rate, other in zip(rates, reference, strict=True)]),
            compile_s=self._compile_s,
        )


def _run_together(rig: _Rig, threads: int) -> float:
    """Return the speed of one run on each of several threads at once, added up, in MH/s."""
    rates: list[float] = []
    start = threading.Barrier(threads)

    def run() -> None:
        start.wait()
        rates.append(rig.run())

    workers = [threading.Thread(target=run, name=f"bench-{index}") for index in range(threads)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    return sum(rates)


def _chosen(widths: Sequence[int]) -> list[Strategy]:
    """Return the strategies to measure, the fastest first.

    Raises:
        ValueError: If the processor lacks a width.
    """
    strategies = available_strategies()
    if not widths:
        return list(strategies)
    chosen = [Strategy(Kind.VECTOR, width) for width in widths]
    for strategy in chosen:
        if strategy not in strategies:
            raise ValueError(f"this processor cannot do {strategy.name}")
    return sorted(set(chosen), key=strategies.index)


def _usable_cores() -> int:
    if hasattr(os, "sched_getaffinity"):
        return max(1, len(os.sched_getaffinity(0)))
    return os.cpu_count() or 1


def _progress(console: Console | None) -> Progress:
    return Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        TimeRemainingColumn(),
        console=console,
        transient=True,
        disable=console is None or not console.is_terminal,
    )


def render(bench: HashBench, console: Console) -> None:
    """Print a bench for people."""
    host = bench.host
    console.print(f"{host.cpu}: {', '.join(host.features)}", highlight=False)
    table = Table(
        "strategy",
        *(f"{name} [MH/s]" for name in ("one thread", "middle half")),
        "ratio",
        "compiled in",
        box=None,
    )
    for speed in bench.strategies:
        table.add_row(
            speed.strategy,
            f"{speed.mhs.median:.2f}",
            f"{speed.mhs.low:.2f} – {speed.mhs.high:.2f}",
            f"{speed.ratio.median:.3f}",
            f"{speed.compile_s * 1000:.0f} ms",
        )
    for column in table.columns[1:]:
        column.justify = "right"
    console.print(table)
    scaling = bench.scaling
    console.print(
        f"{bench.strategies[0].strategy} on {bench.threads} threads: "
        f"{format_hashrate(bench.mhs_all_threads * 1e6)}, {scaling.median:.2f} × one thread "
        f"({scaling.low:.2f} – {scaling.high:.2f})",
        highlight=False,
    )
    load = "–" if bench.load_average_1m is None else f"{bench.load_average_1m:.2f}"
    console.print(f"{bench.turns} alternating turns; load before the bench {load}", highlight=False)
