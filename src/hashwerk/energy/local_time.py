"""The local calendar of UTC intervals: tariffs speak of months, weekdays and hours on the wall.

Only this way round, from UTC to the wall, is unambiguous; local times are turned into UTC inside feeds and nowhere else.
"""

from __future__ import annotations

import functools
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

import numpy as np
import numpy.typing as npt

from hashwerk.errors import ConfigError

IntArray = npt.NDArray[np.int64]

_DAY_S = 86_400
_QUARTER_S = 900


@functools.cache
def zone_of(name: str) -> ZoneInfo:
    """Return a time zone.

    Raises:
        ConfigError: If this computer knows none of this name.
    """
    try:
        return ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError) as error:
        raise ConfigError(
            f"no time zone {name!r} on this computer; names are like 'Europe/Berlin' (package tzdata)"
        ) from error


@dataclass(frozen=True, slots=True, eq=False)
class WallClock:
    """What calendars and clocks on the wall show at given moments. Arrays of one shape."""

    month: IntArray  # 1 to 12
    weekday: IntArray  # 0: Monday
    minute: IntArray  # of the day
    day: IntArray  # days since 1970-01-01, local

    @staticmethod
    def at(times_s: IntArray, zone: str) -> WallClock:
        """Return what is shown in a zone. Offsets are looked up once a quarter of an hour: none changes in between."""
        quarters, where = np.unique(times_s // _QUARTER_S, return_inverse=True)
        offsets = np.array(
            [_offset_s(int(quarter) * _QUARTER_S, zone) for quarter in quarters], dtype=np.int64
        )
        local = times_s + offsets[where] if len(times_s) else times_s
        day = local // _DAY_S
        months = day.astype("datetime64[D]").astype("datetime64[M]").astype(np.int64)
        return WallClock(months % 12 + 1, (day + 3) % 7, local % _DAY_S // 60, day)


def _offset_s(time_s: int, zone: str) -> int:
    offset = datetime.fromtimestamp(time_s, UTC).astimezone(zone_of(zone)).utcoffset() or timedelta()
    return int(offset.total_seconds())


def local_date(time_s: float, zone: str) -> date:
    """Return the date on the wall at a moment."""
    return datetime.fromtimestamp(time_s, UTC).astimezone(zone_of(zone)).date()


def local_text(time_s: float, zone: str) -> str:
    """Return a moment as the wall shows it, with the zone's abbreviation: ``2026-07-04 13:00 EDT``."""
    return datetime.fromtimestamp(time_s, UTC).astimezone(zone_of(zone)).strftime("%Y-%m-%d %H:%M %Z")
