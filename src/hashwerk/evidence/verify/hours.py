"""Load, clean energy and the grid, hour by hour: what matching and emissions are computed from.

Surplus in one hour never serves another, so everything is brought to hours first. A meter interval longer than an
hour is spread evenly over its hours; such hours are estimates.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Final

from hashwerk.energy.scores import MatchedHour
from hashwerk.evidence.records import CARBON_FREE
from hashwerk.evidence.verify.energy import Drawn, common_intervals
from hashwerk.evidence.verify.facts import Facts

HOUR_US: Final = 3_600_000_000
MAX_HOURS: Final = 24 * 366 * 10


def time_text(time_us: int | None) -> str | None:
    """Return a time as ISO 8601; None for none, and for what no calendar holds."""
    if time_us is None:
        return None
    try:
        return datetime.fromtimestamp(time_us / 1e6, UTC).isoformat().replace("+00:00", "Z")
    except (ValueError, OverflowError, OSError):
        return None


@dataclass(slots=True)
class Hour:
    """One hour of the period."""

    start_us: int
    load_wh: int = 0
    clean_wh: int = 0  # with a certificate or the plant's own meter
    filled_wh: int = 0  # of the load, where an interval was missed: it counts at residual mix
    estimated: bool = False
    carbon_free_ppm: int | None = None
    location_mg: int | None = None
    residual_mg: int | None = None
    price_micro: int | None = None
    factors: str = ""
    sources: dict[int, int] = field(default_factory=dict)  # Wh by source, with or without evidence

    @property
    def matched_wh(self) -> int:
        """Clean energy that can serve this hour's load."""
        return max(0, min(self.clean_wh, self.load_wh - self.filled_wh))

    def matched(self) -> MatchedHour:
        """Return the hour as scores are computed from it."""
        return MatchedHour(
            start_s=self.start_us // 1_000_000,
            load_wh=self.load_wh,
            clean_wh=self.matched_wh,
            grid_clean_ppm=self.carbon_free_ppm,
        )

    def as_data(self) -> dict[str, Any]:
        """Return the hour for JSON."""
        return {
            "start": time_text(self.start_us),
            "load_wh": self.load_wh,
            "clean_wh": self.clean_wh,
            "filled_wh": self.filled_wh,
            "estimated": self.estimated,
        }


def hours_of(facts: Facts, start_us: int, end_us: int) -> list[Hour]:
    """Return the hours that a period touches; none where it is too long to be believed."""
    first, last = start_us // HOUR_US, -(-end_us // HOUR_US)
    if not 0 < last - first <= MAX_HOURS:
        return []
    hours = {number: Hour(number * HOUR_US) for number in range(first, last)}
    for drawn in common_intervals(facts.meters):
        _spread(hours, drawn)
    for row in facts.sources:
        hour = hours.get(row.start_us // HOUR_US)
        if hour is None or row.end_us > hour.start_us + HOUR_US:
            continue
        hour.sources[row.source] = hour.sources.get(row.source, 0) + row.wh
        if row.source in CARBON_FREE and (row.certificate or row.meter):
            hour.clean_wh += row.wh
    for grid in facts.grids:
        hour = hours.get(grid.start_us // HOUR_US)
        if hour is not None and grid.end_us <= hour.start_us + HOUR_US:
            hour.carbon_free_ppm = grid.carbon_free_ppm
            hour.location_mg, hour.residual_mg = grid.location_mg_per_kwh, grid.residual_mg_per_kwh
            hour.price_micro = grid.price_micro_per_mwh
            hour.factors = f"{grid.factors} {grid.vintage}"
    return [hours[number] for number in sorted(hours)]


def _spread(hours: dict[int, Hour], drawn: Drawn) -> None:
    """Put the energy of an interval into the hours of the period, in proportion to time, exactly in sum."""
    start_us, end_us = drawn.start_us, drawn.end_us
    first, last = start_us // HOUR_US, (end_us - 1) // HOUR_US
    begin, end = max(first, min(hours)), min(last, max(hours))

    def up_to(time_us: int, wh: int) -> int:
        return wh * (time_us - start_us) // (end_us - start_us)

    # What lies before the period belongs to none of its hours.
    since = start_us if begin == first else begin * HOUR_US
    for number in range(begin, end + 1):
        until = min(end_us, (number + 1) * HOUR_US)
        hour = hours[number]
        hour.load_wh += up_to(until, drawn.wh) - up_to(since, drawn.wh)
        hour.filled_wh += up_to(until, drawn.filled_wh) - up_to(since, drawn.filled_wh)
        hour.estimated = hour.estimated or first != last or drawn.filled_wh > 0 or not drawn.known
        since = until
