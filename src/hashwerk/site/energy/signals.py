"""Prices, carbon and money as they come from feeds: each asked at its own pace, and what plans get where one fails."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from decimal import Decimal
from typing import Final

import msgspec
import numpy as np

from hashwerk.chain.subsidy import SAT_PER_BTC
from hashwerk.clock import Clock
from hashwerk.dispatch.settings import HashpriceSettings
from hashwerk.economics.hashprice import hashprice_per_th_day
from hashwerk.energy.ports import Feed, Signal
from hashwerk.energy.published import PublishedSeries
from hashwerk.energy.series import Quality, Series
from hashwerk.errors import ConfigError
from hashwerk.feeds.settings import (
    ElectricityMapsFeed,
    EnergyChartsCarbonFeed,
    EnergyChartsFeed,
    EntsoeFeed,
    FeedSettings,
    FileFeed,
    GridstatusFeed,
    HttpFeed,
    MqttFeed,
    SmardFeed,
    TypicalFeed,
    WatchSettings,
)
from hashwerk.feeds.table import open_feed
from hashwerk.feeds.typical import Typical, typical_days
from hashwerk.feeds.watch import FeedState, FeedWatch
from hashwerk.site.energy.view import FeedView, SeriesView

#: A coin price or difficulty older than this is not believed: an assumption takes its place, and is said to.
_MONEY_AGE_S: Final = 6 * 3_600.0
_OWN_WATCH: Final = WatchSettings(every_s=60.0, max_age_s=3_600.0)


class Hashprice(msgspec.Struct, frozen=True, kw_only=True):
    """What one PH/s earns in a day, net of fees and rejects, and where that is from."""

    per_ph_day: float | None
    text: str
    assumptions: tuple[str, ...] = ()


class Signals:
    """All feeds of a site under watch. Owned by one loop.

    Cancellation: `run` ends at once.
    """

    def __init__(
        self, feeds: Sequence[FeedSettings], clock: Clock, currency: str, own: Sequence[Feed] = ()
    ) -> None:
        """Open the feeds; ``own`` are the mine's own, which tell of money where no other does.

        Raises:
            ConfigError: If a key, a library, or a zone is missing.
        """
        self._clock = clock
        self._currency = currency
        self._watches: list[FeedWatch] = []
        self._tells = [_signals_of(settings) for settings in feeds]
        self.changed = asyncio.Event()  # a feed has told something new
        for settings in feeds:
            feed = open_feed(settings, clock)
            self._watches.append(FeedWatch(feed, settings.watch, _typical_of(settings)))
        for feed in own:
            self._watches.append(FeedWatch(feed, _OWN_WATCH, None))
            self._tells.append(frozenset())

    @property
    def is_configured(self) -> bool:
        """Whether there are feeds at all."""
        return bool(self._watches)

    def expects(self, signal: Signal) -> bool:
        """Say whether a feed is there that tells of a signal, as far as its settings or its answers say."""
        return any(
            signal in watch.signals() or signal in told
            for watch, told in zip(self._watches, self._tells, strict=True)
        )

    @property
    def is_waiting(self) -> bool:
        """Whether a feed has not been asked yet."""
        now = self._clock.time()
        return any(watch.status(now).state is FeedState.WAITING for watch in self._watches)

    async def run(self) -> None:
        """Ask every feed again and again."""
        async with asyncio.TaskGroup() as group:
            for watch in self._watches:
                group.create_task(self._follow(watch), name=f"feed-{watch.feed.name}")
                listen = getattr(watch.feed, "run", None)
                if listen is not None:
                    group.create_task(listen(), name=f"feed-{watch.feed.name}-listens")

    async def poll_all(self) -> None:
        """Ask every feed once, at the same time."""
        await asyncio.gather(*(self._poll(watch) for watch in self._watches))

    async def series(self, signal: Signal, start_s: int, stop_s: int) -> Series | None:
        """Return what plans get of a signal: of the first feed that knows the present, else of the first that knows anything.

        A price in another currency than the site's is none.
        """
        now = self._clock.time()
        found: Series | None = None
        for watch in self._watches:
            series = await watch.view(signal, start_s, stop_s, now)
            if series is None or not self._is_usable(signal, series):
                continue
            if series.at(now) is not None:
                return series
            found = found or series
        return found

    def hashprice(self, settings: HashpriceSettings) -> Hashprice:
        """Return the hashprice now: fixed, told by a feed, or computed from what feeds tell and what is assumed."""
        net = (1 - settings.pool_fee) * (1 - settings.reject_share)
        fees = (
            f"less {settings.pool_fee:.1%} for the pool and {settings.reject_share:.1%} rejected"
            if net < 1
            else "before fees"
        )
        if settings.per_ph_day is not None:
            text = f"fixed: {settings.per_ph_day:g} {self._currency}/PH/day, {fees}"
            return Hashprice(per_ph_day=settings.per_ph_day * net, text=text, assumptions=(text,))
        told = self._latest(Signal.HASHPRICE)
        if told is not None:
            return Hashprice(per_ph_day=told[0] * net, text=f"{told[1]}, {fees}")
        return self._computed(settings, net, fees)

    def plotted(self, series: Series | None) -> SeriesView | None:
        """Return a series for a plot."""
        return None if series is None else series_view(series, self._clock.time())

    def feeds(self) -> tuple[FeedView, ...]:
        """Return how every feed is doing."""
        now = self._clock.time()
        found = []
        for watch in self._watches:
            status, useless = watch.status(now), self._useless(watch, now)
            is_well = status.state in {FeedState.GOOD, FeedState.WAITING}
            found.append(
                FeedView(
                    name=status.name,
                    state="not used" if is_well and useless else status.state.value,
                    text=useless if is_well and useless else status.text,
                    since_s=status.since_s or None,
                    instead="" if is_well and not useless else status.behaviour,
                )
            )
        return tuple(found)

    # --- inside ---

    async def _follow(self, watch: FeedWatch) -> None:
        while True:
            await self._poll(watch)
            await asyncio.sleep(watch.settings.every_s)

    async def _poll(self, watch: FeedWatch) -> None:
        before = watch.status(self._clock.time())
        after = await watch.poll(self._clock.time())
        is_news = any(
            name not in before.age_s or age < before.age_s[name] for name, age in after.age_s.items()
        )
        if is_news or before.state is not after.state:
            self.changed.set()

    def _useless(self, watch: FeedWatch, now: float) -> str:
        """Say why plans get no price of a feed that answers; empty: they do, or it tells of other things."""
        known = watch.known(Signal.PRICE)
        if known is None:
            return ""
        series = known.as_of(now)
        if not self._is_usable(Signal.PRICE, series):
            return f"its price is in {series.info.unit}, plans are made in {self._currency}/MWh"
        last = series.known_until_s()
        if last is None or series.at(now) is not None:
            return ""
        late = " and come after their hour" if now - last <= series.info.resolution_s else ""
        return f"its prices are known until {np.datetime64(last, 's')}Z{late}: it tells none of this moment"

    def _is_usable(self, signal: Signal, series: Series) -> bool:
        if signal is not Signal.PRICE:
            return True
        return series.info.unit.endswith("/MWh") and series.info.currency in {None, self._currency}

    def _latest(self, signal: Signal) -> tuple[float, str] | None:
        """Return the newest value of a signal that is believed, and who says so."""
        now = self._clock.time()
        for watch in self._watches:
            known = watch.known(signal)
            if known is None:
                continue
            series = known.as_of(now)
            age_s = series.age_s(now)
            if age_s is None or age_s > max(_MONEY_AGE_S, watch.settings.every_s * 3):
                continue
            if signal in {Signal.COIN_PRICE, Signal.HASHPRICE} and series.info.currency not in {
                None,
                self._currency,
            }:
                continue
            return float(series.values[series.known][-1]), f"{watch.feed.name} ({series.info.source})"
        return None

    def _computed(self, settings: HashpriceSettings, net: float, fees: str) -> Hashprice:
        assumed: list[str] = []
        sources: list[str] = []

        def part(signal: Signal, words: str, assumption: float | None) -> float | None:
            told = self._latest(signal)
            if told is not None:
                sources.append(f"{words} {told[0]:,.6g} from {told[1]}")
                return told[0]
            if assumption is not None:
                sources.append(f"{words} {assumption:,.6g} assumed")
                assumed.append(f"{words} is assumed: {assumption:,.6g}")
            return assumption

        price = part(Signal.COIN_PRICE, f"the coin's price in {self._currency}", settings.coin_price)
        difficulty = part(Signal.DIFFICULTY, "the difficulty", settings.difficulty)
        share = part(Signal.FEE_SHARE, "the share of fees", settings.fee_share)
        if price is None or difficulty is None or share is None:
            missing = "the coin's price" if price is None else "the difficulty"
            return Hashprice(
                per_ph_day=None,
                text=f"unknown: no feed tells {missing}, and none is assumed in [dispatch.hashprice]",
            )
        per_th_day = hashprice_per_th_day(
            Decimal(repr(difficulty)),
            int(settings.subsidy_btc * SAT_PER_BTC),
            Decimal(repr(share)),
            Decimal(repr(price)),
        )
        text = f"computed: {'; '.join(sources)}; {fees}"
        return Hashprice(per_ph_day=float(per_th_day) * 1_000 * net, text=text, assumptions=tuple(assumed))


def series_view(series: Series, now: float) -> SeriesView:
    """Return a series for a plot; missing values are None."""
    known = series.known
    here = int(np.searchsorted(series.starts_s, now, side="right")) - 1
    quality = int(series.quality[here]) if 0 <= here < len(series) else int(Quality.MISSING)
    forecasts = series.starts_s[series.quality == int(Quality.FORECAST)]
    return SeriesView(
        name=series.info.name,
        unit=series.info.unit,
        source=series.info.source,
        resolution_s=series.info.resolution_s,
        starts_s=tuple(series.starts_s.tolist()),
        values=tuple(
            value if is_known else None
            for value, is_known in zip(series.values.tolist(), known.tolist(), strict=True)
        ),
        is_typical=quality == int(Quality.TYPICAL),
        is_stale=quality in {int(Quality.MISSING), int(Quality.ESTIMATED)},
        forecast_from_s=float(forecasts[0]) if len(forecasts) else None,
    )


def _signals_of(settings: FeedSettings) -> frozenset[Signal]:
    """Return what a feed's settings say that it tells; empty where only its answers show it."""
    match settings:
        case FileFeed():
            return frozenset(Signal(column.signal) for column in settings.columns)
        case HttpFeed():
            return frozenset(Signal(field.signal) for field in settings.fields)
        case MqttFeed():
            return frozenset({Signal(settings.field.signal)})
        case EnergyChartsFeed() | SmardFeed() | EntsoeFeed() | GridstatusFeed() | TypicalFeed():
            return frozenset({Signal.PRICE})
        case EnergyChartsCarbonFeed() | ElectricityMapsFeed():
            return frozenset({Signal.CARBON_AVERAGE})
        case _:
            return frozenset()


class _StandIn:
    """The typical day in place of one feed: of what that feed tells, and of nothing else."""

    def __init__(self, name: str, zone: str, signals: tuple[Signal, ...]) -> None:
        self.name = f"typical day for {name}"
        self._typical = Typical(TypicalFeed(name=self.name, zone=zone))
        self._signals = signals

    async def fetch(self, start_s: int, stop_s: int, now_s: float) -> Mapping[Signal, PublishedSeries]:
        """Return the typical day of these signals."""
        offered = await self._typical.fetch(start_s, stop_s, now_s)
        return {signal: offered[signal] for signal in self._signals if signal in offered}


def _typical_of(settings: FeedSettings) -> Feed | None:
    """Return the typical day that stands in for a feed that asks for it.

    Raises:
        ConfigError: If there is none of its zone.
    """
    if settings.watch.when_stale != "typical":
        return None
    match settings:
        case EnergyChartsFeed() | TypicalFeed():
            return _StandIn(settings.name, settings.zone, (Signal.PRICE,))
        case SmardFeed():
            return _StandIn(settings.name, settings.region, (Signal.PRICE,))
        case EnergyChartsCarbonFeed():
            country = settings.country.upper()
            zones = sorted({day.zone for day in typical_days() if day.signal is Signal.CARBON_AVERAGE})
            zone = next((zone for zone in zones if zone.startswith(country)), country)
            return _StandIn(settings.name, zone, (Signal.CARBON_AVERAGE,))
        case _:
            raise ConfigError(
                f"feed {settings.name!r}: a typical day stands in for energy-charts and smard only"
            )
