"""The physics of one machine: power, heat, energy and work as functions of time."""

from __future__ import annotations

import itertools
import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hashwerk.twin import physics
from hashwerk.twin.catalogue import MODELS, find_model
from hashwerk.twin.models import Model, Timing, limited
from hashwerk.twin.physics import Course, Knot, Phase, Plant, Settled

_Q = find_model("avalon-q")
_START = 1_750_000_000.0
#: A double holds today's Unix time to 0.24 µs; energy and hashes are off by as much at full power.
_ENERGY = {"rel": 1e-5, "abs": 1e-4}
_HASHES = {"rel": 1e-5, "abs": 1e9}


def _plant(course: Course, model: Model = _Q, inlet_c: float = 25.0) -> Plant:
    return Plant(model=model, at=_START, course=course, inlet_c=inlet_c, board_c=inlet_c)


@st.composite
def _courses(draw: st.DrawFn) -> Course:
    lengths = draw(st.lists(st.floats(0.1, 600), min_size=0, max_size=5))
    times = itertools.accumulate(lengths, initial=_START + draw(st.floats(-100, 100)))
    return tuple(Knot(at, draw(st.floats(0, 4000)), draw(st.floats(0, 2e14)), Phase.HASHING) for at in times)


@given(_courses(), st.lists(st.floats(0, 3000), min_size=1, max_size=6))
@settings(max_examples=60, deadline=None)
def test_asking_more_often_changes_nothing(course: Course, asked_after_s: list[float]) -> None:
    moments = sorted(asked_after_s)
    asked_often = _plant(course)
    for after_s in moments:
        asked_often = asked_often.advanced(_START + after_s)
    asked_once = _plant(course).advanced(_START + moments[-1])
    assert asked_often.energy_wh == pytest.approx(asked_once.energy_wh, **_ENERGY)
    assert asked_often.hashes == pytest.approx(asked_once.hashes, **_HASHES)
    assert asked_often.board_c == pytest.approx(asked_once.board_c, rel=1e-6)
    assert asked_often.averages_hs == pytest.approx(asked_once.averages_hs, **_HASHES)


@given(_courses(), st.floats(0, 3000))
@settings(max_examples=60, deadline=None)
def test_energy_is_the_integral_of_power(course: Course, after_s: float) -> None:
    plant, end = _plant(course), _START + after_s
    knots = [knot.at for knot in course if _START < knot.at < end]
    pieces = itertools.pairwise([_START, *knots, end])
    # Power is straight between knots: trapezoids are exact.
    summed_wh = math.fsum((b - a) * (plant.power_w(a) + plant.power_w(b)) / 2 for a, b in pieces) / 3600
    found_wh, hashes = plant.work_until(_START + after_s)
    assert found_wh == pytest.approx(summed_wh, **_ENERGY)
    assert plant.advanced(_START + after_s).energy_wh == pytest.approx(found_wh, **_ENERGY)
    assert plant.advanced(_START + after_s).hashes == pytest.approx(hashes, **_HASHES)


@given(st.sampled_from(sorted(MODELS)), st.floats(-10, 45), st.floats(0, 6000))
@settings(max_examples=60, deadline=None)
def test_temperature_stays_between_the_air_and_where_it_is_going(
    key: str, inlet_c: float, after_s: float
) -> None:
    model = find_model(key)
    power_w = model.points[-1].power_w
    course = (Knot(_START, power_w, 1e12, Phase.HASHING),)
    plant = _plant(course, model, inlet_c).advanced(_START + after_s)
    steady_c = physics.steady_temperature_c(model, power_w, inlet_c)
    assert inlet_c - 1e-9 <= plant.board_c <= steady_c + 1e-9


def test_fans_hold_the_target_until_they_cannot() -> None:
    nominal_w = _Q.points[_Q.default_point].power_w
    assert physics.fan_share(_Q, nominal_w, 25) == pytest.approx(0.6)
    assert physics.steady_temperature_c(_Q, nominal_w, 25) == pytest.approx(_Q.chip_target_c)
    hot_w = _Q.points[-1].power_w
    assert physics.fan_share(_Q, hot_w, 48) == 1.0
    assert physics.steady_temperature_c(_Q, hot_w, 48) > _Q.chip_target_c
    assert physics.steady_temperature_c(_Q, nominal_w, 25, override=0.3) > _Q.chip_target_c


def test_a_start_draws_before_it_hashes() -> None:
    timing = Timing(boot_s=40, init_s=60, ramp_s=100, sleep_s=5, mode_s=30)
    plant = _plant(physics.start_course(_START, timing, 146, Settled(1400, 80e12)))
    assert plant.power_w(_START) == 146
    assert plant.phase(_START + 30) is Phase.STARTING
    assert plant.power_w(_START + 30) == pytest.approx(0.35 * 1400)
    assert plant.hashrate_hs(_START + 59.9) == 0
    assert plant.hashrate_hs(_START + 110) == pytest.approx(40e12)
    assert plant.power_w(_START + 160) == plant.power_w(_START + 10_000) == 1400
    assert plant.phase(_START + 60) is Phase.HASHING


def test_sleep_ends_hashing_at_once_and_power_soon() -> None:
    timing = Timing(boot_s=40, init_s=60, ramp_s=100, sleep_s=5, mode_s=30)
    plant = _plant(physics.sleep_course(_START, timing, 146, 1400))
    assert plant.hashrate_hs(_START + 0.1) == 0
    assert plant.power_w(_START + 2.5) == pytest.approx((1400 + 146) / 2)
    assert plant.power_w(_START + 5) == 146
    assert plant.phase(_START + 2) is Phase.FALLING
    assert plant.phase(_START + 5) is Phase.ASLEEP


def test_what_is_past_is_not_asked_again() -> None:
    plant = _plant(physics.still_course(_START, 100, Phase.ASLEEP)).advanced(_START + 3600)
    assert plant.energy_wh == pytest.approx(100)
    assert plant.advanced(_START) is plant


@pytest.mark.parametrize("key", sorted(MODELS))
def test_the_table_is_sound(key: str) -> None:
    model = find_model(key)
    powers = [point.power_w for point in model.points]
    assert powers == sorted(powers)
    assert model.idle_w < powers[0]
    assert all(8 < point.power_w / (point.hashrate_hs / 1e12) < 60 for point in model.points)  # J/TH
    assert 0 <= model.default_point < len(model.points)
    assert all(
        point.source in {"evcc", "published", "firmware", "nameplate", "assumed"} for point in model.points
    )


def test_a_limit_lies_on_the_lines_between_points() -> None:
    points = find_model("whatsminer-m50s").points
    assert limited(points, 1) == (points[0].power_w, points[0].hashrate_hs)
    assert limited(points, 99_999) == (points[-1].power_w, points[-1].hashrate_hs)
    power_w, hashrate_hs = limited(points, (points[0].power_w + points[1].power_w) / 2)
    assert hashrate_hs == pytest.approx((points[0].hashrate_hs + points[1].hashrate_hs) / 2)
    assert points[0].power_w < power_w < points[1].power_w
