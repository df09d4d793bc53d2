"""What events of OpenADR 2.0b order. Each is written by openleadr as a VTN sends it, and read back as a VEN gets it."""

from __future__ import annotations

import datetime
from typing import Any

import pytest
from openleadr import messaging, objects

from hashwerk.dispatch.orders import OrderKind
from hashwerk.grid_orders.openadr_event import Event, read_event
from hashwerk.grid_orders.settings import OpenAdrOrders

START = datetime.datetime(2026, 3, 29, 0, 30, tzinfo=datetime.UTC)  # over the change to summer time
TO, BY, ALL = OrderKind.REDUCE_TO, OrderKind.REDUCE_BY, OrderKind.ALL


def minutes(number: float) -> datetime.timedelta:
    return datetime.timedelta(minutes=number)


SETTINGS = OpenAdrOrders(
    name="openadr", url="https://vtn.example", ven_name="mine", levels_kw={"1": 800.0, "2": 400.0}, site_kw=1_000.0
)  # fmt: skip
WATTS = {
    "name": "powerReal", "description": "RealPower", "unit": "W",
    "power_attributes": {"hertz": 50, "voltage": 230, "ac": True},
}  # fmt: skip


def signal(name: str, kind: str, *values: float, every: float = 15, scale: str | None = None) -> Any:
    starts = [START + minutes(every * number) for number in range(len(values))]
    return objects.EventSignal(
        signal_name=name, signal_type=kind, signal_id="s",
        intervals=[
            objects.Interval(dtstart=start, duration=minutes(every), signal_payload=value)
            for start, value in zip(starts, values, strict=True)
        ],
        measurement=None if scale is None else objects.Measurement(**WATTS | {"scale": scale}),
    )  # fmt: skip


def read(
    *signals: Any, settings: OpenAdrOrders = SETTINGS, status: str = "far", period: dict[str, Any] | None = None, **words: Any
) -> Event:  # fmt: skip
    """Return an event as it is understood after a journey through XML."""
    event = objects.Event(
        event_descriptor=objects.EventDescriptor(
            event_id="7", modification_number=words.pop("modification", 0), market_context="oadr://grid.example",
            event_status="far", created_date_time=START, **words,
        ),
        event_signals=list(signals),
        targets=[objects.Target(ven_id="ven-1")],
        active_period=objects.ActivePeriod(
            dtstart=START, duration=minutes(15 * len(signals[0].intervals)), **(period or {})
        ),
    )  # fmt: skip
    event.event_descriptor.event_status = status
    response = {"response_code": 200, "response_description": "OK", "request_id": "1"}
    message = messaging.create_message(
        "oadrDistributeEvent", response=response, request_id="1", vtn_id="VTN1", events=[event]
    )
    messaging.validate_xml_schema(message)
    return read_event(settings, messaging.parse_message(message)[1]["events"][0])


@pytest.mark.parametrize(
    ("name", "kind", "value", "scale", "asked"),
    [
        ("SIMPLE", "level", 0, None, None),
        ("SIMPLE", "level", 1, None, (TO, 800_000.0)),
        ("SIMPLE", "level", 2, None, (TO, 400_000.0)),
        ("SIMPLE", "level", 3, None, (ALL, None)),  # not named in the site's file
        ("LOAD_DISPATCH", "setpoint", 750, "k", (TO, 750_000.0)),
        ("LOAD_DISPATCH", "setpoint", 0.75, "M", (TO, 750_000.0)),
        ("LOAD_DISPATCH", "setpoint", 750_000, "none", (TO, 750_000.0)),
        ("LOAD_DISPATCH", "setpoint", 750, None, (TO, 750_000.0)),  # `unit` of the settings
        ("LOAD_DISPATCH", "setpoint", 0, "k", (TO, 0.0)),
        ("LOAD_DISPATCH", "delta", -200, "k", (BY, 200_000.0)),
        ("LOAD_DISPATCH", "delta", 0, "k", None),
        ("LOAD_DISPATCH", "multiplier", 0.4, None, (TO, 400_000.0)),
        ("LOAD_CONTROL", "x-loadControlCapacity", 0.5, None, (TO, 500_000.0)),
        ("LOAD_CONTROL", "x-loadControlPercentOffset", -0.25, None, (BY, 250_000.0)),
        ("LOAD_CONTROL", "x-loadControlPercentOffset", 0, None, None),
        ("LOAD_CONTROL", "x-loadControlSetpoint", 300, "k", (TO, 300_000.0)),
        ("BID_LOAD", "setpoint", 600, "k", (TO, 600_000.0)),
    ],
)
def test_what_a_signal_asks_for(
    name: str, kind: str, value: float, scale: str | None, asked: tuple[OrderKind, float | None] | None
) -> None:
    event = read(signal(name, kind, value, scale=scale))
    assert event.problem is None
    assert [(one.kind, one.amount_w) for one in event.orders] == ([] if asked is None else [asked])


@pytest.mark.parametrize(
    ("name", "kind", "value", "why"),
    [
        ("LOAD_DISPATCH", "setpoint", -5, "below zero"),
        ("LOAD_DISPATCH", "delta", 5, "more load is not taken"),
        ("LOAD_DISPATCH", "multiplier", 1.2, "no share"),
        ("LOAD_CONTROL", "x-loadControlCapacity", 50, "1.0 is all of it"),
        ("LOAD_CONTROL", "x-loadControlPercentOffset", -30, "1.0 is all of it"),
        ("LOAD_CONTROL", "x-loadControlLevelOffset", 1, "is not obeyed"),
        ("ELECTRICITY_PRICE", "price", 0.2, "only SIMPLE"),
        ("LOAD_DISPATCH", "setpoint", 1e300, "no power of a site"),
    ],
)
def test_what_is_not_obeyed_says_why(name: str, kind: str, value: float, why: str) -> None:
    event = read(signal(name, kind, value))
    assert event.problem is not None
    assert why in event.problem
    assert event.orders == ()


@pytest.mark.parametrize("level", [4, 1.5, -1, float("nan"), "much", None])
def test_a_level_is_0_to_3(level: Any) -> None:
    """Openleadr's VTN sends no other; another's might."""
    document = {
        "event_descriptor": {"event_id": 7},
        "event_signals": [
            {"signal_name": "simple", "signal_type": "level", "intervals": [{"signal_payload": level}]}
        ],
        "active_period": {"dtstart": START, "duration": minutes(5)},
    }
    event = read_event(SETTINGS, document)
    assert event.problem is not None
    assert event.orders == ()


def test_a_share_needs_to_know_of_what() -> None:
    settings = OpenAdrOrders(name="openadr", url="https://vtn.example", ven_name="mine")
    event = read(signal("LOAD_CONTROL", "x-loadControlCapacity", 0.5), settings=settings)
    assert "site_kw" in (event.problem or "")


def test_a_set_point_counts_before_a_level_and_a_level_before_what_is_not_understood() -> None:
    level = signal("SIMPLE", "level", 1)
    assert read(level, signal("LOAD_DISPATCH", "setpoint", 5, scale="k")).orders[0].amount_w == 5_000.0
    assert read(level, signal("LOAD_CONTROL", "x-loadControlLevelOffset", 1)).orders[0].amount_w == 800_000.0


def test_several_intervals_are_several_orders_without_a_gap() -> None:
    orders = read(signal("SIMPLE", "level", 1, 0, 3), period={"recovery_period": minutes(4)}).orders
    assert [one.id for one in orders] == ["7/0", "7/2"]
    begin = START.timestamp()
    assert [(one.start_s, one.stop_s) for one in orders] == [
        (begin, begin + 900),
        (begin + 1_800, begin + 2_700),
    ]
    assert {one.restore_s for one in orders} == {240.0}


def test_a_start_at_random_is_the_same_for_this_site_and_another_for_others() -> None:
    def shift_s(ven_name: str) -> float:
        settings = OpenAdrOrders(name="openadr", url="https://vtn.example", ven_name=ven_name)
        period = {"tolerance": {"startafter": minutes(10)}}
        order = read(signal("SIMPLE", "level", 1), settings=settings, period=period).orders[0]
        assert order.start_s is not None
        assert order.stop_s == order.start_s + 900
        return order.start_s - START.timestamp()

    assert shift_s("mine") == shift_s("mine")
    shifts = {shift_s(f"mine-{number}") for number in range(10)}
    assert len(shifts) > 5
    assert all(0 <= shift <= 600 for shift in shifts)


@pytest.mark.parametrize("status", ["far", "near", "active", "completed", "cancelled"])
def test_the_status_of_an_event(status: str) -> None:
    event = read(signal("SIMPLE", "level", 1), status=status, modification=2)
    assert (event.id, event.modification) == ("7", 2)
    assert (event.is_cancelled, event.is_completed) == (status == "cancelled", status == "completed")


@pytest.mark.parametrize(("said", "is_test"), [(True, True), (False, False), (None, False), ("please", True)])
def test_a_test_is_whatever_is_not_false(said: Any, is_test: bool) -> None:
    level = signal("SIMPLE", "level", 1)
    if not isinstance(said, str):
        assert read(level, test_event=said).is_test is is_test
        return
    document = {
        "event_descriptor": {"event_id": 7, "modification_number": 0, "test_event": said},
        "event_signals": [], "active_period": {},
    }  # fmt: skip
    assert read_event(SETTINGS, document).is_test is is_test


@pytest.mark.parametrize("broken", ["event_signals", "active_period"])
def test_half_an_event_is_none(broken: str) -> None:
    document: dict[str, Any] = {
        "event_descriptor": {"event_id": 7},
        "event_signals": [
            {"signal_name": "SIMPLE", "signal_type": "level", "intervals": [{"signal_payload": 1}]}
        ],
        "active_period": {"dtstart": START, "duration": minutes(5)},
    }
    assert read_event(SETTINGS, document).problem is None
    del document[broken]
    assert "cannot be read" in (read_event(SETTINGS, document).problem or "")
