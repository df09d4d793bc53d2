"""Quantities as people read them: SI prefixes, tabular and exact enough, units always."""

from __future__ import annotations

import math

_SI = ("", "k", "M", "G", "T", "P", "E", "Z", "Y")


def format_si(value: float | None, unit: str, *, digits: int = 3) -> str:
    """Return ``value`` with an SI prefix and ``digits`` significant digits, for example ``48.0 MH/s``.

    A missing value (``None``) is an en dash: missing is never shown as zero.
    """
    if value is None:
        return "–"
    if value == 0 or not math.isfinite(value):
        return f"{value:.0f} {unit}"
    power = min(max(math.floor(math.log10(abs(value)) / 3), 0), len(_SI) - 1)
    scaled = value / 1000**power
    if abs(scaled) >= 999.5 and power < len(_SI) - 1:
        power += 1
        scaled /= 1000
    decimals = max(0, digits - 1 - max(0, math.floor(math.log10(abs(scaled)))))
    return f"{scaled:.{min(decimals, 6)}f} {_SI[power]}{unit}"


def format_hashrate(hashrate_hs: float | None) -> str:
    """Return a hash rate in H/s with its SI prefix."""
    return format_si(hashrate_hs, "H/s")


def format_duration(duration_s: float | None) -> str:
    """Return a duration as its two largest units, for example ``3 min 20 s``."""
    if duration_s is None:
        return "–"
    if duration_s < 1:
        return f"{duration_s * 1000:.0f} ms"
    seconds = round(duration_s)
    parts: list[str] = []
    for size, name in ((86_400, "d"), (3_600, "h"), (60, "min"), (1, "s")):
        count, seconds = divmod(seconds, size)
        if count or parts:
            parts.append(f"{count} {name}" if count else "")
    return " ".join(part for part in parts[:2] if part)
