"""What feeds and contracts say that no plan can be made of: the cause is named, and machines stay in a known state."""

from __future__ import annotations

import logging
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import msgspec
import pytest

from hashwerk.clock import VirtualClock
from hashwerk.site.energy import EnergyParts, EnergyService
from support.virtual_hall import VirtualDay, VirtualHall, open_service

START_S = 1_736_000_000 // 3_600 * 3_600  # 4 January 2025, 14:00 UTC
FIXED = """
name = "fixed"
currency = "EUR"
zone = "UTC"
source = "a test"
valid_from = 2025-01-01
valid_to = 2025-01-04

[[components]]
kind = "energy"
name = "energy"
rates = [{ name = "energy", per_kwh = "0.03" }]
"""


def iso(time_s: int) -> str:
    return datetime.fromtimestamp(time_s, UTC).isoformat()


def prices(folder: Path, *, hours: int = 72, **changes: Any) -> dict[str, Any]:
    lines = ["time,price", *(f"{iso(START_S - 86_400 + 3_600 * n)},40" for n in range(hours))]
    path = folder / "prices.csv"
    path.write_text("\n".join(lines) + "\n")
    column = {"column": "price", "signal": "price", "unit": "EUR/MWh", "currency": "EUR"}
    feed = {
        "kind": "file",
        "name": "prices",
        "path": str(path),
        "resolution_s": 3_600,
        "published": "day ahead",
        "zone": "UTC",
    }
    return feed | {"columns": [column | changes.pop("column", {})]} | changes


async def driven(
    folder: Path, feed: dict[str, Any] | None, *, seconds: float = 600.0, **parts: Any
) -> tuple[VirtualHall, EnergyService]:
    clock = VirtualClock(float(START_S))
    hall = VirtualHall(clock, "antminer-s19jpro", machines=5)
    dispatch = {"controls": True, "policy": "optimiser", "hashprice": {"per_ph_day": 45.0}}
    values = {"dispatch": dispatch, "feeds": [] if feed is None else [feed]} | parts
    service = open_service(hall, clock, folder, msgspec.convert(values, EnergyParts))
    await service.planner.signals.poll_all()
    await VirtualDay(service, clock, step_s=30.0).drive(seconds)
    return hall, service


async def test_a_feed_whose_price_plans_cannot_take_says_why(tmp_path: Path) -> None:
    feed = prices(tmp_path, column={"unit": "EUR/kWh"})
    hall, service = await driven(tmp_path, feed)
    (told,) = service.view().feeds
    assert (told.state, told.text) == ("not used", "its price is in EUR/kWh, plans are made in EUR/MWh")
    assert "machines stay as they are" in service.view().sentence
    assert hall.on() == 5
    await service.close()


async def test_a_file_whose_prices_end_before_now_says_until_when_it_knows(tmp_path: Path) -> None:
    feed = prices(tmp_path, hours=20)
    hall, service = await driven(tmp_path, feed)
    (told,) = service.view().feeds
    assert told.text == "its prices are known until 2025-01-04T10:00:00Z: it tells none of this moment"
    assert hall.on() == 5
    await service.close()


async def test_a_contract_with_prices_of_its_own_waits_for_no_feed(tmp_path: Path) -> None:
    (tmp_path / "fixed.toml").write_text(FIXED)
    feed = prices(tmp_path, hours=20)
    hall, service = await driven(tmp_path, feed, energy={"tariff": {"name": str(tmp_path / "fixed.toml")}})
    view = service.view()
    assert view.stance == "free", view.reasons
    assert view.price_per_mwh == pytest.approx(30.0)
    assert view.plan is not None
    assert any(
        "holds from 2025-01-01 before 2025-01-04, not on 2025-01-04" in one for one in view.plan.remarks
    )
    assert hall.on() == 5
    await service.close()


async def test_why_there_is_no_plan_is_logged_once(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    energy = {"tariff": {"name": "sichuan-time-of-use"}}
    with caplog.at_level(logging.WARNING):
        hall, service = await driven(tmp_path, None, seconds=1_500.0, energy=energy)
    told = [one.getMessage() for one in caplog.records if "there is no plan" in one.getMessage()]
    assert told == ["there is no plan: the tariff is in CNY, plans are in EUR: set currency in [dispatch]"]
    assert hall.on() == 5
    await service.close()


async def test_energy_without_any_price_is_said_to_be_taken_for_free(tmp_path: Path) -> None:
    _, service = await driven(tmp_path, None, seconds=60.0)
    assert any("no feed tells a price" in one for one in service.view().assumptions)
    await service.close()


async def test_the_bill_of_the_month_starts_from_the_markets_price_and_not_from_what_a_mwh_costs(
    tmp_path: Path,
) -> None:
    energy = {"tariff": {"name": "germany-day-ahead-2025"}}
    _, service = await driven(tmp_path, prices(tmp_path), seconds=1_900.0, energy=energy)
    await service.account_once()
    first, second = service.record.quarters(START_S, START_S + 1_800)
    assert first.price_per_mwh is not None
    assert first.price_per_mwh > 100.0, "fees and taxes included"
    assert (first.market_per_mwh, second.market_per_mwh) == (40.0, 40.0)
    bill = service.view().bill
    assert bill is not None
    amounts = {line.text: line.amount for line in bill.lines}
    assert float(amounts["energy, day-ahead"]) == pytest.approx(bill.import_wh / 1e6 * 43.5, abs=0.006)
    await service.close()
