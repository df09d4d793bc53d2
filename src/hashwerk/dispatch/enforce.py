"""The hard limits that every policy keeps: breaker, feeders, orders, ramp, minimum times, starts left.

A policy says what it wants; what comes out is what may be. Own generation is used before anything is bought, what is left of
it is fed in as far as that is allowed, and the battery does what the policy says.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from hashwerk.dispatch.enforce_kernel import enforce
from hashwerk.dispatch.formulation.transitions import kept, start_budget
from hashwerk.dispatch.grid import FloatArray, IntArray
from hashwerk.dispatch.merit import MeritOrder, merit_order
from hashwerk.dispatch.problem import Limit, Problem
from hashwerk.dispatch.schedule import Origin, Schedule, load_w
from hashwerk.dispatch.solve import running_from_steps


class BatteryUse(NamedTuple):
    """What a battery does over the grid, as a policy planned it."""

    charge_w: FloatArray
    discharge_w: FloatArray
    stored_wh: FloatArray


def site_limit_w(problem: Problem) -> FloatArray:
    """Return the lowest hard limit of the import in each interval, infinite where there is none, shape (T,)."""
    lowest = np.full(len(problem.grid), np.inf)
    for limit in problem.limits:
        if limit.feeder is None:
            lowest = np.fmin(lowest, limit.limit_w)
    for event in problem.events:
        if event.emergency:
            reduced = np.where(event.committed_w > 0, event.baseline_w - event.committed_w, np.inf)
            lowest = np.minimum(lowest, reduced)
    return lowest


def keep_limits(
    problem: Problem,
    want: IntArray,
    *,
    order: MeritOrder | None = None,
    origin: Origin = Origin.POLICY,
    battery: BatteryUse | None = None,
    import_limit_w: FloatArray | None = None,
    import_wish_w: FloatArray | None = None,
    remarks: Sequence[str] = (),
) -> Schedule:
    """Return the schedule nearest to what is wanted that keeps every hard limit.

    Args:
        problem: What is known.
        want: Machines wanted in each step or above, in merit order, shape (S, T).
        order: The merit order, where the caller has it.
        origin: Who decided.
        battery: What the battery does; None: nothing.
        import_limit_w: A limit of the policy's own, for example clean energy only; kept as a hard one.
        import_wish_w: Another, for which no machine stops before its minimum time.
        remarks: What people should know already.

    Where limits cannot all be kept, breakers, feeders and orders come before minimum times, and a remark says so.
    """
    order = order or merit_order(problem)
    use = battery or _idle(problem)
    chosen, starts, broken, cause, above_w = _run_kernel(
        problem, order, want, use, (import_limit_w, import_wish_w)
    )
    running = running_from_steps(problem, order.steps, order.to_at_least(chosen))
    use = _battery_as_needed(problem, use, load_w(problem, running))
    used_w = load_w(problem, running) + use.charge_w - use.discharge_w
    # Turning own generation down raises the import: not where a ramp or a peak stands against it.
    own_limit = import_limit_w is not None or import_wish_w is not None
    turns_down = not (own_limit or problem.demand or problem.coincident or problem.ramp)
    local_w = local_use_w(problem, used_w, turns_down=turns_down)
    net_w = used_w - local_w
    return Schedule(
        grid=problem.grid,
        origin=origin,
        running=running,
        starts=starts.astype(np.float64),
        import_w=np.maximum(0.0, net_w),
        export_w=np.clip(-net_w, 0.0, problem.export_limit_w),
        local_w=local_w,
        charge_w=use.charge_w,
        discharge_w=use.discharge_w,
        stored_wh=use.stored_wh,
        held=cause,
        turns_own_down=turns_down,
        remarks=(*remarks, *_remarks(problem, broken, above_w)),
    )


def _run_kernel(
    problem: Problem,
    order: MeritOrder,
    want: IntArray,
    use: BatteryUse,
    own_limits_w: tuple[FloatArray | None, FloatArray | None],
) -> tuple[IntArray, IntArray, IntArray, IntArray, FloatArray]:
    grid, groups = problem.grid, problem.groups
    limit_w = site_limit_w(problem)
    if own_limits_w[0] is not None:
        limit_w = np.fmin(limit_w, own_limits_w[0])
    wished_w = np.full(len(grid), np.inf) if own_limits_w[1] is None else own_limits_w[1]
    cooled = 1 + problem.cooling_share
    residual_w = sum(group.residual_w * group.count for group in groups)
    local_w = np.nan_to_num(problem.local_w)
    offset_w = residual_w * cooled + problem.auxiliary_w + use.charge_w - use.discharge_w - local_w
    feeders = [limit for limit in problem.limits if limit.feeder is not None]
    feeder, feeder_w = _feeders(problem, feeders)
    ramp = problem.ramp
    rise = np.inf if ramp is None or ramp.up_w_per_s is None else ramp.up_w_per_s
    fall = np.inf if ramp is None or ramp.down_w_per_s is None else ramp.down_w_per_s
    before_w = np.nan if ramp is None or ramp.import_before_w is None else ramp.import_before_w
    unlimited = np.iinfo(np.int64).max // 4
    left, daily = (
        [
            unlimited if group.starts_per_day is None else start_budget(group, history, first=first)
            for group, history in zip(groups, problem.histories, strict=True)
        ]
        for first in (True, False)
    )
    held_on = [kept(grid, h.on_for_s, g.min_on_s) for g, h in zip(groups, problem.histories, strict=True)]
    held_off = [kept(grid, h.off_for_s, g.min_off_s) for g, h in zip(groups, problem.histories, strict=True)]
    return enforce(
        np.ascontiguousarray(want, dtype=np.int64),
        order.group,
        order.rank,
        order.power_w,
        np.ascontiguousarray(problem.available, dtype=np.int64),
        np.array([group.count for group in groups], dtype=np.int64),
        np.array([group.count if group.together else 1 for group in groups], dtype=np.int64),
        problem.running_before(),
        np.array(held_on, dtype=np.int64),
        np.array(held_off, dtype=np.int64),
        np.array([group.min_on_s for group in groups]),
        np.array([group.min_off_s for group in groups]),
        np.array(left, dtype=np.int64),
        np.array(daily, dtype=np.int64),
        grid.starts_s,
        grid.durations_s,
        (limit_w - offset_w) / cooled,
        (wished_w - offset_w) / cooled,
        rise * grid.durations_s,
        fall * grid.durations_s,
        cooled,
        offset_w,
        before_w,
        feeder,
        feeder_w,
    )


def _feeders(problem: Problem, limits: Sequence[Limit]) -> tuple[IntArray, FloatArray]:
    """Return the feeder of each group as a number, and what the feeders leave to machines above their residual power."""
    names = sorted({limit.feeder for limit in limits if limit.feeder is not None})
    feeder = np.array(
        [names.index(group.feeder) if group.feeder in names else -1 for group in problem.groups],
        dtype=np.int64,
    )
    left_w = np.full((len(names), len(problem.grid)), np.inf)
    for limit in limits:
        assert limit.feeder is not None
        number = names.index(limit.feeder)
        residual_w = sum(g.residual_w * g.count for g in problem.groups if g.feeder == limit.feeder)
        left_w[number] = np.fmin(left_w[number], limit.limit_w - residual_w)
    return feeder, left_w


def _battery_as_needed(problem: Problem, use: BatteryUse, machines_w: FloatArray) -> BatteryUse:
    """Return a battery's use with no more discharge than there is use for: fewer machines may run than were planned."""
    battery = problem.battery
    if battery is None or not use.discharge_w.any():
        return use
    most_w = np.maximum(0.0, machines_w + problem.export_limit_w - problem.must_take_w)
    discharge_w = np.minimum(use.discharge_w, most_w)
    if (discharge_w >= use.discharge_w - 1e-9).all():
        return use
    one_way = battery.efficiency**0.5
    charge_w, stored_wh = use.charge_w.copy(), np.zeros(len(problem.grid))
    stored = battery.stored_wh
    for t, hours in enumerate(problem.grid.hours):
        stored -= discharge_w[t] * hours / one_way
        charge_w[t] = min(charge_w[t], max(0.0, battery.capacity_wh - stored) / (hours * one_way))
        stored += charge_w[t] * hours * one_way
        stored_wh[t] = stored
    return BatteryUse(charge_w, discharge_w, stored_wh)


def local_use_w(problem: Problem, used_w: FloatArray, *, turns_down: bool) -> FloatArray:
    """Return how much of own generation is used or fed in; where importing is paid for, it may be turned down instead.

    ``turns_down`` is False for those who want to be clean, and where a demand charge or a ramp makes importing more a
    different question.
    """
    available_w = np.nan_to_num(problem.local_w)
    wanted_w = np.minimum(available_w, used_w + problem.export_limit_w)
    if turns_down and (problem.buy_per_mwh < 0).any():
        needed_w = np.minimum(wanted_w, np.maximum(0.0, used_w - site_limit_w(problem)))
        wanted_w = np.where(problem.buy_per_mwh < 0, needed_w, wanted_w)
    return np.minimum(np.maximum(wanted_w, problem.must_take_w), available_w)


def _idle(problem: Problem) -> BatteryUse:
    nothing = np.zeros(len(problem.grid))
    stored_wh = problem.battery.stored_wh if problem.battery else 0.0
    return BatteryUse(nothing, nothing, np.full(len(problem.grid), stored_wh))


def _remarks(problem: Problem, broken: IntArray, above_w: FloatArray) -> list[str]:
    remarks = []
    for group, stopped in zip(problem.groups, broken.sum(axis=1), strict=True):
        if stopped:
            remarks.append(
                f"{stopped:,} machines of {group.name} stop before their minimum time: a hard limit comes first"
            )
    if above_w.any():
        worst = int(np.argmax(above_w))
        at = np.datetime_as_string(np.datetime64(int(problem.grid.starts_s[worst]), "s"), unit="m")
        drawn_w = problem.auxiliary_w[worst] - np.nan_to_num(problem.local_w[worst])
        drawn_w += sum(g.residual_w * g.count for g in problem.groups) * (1 + problem.cooling_share[worst])
        names = [
            limit.name
            for limit in problem.limits
            if _standing_w(problem, limit, drawn_w) > limit.limit_w[worst]
        ]
        of = f" by {' and '.join(names)}" if names else ""
        remarks.append(
            f"with every machine asleep the site still draws {above_w[worst] / 1e3:,.1f} kW more than allowed{of} at {at}Z:"
            " what is left is not ours to switch"
        )
    return remarks


def _standing_w(problem: Problem, limit: Limit, import_w: float) -> float:
    """Return what a limit sees with every machine asleep."""
    if limit.feeder is None:
        return import_w
    return sum(g.residual_w * g.count for g in problem.groups if g.feeder == limit.feeder)
