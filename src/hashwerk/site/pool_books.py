"""Is each pool honest? Its account's books beside our ledger's, compared again every hour while the mine runs.

`compare` is one comparison, as `hashwerk pools reconcile` shows it; `PoolBooks` makes it for the configured accounts.
"""

from __future__ import annotations

import asyncio
import datetime as dt
import logging
from collections.abc import Sequence
from decimal import Decimal
from pathlib import Path
from types import TracebackType
from typing import Final, Self

import msgspec

from hashwerk.clock import Clock
from hashwerk.economics.books import NetworkOf, day_books, worker_books
from hashwerk.economics.judge import Allowance
from hashwerk.economics.ports import PoolAccount, ProvedWork, ShareSum, day_of, total
from hashwerk.economics.reconcile import Reconciliation, reconcile
from hashwerk.economics.schemes import Terms
from hashwerk.errors import ConfigError, FeedError, StoreError
from hashwerk.feeds.pool_accounts import open_account, terms_of
from hashwerk.feeds.pool_accounts.chain_days import read_chain
from hashwerk.feeds.settings import PoolAccountSettings
from hashwerk.store import FateSum, LedgerReader, ProvedRow

log = logging.getLogger(__name__)

#: Pools settle days: asking more often tells nothing new, and they count requests.
EVERY_S: Final = 3_600.0
#: After a failure, which is often a pool that is busy.
AGAIN_S: Final = 300.0


class AccountBooks(msgspec.Struct, frozen=True, kw_only=True):
    """What an account's last comparison said. ``result`` of before stays while the pool cannot be asked."""

    upstream: str
    pool: str
    at: float | None = None  # of the comparison; None: there was none yet
    problem: str = ""  # why there is none, or no newer one
    result: Reconciliation | None = None


async def compare(
    account: PoolAccount,
    ledger: Path,
    upstream: str,
    first: dt.date,
    last: dt.date,
    *,
    terms: Terms,
    network_of: NetworkOf | None = None,
    allowance: Allowance | None = None,
    pool_share: Decimal | None = None,
) -> Reconciliation:
    """Compare a pool's books with the ledger's for the days from ``first`` to ``last``, both included.

    ``network_of`` tells the network of a span of time; without it pay is not judged. ``pool_share`` is as in `reconcile`.

    Raises:
        FeedError: If the pool is silent, refuses, or says what cannot be read.
        StoreError: If the ledger cannot be read or has no such upstream.
    """
    allowance = allowance or Allowance()
    await asyncio.to_thread(_check, ledger, upstream)
    days = await account.days(first, last)
    workers = await account.workers(first, last)
    payouts = await account.payouts(first, last)

    def both_sides() -> Reconciliation:
        with LedgerSide(ledger) as side:
            books = day_books(
                side,
                upstream,
                first=first,
                last=last,
                credited=days,
                payouts=payouts,
                network_of=network_of or (lambda start, end: ()),
                day_start_s=account.day_start_s,
                boundary_s=allowance.boundary_s,
            )
            names = worker_books(side, upstream, workers or (), boundary_s=allowance.boundary_s)
        return reconcile(terms, books, names, allowance=allowance, pool_share=pool_share)

    return await asyncio.to_thread(both_sides)


class PoolBooks:
    """The configured accounts under comparison. Owned by the loop of the `site` process.

    Cancellation: `run` ends at once; the last comparisons stay.
    """

    def __init__(self, settings: Sequence[PoolAccountSettings], ledger: Path, clock: Clock) -> None:
        self._settings = tuple(settings)
        self._ledger = ledger
        self._clock = clock
        self._books = {
            one.upstream: AccountBooks(upstream=one.upstream, pool=one.pool, problem="not asked yet")
            for one in self._settings
        }

    def view(self) -> tuple[AccountBooks, ...]:
        """Return what each account's last comparison said."""
        return tuple(self._books.values())

    async def run(self) -> None:
        """Compare all accounts again and again until cancelled."""
        await asyncio.gather(*(self._keep(one) for one in self._settings))

    async def compare_once(self, one: PoolAccountSettings) -> bool:
        """Compare one account now; return whether it could be."""
        last = day_of(self._clock.time(), one.day_start_s) - dt.timedelta(days=1)
        first = last - dt.timedelta(days=one.days - 1)
        before = self._books[one.upstream]
        try:
            account = open_account(one)
            network_of = read_chain(Path(one.chain_file)) if one.chain_file else None
            result = await compare(
                account,
                self._ledger,
                one.upstream,
                first,
                last,
                terms=terms_of(one),
                network_of=network_of,
            )
        except (FeedError, StoreError, ConfigError, ValueError) as error:
            if before.problem != str(error):
                log.warning("the books of %s: %s", one.upstream, error)
            self._books[one.upstream] = msgspec.structs.replace(before, problem=str(error))
            return False
        self._books[one.upstream] = AccountBooks(
            upstream=one.upstream, pool=one.pool, at=self._clock.time(), result=result
        )
        return True

    async def _keep(self, one: PoolAccountSettings) -> None:
        while True:
            done = await self.compare_once(one)
            await asyncio.sleep(EVERY_S if done else AGAIN_S)


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


def _check(ledger: Path, upstream: str) -> None:
    with LedgerSide(ledger) as side:
        side.check(upstream)


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
