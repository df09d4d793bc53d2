"""How prices, money, energy and what feeds say stand on pages."""

from __future__ import annotations

import re
from decimal import Decimal, InvalidOperation
from typing import Final

from hashwerk.units import format_duration

NO_VALUE: Final = "–"
_HOUR_S: Final = 3_600
#: How Linux (glibc, musl) and macOS say that a name is not found.
_UNRESOLVED: Final = re.compile(
    r"\[Errno -?\d+\] (Name or service not known|Temporary failure in name resolution|No address associated with hostname"
    r"|Name does not resolve|nodename nor servname provided, or not known)"
)
_ERRNO: Final = re.compile(r"\[Errno -?\d+\] ")


def without_errno(text: str) -> str:
    """Return what a system call said in words for people: a name that is not found mostly means no network."""
    return _ERRNO.sub("", _UNRESOLVED.sub("its host is not found (no network, or a wrong name)", text))


def true_minus(text: str) -> str:
    """Return words with the minus sign of the figures beside them before negative numbers."""
    return re.sub(r"(?<![\w.,-])-(?=\d)", "−", text)


def as_sentence(text: str) -> str:
    """Return words as a sentence of its own."""
    return f"{text[:1].upper()}{text[1:].rstrip('.')}."


def format_price(value: float | None) -> str:
    """Return a price of energy, exact where it is small: −500.00 and 9,000.00 are prices like others."""
    if value is None:
        return NO_VALUE
    return f"{value:,.2f}".replace("-", "−")


def format_money(text: str | None, *, signed: bool = False) -> str:
    """Return an amount of money with two digits; an en dash where it is not known, the text itself if it is no amount."""
    amount = decimal_of(text)
    if amount is None:
        return text or NO_VALUE
    return (f"{amount:+,.2f}" if signed else f"{amount:,.2f}").replace("-", "−")


def format_energy(energy_wh: int) -> str:
    """Return an amount of energy with the prefix that fits."""
    for scale, unit in ((1e9, "GWh"), (1e6, "MWh"), (1e3, "kWh")):
        if abs(energy_wh) >= scale:
            return f"{energy_wh / scale:,.4g} {unit}"
    return f"{energy_wh:,} Wh"


def format_percent(share: float | None) -> str:
    """Return a share in percent; an en dash where it is not known."""
    return NO_VALUE if share is None else f"{100 * share:.1f} %"


def format_hours(span_s: float) -> str:
    """Return a span of time in hours, a short one in what fits."""
    return format_duration(span_s) if span_s < _HOUR_S else f"{span_s / _HOUR_S:.0f} h"


def decimal_of(text: str | None) -> Decimal | None:
    """Return an amount that is told as text; None where it is none."""
    if text is None:
        return None
    try:
        return Decimal(text)
    except InvalidOperation:
        return None
