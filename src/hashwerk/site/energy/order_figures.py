"""An order in figures and words: the meter's series, who was told to sleep, what was asked for, what was delivered."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Final

import numpy as np

from hashwerk.dispatch.baselines import MeterSeries, Settlement
from hashwerk.dispatch.orders import Order, OrderKind
from hashwerk.fleet.commands import Sleep
from hashwerk.fleet.identity import MachineKey
from hashwerk.site.energy.ports import MachineNow
from hashwerk.site.energy.present import HELD
from hashwerk.site.energy.record import Moment

#: An interval is known when readings tell this much of it.
_COVERED: Final = 0.9


def meter_series(moments: Sequence[Moment], start_s: float, stop_s: float, *, every_s: float) -> MeterSeries:
    """Return moments as mean power in equal intervals that fill a span.

    As in the record's quarters of an hour, what a moment shows held since the one before it, if that was not long ago. An
    interval of which no reading tells a tenth or more is a gap.

    Args:
        moments: In order of time; some from before and after the span, so that its edges are known.
        start_s, stop_s: The span, Unix seconds.
        every_s: How often moments are recorded: the intervals are of this length, or shorter so that they fill the span.
    """
    count = max(1, math.ceil((stop_s - start_s) / every_s - 1e-9))
    edges_s = np.linspace(start_s, stop_s, count + 1)
    at_s = np.array([moment.at_s for moment in moments] or [start_s])
    measured_w = np.array([moment.measured_w for moment in moments] or [None], dtype=np.float64)
    since_s = np.diff(at_s, prepend=at_s[0])
    held_s = np.where(np.isfinite(measured_w) & (since_s <= HELD * every_s), since_s, 0.0)
    # Both sums grow evenly between two moments, so they are exact at the edges, too.
    told_s = np.diff(np.interp(edges_s, at_s, held_s.cumsum()))
    energy_ws = np.diff(np.interp(edges_s, at_s, (held_s * np.nan_to_num(measured_w)).cumsum()))
    length_s = (stop_s - start_s) / count
    is_known = told_s > _COVERED * length_s
    power_w = np.divide(energy_ws, told_s, out=np.full(count, np.nan), where=is_known)
    return MeterSeries(start_s=start_s, interval_s=length_s, power_w=power_w)


def told_asleep(
    machines: Iterable[MachineNow], told: Mapping[MachineKey, tuple[object, float]]
) -> dict[MachineKey, float]:
    """Return since when each machine was told to sleep, of those whose last command that was."""
    return {
        machine.key: told[machine.key][1]
        for machine in machines
        if machine.key in told and isinstance(told[machine.key][0], Sleep)
    }


def words(order: Order) -> str:
    """Return what an order asks for, as people say it."""
    if order.kind is OrderKind.ALL:
        return "every machine sleeps"
    assert order.amount_w is not None
    how = "to" if order.kind is OrderKind.REDUCE_TO else "by"
    return f"reduce {how} {order.amount_w / 1e3:,.1f} kW"


def settlement_words(settlement: Settlement) -> dict[str, str]:
    """Return the record of an order as a page shows it."""
    found = {
        "delivered": f"{settlement.delivered_wh / 1e3:,.3f} kWh",
        "intervals": f"{len(settlement.measured_w)} of {settlement.interval_s:.3g} s",
        "missing": f"{settlement.missing_intervals} intervals without a reading",
        "target": f"{settlement.target_w / 1e3:,.1f} kW",
        "at the target": "never"
        if settlement.response_s is None
        else f"{settlement.response_s:,.0f} s after the start",
        "worst above": f"{settlement.worst_above_w / 1e3:,.1f} kW",
    }
    if settlement.income is not None:
        found["income"] = str(settlement.income)
    return found
