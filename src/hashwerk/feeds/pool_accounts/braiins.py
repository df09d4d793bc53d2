"""Braiins Pool (FPPS): account API and CSV export.

Documented (Braiins Academy, "Braiins Pool: monitoring"): JSON under pool.braiins.com, the token of an access profile in the
header ``Pool-Auth-Token``; about one request in five seconds is safe, more is ignored or banned.

- ``/accounts/rewards/json/btc?from=…&to=…``: ``btc.daily_rewards[]`` with ``date`` (first second of the UTC day),
  ``mining_reward``, ``bos_plus_reward``, ``referral_bonus``, ``referral_reward``, ``total_reward`` and ``calculation_date``;
- ``/accounts/hash_rate_daily/json/[group]/btc``: ``btc[]`` with ``date``, ``hash_rate_unit``, ``hash_rate_24h`` and
  ``total_shares``;
- ``/accounts/workers/json/btc``: ``btc.workers{account.worker}`` with ``shares_24h``, ``hash_rate_24h`` … now, no history;
- ``/accounts/payouts/json/btc?from=…&to=…``: ``onchain[]`` and ``lightning[]`` with ``requested_at_ts``, ``resolved_at_ts``,
  ``status`` (queued, confirmed, failed), ``amount_sats``, ``fee_sats``, ``tx_id``.

Inferred: rewards are BTC, as numbers or as text; ``total_shares`` and ``shares_24h`` count difficulty 1; the path's group is
``group``, as in the documentation's only example; ``amount_sats`` is what arrives, ``fee_sats`` comes on top; a worker's 24 h
end with the reply, give or take the five minutes in which the pool renews its figures. The columns of CSV exports are not
documented: the names of the API's fields are taken, and what the export page is known to show.
"""

from __future__ import annotations

import datetime as dt
from decimal import Decimal
from typing import Final

import msgspec

from hashwerk.economics.ports import (
    SECONDS_PER_DAY,
    CreditedDay,
    CreditedWorker,
    Payout,
    Rail,
    day_of,
)
from hashwerk.feeds.pool_accounts.amounts import rounding, sat_from_btc, worker_from_login
from hashwerk.feeds.pool_accounts.table import Layout
from hashwerk.feeds.pool_accounts.transport import Api

BASE_URL: Final = "https://pool.braiins.com"
PAUSE_S: Final = 5.0
LAYOUT: Final = Layout(
    time=("date", "day"),
    difficulty=("total_shares", "total shares", "shares"),
    hashrate=("hash_rate_24h", "hash rate", "hashrate"),
    mining=("mining_reward", "mining reward"),
    other=("bos_plus_reward", "braiins os bonus"),
    worker=("worker", "worker name"),
    payout=("amount_sats",),
    payout_fee=("fee_sats",),
    transaction=("tx_id",),
    money_unit="BTC",
    login_has_account=True,
)


class DailyReward(msgspec.Struct):
    """One day of ``btc.daily_rewards``."""

    date: int
    mining_reward: Decimal
    total_reward: Decimal
    calculation_date: int | None = None


class DailyRewards(msgspec.Struct):
    """What ``btc`` holds."""

    daily_rewards: list[DailyReward]


class RewardsReply(msgspec.Struct):
    """The reply of ``/accounts/rewards``."""

    btc: DailyRewards


class DailyHashrate(msgspec.Struct):
    """One day of the daily hash rate."""

    date: int
    total_shares: Decimal


class HashrateReply(msgspec.Struct):
    """The reply of ``/accounts/hash_rate_daily``."""

    btc: list[DailyHashrate]


class Worker(msgspec.Struct):
    """One worker now."""

    shares_24h: Decimal
    shares_5m: Decimal = Decimal(0)


class Workers(msgspec.Struct):
    """What ``btc`` holds."""

    workers: dict[str, Worker]


class WorkersReply(msgspec.Struct):
    """The reply of ``/accounts/workers``."""

    btc: Workers


class PayoutRow(msgspec.Struct):
    """One payout."""

    status: str
    amount_sats: Decimal
    requested_at_ts: int
    resolved_at_ts: int | None = None
    fee_sats: Decimal | None = None
    tx_id: str | None = None


class PayoutsReply(msgspec.Struct):
    """The reply of ``/accounts/payouts``."""

    onchain: list[PayoutRow]
    lightning: list[PayoutRow] = []


class BraiinsAccount:
    """An account at Braiins Pool, read over its API."""

    name = "braiins"

    def __init__(self, api: Api, *, day_start_s: int = 0, group: str = "group") -> None:
        self._api = api
        self._group = group
        self.day_start_s = day_start_s

    async def days(self, first: dt.date, last: dt.date) -> list[CreditedDay]:
        """Return the days that the pool has rewards or work for.

        Raises:
            FeedError: If the pool is silent, refuses, or says what cannot be read.
        """
        period = {"from": first.isoformat(), "to": last.isoformat()}
        rewards_reply = await self._api.get("/accounts/rewards/json/btc", RewardsReply, period)
        work_reply = await self._api.get(f"/accounts/hash_rate_daily/json/{self._group}/btc", HashrateReply)
        rewards = {day_of(row.date, self.day_start_s): row for row in rewards_reply.btc.daily_rewards}
        work = {day_of(row.date, self.day_start_s): row.total_shares for row in work_reply.btc}
        today = day_of(self._api.clock.time(), self.day_start_s)
        days = sorted(day for day in rewards.keys() | work.keys() if first <= day <= last)
        return [self._credited(day, rewards.get(day), work.get(day), is_final=day < today) for day in days]

    def _credited(
        self, day: dt.date, reward: DailyReward | None, work: Decimal | None, *, is_final: bool
    ) -> CreditedDay:
        return CreditedDay(
            day=day,
            difficulty=work,
            difficulty_step=Decimal(0) if work is None else rounding(work),
            mining_sat=None if reward is None else sat_from_btc(reward.mining_reward),
            sat_step=Decimal(1) if reward is None else sat_from_btc(rounding(reward.mining_reward)),
            other_sat=None if reward is None else sat_from_btc(reward.total_reward - reward.mining_reward),
            is_final=is_final and reward is not None,
        )

    async def workers(self, first: dt.date, last: dt.date) -> list[CreditedWorker] | None:
        """Return each worker's last 24 hours: the pool keeps no history of workers, so the period asked for has no effect.

        Raises:
            FeedError: As `days`.
        """
        reply = await self._api.get("/accounts/workers/json/btc", WorkersReply)
        end = int(self._api.clock.time())
        return [
            CreditedWorker(
                worker=worker_from_login(login),
                start=end - SECONDS_PER_DAY,
                end=end,
                difficulty=row.shares_24h,
                difficulty_step=rounding(row.shares_24h) + row.shares_5m,
            )
            for login, row in reply.btc.workers.items()
        ]

    async def payouts(self, first: dt.date, last: dt.date) -> list[Payout] | None:
        """Return confirmed payouts, by the day on which they were confirmed.

        Raises:
            FeedError: As `days`.
        """
        # What is confirmed in the period may have been requested before it.
        period = {"from": (first - dt.timedelta(days=7)).isoformat(), "to": last.isoformat()}
        reply = await self._api.get("/accounts/payouts/json/btc", PayoutsReply, period)
        rows = [(Rail.ONCHAIN, row) for row in reply.onchain] + [
            (Rail.LIGHTNING, row) for row in reply.lightning
        ]
        payouts = [
            Payout(
                at=row.resolved_at_ts or row.requested_at_ts,
                amount_sat=row.amount_sats,
                fee_sat=row.fee_sats,
                rail=rail,
                transaction=row.tx_id,
            )
            for rail, row in rows
            if row.status == "confirmed"
        ]
        return [row for row in payouts if first <= day_of(row.at, self.day_start_s) <= last]


def open_account(api_key: str, account: str, day_start_s: int, base_url: str | None = None) -> BraiinsAccount:
    """Return an account over the API; the key alone names it."""
    api = Api("braiins", base_url or BASE_URL, headers={"Pool-Auth-Token": api_key}, pause_s=PAUSE_S)
    return BraiinsAccount(api, day_start_s=day_start_s)
