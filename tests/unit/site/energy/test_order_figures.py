"""An order's meter series: readings that come a little early or late lose no energy, and what nobody read is a gap."""

from __future__ import annotations

import math

import pytest

from hashwerk.dispatch.baselines import BaselineKind, settle_order
from hashwerk.site.energy.order_figures import meter_series
from hashwerk.site.energy.record import Moment


def moments(*shown: tuple[float, float | None]) -> list[Moment]:
    """Return moments of a time and a power."""
    return [
        Moment(at_s=at_s, measured_w=watts, setpoint_w=None, price_per_mwh=None, hashrate_hs=None)
        for at_s, watts in shown
    ]


def test_a_clock_that_trembles_loses_nothing() -> None:
    """Every third reading comes just before its ten seconds: no interval is without one for that."""
    early = [(10.0 * n - (0.0005 if n % 3 else -0.0007), 5_000.0) for n in range(-3, 30)]
    series = meter_series(moments(*early), 3.25, 243.25, every_s=10.0)
    assert (series.start_s, series.interval_s, len(series.power_w)) == (3.25, 10.0, 24)
    assert series.power_w == pytest.approx([5_000.0] * 24)
    record = settle_order(
        order_id="1", source="api", baseline=BaselineKind.METER_BEFORE, baseline_w=15_000.0, meter=series,
        start_s=3.25, stop_s=243.25, target_w=6_000.0,
    )  # fmt: skip
    assert record.is_complete
    assert record.delivered_wh == pytest.approx(10_000 * 240 / 3_600)


def test_a_span_of_any_length_is_filled() -> None:
    series = meter_series(moments(*((10.0 * n, 1_000.0) for n in range(10))), 12.0, 47.0, every_s=10.0)
    assert (len(series.power_w), series.interval_s) == (4, 8.75)
    assert series.at(12.0, 47.0) == pytest.approx([1_000.0] * 4)


def test_a_reading_holds_since_the_one_before() -> None:
    series = meter_series(moments((0, 900.0), (10, 600.0), (20, 200.0), (30, 0.0)), 5.0, 25.0, every_s=10.0)
    assert series.power_w == pytest.approx([400.0, 100.0])


def test_what_nobody_read_is_a_gap() -> None:
    shown = moments((0, 500.0), (10, 500.0), (20, None), (30, 500.0), (70, 500.0), (80, 500.0))
    series = meter_series(shown, 0.0, 100.0, every_s=10.0)
    assert [math.isnan(watts) for watts in series.power_w] == [
        False,
        True,
        False,
        *[True] * 4,
        False,
        True,
        True,
    ]
    assert math.isnan(meter_series([], 0.0, 10.0, every_s=10.0).power_w[0])
