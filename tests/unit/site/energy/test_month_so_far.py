"""The running month as its contract has it: feed-in, peaks over the charge's own interval and hours, curtailment, blocks."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from zoneinfo import ZoneInfo

import msgspec
import pytest

from hashwerk.dispatch.orders import Order, OrderKind
from hashwerk.energy.registers import Direction, MeterInterval
from hashwerk.energy.series import Gap, Quality, SeriesInfo, make_series
from hashwerk.energy.settings import EnergySettings, SourceSettings, TariffSettings
from hashwerk.energy.tariff import load_tariff, read_tariff
from hashwerk.energy.usage import BillingFacts
from hashwerk.meters.settings import ModbusTcpMeter
from hashwerk.site.energy.accounts import demand_peaks_w, month_bill
from hashwerk.site.energy.billing_facts import curtailments, facts_so_far
from hashwerk.site.energy.hours import GridTold
from hashwerk.site.energy.metered import SiteRegisters
from hashwerk.site.energy.month import Month
from hashwerk.site.energy.obligations import taken_wh
from hashwerk.site.energy.readings import Readings
from hashwerk.site.energy.record import EnergyRecord, OrderRecord, Quarter

FIRST_S = int(datetime(2025, 7, 1, tzinfo=UTC).timestamp())  # a Tuesday
TARIFF = """
name = "test"
currency = "EUR"
zone = "UTC"
source = "a test"
valid_from = 2025-01-01

[[components]]
kind = "energy"
name = "energy"
blocks_per = "year"
rates = [
  { name = "first block", per_kwh = "0.10", up_to_kwh = "1000" },
  { name = "second block", per_kwh = "0.20", above_kwh = "1000" },
]

[[components]]
kind = "demand"
name = "half hours by day"
per_kw = "10"
interval_min = 30
when = { hours = ["08:00-20:00"] }

[[components]]
kind = "feed-in"
name = "feed-in"
per_kwh = "0.05"
"""


def quarter(number: int, wh: float, **others: float) -> Quarter:
    return Quarter(start_s=FIRST_S + 900 * number, covered_s=900.0, import_wh=wh, **others)  # type: ignore[arg-type]


@pytest.fixture
def record(tmp_path: Path) -> Iterator[EnergyRecord]:
    opened = EnergyRecord(tmp_path / "energy.sqlite")
    opened.open()
    yield opened
    opened.close()


def test_what_is_fed_in_stands_on_the_bill_of_the_running_month() -> None:
    tariff = read_tariff(TARIFF, "test")
    bill = month_bill(tariff, BillingFacts(), [quarter(0, 100_000.0), quarter(1, -40_000.0)], FIRST_S)
    assert bill is not None
    assert bill.import_wh == 100_000
    assert [line.amount for line in bill.lines if line.text == "feed-in"] == ["-2.00"]


async def test_registers_of_both_directions_are_billed_each(tmp_path: Path) -> None:
    readings = Readings(tmp_path / "meters.sqlite")
    readings.open()
    counted = [(0, Direction.IMPORT, 30_000), (0, Direction.EXPORT, 50_000), (1, Direction.IMPORT, 10)]
    readings.record(
        [
            MeterInterval(
                meter="main",
                serial=None,
                direction=direction,
                start_s=FIRST_S + 900 * number,
                stop_s=FIRST_S + 900 * number + 900,
                start_wh=0,
                end_wh=wh,
                wh=wh,
                quality=Quality.MEASURED,
            )
            for number, direction, wh in counted
        ],
        [],
    )
    await readings.close()
    meter = ModbusTcpMeter(
        name="main", scope="site", host="127.0.0.1", port=502, map="schneider-iem3155", max_power_w=1e6
    )
    registers = SiteRegisters(tmp_path / "meters.sqlite", [meter])
    first, second = registers.counted([quarter(0, -20_000.0), quarter(1, -7_000.0)])
    assert (first.import_wh, first.export_wh) == (30_000.0, 50_000.0)
    assert (second.import_wh, second.export_wh) == (10.0, 7_000.0), "no register: what power integrates to"


def test_a_peak_is_paid_over_its_own_interval_and_at_its_own_hours() -> None:
    quarters = [
        quarter(4, 400_000.0),  # 01:00: at night no power is charged
        quarter(5, 400_000.0),
        quarter(36, 250_000.0),  # 09:00: 1 MW for a quarter, 0.2 MW for the next: 0.6 MW over the half hour
        quarter(37, 50_000.0),
        quarter(41, 100_000.0),  # the first quarter of this half hour is not known
    ]
    assert demand_peaks_w(read_tariff(TARIFF, "test"), quarters, FIRST_S) == {"half hours by day": 600_000.0}
    assert demand_peaks_w(read_tariff(TARIFF, "test"), [], FIRST_S) == {}


def test_a_contract_is_not_untaken_by_feeding_in() -> None:
    contract = SourceSettings(name="wind", kind="contract", fuel="wind", power_kw=100.0)
    assert taken_wh(contract, [quarter(0, 20_000.0), quarter(1, -20_000.0), quarter(2, 90_000.0)]) == 45_000.0


def test_blocks_of_the_year_go_on_where_the_record_stands(record: EnergyRecord) -> None:
    tariff = read_tariff(TARIFF, "test")
    record.add([], [quarter(-96, 900_000.0), quarter(-95, -900_000.0), quarter(0, 300_000.0)])
    month = Month(EnergySettings(), tariff, BillingFacts(), record)
    month.renew(FIRST_S + 1_000, UTC)
    assert month.bill is not None
    amounts = {line.text: line.amount for line in month.bill.lines}
    assert (amounts["first block"], amounts["second block"]) == ("10.00", "40.00")
    assert month.imported_kwh == 300
    assert "blocks of the year begin with what is on record here" in month.bill.missing


def test_what_is_taken_beyond_a_curtailment_is_charged_by_the_orders_on_record(record: EnergyRecord) -> None:
    tariff = load_tariff("hydro-quebec-cb-large")
    zone_s = FIRST_S + 4 * 3_600  # Montréal's first of July
    record.add([], [quarter(16 - 96 * 30, 2_500_000.0)])  # 10 MW in June
    record.add([], [quarter(16 + n, 1_500_000.0) for n in range(8)])  # 6 MW for two hours
    order = Order(
        id="call",
        source="openadr:utility",
        kind=OrderKind.ALL,
        received_s=zone_s,
        start_s=zone_s + 3_600 + 60,  # a minute late: the quarter that it begins in is not counted whole
        stop_s=zone_s + 2 * 3_600,
    )
    record.put_order(OrderRecord(order=order))
    assert curtailments(record, zone_s, zone_s + 7_200) == (Gap(zone_s + 4_500, zone_s + 7_200),)
    facts, remarks = facts_so_far(tariff, BillingFacts(), record, zone_s, zone_s + 7_200)
    assert facts.peak_12_months_w == 10_000_000
    assert remarks[0].startswith("curtailed for 0.75 h")
    assert "site file names none" in remarks[1]
    month = Month(EnergySettings(), tariff, BillingFacts(), record)
    month.renew(zone_s + 7_200, UTC)
    bill = month_bill(tariff, facts, record.quarters(zone_s, zone_s + 7_200), zone_s, remarks)
    assert bill is not None
    # 5 % of 10 MW is left: 125 kWh of each quarter's 1,500 are as agreed, 1,375 are not.
    amounts = {line.text: line.amount for line in bill.lines}
    dear = Decimal(3 * 1_375) * Decimal("0.58168")
    assert amounts["consumption above 5 % while curtailed"] == str(dear.quantize(Decimal("0.01")))
    cheap = Decimal(5 * 1_500 + 3 * 125) * Decimal("0.04025")
    assert amounts["authorized consumption"] == str(cheap.quantize(Decimal("0.01")))


def test_the_grids_own_peaks_are_charged_once_they_are_told(record: EnergyRecord) -> None:
    text = TARIFF + '[[components]]\nkind = "coincident"\nname = "peaks of the grid"\nper_kw = "5"\n'
    tariff = read_tariff(text, "test")
    record.add([], [quarter(n, 100_000.0 + 50_000.0 * n) for n in range(4)])
    told = [FIRST_S - 900, FIRST_S + 900, FIRST_S + 1_800]  # one of them in June
    settings = msgspec.convert(
        {"coincident_peaks": [datetime.fromtimestamp(at_s, UTC) for at_s in told]}, TariffSettings
    )
    for facts, charged in ((settings.facts(), "3500.00"), (BillingFacts(), None)):
        month = Month(EnergySettings(), tariff, facts, record)
        month.renew(FIRST_S + 3_700, UTC)
        assert month.bill is not None
        amounts = {line.text: line.amount for line in month.bill.lines}
        # 600 kW in the one and 800 kW in the other: 700 kW at 5.
        assert amounts.get("peaks of the grid, mean of 2") == charged
        assert any("own peaks" in one for one in month.bill.missing) is (charged is None)
    for wrong, says in (
        ("2025-07-01T12:00:00", "no time zone"),
        ("2025-07-01T12:05:00Z", "quarter"),
    ):
        with pytest.raises(msgspec.ValidationError, match=says):
            msgspec.convert({"coincident_peaks": [wrong]}, TariffSettings)


def test_the_market_is_billed_at_its_own_price_even_if_that_came_late(record: EnergyRecord) -> None:
    tariff = load_tariff("germany-day-ahead-2025")
    begin_s = FIRST_S - 7_200  # Berlin's first of July
    # A MWh more cost 121 with fees and taxes; the market's part of it was 80.
    record.add([], [quarter(n - 8, 100_000.0, price_per_mwh=121.0) for n in range(4)])
    month = Month(EnergySettings(), tariff, BillingFacts(), record)
    month.renew(begin_s + 3_700, ZoneInfo("Europe/Berlin"))
    assert month.bill is not None
    assert month.bill.total == "unknown"
    info = SeriesInfo(name="p", unit="EUR/MWh", resolution_s=3_600, source="s", currency="EUR")
    typical = make_series(info, [begin_s], [70.0], published_s=begin_s, quality=Quality.TYPICAL)
    month.renew(begin_s + 3_800, ZoneInfo("Europe/Berlin"), GridTold(price=typical))
    assert month.bill.total == "unknown", "a typical day's price is nobody's price"
    told = make_series(info, [begin_s], [80.0], published_s=begin_s)
    month.renew(begin_s + 3_900, ZoneInfo("Europe/Berlin"), GridTold(price=told))
    amounts = {line.text: line.amount for line in month.bill.lines}
    assert amounts["energy, day-ahead"] == "33.40"  # 0.4 MWh at 80 and 3.50
    # It is kept: the next process has it without the feed, and a later word does not change it.
    record.put_market({begin_s: 1.0})
    again = Month(EnergySettings(), tariff, BillingFacts(), record)
    again.renew(begin_s + 4_000, ZoneInfo("Europe/Berlin"))
    assert again.bill == month.bill
