"""High 4 of 5: the four highest of the last five days like the order's, from weeks on record, a restart between."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest

from hashwerk.clock import VirtualClock
from hashwerk.dispatch.baselines import BaselineKind
from hashwerk.dispatch.orders import Order, OrderKind
from hashwerk.site.energy.curtailment import Curtailment
from hashwerk.site.energy.record import EnergyRecord, OrderRecord, Quarter

#: A Friday in the zone of the site.
ZONE = ZoneInfo("America/New_York")
DAY = datetime(2025, 7, 18, tzinfo=ZONE)


def order(day: datetime, name: str, **changes: object) -> Order:
    start = day + timedelta(hours=14, minutes=10)
    values: dict[str, object] = {
        "id": name,
        "source": "api:grid",
        "kind": OrderKind.REDUCE_BY,
        "received_s": start.timestamp() - 600,
        "start_s": start.timestamp(),
        "stop_s": (start + timedelta(hours=1)).timestamp(),
        "amount_w": 100_000.0,
        "baseline": BaselineKind.HIGH_4_OF_5,
    }
    return Order(**(values | changes))  # type: ignore[arg-type]


def quarters(day: datetime, power_w: float, *, gap: bool = False) -> list[Quarter]:
    """Return a day's quarters of an hour, in all the same power; with ``gap`` one of the order's hours is not known."""
    first = int(day.timestamp())
    return [
        Quarter(start_s=first + 900 * n, covered_s=100.0 if gap and n == 57 else 900.0, import_wh=power_w / 4)
        for n in range(96)
    ]


def test_like_days_are_found_in_weeks_on_record(tmp_path: Path) -> None:
    record = EnergyRecord(tmp_path / "energy.sqlite")
    record.open()
    # Back from the day: Thursday … ; weekends do not count, nor a day with a gap, nor one with an order.
    powers = {1: 900e3, 2: 800e3, 3: 700e3, 4: 9e9, 5: 9e9, 6: 9e9, 7: 600e3, 8: 9e9, 9: 500e3, 10: 400e3}
    days = []
    for back, power_w in powers.items():
        day = DAY - timedelta(days=back)
        assert (power_w == 9e9) == (back in {4, 5, 6, 8}), "a gap, a weekend, an order"
        days += quarters(day, power_w, gap=back == 4)
    record.add([], sorted(days, key=lambda one: one.start_s))
    record.put_order(OrderRecord(order=order(DAY - timedelta(days=8), "earlier")))
    record.close()

    again = EnergyRecord(tmp_path / "energy.sqlite")
    again.open()
    now = order(DAY, "now")
    clock = VirtualClock(now.start_s - 60)
    curtailment = Curtailment(again, clock, record_every_s=10.0)
    curtailment.receive(now)
    curtailment.fix_baselines(clock.time(), [], 750e3, 300.0, ZONE)
    # Of 900, 800, 700, 600 and 500 kW the four highest.
    assert curtailment.book.baseline_w(now) == pytest.approx(750e3)
    (view,) = curtailment.views(750e3)
    assert view.baseline == "high 4 of 5: the four highest of the five last days like it"
    again.close()


def test_without_five_such_days_the_meter_before_is_taken(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    record = EnergyRecord(tmp_path / "energy.sqlite")
    record.open()
    record.add([], quarters(DAY - timedelta(days=1), 1e6))
    now = order(DAY, "now")
    clock = VirtualClock(now.start_s - 60)
    curtailment = Curtailment(record, clock, record_every_s=10.0)
    curtailment.receive(now)
    curtailment.fix_baselines(clock.time(), [], 640e3, 300.0, UTC)
    assert curtailment.book.baseline_w(now) == 640e3
    assert "1 of five days like the event's" in caplog.text
    record.close()
