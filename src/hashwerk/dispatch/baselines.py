"""What a site would have drawn without an order, by named rules; and what it delivered against that."""

from __future__ import annotations

import datetime
import enum
from collections.abc import Collection
from decimal import Decimal

import msgspec
import numpy as np

from hashwerk.dispatch.grid import DAY_S, FloatArray
from hashwerk.errors import DispatchError


class BaselineKind(enum.Enum):
    """Named rules for a baseline."""

    METER_BEFORE = "meter before"  # the mean just before the order
    HIGH_4_OF_5 = "high 4 of 5"  # the four highest of the last five days like this one


class MeterSeries(msgspec.Struct, frozen=True, kw_only=True):
    """Mean power in equal intervals, W; not a number where the meter has a gap."""

    start_s: float
    interval_s: float
    power_w: FloatArray

    def at(self, start_s: float, stop_s: float) -> FloatArray:
        """Return the intervals that lie wholly in a span; gaps and times before or after the series are not a number."""
        first = int(np.ceil((start_s - self.start_s) / self.interval_s - 1e-9))
        last = int(np.floor((stop_s - self.start_s) / self.interval_s + 1e-9))
        found = np.full(max(0, last - first), np.nan)
        low, high = max(first, 0), min(last, len(self.power_w))
        if high > low:
            found[low - first : high - first] = self.power_w[low:high]
        return found


def meter_before(meter: MeterSeries, start_s: float, *, window_s: float = 900.0) -> float:
    """Return the mean power in the window that ends where the order begins.

    Raises:
        DispatchError: If more than half of the window is missing.
    """
    values = meter.at(start_s - window_s, start_s)
    known = values[np.isfinite(values)]
    if not len(known) or len(known) * 2 < len(values):
        raise DispatchError(
            f"no baseline: {len(values) - len(known)} of {len(values)} readings before the order are missing"
        )
    return float(known.mean())


def high_4_of_5(
    meter: MeterSeries,
    start_s: float,
    stop_s: float,
    *,
    excluded_days: Collection[int] = (),
    utc_offset_s: float = 0.0,
    reach_back_days: int = 45,
) -> FloatArray:
    """Return the baseline of each meter interval of an event: the mean of the four highest of the last five days like it.

    Days are like each other when both are working days or both are not (PJM's customer baseline load, "high 4 of 5"). The days
    of earlier events are left out, as are days with a gap in the same hours.

    Args:
        meter: At least some weeks of readings.
        start_s, stop_s: The event, Unix seconds.
        excluded_days: Local days, since 1970, of earlier events and holidays.
        utc_offset_s: Of the local day.
        reach_back_days: How far back days are looked for.

    Raises:
        DispatchError: If fewer than five such days are found.
    """
    event_day = int((start_s + utc_offset_s) // DAY_S)
    days: list[FloatArray] = []
    for back in range(1, reach_back_days + 1):
        day = event_day - back
        if day in excluded_days or _is_weekend(day) != _is_weekend(event_day):
            continue
        values = meter.at(start_s - back * DAY_S, stop_s - back * DAY_S)
        if len(values) and np.isfinite(values).all():
            days.append(values)
        if len(days) == 5:
            break
    if len(days) < 5:
        raise DispatchError(
            f"no baseline: {len(days)} of five days like the event's were found in {reach_back_days} days"
        )
    ranked = sorted(days, key=lambda values: float(values.mean()), reverse=True)
    return np.asarray(np.mean(ranked[:4], axis=0))


def _is_weekend(day: int) -> bool:
    return (datetime.date(1970, 1, 1) + datetime.timedelta(days=day)).weekday() >= 5


class Settlement(msgspec.Struct, frozen=True, kw_only=True):
    """What an order asked for and what was measured: the record that is kept, and paid by."""

    order_id: str
    source: str
    baseline: BaselineKind
    start_s: float
    stop_s: float
    interval_s: float
    target_w: float
    baseline_w: tuple[float, ...]
    measured_w: tuple[float | None, ...]  # None where the meter has a gap
    delivered_wh: float  # of the intervals that were measured
    missing_intervals: int
    response_s: float | None  # from the start to the first interval at the target (within 5 %); None: never
    worst_above_w: float  # highest mean above the target, once it had been reached
    income: Decimal | None = None

    @property
    def is_complete(self) -> bool:
        """Whether every interval was measured."""
        return self.missing_intervals == 0


def settle_order(
    *,
    order_id: str,
    source: str,
    baseline: BaselineKind,
    baseline_w: FloatArray | float,
    meter: MeterSeries,
    start_s: float,
    stop_s: float,
    target_w: float,
    pay_per_mwh: Decimal | None = None,
) -> Settlement:
    """Return the record of an order from the meter. A gap counts as nothing delivered, and is counted."""
    measured_w = meter.at(start_s, stop_s)
    against_w = np.broadcast_to(np.asarray(baseline_w, dtype=np.float64), measured_w.shape)
    known = np.isfinite(measured_w)
    delivered_w = np.where(known, np.maximum(0.0, against_w - np.nan_to_num(measured_w)), 0.0)
    delivered_wh = float(delivered_w.sum()) * meter.interval_s / 3_600.0
    tolerance_w = 0.05 * max(float(against_w.max(initial=0.0)) - target_w, 0.0)
    reached = known & (np.nan_to_num(measured_w, nan=np.inf) <= target_w + tolerance_w + 1e-9)
    first = int(np.argmax(reached)) if reached.any() else None
    after = measured_w[first:][known[first:]] if first is not None else measured_w[known]
    income = None
    if pay_per_mwh is not None:
        income = (pay_per_mwh * Decimal(repr(delivered_wh)) / 1_000_000).quantize(Decimal("0.01"))
    return Settlement(
        order_id=order_id,
        source=source,
        baseline=baseline,
        start_s=start_s,
        stop_s=stop_s,
        interval_s=meter.interval_s,
        target_w=target_w,
        baseline_w=tuple(float(value) for value in against_w),
        measured_w=tuple(float(value) if np.isfinite(value) else None for value in measured_w),
        delivered_wh=delivered_wh,
        missing_intervals=int((~known).sum()),
        response_s=None if first is None else first * meter.interval_s,
        worst_above_w=max(0.0, float((after - target_w).max(initial=0.0))),
        income=income,
    )
