"""What a schedule earns and costs, line by line. Plans are in floats; a ledger's figures come from readings, not from here."""

from __future__ import annotations

import msgspec
import numpy as np

from hashwerk.dispatch.grid import FloatArray
from hashwerk.dispatch.problem import DemandCharge, Problem
from hashwerk.dispatch.schedule import Schedule, revenue


class Account(msgspec.Struct, frozen=True, kw_only=True):
    """The lines of an account in the site's currency; costs are positive."""

    revenue: float
    energy_cost: float  # imports at the buying price
    export_income: float
    demand_cost: float
    coincident_cost: float  # expected, or what it was where the chance is none or one
    contract_cost: float  # what the PPA costs beyond the buying price of what was used
    carbon_cost: float
    wear_cost: float  # starts and battery
    event_income: float

    @property
    def margin(self) -> float:
        """What is left."""
        return (
            self.revenue
            + self.export_income
            + self.event_income
            - self.energy_cost
            - self.demand_cost
            - self.coincident_cost
            - self.contract_cost
            - self.carbon_cost
            - self.wear_cost
        )


def settle(problem: Problem, schedule: Schedule) -> Account:
    """Return the account of a schedule under a problem's prices, which may be others than those it was made with."""
    hours = problem.grid.hours
    import_mwh, export_mwh = schedule.import_w / 1e6 * hours, schedule.export_w / 1e6 * hours
    carbon_cost = 0.0
    if problem.carbon is not None:
        carbon_cost = (
            float((import_mwh * problem.carbon.g_per_kwh).sum()) / 1_000 * problem.carbon.price_per_t
        )
    wear = sum(
        group.wear_per_start * float(starts.sum())
        for group, starts in zip(problem.groups, schedule.starts, strict=True)
    )
    if problem.battery is not None:
        wear += problem.battery.wear_per_mwh * float((schedule.discharge_w / 1e6 * hours).sum())
    return Account(
        revenue=float(revenue(problem, schedule.running, schedule.starts).sum()),
        energy_cost=float((import_mwh * problem.buy_per_mwh).sum()),
        export_income=float((export_mwh * problem.sell_per_mwh).sum()),
        demand_cost=sum(demand_cost(problem, charge, schedule.import_w) for charge in problem.demand),
        coincident_cost=float(coincident_cost(problem, schedule.import_w).sum()),
        contract_cost=_contract_cost(problem, import_mwh),
        carbon_cost=carbon_cost,
        wear_cost=wear,
        event_income=_event_income(problem, schedule),
    )


def tariff_means_w(problem: Problem, charge: DemandCharge, import_w: FloatArray) -> FloatArray:
    """Return the mean import of each tariff interval that counts; longer intervals of the grid count with their own mean."""
    grid = problem.grid
    counts = np.ones(len(grid), dtype=bool) if charge.applies is None else charge.applies
    number = (grid.starts_s // charge.interval_s).astype(np.int64)
    keys, members = np.unique(number[counts], return_inverse=True)
    if not len(keys):
        return np.zeros(0)
    length_h = np.maximum(charge.interval_s, grid.durations_s)[counts] / 3_600.0
    energy = (import_w * grid.hours)[counts] / length_h
    means_w = np.asarray(np.bincount(members, weights=energy, minlength=len(keys)), dtype=np.float64)
    if counts[0]:
        means_w[0] += charge.imported_wh / (charge.interval_s / 3_600.0)
    return means_w


def demand_cost(problem: Problem, charge: DemandCharge, import_w: FloatArray) -> float:
    """Return what the peak of a schedule costs beyond that of the month so far."""
    means_w = tariff_means_w(problem, charge, import_w)
    peak_w = max(float(means_w.max(initial=0.0)), charge.month_to_date_w)
    return charge.price_per_kw * (peak_w - charge.month_to_date_w) / 1_000


def coincident_cost(problem: Problem, import_w: FloatArray) -> FloatArray:
    """Return what the grid's peaks cost in each interval, shape (T,)."""
    cost = np.zeros(len(problem.grid))
    for peak in problem.coincident:
        cost = cost + peak.chance * peak.price_per_kw * import_w / 1_000
    return cost


def _contract_cost(problem: Problem, import_mwh: FloatArray) -> float:
    """Return what the best use of the contract adds: each hour used, resold or left, then the shortfall.

    How much of the contract is taken can be decided after the machines: it never changes what they draw.
    """
    ppa = problem.ppa
    if ppa is None:
        return 0.0
    contracted_mwh = ppa.power_w / 1e6 * problem.grid.hours
    used_mwh = np.minimum(contracted_mwh, import_mwh)
    pieces = [(ppa.price_per_mwh - problem.buy_per_mwh, used_mwh)]
    if ppa.resale_per_mwh is not None:
        resale_better = ppa.resale_per_mwh > problem.buy_per_mwh
        pieces = [
            (ppa.price_per_mwh - problem.buy_per_mwh, np.where(resale_better, 0.0, used_mwh)),
            (
                ppa.price_per_mwh - ppa.resale_per_mwh,
                np.where(resale_better, contracted_mwh, contracted_mwh - used_mwh),
            ),
        ]
    cost = np.concatenate([piece[0] for piece in pieces])
    most_mwh = np.concatenate([piece[1] for piece in pieces])
    order = np.argsort(cost, kind="stable")
    taken_mwh = np.cumsum(most_mwh[order])
    worth = cost[order] < 0
    needed = taken_mwh - most_mwh[order] < ppa.min_take_wh / 1e6
    cheaper = cost[order] < ppa.shortfall_per_mwh
    part = np.clip(ppa.min_take_wh / 1e6 - (taken_mwh - most_mwh[order]), 0.0, most_mwh[order])
    take = np.where(worth, most_mwh[order], np.where(needed & cheaper, part, 0.0))
    shortfall = max(0.0, ppa.min_take_wh / 1e6 - float(take.sum()))
    return float((cost[order] * take).sum()) + shortfall * ppa.shortfall_per_mwh


def _event_income(problem: Problem, schedule: Schedule) -> float:
    income = 0.0
    for event in problem.events:
        if event.emergency:
            continue
        delivered_w = np.clip(event.baseline_w - schedule.import_w, 0.0, event.committed_w)
        hours = problem.grid.hours
        income += float((event.pay_per_mwh * delivered_w * hours).sum()) / 1e6
        income -= float((event.penalty_per_mwh * (event.committed_w - delivered_w) * hours).sum()) / 1e6
    return income
