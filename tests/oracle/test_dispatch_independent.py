"""The linear plan against the same problem written down differently, and solved by SciPy.

Here every machine is in exactly one mode, sleep being one; stops have variables of their own; every mode is allowed, not only
those of the hull; power is in kW; and minimum times are said interval by interval.
"""

from __future__ import annotations

import numpy as np
import pytest
from scipy.optimize import linprog

from hashwerk.dispatch.problem import (
    Battery,
    Carbon,
    CleanOnly,
    CoincidentPeak,
    DemandCharge,
    Event,
    GroupHistory,
    Limit,
    Ppa,
    Problem,
    Ramp,
)
from hashwerk.dispatch.solve import Solver
from support.dispatch import group, problem


class Rows:
    """Rows of a dense program, written one coefficient after another."""

    def __init__(self) -> None:
        self.names: dict[tuple[object, ...], int] = {}
        self.bounds: list[tuple[float, float | None]] = []
        self.cost: list[float] = []
        self.equal: list[tuple[dict[int, float], float]] = []
        self.below: list[tuple[dict[int, float], float]] = []

    def column(self, *key: object, low: float = 0.0, high: float | None = None, cost: float = 0.0) -> int:
        self.names[key] = len(self.cost)
        self.bounds.append((low, high))
        self.cost.append(cost)
        return self.names[key]

    def solve(self) -> float:
        def dense(rows: list[tuple[dict[int, float], float]]) -> tuple[np.ndarray, np.ndarray]:
            matrix = np.zeros((len(rows), len(self.cost)))
            for number, (terms, _) in enumerate(rows):
                for column, value in terms.items():
                    matrix[number, column] = value
            return matrix, np.array([right for _, right in rows])

        below, right = dense(self.below)
        equal, exact = dense(self.equal)
        found = linprog(
            self.cost, A_ub=below, b_ub=right, A_eq=equal, b_eq=exact, bounds=self.bounds, method="highs-ipm"
        )
        assert found.status == 0, found.message
        return float(found.fun)


def independent_cost(p: Problem) -> float:
    rows, times = Rows(), range(len(p.grid))
    hours = p.grid.hours
    for t in times:
        buy, sell = p.buy_per_mwh[t] / 1_000, p.sell_per_mwh[t] / 1_000
        rows.column("in", t, cost=buy * hours[t])
        rows.column("out", t, high=p.export_limit_w / 1_000, cost=-sell * hours[t])
        rows.column("own", t, low=p.must_take_w[t] / 1_000, high=p.local_w[t] / 1_000)
    load: list[dict[int, float]] = [{} for _ in times]
    for g, machines in enumerate(p.groups):
        value = p.hashprice_per_ph_day / 24 * hours / 1e15
        for t in times:
            for m in range(-1, len(machines.modes)):
                mode = machines.modes[m] if m >= 0 else None
                power_w = mode.power_w if mode else machines.residual_w
                hash_hs = mode.hashrate_hs if mode else 0.0
                column = rows.column("n", g, m, t, cost=-value[t] * hash_hs)
                load[t][column] = power_w / 1_000 * (1 + p.cooling_share[t])
            lost = p.hashprice_per_ph_day[t] / 86_400 * machines.wake_s * machines.modes[0].hashrate_hs / 1e15
            rows.column("start", g, t, cost=machines.wear_per_start + lost)
            rows.column("stop", g, t)
            everyone = {rows.names["n", g, m, t]: 1.0 for m in range(-1, len(machines.modes))}
            rows.equal.append((everyone, float(machines.count)))
            on = {rows.names["n", g, m, t]: 1.0 for m in range(len(machines.modes))}
            rows.below.append((on, float(p.available[g, t])))
            change = {**on, rows.names["start", g, t]: -1.0, rows.names["stop", g, t]: 1.0}
            if t:
                change |= {rows.names["n", g, m, t - 1]: -1.0 for m in range(len(machines.modes))}
            rows.equal.append((change, 0.0 if t else float(len(p.histories[g].on_for_s))))
            back_on = [s for s in range(t + 1) if p.grid.starts_s[t] - p.grid.starts_s[s] < machines.min_on_s]
            young = float(
                (
                    machines.min_on_s - p.histories[g].on_for_s
                    > p.grid.starts_s[t] - p.grid.starts_s[0] + 1e-6
                ).sum()
            )
            rows.below.append(
                (
                    {**dict.fromkeys(on, -1.0), **{rows.names["start", g, s]: 1.0 for s in back_on}},
                    -young,
                )
            )
            back_off = [
                s for s in range(t + 1) if p.grid.starts_s[t] - p.grid.starts_s[s] < machines.min_off_s
            ]
            resting = float(
                (
                    machines.min_off_s - p.histories[g].off_for_s
                    > p.grid.starts_s[t] - p.grid.starts_s[0] + 1e-6
                ).sum()
            )
            asleep = {rows.names["n", g, -1, t]: -1.0, **{rows.names["stop", g, s]: 1.0 for s in back_off}}
            rows.below.append((asleep, -resting))
    b = p.battery
    for t in times:
        balance = {rows.names["in", t]: 1.0, rows.names["own", t]: 1.0, rows.names["out", t]: -1.0}
        balance |= {column: -value for column, value in load[t].items()}
        if b is not None:
            balance[rows.column("ch", t, high=b.power_w / 1_000)] = -1.0
            balance[rows.column("dis", t, high=b.power_w / 1_000, cost=b.wear_per_mwh / 1_000 * hours[t])] = (
                1.0
            )
        rows.equal.append((balance, p.auxiliary_w[t] / 1_000))
        for limit in p.limits:
            if limit.feeder is None:
                rows.below.append(({rows.names["in", t]: 1.0}, limit.limit_w[t] / 1_000))
            else:
                fed = {
                    column: value / (1 + p.cooling_share[t])
                    for column, value in load[t].items()
                    if any(
                        key[:1] == ("n",) and p.groups[key[1]].feeder == limit.feeder
                        for key, c in rows.names.items()
                        if c == column
                    )  # type: ignore[call-overload]
                }
                rows.below.append((fed, limit.limit_w[t] / 1_000))
        if p.ramp is not None and p.ramp.up_w_per_s is not None and t:
            step = p.ramp.up_w_per_s * p.grid.durations_s[t] / 1_000
            rows.below.append(({rows.names["in", t]: 1.0, rows.names["in", t - 1]: -1.0}, step))
        for event in p.events:
            if event.committed_w[t] > 0 and event.emergency:
                rows.below.append(
                    ({rows.names["in", t]: 1.0}, (event.baseline_w[t] - event.committed_w[t]) / 1_000)
                )
        if p.clean is not None:
            rows.below.append(({rows.names["in", t]: 1.0}, p.clean.contracted_w[t] / 1_000))
    if b is not None:
        kwh = b.stored_wh / 1_000
        flow: dict[int, float] = {}
        for t in times:
            flow[rows.names["ch", t]] = b.efficiency**0.5 * hours[t]
            flow[rows.names["dis", t]] = -hours[t] / b.efficiency**0.5
            rows.below.append((dict(flow), b.capacity_wh / 1_000 - kwh))
            rows.below.append(
                ({column: -value for column, value in flow.items()}, kwh - b.reserve_wh / 1_000)
            )
        rows.below.append(({column: -value for column, value in flow.items()}, 0.0))
    offset = 0.0
    for charge in p.demand:
        peak = rows.column("peak", charge.name, low=charge.month_to_date_w / 1_000, cost=charge.price_per_kw)
        offset -= charge.price_per_kw * charge.month_to_date_w / 1_000
        per = int(charge.interval_s / p.grid.durations_s[0])
        for first in range(0, len(p.grid), per):
            mean = {rows.names["in", t]: 1.0 / per for t in range(first, first + per)}
            rows.below.append(({**mean, peak: -1.0}, 0.0))
    for coincident in p.coincident:
        for t in times:
            rows.cost[rows.names["in", t]] += coincident.chance[t] * coincident.price_per_kw
    if p.carbon is not None:
        emitted = {rows.names["in", t]: p.carbon.g_per_kwh[t] * hours[t] for t in times}
        if p.carbon.budget_g is not None:
            rows.below.append((emitted, p.carbon.budget_g))
        for column, grams in emitted.items():
            rows.cost[column] += grams / 1e6 * p.carbon.price_per_t
    if p.ppa is not None:
        short = rows.column("short", cost=p.ppa.shortfall_per_mwh)
        take = {short: -1.0}
        for t in times:
            used = rows.column("used", t, cost=(p.ppa.price_per_mwh - p.buy_per_mwh[t]) / 1_000 * hours[t])
            rows.below.append(({used: 1.0, rows.names["in", t]: -1.0}, 0.0))
            both = {used: 1.0}
            take[used] = -hours[t] / 1_000
            if p.ppa.resale_per_mwh is not None:
                sold = rows.column(
                    "sold", t, cost=(p.ppa.price_per_mwh - p.ppa.resale_per_mwh[t]) / 1_000 * hours[t]
                )
                both[sold] = 1.0
                take[sold] = -hours[t] / 1_000
            rows.below.append((both, p.ppa.power_w[t] / 1_000))
        rows.below.append((take, -p.ppa.min_take_wh / 1e6))
    return rows.solve() + offset


def random_problem(seed: int) -> Problem:
    random = np.random.default_rng(seed)
    count = 16
    groups = [
        group(
            name,
            int(random.integers(3, 9)),
            ((1_500, 75 + 5 * number), (2_200, 95 + 5 * number), (3_000, 120 + 5 * number)),
            residual_w=float(random.choice([0.0, 30.0])),
            wake_s=float(random.choice([0.0, 300.0])),
            wear_per_start=float(random.choice([0.0, 0.01])),
            min_on_s=float(random.choice([0.0, 2_700.0])),
            min_off_s=float(random.choice([0.0, 1_800.0])),
            feeder=name,
        )
        for number, name in enumerate("ab")
    ]
    histories = []
    for machines in groups:
        on = int(random.integers(0, machines.count + 1))
        histories.append(
            GroupHistory(
                on_for_s=random.choice([300.0, 1_200.0, 90_000.0], on),
                off_for_s=random.choice([300.0, 1_200.0, 90_000.0], machines.count - on),
            )
        )
    maybe = lambda thing: thing if random.random() < 0.6 else None  # noqa: E731
    buy = random.normal(75, 45, count)
    demand = DemandCharge(name="d", price_per_kw=0.05, month_to_date_w=4_000.0, interval_s=1_800.0)
    battery = Battery(capacity_wh=8_000, power_w=4_000, stored_wh=3_000, wear_per_mwh=4.0, reserve_wh=500.0)
    carbon = Carbon(g_per_kwh=random.uniform(100, 600, count), price_per_t=20.0, budget_g=40_000.0)
    ppa = Ppa(
        name="ppa",
        price_per_mwh=50.0,
        power_w=random.choice([0.0, 9_000.0], count),
        min_take_wh=20_000.0,
        shortfall_per_mwh=30.0,
        resale_per_mwh=buy - 5,
    )
    event = Event(
        name="order",
        baseline_w=np.full(count, 20_000.0),
        committed_w=np.where(np.arange(count) // 3 == 3, 5_000.0, 0.0),
        emergency=True,
    )
    return problem(
        groups,
        buy,
        interval_s=900.0,
        sell_per_mwh=buy - 10,
        export_limit_w=float(random.choice([0.0, 5_000.0])),
        histories=histories,
        local_w=random.choice([0.0, 8_000.0], count),
        auxiliary_w=500.0,
        cooling_share=0.04,
        limits=[
            Limit(name="breaker", limit_w=np.full(count, 30_000.0)),
            Limit(name="feeder", limit_w=np.full(count, 14_000.0), feeder="b"),
        ],
        ramp=maybe(Ramp(up_w_per_s=12.0)),
        battery=maybe(battery),
        demand=[demand] if random.random() < 0.6 else [],
        coincident=[
            CoincidentPeak(name="cp", price_per_kw=0.4, chance=random.choice([0.0, 0.0, 0.3], count))
        ],
        carbon=maybe(carbon),
        ppa=maybe(ppa),
        events=[event] if random.random() < 0.5 else [],
    )


@pytest.mark.parametrize("seed", range(20))
def test_both_formulations_cost_the_same(seed: int) -> None:
    asked = random_problem(seed)
    assert Solver().solve(asked).cost == pytest.approx(independent_cost(asked), abs=1e-6, rel=1e-7)


def test_clean_energy_only_costs_the_same() -> None:
    asked = problem(
        [group(feeder="a")],
        [20.0, 60.0, -30.0, 80.0],
        clean=CleanOnly(contracted_w=np.array([9_000.0, 0.0, 40_000.0, 3_000.0])),
    )
    assert Solver().solve(asked).cost == pytest.approx(independent_cost(asked), abs=1e-9)
