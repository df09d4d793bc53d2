"""Energy on the shared board: words at every look, charts only when what they show has changed."""

from __future__ import annotations

import datetime
from typing import Any, Final, Protocol

from hashwerk.clock import Clock
from hashwerk.site.energy.view import EnergyView, Moments, SeriesView
from hashwerk.web.energy_charts import BEHIND_S, chart_height, day_chart, energy_chart
from hashwerk.web.energy_frames import energy_frame

Frame = dict[str, Any]

_HISTORY_EVERY_S: Final = 60.0
_HISTORY_STEP_S: Final = 300.0
#: The line of now moves on as often.
_CHART_EVERY_S: Final = 60.0


class Energy(Protocol):
    """What is asked of the site's energy."""

    def view(self) -> EnergyView:
        """Return everything about it now."""
        ...

    async def history(self, start_s: float, stop_s: float, step_s: float) -> Moments:
        """Return means over steps; StoreError if they cannot be read."""
        ...


class EnergyBoard:
    """What pages show of energy; made once for all who look. Owned by the board's loop."""

    def __init__(self, energy: Energy | None, clock: Clock, zone: datetime.tzinfo | None = None) -> None:
        self._energy = energy
        self._clock = clock
        self._zone = zone
        self._moments: Moments | None = None
        self._read_at = float("-inf")
        self._drawn_at = float("-inf")
        self._drawn: tuple[object, ...] = ()
        self.view: EnergyView | None = None

    def look(self) -> Frame:
        """Return the words of now."""
        self.view = None if self._energy is None else self._energy.view()
        return energy_frame(self.view)

    async def charts(self) -> Frame:
        """Return the charts if they have changed since the last call, else nothing.

        Raises:
            StoreError: If the history cannot be read.
        """
        view, tick = self.view, self._clock.monotonic()
        if view is None or self._energy is None:
            return {}
        if tick - self._read_at >= _HISTORY_EVERY_S:
            self._read_at = tick
            now = self._clock.time()
            self._moments = await self._energy.history(now - BEHIND_S, now, _HISTORY_STEP_S)
        drawn = (
            None if view.plan is None else view.plan.made_s,
            _mark(view.price),
            _mark(view.carbon),
            id(self._moments),
        )
        if drawn == self._drawn and tick - self._drawn_at < _CHART_EVERY_S:
            return {}
        self._drawn, self._drawn_at = drawn, tick
        day = day_chart(
            view.price, view.plan, view.at_s, self._zone, moments=self._moments, sources=view.sources
        )
        whole = energy_chart(
            view.price,
            view.carbon,
            view.plan,
            self._moments,
            view.at_s,
            zone=self._zone,
            sources=view.sources,
        )
        return {
            "chart.energy.day": day,
            "chart.energy.day.height": f"height: {chart_height(day)}px",
            "chart.energy.whole": whole,
            "chart.energy.whole.height": f"height: {chart_height(whole)}px",
            "chart.energy.none": "none" if not whole else "",
        }


def _mark(series: SeriesView | None) -> tuple[object, ...]:
    return () if series is None else (series.starts_s, series.values, series.is_stale, series.forecast_from_s)
