"""A policy replayed: causal ones in one sweep, those that look ahead plan after plan."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from dataclasses import dataclass, replace

import msgspec
import numpy as np

from hashwerk.dispatch.backtest.foresight import best_peak_w, month_end_s, month_of
from hashwerk.dispatch.backtest.scenario import PRICE, Scenario
from hashwerk.dispatch.backtest.state import GroupState
from hashwerk.dispatch.enforce import BatteryUse, keep_limits
from hashwerk.dispatch.grid import DAY_S, HOUR_S, FloatArray, IntArray
from hashwerk.dispatch.merit import MeritOrder, merit_order
from hashwerk.dispatch.policies.clean import CarbonBudget, CleanOnly
from hashwerk.dispatch.policies.port import Policy
from hashwerk.dispatch.problem import DemandCharge, Problem, part_of
from hashwerk.dispatch.schedule import Origin, Schedule
from hashwerk.dispatch.solve import running_from_steps

#: Fewer days than these say nothing about a month's best peak.
_LEAST_LOOK_BACK_DAYS = 7
#: So many different remarks are kept of a replay.
_MOST_REMARKS = 3
_FLOWS = ("starts", "import", "export", "local", "charge", "discharge", "stored")


@dataclass(frozen=True, slots=True, eq=False)
class Replay:
    """What a policy did: the schedule over the whole span, how often it planned, and how often it had to fall back."""

    policy: str
    schedule: Schedule
    plans: int
    fallbacks: int
    remarks: tuple[str, ...]


def replay(scenario: Scenario, policy: Policy, *, progress: Callable[[float], None] | None = None) -> Replay:
    """Return what a policy would have done.

    Args:
        scenario: What is replayed.
        policy: Who decides.
        progress: Called with the share that is done.
    """
    if not policy.looks_ahead:
        schedule = policy.plan(_asked_of(policy, scenario.problem_as_known()))
        return Replay(policy.name, schedule, 1, 0, schedule.remarks)
    return _Rolling(scenario, policy).run(progress)


def _said(remarks: dict[str, int]) -> list[str]:
    """Return what was said while plans were made, the most frequent first; a long gap says the same of many moments."""
    often = sorted(remarks.items(), key=lambda one: -one[1])
    said = [text if count == 1 else f"{count} times: {text}" for text, count in often[:_MOST_REMARKS]]
    if len(often) > _MOST_REMARKS:
        rest = often[_MOST_REMARKS:]
        said.append(f"and {sum(count for _, count in rest):,} times something else of that kind")
    return said


def _asked_of(policy: Policy, problem: Problem) -> Problem:
    """Return a problem with the wishes of its policy alone: whoever is not asked to be clean is not held to it."""
    carbon = problem.carbon
    if carbon is not None and policy.name != CarbonBudget.name:
        carbon = replace(carbon, budget_g=None)
    return replace(problem, carbon=carbon, clean=problem.clean if policy.name == CleanOnly.name else None)


class _Rolling:
    """One rolling replay."""

    __slots__ = (
        "_counts",
        "_fallbacks",
        "_flows",
        "_order",
        "_peak_day",
        "_peak_month",
        "_peaks_w",
        "_planned_peaks_w",
        "_plans",
        "_policy",
        "_remarks",
        "_scenario",
        "_states",
        "_stored_wh",
        "_whole",
    )

    def __init__(self, scenario: Scenario, policy: Policy) -> None:
        grid = scenario.grid
        self._scenario, self._policy = scenario, policy
        self._whole = _asked_of(policy, scenario.problem_as_known())
        self._order: MeritOrder = merit_order(self._whole)
        self._counts = np.zeros((len(self._order.group), len(grid)), dtype=np.int64)
        self._flows = {
            name: np.zeros((len(scenario.groups) if name == "starts" else 1, len(grid))) for name in _FLOWS
        }
        self._states = [GroupState.settled(group, 0, float(grid.starts_s[0])) for group in scenario.groups]
        self._stored_wh = self._whole.battery.stored_wh if self._whole.battery else 0.0
        self._peaks_w = [0.0] * len(self._whole.demand)
        self._planned_peaks_w = list(self._peaks_w)
        self._peak_month, self._peak_day = "", -1
        self._plans = self._fallbacks = 0
        self._remarks: dict[str, int] = {}

    def run(self, progress: Callable[[float], None] | None) -> Replay:
        grid, planning = self._scenario.grid, self._scenario.settings.planning
        step = round(planning.step_s / self._scenario.settings.interval_s)
        horizon = round(planning.horizon_h * 3_600 / self._scenario.settings.interval_s)
        moments = self._moments(step)
        for first, end in itertools.pairwise(moments):
            last = min(first + horizon, len(grid))
            problem = self._problem(first, last, step)
            plan = self._policy.plan(problem)
            self._note(plan)
            self._carry_out(plan, first, end, step)
            self._peaks_w = [
                max(so_far_w, self._tariff_peak_w(charge, first, end))
                for charge, so_far_w in zip(self._whole.demand, self._peaks_w, strict=True)
            ]
            if progress is not None:
                progress(end / len(grid))
        schedule = self._whole_schedule()
        remarks = tuple(_said(self._remarks))
        return Replay(self._policy.name, schedule, self._plans, self._fallbacks, remarks)

    def _moments(self, step: int) -> list[int]:
        """Return the intervals at which a plan is made.

        Where prices come in batches, such as day-ahead, at each publication and every so often; where each is published by
        itself, in every interval of the plan.
        """
        scenario, planning = self._scenario, self._scenario.settings.planning
        count = len(scenario.grid)
        published_s = np.unique(scenario.history.publications(PRICE))
        in_batches = len(published_s) * 4 < float(scenario.grid.hours.sum())
        every = max(step, round(planning.replan_h * 3_600 / scenario.settings.interval_s) // step * step)
        if not in_batches:
            return [*range(0, count, step), count]
        at = np.searchsorted(scenario.grid.starts_s, published_s[np.isfinite(published_s)], side="left")
        moments = {0, count, *range(0, count, every), *(int(-(-place // step) * step) for place in at)}
        return sorted(moment for moment in moments if moment <= count)

    def _problem(self, first: int, last: int, step: int) -> Problem:
        if (month := month_of(float(self._scenario.grid.starts_s[first]))) != self._peak_month:
            self._peak_month, self._peaks_w = month, [0.0] * len(self._peaks_w)
        known = self._scenario.problem_at(
            first,
            last,
            step,
            tuple(state.history() for state in self._states),
            stored_wh=self._stored_wh,
            month_to_date_w=self._peaks_w,
        )
        problem = self._up_to_the_planned_peaks(_asked_of(self._policy, known), first)
        return self._after_the_last_import(problem, first)

    def _after_the_last_import(self, problem: Problem, first: int) -> Problem:
        """Return a problem whose ramp begins where the replay has come to."""
        if problem.ramp is None or first == 0:
            return problem
        before_w = float(self._flows["import"][0, first - 1])
        return replace(problem, ramp=msgspec.structs.replace(problem.ramp, import_before_w=before_w))

    def _up_to_the_planned_peaks(self, problem: Problem, first: int) -> Problem:
        """Return a problem in which imports up to the month's planned peaks cost nothing more.

        Peaks are planned once a day: a horizon of two days cannot know what a month is worth.
        """
        if not problem.demand:
            return problem
        today = int(self._scenario.grid.starts_s[first] // DAY_S)
        if today != self._peak_day:
            self._peak_day = today
            self._planned_peaks_w = [
                self._plan_peak_w(first, number, problem) for number in range(len(problem.demand))
            ]
        demand = [
            replace(charge, month_to_date_w=max(charge.month_to_date_w, planned_w))
            for charge, planned_w in zip(problem.demand, self._planned_peaks_w, strict=True)
        ]
        return replace(problem, demand=tuple(demand))

    def _plan_peak_w(self, first: int, number: int, ahead: Problem) -> float:
        """Return the peak that would be best if the rest of the month were like as many days before.

        Where nothing was before, like what is ahead.
        """
        start_s = float(self._scenario.grid.starts_s[first])
        rest_h = (month_end_s(start_s) - start_s) / HOUR_S
        interval_h = self._scenario.settings.interval_s / HOUR_S
        back = min(first, round(max(rest_h, _LEAST_LOOK_BACK_DAYS * 24.0) / interval_h))
        like, span = self._whole, np.arange(first - back, first)
        if not np.isfinite(like.buy_per_mwh[span]).any():
            like, span = ahead, np.arange(len(ahead.grid))
        span = span[np.isfinite(like.buy_per_mwh[span])]
        charge = like.demand[number]
        weight = float(like.grid.hours[span].sum()) / rest_h
        if charge.applies is not None:
            span = span[charge.applies[span]]
        if not len(span):
            return 0.0
        weighed = replace(
            charge,
            price_per_kw=charge.price_per_kw * weight,
            month_to_date_w=max(self._peaks_w[number], charge.month_to_date_w),
        )
        return best_peak_w(like, weighed, span)

    def _note(self, plan: Schedule) -> None:
        self._plans += 1
        if plan.origin is Origin.LADDER:
            self._fallbacks += 1
            for remark in plan.remarks[:1]:
                self._remarks[remark] = self._remarks.get(remark, 0) + 1

    def _carry_out(self, plan: Schedule, first: int, end: int, step: int) -> None:
        """Put a plan into effect under the hard limits until the next one, and live through it."""
        parts = -(-(end - first) // step)

        def fine(values: FloatArray) -> FloatArray:
            return np.repeat(values[:parts], step)[: end - first]

        part = part_of(self._whole, first, end, tuple(state.history() for state in self._states))
        part = self._after_the_last_import(part, first)
        battery = self._whole.battery
        use = None
        if battery is not None:
            part = replace(part, battery=msgspec.structs.replace(battery, stored_wh=self._stored_wh))
            use = BatteryUse(fine(plan.charge_w), fine(plan.discharge_w), np.zeros(end - first))
        want = np.repeat(at_least_of(self._order, plan, parts), step, axis=1)[:, : end - first]
        done = keep_limits(part, want, order=self._order, battery=use)
        for g, state in enumerate(self._states):
            state.follow(part.grid, done.on[g], 0, end - first)
        if battery is not None:
            one_way = battery.efficiency**0.5
            flow_wh = (done.charge_w * one_way - done.discharge_w / one_way) * part.grid.hours
            stored_wh = self._stored_wh + np.cumsum(flow_wh)
            self._stored_wh = float(np.clip(stored_wh[-1], 0.0, battery.capacity_wh))
            self._flows["stored"][0, first:end] = stored_wh
        self._counts[:, first:end] = at_least_of(self._order, done, end - first)
        for name, values in (
            ("starts", done.starts),
            ("import", done.import_w),
            ("export", done.export_w),
            ("local", done.local_w),
            ("charge", done.charge_w),
            ("discharge", done.discharge_w),
        ):
            self._flows[name][:, first:end] = values

    def _tariff_peak_w(self, charge: DemandCharge, first: int, end: int) -> float:
        """Return the highest mean of the tariff's intervals so far, from the one that a plan began in."""
        per = max(1, round(charge.interval_s / self._scenario.settings.interval_s))
        start = first // per * per
        counted_w = self._flows["import"][0, start:end]
        if charge.applies is not None:
            counted_w = counted_w * charge.applies[start:end]
        means = np.add.reduceat(counted_w, np.arange(0, end - start, per)) / per
        return float(means.max())

    def _whole_schedule(self) -> Schedule:
        flows = self._flows
        return Schedule(
            grid=self._scenario.grid,
            origin=Origin.POLICY,
            running=running_from_steps(self._whole, self._order.steps, self._order.to_at_least(self._counts)),
            starts=flows["starts"],
            import_w=flows["import"][0],
            export_w=flows["export"][0],
            local_w=flows["local"][0],
            charge_w=flows["charge"][0],
            discharge_w=flows["discharge"][0],
            stored_wh=flows["stored"][0],
            turns_own_down=not self._whole.demand,
        )


def at_least_of(order: MeritOrder, plan: Schedule, parts: int) -> IntArray:
    """Return the machines of a schedule in each step of the merit order or above, for its first intervals."""
    counts = np.zeros((len(order.group), parts), dtype=np.int64)
    for s, (g, k) in enumerate(zip(order.group, order.rank, strict=True)):
        mode = order.steps.of_groups[g][k].mode
        counts[s] = np.round(plan.running[g, mode:, :parts].sum(axis=0)).astype(np.int64)
    return counts
