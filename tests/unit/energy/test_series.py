"""Series: what is missing stays missing, and nobody reads what was not yet published."""

from __future__ import annotations

import numpy as np
import pytest

from hashwerk.energy.published import PublishedSeries, describe_gaps, empty_series, published
from hashwerk.energy.series import Aggregate, Gap, Quality, SeriesInfo, join, make_series

HOUR = 3_600
INFO = SeriesInfo(name="day-ahead", unit="EUR/MWh", resolution_s=HOUR, source="test", currency="EUR")
ENERGY = SeriesInfo(name="load", unit="Wh", resolution_s=900, source="meter", aggregate=Aggregate.SUM)


def test_a_missing_value_is_a_mark_and_never_a_number():
    series = make_series(INFO, [0, HOUR, 2 * HOUR], [50.0, None, float("nan")], published_s=0)
    assert np.isfinite(series.values).all()
    assert list(series.known) == [True, False, False]
    assert series.at(10) == 50.0
    assert series.at(HOUR) is None
    assert series.at(3 * HOUR) is None
    assert series.at(-1) is None


def test_a_number_that_is_none_is_refused():
    with pytest.raises(ValueError, match="no number"):
        published(make_series(INFO, [0], [float("inf")], published_s=0))


def test_intervals_may_not_overlap():
    with pytest.raises(ValueError, match="overlap"):
        make_series(INFO, [0, 1_800], [1.0, 2.0], published_s=0)


def test_values_cannot_be_changed():
    series = make_series(INFO, [0], [1.0], published_s=0)
    with pytest.raises(ValueError, match="read-only"):
        series.values[0] = 2.0


def test_a_mean_over_longer_intervals_needs_all_its_parts():
    quarters = SeriesInfo(name="price", unit="EUR/MWh", resolution_s=900, source="test")
    series = make_series(
        quarters, np.arange(8) * 900, [10.0, 20.0, 30.0, 40.0, 1.0, None, 1.0, 1.0], published_s=7
    )
    hours = series.resample(HOUR)
    assert list(hours.values) == [25.0, 0.0]
    assert list(hours.quality) == [Quality.MEASURED, Quality.MISSING]
    assert hours.gaps(0, 2 * HOUR) == (Gap(HOUR, 2 * HOUR),)


def test_a_price_holds_in_each_part_of_its_hour_exactly():
    value = 0.1 + 0.2
    parts = make_series(INFO, [0], [value], published_s=0).resample(300)
    assert list(parts.values) == [value] * 12


def test_energy_is_summed_and_a_cut_interval_is_an_estimate():
    series = make_series(ENERGY, np.arange(4) * 900, [100.0, 200.0, 300.0, 400.0], published_s=0)
    assert list(series.resample(HOUR).values) == [1_000.0]
    values, quality = series.on([0, 450], [450, 900])
    assert list(values) == [50.0, 50.0]
    assert list(quality) == [Quality.ESTIMATED] * 2


def test_an_interval_only_partly_covered_is_missing():
    series = make_series(INFO, [HOUR], [5.0], published_s=0)
    _, quality = series.on([0, HOUR + 10, 2 * HOUR - 10], [HOUR + 10, 2 * HOUR - 10, 3 * HOUR])
    assert list(quality) == [Quality.MISSING, Quality.MEASURED, Quality.MISSING]


def test_a_rolling_grid_takes_means_by_seconds():
    series = make_series(INFO, [0, HOUR], [10.0, 40.0], published_s=0)
    values, quality = series.on([0, 1_800], [1_800, 2 * HOUR])
    assert list(values) == [10.0, (10 * 1_800 + 40 * 3_600) / 5_400]
    assert quality.all()


def test_the_worst_quality_of_the_parts_is_the_quality_of_the_whole():
    first = make_series(INFO, [0], [1.0], published_s=0)
    second = make_series(INFO, [HOUR], [2.0], published_s=0, quality=Quality.FORECAST)
    both = published(first).merged(published(second)).as_of(0)
    assert list(both.resample(2 * HOUR).quality) == [Quality.FORECAST]


def test_joined_series_share_their_intervals_and_keep_their_own_gaps():
    price = make_series(INFO, [0, HOUR], [1.0, 2.0], published_s=0)
    carbon = make_series(INFO, [HOUR], [300.0], published_s=0)
    left, right = join([price, carbon], 0, 2 * HOUR, HOUR)
    assert list(left.starts_s) == list(right.starts_s) == [0, HOUR]
    assert list(left.known) == [True, True]
    assert list(right.known) == [False, True]


def test_views_of_different_moments_are_not_joined():
    series = published(make_series(INFO, [0], [1.0], published_s=0))
    with pytest.raises(ValueError, match="different moments"):
        join([series.as_of(1), series.as_of(2)], 0, HOUR, HOUR)


def test_nobody_reads_what_was_not_yet_published():
    day_ahead = published(make_series(INFO, [100 * HOUR, 101 * HOUR], [1.0, 2.0], published_s=[50, 60]))
    assert len(day_ahead.as_of(49.9)) == 0
    assert list(day_ahead.as_of(50).values) == [1.0]
    assert list(day_ahead.as_of(60).values) == [1.0, 2.0]


def test_a_planted_leak_shows_by_the_time_of_its_publication():
    honest = published(make_series(INFO, [0, HOUR], [1.0, 2.0], published_s=[0, HOUR]))
    for now in range(0, 2 * HOUR, 600):
        view = honest.as_of(now)
        assert view.as_of_s == now
        assert (view.published_s <= now).all()


def test_each_moment_sees_its_own_vintage():
    forecast = make_series(INFO, [0], [10.0], published_s=-100, quality=Quality.FORECAST)
    final = make_series(INFO, [0], [12.0], published_s=50)
    restated = make_series(INFO, [0], [11.0], published_s=9_999)
    series = published(forecast).merged(published(restated)).merged(published(final))
    assert [series.as_of(now).at(0) for now in (-101, -100, 49, 50, 9_999)] == [None, 10.0, 10.0, 12.0, 11.0]
    assert series.hindsight().at(0) == 11.0
    assert series.hindsight().as_of_s is None


def test_what_is_said_again_is_not_published_again():
    first = published(make_series(INFO, [0], [10.0], published_s=0))
    again = published(make_series(INFO, [0], [10.0], published_s=1_000))
    merged = first.merged(again)
    assert len(merged) == 1
    assert merged.as_of(2_000).age_s(2_000) == 2_000


def test_a_window_is_the_same_as_the_whole_cut():
    rng = np.random.default_rng(5)
    starts = np.sort(rng.choice(200, 120, replace=False)).astype(np.int64) * HOUR
    series = PublishedSeries(INFO, starts, rng.normal(size=120), np.ones(120, np.uint8), starts - 7_200)
    whole = series.as_of(90 * HOUR).between(20 * HOUR, 70 * HOUR)
    window = series.as_of(90 * HOUR, 20 * HOUR, 70 * HOUR)
    assert list(whole.starts_s) == list(window.starts_s)
    assert list(whole.values) == list(window.values)


def test_a_missing_value_that_is_published_takes_the_place_of_a_known_one():
    known = published(make_series(INFO, [0], [10.0], published_s=0))
    withdrawn = published(make_series(INFO, [0], [None], published_s=5))
    assert known.merged(withdrawn).as_of(5).at(0) is None


def test_age_and_reach_are_of_known_values():
    series = make_series(INFO, [0, HOUR], [1.0, None], published_s=[100, 200])
    assert series.age_s(150) == 50
    assert series.known_until_s() == HOUR
    assert empty_series(INFO).as_of(0).age_s(0) is None


def test_gaps_are_told_in_words():
    series = make_series(INFO, [0, 2 * HOUR], [1.0, 1.0], published_s=0)
    assert (
        describe_gaps(series, 0, 3 * HOUR)
        == "day-ahead is missing for 1 h in 1 gaps, first at 1970-01-01T01:00Z"
    )
    assert describe_gaps(series, 0, HOUR) is None


def test_series_of_different_units_are_not_merged():
    other = SeriesInfo(name="x", unit="USD/MWh", resolution_s=HOUR, source="test")
    with pytest.raises(ValueError, match="USD/MWh"):
        empty_series(INFO).merged(empty_series(other))


def test_a_site_keeps_only_what_it_still_needs():
    series = published(make_series(INFO, np.arange(10) * HOUR, np.arange(10.0), published_s=0))
    kept = series.since(5 * HOUR + 10)
    assert list(kept.as_of(0).starts_s) == [n * HOUR for n in range(5, 10)]
