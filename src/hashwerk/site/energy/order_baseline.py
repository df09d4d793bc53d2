"""The baseline of an order from weeks of quarters of an hour on record: what like days drew at those hours."""

from __future__ import annotations

import datetime
from collections.abc import Iterable, Sequence
from typing import Final

import numpy as np

from hashwerk.dispatch.baselines import MeterSeries, high_4_of_5
from hashwerk.dispatch.orders import Order
from hashwerk.errors import DispatchError
from hashwerk.site.energy.accounts import is_known, mean_w
from hashwerk.site.energy.record import QUARTER_S, Quarter

#: How far back like days are looked for.
REACH_BACK_DAYS: Final = 45
_DAY_S: Final = 86_400


def like_days_w(
    order: Order, quarters: Sequence[Quarter], orders: Iterable[Order], zone: datetime.tzinfo
) -> float:
    """Return the mean baseline over an order's quarters of an hour by "high 4 of 5".

    Args:
        order: With an end.
        quarters: Of the weeks before it.
        orders: Earlier ones: their days are left out.
        zone: By whose days.

    Raises:
        DispatchError: If the order has no end, or fewer than five like days are known whole at its hours.
    """
    if order.stop_s is None or not quarters:
        raise DispatchError("no baseline: no days before it are on record")
    offset = datetime.datetime.fromtimestamp(order.start_s, zone).utcoffset()
    offset_s = 0.0 if offset is None else offset.total_seconds()
    start_s = order.start_s // QUARTER_S * QUARTER_S
    stop_s = -(-order.stop_s // QUARTER_S) * QUARTER_S
    values = high_4_of_5(
        quarter_series(quarters),
        start_s,
        stop_s,
        excluded_days=_days_of(orders, offset_s, before_s=order.start_s),
        utc_offset_s=offset_s,
        reach_back_days=REACH_BACK_DAYS,
    )
    return float(values.mean())


def quarter_series(quarters: Sequence[Quarter]) -> MeterSeries:
    """Return quarters of an hour as mean power; what is not known whole is a gap."""
    first = quarters[0].start_s
    count = (quarters[-1].start_s - first) // QUARTER_S + 1
    power_w = np.full(count, np.nan)
    for quarter in quarters:
        if is_known(quarter):
            power_w[(quarter.start_s - first) // QUARTER_S] = mean_w(quarter)
    return MeterSeries(start_s=float(first), interval_s=float(QUARTER_S), power_w=power_w)


def _days_of(orders: Iterable[Order], offset_s: float, *, before_s: float) -> set[int]:
    """Return the local days, since 1970, on which an order was in force."""
    days: set[int] = set()
    for order in orders:
        stop_s = min(before_s if order.stop_s is None else order.stop_s, before_s)
        if order.start_s < stop_s:
            first, last = (int((at + offset_s) // _DAY_S) for at in (order.start_s, stop_s - 1e-6))
            days.update(range(first, last + 1))
    return days
