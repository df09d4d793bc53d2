"""A problem put together from single numbers and arrays, and everything about it that cannot be."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from hashwerk.dispatch.grid import FloatArray, Grid, IntArray
from hashwerk.dispatch.problem import (
    Battery,
    Carbon,
    CleanOnly,
    CoincidentPeak,
    DemandCharge,
    Event,
    Group,
    GroupHistory,
    Limit,
    Ppa,
    Problem,
    Ramp,
    Reserve,
)
from hashwerk.errors import DispatchError


def make_problem(
    grid: Grid,
    groups: Sequence[Group],
    *,
    hashprice_per_ph_day: float | FloatArray,
    buy_per_mwh: float | FloatArray,
    sell_per_mwh: float | FloatArray = 0.0,
    histories: Sequence[GroupHistory] | None = None,
    available: IntArray | None = None,
    auxiliary_w: float | FloatArray = 0.0,
    cooling_share: float | FloatArray = 0.0,
    local_w: float | FloatArray = 0.0,
    must_take_w: float | FloatArray = 0.0,
    export_limit_w: float = 0.0,
    limits: Sequence[Limit] = (),
    ramp: Ramp | None = None,
    battery: Battery | None = None,
    demand: Sequence[DemandCharge] = (),
    coincident: Sequence[CoincidentPeak] = (),
    ppa: Ppa | None = None,
    carbon: Carbon | None = None,
    clean: CleanOnly | None = None,
    events: Sequence[Event] = (),
    reserves: Sequence[Reserve] = (),
    currency: str = "EUR",
    assumptions: Sequence[str] = (),
) -> Problem:
    """Return a problem; single numbers are spread over the grid, and all machines are asleep where no history is given.

    Raises:
        DispatchError: If an array does not fit the grid, or counts contradict each other.
    """

    def over_time(value: float | FloatArray, name: str) -> FloatArray:
        array = np.asarray(value, dtype=np.float64)
        if array.shape not in ((), (len(grid),)):
            raise DispatchError(f"{name} has {array.size} values where the plan has {len(grid)} intervals")
        return np.broadcast_to(array, (len(grid),)).copy()

    if histories is None:
        histories = [GroupHistory.settled(group, 0) for group in groups]
    counts = np.array([group.count for group in groups], dtype=np.int64)
    if available is None:
        available = np.repeat(counts[:, None], len(grid), axis=1)
    problem = Problem(
        grid=grid,
        groups=tuple(groups),
        histories=tuple(histories),
        hashprice_per_ph_day=over_time(hashprice_per_ph_day, "hashprice"),
        buy_per_mwh=over_time(buy_per_mwh, "the buying price"),
        sell_per_mwh=over_time(sell_per_mwh, "the selling price"),
        available=available,
        auxiliary_w=over_time(auxiliary_w, "auxiliary power"),
        cooling_share=over_time(cooling_share, "the share of cooling"),
        local_w=over_time(local_w, "own generation"),
        must_take_w=over_time(must_take_w, "generation that must be taken"),
        export_limit_w=export_limit_w,
        limits=tuple(limits),
        ramp=ramp,
        battery=battery,
        demand=tuple(demand),
        coincident=tuple(coincident),
        ppa=ppa,
        carbon=carbon,
        clean=clean,
        events=tuple(events),
        reserves=tuple(reserves),
        currency=currency,
        assumptions=tuple(assumptions),
    )
    _check_counts(problem, counts)
    return problem


def _check_counts(problem: Problem, counts: IntArray) -> None:
    if problem.available.shape != (len(problem.groups), len(problem.grid)):
        raise DispatchError(
            f"available machines have the shape {problem.available.shape}, the plan has"
            f" {len(problem.groups)} groups and {len(problem.grid)} intervals"
        )
    if len(problem.histories) != len(problem.groups):
        raise DispatchError(f"there are {len(problem.histories)} histories for {len(problem.groups)} groups")
    for group, history, available in zip(problem.groups, problem.histories, problem.available, strict=True):
        known = len(history.on_for_s) + len(history.off_for_s)
        if known != group.count:
            raise DispatchError(f"{group.name} has {group.count} machines and the histories of {known}")
        if available.min() < 0 or available.max() > group.count:
            raise DispatchError(
                f"{group.name} has {group.count} machines and says that {available.max()} are available"
            )
    for name, values in (
        ("auxiliary power", problem.auxiliary_w),
        ("the share of cooling", problem.cooling_share),
        ("generation that must be taken", problem.must_take_w),
        *((f"the chance of {peak.name}", peak.chance) for peak in problem.coincident),
    ):
        if not np.isfinite(values).all():
            raise DispatchError(f"{name} is not known in {int((~np.isfinite(values)).sum())} intervals")
    feeders = {group.feeder for group in problem.groups}
    for limit in problem.limits:
        if limit.limit_w.shape != (len(problem.grid),):
            raise DispatchError(
                f"the limit {limit.name!r} has {limit.limit_w.size} values for {len(problem.grid)} intervals"
            )
        if np.isnan(limit.limit_w).any():
            raise DispatchError(
                f"the limit {limit.name!r} is not known in {int(np.isnan(limit.limit_w).sum())} intervals"
            )
        if limit.feeder is not None and limit.feeder not in feeders:
            raise DispatchError(
                f"the limit {limit.name!r} is for the feeder {limit.feeder!r}, which feeds no group"
            )


def missing_prices(problem: Problem) -> str | None:
    """Return in words what is missing from the prices or the hashprice, or None if nothing is."""
    for name, values in (
        ("the buying price", problem.buy_per_mwh),
        ("the selling price", problem.sell_per_mwh),
        ("the hashprice", problem.hashprice_per_ph_day),
        ("own generation", problem.local_w),
    ):
        missing = ~np.isfinite(values)
        if missing.any():
            first_s = problem.grid.starts_s[int(np.argmax(missing))]
            at = np.datetime_as_string(np.datetime64(int(first_s), "s"), unit="m")
            return (
                f"{name} is missing in {int(missing.sum())} of {len(problem.grid)} intervals, first at {at}Z"
            )
    return None
