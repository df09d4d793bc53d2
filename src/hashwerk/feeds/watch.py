"""A feed under watch: what it said last, how old that is, what is wrong with it, and what a plan gets instead.

A feed that is silent, repeats itself, jumps by a day, says what cannot be or answers with nothing keeps its last good series; a
stale one is replaced as declared in the settings, and every value that is not the feed's own is marked by its quality.
"""

from __future__ import annotations

import asyncio
import enum
import logging
from dataclasses import dataclass, field
from typing import Final

import msgspec
import numpy as np

from hashwerk.energy.ports import Feed, Signal
from hashwerk.energy.published import PublishedSeries, empty_series
from hashwerk.energy.series import Quality, Series, make_series
from hashwerk.errors import FeedError, HashwerkError
from hashwerk.feeds.settings import WatchSettings

log = logging.getLogger(__name__)

_DAY_S: Final = 86_400
_FETCH_TIMEOUT_S: Final = 60.0
#: What nobody means, whatever the currency's market; prices of −500 and +9,000 have happened.
_BOUNDS: Final[dict[Signal, tuple[float, float]]] = {
    Signal.CARBON_AVERAGE: (0.0, 2_000.0),
    Signal.CARBON_MARGINAL: (0.0, 2_000.0),
    Signal.CLEAN_SHARE: (0.0, 1.0),
    Signal.FEE_SHARE: (0.0, 1.0),
    Signal.BATTERY_CHARGE: (0.0, 1.0),
    Signal.LOAD: (0.0, 1e13),
    Signal.TEMPERATURE: (-90.0, 70.0),
    Signal.COIN_PRICE: (0.0, 1e9),
    Signal.DIFFICULTY: (0.0, 1e30),
    Signal.HASHPRICE: (0.0, 1e9),
}
_PRICE_BOUNDS: Final = dict.fromkeys(("EUR", "USD", "CAD", "GBP", "AUD", "SGD", "CHF"), (-5000.0, 30000.0))
#: Shifts that feeds have made: a day, and an hour at the changes of daylight saving.
_SHIFTS_S: Final = (_DAY_S, -_DAY_S, 3_600, -3_600)
#: So many intervals must agree with a shift before it is one.
_MIN_SHIFTED: Final = 6


class FeedState(enum.StrEnum):
    """How a feed is doing."""

    WAITING = "waiting"  # not asked yet
    GOOD = "good"
    SILENT = "silent"  # it does not answer, or with nothing; what it said last still holds
    REFUSED = "refused"  # it said what cannot be; what it said before still holds
    REPEATING = "repeating"  # it answers, and says nothing new for longer than it may
    STALE = "stale"  # it was silent or refused for longer than it may be


class FeedStatus(msgspec.Struct, frozen=True, kw_only=True):
    """How a feed is doing, for pages and alerts."""

    name: str
    state: FeedState
    since_s: float
    text: str
    age_s: dict[str, float]  # of the newest value, by signal
    behaviour: str  # what plans get instead


@dataclass(slots=True)
class FeedWatch:
    """One feed under watch. Owned by one task.

    Args:
        feed: Whom to ask.
        settings: What it may do, and what happens when it does more.
        typical: The typical day, for `when_stale = "typical"`.
    """

    feed: Feed
    settings: WatchSettings
    typical: Feed | None = None
    _known: dict[Signal, PublishedSeries] = field(default_factory=dict)
    _state: FeedState = FeedState.WAITING
    _since_s: float = 0.0
    _text: str = "has not been asked yet"

    async def poll(self, now_s: float) -> FeedStatus:
        """Ask once and judge the answer."""
        start_s = int(now_s) - self.settings.behind_s
        stop_s = int(now_s) + self.settings.ahead_s
        try:
            async with asyncio.timeout(_FETCH_TIMEOUT_S):
                answer = await self.feed.fetch(start_s, stop_s, now_s)
            judged = {
                signal: self._judge(signal, series, start_s, stop_s, now_s)
                for signal, series in answer.items()
            }
        except _RefusedError as error:
            return self._settle(FeedState.REFUSED, str(error), now_s)
        except (HashwerkError, TimeoutError) as error:
            text = str(error) or f"{self.feed.name} has not answered within {_FETCH_TIMEOUT_S:.0f} s"
            return self._settle(FeedState.SILENT, text, now_s)
        if not judged:
            return self._settle(FeedState.SILENT, f"{self.feed.name} answers with nothing", now_s)
        self._known.update(judged)
        return self._settle(FeedState.GOOD, "", now_s)

    def status(self, now_s: float) -> FeedStatus:
        """Return how the feed is doing now."""
        ages = {
            signal.value: age
            for signal in self._known
            if (age := self._known[signal].as_of(now_s).age_s(now_s)) is not None
        }
        return FeedStatus(
            name=self.feed.name,
            state=self._state,
            since_s=self._since_s,
            text=self._text,
            age_s=ages,
            behaviour=self._behaviour(),
        )

    def signals(self) -> tuple[Signal, ...]:
        """Return what the feed has told of so far."""
        return tuple(self._known)

    def known(self, signal: Signal) -> PublishedSeries | None:
        """Return what the feed itself has told of a signal, stale or not; None if nothing."""
        return self._known.get(signal)

    async def view(self, signal: Signal, start_s: int, stop_s: int, now_s: float) -> Series | None:
        """Return what a plan gets for [start_s, stop_s): the feed's own values, and for the rest what was declared.

        None: the feed has never told of this signal, and nothing stands in for it.
        """
        own = self._known.get(signal)
        if own is not None and not self._is_stale(signal, now_s):
            base: Series | None = own.as_of(now_s, start_s, stop_s)
        else:
            base = None if own is None else empty_series(own.info).as_of(now_s)
        match self.settings.when_stale:
            case "last" if own is not None and base is not None:
                return _from_days_before(base, own.as_of(now_s), start_s, stop_s)
            case "typical" if self.typical is not None:
                offered = await self.typical.fetch(start_s, stop_s, now_s)
                stand_in = offered[signal].as_of(now_s) if signal in offered else None
                return base if stand_in is None else _with_typical(base, stand_in, start_s, stop_s)
            case _:
                return base

    def _judge(
        self, signal: Signal, series: PublishedSeries, start_s: int, stop_s: int, now_s: float
    ) -> PublishedSeries:
        """Return the feed's series with its newest answer.

        Raises:
            _RefusedError: If the answer says what cannot be.
        """
        new = series.as_of(now_s, start_s, stop_s)
        self._refuse_bounds(signal, new)
        old = self._known.get(signal)
        if old is None:
            return series
        if (old.info.unit, old.info.resolution_s) != (series.info.unit, series.info.resolution_s):
            log.warning(
                "feed %s: %s is now in %s every %d s",
                self.feed.name,
                signal,
                series.info.unit,
                series.info.resolution_s,
            )
            return series
        _refuse_shift(self.feed.name, old.as_of(now_s), new)
        merged: PublishedSeries = old.merged(series)
        return merged.since(int(now_s) - 15 * _DAY_S)

    def _refuse_bounds(self, signal: Signal, new: Series) -> None:
        default = (
            _PRICE_BOUNDS.get(new.info.currency or "")
            if signal is Signal.PRICE and new.info.unit.endswith("/MWh")
            else _BOUNDS.get(signal)
        ) or (-np.inf, np.inf)
        lowest = default[0] if self.settings.lowest is None else self.settings.lowest
        highest = default[1] if self.settings.highest is None else self.settings.highest
        values = new.values[new.known]
        for value in values[(values < lowest) | (values > highest)][:1]:
            raise _RefusedError(
                f"{self.feed.name} says {value:g} {new.info.unit}, beyond {lowest:g} to {highest:g}"
            )

    def _is_stale(self, signal: Signal, now_s: float) -> bool:
        age = self._known[signal].as_of(now_s).age_s(now_s)
        return age is None or age > self.settings.max_age_s

    def _settle(self, state: FeedState, text: str, now_s: float) -> FeedStatus:
        stale = [signal.value for signal in self._known if self._is_stale(signal, now_s)]
        if stale and state is FeedState.GOOD:
            state = FeedState.REPEATING
            text = f"{self.feed.name} says nothing new of {', '.join(stale)} for more than {self.settings.max_age_s:.0f} s"
        elif stale and state in {FeedState.SILENT, FeedState.REFUSED}:
            state = FeedState.STALE
        if state is not self._state:
            level = logging.INFO if state is FeedState.GOOD else logging.WARNING
            log.log(level, "feed %s is %s%s", self.feed.name, state.value, f": {text}" if text else "")
            self._since_s = now_s
        self._state, self._text = state, text
        return self.status(now_s)

    def _behaviour(self) -> str:
        match self.settings.when_stale:
            case "nothing":
                return "plans use nothing in its place"
            case "last":
                return "plans use the same hour of a day or a week before, marked as estimated"
            case _:
                return "plans use the typical day of the month, marked as such"


class _RefusedError(FeedError):
    """An answer that cannot be."""


def _refuse_shift(name: str, old: Series, new: Series) -> None:
    """Refuse an answer that is the old one moved in time: nothing real repeats itself to the last digit, shifted."""
    starts = new.starts_s[new.known]
    values = new.values[new.known]
    if len(starts) < _MIN_SHIFTED or np.ptp(values) == 0 or not old.known.any():
        return
    ends = starts + new.info.resolution_s
    here, here_quality = old.on(starts, ends)
    overlap = here_quality > 0
    if overlap.sum() < _MIN_SHIFTED or (here[overlap] == values[overlap]).mean() > 0.5:
        return
    for shift_s in _SHIFTS_S:
        there, there_quality = old.on(starts - shift_s, ends - shift_s)
        both = there_quality > 0
        if both.sum() >= _MIN_SHIFTED and (there[both] == values[both]).mean() > 0.9:
            way = "later" if shift_s > 0 else "earlier"
            raise _RefusedError(
                f"{name} gives the values it gave before, {abs(shift_s) // 3_600} h {way}: its times have jumped"
            )


def _from_days_before(base: Series, own: Series, start_s: int, stop_s: int) -> Series:
    """Fill what is not known with the same time of the day before, else of the week before, marked as estimated."""
    resolution_s = own.info.resolution_s
    starts = np.arange(start_s // resolution_s * resolution_s, stop_s, resolution_s, dtype=np.int64)
    values, quality = base.on(starts, starts + resolution_s)
    for days in (1, 2, 7):
        before, before_quality = own.on(starts - days * _DAY_S, starts - days * _DAY_S + resolution_s)
        fill = (quality == 0) & (before_quality > 0)
        values = np.where(fill, before, values)
        quality = np.where(fill, int(Quality.ESTIMATED), quality).astype(np.uint8)
    return Series(
        info=own.info,
        starts_s=starts,
        values=values,
        quality=quality,
        published_s=np.full(len(starts), base.as_of_s or 0, dtype=np.int64),
        as_of_s=base.as_of_s,
    )


def _with_typical(base: Series | None, typical: Series, start_s: int, stop_s: int) -> Series:
    """Fill what is not known with the typical day; a feed in another unit is replaced and not mixed."""
    if base is None or base.info.unit != typical.info.unit:
        return typical
    resolution_s = min(base.info.resolution_s, typical.info.resolution_s)
    starts = np.arange(start_s // resolution_s * resolution_s, stop_s, resolution_s, dtype=np.int64)
    values, quality = base.on(starts, starts + resolution_s)
    stand_in, its_quality = typical.on(starts, starts + resolution_s)
    missing = quality == 0
    filled = make_series(
        msgspec.structs.replace(base.info, resolution_s=resolution_s),
        starts,
        np.where(missing, stand_in, values),
        published_s=base.as_of_s or 0,
        as_of_s=base.as_of_s,
    )
    return Series(
        info=filled.info,
        starts_s=filled.starts_s,
        values=filled.values,
        quality=np.where(missing, its_quality, quality).astype(np.uint8),
        published_s=filled.published_s,
        as_of_s=base.as_of_s,
    )
