"""What a running plan serves besides prices: reserve that was sold, a contract to take, a battery, an order announced."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any
from zoneinfo import ZoneInfo

import msgspec
import numpy as np
import pytest

from hashwerk.dispatch.grid import Grid
from hashwerk.dispatch.modes import Mode
from hashwerk.dispatch.orders import Order, OrderBook, OrderKind
from hashwerk.dispatch.settings import BatterySettings, DispatchSettings, ReserveSettings
from hashwerk.energy.series import SeriesInfo, make_series
from hashwerk.energy.settings import EnergySettings, SourceSettings
from hashwerk.fleet.limits import Limits
from hashwerk.fleet.machine import Capability
from hashwerk.fleet.states import State
from hashwerk.site.energy.groups import make_herds
from hashwerk.site.energy.obligations import (
    Contract,
    contract_of,
    month_stop_s,
    plan_contract,
    plan_reserves,
    taken_wh,
)
from hashwerk.site.energy.planning import Known, make_plan, make_policy
from hashwerk.site.energy.ports import MachineNow
from hashwerk.site.energy.record import Quarter

NOW = datetime(2025, 7, 8, tzinfo=UTC).timestamp()
MODES = (Mode(name="Super", power_w=1_700, hashrate_hs=90e12),)
#: Machines earn 100 EUR/MWh; these hours cost more, or less.
DEAR, CHEAP = 150.0, 20.0


def plan_of(
    prices: list[float], settings: DispatchSettings, **changes: Any
) -> tuple[Any, Any, tuple[str, ...]]:
    machines = [
        MachineNow(
            key=f"m{number}",
            model="Avalon Q",
            state=State.HASHING,
            since=NOW - 86_400,
            capabilities=Capability.SLEEP | Capability.MODE,
            modes=MODES,
            mode="Super",
            power_w=1_700.0,
            idle_w=10.0,
        )
        for number in range(20)
    ]
    info = SeriesInfo(name="p", unit="EUR/MWh", resolution_s=3_600, source="test", currency="EUR")
    starts = NOW + 3_600 * np.arange(len(prices))
    values: dict[str, Any] = {
        "now": NOW,
        "herds": tuple(make_herds(machines, Limits(), NOW)),
        "orders": OrderBook(),
        "price": make_series(info, starts, prices, published_s=int(NOW) - 86_400),
        "carbon": None,
        "generation": None,
        "hashprice_per_ph_day": 100 * 24 * 1.7 / 90,
        "generation_w": 0.0,
        "auxiliary_w": 0.0,
        "cooling_share": 0.0,
        "import_w": None,
        "month_peaks_w": {},
    }
    return make_plan(Known(**(values | changes)), settings, make_policy(settings))


def test_what_was_sold_as_reserve_stays_on() -> None:
    sold = ReserveSettings(name="aFRR", sold_kw=17.0, from_hour=2, to_hour=4)
    settings = DispatchSettings(horizon_h=6.0, reserves=(sold,))
    _, schedule, _ = plan_of([DEAR] * 6, settings)
    on = schedule.on.sum(axis=0)
    hour = (schedule.grid.starts_s - NOW) // 3_600
    # Seventeen kilowatts are a little more than ten machines whose sleep leaves 10 W.
    assert set(on[(hour >= 2) & (hour < 4)].tolist()) == {11}
    assert set(on[(hour < 2) | (hour >= 4)].tolist()) == {0}


def test_hours_of_a_reserve_are_local_and_may_pass_midnight() -> None:
    grid = Grid(NOW + 3_600.0 * np.arange(24), np.full(24, 3_600.0))
    night = ReserveSettings(name="night", sold_kw=1.0, from_hour=22, to_hour=2)
    (found,) = plan_reserves(grid, [night], ZoneInfo("Europe/Berlin"))
    assert np.flatnonzero(found.sold_w).tolist() == [20, 21, 22, 23]
    (whole,) = plan_reserves(grid, [ReserveSettings(name="all", sold_kw=1.0)], UTC)
    assert (whole.sold_w == 1_000).all()


def contract(**changes: Any) -> SourceSettings:
    values = {"name": "Dam", "kind": "contract", "fuel": "hydro", "power_kw": 34.0, "price_per_mwh": 140}
    values |= {"min_take_mwh": 20, "shortfall_per_mwh": 90}
    return msgspec.convert(values | changes, SourceSettings)


def test_a_contract_is_taken_where_not_taking_it_costs_more() -> None:
    settings = DispatchSettings(horizon_h=6.0)
    # The month ends with the plan, and 0.2 MWh are left: each not taken costs 90, each hashed with loses 40.
    left = Contract(source=contract(), taken_wh=19.8e6, period_stop_s=NOW + 6 * 3_600)
    _, schedule, _ = plan_of([DEAR] * 6, settings, contract=left)
    assert float((schedule.import_w * schedule.grid.hours).sum()) == pytest.approx(200_000, rel=0.03)
    # With weeks to go nothing must be taken now.
    early = Contract(source=contract(), taken_wh=19.8e6, period_stop_s=NOW + 20 * 86_400)
    _, schedule, _ = plan_of([DEAR] * 6, settings, contract=early)
    assert schedule.on.max() == 0


def test_what_is_left_of_a_contract() -> None:
    grid = Grid(NOW + 3_600.0 * np.arange(2), np.full(2, 3_600.0))
    market = np.array([50.0, np.nan])
    later = Contract(source=contract(resold=True), taken_wh=19.9e6, period_stop_s=NOW + 3 * 3_600)
    found = plan_contract(grid, later, market)
    assert found is not None
    assert found.min_take_wh == pytest.approx(100_000 - 34_000), (
        "an hour is left in which it can be taken, too"
    )
    assert found.resale_per_mwh is not None
    assert found.resale_per_mwh.tolist() == [50.0, 0.0]
    assert plan_contract(grid, None, market) is None
    energy = EnergySettings(sources=(contract(power_kw=None, name="old"), contract()))
    assert contract_of(energy.sources) == contract()
    quarters = [
        Quarter(start_s=900 * n, covered_s=900.0 if n else 10.0, import_wh=wh)
        for n, wh in enumerate((9e3, 4e3, 9e3))
    ]
    assert taken_wh(contract(), quarters) == 4_000 + 8_500
    assert month_stop_s(NOW, UTC) == datetime(2025, 8, 1, tzinfo=UTC).timestamp()
    december = datetime(2025, 12, 31, 23, 30, tzinfo=UTC).timestamp()
    assert month_stop_s(december, UTC) == datetime(2026, 1, 1, tzinfo=UTC).timestamp()


def test_a_battery_is_planned_with_where_its_content_is_known() -> None:
    settings = DispatchSettings(horizon_h=6.0, battery=BatterySettings(capacity_kwh=40, power_kw=20))
    prices = [CHEAP, CHEAP, CHEAP, 300.0, 300.0, 300.0]
    _, _, remarks = plan_of(prices, settings)
    assert "the battery is left out: no feed tells how full it is" in remarks
    problem, schedule, remarks = plan_of(prices, settings, battery_content=0.5, auxiliary_w=5_000.0)
    assert any("recommendation" in text for text in remarks)
    assert problem.battery.stored_wh == 20_000
    hour = (schedule.grid.starts_s - NOW) // 3_600
    assert schedule.charge_w[hour < 3].sum() > 0
    assert schedule.discharge_w[hour >= 3].sum() > 0
    assert schedule.stored_wh.min() >= 4_000 - 1e-6


def test_an_announced_order_is_planned_for() -> None:
    book = OrderBook()
    start_s = NOW + 2 * 3_600
    book.receive(
        Order(
            id="1",
            source="openadr:utility",
            kind=OrderKind.REDUCE_TO,
            received_s=NOW,
            start_s=start_s,
            stop_s=start_s + 3_600,
            amount_w=17_100.0,
            restore_s=0.0,
        )
    )
    _, schedule, _ = plan_of([CHEAP] * 6, DispatchSettings(horizon_h=6.0), orders=book)
    during = (schedule.grid.starts_s >= start_s) & (schedule.grid.ends_s <= start_s + 3_600)
    assert schedule.import_w[during].max() <= 17_100
    assert schedule.on.sum(axis=0)[during].min() == 10
    assert schedule.on.sum(axis=0)[0] == 20
