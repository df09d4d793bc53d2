"""Feeds under watch: silent, empty, repeating, jumping by a day, saying what cannot be; and what plans get instead."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
import pytest

from hashwerk.energy.ports import Signal
from hashwerk.energy.published import PublishedSeries, published
from hashwerk.energy.series import Quality, SeriesInfo, make_series
from hashwerk.errors import FeedError
from hashwerk.feeds.settings import WatchSettings
from hashwerk.feeds.watch import FeedState, FeedWatch

HOUR, DAY = 3_600, 86_400
NOW = 20_000 * DAY + 12 * HOUR
INFO = SeriesInfo(name="price", unit="EUR/MWh", resolution_s=HOUR, source="test", currency="EUR")


def true_price(start: int) -> float:
    """A price that no two hours share."""
    return round(40 + 20 * np.sin(start / 17_000) + (start // HOUR) % 97 / 10, 2)


@dataclass
class Scripted:
    """A feed that does what a test says."""

    name: str = "market"
    shift_s: int = 0
    fail: str | None = None
    empty: bool = False
    until_s: int | None = None  # it knows nothing after this
    value: float | None = None
    frozen_at: int | None = None
    asked: list[float] = field(default_factory=list)

    async def fetch(self, start_s: int, stop_s: int, now_s: float) -> Mapping[Signal, PublishedSeries]:
        self.asked.append(now_s)
        if self.fail is not None:
            raise FeedError(self.fail)
        if self.empty:
            return {}
        moment = int(now_s)
        start = -(-start_s // HOUR) * HOUR
        stop = min(stop_s, self.until_s or stop_s)
        if self.frozen_at is not None:
            start, stop = self.frozen_at - DAY, self.frozen_at
        starts = np.arange(start, stop, HOUR)
        values = [true_price(int(one) - self.shift_s) for one in starts]
        if self.value is not None:
            values[0] = self.value
        return {Signal.PRICE: published(make_series(INFO, starts, values, published_s=moment))}


def watch(feed: Scripted, **settings: object) -> FeedWatch:
    return FeedWatch(feed, WatchSettings(**settings))


async def test_a_good_feed_gives_its_own_values():
    watched = watch(Scripted())
    status = await watched.poll(NOW)
    assert status.state is FeedState.GOOD
    view = await watched.view(Signal.PRICE, NOW, NOW + DAY, NOW)
    assert view.at(NOW) == true_price(NOW)
    assert (view.quality == Quality.MEASURED).all()


async def test_nothing_is_asked_nothing_is_known():
    watched = watch(Scripted())
    assert watched.status(NOW).state is FeedState.WAITING
    assert await watched.view(Signal.PRICE, NOW, NOW + DAY, NOW) is None


async def test_a_silent_feed_keeps_its_last_word_until_it_is_too_old():
    feed = Scripted()
    watched = watch(feed, max_age_s=2 * HOUR)
    await watched.poll(NOW)
    feed.fail = "it is down"
    status = await watched.poll(NOW + HOUR)
    assert (status.state, status.text) == (FeedState.SILENT, "it is down")
    assert (await watched.view(Signal.PRICE, NOW, NOW + DAY, NOW + HOUR)).at(NOW) == true_price(NOW)
    status = await watched.poll(NOW + 3 * HOUR)
    assert status.state is FeedState.STALE
    assert status.age_s == {"price": 3 * HOUR}
    stale = await watched.view(Signal.PRICE, NOW, NOW + DAY, NOW + 3 * HOUR)
    assert not stale.known.any()
    feed.fail = None
    assert (await watched.poll(NOW + 4 * HOUR)).state is FeedState.GOOD


async def test_two_hundred_with_nothing_is_silence():
    feed = Scripted()
    watched = watch(feed)
    await watched.poll(NOW)
    feed.empty = True
    status = await watched.poll(NOW + 300)
    assert status.state is FeedState.SILENT
    assert "nothing" in status.text


async def test_a_feed_that_repeats_itself_is_found_although_it_answers():
    feed = Scripted(frozen_at=NOW)
    watched = watch(feed, max_age_s=2 * HOUR)
    assert (await watched.poll(NOW)).state is FeedState.GOOD
    assert (await watched.poll(NOW + HOUR)).state is FeedState.GOOD
    status = await watched.poll(NOW + 3 * HOUR)
    assert status.state is FeedState.REPEATING
    assert "nothing new of price" in status.text


@pytest.mark.parametrize(
    ("shift_s", "way"), [(DAY, "24 h later"), (-DAY, "24 h earlier"), (HOUR, "1 h later")]
)
async def test_a_series_that_jumps_is_refused_and_the_old_one_kept(shift_s, way):
    feed = Scripted()
    watched = watch(feed)
    await watched.poll(NOW)
    feed.shift_s = shift_s
    status = await watched.poll(NOW + 300)
    assert status.state is FeedState.REFUSED
    assert way in status.text
    assert (await watched.view(Signal.PRICE, NOW, NOW + DAY, NOW + 300)).at(NOW) == true_price(NOW)


async def test_a_market_that_is_flat_has_not_jumped():
    class Flat(Scripted):
        async def fetch(self, start_s, stop_s, now_s):
            starts = np.arange(-(-start_s // HOUR) * HOUR, stop_s, HOUR)
            return {
                Signal.PRICE: published(
                    make_series(INFO, starts, np.full(len(starts), 35.0), published_s=int(now_s))
                )
            }

    watched = watch(Flat())
    await watched.poll(NOW)
    assert (await watched.poll(NOW + DAY)).state is FeedState.GOOD


async def test_a_corrected_value_is_taken():
    feed = Scripted()
    watched = watch(feed)
    await watched.poll(NOW)
    feed.value = 123.0
    assert (await watched.poll(NOW + 60)).state is FeedState.GOOD


@pytest.mark.parametrize("value", [-500.0, 9_000.0])
async def test_prices_that_have_happened_are_believed(value):
    assert (await watch(Scripted(value=value)).poll(NOW)).state is FeedState.GOOD


@pytest.mark.parametrize("value", [-6_000.0, 1e9])
async def test_prices_that_nobody_means_are_not(value):
    status = await watch(Scripted(value=value)).poll(NOW)
    assert status.state is FeedState.REFUSED
    assert "beyond" in status.text


async def test_an_operators_own_bounds_come_first():
    status = await watch(Scripted(value=700.0), highest=500.0).poll(NOW)
    assert status.state is FeedState.REFUSED


async def test_hours_ahead_come_from_the_days_before_and_say_so():
    feed = Scripted(until_s=NOW + 6 * HOUR)
    watched = watch(feed, when_stale="last", behind_s=8 * DAY)
    await watched.poll(NOW)
    view = await watched.view(Signal.PRICE, NOW, NOW + DAY, NOW)
    assert view.known.all()
    assert view.at(NOW) == true_price(NOW)
    assert view.at(NOW + 10 * HOUR) == true_price(NOW + 10 * HOUR - DAY)
    assert set(view.quality[:6].tolist()) == {int(Quality.MEASURED)}
    assert set(view.quality[6:].tolist()) == {int(Quality.ESTIMATED)}


async def test_a_stale_feed_is_replaced_by_the_typical_day():
    class Typical(Scripted):
        async def fetch(self, start_s, stop_s, now_s):
            starts = np.arange(start_s // HOUR * HOUR, stop_s, HOUR)
            series = make_series(
                INFO, starts, np.full(len(starts), 77.0), published_s=int(now_s), quality=Quality.TYPICAL
            )
            return {Signal.PRICE: published(series)}

    feed = Scripted()
    watched = FeedWatch(feed, WatchSettings(when_stale="typical", max_age_s=HOUR), typical=Typical())
    assert (await watched.view(Signal.PRICE, NOW, NOW + DAY, NOW)).at(NOW) == 77.0
    await watched.poll(NOW)
    fresh = await watched.view(Signal.PRICE, NOW, NOW + DAY, NOW)
    assert fresh.at(NOW) == true_price(NOW)
    feed.fail = "down"
    later = NOW + 2 * HOUR
    await watched.poll(later)
    view = await watched.view(Signal.PRICE, later, later + DAY, later)
    assert (view.values == 77.0).all()
    assert (view.quality == Quality.TYPICAL).all()


async def test_no_view_shows_what_was_published_after_its_moment():
    watched = watch(Scripted())
    await watched.poll(NOW)
    early = await watched.view(Signal.PRICE, NOW, NOW + DAY, NOW - 1)
    assert not early.known.any()
