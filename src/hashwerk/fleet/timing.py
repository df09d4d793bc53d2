"""How long machines take to fall asleep, to wake, to change mode and to reboot: published first, then learned here."""

from __future__ import annotations

import enum
import math
from collections.abc import Iterable
from typing import Final

import msgspec

from hashwerk.fleet.machine import Identity


class Change(enum.Enum):
    """What takes time."""

    SLEEP = "sleep"
    WAKE = "wake"
    MODE = "mode"
    REBOOT = "reboot"


#: (make, firmware; None is any) → seconds of sleep, wake, mode, reboot: the middle of what is expected. First match counts.
#: Published: LuxOS 5 s and 10 s to minutes, Avalon's command carries five seconds and a Q's reboot took 229 s, VNish 20 s,
#: a WhatsMiner's boot 1,323 s. Nothing reliable is published for stock Antminers: 5 to 15 minutes until measured.
_PRIORS: Final[tuple[tuple[str | None, str | None, tuple[float, float, float, float]], ...]] = (
    ("avalon", None, (10.0, 150.0, 90.0, 230.0)),
    (None, "luxos", (5.0, 120.0, 60.0, 180.0)),
    (None, "vnish", (20.0, 120.0, 60.0, 240.0)),
    (None, "braiins", (15.0, 240.0, 240.0, 240.0)),
    (None, "epic", (15.0, 180.0, 120.0, 240.0)),
    ("whatsminer", None, (30.0, 420.0, 300.0, 600.0)),
    ("antminer", "stock", (60.0, 420.0, 420.0, 420.0)),
    (None, None, (60.0, 420.0, 300.0, 420.0)),
)
#: The published value counts like so many observations, and durations scatter by so much (of their logarithm).
_PRIOR_COUNT: Final = 2.0
_PRIOR_SIGMA: Final = 0.7
#: Memory: older observations fade, since firmware changes.
_MEMORY: Final = 50.0
#: A change that takes longer than what 97.5 % of them take, and half as long again, has failed.
_QUANTILE: Final = 1.96
_MARGIN: Final = 1.5
_LEAST_S: Final = 10.0


class Duration(msgspec.Struct, kw_only=True):
    """A log-normal duration: its prior and what was observed."""

    prior_s: float
    count: float = 0.0
    sum_log: float = 0.0
    sum_log2: float = 0.0

    def observe(self, duration_s: float) -> None:
        """Take in one change that was seen to take so long."""
        keep = 1.0 if self.count < _MEMORY else 1 - 1 / _MEMORY
        value = math.log(max(duration_s, 0.1))
        self.count = self.count * keep + 1
        self.sum_log = self.sum_log * keep + value
        self.sum_log2 = self.sum_log2 * keep + value * value

    def expected_s(self) -> float:
        """Return the middle of what is expected (the median)."""
        return math.exp(self._mean())

    def deadline_s(self, least_s: float = _LEAST_S) -> float:
        """Return after how long a change that is not finished has failed; at least ``least_s``."""
        n = _PRIOR_COUNT + self.count
        mean = self._mean()
        prior_mean = math.log(self.prior_s)
        spread = (
            _PRIOR_COUNT * ((prior_mean - mean) ** 2 + _PRIOR_SIGMA**2)
            + self.sum_log2
            - 2 * mean * self.sum_log
            + self.count * mean**2
        )
        sigma = math.sqrt(max(0.0, spread) / n)
        return max(least_s, _MARGIN * math.exp(mean + _QUANTILE * sigma))

    def _mean(self) -> float:
        n = _PRIOR_COUNT + self.count
        return (_PRIOR_COUNT * math.log(self.prior_s) + self.sum_log) / n


class TimingRow(msgspec.Struct, frozen=True, kw_only=True):
    """What was learned of one change of one model, as it is stored."""

    make: str
    model: str
    firmware: str
    change: Change
    duration: Duration


class Timings:
    """What is known of all models. Owned by one task.

    ``pace`` scales every published duration; below 1 it is for simulated halls that live faster.
    """

    def __init__(self, rows: Iterable[TimingRow] = (), pace: float = 1.0) -> None:
        self._pace = pace
        self._known: dict[tuple[str, str, str, Change], Duration] = {
            (row.make, row.model, row.firmware, row.change): row.duration for row in rows
        }

    def of(self, identity: Identity, change: Change) -> Duration:
        """Return what is known of a change of this model."""
        key = (identity.make.lower(), identity.model, identity.firmware.lower(), change)
        found = self._known.get(key)
        if found is None:
            found = self._known[key] = Duration(prior_s=prior_s(identity, change) * self._pace)
        return found

    def deadline_s(self, identity: Identity, change: Change) -> float:
        """Return after how long a change of this machine has failed."""
        carried = identity.make.lower() == "avalon" and change in (Change.SLEEP, Change.WAKE)
        least_s = _LEAST_S * (
            1.0 if carried else self._pace
        )  # no pace shortens the time that a command names
        if (
            change is Change.WAKE
        ):  # many say that they hash minutes before they do, and would be learned too short
            least_s = max(least_s, prior_s(identity, change) * self._pace)
        return self.of(identity, change).deadline_s(least_s)

    def rows(self) -> list[TimingRow]:
        """Return everything that was learned, to be stored."""
        return [
            TimingRow(make=make, model=model, firmware=firmware, change=change, duration=duration)
            for (make, model, firmware, change), duration in self._known.items()
            if duration.count
        ]


def prior_s(identity: Identity, change: Change) -> float:
    """Return the published duration of a change, in seconds."""
    make, firmware = identity.make.lower(), identity.firmware.lower()
    for prior_make, prior_firmware, values in _PRIORS:
        if prior_make in (None, make) and (prior_firmware is None or firmware.startswith(prior_firmware)):
            return values[list(Change).index(change)]
    raise AssertionError("the table ends with a row for everything")
