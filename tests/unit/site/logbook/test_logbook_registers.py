"""Registers go on where they were logged to, over gaps, restarts and exchanged meters, and the verifier agrees."""

from __future__ import annotations

import itertools
from typing import Any

import pytest

from hashwerk.energy.registers import Direction as Register
from hashwerk.energy.registers import MeterInterval
from hashwerk.energy.series import Quality
from hashwerk.evidence import records
from hashwerk.evidence.leaf import encode_record
from hashwerk.evidence.standing import Standing
from hashwerk.evidence.verify.energy import check_meters
from hashwerk.evidence.verify.facts import Facts
from hashwerk.evidence.verify.result import Checks, Verdict
from hashwerk.meters.settings import ModbusTcpMeter
from hashwerk.site.logbook.registers import log_register
from hashwerk.site.logbook.state import RegisterState

SETTINGS = ModbusTcpMeter(
    name="main", host="127.0.0.1", map="schneider-iem3155", ratio=40, max_power_w=100_000.0
)
STEP_S = 900
START_S = 1_790_000_100 // STEP_S * STEP_S


def interval(
    number: int, start_wh: int, end_wh: int | None, *, serial: str | None = "A1", **more: Any
) -> MeterInterval:
    return MeterInterval(
        meter="main",
        serial=serial,
        direction=Register.IMPORT,
        start_s=START_S + number * STEP_S,
        stop_s=START_S + (number + 1) * STEP_S,
        start_wh=start_wh,
        end_wh=start_wh if end_wh is None else end_wh,
        wh=None if end_wh is None else end_wh - start_wh,
        quality=more.get("quality", Quality.MISSING if end_wh is None else Quality.MEASURED),
    )


def log_all(*steps: list[MeterInterval]) -> tuple[list[records.Record], RegisterState]:
    """Log in several steps, as after restarts."""
    state: RegisterState | None = None
    found: list[records.Record] = []
    for rows in steps:
        more, state = log_register(SETTINGS, records.Direction.IMPORT, rows, state)
        found += more
    assert state is not None
    return found, state


def judged(found: list[records.Record]) -> tuple[Verdict, dict[str, list[str]]]:
    """Return what a stranger says of these records, each logged in an epoch of its own."""
    facts, checks = Facts(), Checks()
    now = Standing()
    for number, (_, group) in enumerate(itertools.groupby(found, key=lambda r: getattr(r, "end_us", 0)), 1):
        rows = list(group)
        for row in rows:
            encode_record(row)
        facts.take_epoch(number, rows, now)
        now = now.after(rows)
    check_meters(checks, facts)
    return checks.verdict, {c.name: [c.detail] for c in checks.results() if not c.ok}


def meters(found: list[records.Record]) -> list[records.Meter]:
    return [record for record in found if isinstance(record, records.Meter)]


def test_intervals_go_on_over_restarts_and_are_logged_once() -> None:
    one, two, three = interval(0, 1_000, 1_500), interval(1, 1_500, 2_100), interval(2, 2_100, 2_100)
    found, state = log_all([one, two], [one, two], [two, three])
    assert [(m.start_wh, m.end_wh, m.quality) for m in meters(found)] == [
        (1_000, 1_500, 0),
        (1_500, 2_100, 0),
        (2_100, 2_100, 0),
    ]
    assert {(m.serial, m.multiplier_ppm, m.direction) for m in meters(found)} == {("A1", 40_000_000, 0)}
    assert state.end_us == (START_S + 3 * STEP_S) * 10**6
    assert judged(found)[0] is Verdict.VALID


def test_what_was_counted_while_nobody_read_is_the_registers_difference() -> None:
    found, _ = log_all([interval(0, 1_000, 1_500)], [interval(4, 3_000, 3_400, quality=Quality.ESTIMATED)])
    filled = meters(found)[1]
    assert (filled.start_wh, filled.end_wh, filled.quality) == (1_500, 3_000, int(records.Quality.FILLED))
    assert filled.end_us - filled.start_us == 3 * STEP_S * 10**6
    assert meters(found)[2].quality == int(records.Quality.ESTIMATED)
    assert judged(found)[0] is Verdict.VALID


@pytest.mark.parametrize(
    "after",
    [
        pytest.param(interval(3, 200, 300), id="set back"),
        pytest.param(interval(3, 1_900, 2_000, serial="B2"), id="exchanged"),
        pytest.param(interval(3, 9_000_000, 9_000_100), id="more than the connection carries"),
        pytest.param(interval(1, 1_600, 1_700), id="a jump without a gap"),
    ],
)
def test_a_register_that_does_not_go_on_is_declared_to_begin_anew(after: MeterInterval) -> None:
    found, _ = log_all(
        [interval(0, 1_000, 1_500)],
        [after],
        [interval(5, after.end_wh, after.end_wh + 50, serial=after.serial)],
    )
    declared = [record for record in found if isinstance(record, records.Configuration)]
    assert [record.name for record in declared] == ["meter/main"]
    assert declared[0].value.startswith(f"{after.serial}, anew since 2026-")
    assert [m.serial for m in meters(found)] == ["A1", *[declared[0].value] * (len(meters(found)) - 1)]
    assert meters(found)[1].start_wh == after.start_wh, "nothing is made up for what nobody knows"
    verdict, failed = judged(found)
    assert verdict is (Verdict.VALID if after.start_s == START_S + STEP_S else Verdict.INCOMPLETE), failed
    assert not failed or "the meter was exchanged in it" in failed["meter coverage"][0]


def test_an_interval_of_which_part_is_not_known_is_left_out() -> None:
    found, state = log_all([interval(0, 1_000, 1_500), interval(1, 1_500, None)], [interval(2, 1_500, 1_900)])
    assert len(meters(found)) == 2
    assert not state.is_broken
    verdict, failed = judged(found)
    assert verdict is Verdict.INCOMPLETE
    assert list(failed) == ["meter coverage"]


def test_a_meter_that_does_not_tell_its_serial_is_still_one() -> None:
    found, _ = log_all([interval(0, 1, 2, serial=None)], [interval(1, 2, 3, serial=None)])
    assert {m.serial for m in meters(found)} == {"unknown"}
    assert judged(found)[0] is Verdict.VALID
