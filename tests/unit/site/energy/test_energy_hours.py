"""Whose energy each hour was: by the rule that was declared before it, kept for good, and never told anew."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from datetime import UTC
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest

from hashwerk.energy.factors import IPCC_2014
from hashwerk.energy.series import SeriesInfo, make_series
from hashwerk.energy.settings import EnergySettings
from hashwerk.energy.usage import BillingFacts
from hashwerk.site.energy.hours import GridTold
from hashwerk.site.energy.month import Month
from hashwerk.site.energy.record import ENERGY, SCRIPTS, EnergyRecord, Moment, Quarter
from hashwerk.store.connection import connect_writer
from hashwerk.store.migrations import migrate
from hashwerk.store.settings import StoreSettings

NOW = 1_751_932_800  # Tuesday, 8 July 2025, 00:00 UTC
HOUR_S = 3_600
FIRST_S = NOW + HOUR_S
ROOF = {"name": "Roof", "kind": "own", "fuel": "solar"}
DAM = {"name": "Dam", "kind": "own", "fuel": "hydro"}


def settings_of(rule: str = "own-first/1", *sources: dict[str, Any], **others: Any) -> EnergySettings:
    values = {"sources": sources or (DAM, ROOF), "attribution": {"rule": rule, "order": ["Dam"]}}
    return msgspec.convert(values | others, EnergySettings)


def month_of(settings: EnergySettings, record: EnergyRecord) -> Month:
    return Month(settings, None, BillingFacts(), record)


def quarters_of(
    hour_s: int, *, dam_wh: float = 300.0, roof_wh: float = 0.0, net_wh: float = 100.0
) -> list[Quarter]:
    return [
        Quarter(
            start_s=hour_s + 900 * n,
            covered_s=900.0,
            import_wh=net_wh,
            sources={"Dam": dam_wh, "Roof": roof_wh},
        )
        for n in range(4)
    ]


def told(g_per_kwh: float, hours: int = 12) -> GridTold:
    info = SeriesInfo(name="carbon", unit="g/kWh", resolution_s=HOUR_S, source="a feed, CC BY 4.0")
    starts = NOW + HOUR_S * np.arange(hours)
    return GridTold(carbon=make_series(info, starts, [g_per_kwh] * hours, published_s=NOW))


@pytest.fixture
def record(tmp_path: Path) -> Iterator[EnergyRecord]:
    opened = EnergyRecord(tmp_path / "energy.sqlite")
    opened.open()
    yield opened
    opened.close()


def test_nothing_is_attributed_before_its_rule_was_declared(record: EnergyRecord) -> None:
    month = month_of(settings_of(), record)
    month.hours.declare(NOW + 60)
    record.add([], [*quarters_of(NOW), *quarters_of(FIRST_S), *quarters_of(FIRST_S + HOUR_S, dam_wh=0.0)])
    month.renew(FIRST_S + 2 * HOUR_S + 60, UTC, told(300.0))
    assert [hour.start_s for hour in record.hours(0, 2**40)] == [FIRST_S, FIRST_S + HOUR_S]
    clean = month.clean
    assert clean is not None
    assert clean.is_declared_before
    assert clean.hourly_matched == pytest.approx(1_200 / 2_000)
    # 800 Wh of the grid at 300 g and 1,200 Wh of hydro at 24 g.
    assert clean.g_per_kwh == pytest.approx((800 * 300 + 1_200 * 24) / 2_000)
    assert clean.hours[-1].by_source == {"Dam": 1_200, "grid": 400}
    assert clean.rules[0].since_s == FIRST_S
    assert clean.rules[0].factors == IPCC_2014.label


def test_a_new_rule_holds_for_the_hours_after_the_restart_alone(record: EnergyRecord) -> None:
    amounts = {"dam_wh": 100.0, "roof_wh": 300.0, "net_wh": -100.0}  # 400 Wh given, 300 of them used
    before = month_of(settings_of(), record)
    before.hours.declare(NOW)
    record.add([], quarters_of(FIRST_S, **amounts))
    before.renew(FIRST_S + HOUR_S + 60, UTC)
    # The site file is changed, and the mine starts anew in the middle of the second hour, a third one follows.
    after = month_of(
        settings_of("pro-rata/1", attribution={"rule": "pro-rata/1", "factors": "ccaf-2025"}), record
    )
    after.hours.declare(FIRST_S + HOUR_S + 1_800)
    record.add([], [*quarters_of(FIRST_S + HOUR_S, **amounts), *quarters_of(FIRST_S + 2 * HOUR_S, **amounts)])
    after.renew(FIRST_S + 3 * HOUR_S + 60, UTC)
    first, second, third = record.hours(0, 2**40)
    assert first.by_source == second.by_source == {"Dam": 400, "Roof": 800}
    assert (second.rule, second.factors) == ("own-first/1", "IPCC 2014, life cycle")
    assert third.by_source == {"Dam": 300, "Roof": 900}
    assert (third.rule, third.factors) == ("pro-rata/1", "CCAF 2025, life cycle")
    assert third.declared_s < third.start_s
    assert [rule.rule for rule in record.rules()] == ["own-first/1", "pro-rata/1"]
    # The same site file once more declares nothing new.
    again = month_of(
        settings_of("pro-rata/1", attribution={"rule": "pro-rata/1", "factors": "ccaf-2025"}), record
    )
    again.hours.declare(FIRST_S + 9 * HOUR_S)
    assert len(again.hours.rules) == 2
    # What is kept is never written anew, whatever comes later.
    record.put_hours([msgspec.structs.replace(first, load_wh=1)])
    assert record.hours(0, FIRST_S + 1) == [first]


def test_an_hour_that_ended_while_nothing_ran_is_closed_by_its_own_rule(record: EnergyRecord) -> None:
    month_of(settings_of(), record).hours.declare(NOW)
    record.add([], quarters_of(FIRST_S, dam_wh=0.0, net_wh=200.0)[:3])  # the last quarter was not measured
    late = month_of(settings_of("contracts-first/1"), record)
    late.hours.declare(NOW + 30 * HOUR_S)
    late.renew(NOW + 30 * HOUR_S, UTC, told(410.0))
    (hour,) = record.hours(0, 2**40)
    assert (hour.rule, hour.covered_s, hour.load_wh) == ("own-first/1", 2_700, 600)
    assert hour.grid.source == "a feed, CC BY 4.0"
    assert hour.location_mg == 600 * 410


def test_the_last_quarter_of_an_hour_is_waited_for_and_not_for_ever(record: EnergyRecord) -> None:
    month = month_of(settings_of(), record)
    month.hours.declare(NOW)
    record.add([], quarters_of(FIRST_S)[:3])
    month.renew(FIRST_S + HOUR_S + 120, UTC)
    assert record.hours(0, 2**40) == []
    month.renew(FIRST_S + HOUR_S + 901, UTC)
    assert [hour.covered_s for hour in record.hours(0, 2**40)] == [2_700]


@pytest.mark.parametrize(
    ("changes", "told_by", "says"),
    [
        ({}, "not told", "nobody told the grid's intensity"),
        ({"grid": {"g_per_kwh": "380"}}, "the site file", ""),
        ({"grid": {"mix": {"flared gas": 1}}}, "not known", "nobody told"),
        (
            {"sources": [DAM | {"fuel": "flared gas"}], "grid": {"g_per_kwh": "380"}},
            "the site file",
            "flared gas",
        ),
    ],
)
def test_a_factor_that_is_missing_is_said_and_ends_nothing(
    record: EnergyRecord, changes: dict[str, Any], told_by: str, says: str
) -> None:
    month = month_of(settings_of("own-first/1", **changes), record)
    month.hours.declare(NOW)
    record.add([], quarters_of(FIRST_S))
    month.renew(FIRST_S + HOUR_S + 60, UTC)
    (hour,) = record.hours(0, 2**40)
    assert told_by in hour.grid.source
    assert says in hour.remark
    assert (hour.location_mg is None) == bool(says)
    assert month.clean is not None


_WRITER = """
import sys
from pathlib import Path
from hashwerk.energy.hours import EnergyHour
from hashwerk.site.energy.record import EnergyRecord
record = EnergyRecord(Path(sys.argv[1]))
record.open()
at = 3600
while True:
    record.put_hours([EnergyHour(start_s=at, covered_s=3600, is_metered=True, load_wh=at, by_source={"grid": at}, clean_wh=0,
        rule="own-first/1", rule_start_s=0, declared_s=0, factors="IPCC 2014, life cycle")])
    print(at, flush=True)
    at += 3600
"""


def test_no_closed_hour_is_lost_by_a_kill(tmp_path: Path) -> None:
    path = tmp_path / "energy.sqlite"
    with subprocess.Popen(
        [sys.executable, "-c", _WRITER, str(path)], stdout=subprocess.PIPE, text=True
    ) as writer:
        assert writer.stdout is not None
        closed = [int(writer.stdout.readline()) for _ in range(20)]
        os.kill(writer.pid, signal.SIGKILL)
        closed += [int(line) for line in writer.stdout.read().splitlines()]
    record = EnergyRecord(path)
    record.open()
    kept = {hour.start_s: hour.load_wh for hour in record.hours(0, 2**40)}
    record.close()
    assert closed[0] == HOUR_S
    assert all(kept[at_s] == at_s for at_s in closed)


def test_a_record_of_the_first_schema_is_taken_over(tmp_path: Path) -> None:
    path = tmp_path / "energy.sqlite"
    connection = connect_writer(path, StoreSettings())
    migrate(connection, path, SCRIPTS[:1], ENERGY)
    connection.close()
    record = EnergyRecord(path)
    record.open()
    record.add([Moment(at_s=NOW, measured_w=1.0, setpoint_w=None, price_per_mwh=None, hashrate_hs=None)])
    assert record.rules() == []
    assert record.newest("hours") is None
    record.close()
