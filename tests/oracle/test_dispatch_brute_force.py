"""Whole-number plans against trying everything, with an account of minimum times machine by machine."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from hashwerk.dispatch.problem import DemandCharge, Group, GroupHistory, Limit, Problem
from hashwerk.dispatch.solve import Solver
from support.dispatch import group, problem


def machine_can(group: Group, history: GroupHistory, on: tuple[int, ...], interval_s: float) -> bool:
    """Whether counts of running machines can be had: the oldest stop, the longest asleep start."""
    running = sorted(history.on_for_s, reverse=True)
    asleep = sorted(history.off_for_s, reverse=True)
    starts = 0
    for count in on:
        while count < len(running):
            if running[0] < group.min_on_s:
                return False
            running.pop(0)
            asleep.append(0.0)
        while count > len(running):
            if not asleep or asleep[0] < group.min_off_s:
                return False
            asleep.pop(0)
            running.append(0.0)
            starts += 1
        running = [age + interval_s for age in running]
        asleep = [age + interval_s for age in asleep]
    return (
        group.starts_per_day is None
        or history.starts_left is None
        or starts <= int(history.starts_left.sum())
    )


def cost(problem: Problem, on: tuple[int, ...], high: tuple[int, ...]) -> float | None:
    """What a trajectory of one group costs, or None if it breaks a limit."""
    (only,) = problem.groups
    before, total, peak_w = len(problem.histories[0].on_for_s), 0.0, 0.0
    for t, (running, best) in enumerate(zip(on, high, strict=True)):
        low, top = only.modes
        import_w = running * low.power_w + best * (top.power_w - low.power_w) - problem.local_w[t]
        import_w += only.residual_w * (only.count - running)
        if any(import_w > limit.limit_w[t] + 1e-6 for limit in problem.limits):
            return None
        hours = problem.grid.hours[t]
        hash_hs = running * low.hashrate_hs + best * (top.hashrate_hs - low.hashrate_hs)
        price = problem.buy_per_mwh[t] if import_w > 0 else 0.0
        total += (
            import_w / 1e6 * hours * price - problem.hashprice_per_ph_day[t] / 24 * hours * hash_hs / 1e15
        )
        started = max(0, running - before)
        lost = problem.hashprice_per_ph_day[t] / 86_400 * only.wake_s * low.hashrate_hs / 1e15
        total += started * (only.wear_per_start + lost)
        before, peak_w = running, max(peak_w, import_w)
    for charge in problem.demand:
        total += charge.price_per_kw / 1_000 * max(0.0, peak_w - charge.month_to_date_w)
    return total


@pytest.mark.parametrize("seed", range(12))
def test_the_whole_number_plan_is_the_best_of_all(seed: int) -> None:
    random = np.random.default_rng(seed)
    machines = group(
        count=2,
        residual_w=float(random.choice([0.0, 40.0])),
        wake_s=float(random.choice([0.0, 600.0])),
        wear_per_start=float(random.choice([0.0, 0.02])),
        min_on_s=float(random.choice([0.0, 7_200.0])),
        min_off_s=float(random.choice([0.0, 7_200.0])),
        starts_per_day=int(random.choice([1, 2])),
    )
    running = int(random.integers(0, 3))
    history = GroupHistory(
        on_for_s=random.choice([0.0, 3_600.0, 90_000.0], running),
        off_for_s=random.choice([0.0, 3_600.0, 90_000.0], 2 - running),
        starts_left=random.integers(0, 2, 2),
    )
    asked = problem(
        [machines],
        random.normal(75, 40, 5),
        histories=[history],
        local_w=random.choice([0.0, 1_700.0], 5),
        limits=[Limit(name="breaker", limit_w=random.choice([np.inf, 4_600.0], 5))],
        demand=[DemandCharge(name="peak", price_per_kw=0.02, month_to_date_w=1_000.0)],
    )
    best = min(
        (
            found
            for on in itertools.product(range(3), repeat=5)
            if machine_can(machines, history, on, 3_600.0)
            for high in itertools.product(*(range(count + 1) for count in on))
            if (found := cost(asked, on, high)) is not None
        ),
        default=None,
    )
    assert best is not None
    plan = Solver().solve(asked, integer=True)
    assert plan.cost == pytest.approx(best, abs=1e-6)
    assert Solver().solve(asked).cost <= best + 1e-9  # type: ignore[operator]


def test_a_group_behind_one_switch_is_all_or_nothing() -> None:
    # 10 kW are free: with ten machines of 1.5 and 3 kW on one switch none fits, and with single switches six do.
    asked = problem(
        [group(together=True)],
        [300.0],
        limits=[Limit(name="breaker", limit_w=np.array([10_000.0]))],
        local_w=10_000.0,
    )
    single = problem(
        [group()], [300.0], limits=[Limit(name="breaker", limit_w=np.array([0.0]))], local_w=10_000.0
    )
    assert Solver().solve(asked, integer=True).on[0, 0] == 0
    assert Solver().solve(single, integer=True).on[0, 0] == 6


def test_a_mode_below_the_hull_is_used_where_a_limit_falls_between_two_better_ones() -> None:
    # (1 kW, 50 TH/s), (2 kW, 90), (3 kW, 150): the middle mode lies below the line between its neighbours.
    machines = group(count=1, pairs=((1_000, 50), (2_000, 90), (3_000, 150)))
    asked = problem([machines], [20.0], limits=[Limit(name="breaker", limit_w=np.array([2_500.0]))])
    plan = Solver().solve(asked, integer=True)
    assert plan.running[0, :, 0].tolist() == [0, 1, 0]
    assert Solver().solve(asked).cost < plan.cost  # type: ignore[operator]
