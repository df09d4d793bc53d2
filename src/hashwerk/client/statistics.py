"""What the miner counts and measures."""

from __future__ import annotations

import math
from collections import deque
from typing import Final

import msgspec

#: A change of hash rate shows to 63 % after so many seconds.
HASHRATE_TIME_CONSTANT_S: Final = 15.0
_LATENCIES_KEPT: Final = 1024


class ThreadStats(msgspec.Struct, frozen=True):
    """One hashing thread."""

    hashes: int
    hashrate_hs: float | None  # moving average; None before the first second


class MinerStats(msgspec.Struct, frozen=True, kw_only=True):
    """The miner at one moment. Counts are since its start; a share is in exactly one of them."""

    at: float  # UTC seconds
    elapsed_s: float
    hashes: int
    hashrate_hs: float | None  # exponential moving average
    hashrate_mean_hs: float | None  # over the whole time
    threads: tuple[ThreadStats, ...]
    duty: float
    found: int  # met their target, by our own check
    accepted: int
    accepted_work: float  # sum of the difficulties of accepted shares, times 2**32: hashes they stand for
    rejected: dict[str, int]  # by the server's reason
    pending: int  # sent and not yet answered, or about to be sent
    unknown: int  # sent, and the connection ended before the answer
    stale: int  # found for a job that was over before they could be sent
    faulty: int  # the kernel's find did not stand our own check; never sent
    best_difficulty: float | None
    server: str | None  # connected to
    connections: int  # that served work so far
    user: str
    job: str | None
    difficulty: float | None
    job_age_s: float | None
    latency_ms_p50: float | None
    latency_ms_p99: float | None
    message: str | None  # the last word on the connection, in plain words

    @property
    def rejected_total(self) -> int:
        """Refused shares of all reasons."""
        return sum(self.rejected.values())


class MovingRate:
    """The rate of a growing count, as an exponential moving average over time."""

    def __init__(self, time_constant_s: float = HASHRATE_TIME_CONSTANT_S) -> None:
        """Begin without a value."""
        self._time_constant_s = time_constant_s
        self._last: tuple[float, int] | None = None
        self._weighted = 0.0
        self._weight = 0.0

    def update(self, now: float, count: int) -> None:
        """Take in the count at a time; an update at the same time as the last is ignored."""
        if self._last is None:
            self._last = (now, count)
            return
        elapsed_s = now - self._last[0]
        if elapsed_s <= 0:
            return
        keep = math.exp(-elapsed_s / self._time_constant_s)
        self._weighted = self._weighted * keep + (count - self._last[1]) / elapsed_s * (1 - keep)
        self._weight = self._weight * keep + (1 - keep)  # what a start from zero still lacks
        self._last = (now, count)

    @property
    def value(self) -> float | None:
        """The rate per second; None before two updates."""
        return self._weighted / self._weight if self._weight > 0 else None


class Latencies:
    """The latest reply times and their quantiles."""

    def __init__(self) -> None:
        """Begin empty."""
        self._seconds: deque[float] = deque(maxlen=_LATENCIES_KEPT)

    def add(self, latency_s: float) -> None:
        """Take in one reply time."""
        self._seconds.append(latency_s)

    def quantile_ms(self, fraction: float) -> float | None:
        """Return the smallest reply time that at least this fraction of the latest does not exceed."""
        if not self._seconds:
            return None
        ordered = sorted(self._seconds)
        return ordered[max(0, math.ceil(fraction * len(ordered)) - 1)] * 1000
