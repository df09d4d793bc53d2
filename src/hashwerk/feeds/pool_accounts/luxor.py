"""Luxor Pool (FPPS): account API version 2 and CSV export.

Documented (docs.luxor.tech, "Mining Pool: API Documentation, V2"): JSON under app.luxor.tech/api, the workspace's key in the
header ``authorization``; a token bucket for workspace and key, HTTP 429 beyond it; 400, 401, 403 and 500 as usual.

- ``/v2/pool/revenue/BTC?subaccount_names&start_date&end_date``: ``revenue[]`` with ``date_time`` and ``revenue`` of
  ``currency_type``, ``revenue_type`` ("MINING" …) and ``revenue`` in coin;
- ``/v2/pool/hashrate-efficiency/BTC?…&tick_size=1d&page_number&page_size``: ``hashrate_efficiency[]`` with ``date_time``,
  ``hashrate`` in H/s as text, ``efficiency``; ``pagination.next_page_url`` is null on the last page;
- ``/v2/pool/workers-hashrate-efficiency/BTC/{subaccount}?tick_size=1d…``: ``hashrate_efficiency_revenue{worker}[]`` with the
  same and ``est_revenue``, an estimate by the documentation's own words, which is not used here;
- ``/v2/pool/transactions/BTC?…&transaction_type=debit``: ``transactions[]`` with ``date_time``, ``currency_amount``,
  ``transaction_id``, ``transaction_category``.

Inferred: both dates are included; a day's row carries the time at which the UTC day begins; ``hashrate`` is of work credited,
``efficiency`` already counted in; a *debit* of the account is a payout. The columns of CSV exports are not documented: the
API's names are taken, and plain ones.
"""

from __future__ import annotations

import datetime as dt
from decimal import Decimal
from typing import Final, TypeVar

import msgspec

from hashwerk.economics.ports import CreditedDay, CreditedWorker, Payout, Rail, day_of, day_window
from hashwerk.errors import FeedError
from hashwerk.feeds.pool_accounts.amounts import day_difficulty, rounding, sat_from_btc
from hashwerk.feeds.pool_accounts.table import Layout
from hashwerk.feeds.pool_accounts.transport import MAX_PAGES, Api

BASE_URL: Final = "https://app.luxor.tech/api"
PAGE_SIZE: Final = 100
LAYOUT: Final = Layout(
    time=("date_time", "date", "datetime"),
    hashrate=("hashrate", "hash rate"),
    mining=("revenue", "mining revenue"),
    worker=("worker", "worker_name", "worker name"),
    payout=("currency_amount", "payout amount"),
    transaction=("transaction_id", "transaction id"),
)
Page = TypeVar("Page", bound="Paged")


class Pagination(msgspec.Struct):
    """Where the next page is; None on the last."""

    next_page_url: str | None = None


class Revenue(msgspec.Struct):
    """An amount and what it was for."""

    revenue_type: str
    revenue: Decimal
    currency_type: str = "BTC"


class RevenueRow(msgspec.Struct):
    """One day and kind of revenue."""

    date_time: dt.datetime
    revenue: Revenue


class RevenueReply(msgspec.Struct):
    """The reply of ``revenue``."""

    revenue: list[RevenueRow]


class HashrateRow(msgspec.Struct):
    """One day's mean hash rate in H/s."""

    date_time: dt.datetime
    hashrate: Decimal


class Paged(msgspec.Struct, kw_only=True):
    """A reply that comes in pages."""

    pagination: Pagination


class HashrateReply(Paged):
    """The reply of ``hashrate-efficiency``."""

    hashrate_efficiency: list[HashrateRow]


class WorkersReply(Paged):
    """The reply of ``workers-hashrate-efficiency``."""

    hashrate_efficiency_revenue: dict[str, list[HashrateRow]]


class Transaction(msgspec.Struct):
    """One movement of the balance."""

    date_time: dt.datetime
    currency_amount: Decimal
    transaction_id: str | None = None


class TransactionsReply(Paged):
    """The reply of ``transactions``."""

    transactions: list[Transaction]


class LuxorAccount:
    """A subaccount at Luxor, read over the API."""

    name = "luxor"

    def __init__(self, api: Api, subaccount: str, *, day_start_s: int = 0) -> None:
        self._api = api
        self._subaccount = subaccount
        self.day_start_s = day_start_s

    async def days(self, first: dt.date, last: dt.date) -> list[CreditedDay]:
        """Return the days that the pool has revenue or work for.

        Raises:
            FeedError: If the pool is silent, refuses, or says what cannot be read.
        """
        query = self._query(first, last)
        revenue = (await self._api.get("/v2/pool/revenue/BTC", RevenueReply, query)).revenue
        pages = await self._pages(
            "/v2/pool/hashrate-efficiency/BTC", HashrateReply, {**query, "tick_size": "1d"}
        )
        work: dict[dt.date, Decimal] = {}
        for row in (row for page in pages for row in page.hashrate_efficiency):
            if work.setdefault(self._day(row.date_time), row.hashrate) != row.hashrate:
                raise FeedError(f"luxor has two hash rates for {self._day(row.date_time)}")
        today = day_of(self._api.clock.time(), self.day_start_s)
        days = {self._day(row.date_time) for row in revenue} | work.keys()
        return [
            self._credited(
                day,
                [row.revenue for row in revenue if self._day(row.date_time) == day],
                work.get(day),
                is_final=day < today,
            )
            for day in sorted(days)
            if first <= day <= last
        ]

    def _credited(
        self, day: dt.date, revenue: list[Revenue], hashrate: Decimal | None, *, is_final: bool
    ) -> CreditedDay:
        coin = [row for row in revenue if row.currency_type == "BTC"]
        mining = [row.revenue for row in coin if row.revenue_type == "MINING"]
        other = [row.revenue for row in coin if row.revenue_type != "MINING"]
        difficulty, step = (None, Decimal(0)) if hashrate is None else day_difficulty(hashrate)
        return CreditedDay(
            day=day,
            difficulty=difficulty,
            difficulty_step=step,
            mining_sat=sat_from_btc(sum(mining, Decimal(0))) if mining else None,
            sat_step=sat_from_btc(sum(map(rounding, mining), Decimal(0))) if mining else Decimal(1),
            other_sat=sat_from_btc(sum(other, Decimal(0))) if other else None,
            is_final=is_final and bool(mining),
        )

    async def workers(self, first: dt.date, last: dt.date) -> list[CreditedWorker] | None:
        """Return each worker's days.

        Raises:
            FeedError: As `days`.
        """
        query = {
            "tick_size": "1d",
            "start_date": first.isoformat(),
            "end_date": last.isoformat(),
        }
        path = f"/v2/pool/workers-hashrate-efficiency/BTC/{self._subaccount}"
        pages = await self._pages(path, WorkersReply, query)
        workers = []
        for page in pages:
            for worker, rows in page.hashrate_efficiency_revenue.items():
                for row in rows:
                    difficulty, step = day_difficulty(row.hashrate)
                    start, end = day_window(self._day(row.date_time), self.day_start_s)
                    workers.append(
                        CreditedWorker(
                            worker=worker, start=start, end=end, difficulty=difficulty, difficulty_step=step
                        )
                    )
        return workers

    async def payouts(self, first: dt.date, last: dt.date) -> list[Payout] | None:
        """Return what left the balance.

        Raises:
            FeedError: As `days`.
        """
        query = {**self._query(first, last), "transaction_type": "debit"}
        pages = await self._pages("/v2/pool/transactions/BTC", TransactionsReply, query)
        rows = [row for page in pages for row in page.transactions]
        return [
            Payout(
                at=_utc(row.date_time).timestamp(),
                amount_sat=sat_from_btc(abs(row.currency_amount)),
                rail=Rail.ONCHAIN if row.transaction_id else Rail.UNKNOWN,
                transaction=row.transaction_id,
            )
            for row in rows
            if first <= self._day(row.date_time) <= last
        ]

    def _query(self, first: dt.date, last: dt.date) -> dict[str, str]:
        return {
            "subaccount_names": self._subaccount,
            "start_date": first.isoformat(),
            "end_date": last.isoformat(),
        }

    def _day(self, moment: dt.datetime) -> dt.date:
        return day_of(_utc(moment).timestamp(), self.day_start_s)

    async def _pages(self, path: str, kind: type[Page], query: dict[str, str]) -> list[Page]:
        """Return every page: the number is counted here, an address out of a reply is never followed."""
        pages: list[Page] = []
        while not pages or pages[-1].pagination.next_page_url is not None:
            if len(pages) == MAX_PAGES:
                raise FeedError(f"luxor answers {path} with more than {MAX_PAGES} pages")
            number = {"page_number": str(len(pages) + 1), "page_size": str(PAGE_SIZE)}
            pages.append(await self._api.get(path, kind, {**query, **number}))
        return pages


def open_account(api_key: str, account: str, day_start_s: int, base_url: str | None = None) -> LuxorAccount:
    """Return the subaccount ``account`` over the API."""
    api = Api("luxor", base_url or BASE_URL, headers={"authorization": api_key})
    return LuxorAccount(api, account, day_start_s=day_start_s)


def _utc(moment: dt.datetime) -> dt.datetime:
    return moment if moment.tzinfo is not None else moment.replace(tzinfo=dt.UTC)
