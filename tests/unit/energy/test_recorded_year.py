"""A month of German prices as they were: the bill against one made without any of this code."""

from __future__ import annotations

import calendar
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from zoneinfo import ZoneInfo

import numpy as np
import pyarrow.parquet
import pytest

from hashwerk.energy.bill import make_bill
from hashwerk.energy.series import SeriesInfo, make_series
from hashwerk.energy.tariff import load_tariff
from hashwerk.energy.usage import BillingFacts, Usage

DATA = Path(__file__).resolve().parents[3].parent / "shared" / "data"
BERLIN = ZoneInfo("Europe/Berlin")

pytestmark = pytest.mark.skipif(not DATA.is_dir(), reason=f"NO RECORDED SERIES: {DATA} is absent")


@pytest.mark.parametrize("month", [3, 6])
def test_a_month_of_five_megawatts_that_stop_when_power_is_dear(month):
    table = pyarrow.parquet.read_table(DATA / "smard_prices_2025.parquet")
    times = table.column("time_utc").to_numpy().astype("datetime64[s]").astype(np.int64)
    prices = table.column("price_de_lu_eur_mwh").to_numpy()
    begin = int(datetime(2025, month, 1, tzinfo=BERLIN).astimezone(UTC).timestamp())
    end = int(datetime(2025, month + 1, 1, tzinfo=BERLIN).astimezone(UTC).timestamp())
    info = SeriesInfo(name="day-ahead", unit="EUR/MWh", resolution_s=3_600, source="SMARD", currency="EUR")
    series = make_series(info, times, prices, published_s=0)
    by_hour = dict(zip(times.tolist(), prices.tolist(), strict=True))
    quarters = range(begin, end, 900)
    wh = np.array([1_250_000 if by_hour[at // 3_600 * 3_600] < 90 else 25_000 for at in quarters])
    usage = Usage(start_s=begin, interval_s=900, import_wh=wh)
    facts = BillingFacts(year_to_date_kwh=Decimal(5_000_000))
    bill = make_bill(load_tariff("germany-day-ahead-2025"), usage, facts, market=series)

    kwh = Decimal(int(wh.sum())) / 1_000
    spot = sum(
        Decimal(str(by_hour[at // 3_600 * 3_600])) * int(taken)
        for at, taken in zip(quarters, wh, strict=True)
    ) / Decimal(1_000_000)
    days = calendar.monthrange(2025, month)[1] - (Decimal(1) / 24 if month == 3 else 0)
    net = [
        spot + kwh / 1_000 * Decimal("3.50"),
        kwh * Decimal("0.0102"),
        Decimal(5_000) * Decimal("118.80") * days / 365,
        kwh * Decimal("0.0011"),
        kwh * Decimal("0.00277"),
        kwh * Decimal("0.00816"),
        kwh * Decimal("0.00050"),
        kwh * Decimal("0.0205"),
    ]
    rounded = [amount.quantize(Decimal("0.01")) for amount in net]
    expected = sum(rounded) + (sum(rounded) * Decimal("0.19")).quantize(Decimal("0.01"))
    assert abs(bill.total - expected) <= Decimal("0.04")  # halves: up here, to even there
    assert bill.energy_kwh == kwh
    assert len(wh) == (31 * 24 - 1) * 4 if month == 3 else 30 * 24 * 4
