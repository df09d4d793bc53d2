"""OCEAN (TIDES): public API by payout address, and CSV exports.

Documented (OCEAN's API page, as users quote it): JSON under api.ocean.xyz/v1, no key; everything is public under the payout
address, so whoever knows an address sees its earnings. Times are UTC, written without a zone.

- ``/earnpay/{address}/{start}/{end}`` (dates, times or Unix seconds): ``result.earnings[]``, one a block, with ``block_hash``,
  ``ts``, ``shares_in_window``, ``fees_colected_satoshis`` (so spelt) and ``satoshis_net_earned``; ``result.payouts[]`` with
  ``ts``, ``on_chain_txid`` (null: Lightning), ``total_satoshis_net_paid``, ``is_generation_txn``;
- ``/user_hashrate_full/{address}``: ``result.workers{worker}[]``, each with hash rates in H/s as text, ``hashrate_86400s``
  among them;
- an unknown address is answered with ``error`` in place of ``result``;
- ``/monthly_payout_report/{address}/{YYYY-MM}/csv``: columns TimeUTC, PayoutAmt, PayoutAddress, TXID, Generated, in satoshi.

Inferred: a day of the asked period without an entry in ``earnings`` had no block, so its credit is 0 and known; earnings are
net of the pool's fee; rate limit: one request a second is kept. Work credited by day is not told by this API: it stays None,
and what can be judged is the money of the whole period. The columns of the earnings report are not documented: the API's
names are taken.
"""

from __future__ import annotations

import datetime as dt
from decimal import Decimal
from typing import Final

import msgspec

from hashwerk.economics.ports import (
    SECONDS_PER_DAY,
    BlockCredit,
    CreditedDay,
    CreditedWorker,
    Payout,
    Rail,
    day_of,
    day_window,
    days_between,
)
from hashwerk.errors import FeedError
from hashwerk.feeds.pool_accounts.amounts import day_difficulty, moment_from_text
from hashwerk.feeds.pool_accounts.table import Layout
from hashwerk.feeds.pool_accounts.transport import Api

BASE_URL: Final = "https://api.ocean.xyz/v1"
PAUSE_S: Final = 1.0
#: The pool renews its figures every minute or so; a trailing day may be off by a few.
_STEP_S: Final = 300
LAYOUT: Final = Layout(
    time=("timeutc", "ts", "date"),
    mining=("satoshis_net_earned", "earnings"),
    payout=("payoutamt", "total_satoshis_net_paid"),
    transaction=("txid", "on_chain_txid"),
    from_coinbase=("generated", "is_generation_txn"),
    money_unit="sat",
    rows_are_blocks=True,
)


class Earning(msgspec.Struct):
    """What one block earned."""

    ts: str
    satoshis_net_earned: Decimal
    shares_in_window: Decimal


class PayoutRow(msgspec.Struct):
    """One payout."""

    ts: str
    total_satoshis_net_paid: Decimal
    on_chain_txid: str | None = None
    is_generation_txn: bool | None = None


class EarnPay(msgspec.Struct):
    """What ``result`` holds."""

    earnings: list[Earning]
    payouts: list[PayoutRow]


class Answer(msgspec.Struct, kw_only=True):
    """What every reply may be instead: an error in words."""

    error: str | None = None


class EarnPayReply(Answer):
    """The reply of ``earnpay``; None: refused."""

    result: EarnPay | None = None


class WorkerRates(msgspec.Struct):
    """A worker's hash rates in H/s."""

    hashrate_86400s: Decimal


class WorkerResult(msgspec.Struct):
    """What ``result`` holds."""

    workers: dict[str, list[WorkerRates]]


class WorkersReply(Answer):
    """The reply of ``user_hashrate_full``; None: refused."""

    result: WorkerResult | None = None


class OceanAccount:
    """A payout address at OCEAN, read over the public API."""

    name = "ocean"

    def __init__(self, api: Api, address: str, *, day_start_s: int = 0) -> None:
        if not address.isalnum():
            raise FeedError("ocean is asked by payout address, and this is none")
        self._api = api
        self._address = address
        self.day_start_s = day_start_s

    async def days(self, first: dt.date, last: dt.date) -> list[CreditedDay]:
        """Return every day up to now; one without a block is credited 0.

        Raises:
            FeedError: If the pool is silent, refuses, or says what cannot be read.
        """
        result = await self._earnpay(first, last)
        earned: dict[dt.date, list[BlockCredit]] = {}
        for row in result.earnings:
            at = moment_from_text("ocean", row.ts)
            block = BlockCredit(at=at, window_shares=row.shares_in_window, net_sat=row.satoshis_net_earned)
            earned.setdefault(day_of(at, self.day_start_s), []).append(block)
        today = day_of(self._api.clock.time(), self.day_start_s)
        return [
            self._credited(day, earned.get(day, []), is_final=day < today)
            for day in days_between(first, min(last, today))
        ]

    def _credited(self, day: dt.date, blocks: list[BlockCredit], *, is_final: bool) -> CreditedDay:
        return CreditedDay(
            day=day,
            mining_sat=sum((block.net_sat for block in blocks), Decimal(0)),
            sat_step=Decimal(1),
            blocks=len(blocks),
            block_credits=tuple(blocks),
            is_final=is_final,
        )

    async def workers(self, first: dt.date, last: dt.date) -> list[CreditedWorker] | None:
        """Return each worker's last 24 hours: the list has no history, so the period asked for has no effect.

        Raises:
            FeedError: As `days`.
        """
        path = f"/user_hashrate_full/{self._address}"
        reply = await self._api.get(path, WorkersReply)
        if reply.result is None:
            raise FeedError(f"ocean refuses: {reply.error or 'no reason'}")
        end = int(self._api.clock.time())
        workers = []
        for worker, rates in reply.result.workers.items():
            if not rates:
                continue
            difficulty, step = day_difficulty(rates[0].hashrate_86400s)
            workers.append(
                CreditedWorker(
                    worker=worker,
                    start=end - SECONDS_PER_DAY,
                    end=end,
                    difficulty=difficulty,
                    difficulty_step=step + difficulty * _STEP_S / SECONDS_PER_DAY,
                )
            )
        return workers

    async def payouts(self, first: dt.date, last: dt.date) -> list[Payout] | None:
        """Return payouts, those of a block itself among them.

        Raises:
            FeedError: As `days`.
        """
        result = await self._earnpay(first, last)
        payouts = [
            Payout(
                at=moment_from_text("ocean", row.ts),
                amount_sat=row.total_satoshis_net_paid,
                rail=_rail(row),
                transaction=row.on_chain_txid,
            )
            for row in result.payouts
        ]
        return [row for row in payouts if first <= day_of(row.at, self.day_start_s) <= last]

    async def _earnpay(self, first: dt.date, last: dt.date) -> EarnPay:
        start, end = day_window(first, self.day_start_s)[0], day_window(last, self.day_start_s)[1]
        reply = await self._api.get(f"/earnpay/{self._address}/{start}/{end}", EarnPayReply)
        if reply.result is None:
            raise FeedError(f"ocean refuses: {reply.error or 'no reason'}")
        return reply.result


def open_account(api_key: str, account: str, day_start_s: int, base_url: str | None = None) -> OceanAccount:
    """Return the payout address ``account`` over the public API; there is no key."""
    return OceanAccount(Api("ocean", base_url or BASE_URL, pause_s=PAUSE_S), account, day_start_s=day_start_s)


def _rail(row: PayoutRow) -> Rail:
    if row.is_generation_txn:
        return Rail.COINBASE
    return Rail.ONCHAIN if row.on_chain_txid else Rail.LIGHTNING
