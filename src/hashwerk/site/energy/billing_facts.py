"""What a bill needs to know besides the month's meter readings, as far as the site's own record tells it."""

from __future__ import annotations

import datetime
from decimal import Decimal
from typing import Final
from zoneinfo import ZoneInfo

import msgspec

from hashwerk.energy.series import Gap
from hashwerk.energy.tariff import Coincident, Demand, Energy, Excess, Tariff
from hashwerk.energy.usage import BillingFacts
from hashwerk.site.energy.accounts import KNOWN_S
from hashwerk.site.energy.record import QUARTER_S, EnergyRecord

_YEAR: Final = datetime.timedelta(days=365)
#: Orders that are looked back on; a month has fewer.
_MOST_ORDERS: Final = 1_000


def facts_so_far(
    tariff: Tariff, facts: BillingFacts, record: EnergyRecord, begin_s: float, now: float
) -> tuple[BillingFacts, tuple[str, ...]]:
    """Return the facts for the bill of a month so far, and what is assumed in them.

    Args:
        tariff: What the contract asks for is looked up, and nothing else.
        facts: As the site file has them.
        record: The history of power, and the orders of grid operators.
        begin_s: Beginning of the month.
        now: The moment.

    Raises:
        StoreError: If the record cannot be read.
    """
    remarks: list[str] = []
    excess = [one for one in tariff.components if isinstance(one, Excess) and one.above == "curtailment"]
    if excess:
        spans = curtailments(record, begin_s, now)
        facts = msgspec.structs.replace(facts, curtailments=spans)
        if spans:
            hours = sum(span.stop_s - span.start_s for span in spans) / 3_600
            remarks.append(
                f"curtailed for {hours:,.2f} h, by the orders on record, in whole quarters of an hour"
            )
    ratchets = [one for one in tariff.components if isinstance(one, Demand) and one.ratchet_share]
    if excess or ratchets:
        seen_w = record.highest_w(now - _YEAR.total_seconds(), begin_s, KNOWN_S)
        told_w = facts.peak_12_months_w
        known = [one for one in (seen_w, told_w) if one is not None]
        facts = msgspec.structs.replace(facts, peak_12_months_w=round(max(known, default=0.0)))
        if told_w is None:
            remarks.append(
                "the highest power of the last 12 months is that on record here: the site file names none"
            )
    if any(isinstance(one, Energy) and one.blocks_per == "year" for one in tariff.components):
        year = datetime.datetime.fromtimestamp(begin_s, ZoneInfo(tariff.zone)).year
        january = datetime.datetime(year, 1, 1, tzinfo=ZoneInfo(tariff.zone)).timestamp()
        before_wh = record.imported_wh(january, begin_s)
        facts = msgspec.structs.replace(facts, year_to_date_kwh=Decimal(round(before_wh)) / 1_000)
        remarks.append("blocks of the year begin with what is on record here")
    if any(isinstance(one, Coincident) for one in tariff.components):
        peaks = tuple(one for one in facts.coincident_peaks if begin_s <= one.start_s and one.stop_s <= now)
        facts = msgspec.structs.replace(facts, coincident_peaks=peaks)
        if not peaks:
            remarks.append(
                "the grid's own peaks of this month are not told: what is charged on them is not in it"
            )
    return facts, tuple(remarks)


def curtailments(record: EnergyRecord, begin_s: float, now: float) -> tuple[Gap, ...]:
    """Return the whole quarters of an hour of [begin_s, now) in which an order was in force, joined, in order."""
    quarters: set[int] = set()
    for one in record.orders(_MOST_ORDERS):
        stops = [stop_s for stop_s in (one.order.stop_s, one.cancelled_s, now) if stop_s is not None]
        first = -(-max(one.order.start_s, begin_s) // QUARTER_S)
        quarters.update(range(int(first), int(min(stops) // QUARTER_S)))
    spans: list[Gap] = []
    for quarter in sorted(quarters):
        start_s = quarter * QUARTER_S
        if spans and spans[-1].stop_s == start_s:
            start_s = spans.pop().start_s
        spans.append(Gap(start_s, (quarter + 1) * QUARTER_S))
    return tuple(spans)
