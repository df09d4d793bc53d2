"""What no machine can have: more than that is a slip or a lie, and would spoil the sums of a whole hall.

Each bound is ten times and more above the largest machine on the market; numbers below it may be lies all the same, and
the meter says which.
"""

from __future__ import annotations

from typing import Final

MAX_POWER_W: Final = 100_000.0
MAX_HASHRATE_HS: Final = 1e17
MAX_BOARDS: Final = 32
MAX_POOLS: Final = 16
_MAX_FAN_RPM: Final = 100_000
#: A hundred years: what counts in other units, or from nowhere, is no time since a start.
_MAX_UPTIME_S: Final = 3_155_760_000.0


def power_w(value: float | None, doubts: list[str]) -> float | None:
    """Return a power at the wall, None and a doubt where nothing that answers can draw it."""
    if value is None or 0 < value <= MAX_POWER_W:
        return value
    doubts.append(f"power: says {value:.6g} W, which nothing that answers can draw")
    return None


def limit_w(value: float | None) -> float | None:
    """Return a set-point in watts, None where it cannot be one."""
    return value if value is not None and 0 <= value <= MAX_POWER_W else None


def hashrate_hs(value: float | None, doubts: list[str]) -> float | None:
    """Return a hash rate, None and a doubt where no machine reaches it."""
    if value is None or 0 <= value <= MAX_HASHRATE_HS:
        return value
    doubts.append(f"hash rate: says {value / 1e12:.6g} TH/s, which no machine reaches")
    return None


def uptime_s(value: float | None) -> float | None:
    """Return a time since the start, None where it cannot be one."""
    return value if value is not None and 0 <= value <= _MAX_UPTIME_S else None


def fan_rpm(value: float | None) -> int | None:
    """Return a fan's speed, None where it cannot be one."""
    return round(value) if value is not None and 0 <= value <= _MAX_FAN_RPM else None
