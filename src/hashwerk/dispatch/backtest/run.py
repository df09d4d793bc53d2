"""A backtest from beginning to end, for one site or for many at the same time."""

from __future__ import annotations

import concurrent.futures
import datetime
import itertools
import multiprocessing
import os
import time
from collections.abc import Callable, Sequence
from multiprocessing.queues import SimpleQueue
from pathlib import Path
from typing import Final

import msgspec
import numpy as np

from hashwerk.dispatch.backtest.foresight import Bound, months, perfect_foresight
from hashwerk.dispatch.backtest.leak import find_leak
from hashwerk.dispatch.backtest.load import load_scenario
from hashwerk.dispatch.backtest.replay import replay
from hashwerk.dispatch.backtest.report import BacktestResult, Course, PolicyResult, result_of
from hashwerk.dispatch.backtest.scenario import HASHPRICE, PRICE, Scenario
from hashwerk.dispatch.backtest.settings import BacktestSettings, PolicyName
from hashwerk.dispatch.grid import FloatArray, Grid
from hashwerk.dispatch.policies.always_on import AlwaysOn
from hashwerk.dispatch.policies.clean import CarbonBudget, CleanOnly, SurplusOnly
from hashwerk.dispatch.policies.marginal import MarginalStrike
from hashwerk.dispatch.policies.optimiser import Optimiser
from hashwerk.dispatch.policies.port import Policy
from hashwerk.dispatch.policies.strike import OneStrike
from hashwerk.errors import DispatchError, HashwerkError

#: How often progress is looked at, and how little of it is worth telling.
_LOOK_EVERY_S: Final = 0.2
_LEAST_SHARE: Final = 0.01


class Job(msgspec.Struct, frozen=True, kw_only=True):
    """One site's backtest, as handed to a process."""

    name: str
    settings: BacktestSettings
    folder: str
    start_s: float
    stop_s: float


def make_policy(name: PolicyName, settings: BacktestSettings) -> Policy:
    """Return a fresh policy by its name."""
    match name:
        case "always on":
            return AlwaysOn()
        case "one strike":
            return OneStrike(settings.strike_per_mwh, debounce_s=settings.debounce_s)
        case "marginal strike":
            return MarginalStrike()
        case "optimiser":
            return Optimiser()
        case "clean only":
            return CleanOnly()
        case "carbon budget":
            return CarbonBudget()
        case "surplus only":
            return SurplusOnly()


def run_backtest(job: Job, progress: Callable[[float], None] | None = None) -> Course:
    """Replay a site's history through its policies and return what came of it.

    Raises:
        FeedError: If a file cannot be used.
        ConfigError: If the settings contradict each other.
        DispatchError: If a policy knew what was not yet published.
    """
    scenario = load_scenario(job.name, job.settings, Path(job.folder), job.start_s, job.stop_s)
    settled = scenario.problem_settled()
    bound = perfect_foresight(settled, scenario.missing)
    names: list[PolicyName] = ["always on", *(name for name in job.settings.policies if name != "always on")]
    results: list[PolicyResult] = []
    imports: dict[str, FloatArray] = {}
    margins: dict[str, FloatArray] = {}
    always_on: float | None = None
    for number, name in enumerate(names):
        policy = make_policy(name, job.settings)
        refuse_leaks(scenario, name)
        begun = time.perf_counter()
        replayed = replay(scenario, policy, progress=_part(progress, number, len(names)))
        seconds = time.perf_counter() - begun
        result, import_w, margin = result_of(
            scenario, replayed, always_on=always_on, foresight=bound.margin, seconds=seconds
        )
        if always_on is None:
            always_on = result.margin
        results.append(result)
        imports[name], margins[name] = import_w, margin
        if progress is not None:
            progress((number + 1) / len(names))
    summary = BacktestResult(
        site=scenario.name,
        start=_date(job.start_s),
        stop=_date(job.stop_s),
        currency=job.settings.currency,
        interval_s=job.settings.interval_s,
        intervals=len(scenario.grid),
        machines=sum(group.count for group in scenario.groups),
        missing_h=float(scenario.grid.hours[scenario.missing].sum()),
        foresight_margin=round(bound.margin, 2),
        foresight_method=bound.method,
        hashprice_mean=round(float(np.mean(scenario.history.settled(HASHPRICE))), 3),
        policies=tuple(_against_the_strike(results)),
        assumptions=scenario.assumptions,
    )
    return Course(
        result=summary,
        starts_s=scenario.grid.starts_s,
        price_per_mwh=settled.buy_per_mwh if job.settings.price is None else scenario.history.settled(PRICE),
        import_w=imports,
        margin=margins,
        bound=_so_far(scenario.grid, bound),
    )


def _against_the_strike(results: list[PolicyResult]) -> list[PolicyResult]:
    """Return results in which each policy that looks ahead is compared with the strike that does not, for better or worse."""
    strike = next((one.margin for one in results if one.policy == "marginal strike"), None)
    if strike is None:
        return results
    return [
        msgspec.structs.replace(one, against_strike=round(one.margin - strike, 2)) if one.plans > 1 else one
        for one in results
    ]


def _so_far(grid: Grid, bound: Bound) -> tuple[tuple[float, float], ...]:
    ends_s = [float(grid.ends_s[last - 1]) for _, _, last in months(grid)]
    return tuple(zip(ends_s, itertools.accumulate(bound.margins), strict=True))


def refuse_leaks(scenario: Scenario, name: PolicyName) -> None:
    """Raise if a causal policy decides by what was not yet published. One that looks ahead is given nothing else.

    Raises:
        DispatchError: If it does.
    """
    if make_policy(name, scenario.settings).looks_ahead:
        return
    starts_s = scenario.grid.starts_s
    cut_s = float(starts_s[len(starts_s) // 2])
    leak = find_leak(scenario, lambda _: make_policy(name, scenario.settings), [cut_s])
    if leak is not None:
        raise DispatchError(str(leak))


def run_many(
    jobs: Sequence[Job], *, processes: int | None = None, progress: Callable[[str, float], None] | None = None
) -> list[Course]:
    """Run many sites at the same time, each in a process of its own; results come in the order of the jobs.

    Args:
        jobs: The sites.
        processes: How many at a time; None: one a core.
        progress: Called with a site's name and the share of it that is done, first with 0 for each.
    """
    if progress is not None:
        for job in jobs:
            progress(job.name, 0.0)
    if len(jobs) == 1:
        return [
            run_backtest(jobs[0], None if progress is None else lambda share: progress(jobs[0].name, share))
        ]
    context = multiprocessing.get_context("spawn")
    count = min(len(jobs), processes or os.cpu_count() or 1)
    told: SimpleQueue[tuple[str, float]] = context.SimpleQueue()
    others = set(multiprocessing.active_children())
    with concurrent.futures.ProcessPoolExecutor(
        count, mp_context=context, initializer=_tell_through, initargs=(told,)
    ) as pool:
        futures = [pool.submit(_run_and_tell, job) for job in jobs]
        try:
            _wait_for(futures, told, progress)
        except BaseException:  # an interrupt does not wait for the end of a year
            for process in set(multiprocessing.active_children()) - others:
                process.terminate()
            raise
        for future in futures:
            if not future.cancelled():
                future.result()
    told.close()
    return [future.result() for future in futures]


def _wait_for(
    futures: Sequence[concurrent.futures.Future[Course]],
    told: SimpleQueue[tuple[str, float]],
    progress: Callable[[str, float], None] | None,
) -> None:
    """Wait until all are done, and pass on how far they are. Once one has failed no other begins."""
    waiting = set(futures)
    while waiting:
        done, waiting = concurrent.futures.wait(
            waiting, timeout=_LOOK_EVERY_S, return_when=concurrent.futures.FIRST_EXCEPTION
        )
        while not told.empty():
            site, share = told.get()
            if progress is not None:
                progress(site, share)
        if any(not future.cancelled() and future.exception() is not None for future in done):
            for future in waiting:
                future.cancel()


#: In a process of the pool: where it tells how far it is.
_told: SimpleQueue[tuple[str, float]] | None = None


def _tell_through(told: SimpleQueue[tuple[str, float]]) -> None:
    global _told  # noqa: PLW0603 - what a pool hands to its processes has no other place
    _told = told


def _run_and_tell(job: Job) -> Course:
    """Run a site in a process of the pool; an error says which site it was.

    Raises:
        HashwerkError: As `run_backtest`, of a kind of the common tree: others may not survive the way between processes.
    """
    last = 0.0

    def tell(share: float) -> None:
        nonlocal last
        if _told is not None and (share - last >= _LEAST_SHARE or share >= 1.0):
            last = share
            _told.put((job.name, share))

    try:
        return run_backtest(job, tell)
    except HashwerkError as error:
        kind = next(kind for kind in type(error).__mro__ if kind.__module__ == HashwerkError.__module__)
        raise kind(f"{job.name}: {error}") from None


def _part(
    progress: Callable[[float], None] | None, number: int, count: int
) -> Callable[[float], None] | None:
    if progress is None:
        return None
    return lambda share: progress((number + share) / count)


def _date(time_s: float) -> str:
    return datetime.datetime.fromtimestamp(time_s, datetime.UTC).strftime("%Y-%m-%d")
