"""F2Pool (FPPS, PPS+ …): account API version 2 and CSV export.

Documented (api.f2pool.com/v2/doc): POST of JSON to api.f2pool.com/v2, the token in the header ``F2P-API-SECRET``; errors are
``{"code": …, "msg": "type: description"}``, with HTTP 200 too.

- ``assets/transactions/list`` with ``currency`` "bitcoin", ``mining_user_name``, ``type`` ("revenue", "payout", "all"),
  ``start_time`` and ``end_time`` in Unix seconds: ``transactions[]`` with ``id``, ``type`` ("revenue_fpps" …),
  ``changed_balance`` in coin, ``created_at``, and for revenue ``mining_extra`` of ``mining_date``, ``settle_date``, ``pps``,
  ``pps_fee_rate``, ``tx_fee``, ``tx_fee_rate``, ``hash_rate`` in H/s; for payouts ``payout_extra`` of ``value``, ``address``,
  ``tx_id``, ``paid_time``, ``wallet_type``, ``tip``;
- ``hash_rate/worker/list``: ``workers[]`` with ``hash_rate_info`` of ``name``, ``hash_rate``, ``h24_hash_rate`` …, now.

Inferred: ``mining_date`` lies in the day mined (some users read it as the day of settlement, one later: then set the day's
begin to 24 h); a day is settled on the next; ``hash_rate`` is the mean of that day's credited work; a worker's 24 h end with
the reply, give or take the ten minutes that are the finest step of the pool's history. The rate limit is not documented: one
request a second is kept. The columns of CSV exports are not documented either: the API's names are taken, and plain ones.
"""

from __future__ import annotations

import datetime as dt
from decimal import Decimal
from typing import Final, TypeVar

import msgspec

from hashwerk.economics.ports import (
    SECONDS_PER_DAY,
    CreditedDay,
    CreditedWorker,
    Payout,
    Rail,
    day_of,
    day_window,
)
from hashwerk.errors import FeedError
from hashwerk.feeds.pool_accounts.amounts import day_difficulty, rounding, sat_from_btc
from hashwerk.feeds.pool_accounts.table import Layout
from hashwerk.feeds.pool_accounts.transport import Api

Row = TypeVar("Row")

BASE_URL: Final = "https://api.f2pool.com"
PAUSE_S: Final = 1.0
#: The finest step of the pool's own history, in seconds: by so much a trailing day may be off.
_STEP_S: Final = 600
#: Revenue of a day is entered on a later one.
_SETTLEMENT_S: Final = 3 * SECONDS_PER_DAY
LAYOUT: Final = Layout(
    time=("mining_date", "date", "mining date"),
    hashrate=("hash_rate", "hashrate", "hash rate", "daily hashrate"),
    mining=("changed_balance", "revenue", "earnings", "income"),
    worker=("worker", "worker name", "worker_name"),
    payout=("payout", "value", "payout amount"),
    payout_fee=("tip",),
    transaction=("tx_id", "txid", "transaction id"),
)


class MiningExtra(msgspec.Struct):
    """What a revenue is for."""

    mining_date: int
    hash_rate: Decimal


class PayoutExtra(msgspec.Struct):
    """Where a payout went."""

    value: Decimal
    paid_time: int
    tx_id: str | None = None
    tip: Decimal | None = None


class Transaction(msgspec.Struct):
    """One movement of the balance."""

    type: str
    changed_balance: Decimal
    created_at: int
    mining_extra: MiningExtra | None = None
    payout_extra: PayoutExtra | None = None


class Answer(msgspec.Struct, kw_only=True):
    """What every reply may be instead: a refusal in words."""

    code: int | str | None = None
    msg: str = ""


class TransactionsReply(Answer):
    """The reply of ``assets/transactions/list``; None: refused."""

    transactions: list[Transaction] | None = None


class HashrateInfo(msgspec.Struct):
    """A worker's hash rates in H/s."""

    name: str
    h24_hash_rate: Decimal


class Worker(msgspec.Struct):
    """One worker now."""

    hash_rate_info: HashrateInfo


class WorkersReply(Answer):
    """The reply of ``hash_rate/worker/list``; None: refused."""

    workers: list[Worker] | None = None


class F2PoolAccount:
    """A mining account at F2Pool, read over the API."""

    name = "f2pool"

    def __init__(self, api: Api, user: str, *, day_start_s: int = 0) -> None:
        self._api = api
        self._user = user
        self.day_start_s = day_start_s

    async def days(self, first: dt.date, last: dt.date) -> list[CreditedDay]:
        """Return the days that the pool has revenue for.

        Raises:
            FeedError: If the pool is silent, refuses, or says what cannot be read.
        """
        start, end = day_window(first, self.day_start_s)[0], day_window(last, self.day_start_s)[1]
        rows = await self._transactions("revenue", start, end + _SETTLEMENT_S)
        by_day: dict[dt.date, list[tuple[Transaction, MiningExtra]]] = {}
        for row in rows:
            if row.mining_extra is not None:
                day = day_of(row.mining_extra.mining_date, self.day_start_s)
                by_day.setdefault(day, []).append((row, row.mining_extra))
        today = day_of(self._api.clock.time(), self.day_start_s)
        return [
            self._credited(day, by_day[day], is_final=day < today)
            for day in sorted(by_day)
            if first <= day <= last
        ]

    def _credited(
        self, day: dt.date, rows: list[tuple[Transaction, MiningExtra]], *, is_final: bool
    ) -> CreditedDay:
        # A day may come in several entries, one for each settlement mode: each with its own part of the work.
        works = [day_difficulty(extra.hash_rate) for _, extra in rows]
        amounts = [row.changed_balance for row, _ in rows]
        return CreditedDay(
            day=day,
            difficulty=sum((work for work, _ in works), Decimal(0)),
            difficulty_step=sum((step for _, step in works), Decimal(0)),
            mining_sat=sat_from_btc(sum(amounts, Decimal(0))),
            sat_step=sat_from_btc(sum(map(rounding, amounts), Decimal(0))),
            is_final=is_final,
        )

    async def workers(self, first: dt.date, last: dt.date) -> list[CreditedWorker] | None:
        """Return each worker's last 24 hours: the list has no history, so the period asked for has no effect.

        Raises:
            FeedError: As `days`.
        """
        reply = await self._api.post("/v2/hash_rate/worker/list", WorkersReply, self._body())
        end = int(self._api.clock.time())
        workers = []
        for row in self._granted(reply, reply.workers):
            difficulty, step = day_difficulty(row.hash_rate_info.h24_hash_rate)
            workers.append(
                CreditedWorker(
                    worker=row.hash_rate_info.name,
                    start=end - SECONDS_PER_DAY,
                    end=end,
                    difficulty=difficulty,
                    difficulty_step=step + difficulty * _STEP_S / SECONDS_PER_DAY,
                )
            )
        return workers

    async def payouts(self, first: dt.date, last: dt.date) -> list[Payout] | None:
        """Return payouts, by the day on which they were paid.

        Raises:
            FeedError: As `days`.
        """
        start, end = day_window(first, self.day_start_s)[0], day_window(last, self.day_start_s)[1]
        rows = await self._transactions("payout", start - _SETTLEMENT_S, end)
        payouts = [
            Payout(
                at=row.payout_extra.paid_time,
                amount_sat=sat_from_btc(row.payout_extra.value),
                fee_sat=None if row.payout_extra.tip is None else sat_from_btc(row.payout_extra.tip),
                rail=Rail.ONCHAIN if row.payout_extra.tx_id else Rail.UNKNOWN,
                transaction=row.payout_extra.tx_id or None,
            )
            for row in rows
            if row.payout_extra is not None
        ]
        return [row for row in payouts if start <= row.at < end]

    async def _transactions(self, kind: str, start: int, end: int) -> list[Transaction]:
        body = {**self._body(), "type": kind, "start_time": start, "end_time": end}
        reply = await self._api.post("/v2/assets/transactions/list", TransactionsReply, body)
        return self._granted(reply, reply.transactions)

    def _body(self) -> dict[str, object]:
        return {"currency": "bitcoin", "mining_user_name": self._user}

    def _granted(self, reply: Answer, rows: list[Row] | None) -> list[Row]:
        if rows is None or reply.code not in {None, 0, "0", ""}:
            words = self._api.without_key(reply.msg) or "no reason"
            raise FeedError(f"f2pool refuses: {words} (code {reply.code})")
        return rows


def open_account(api_key: str, account: str, day_start_s: int, base_url: str | None = None) -> F2PoolAccount:
    """Return the mining account ``account`` over the API."""
    api = Api("f2pool", base_url or BASE_URL, headers={"F2P-API-SECRET": api_key}, pause_s=PAUSE_S)
    return F2PoolAccount(api, account, day_start_s=day_start_s)
