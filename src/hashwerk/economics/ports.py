"""What reconciliation asks of the ledger and of a pool's account: two small ports and what goes through them.

Work is counted in *difficulty*: a share of difficulty d is d·2³² hashes on average, and a pool credits d for it, whatever
its hash was. Sums of difficulty are `Decimal`, because upstream pools may announce fractions. Satoshi of a pool's books are
`Decimal` too: several pools keep fractions of one. What a pool does not tell is None, never 0.
"""

from __future__ import annotations

import datetime as dt
import enum
from collections.abc import Iterable, Sequence
from decimal import Decimal
from typing import Protocol

import msgspec

SECONDS_PER_DAY = 86_400


class ShareSum(msgspec.Struct, frozen=True):
    """A number of shares and the sum of their difficulties."""

    shares: int = 0
    difficulty: Decimal = Decimal(0)

    def __add__(self, other: ShareSum) -> ShareSum:
        """Return both together."""
        return ShareSum(self.shares + other.shares, self.difficulty + other.difficulty)


def total(sums: Iterable[ShareSum]) -> ShareSum:
    """Return all sums together."""
    return sum(sums, ShareSum())


class ProvedWork(msgspec.Struct, frozen=True, kw_only=True):
    """What the ledger holds of one worker's shares for one upstream pool in one interval.

    Every share here was checked by us and met the target of the pool. Each is in exactly one of the three fates, by the
    time at which it was handed in.
    """

    worker: str  # as the pool was told, without the account's name: "hall1.m042"
    accepted: ShareSum = ShareSum()  # the pool said so; that is not yet credit
    rejected: dict[str, ShareSum] = {}  # by the pool's reason
    lost: ShareSum = ShareSum()  # handed in and never answered, or could not be handed in

    @property
    def proved(self) -> ShareSum:
        """All shares that met the pool's target, whatever became of them."""
        return self.accepted + total(self.rejected.values()) + self.lost


class ProvedDays(Protocol):
    """The ledger's side: what was proved here for an upstream pool."""

    def proved(self, upstream: str, start: int, end: int) -> Sequence[ProvedWork] | None:
        """Return one row a worker for shares handed in during [start, end), Unix seconds.

        An empty sequence says that the ledger covers the interval and that nothing was handed in; None that it does not
        cover it whole (the mine did not run with this upstream, or the shares were removed), so that nothing can be said.
        """
        ...


class BlockCredit(msgspec.Struct, frozen=True, kw_only=True):
    """What one block paid to this account for the shares that stood in the scheme's window."""

    at: float  # Unix seconds
    window_shares: Decimal  # difficulty
    net_sat: Decimal  # after the pool's fee


class CreditedDay(msgspec.Struct, frozen=True, kw_only=True):
    """What a pool's books say of one day of one account."""

    day: dt.date  # the pool's own day, see `PoolAccount.day_start_s`
    difficulty: Decimal | None = None  # work credited
    difficulty_step: Decimal = Decimal(0)  # how far the pool's rounding may have moved it, either way
    mining_sat: Decimal | None = None  # credited for this work
    sat_step: Decimal = Decimal(1)  # how far rounding may have moved it, either way
    other_sat: Decimal | None = None  # referrals, refunds, bonuses: no part of the scheme
    blocks: int | None = None  # blocks that paid this day, where the pool lists them
    block_credits: tuple[
        BlockCredit, ...
    ] = ()  # the same one by one, where it tells the shares in their windows
    is_final: bool = True  # False: the pool may still change it


class CreditedWorker(msgspec.Struct, frozen=True, kw_only=True):
    """What a pool credits to one worker over an interval of its own choice, in Unix seconds."""

    worker: str
    start: int
    end: int
    difficulty: Decimal | None = None
    difficulty_step: Decimal = Decimal(0)


class Rail(enum.Enum):
    """How a payout travelled."""

    ONCHAIN = "on-chain"
    COINBASE = "coinbase"  # an output of the block itself: the pool never held it
    LIGHTNING = "lightning"
    UNKNOWN = "unknown"


class Payout(msgspec.Struct, frozen=True, kw_only=True):
    """What a pool says that it paid. Only the chain, or the wallet, shows that it arrived."""

    at: float  # Unix seconds
    amount_sat: Decimal  # as it left the account's balance, without the fee
    fee_sat: Decimal | None = None
    rail: Rail = Rail.UNKNOWN
    transaction: str | None = None


class PoolAccount(Protocol):
    """An account at a pool, read from its API or from its CSV export."""

    name: str
    day_start_s: int  # when the pool's day begins, seconds after 0:00 UTC

    async def days(self, first: dt.date, last: dt.date) -> list[CreditedDay]:
        """Return the days from ``first`` to ``last``, both included; a day that the pool does not have is left out.

        Raises:
            FeedError: If the pool is silent, refuses, or says what cannot be read.
        """
        ...

    async def workers(self, first: dt.date, last: dt.date) -> list[CreditedWorker] | None:
        """Return what each worker is credited, as the pool has it: by day, or for its own last 24 hours; None: not told.

        Raises:
            FeedError: As `days`.
        """
        ...

    async def payouts(self, first: dt.date, last: dt.date) -> list[Payout] | None:
        """Return payouts of the days from ``first`` to ``last``, both included; None: not told.

        Raises:
            FeedError: As `days`.
        """
        ...


def day_window(day: dt.date, day_start_s: int) -> tuple[int, int]:
    """Return the half-open interval of a pool's day in Unix seconds."""
    midnight = dt.datetime(day.year, day.month, day.day, tzinfo=dt.UTC)
    start = int(midnight.timestamp()) + day_start_s
    return start, start + SECONDS_PER_DAY


def day_of(at: float, day_start_s: int) -> dt.date:
    """Return the pool's day in which a moment lies."""
    return dt.datetime.fromtimestamp(at - day_start_s, dt.UTC).date()


def days_between(first: dt.date, last: dt.date) -> list[dt.date]:
    """Return the days from ``first`` to ``last``, both included."""
    return [first + dt.timedelta(days=n) for n in range((last - first).days + 1)]
