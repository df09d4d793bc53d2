"""What a machine draws and hashes in each of its modes, and where that is known from."""

from __future__ import annotations

import enum
from collections.abc import Iterable, Sequence
from typing import Final

import msgspec

from hashwerk.fleet.machine import Identity


class PointSource(enum.Enum):
    """Where a point is known from, the weakest first."""

    NAMEPLATE = "nameplate"  # what the maker promises
    FIRMWARE = "firmware"  # what others read off real machines, or the firmware's own table
    LEARNED = "learned"  # metered on this site


class ModePoint(msgspec.Struct, frozen=True, kw_only=True):
    """One way to run: what the machine draws at the wall and hashes once it is steady, at 25 °C inlet air."""

    mode: str | None  # as the make calls it; None: the only one
    power_w: float
    hashrate_hs: float
    source: PointSource
    power_w_per_k: float = 0.0  # how much more a degree of inlet air

    def power_at_w(self, inlet_c: float | None) -> float:
        """Return the power at some inlet temperature; at 25 °C where it is not known."""
        return self.power_w + (0.0 if inlet_c is None else self.power_w_per_k * (inlet_c - REFERENCE_C))

    @property
    def efficiency_j_per_th(self) -> float | None:
        """Joules a terahash; None asleep."""
        return self.power_w / self.hashrate_hs * 1e12 if self.hashrate_hs else None


REFERENCE_C: Final = 25.0
_TH: Final = 1e12

#: make, start of the model without spaces and dashes, in lower case → (mode, W, TH/s, source). The first that fits counts.
#: Sources: an evcc driver's author (Avalon Q), firmware tables, makers' data sheets; gathered in November 2026.
_TABLE: Final[tuple[tuple[str, str, tuple[tuple[str | None, float, float, str], ...]], ...]] = (
    (
        "avalon",
        "q",
        (
            ("Eco", 843, 54.2, "firmware"),
            ("Standard", 1403, 80.7, "firmware"),
            ("Super", 1674, 90.0, "firmware"),
        ),
    ),
    ("avalon", "nano3s", (("High", 140, 6.0, "nameplate"),)),
    ("avalon", "mini3", (("Mining", 800, 37.5, "nameplate"),)),
    ("avalon", "a1246", (("Normal", 3504, 81.0, "firmware"),)),
    ("avalon", "a1346", (("Normal", 3300, 110.0, "nameplate"),)),
    ("avalon", "a1366", (("Normal", 3250, 130.0, "nameplate"),)),
    ("avalon", "a15", (("Normal", 3420, 185.0, "nameplate"),)),
    ("avalon", "a16xp", (("Normal", 3850, 300.0, "nameplate"),)),
    ("avalon", "a16", (("Normal", 3900, 282.0, "nameplate"),)),
    (
        "antminer",
        "s19kpro",
        (
            ("784 W", 784, 39.2, "firmware"),
            ("1657 W", 1657, 80.5, "firmware"),
            (None, 2794, 121.8, "firmware"),
        ),
    ),
    ("antminer", "s19xp", (("1700 W", 1700, 80.0, "firmware"), (None, 3350, 142.0, "firmware"))),
    ("antminer", "s19jpro", ((None, 2970, 100.0, "firmware"),)),
    ("antminer", "s19pro", ((None, 3250, 110.0, "nameplate"),)),
    ("antminer", "s21xp", ((None, 3645, 270.0, "nameplate"),)),
    ("antminer", "s21pro", ((None, 3480, 249.0, "firmware"),)),
    ("antminer", "s21+hyd", ((None, 4785, 319.0, "nameplate"),)),
    ("antminer", "s21", ((None, 3500, 200.0, "nameplate"),)),
    ("antminer", "t21", ((None, 3610, 190.0, "nameplate"),)),
    ("whatsminer", "m60s", ((None, 3441, 186.0, "nameplate"),)),
)


def published_points(identity: Identity) -> tuple[ModePoint, ...]:
    """Return what is published of a model, from the lowest power to the highest; empty where nothing is."""
    model = identity.model.lower()
    for filler in (" ", "-", "_", "antminer", "whatsminer", "avalonminer", "avalon", "miner"):
        model = model.replace(filler, "")
    make = identity.make.lower()
    if make == "avalon" and model[:2].isdigit():
        model = f"a{model}"
    for table_make, start, rows in _TABLE:
        if make == table_make and model.startswith(start):
            return tuple(
                ModePoint(mode=mode, power_w=power_w, hashrate_hs=rate * _TH, source=PointSource(source))
                for mode, power_w, rate, source in rows
            )
    return ()


def best_points(*sources: Iterable[ModePoint]) -> tuple[ModePoint, ...]:
    """Return one point a mode, from the best source that has it, from the lowest power to the highest."""
    rank = list(PointSource)
    chosen: dict[str, ModePoint] = {}
    for point in (point for points in sources for point in points):
        name = _plain(point.mode)
        if name not in chosen or rank.index(point.source) >= rank.index(chosen[name].source):
            chosen[name] = point
    return tuple(sorted(chosen.values(), key=lambda point: point.power_w))


def point_of(points: Sequence[ModePoint], mode: str | None) -> ModePoint | None:
    """Return the point of a mode; where the mode is not known, the only point there is."""
    found = next((point for point in points if _plain(point.mode) == _plain(mode)), None)
    if found is None and len(points) == 1 and (mode is None or points[0].mode is None):
        return points[0]
    return found


def lower_hull(points: Iterable[ModePoint]) -> list[ModePoint]:
    """Return the points on the lower convex hull of power over hash rate, from the lowest hash rate to the highest.

    A mode above the hull wastes power: two others in turn do better. Tuned firmware has such modes at the bottom.
    """
    hull: list[ModePoint] = []
    for point in sorted(points, key=lambda point: (point.hashrate_hs, point.power_w)):
        if hull and point.hashrate_hs == hull[-1].hashrate_hs:
            continue
        while len(hull) >= 2 and _slope(hull[-2], hull[-1]) >= _slope(hull[-2], point):
            hull.pop()
        hull.append(point)
    return hull


def _slope(lower: ModePoint, upper: ModePoint) -> float:
    return (upper.power_w - lower.power_w) / (upper.hashrate_hs - lower.hashrate_hs)


def _plain(mode: str | None) -> str:
    return (mode or "").strip().casefold()
