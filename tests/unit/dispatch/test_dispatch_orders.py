"""Orders, baselines, delivery, and the record of it."""

from __future__ import annotations

from decimal import Decimal

import msgspec
import numpy as np
import pytest

from hashwerk.dispatch.baselines import BaselineKind, MeterSeries, high_4_of_5, meter_before, settle_order
from hashwerk.dispatch.orders import Cancel, Order, OrderBook, OrderKind, laggards
from hashwerk.dispatch.policies.always_on import AlwaysOn
from hashwerk.errors import DispatchError
from support.dispatch import MIDNIGHT_S, group, problem

HOUR_S = 3_600.0


def order(**more: object) -> Order:
    values: dict[str, object] = {
        "id": "17", "source": "api", "kind": OrderKind.REDUCE_TO, "amount_w": 6_000.0, "received_s": MIDNIGHT_S,
        "start_s": MIDNIGHT_S + HOUR_S, "stop_s": MIDNIGHT_S + 2 * HOUR_S, "restore_s": 0.0,
    }  # fmt: skip
    return Order(**(values | more))  # type: ignore[arg-type]


def obeyed(book: OrderBook, **more: object) -> list[float]:
    asked = problem([group()], [20.0] * 4, auxiliary_w=1_000.0, **more)
    return AlwaysOn().plan(book.applied_to(asked)).import_w.tolist()


def test_reduce_to_reduce_by_and_all() -> None:
    book = OrderBook()
    book.receive(order())
    assert obeyed(book) == [31_000, 5_500, 31_000, 31_000]
    by = order(kind=OrderKind.REDUCE_BY, amount_w=20_000.0)
    book.receive(by)  # the same id replaces the first
    book.set_baseline(by, 31_000.0)
    assert obeyed(book) == [31_000, 10_000, 31_000, 31_000]
    book.receive(order(kind=OrderKind.ALL, amount_w=None))
    assert obeyed(book) == [31_000, 1_000, 31_000, 31_000]


def test_all_means_all_even_where_own_generation_would_carry_them() -> None:
    book = OrderBook()
    book.receive(order(kind=OrderKind.ALL, amount_w=None))
    asked = problem([group()], [20.0] * 4, local_w=50_000.0)
    assert AlwaysOn().plan(book.applied_to(asked)).on[0].tolist() == [10, 0, 10, 10]


def test_a_baseline_is_fixed_once_and_must_be_known() -> None:
    book, by = OrderBook(), order(kind=OrderKind.REDUCE_BY)
    book.receive(by)
    with pytest.raises(DispatchError, match="baseline that has not been measured"):
        book.target_w(by)
    book.set_baseline(by, 31_000.0)
    book.set_baseline(by, 99_000.0)
    assert book.target_w(by) == 25_000.0


def test_the_end_of_an_order_before_its_time_or_before_it_began() -> None:
    book = OrderBook()
    book.receive(order(stop_s=None))
    assert obeyed(book) == [31_000, 5_500, 5_500, 5_500]
    book.receive(Cancel(id="17", source="api", received_s=MIDNIGHT_S + 3 * HOUR_S))
    assert obeyed(book) == [31_000, 5_500, 5_500, 31_000]
    book.receive(order(id="18"))
    assert book.receive(Cancel(id="18", source="api", received_s=MIDNIGHT_S)) is not None
    assert len(book.ahead(MIDNIGHT_S, MIDNIGHT_S + 9e4)) == 1
    assert book.receive(Cancel(id="?", source="api", received_s=0.0)) is None
    assert [o.id for o in book.active(MIDNIGHT_S + 2.5 * HOUR_S)] == ["17"]


def test_power_is_given_back_in_stages() -> None:
    book = OrderBook()
    book.receive(order(restore_s=2 * HOUR_S))
    assert obeyed(book) == [31_000, 5_500, 5_500, 17_500]


def test_after_an_order_for_all_nobody_wakes_at_once_either() -> None:
    book = OrderBook()
    book.receive(order(kind=OrderKind.ALL, amount_w=None, restore_s=2 * HOUR_S))
    assert obeyed(book) == [31_000, 1_000, 1_000, 16_000]


def test_orders_that_make_no_sense_are_refused() -> None:
    for more in ({"amount_w": None}, {"amount_w": -1.0}, {"stop_s": MIDNIGHT_S}, {"kind": OrderKind.ALL}):
        with pytest.raises(ValueError, match="order 17"):
            order(**more)


def test_an_order_travels_as_json() -> None:
    assert msgspec.json.decode(msgspec.json.encode(order()), type=Order) == order()


def days_of_power() -> MeterSeries:
    """Quarter hours of ten days before the event's day; day n back draws 1000·n W, weekends nothing."""
    power = []
    for back in range(10, -1, -1):
        day = int(MIDNIGHT_S // 86_400) - back
        weekend = (day + 3) % 7 >= 5
        power += [0.0 if weekend else 1_000.0 * back] * 96
    return MeterSeries(start_s=MIDNIGHT_S - 10 * 86_400, interval_s=900.0, power_w=np.array(power))


def test_high_4_of_5_takes_working_days_drops_the_lowest_and_earlier_events() -> None:
    # MIDNIGHT_S is a Monday: the last working days are 3, 4, 5, 6, 7 days back; the lowest, 3 back, is dropped.
    baseline_w = high_4_of_5(days_of_power(), MIDNIGHT_S + 36_000, MIDNIGHT_S + 43_200)
    assert baseline_w == pytest.approx([5_500.0] * 8)
    without = high_4_of_5(
        days_of_power(),
        MIDNIGHT_S + 36_000,
        MIDNIGHT_S + 43_200,
        excluded_days=[int(MIDNIGHT_S // 86_400) - 7],
    )
    assert without == pytest.approx([(10_000 + 6_000 + 5_000 + 4_000) / 4] * 8)
    with pytest.raises(DispatchError, match="of five days"):
        high_4_of_5(days_of_power(), MIDNIGHT_S, MIDNIGHT_S + 900, reach_back_days=5)


def test_meter_before_is_the_mean_before_and_not_of_gaps() -> None:
    power = np.array([1.0, 2.0, np.nan, 4.0]) * 1_000
    meter = MeterSeries(start_s=0.0, interval_s=300.0, power_w=power)
    assert meter_before(meter, 1_200.0, window_s=1_200.0) == pytest.approx(7_000 / 3)
    with pytest.raises(DispatchError, match="readings before the order are missing"):
        meter_before(meter, 900.0, window_s=300.0)


def test_the_record_counts_what_was_measured_and_no_more() -> None:
    power = np.array([30, 30, 20, 10.5, 10, np.nan, 12, 30]) * 1_000.0
    meter = MeterSeries(start_s=0.0, interval_s=60.0, power_w=power)
    record = settle_order(
        order_id="17", source="api", baseline=BaselineKind.METER_BEFORE, baseline_w=30_000.0, meter=meter,
        start_s=120.0, stop_s=420.0, target_w=10_000.0, pay_per_mwh=Decimal(300),
    )  # fmt: skip
    assert record.delivered_wh == pytest.approx((10 + 19.5 + 20 + 18) * 1_000 / 60)
    assert record.response_s == 60.0
    assert record.missing_intervals == 1
    assert not record.is_complete
    assert record.measured_w[3] is None
    assert record.worst_above_w == pytest.approx(2_000.0)
    assert record.income == Decimal("0.34")


def test_a_machine_that_does_not_sleep_is_named_with_what_to_do() -> None:
    powers = [("a", 25.0, 20.0), ("b", 2_900.0, 20.0), ("c", None, 20.0)]
    assert laggards(powers, 30.0) == ()
    named = laggards(powers, 61.0)
    assert [laggard.machine for laggard in named] == ["b", "c"]
    assert "2,900 W" in named[0].what_to_do
    assert "does not answer" in named[1].what_to_do
