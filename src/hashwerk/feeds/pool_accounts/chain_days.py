"""The network by days of UTC, from a file: what a day's work was worth by a scheme's formula."""

from __future__ import annotations

import csv
import datetime as dt
from collections.abc import Sequence
from decimal import Decimal, InvalidOperation
from pathlib import Path

from hashwerk.economics.ports import day_of
from hashwerk.economics.schemes import Network
from hashwerk.errors import ConfigError

_COLUMNS = ("day", "difficulty", "subsidy_sat", "fees_low_sat", "fees_high_sat")


class Chain:
    """The network by days of UTC, from a file."""

    def __init__(self, days: dict[dt.date, list[Network]]) -> None:
        self._days = days

    def __call__(self, start: int, end: int) -> Sequence[Network]:
        """Return the network's states in [start, end); none if a day of it is missing."""
        first, last = day_of(start, 0), day_of(end - 1, 0)
        if first not in self._days or last not in self._days:
            return ()
        return self._days[first] if first == last else [*self._days[first], *self._days[last]]


def read_chain(path: Path) -> Chain:
    """Read the network's days: CSV with the columns day, difficulty, subsidy_sat, fees_low_sat, fees_high_sat.

    A day of a retarget or halving has a line for each state. Fees are a block's mean fees, the lowest and the highest mean
    that the pool may have taken; an empty field is an unknown.

    Raises:
        ConfigError: If the file cannot be read or lacks a column.
    """
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            rows = list(csv.DictReader(file, restval=""))
        missing = [name for name in _COLUMNS if not rows or name not in rows[0]]
        if missing:
            raise ConfigError(f"{path} lacks {', '.join(missing)}")
        days: dict[dt.date, list[Network]] = {}
        for row in rows:
            days.setdefault(dt.date.fromisoformat(row["day"].strip()), []).append(_network(row))
    except (OSError, ValueError, InvalidOperation) as error:
        raise ConfigError(f"{path} cannot be read as days of the chain: {error}") from error
    return Chain(days)


def _network(row: dict[str, str]) -> Network:
    network = Network(
        difficulty=Decimal(row["difficulty"]),
        subsidy_sat=int(row["subsidy_sat"]),
        fees_low_sat=_optional(row["fees_low_sat"]),
        fees_high_sat=_optional(row["fees_high_sat"]),
    )
    if not network.difficulty.is_finite() or network.difficulty <= 0 or network.subsidy_sat < 0:
        raise ValueError(f"difficulty {row['difficulty']}, subsidy {row['subsidy_sat']}")
    fees = [fee for fee in (network.fees_low_sat, network.fees_high_sat) if fee is not None]
    if any(not fee.is_finite() or fee < 0 for fee in fees) or fees != sorted(fees):
        raise ValueError(f"fees from {row['fees_low_sat']} to {row['fees_high_sat']}")
    return network


def _optional(text: str) -> Decimal | None:
    return Decimal(text) if text.strip() else None
