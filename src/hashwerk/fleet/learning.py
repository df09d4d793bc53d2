"""Curves learned on site: what this very machine draws and hashes in a mode, metered, with the air as a covariate.

The rule by which a learned point replaces a published one (`LearnedMode.point`): it rests on at least `MIN_PERIODS` steady
periods of at least `STEADY_S` seconds each, on metered power throughout, its power is known to ±3 % and its hash rate to
±5 % (95 %), and its last period is not older than `MAX_AGE_S`. A nameplate is worth as much again when that no longer holds.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Final

import msgspec

from hashwerk.fleet.modes import REFERENCE_C, ModePoint, PointSource
from hashwerk.work.poisson import poisson_interval

STEADY_S: Final = 900.0
MIN_PERIODS: Final = 4
MAX_AGE_S: Final = 90 * 86_400.0
#: Power within a period may vary by so much of its mean.
MAX_SPREAD: Final = 0.03
MAX_POWER_ERROR: Final = 0.03
MAX_RATE_ERROR: Final = 0.05
#: Leakage: about 0.12 % of the power a degree. It holds the slope down while all periods had the same weather.
PRIOR_SLOPE_PER_K: Final = 0.0012
_PRIOR_WEIGHT_K2: Final = 50.0
#: Periods older than this many are forgotten, so that a machine that ages is followed.
MEMORY: Final = 96.0


class Period(msgspec.Struct, frozen=True, kw_only=True):
    """A steady period: metered, in one mode, nothing happening."""

    mode: str | None
    start: float
    end: float
    power_w: float  # mean
    inlet_c: float | None
    shares: int
    work: float  # hashes credited


@dataclass(slots=True)
class SteadyWatch:
    """Finds steady periods in a machine's life. Owned by one task."""

    mode: str | None = None
    start: float | None = None
    last: float = 0.0
    count: int = 0
    total_w: float = 0.0
    low_w: float = math.inf
    high_w: float = -math.inf
    total_c: float = 0.0
    count_c: int = 0
    work_at_start: float = 0.0
    shares_at_start: int = 0

    def add(
        self,
        now: float,
        *,
        steady: bool,
        mode: str | None,
        power_w: float | None,
        inlet_c: float | None,
        shares: int,
        work: float,
        max_gap_s: float = 60.0,
    ) -> Period | None:
        """Take in one look at the machine; return a period when one is complete.

        ``steady`` is that it hashes in a settled state; ``power_w`` is that of a meter, None where there is none; ``shares``
        and ``work`` count up since any fixed moment.
        """
        broken = self.start is not None and (mode != self.mode or now - self.last > max_gap_s)
        if not steady or power_w is None or broken:
            self._begin(None if not steady or power_w is None else now, mode, shares, work)
        if power_w is None or not steady:
            return None
        if self.start is None:
            self._begin(now, mode, shares, work)
        low_w, high_w = min(self.low_w, power_w), max(self.high_w, power_w)
        mean_w = (self.total_w + power_w) / (self.count + 1)
        if high_w - low_w > 2 * MAX_SPREAD * mean_w:  # it warms up or somebody turned a knob: begin again
            self._begin(now, mode, shares, work)
            low_w = high_w = power_w
        self.low_w, self.high_w, self.last = low_w, high_w, now
        self.count += 1
        self.total_w += power_w
        if inlet_c is not None:
            self.total_c += inlet_c
            self.count_c += 1
        assert self.start is not None
        if now - self.start < STEADY_S:
            return None
        period = Period(
            mode=mode,
            start=self.start,
            end=now,
            power_w=self.total_w / self.count,
            inlet_c=self.total_c / self.count_c if self.count_c else None,
            shares=shares - self.shares_at_start,
            work=work - self.work_at_start,
        )
        self._begin(now, mode, shares, work)
        return period

    def _begin(self, start: float | None, mode: str | None, shares: int, work: float) -> None:
        self.start, self.mode, self.count, self.count_c = start, mode, 0, 0
        self.last = start or 0.0
        self.total_w = self.total_c = 0.0
        self.low_w, self.high_w = math.inf, -math.inf
        self.shares_at_start, self.work_at_start = shares, work


class LearnedMode(msgspec.Struct, kw_only=True):
    """Running sums over the steady periods of one mode. Powers are regressed on inlet temperature less 25 °C."""

    mode: str | None
    periods: float = 0.0
    last_at: float = 0.0
    sum_p: float = 0.0
    sum_pp: float = 0.0
    sum_t: float = 0.0
    sum_tt: float = 0.0
    sum_pt: float = 0.0
    shares: float = 0.0
    work: float = 0.0
    duration_s: float = 0.0

    def add(self, period: Period) -> None:
        """Take in a steady period; the memory of older ones fades."""
        keep = 1.0 if self.periods < MEMORY else 1 - 1 / MEMORY
        t = 0.0 if period.inlet_c is None else period.inlet_c - REFERENCE_C
        p = period.power_w
        self.periods = self.periods * keep + 1
        self.sum_p = self.sum_p * keep + p
        self.sum_pp = self.sum_pp * keep + p * p
        self.sum_t = self.sum_t * keep + t
        self.sum_tt = self.sum_tt * keep + t * t
        self.sum_pt = self.sum_pt * keep + p * t
        self.shares = self.shares * keep + period.shares
        self.work = self.work * keep + period.work
        self.duration_s = self.duration_s * keep + (period.end - period.start)
        self.last_at = max(self.last_at, period.end)

    def power(self) -> tuple[float, float, float] | None:
        """Return power at 25 °C, its slope a degree, and the half width of the power's 95 % interval; None without periods.

        Least squares with the slope drawn towards that of leakage by as much as `_PRIOR_WEIGHT_K2` kelvin² of data would.
        """
        if self.periods < 1:
            return None
        n = self.periods
        mean_p, mean_t = self.sum_p / n, self.sum_t / n
        spread_tt = max(0.0, self.sum_tt - n * mean_t**2)
        spread_pt = self.sum_pt - n * mean_p * mean_t
        prior = PRIOR_SLOPE_PER_K * mean_p
        slope = (spread_pt + prior * _PRIOR_WEIGHT_K2) / (spread_tt + _PRIOR_WEIGHT_K2)
        power_w = mean_p - slope * mean_t
        spread_pp = max(0.0, self.sum_pp - n * mean_p**2)
        residual = max(0.0, spread_pp - 2 * slope * spread_pt + slope**2 * spread_tt)
        # With few periods their scatter says little: at least half a per cent is assumed.
        deviation = max(math.sqrt(residual / max(1.0, n - 1)), 0.005 * mean_p)
        lever = 1 / n + mean_t**2 / (spread_tt + _PRIOR_WEIGHT_K2)
        return power_w, slope, 1.96 * deviation * math.sqrt(lever)

    def point(self, now: float) -> ModePoint | None:
        """Return the learned point if it has earned to replace a published one, else None."""
        if self.missing(now) is not None:
            return None
        power = self.power()
        assert power is not None
        return ModePoint(
            mode=self.mode,
            power_w=power[0],
            hashrate_hs=self.work / self.duration_s,
            source=PointSource.LEARNED,
            power_w_per_k=power[1],
        )

    def missing(self, now: float) -> str | None:
        """Return in words what the curve still lacks; None when it has earned its place."""
        power = self.power()
        if power is None or self.periods < MIN_PERIODS:
            return f"{self.periods:.0f} of {MIN_PERIODS} steady periods"
        if now - self.last_at > MAX_AGE_S:
            return "nothing learned for three months"
        if power[2] > MAX_POWER_ERROR * power[0]:
            return f"power is known to ±{power[2] / power[0]:.1%}, ±{MAX_POWER_ERROR:.0%} is needed"
        low, high = poisson_interval(int(self.shares))
        if not self.shares or (high - low) / 2 > MAX_RATE_ERROR * self.shares:
            return f"hash rate rests on {self.shares:.0f} shares; ±{MAX_RATE_ERROR:.0%} is needed"
        return None
