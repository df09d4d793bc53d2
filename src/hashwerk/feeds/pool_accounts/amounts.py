"""What pools write as numbers, as exact quantities: coin, hash rates with their units, and how far they are rounded."""

from __future__ import annotations

import datetime as dt
from decimal import Decimal, InvalidOperation
from typing import Final

from hashwerk.chain.subsidy import SAT_PER_BTC
from hashwerk.economics.hashprice import HASHES_PER_DIFFICULTY, SECONDS_PER_DAY
from hashwerk.errors import FeedError

_PREFIXES: Final = {
    "": 1, "k": 10**3, "m": 10**6, "g": 10**9, "t": 10**12, "p": 10**15, "e": 10**18, "z": 10**21,
}  # fmt: skip


def sat_from_btc(amount_btc: Decimal) -> Decimal:
    """Return an amount of coin in satoshi, fractions included."""
    return amount_btc * SAT_PER_BTC


def rounding(value: Decimal) -> Decimal:
    """Return how far a figure may have been moved by rounding to the digits it is written with: half its last digit."""
    exponent = value.as_tuple().exponent
    assert isinstance(exponent, int), "a finite figure"
    return Decimal(5).scaleb(exponent - 1)


def hashes_from_unit(name: str, unit: str) -> int:
    """Return the hashes in one unit of a hash rate: ``Gh/s``, ``TH/s``, ``H/s`` …

    Raises:
        FeedError: If the unit is none that is known.
    """
    text = unit.strip().lower()
    prefix = text.removesuffix("h/s")
    if text == prefix or prefix not in _PREFIXES:
        raise FeedError(f"{name} measures hash rates in {unit!r}, which is not known here")
    return _PREFIXES[prefix]


def day_difficulty(rate: Decimal, unit_hashes: int = 1) -> tuple[Decimal, Decimal]:
    """Return the work of a day at a mean hash rate, in difficulty, and how far the rate's rounding may have moved it.

    d = h · 86,400 / 2³².
    """
    factor = Decimal(unit_hashes * SECONDS_PER_DAY) / HASHES_PER_DIFFICULTY
    return rate * factor, rounding(rate) * factor


def decimal_from_text(name: str, text: str) -> Decimal:
    """Return a figure of a file, thousands separators taken off.

    Raises:
        FeedError: If it is no finite number.
    """
    try:
        value = Decimal(text.strip().replace(",", "").replace("_", ""))
    except InvalidOperation as error:
        raise FeedError(f"{name}: {text!r} is no number") from error
    if not value.is_finite():
        raise FeedError(f"{name}: {text!r} is no number")
    return value


def moment_from_text(name: str, text: str) -> float:
    """Return a moment in Unix seconds: of an ISO date or time (UTC where it names no zone), or of Unix seconds themselves.

    Raises:
        FeedError: If it is neither.
    """
    stripped = text.strip()
    if stripped.isdigit() and len(stripped) >= 9:
        return float(stripped)
    try:
        moment = dt.datetime.fromisoformat(stripped)
    except ValueError as error:
        raise FeedError(f"{name}: {text!r} is no date") from error
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=dt.UTC)
    return moment.timestamp()


def worker_from_login(login: str) -> str:
    """Return a worker's name without its account's: ``account.hall1.m042`` is ``hall1.m042``."""
    return login.partition(".")[2] or login
