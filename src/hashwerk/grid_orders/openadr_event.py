"""What an OpenADR 2.0b event orders. Signals and their types: OpenADR 2.0b Profile Specification, section 8.2 and annex A."""

from __future__ import annotations

import datetime
import hashlib
import math
from collections.abc import Mapping, Sequence
from typing import Any, Final

import msgspec

from hashwerk.dispatch.orders import OrderKind
from hashwerk.grid_orders.notice import HIGHEST_KW, Notice, NoticeError
from hashwerk.grid_orders.settings import OpenAdrOrders

Document = Mapping[str, Any]

_SCALES: Final = {"none": 1.0, "k": 1e3, "M": 1e6, "G": 1e9}
#: Types whose payload is a share of what the whole site draws; the last one is a change, the others are what is left.
_SHARES: Final = ("multiplier", "x-loadControlCapacity", "x-loadControlPercentOffset")


class Event(msgspec.Struct, frozen=True, kw_only=True):
    """An event: its id, and the orders of its intervals; none where it asks for nothing."""

    id: str
    modification: int
    is_cancelled: bool
    is_completed: bool
    is_test: bool
    wants_answer: bool
    orders: tuple[Notice, ...]
    problem: str | None = None  # why it cannot be obeyed


def read_event(settings: OpenAdrOrders, document: Document) -> Event:
    """Return what an event asks for.

    Raises:
        NoticeError: If it has not even an id.
    """
    try:
        descriptor: Document = document["event_descriptor"]
        event_id = str(descriptor["event_id"])
        modification = int(descriptor.get("modification_number") or 0)
    except (KeyError, TypeError, ValueError) as error:
        raise NoticeError("an event without an id") from error
    orders, problem = tuple[Notice, ...](), None
    try:
        orders = _orders(settings, event_id, document)
    except NoticeError as error:
        problem = str(error)
    except (KeyError, TypeError, ValueError, AttributeError, OverflowError) as error:
        problem = f"it cannot be read: {type(error).__name__} {error}"
    return Event(
        id=event_id,
        modification=modification,
        is_cancelled=descriptor.get("event_status") == "cancelled",
        is_completed=descriptor.get("event_status") == "completed",
        is_test=descriptor.get("test_event") not in (None, False),  # whatever is not "false" is a test
        wants_answer=document.get("response_required") != "never",
        orders=orders,
        problem=problem,
    )


def _orders(settings: OpenAdrOrders, event_id: str, document: Document) -> tuple[Notice, ...]:
    signals = document["event_signals"]
    if isinstance(signals, Mapping):  # a list of one may arrive in its own name
        signals = signals["event_signals"]
    signal = _understood(settings, signals)
    period: Document = document["active_period"]
    start: datetime.datetime = period["dtstart"]
    late = _late(settings, event_id, period)
    intervals: Sequence[Document] = signal["intervals"]
    found: list[Notice] = []
    for number, interval in enumerate(intervals):
        begin = interval.get("dtstart") or start
        duration: datetime.timedelta = interval.get("duration") or datetime.timedelta(0)
        if not duration and len(intervals) == 1:
            duration = period.get("duration") or duration
        start = begin + duration
        asked = _asked(settings, signal, interval["signal_payload"])
        if asked is not None:
            found.append(
                Notice(
                    id=event_id if len(intervals) == 1 else f"{event_id}/{number}",
                    kind=asked[0],
                    amount_w=asked[1],
                    start_s=begin.timestamp() + late,
                    stop_s=start.timestamp() + late if duration else None,
                    restore_s=_recovery_s(period),
                )
            )
    return tuple(found)


def _late(settings: OpenAdrOrders, event_id: str, period: Document) -> float:
    """Return by how many seconds an event is shifted where the VTN wants its sites to begin at random within a tolerance.

    The same event is shifted by the same time whenever it is read, by this site; other sites have other times.
    """
    tolerance = period.get("tolerance")
    startafter = tolerance["tolerate"]["startafter"] if tolerance else None
    if not startafter:
        return 0.0
    digest = hashlib.sha256(f"{settings.ven_name}/{event_id}".encode()).digest()
    return float(round(startafter.total_seconds() * int.from_bytes(digest[:8]) / 2**64))


def _recovery_s(period: Document) -> float:
    recovery = period.get("recovery_period") or period.get("recovery")
    if isinstance(recovery, Mapping):
        recovery = recovery.get("duration")
    return recovery.total_seconds() if isinstance(recovery, datetime.timedelta) else 300.0


def _understood(settings: OpenAdrOrders, signals: Sequence[Document]) -> Document:
    """Return the signal that is obeyed: a set-point before a level, and one that cannot be obeyed after those that can."""
    by_name = {str(one["signal_name"]).upper(): one for one in signals}
    problem: NoticeError | None = None
    for name in ("LOAD_DISPATCH", "LOAD_CONTROL", "BID_LOAD", "SIMPLE"):
        if name not in by_name:
            continue
        try:
            for interval in by_name[name]["intervals"]:
                _asked(settings, by_name[name], interval["signal_payload"])
        except NoticeError as error:
            problem = problem or error
        else:
            return by_name[name]
    raise problem or NoticeError(
        f"signals {', '.join(by_name) or 'none'}: only SIMPLE, LOAD_CONTROL, LOAD_DISPATCH, BID_LOAD are obeyed"
    )


def _asked(
    settings: OpenAdrOrders, signal: Document, payload: object
) -> tuple[OrderKind, float | None] | None:
    """Return what an interval asks for; None where it asks for nothing."""
    name, kind = str(signal["signal_name"]).upper(), str(signal["signal_type"])
    value = float(payload)  # type: ignore[arg-type]
    if not math.isfinite(value):
        raise NoticeError("its value is no number")
    if name == "SIMPLE":
        return _level(settings, value)
    if kind in _SHARES and name in ("LOAD_CONTROL", "LOAD_DISPATCH"):
        return _share(settings, kind, value)
    value_w = value * _factor(settings, signal)
    if name == "LOAD_DISPATCH" and kind == "delta":
        return None if value_w == 0 else (OrderKind.REDUCE_BY, _power(-value_w))
    if kind in ("setpoint", "x-loadControlSetpoint"):
        return OrderKind.REDUCE_TO, _power(value_w)
    raise NoticeError(f"{name} of type {kind} is not obeyed")


def _share(settings: OpenAdrOrders, kind: str, value: float) -> tuple[OrderKind, float | None] | None:
    if settings.site_kw is None:
        raise NoticeError(f"{kind} is a share of the site, which needs `site_kw` in the settings")
    is_change = kind == "x-loadControlPercentOffset"
    if not (-1 if is_change else 0) <= value <= 1:
        raise NoticeError(f"{kind} of {value:g} is no share of the site: 1.0 is all of it")
    if is_change:
        return None if value == 0 else (OrderKind.REDUCE_BY, _power(-value * settings.site_kw * 1e3))
    return OrderKind.REDUCE_TO, value * settings.site_kw * 1e3


def _level(settings: OpenAdrOrders, value: float) -> tuple[OrderKind, float | None] | None:
    if value not in (0, 1, 2, 3):
        raise NoticeError(f"SIMPLE level {value:g}: there are 0, 1, 2 and 3")
    if value == 0:
        return None
    kw = settings.levels_kw.get(str(int(value)))
    return (OrderKind.ALL, None) if kw is None else (OrderKind.REDUCE_TO, kw * 1e3)


def _factor(settings: OpenAdrOrders, signal: Document) -> float:
    """Return how many W one of a signal's units is."""
    measurement = signal.get("measurement")
    if not isinstance(measurement, Mapping) or measurement.get("unit") is None:
        return 1e3 if settings.unit == "kW" else 1.0
    unit, scale = measurement["unit"], measurement.get("scale") or "none"
    if unit != "W" or scale not in _SCALES:
        raise NoticeError(f"a set-point in {unit} with scale {scale} is no power")
    return _SCALES[scale]


def _power(value_w: float) -> float:
    if value_w < 0:
        raise NoticeError(f"{value_w:,.0f} W is below zero: more load is not taken")
    if value_w > HIGHEST_KW * 1e3:
        raise NoticeError(f"{value_w:.3g} W is no power of a site")
    return value_w
