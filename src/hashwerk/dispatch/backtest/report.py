"""What a backtest found: each policy's account against always-on and against perfect foresight."""

from __future__ import annotations

from dataclasses import dataclass, replace

import msgspec
import numpy as np

from hashwerk.dispatch.accounts import coincident_cost, demand_cost, settle
from hashwerk.dispatch.backtest.foresight import least_demand_cost, months
from hashwerk.dispatch.backtest.replay import Replay
from hashwerk.dispatch.backtest.scenario import Scenario
from hashwerk.dispatch.enforce import local_use_w
from hashwerk.dispatch.grid import FloatArray
from hashwerk.dispatch.problem import Problem, part_of
from hashwerk.dispatch.schedule import Schedule, load_w, revenue


class PolicyResult(msgspec.Struct, frozen=True, kw_only=True):
    """One policy's year. Money is in the site's currency, rounded to the cent."""

    policy: str
    revenue: float
    energy_cost: float  # imports with fees, less what was fed in
    demand_cost: float  # of the site's own peaks and of its import in those of the grid
    other_cost: float  # carbon, wear
    margin: float
    against_always_on: float
    regret: float  # perfect foresight's margin less this one: what could at most have been had in addition
    against_strike: float | None = (
        None  # margin less the marginal strike's: what planning ahead brought, or cost
    )
    imported_mwh: float
    mean_price_per_mwh: float | None  # paid for energy, fees in; None where nothing was imported
    emission_t: float | None  # None where no factors were given
    uptime: float  # hours on of all machine-hours
    starts_per_machine: float
    curtailed_h: float  # hours in which less than half of the machines ran
    plans: int
    fallbacks: int  # plans that fell to the merit order
    seconds: float  # what the replay took
    remarks: tuple[str, ...] = ()


class BacktestResult(msgspec.Struct, frozen=True, kw_only=True):
    """A site's backtest."""

    site: str
    start: str
    stop: str
    currency: str
    interval_s: float
    intervals: int
    machines: int
    missing_h: float  # without a price: left out of every account
    foresight_margin: float
    foresight_method: str
    hashprice_mean: float
    policies: tuple[PolicyResult, ...]
    assumptions: tuple[str, ...]


@dataclass(frozen=True, slots=True, eq=False)
class Course:
    """What plots are made of: the price and each policy's power, over the scenario's grid."""

    result: BacktestResult
    starts_s: FloatArray
    price_per_mwh: FloatArray
    import_w: dict[str, FloatArray]
    margin: dict[str, FloatArray]  # of each interval; a month's demand charge falls into its last one
    bound: tuple[tuple[float, float], ...]  # end of each month, perfect foresight's margin up to then


def realised(problem: Problem, schedule: Schedule) -> Schedule:
    """Return a schedule with its flows as they turned out: decisions were made with what was known, the meter is not."""
    used_w = load_w(problem, schedule.running) + schedule.charge_w - schedule.discharge_w
    local_w = local_use_w(problem, used_w, turns_down=schedule.turns_own_down)
    net_w = used_w - local_w
    return replace(
        schedule,
        import_w=np.maximum(0.0, net_w),
        export_w=np.clip(-net_w, 0.0, problem.export_limit_w),
        local_w=local_w,
    )


def result_of(
    scenario: Scenario, replayed: Replay, *, always_on: float | None, foresight: float, seconds: float
) -> tuple[PolicyResult, FloatArray, FloatArray]:
    """Return a policy's result, its import and its margin over time; ``always_on`` None stands for the policy itself."""
    settled = _without_missing(scenario)
    schedule = realised(settled, replayed.schedule)
    present = ~scenario.missing
    account = settle(replace(settled, demand=(), coincident=()), _masked(schedule, present))
    demand_of_month = _demand_over_time(settled, schedule, present)
    charged = float(demand_of_month.sum())
    margin = account.margin - charged
    hours = scenario.grid.hours
    imported_mwh = float((schedule.import_w / 1e6 * hours * present).sum())
    machines = sum(group.count for group in scenario.groups)
    on = schedule.on.sum(axis=0)
    energy_cost = account.energy_cost - account.export_income
    per_interval = _margin_over_time(settled, _masked(schedule, present)) - demand_of_month
    emission_t = None
    if settled.carbon is not None:
        emission_t = round(
            float((schedule.import_w / 1e6 * hours * present * settled.carbon.g_per_kwh).sum()) / 1e3, 1
        )
    result = PolicyResult(
        policy=replayed.policy,
        revenue=round(account.revenue, 2),
        energy_cost=round(energy_cost, 2),
        demand_cost=round(charged, 2),
        other_cost=round(account.carbon_cost + account.wear_cost, 2),
        margin=round(margin, 2),
        against_always_on=round(margin - always_on, 2) if always_on is not None else 0.0,
        regret=round(foresight - margin, 2),
        imported_mwh=round(imported_mwh, 1),
        mean_price_per_mwh=round(account.energy_cost / imported_mwh, 2) if imported_mwh > 0 else None,
        emission_t=emission_t,
        uptime=round(
            float((on * hours * present).sum() / max(1e-9, machines * float((hours * present).sum()))), 4
        ),
        starts_per_machine=round(float(schedule.starts.sum()) / max(1, machines), 1),
        curtailed_h=round(float(hours[(on < machines / 2) & present].sum()), 1),
        plans=replayed.plans,
        fallbacks=replayed.fallbacks,
        seconds=round(seconds, 3),
        remarks=replayed.remarks,
    )
    return result, schedule.import_w, per_interval


def _without_missing(scenario: Scenario) -> Problem:
    settled = scenario.problem_settled()
    if not scenario.missing.any():
        return settled
    present = ~scenario.missing
    return replace(
        settled,
        hashprice_per_ph_day=np.where(present, settled.hashprice_per_ph_day, 0.0),
        buy_per_mwh=np.where(present, settled.buy_per_mwh, 0.0),
        sell_per_mwh=np.where(present, settled.sell_per_mwh, 0.0),
    )


def _masked(schedule: Schedule, present: np.ndarray[tuple[int], np.dtype[np.bool_]]) -> Schedule:
    if present.all():
        return schedule
    return replace(schedule, import_w=schedule.import_w * present, export_w=schedule.export_w * present)


def _demand_over_time(
    problem: Problem, schedule: Schedule, present: np.ndarray[tuple[int], np.dtype[np.bool_]]
) -> FloatArray:
    """Return what charges on peaks cost, shape (T,): the site's own in the last interval of a month, the grid's in theirs."""
    cost = coincident_cost(problem, schedule.import_w * present)
    if problem.demand:
        for _, first, last in months(problem.grid):
            part = part_of(problem, first, last, problem.histories)
            import_w = schedule.import_w[first:last] * present[first:last]
            cost[last - 1] += sum(
                demand_cost(part, charge, import_w) + least_demand_cost(charge) for charge in part.demand
            )
    return cost


def _margin_over_time(problem: Problem, schedule: Schedule) -> FloatArray:
    """Return the margin of each interval without demand charges, shape (T,); the sum is that of the account."""
    flows = schedule.export_w * problem.sell_per_mwh - schedule.import_w * problem.buy_per_mwh
    if problem.carbon is not None:
        flows = flows - schedule.import_w * problem.carbon.g_per_kwh / 1_000 * problem.carbon.price_per_t
    if problem.battery is not None:
        flows = flows - schedule.discharge_w * problem.battery.wear_per_mwh
    wear = np.array([group.wear_per_start for group in problem.groups]) @ schedule.starts
    earned = revenue(problem, schedule.running, schedule.starts)
    return np.asarray(earned + flows / 1e6 * problem.grid.hours - wear)
