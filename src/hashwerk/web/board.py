"""What all pages show, computed once a second for everybody who looks.

A frame is a flat mapping from a key to what stands there: text, rows of a table, options of a chart. Every
open page is told only what changed, so that a further browser costs no more than sending it.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from typing import Any, Final

from hashwerk.clock import Clock
from hashwerk.errors import StoreError
from hashwerk.web.books_frames import books_frame
from hashwerk.web.charts import rate_chart, shares_chart
from hashwerk.web.energy_board import EnergyBoard
from hashwerk.web.evidence_frames import evidence_frame
from hashwerk.web.fleet_frames import fleet_frame
from hashwerk.web.frames import mine_frame
from hashwerk.web.history import LIVE, LOST_STATES, RANGES, History, Point
from hashwerk.web.open_alerts import alerts_frame
from hashwerk.web.record_frames import event_rows
from hashwerk.web.settings_frames import settings_frame
from hashwerk.web.state import NO_SITE, MineView, Site

log = logging.getLogger(__name__)

Frame = dict[str, Any]
Listener = Callable[[Frame], None]

EVENTS_SHOWN: Final = 100
_REFRESH_S: Final = 1.0
_EVENTS_EVERY_S: Final = 2.0
_FLEET_EVERY_S: Final = 2.0


class Board:
    """The shared frame and the pages that show it. Owned by the loop that serves them.

    Cancellation:
        `run` holds nothing but the subscriptions; cancelling it leaves the last frame standing.
    """

    def __init__(self, view: MineView, history: History, clock: Clock, site: Site = NO_SITE) -> None:
        self._view = view
        self._clock = clock
        self.history = history
        self.site = site
        self.frame: Frame = {}
        self._energy = EnergyBoard(site.energy, clock)
        self._fleet_drawn_at = float("-inf")
        self._listeners: list[Listener] = []
        self._drawn: dict[str, tuple[list[Point], set[float]]] = {}
        self._events_read_at = float("-inf")
        self._live_drawn_at = float("-inf")
        self._history_fails = False
        self._woken = asyncio.Event()

    @property
    def listeners(self) -> int:
        """How many pages are open."""
        return len(self._listeners)

    def join(self, listener: Listener) -> None:
        """Tell a page of every change from now on; the frame is brought up to date at once."""
        self._listeners.append(listener)
        if "settings.set" not in self.frame:
            self._update(settings_frame(self.site.config, self.site.origins))
        self._update(mine_frame(self._view, self._clock.time()))
        self._refresh_fleet()
        self._woken.set()

    def leave(self, listener: Listener) -> None:
        """Forget a page that was closed."""
        if listener in self._listeners:
            self._listeners.remove(listener)

    async def run(self) -> None:
        """Refresh the frame once a second while somebody looks."""
        while True:
            if not self._listeners:
                self._woken.clear()
                await self._woken.wait()
            await self.refresh()
            await asyncio.sleep(_REFRESH_S)

    async def refresh(self) -> None:
        """Compute what is shown now and tell the pages what changed."""
        self._update(mine_frame(self._view, self._clock.time()))
        self._refresh_fleet()
        try:
            await self._refresh_history()
            self._update(await self._energy.charts())
        except StoreError as error:
            if not self._history_fails:
                log.warning("pages cannot read the ledger: %s", error)
            self._history_fails = True
            self._update({"history.trouble": f"History cannot be read now: {error}"})
            return
        self._history_fails = False
        self._update({"history.trouble": ""})

    def _refresh_fleet(self) -> None:
        if self._clock.monotonic() - self._fleet_drawn_at >= _FLEET_EVERY_S:
            self._fleet_drawn_at = self._clock.monotonic()
            self._update(fleet_frame(self.site.fleet))
            self._update(books_frame(self.site.books, self._clock.time()))
            self._update(evidence_frame(self.site.evidence, self._clock.time()))
            self._update(self._energy.look())
            self._update(alerts_frame(self._view.alerts(), self.site.fleet, self._energy.view))

    async def _refresh_history(self) -> None:
        now = self._clock.time()
        self._refresh_live(now)
        for span in RANGES:
            points = await self.history.range(span)
            found = self._recent_blocks() | set(await self.history.found(span))
            before = self._drawn.get(span.name)
            if before is not None and before[0] is points and before[1] == found:
                continue
            self._drawn[span.name] = (points, found)
            self._update(
                {
                    f"chart.rate.{span.name}": rate_chart(points, span, found, now),
                    f"chart.shares.{span.name}": shares_chart(points, span, now),
                }
            )
        if self._clock.monotonic() - self._events_read_at >= _EVENTS_EVERY_S:
            self._events_read_at = self._clock.monotonic()
            events = await self.history.events(EVENTS_SHOWN)
            self._update({"rows.events": event_rows(events)})

    def _refresh_live(self, now: float) -> None:
        if self._clock.monotonic() - self._live_drawn_at < LIVE.step_s:
            return
        self._live_drawn_at = self._clock.monotonic()
        options = rate_chart(self._view.recent(now), LIVE, self._recent_blocks(), now)
        self._update({f"chart.rate.{LIVE.name}": options})

    def _recent_blocks(self) -> set[float]:
        snapshot = self._view.latest()
        found = () if snapshot is None else snapshot.recent_blocks
        return {block.found_at for block in found if block.state not in LOST_STATES}

    def _update(self, values: Frame) -> None:
        changes = {
            key: value for key, value in values.items() if key not in self.frame or self.frame[key] != value
        }
        if not changes:
            return
        self.frame.update(changes)
        for listener in list(self._listeners):
            listener(changes)
