"""Registers made into intervals: exact to the Wh, and whatever happens to a register is found and recorded."""

from __future__ import annotations

import itertools

import pytest

from hashwerk.energy.ports import RegisterReading
from hashwerk.energy.registers import Direction, EventKind, MeterTrack, RegisterTrack
from hashwerk.energy.series import Quality

START = 1_773_144_000  # a full hour


def track(**changes: object) -> RegisterTrack:
    settings = {
        "meter": "m",
        "direction": Direction.IMPORT,
        "interval_s": 900,
        "max_power_w": 100_000.0,
        "gap_s": 120.0,
    }
    return RegisterTrack(**{**settings, **changes})


def feed(one: RegisterTrack, rows: list[tuple[float, int] | tuple[float, int, str]]):
    intervals, events = [], []
    for at_s, wh, *serial in rows:
        done, told = one.take(START + at_s, wh, serial[0] if serial else None)
        intervals += done
        events += told
    return intervals, events


def steady(until_s: int, w: int = 36_000, start_wh: int = 1_000, step_s: int = 60) -> list[tuple[float, int]]:
    return [(at, start_wh + w * at // 3_600) for at in range(0, until_s + 1, step_s)]


def test_intervals_are_the_differences_of_the_register_and_share_their_edges():
    intervals, events = feed(track(), steady(2_700))
    assert events == []
    assert [one.wh for one in intervals] == [9_000] * 3
    assert [one.start_s - START for one in intervals] == [0, 900, 1_800]
    assert intervals[0].start_wh == 1_000
    assert all(one.end_wh == later.start_wh for one, later in itertools.pairwise(intervals))
    assert {one.quality for one in intervals} == {Quality.MEASURED}


def test_edges_between_readings_are_interpolated_in_whole_wh():
    rows = [(-30.0, 0), (37.0, 67), (870.0, 900), (931.0, 961), (1_795.0, 1_825), (1_855.0, 1_885)]
    intervals, _ = feed(track(), rows)
    assert sum(one.wh for one in intervals) == intervals[-1].end_wh - intervals[0].start_wh
    assert [one.wh for one in intervals] == [900, 900]


def test_the_interval_that_had_begun_before_the_first_reading_is_not_told():
    intervals, _ = feed(track(), [(at + 100, wh) for at, wh in steady(1_800)])
    assert [one.start_s - START for one in intervals] == [900]


def test_a_gap_is_filled_from_the_register_and_said_to_be_estimated():
    rows = [*steady(600), *[(at, wh) for at, wh in steady(3_600) if at >= 3_000]]
    intervals, events = feed(track(), rows)
    assert [event.kind for event in events] == [EventKind.GAP]
    assert [one.wh for one in intervals] == [9_000] * 4
    assert [one.quality for one in intervals] == [
        Quality.ESTIMATED,
        Quality.ESTIMATED,
        Quality.ESTIMATED,
        Quality.ESTIMATED,
    ]
    assert "silent for 2400 s" in events[0].text


def test_what_comes_after_a_gap_is_measured_again():
    rows = [*steady(600), *[(at, wh) for at, wh in steady(5_400) if at >= 1_500]]
    intervals, _ = feed(track(), rows)
    assert [one.quality for one in intervals[-3:]] == [Quality.MEASURED] * 3


def test_a_register_that_wraps_loses_nothing():
    rows = [(at, wh % 10_000) for at, wh in steady(1_800, start_wh=8_000)]
    intervals, events = feed(track(wraps_at_wh=10_000), rows)
    assert [event.kind for event in events] == [EventKind.WRAP] * 2
    assert [one.wh for one in intervals] == [9_000, 9_000]
    assert intervals[-1].end_wh == 8_000 + 18_000


def test_without_a_known_end_a_fall_is_a_reset_and_its_energy_missing():
    rows = [*steady(600), *[(at, wh - 7_000) for at, wh in steady(2_700) if at > 600]]
    intervals, events = feed(track(), rows)
    assert [event.kind for event in events] == [EventKind.RESET]
    assert [one.wh for one in intervals] == [None, 9_000, 9_000]
    assert intervals[0].quality is Quality.MISSING
    # What is known bounds it from below.
    assert intervals[0].end_wh - intervals[0].start_wh == 9_000 - 600


def test_a_swapped_meter_leaves_a_hole_and_counts_on():
    rows = [(at, wh, "A") for at, wh in steady(600)]
    rows += [(at, wh + 500_000, "B") for at, wh in steady(2_700) if at > 600]
    intervals, events = feed(track(), rows)
    assert [event.kind for event in events] == [EventKind.SWAP]
    assert [one.wh for one in intervals] == [None, 9_000, 9_000]
    assert [one.serial for one in intervals] == ["B", "B", "B"]
    assert intervals[2].end_wh < 500_000


def test_a_meter_that_forgets_its_serial_for_once_is_not_swapped():
    rows = [(0, 0, "A"), (60, 600), (120, 1_200, "A")]
    assert feed(track(), rows)[1] == []


def test_a_fall_of_a_few_wh_is_jitter_and_not_counted_twice():
    rows = [(0, 1_000), (60, 1_600), (120, 1_590), (180, 1_650), (900, 8_000)]
    intervals, events = feed(track(gap_s=1_000), rows)
    assert [event.kind for event in events] == [EventKind.JITTER]
    assert intervals[0].wh == 7_000


@pytest.mark.parametrize("jump_wh", [50_000, 10**9])
def test_a_register_that_leaps_is_not_believed(jump_wh):
    rows = [*steady(600), *[(at, wh + jump_wh) for at, wh in steady(1_800) if at > 600]]
    intervals, events = feed(track(), rows)
    assert [event.kind for event in events] == [EventKind.LEAP]
    assert [one.wh for one in intervals] == [None, 9_000]


def test_readings_come_in_order_and_are_not_negative():
    one = track()
    one.take(START, 5, None)
    with pytest.raises(ValueError, match="comes after"):
        one.take(START, 6, None)
    with pytest.raises(ValueError, match="not negative"):
        one.take(START + 1, -1, None)


def test_import_and_export_are_counted_apart():
    meter = MeterTrack("m", interval_s=900, max_power_w=100_000)
    done = []
    for at in range(0, 901, 60):
        reading = RegisterReading(meter="m", at_s=START + at, import_wh=at, export_wh=10**6 + 2 * at)
        done += meter.take(reading)[0]
    assert [(one.direction, one.wh) for one in done] == [(Direction.IMPORT, 900), (Direction.EXPORT, 1_800)]


def test_whatever_happens_intervals_sum_up_to_the_count():
    import random

    random.seed(11)
    one = track(wraps_at_wh=50_000, gap_s=100)
    at, true_wh, intervals = 0.0, 0, []
    one.take(START, 0, None)
    for _ in range(400):
        step = random.choice([5.0, 17.3, 60.0, 400.0])
        at += step
        true_wh += random.randrange(0, max(1, int(step * 27)))
        intervals += one.take(START + at, true_wh % 50_000, None)[0]
    assert all(interval.wh is not None for interval in intervals)
    assert sum(interval.wh for interval in intervals) == intervals[-1].end_wh - intervals[0].start_wh
    assert 0 <= true_wh - intervals[-1].end_wh <= 400 * 27
