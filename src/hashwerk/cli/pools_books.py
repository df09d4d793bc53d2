"""Where the two sides of `hashwerk pools reconcile` come from: the ledger, the pool's account, and the chain's days."""

from __future__ import annotations

import csv
import datetime as dt
from collections.abc import Sequence
from decimal import Decimal, InvalidOperation
from pathlib import Path
from types import TracebackType
from typing import Self

from hashwerk.economics.ports import (
    CreditedDay,
    CreditedWorker,
    Payout,
    PoolAccount,
    ProvedWork,
    ShareSum,
    day_of,
    total,
)
from hashwerk.economics.schemes import Network
from hashwerk.errors import ConfigError, StoreError
from hashwerk.store import FateSum, LedgerReader, ProvedRow

_CHAIN_COLUMNS = ("day", "difficulty", "subsidy_sat", "fees_low_sat", "fees_high_sat")


class LedgerSide:
    """The ledger as reconciliation asks it (`hashwerk.economics.ports.ProvedDays`).

    A worker is named as the pool is told: by its machine's name. The same name in two accounts is one worker to the pool.
    """

    def __init__(self, path: Path) -> None:
        self._reader = LedgerReader(path)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._reader.close()

    def check(self, upstream: str) -> None:
        """Make sure that there is such an upstream.

        Raises:
            StoreError: If not; the message names those that there are.
        """
        names = sorted({row.name for row in self._reader.upstreams()})
        if upstream not in names:
            known = f"it knows {', '.join(names)}" if names else "it has none at all"
            raise StoreError(f"the ledger has no upstream named {upstream}; {known} (see --upstream)")

    def proved(self, upstream: str, start: int, end: int) -> Sequence[ProvedWork] | None:
        """Return one row a worker for shares handed in during [start, end); None: not all of it is held."""
        rows = self._reader.proved(upstream, start, end)
        if rows is None:
            return None
        names = sorted({row.machine for row in rows})
        return [_together(name, [row for row in rows if row.machine == name]) for name in names]


async def read_account(
    account: PoolAccount, first: dt.date, last: dt.date
) -> tuple[list[CreditedDay], list[CreditedWorker] | None, list[Payout] | None]:
    """Return everything that a pool's account tells of the days from ``first`` to ``last``.

    Raises:
        FeedError: If the pool is silent, refuses, or says what cannot be read.
    """
    days = await account.days(first, last)
    return days, await account.workers(first, last), await account.payouts(first, last)


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
        missing = [name for name in _CHAIN_COLUMNS if not rows or name not in rows[0]]
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


def _together(worker: str, rows: Sequence[ProvedRow]) -> ProvedWork:
    rejected: dict[str, ShareSum] = {}
    for row in rows:
        for reason, amount in row.rejected.items():
            rejected[reason] = rejected.get(reason, ShareSum()) + _sum(amount)
    return ProvedWork(
        worker=worker,
        accepted=total(_sum(row.accepted) for row in rows),
        rejected=rejected,
        lost=total(_sum(row.lost) for row in rows),
    )


def _sum(amount: FateSum) -> ShareSum:
    return ShareSum(amount.shares, amount.difficulty)
