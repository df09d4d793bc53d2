"""What a count of shares says about a hash rate: intervals for Poisson counts, alone and in weighted sums.

Shares arrive as a Poisson process, so a count over a period that was *fixed beforehand* has an exact
interval. For a period chosen after looking at the shares none of these hold.

scipy is imported on first use: it takes a fifth of a second, which a command that only asks for help need not
wait.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

import msgspec
import numpy as np
from numpy.typing import ArrayLike, NDArray

Floats = NDArray[np.float64]


class Rate(msgspec.Struct, frozen=True):
    """A measured hash rate in hashes per second, with its interval."""

    hs: float
    low_hs: float
    high_hs: float
    shares: int


def poisson_interval(count: int, confidence: float = 0.95) -> tuple[float, float]:
    """Return the interval for the mean of a Poisson variable of which ``count`` was observed.

    Garwood's interval (F. Garwood, "Fiducial limits for the Poisson distribution", Biometrika 28, 1936): with
    α = 1 − confidence, from χ²(α/2; 2N)/2 to χ²(1−α/2; 2N+2)/2. Its coverage is never below ``confidence``.

    Raises:
        ValueError: If ``count`` is negative or ``confidence`` is not between 0 and 1.
    """
    low, high = weighted_intervals(float(count), float(count), 1.0, confidence)
    return float(low), float(high)


def weighted_intervals(
    sums: ArrayLike, variances: ArrayLike, largest_weights: ArrayLike, confidence: float = 0.95
) -> tuple[Floats, Floats]:
    """Return intervals for means of weighted sums of independent Poisson variables, element by element.

    ``sums`` is y = Σ wᵢ·xᵢ, ``variances`` is v = Σ wᵢ²·xᵢ, ``largest_weights`` is the largest weight in use,
    counted or not. The gamma method (M. P. Fay and E. J. Feuer, "Confidence intervals for directly
    standardized rates: a method based on the gamma distribution", Statistics in Medicine 16, 1997, pages
    791–801): the lower bound is the α/2 quantile of the gamma distribution with mean y and variance v, the
    upper one the 1−α/2 quantile of that with mean y+w and variance v+w². With equal weights it is Garwood's
    interval exactly. With mixed weights it kept its nominal coverage in every simulation published, and in
    ours; a proof is not known. Where a proof is needed use `rate_interval` with ``method="bonferroni"``.

    Raises:
        ValueError: If a sum is negative or ``confidence`` is not between 0 and 1.
    """
    from scipy.special import gammaincinv

    if not 0 < confidence < 1:
        raise ValueError(f"confidence must lie between 0 and 1: {confidence}")
    y, v, w = np.broadcast_arrays(
        np.asarray(sums, np.float64),
        np.asarray(variances, np.float64),
        np.asarray(largest_weights, np.float64),
    )
    if np.any(y < 0):
        raise ValueError(f"a count cannot be negative: {y.min()}")
    tail = (1 - confidence) / 2
    some = y > 0
    safe_y, safe_v = np.where(some, y, 1.0), np.where(some, v, 1.0)
    low = np.where(some, gammaincinv(safe_y**2 / safe_v, tail) * safe_v / safe_y, 0.0)
    upper_y, upper_v = y + w, v + w**2
    high = gammaincinv(upper_y**2 / upper_v, 1 - tail) * upper_v / upper_y
    return low, high


def rate_interval(
    counts_by_work_log2: Mapping[int, int],
    duration_s: float,
    confidence: float = 0.95,
    method: Literal["gamma", "bonferroni"] = "gamma",
) -> Rate:
    """Return the hash rate that shares of several targets show over a period fixed beforehand.

    The estimate Σ 2**w·n / T is unbiased. The interval is by `weighted_intervals` (``"gamma"``), or the sum
    of Garwood's bounds for each target at confidence 1 − α/k for k targets (``"bonferroni"``), which is wider
    and provably conservative. A target that was in use and had no share belongs in the mapping with 0: it
    widens the upper bound.

    Raises:
        ValueError: If the mapping is empty, a count is negative, or ``duration_s`` is not positive.
    """
    if not counts_by_work_log2:
        raise ValueError("no target was in use")
    if not duration_s > 0:
        raise ValueError(f"duration must be positive: {duration_s}")
    if min(counts_by_work_log2.values()) < 0:
        raise ValueError(f"a count cannot be negative: {min(counts_by_work_log2.values())}")
    weights = np.ldexp(1.0, np.array(list(counts_by_work_log2), np.int64))
    counts = np.array(list(counts_by_work_log2.values()), np.float64)
    work = float(weights @ counts)
    if method == "bonferroni":
        each = 1 - (1 - confidence) / len(counts)
        bounds = [poisson_interval(count, each) for count in counts_by_work_log2.values()]
        low = float(weights @ np.array([bound[0] for bound in bounds]))
        high = float(weights @ np.array([bound[1] for bound in bounds]))
    else:
        lows, highs = weighted_intervals(work, float(weights**2 @ counts), float(weights.max()), confidence)
        low, high = float(lows), float(highs)
    return Rate(work / duration_s, low / duration_s, high / duration_s, sum(counts_by_work_log2.values()))


def stop_at_nth_rate(count: int, duration_s: float) -> float | None:
    """Return the unbiased rate of a process watched until its ``count``-th event, which took ``duration_s``.

    The duration is a gamma variable, and E[1/T] = λ/(N−1): so (N−1)/T has mean λ where N/T is too high by
    N/(N−1). None for the first event, which says nothing without bias.

    Raises:
        ValueError: If ``count`` is below 1 or ``duration_s`` is not positive.
    """
    if count < 1:
        raise ValueError(f"there is no {count}-th event")
    if not duration_s > 0:
        raise ValueError(f"duration must be positive: {duration_s}")
    return None if count == 1 else (count - 1) / duration_s


def stop_at_nth_interval(count: int, duration_s: float, confidence: float = 0.95) -> tuple[float, float]:
    """Return the exact interval for the rate of a process watched until its ``count``-th event.

    2·λ·T has the χ² distribution with 2N degrees of freedom.

    Raises:
        ValueError: If ``count`` is below 1, ``duration_s`` is not positive, or ``confidence`` is out of
        range.
    """
    from scipy.special import gammaincinv

    if count < 1:
        raise ValueError(f"there is no {count}-th event")
    if not duration_s > 0:
        raise ValueError(f"duration must be positive: {duration_s}")
    if not 0 < confidence < 1:
        raise ValueError(f"confidence must lie between 0 and 1: {confidence}")
    tail = (1 - confidence) / 2
    low, high = gammaincinv(count, [tail, 1 - tail]) / duration_s
    return float(low), float(high)
