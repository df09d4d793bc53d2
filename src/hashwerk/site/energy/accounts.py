"""The month so far: the bill as the tariff has it, from the quarters of an hour on record."""

from __future__ import annotations

import datetime
from collections.abc import Sequence
from typing import Final

import numpy as np
import numpy.typing as npt

from hashwerk.energy.bill import make_bill
from hashwerk.energy.charges import interval_means_w
from hashwerk.energy.local_time import WallClock
from hashwerk.energy.series import Quality, Series, SeriesInfo, make_series
from hashwerk.energy.tariff import Demand, Tariff, TariffError
from hashwerk.energy.usage import BillingFacts, Usage
from hashwerk.site.energy.record import QUARTER_S, Quarter
from hashwerk.site.energy.view import BillLine, BillView

KnownArray = npt.NDArray[np.bool_]

#: A quarter of an hour counts as known when power was known for so much of it.
KNOWN_S: Final = 0.9 * QUARTER_S


def month_begin_s(now: float, zone: datetime.tzinfo) -> float:
    """Return the beginning of the local month."""
    today = datetime.datetime.fromtimestamp(now, zone)
    return datetime.datetime(today.year, today.month, 1, tzinfo=zone).timestamp()


def month_span_s(month: str, zone: datetime.tzinfo) -> tuple[float, float]:
    """Return begin and end of a local month, given as 2026-11.

    Raises:
        ValueError: If there is no such month.
    """
    begin = datetime.datetime.strptime(month, "%Y-%m").replace(tzinfo=zone)
    after = datetime.datetime(begin.year + begin.month // 12, begin.month % 12 + 1, 1, tzinfo=zone)
    return begin.timestamp(), after.timestamp()


def is_known(quarter: Quarter) -> bool:
    """Say whether enough of a quarter of an hour was measured to speak of it."""
    return quarter.covered_s >= KNOWN_S


def mean_w(quarter: Quarter) -> float:
    """Return the mean import of a quarter of an hour over the time in which it was known."""
    return quarter.import_wh * 3_600 / quarter.covered_s if quarter.covered_s else 0.0


def taken_wh(quarter: Quarter) -> int:
    """Return what was taken from the grid in a quarter of an hour, in whole Wh."""
    return max(0, round(mean_w(quarter) * QUARTER_S / 3_600))


def given_wh(quarter: Quarter) -> int:
    """Return what was fed into the grid in a quarter of an hour, in whole Wh."""
    if quarter.export_wh is not None:
        return round(quarter.export_wh)
    return max(0, -round(mean_w(quarter) * QUARTER_S / 3_600))


def usage_so_far(quarters: Sequence[Quarter], start_s: float) -> tuple[Usage, KnownArray]:
    """Return what was taken and fed in from the beginning of a month on, and which quarters of an hour are known.

    What was not measured counts as nothing.
    """
    first = int(start_s) // QUARTER_S * QUARTER_S
    count = (quarters[-1].start_s - first) // QUARTER_S + 1
    import_wh, export_wh = np.zeros(count, dtype=np.int64), np.zeros(count, dtype=np.int64)
    known = np.zeros(count, dtype=np.bool_)
    for quarter in quarters:
        place = (quarter.start_s - first) // QUARTER_S
        if 0 <= place < count:
            import_wh[place], export_wh[place] = taken_wh(quarter), given_wh(quarter)
            known[place] = is_known(quarter)
    usage = Usage(
        start_s=first,
        interval_s=QUARTER_S,
        import_wh=import_wh,
        export_wh=export_wh,
        estimated=int((~known).sum()),
    )
    return usage, known


def month_bill(
    tariff: Tariff,
    facts: BillingFacts,
    quarters: Sequence[Quarter],
    start_s: float,
    remarks: Sequence[str] = (),
) -> BillView | None:
    """Return the bill of a month so far; None before its first quarter of an hour.

    What was not measured counts as nothing taken, and is said to be missing: the supplier's own meter knows better.
    """
    if not quarters:
        return None
    usage, known = usage_so_far(quarters, start_s)
    market: list[float | None] = [None] * len(known)
    for quarter in quarters:
        place = (quarter.start_s - usage.start_s) // QUARTER_S
        if 0 <= place < len(market):
            market[place] = quarter.market_per_mwh
    metered = sum(quarter.is_metered for quarter in quarters)
    missing = [
        *_integrated_words(len(quarters) - metered, metered),
        *_missing_words(known),
        *remarks,
    ]
    try:
        prices = _market(market, known, usage.start_s, tariff.currency)
        bill = make_bill(tariff, usage, facts, market=prices)
    except TariffError as error:
        return _no_bill(tariff, usage, (*missing, f"no bill: {error}"))
    return BillView(
        tariff=tariff.name,
        currency=bill.currency,
        since_s=float(usage.start_s),
        until_s=float(usage.stop_s),
        import_wh=int(usage.import_wh.sum()),
        peak_w=None if bill.peak_kw is None else float(bill.peak_kw) * 1e3,
        lines=tuple(
            BillLine(text=line.text, quantity=f"{line.quantity} {line.unit}".strip(), amount=str(line.amount))
            for line in bill.lines
        ),
        total=str(bill.total),
        missing=tuple(missing),
    )


def market_prices(quarters: Sequence[Quarter], told: Series) -> dict[int, float]:
    """Return the market's prices of quarters of an hour that have none yet, as a feed tells them; a stand-in is no price."""
    starts = [quarter.start_s for quarter in quarters if quarter.market_per_mwh is None]
    values, quality = told.on(starts, [start_s + QUARTER_S for start_s in starts])
    is_told = quality == int(Quality.MEASURED)
    return {
        start_s: float(value) for start_s, value, known in zip(starts, values, is_told, strict=True) if known
    }


def demand_peaks_w(tariff: Tariff, quarters: Sequence[Quarter], start_s: float) -> dict[str, float]:
    """Return the highest mean of the month so far by demand charge: over its own interval, at the times it counts.

    An interval that is known in part counts what is known of it: no plan may take a peak for paid that is not.
    """
    if not quarters:
        return {}
    usage, _ = usage_so_far(quarters, start_s)
    wall = WallClock.at(usage.starts_s, tariff.zone)
    holidays = tariff.holiday_mask(wall)
    found = {}
    for component in tariff.components:
        if isinstance(component, Demand) and component.interval_min * 60 % QUARTER_S == 0:
            inside = component.when.matches(wall, holidays)
            means = interval_means_w(usage, component.interval_min * 60, inside)
            found[component.name] = float(max(means, default=0))
    return found


def _integrated_words(integrated: int, metered: int) -> list[str]:
    if not metered:
        return ["energy is integrated from power, and not a meter's register"]
    hours = f"{integrated * QUARTER_S / 3_600:,.2f} h"
    return [f"{hours} are integrated from power, and not a meter's register"] if integrated else []


def _missing_words(known: KnownArray) -> list[str]:
    lost = int((~known).sum())
    return [f"{lost * QUARTER_S / 3_600:,.2f} h were not measured and count as nothing"] if lost else []


def _market(values: list[float | None], known: KnownArray, first: int, currency: str) -> Series:
    """Return the market's price over the month; where nothing was measured nothing is charged, whatever it was."""
    filled = [
        0.0 if value is None and not is_here else value for value, is_here in zip(values, known, strict=True)
    ]
    info = SeriesInfo(
        name="price on record",
        unit=f"{currency}/MWh",
        resolution_s=QUARTER_S,
        source="own record of the feed",
        currency=currency,
    )
    starts = first + QUARTER_S * np.arange(len(values), dtype=np.int64)
    return make_series(info, starts, filled, published_s=first, quality=Quality.MEASURED)


def _no_bill(tariff: Tariff, usage: Usage, missing: tuple[str, ...]) -> BillView:
    return BillView(
        tariff=tariff.name,
        currency=tariff.currency,
        since_s=float(usage.start_s),
        until_s=float(usage.stop_s),
        import_wh=int(usage.import_wh.sum()),
        peak_w=None,
        lines=(),
        total="unknown",
        missing=missing,
    )
