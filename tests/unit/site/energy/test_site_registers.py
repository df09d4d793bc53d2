"""The month's bill and peak by the meter's registers, and by integrated power only where the meter does not say."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

from hashwerk.energy.registers import Direction, MeterInterval
from hashwerk.energy.series import Quality
from hashwerk.energy.settings import EnergySettings
from hashwerk.energy.tariff import load_tariff
from hashwerk.energy.usage import BillingFacts
from hashwerk.meters.settings import ModbusTcpMeter
from hashwerk.site.energy.metered import SiteRegisters, by_quarter
from hashwerk.site.energy.month import Month
from hashwerk.site.energy.readings import Readings
from hashwerk.site.energy.record import EnergyRecord, Quarter

FIRST_S = int(datetime(2025, 7, 1, tzinfo=UTC).timestamp())
METER = ModbusTcpMeter(
    name="main", scope="site", host="127.0.0.1", port=502, map="schneider-iem3155", max_power_w=1e6
)


def interval(start_s: int, wh: int | None, length_s: int = 300) -> MeterInterval:
    return MeterInterval(
        meter="main",
        serial=None,
        direction=Direction.IMPORT,
        start_s=start_s,
        stop_s=start_s + length_s,
        start_wh=0,
        end_wh=wh or 0,
        wh=wh,
        quality=Quality.MEASURED if wh is not None else Quality.MISSING,
    )


def test_a_quarter_counts_if_all_of_it_is_known() -> None:
    whole = [interval(FIRST_S + 300 * n, 100 + n) for n in range(3)]
    assert by_quarter(whole) == {FIRST_S: 303}
    assert by_quarter(whole[:2]) == {}
    assert by_quarter([*whole[:2], interval(FIRST_S + 600, None)]) == {}
    assert by_quarter([interval(FIRST_S, 900, 1_800)]) == {}, "half an hour says nothing of its quarters"
    assert by_quarter([interval(FIRST_S, 300, 900)]) == {FIRST_S: 300}


async def test_the_bill_is_of_registers(tmp_path: Path) -> None:
    record, readings = EnergyRecord(tmp_path / "energy.sqlite"), Readings(tmp_path / "meters.sqlite")
    record.open()
    readings.open()
    # Power integrates to 250 kWh a quarter of an hour; the meter counted 251, in one 260, and missed part of the last.
    quarters = [
        Quarter(start_s=FIRST_S + 900 * n, covered_s=900.0, import_wh=250_000.0, market_per_mwh=80.0)
        for n in range(4)
    ]
    record.add([], quarters)
    taken = [251_000, 260_000, 251_000]
    readings.record([interval(FIRST_S + 900 * n, wh, 900) for n, wh in enumerate(taken)], [])
    readings.record([interval(FIRST_S + 2_700, 100), interval(FIRST_S + 3_000, None)], [])
    await readings.close()
    month = Month(
        EnergySettings(),
        load_tariff("germany-day-ahead-2025"),
        BillingFacts(authorised_w=2_000_000),
        record,
        SiteRegisters(tmp_path / "meters.sqlite", [METER]),
    )
    month.renew(FIRST_S + 3_700, UTC)
    assert month.peaks_w == {"network, power": 4 * 260_000.0}
    assert month.bill is not None
    assert month.bill.import_wh == sum(taken) + 250_000
    assert month.bill.missing[0] == "0.25 h are integrated from power, and not a meter's register"
    # Without a meter at the border all is integrated, and the bill says so.
    feeder = ModbusTcpMeter(
        **{**{f: getattr(METER, f) for f in METER.__struct_fields__}, "scope": "feeder:1"}
    )
    bare = SiteRegisters(tmp_path / "meters.sqlite", [feeder])
    assert bare.counted(quarters) == quarters
    record.close()
