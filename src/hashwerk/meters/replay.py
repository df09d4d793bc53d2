"""A meter whose readings come from a file: for replays, and for meters that somebody reads by hand."""

from __future__ import annotations

import bisect
import csv
import itertools
from datetime import datetime
from decimal import Decimal, InvalidOperation
from pathlib import Path

from hashwerk.energy.ports import RegisterReading
from hashwerk.errors import ConfigError, DeviceError
from hashwerk.meters.modbus import reading
from hashwerk.meters.settings import ReplayMeter


class Replay:
    """Rows of a CSV file in order of time; a reading is the last row by then."""

    def __init__(self, settings: ReplayMeter) -> None:
        self.name = settings.name
        self._max_age_s = settings.max_age_s
        self._rows = _rows(settings)
        self._times = [row.at_s for row in self._rows]

    async def read(self, now_s: float) -> RegisterReading:
        """Return the last row by now.

        Raises:
            DeviceError: If there is none, or it is too old.
        """
        number = bisect.bisect_right(self._times, now_s) - 1
        if number < 0:
            raise DeviceError(
                f"{self.name} has no row yet; the first is {self._times[0] - now_s:.0f} s ahead"
            )
        if now_s - self._times[number] > self._max_age_s:
            raise DeviceError(f"{self.name} has been silent for {now_s - self._times[number]:.0f} s")
        return self._rows[number]

    async def close(self) -> None:
        """Nothing is held."""


def _rows(settings: ReplayMeter) -> list[RegisterReading]:
    path = Path(settings.path).expanduser()
    try:
        with path.open(encoding="utf-8-sig", newline="") as stream:
            rows = [_row(settings, row) for row in csv.DictReader(stream)]
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise ConfigError(f"{settings.name}: {path.name} cannot be read: {error}") from error
    if not rows or any(later.at_s <= row.at_s for row, later in itertools.pairwise(rows)):
        raise ConfigError(f"{settings.name}: {path.name} has no rows, or not in order of time")
    return rows


def _row(settings: ReplayMeter, row: dict[str, str]) -> RegisterReading:
    try:
        moment = datetime.fromisoformat(row["time"])
        if moment.tzinfo is None:
            raise ValueError("a time without its offset from UTC")
        values = {name: Decimal(row[name]) for name in ("power_w", "import_wh", "export_wh") if row.get(name)}
        return reading(
            settings.name,
            moment.timestamp(),
            values,
            serial=row.get("serial") or None,
            invert=settings.invert,
        )
    except (KeyError, ValueError, InvalidOperation, DeviceError) as error:
        raise ConfigError(f"{settings.name}: the row {row} cannot be read: {error}") from error
