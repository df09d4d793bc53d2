"""What must be true of every schedule, checked without the code that made it."""

from __future__ import annotations

import numpy as np

from hashwerk.dispatch.problem import Group, GroupHistory, Problem
from hashwerk.dispatch.schedule import Schedule, load_w


def check_schedule(problem: Problem, schedule: Schedule, *, remarks_allowed: bool = False) -> None:
    """Whole machines, no more than there are, energy balanced, limits kept, minimum times and starts kept."""
    running, on = schedule.running, schedule.on
    assert (running >= 0).all()
    assert (running == np.round(running)).all()
    assert (on <= problem.available).all()
    used_w = load_w(problem, running) + schedule.charge_w - schedule.discharge_w
    given_w = schedule.import_w + schedule.local_w - schedule.export_w
    assert (schedule.import_w >= -1e-6).all()
    assert (schedule.local_w <= problem.local_w + 1e-6).all()
    np.testing.assert_allclose(given_w, used_w, atol=1e-3)
    for g, group in enumerate(problem.groups):
        if group.together:
            assert set(running[g].ravel().tolist()) <= {0.0, float(group.count)}
    if not remarks_allowed:
        assert schedule.remarks == ()
        for limit in problem.limits:
            if limit.feeder is None:
                assert (schedule.import_w <= limit.limit_w + 1e-3).all(), limit.name
            else:
                fed_w = sum(
                    machine_w(group, running[g])
                    for g, group in enumerate(problem.groups)
                    if group.feeder == limit.feeder
                )
                assert (fed_w <= limit.limit_w + 1e-3).all(), limit.name
        for g, group in enumerate(problem.groups):
            check_machines(
                group,
                problem.histories[g],
                on[g],
                schedule.starts[g],
                problem.grid.starts_s,
                problem.grid.durations_s,
            )


def machine_w(group: Group, running: np.ndarray) -> np.ndarray:
    """What a group draws, from its counts by mode (M, T)."""
    power_w = np.full(running.shape[1], group.residual_w * group.count)
    for m, mode in enumerate(group.modes):
        power_w = power_w + running[m] * (mode.power_w - group.residual_w)
    return power_w


def check_machines(
    group: Group,
    history: GroupHistory,
    on: np.ndarray,
    starts: np.ndarray,
    starts_s: np.ndarray,
    durations_s: np.ndarray,
) -> None:
    """Follow every machine: the oldest stop first, those asleep longest start first."""
    running, asleep = sorted(history.on_for_s), sorted(history.off_for_s)
    budget = None if history.starts_left is None else int(history.starts_left.sum())
    day = starts_s[0] // 86_400
    for t, count in enumerate(on.astype(int)):
        if starts_s[t] // 86_400 != day and group.starts_per_day is not None:
            day, budget = starts_s[t] // 86_400, group.starts_per_day * group.count
        begun = max(0, count - len(running))
        assert begun == starts[t]
        while count < len(running):
            assert running.pop() >= group.min_on_s - 1e-6
            asleep.insert(0, 0.0)
        while count > len(running):
            assert asleep.pop() >= group.min_off_s - 1e-6
            running.insert(0, 0.0)
        if budget is not None:
            budget -= begun
            assert budget >= 0
        running = [age + durations_s[t] for age in running]
        asleep = [age + durations_s[t] for age in asleep]
