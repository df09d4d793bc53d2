"""The mine as pages and API see it: the last snapshot of `serve`, how old it is, and the ledger behind it."""

from __future__ import annotations

import math
from collections import deque
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from hashwerk.clock import Clock
from hashwerk.web.history import LIVE, Point

if TYPE_CHECKING:
    from prometheus_client.registry import Collector

    from hashwerk.config.origin import Origins
    from hashwerk.config.site import SiteConfig
    from hashwerk.site.energy import EnergyService
    from hashwerk.site.evidence_desk import EvidenceDesk
    from hashwerk.site.fleet import FleetService
    from hashwerk.site.messages import Snapshot
    from hashwerk.site.pool_books import PoolBooks
    from hashwerk.web.history import Ledger

#: `serve` reports once a second; three missed reports mean that it is not there.
STALE_AFTER_S: Final = 3.5


@dataclass(frozen=True, slots=True)
class Site:
    """What runs in this process beside the pages; None where it does not."""

    fleet: FleetService | None = None
    config: SiteConfig | None = None
    books: PoolBooks | None = None
    energy: EnergyService | None = None
    evidence: EvidenceDesk | None = None
    origins: Origins | None = None


#: The mine alone: neither fleet nor configuration is known.
NO_SITE: Final = Site()


class MineView:
    """What is known of the mine. Owned by the loop of the `site` process.

    ``reader`` is the ledger's reader; None means that no history can be shown. ``collectors`` are further parts of the metrics.
    """

    __slots__ = ("_clock", "_latest", "_received", "_recent", "_warned", "collectors", "reader")

    def __init__(self, reader: Ledger | None, clock: Clock) -> None:
        self.reader = reader
        self.collectors: list[Collector] = []
        self._clock = clock
        self._latest: Snapshot | None = None
        self._received: float | None = None
        self._warned: dict[str, float] = {}
        self._recent: deque[Point] = deque(maxlen=LIVE.span_s // LIVE.step_s + 1)

    def receive(self, snapshot: Snapshot) -> None:
        """Keep a snapshot that `serve` has just sent."""
        self._latest = snapshot
        self._received = self._clock.monotonic()
        self._keep_rate(snapshot)
        self._warned = {text: self._warned.get(text, snapshot.at) for text in snapshot.warnings}

    def latest(self) -> Snapshot | None:
        """Return the last snapshot; None before the first."""
        return self._latest

    def age_s(self) -> float | None:
        """Return how long ago the last snapshot came; None before the first."""
        return None if self._received is None else self._clock.monotonic() - self._received

    def is_stale(self) -> bool:
        """Say whether the last snapshot no longer tells how things are now."""
        age_s = self.age_s()
        return age_s is None or age_s > STALE_AFTER_S

    def recent(self, now: float) -> list[Point]:
        """Return the rates of the last minutes, each measured over the minute before it, with gaps filled in."""
        points: list[Point] = []
        for point in self._recent:
            if point.start < now - LIVE.span_s:
                continue
            if points and point.start - points[-1].start > 3 * LIVE.step_s:
                points.append(Point(points[-1].start + LIVE.step_s))
            points.append(point)
        return points

    def _keep_rate(self, snapshot: Snapshot) -> None:
        if self._recent and 0 <= snapshot.at - self._recent[-1].start < LIVE.step_s:
            return
        rate = snapshot.hashrate.get("1m")
        if rate is None:
            self._recent.append(Point(snapshot.at))
            return
        high_hs = rate.high_hs if math.isfinite(rate.high_hs) else None
        self._recent.append(Point(snapshot.at, rate.hs, rate.low_hs, high_hs, rate.shares))

    def alerts(self) -> list[tuple[float, str]]:
        """Return the open warnings with the time each was first seen, oldest first."""
        return sorted((since, text) for text, since in self._warned.items())

    def not_serving_because(self) -> str | None:
        """Return why no work is being served, in plain words; None while it is."""
        snapshot, age_s = self._latest, self.age_s()
        if snapshot is None or age_s is None:
            return "the server has not reported yet"
        if age_s > STALE_AFTER_S:
            return f"the server has not reported for {age_s:.0f} s"
        if snapshot.serving:
            return None
        if not snapshot.node.healthy:
            return f"the node gives no work: {snapshot.node.message or 'it does not answer'}"
        if snapshot.template is not None and snapshot.warnings:
            return "shares cannot be taken: " + "; ".join(snapshot.warnings)
        return "the first work is not ready yet"
