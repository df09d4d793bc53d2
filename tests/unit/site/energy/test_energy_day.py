"""A whole day of the running energy on a virtual clock: the twin's physics, recorded prices, orders, a restart."""

from __future__ import annotations

import csv
import math
import random
from pathlib import Path
from typing import Any

import msgspec
import pyarrow.parquet
import pytest

from hashwerk.clock import VirtualClock
from hashwerk.dispatch.orders import Cancel, Order, OrderKind
from hashwerk.fleet.commands import Sleep
from hashwerk.fleet.limits import Limits
from hashwerk.site.energy import EnergyParts, EnergyService
from support.virtual_hall import VirtualDay, VirtualHall, open_service

DATA = Path(__file__).resolve().parents[5] / "shared" / "data"
#: Tuesday, 8 July 2025, 00:00 UTC: a summer's day with prices above and below what an Avalon Q earns.
DAY_S = 1_751_932_800
HOUR_S = 3_600
STEP_S = 60.0


def recorded_prices() -> list[tuple[int, float]]:
    path = DATA / "smard_prices_2025.parquet"
    if not path.exists():
        pytest.skip(f"{path.name} is not there")
    table = pyarrow.parquet.read_table(path)
    names = table.column_names
    zone = "price_de_lu_eur_mwh"
    starts = [int(value.timestamp()) for value in table.column(names[0]).to_pylist()]
    return [
        (start, float(value))
        for start, value in zip(starts, table.column(zone).to_pylist(), strict=True)
        if value is not None and DAY_S - 86_400 <= start < DAY_S + 3 * 86_400
    ]


def price_file(folder: Path, rows: list[tuple[int, float]], resolution_s: int = HOUR_S) -> dict[str, Any]:
    path = folder / "prices.csv"
    with path.open("w", newline="") as stream:
        writer = csv.writer(stream)
        writer.writerow(["time", "published", "price"])
        writer.writerows([start, rows[0][0] - 86_400, price] for start, price in rows)
    return {
        "kind": "file",
        "name": "recorded prices",
        "path": str(path),
        "resolution_s": resolution_s,
        "published_column": "published",
        "columns": [{"column": "price", "signal": "price", "unit": "EUR/MWh", "currency": "EUR"}],
        "watch": {"max_age_s": 10 * 86_400.0},
    }


def parts_of(feeds: list[dict[str, Any]], **dispatch: Any) -> EnergyParts:
    values = {
        "controls": True,
        "policy": "marginal strike",
        "hashprice": {"per_ph_day": 45.0, "pool_fee": 0.0, "reject_share": 0.0},
    }
    return msgspec.convert({"dispatch": values | dispatch, "feeds": feeds}, EnergyParts)


async def started(hall: VirtualHall, clock: VirtualClock, folder: Path, parts: EnergyParts) -> EnergyService:
    service = open_service(hall, clock, folder, parts)
    await service.planner.signals.poll_all()
    return service


async def test_a_hall_follows_a_recorded_day_and_nobody_wears_out(tmp_path: Path) -> None:
    prices = recorded_prices()
    clock = VirtualClock(float(DAY_S))
    hall = VirtualHall(clock, "antminer-s19jpro", machines=12, limits=Limits(starts_a_day=4), house_w=800.0)
    service = await started(hall, clock, tmp_path, parts_of([price_file(tmp_path, prices)]))
    price_at = dict(prices)
    strike = 45.0 * 104e12 / 1e15 / 24 / (hall.power_w() / 12 / 1e6)  # 104 TH/s at the twin's own power
    seen: list[tuple[float, float, int]] = []

    def look(now: float) -> None:
        into_hour_s = now % HOUR_S
        if into_hour_s > 1_500:  # woken, ramped up, and planned anew
            seen.append((now, price_at[int(now // HOUR_S) * HOUR_S], hall.on()))

    await VirtualDay(service, clock, step_s=60.0).drive(86_400, look)
    clear = [(price, on) for _, price, on in seen if abs(price - strike) > 0.15 * strike]
    assert {on for price, on in clear if price > strike} == {0}
    assert {on for price, on in clear if price < strike} == {12}
    assert max(len(machine.starts) for machine in hall.all) <= 4
    assert len(hall.told) <= 2 * 4 + 2, "an order a change, and none when nothing changes"
    history = await service.history(DAY_S, DAY_S + 86_400, 900)
    assert len(history.at_s) == 96
    assert max(w for w in history.measured_w if w) > 30_000
    view = service.view()
    assert view.measured_by == "meter of the site"
    assert view.stance == "free"
    assert "machines" in view.sentence
    assert len(msgspec.json.encode(view)) > 1_000
    await service.close()


async def test_an_order_is_delivered_measured_recorded_and_survives_the_process(tmp_path: Path) -> None:
    clock = VirtualClock(float(DAY_S))
    hall = VirtualHall(clock, "antminer-s19jpro", "avalon-q", machines=20, house_w=500.0)
    parts = parts_of([], policy="always on")
    service = await started(hall, clock, tmp_path, parts)
    day = VirtualDay(service, clock, step_s=5.0)
    await day.drive(1_200)
    before_w = hall.power_w() + hall.house_w
    assert service.import_w == pytest.approx(before_w, rel=0.01)
    idle_w = sum(machine.model.idle_w for machine in hall.all)
    assert service.sheddable_w() == pytest.approx(hall.power_w() - idle_w, rel=0.01)
    target_w = 0.4 * before_w
    order = Order(
        id="c1",
        source="api:grid",
        kind=OrderKind.REDUCE_TO,
        received_s=clock.time(),
        start_s=clock.time(),
        stop_s=clock.time() + 1_800,
        amount_w=target_w,
        restore_s=600.0,
    )
    shown = service.receive(order)
    assert shown is not None
    assert shown.state == "active"
    await day.drive(60)
    assert hall.power_w() + hall.house_w <= 1.02 * target_w, "within a minute, by the meter"
    await service.close()  # the process dies; the machines do not

    service = await started(hall, clock, tmp_path, parts)
    day = VirtualDay(service, clock, step_s=5.0)
    await day.drive(900)
    taken = service.order("c1")
    assert taken is not None
    assert taken.baseline_w == pytest.approx(before_w, rel=0.02), "fixed once, by the first process"
    assert taken.reached_s is not None
    assert taken.reached_s - order.start_s <= 60
    assert hall.power_w() + hall.house_w <= 1.02 * target_w

    stop_s = order.stop_s or 0.0
    await day.drive(stop_s - clock.time() + 60)
    first_w = hall.power_w() + hall.house_w
    assert first_w < 0.8 * before_w, "given back in stages"
    assert "“giving back after order c1” leaves no room for more" in service.view().sentence
    await day.drive(1_200)
    assert hall.power_w() + hall.house_w == pytest.approx(before_w, rel=0.05)
    over = service.order("c1")
    assert over is not None
    assert over.settlement is not None
    assert over.state == "over"
    delivered_wh = float(over.settlement["delivered"].removesuffix(" kWh").replace(",", "")) * 1e3
    assert delivered_wh == pytest.approx(0.6 * before_w * 0.5, rel=0.1)
    await service.close()


async def test_an_emergency_needs_no_plan_and_a_deaf_machine_is_named(tmp_path: Path) -> None:
    clock = VirtualClock(float(DAY_S))
    hall = VirtualHall(clock, "antminer-s19jpro", machines=6)
    service = await started(hall, clock, tmp_path, parts_of([]))  # marginal strike at a price of 0
    day = VirtualDay(service, clock, step_s=5.0)
    await day.drive(300)
    hall.all[2].is_deaf = True
    order = Order(
        id="stop", source="modbus:rtu", kind=OrderKind.ALL, received_s=clock.time(), start_s=clock.time()
    )
    service.receive(order)
    await service.steer_once()  # one look, and no plan was made
    assert hall.told[-1][1] == Sleep()
    assert len(hall.told[-1][2]) == 6
    assert hall.told[-1][4] is True
    await day.drive(180)
    view = service.view()
    assert view.stance == "stop"
    assert "stop" in view.sentence
    shown = view.orders[0]
    assert [text.partition(":")[0] for text in shown.laggards] == ["mac"]
    assert "mac:0002" in shown.laggards[0]
    assert "still draws" in shown.laggards[0]
    hall.all[2].is_deaf = False
    service.receive(Cancel(id="stop", source="modbus:rtu", received_s=clock.time()))
    await day.drive(1_500)
    assert hall.on() == 6
    assert service.view().stance == "free"
    await service.close()


async def test_nothing_is_told_until_the_file_says_so_and_the_plan_is_shown_all_the_same(
    tmp_path: Path,
) -> None:
    clock = VirtualClock(float(DAY_S))
    hall = VirtualHall(clock, "antminer-s19jpro", machines=4)
    rows = [(DAY_S + hour * HOUR_S, 500.0) for hour in range(-24, 48)]
    service = await started(hall, clock, tmp_path, parts_of([price_file(tmp_path, rows)], controls=False))
    await VirtualDay(service, clock).drive(600)
    assert hall.told == []
    view = service.view()
    assert view.controls is False
    assert view.sentence.endswith("nothing is commanded.")
    assert "4 of 4 machines sleep" in view.sentence
    assert [(group.action, group.running) for group in view.groups] == [("sleeps", 0)]
    await service.close()


async def test_without_a_believable_price_machines_do_as_declared(tmp_path: Path) -> None:
    clock = VirtualClock(float(DAY_S))
    hall = VirtualHall(clock, "antminer-s19jpro", machines=4)
    rows = [(DAY_S + hour * HOUR_S, 20.0) for hour in range(-24, 2)]  # the record ends at two
    feed = price_file(tmp_path, rows)
    service = await started(hall, clock, tmp_path, parts_of([feed], when_price_stale="curtail"))
    day = VirtualDay(service, clock, step_s=30.0)
    await day.drive(2 * HOUR_S - 60)
    assert hall.on() == 4
    await day.drive(600)
    assert hall.on() == 0
    view = service.view()
    assert view.stance == "curtail"
    assert "price" in view.sentence
    await service.close()


async def test_a_machine_held_by_somebody_else_is_not_ours_and_a_hot_one_sleeps(tmp_path: Path) -> None:
    clock = VirtualClock(float(DAY_S))
    hall = VirtualHall(clock, "antminer-s19jpro", machines=4)
    hall.all[0].held_by = "maintenance bob"
    hall.all[3].chip_c = 104.0
    service = await started(hall, clock, tmp_path, parts_of([], policy="always on"))
    await VirtualDay(service, clock).drive(300)
    assert {key for _, command, keys, _, _ in hall.told for key in keys if command == Sleep()} == {"mac:0003"}
    groups = {group.action: group for group in service.view().groups}
    assert groups["runs"].machines == 3
    assert groups["not ours"].machines == 1
    assert "maintenance bob" in groups["not ours"].sentence
    await service.close()


async def test_a_roof_at_home_feeds_the_house_first_and_nobody_wears_out_under_clouds(tmp_path: Path) -> None:
    clock = VirtualClock(float(DAY_S))
    hall = VirtualHall(clock, "avalon-nano3s", machines=8, limits=Limits(starts_a_day=6), house_w=250.0)
    chance = random.Random(3)
    clouds = [chance.choice((0.3, 0.6, 1.0, 1.0)) for _ in range(24 * 12)]

    def roof_w(now: float) -> float:
        hour = (now - DAY_S) / HOUR_S
        sun = max(0.0, math.sin((hour - 6) / 12 * math.pi))
        return 2_000.0 * sun * clouds[int(hour * 12) % len(clouds)]

    hall.own_w = roof_w
    parts = msgspec.convert(
        {
            "dispatch": {
                "controls": True,
                "policy": "surplus only",
                "hashprice": {"per_ph_day": 45.0},
                "follower": {"dead_band_w": 60.0, "up_wait_s": 300.0, "sleep_wait_s": 300.0},
            },
            "energy": {"sources": [{"name": "Roof", "kind": "own", "fuel": "solar"}]},
        },
        EnergyParts,
    )
    service = await started(hall, clock, tmp_path, parts)
    bought_wh = used_wh = 0.0
    at_night: list[int] = []

    def look(now: float) -> None:
        nonlocal bought_wh, used_wh
        machines_w = hall.power_w() - 8 * hall.all[0].model.idle_w
        if now > DAY_S + 1_800:
            bought_wh += (
                max(0.0, min(machines_w, hall.house_w + hall.power_w() - roof_w(now))) * STEP_S / 3_600
            )
            used_wh += machines_w * STEP_S / 3_600
        if now % 86_400 > 20 * HOUR_S or 3_600 < now % 86_400 < 4 * HOUR_S:
            at_night.append(hall.on())

    await VirtualDay(service, clock, step_s=STEP_S).drive(86_400, look)
    assert set(at_night) == {0}
    assert max(len(machine.starts) for machine in hall.all) <= 6
    assert used_wh > 2_000
    assert bought_wh < 0.25 * used_wh, "clouds come faster than machines wake"
    view = service.view()
    assert {source.name: source.fuel for source in view.sources} == {"Roof": "solar", "grid": "mix"}
    await service.close()
