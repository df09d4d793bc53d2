"""Perfect foresight where hours are tied together: by a battery, a contract, or charges on means and on some hours."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import msgspec
import numpy as np

from hashwerk.dispatch.grid import FloatArray, Grid
from hashwerk.dispatch.policies.prices import coincident_per_mwh
from hashwerk.dispatch.problem import Problem
from hashwerk.dispatch.solve import Solver


def by_program(
    problem: Problem,
    months: Sequence[tuple[str, int, int]],
    missing: np.ndarray[tuple[int], np.dtype[np.bool_]],
) -> tuple[float, ...]:
    """Return what the months' linear programs earn, hour by hour, without what couples the hours of a machine.

    Hours stand for their parts where the price is the same in all of them; of everything else an hour has what is best in any
    part, or the mean where the parts could help each other out. So it stays a bound.
    """
    margins = []
    for _, first, last in months:
        part = _uncoupled_part(problem, first, last, missing)
        plan = Solver().solve(part, time_limit_s=120.0)
        assert plan.cost is not None
        margins.append(-plan.cost)
    return tuple(margins)


def _uncoupled_part(
    problem: Problem, first: int, last: int, missing: np.ndarray[tuple[int], np.dtype[np.bool_]]
) -> Problem:
    step = _hourly_step(problem, first, last)
    at = np.arange(first, last, step)
    starts_s = problem.grid.starts_s[at]
    grid = Grid(starts_s, np.diff(np.append(starts_s, problem.grid.ends_s[last - 1])))

    parts = np.arange(0, last - first, step)

    def mean(values: FloatArray) -> FloatArray:
        return np.asarray(
            np.add.reduceat(values[first:last], parts) / np.diff(np.append(parts, last - first))
        )

    def most(values: FloatArray) -> FloatArray:
        return np.asarray(np.maximum.reduceat(values[first:last], parts))

    groups = tuple(
        msgspec.structs.replace(
            g, wake_s=0.0, wear_per_start=0.0, min_on_s=0.0, min_off_s=0.0, starts_per_day=None
        )
        for g in problem.groups
    )
    # What is drawn in an interval without a price is in no account.
    gone = mean(missing.astype(np.float64)) > 0
    carbon = problem.carbon
    if carbon is not None:
        carbon = replace(carbon, g_per_kwh=np.where(gone, 0.0, mean(carbon.g_per_kwh)), budget_g=None)
    battery = problem.battery
    if battery is not None:
        # Full at the beginning and free to end empty: no month could have begun or ended better.
        battery = msgspec.structs.replace(battery, stored_wh=battery.capacity_wh, reserve_wh=0.0, end_wh=0.0)
    return replace(
        problem,
        grid=grid,
        groups=groups,
        hashprice_per_ph_day=np.where(gone, 0.0, most(problem.hashprice_per_ph_day)),
        buy_per_mwh=np.where(gone, 0.0, np.nan_to_num(mean(problem.buy_per_mwh))),
        sell_per_mwh=np.where(gone, 0.0, np.nan_to_num(most(problem.sell_per_mwh))),
        available=np.maximum.reduceat(problem.available[:, first:last], parts, axis=1),
        auxiliary_w=mean(problem.auxiliary_w),
        cooling_share=mean(problem.cooling_share),
        local_w=mean(problem.local_w),
        must_take_w=mean(problem.must_take_w),
        limits=tuple(replace(limit, limit_w=most(limit.limit_w)) for limit in problem.limits),
        ramp=None,
        battery=battery,
        demand=tuple(
            replace(
                charge,
                applies=~gone
                if charge.applies is None
                else ~gone & np.logical_and.reduceat(charge.applies[first:last], parts),
            )
            for charge in problem.demand
        ),
        coincident=tuple(
            replace(peak, chance=np.where(gone, 0.0, np.add.reduceat(peak.chance[first:last], parts)))
            for peak in problem.coincident
        ),
        carbon=carbon,
        clean=None,
    )


def _hourly_step(problem: Problem, first: int, last: int) -> int:
    duration_s = float(problem.grid.durations_s[first])
    per_hour = max(1, round(3_600.0 / duration_s))
    if (last - first) % per_hour or problem.grid.starts_s[first] % 3_600:
        return 1
    whole = problem.buy_per_mwh + coincident_per_mwh(problem)
    prices = np.nan_to_num(whole[first:last], nan=-1e9).reshape(-1, per_hour)
    return per_hour if (prices == prices[:, :1]).all() else 1
