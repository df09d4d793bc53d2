"""An order in figures and words: the meter's series, who was told to sleep, what was asked for, what was delivered."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

import numpy as np

from hashwerk.dispatch.baselines import MeterSeries, Settlement
from hashwerk.dispatch.orders import Order, OrderKind
from hashwerk.fleet.commands import Sleep
from hashwerk.fleet.identity import MachineKey
from hashwerk.site.energy.ports import MachineNow
from hashwerk.site.energy.record import Moment


def meter_series(moments: Sequence[Moment], every_s: float) -> MeterSeries | None:
    """Return moments as mean power in equal intervals; None where there are none. An interval without a reading is a gap."""
    if not moments:
        return None
    start_s = moments[0].at_s // every_s * every_s
    count = int((moments[-1].at_s - start_s) // every_s) + 1
    total, readings = np.zeros(count), np.zeros(count)
    for moment in moments:
        if moment.measured_w is not None:
            place = int((moment.at_s - start_s) // every_s)
            total[place] += moment.measured_w
            readings[place] += 1
    power_w = np.divide(total, readings, out=np.full(count, np.nan), where=readings > 0)
    return MeterSeries(start_s=start_s, interval_s=every_s, power_w=power_w)


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
        "intervals": f"{len(settlement.measured_w)} of {settlement.interval_s:g} s",
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
