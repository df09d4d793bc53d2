"""One suite over every pool's account API: what it credits, and everything that can go wrong on the way."""

from __future__ import annotations

import datetime as dt
import logging
import threading
from collections.abc import Callable
from decimal import Decimal
from typing import Any

import pytest

from hashwerk.clock import VirtualClock
from hashwerk.economics.ports import PoolAccount, Rail
from hashwerk.errors import FeedError
from hashwerk.feeds.pool_accounts import POOLS
from hashwerk.feeds.pool_accounts.braiins import BraiinsAccount
from hashwerk.feeds.pool_accounts.f2pool import F2PoolAccount
from hashwerk.feeds.pool_accounts.luxor import LuxorAccount
from hashwerk.feeds.pool_accounts.ocean import OceanAccount
from hashwerk.feeds.pool_accounts.transport import Api, KeyRefusedError, RateLimitedError

FIRST, LAST = dt.date(2026, 3, 1), dt.date(2026, 3, 3)
NOW = 1_772_582_400.0  # 4 March 2026, 0:00 UTC
KEY = "k3y-that-nobody-may-see"
ADDRESS = "bc1qztuue9qkmj48zhwxww6rzqm3caz7xtg7kudnv2"

BRAIINS = {
    "/accounts/rewards/json/btc": ["braiins/rewards"],
    "/accounts/hash_rate_daily/json/group/btc": ["braiins/hash_rate_daily"],
    "/accounts/workers/json/btc": ["braiins/workers"],
    "/accounts/payouts/json/btc": ["braiins/payouts"],
}
LUXOR = {
    "/v2/pool/revenue/BTC": ["luxor/revenue"],
    "/v2/pool/hashrate-efficiency/BTC": ["luxor/hashrate_1", "luxor/hashrate_2"],
    "/v2/pool/workers-hashrate-efficiency/BTC/hall": ["luxor/workers"],
    "/v2/pool/transactions/BTC": ["luxor/transactions"],
}
OCEAN_PATH = f"/earnpay/{ADDRESS}/1772323200/1772582400"
OCEAN = {OCEAN_PATH: ["ocean/earnpay"], f"/user_hashrate_full/{ADDRESS}": ["ocean/workers"]}
F2POOL = {
    "/v2/assets/transactions/list": ["f2pool/revenue"],
    "/v2/hash_rate/worker/list": ["f2pool/workers"],
}
#: The first path that `days` asks, the replies, and how an account is made.
KINDS: dict[str, tuple[str, dict[str, list[str]], Callable[[Api], PoolAccount]]] = {
    "braiins": ("/accounts/rewards/json/btc", BRAIINS, BraiinsAccount),
    "luxor": ("/v2/pool/revenue/BTC", LUXOR, lambda api: LuxorAccount(api, "hall")),
    "f2pool": ("/v2/assets/transactions/list", F2POOL, lambda api: F2PoolAccount(api, "hall")),
    "ocean": (OCEAN_PATH, OCEAN, lambda api: OceanAccount(api, ADDRESS)),
}
HEADERS = {"braiins": "Pool-Auth-Token", "luxor": "authorization", "f2pool": "F2P-API-SECRET"}


def account(name: str, pool: Any, **options: Any) -> PoolAccount:
    path, replies, make = KINDS[name]
    for path, bodies in replies.items():
        pool.says(path, *bodies)
    options.setdefault("headers", {HEADERS[name]: KEY} if name in HEADERS else {})
    return make(Api(name, pool.url, clock=VirtualClock(NOW), **options))


def refuse(pool: Any, name: str, body: bytes, status: int = 200, **headers: str) -> None:
    pool.says(KINDS[name][0], body, status=status, **headers)


def test_every_pool_of_the_table_is_in_this_suite() -> None:
    assert set(POOLS) == set(KINDS)


async def test_braiins_days(pool: Any) -> None:
    days = await account("braiins", pool).days(FIRST, LAST)
    assert [day.day.day for day in days] == [1, 2, 3]
    first, _, third = days
    assert (first.mining_sat, first.other_sat, first.difficulty) == (1200, 0, 20_116_992)
    assert (third.mining_sat, third.other_sat, third.difficulty) == (131_000, 3211, 2_373_901_824)
    assert third.sat_step == Decimal("0.5")
    assert third.difficulty_step == Decimal("0.5")
    assert all(day.is_final for day in days)
    asked = pool.requests[0]
    assert asked.query == {"from": "2026-03-01", "to": "2026-03-03"}
    assert asked.headers["Pool-Auth-Token"] == KEY


async def test_braiins_workers_and_payouts(pool: Any) -> None:
    braiins = account("braiins", pool)
    workers = await braiins.workers(FIRST, LAST)
    assert workers is not None
    assert [row.worker for row in workers] == ["m1", "north.m2"]
    assert workers[0].difficulty == 1_186_950_912
    assert workers[0].difficulty_step > 4120
    assert (workers[0].end, workers[0].end - workers[0].start) == (NOW, 86_400)
    payouts = await braiins.payouts(FIRST, LAST)
    assert payouts is not None
    assert [(row.rail, row.amount_sat, row.transaction) for row in payouts] == [
        (Rail.ONCHAIN, 131_000, "77aa"),
        (Rail.LIGHTNING, 2500, None),
    ], "what is queued is not paid"


async def test_luxor_days_over_two_pages_without_following_an_address_out_of_a_reply(pool: Any) -> None:
    days = await account("luxor", pool).days(FIRST, LAST)
    assert [day.day.day for day in days] == [1, 2, 3]
    assert (days[0].mining_sat, days[0].other_sat) == (66_154, 100)
    assert days[1].other_sat is None
    expected = Decimal(1_035_827_914_295_214) * 86_400 / 2**32
    assert days[0].difficulty is not None
    assert abs(days[0].difficulty - expected) < Decimal("1e-10")
    assert days[0].difficulty_step < Decimal("0.00002")
    pages = [
        request.query["page_number"] for request in pool.requests if "hashrate-efficiency" in request.path
    ]
    assert pages == ["1", "2"]
    assert pool.requests[0].query["subaccount_names"] == "hall"
    assert pool.requests[0].headers["authorization"] == KEY


async def test_luxor_workers_and_payouts(pool: Any) -> None:
    luxor = account("luxor", pool)
    workers = await luxor.workers(FIRST, LAST)
    assert workers is not None
    assert [(row.worker, row.start) for row in workers] == [
        ("m1", 1_772_323_200),
        ("m1", 1_772_409_600),
        ("north.m2", 1_772_323_200),
    ]
    payouts = await luxor.payouts(FIRST, LAST)
    assert payouts is not None
    assert [(row.amount_sat, row.transaction) for row in payouts] == [(66_154, "001asdfasdf")]


async def test_luxor_that_never_ends_its_pages_is_left(pool: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("hashwerk.feeds.pool_accounts.luxor.MAX_PAGES", 3)
    luxor = account("luxor", pool)
    pool.says("/v2/pool/hashrate-efficiency/BTC", "luxor/hashrate_1")
    with pytest.raises(FeedError, match="more than 3 pages"):
        await luxor.days(FIRST, LAST)


async def test_f2pool_days_sum_the_entries_of_a_day_and_keep_fractions_of_a_satoshi(pool: Any) -> None:
    days = await account("f2pool", pool).days(FIRST, LAST)
    assert [day.day.day for day in days] == [1, 2], "the third has no entry, and the one before is not asked"
    assert days[0].mining_sat == Decimal("78946.65835364325")
    assert days[1].mining_sat == 50_000
    assert days[1].difficulty is not None
    assert abs(days[1].difficulty - Decimal(385_000_000_000_000) * 86_400 / 2**32) < Decimal("1e-10")
    asked = pool.requests[0]
    assert asked.method == "POST"
    assert asked.headers["F2P-API-SECRET"] == KEY
    assert asked.body["currency"] == "bitcoin"
    assert asked.body["mining_user_name"] == "hall"
    assert asked.body["type"] == "revenue"
    assert asked.body["start_time"] == 1_772_323_200
    assert asked.body["end_time"] > 1_772_582_400, "a day is settled on a later one"


async def test_f2pool_workers_and_payouts(pool: Any) -> None:
    f2pool = account("f2pool", pool)
    workers = await f2pool.workers(FIRST, LAST)
    assert workers is not None
    assert [row.worker for row in workers] == ["m1"]
    pool.says("/v2/assets/transactions/list", "f2pool/payout")
    payouts = await f2pool.payouts(FIRST, LAST)
    assert payouts is not None
    assert [(row.amount_sat, row.transaction) for row in payouts] == [(520_000, "beef")]


async def test_f2pool_refuses_in_words_with_http_200(pool: Any) -> None:
    f2pool = account("f2pool", pool)
    refuse(pool, "f2pool", b'{"code": 4003, "msg": "token_error: ' + KEY.encode() + b' is invalid"}')
    with pytest.raises(FeedError, match="token_error: … is invalid") as caught:
        await f2pool.days(FIRST, LAST)
    assert KEY not in str(caught.value)


async def test_ocean_days_without_a_block_are_zero_and_known(pool: Any) -> None:
    days = await account("ocean", pool).days(FIRST, LAST)
    assert [(day.day.day, day.mining_sat, day.blocks) for day in days] == [
        (1, 39_838_000, 1),
        (2, 0, 0),
        (3, 79_696_606, 2),
    ]
    assert all(day.difficulty is None for day in days), "this API does not tell work by day"
    assert [block.window_shares for block in days[2].block_credits] == [
        128_515_457_417_216,
        128_625_872_994_304,
    ]


async def test_ocean_workers_and_payouts(pool: Any) -> None:
    ocean = account("ocean", pool)
    workers = await ocean.workers(FIRST, LAST)
    assert workers is not None
    assert [row.worker for row in workers] == ["m1"]
    payouts = await ocean.payouts(FIRST, LAST)
    assert payouts is not None
    assert [(row.rail, row.amount_sat) for row in payouts] == [
        (Rail.COINBASE, 39_858_017),
        (Rail.ONCHAIN, 4_946_566),
        (Rail.LIGHTNING, 1000),
    ]


async def test_ocean_does_not_know_an_address(pool: Any) -> None:
    ocean = account("ocean", pool)
    pool.says(OCEAN_PATH, "ocean/unknown")
    with pytest.raises(FeedError, match="No such user"):
        await ocean.days(FIRST, LAST)
    with pytest.raises(FeedError, match="payout address"):
        OceanAccount(Api("ocean", pool.url), "../v1/other")


async def test_today_is_not_final(pool: Any) -> None:
    _, replies, make = KINDS["ocean"]
    pool.says(OCEAN_PATH, *replies[OCEAN_PATH])
    days = await make(Api("ocean", pool.url, clock=VirtualClock(NOW - 3600))).days(FIRST, LAST)
    assert [day.is_final for day in days] == [True, True, False]


@pytest.mark.parametrize("name", KINDS)
@pytest.mark.parametrize("status", [401, 403])
async def test_a_refused_key_is_said_and_not_worth_a_retry(pool: Any, name: str, status: int) -> None:
    asked = account(name, pool)
    refuse(pool, name, b'{"error": {"code": "unauthorized", "message": "no"}}', status)
    with pytest.raises(KeyRefusedError, match=f"{name} refuses the key") as caught:
        await asked.days(FIRST, LAST)
    assert not caught.value.retry
    assert KEY not in str(caught.value)


@pytest.mark.parametrize("name", KINDS)
@pytest.mark.parametrize(
    ("header", "wait_s"), [("37", 37.0), ("Wed, 04 Mar 2026 00:00:00 GMT", None), (None, None)]
)
async def test_too_many_requests(pool: Any, name: str, header: str | None, wait_s: float | None) -> None:
    asked = account(name, pool)
    refuse(pool, name, b"slow down", 429, **({} if header is None else {"Retry-After": header}))
    with pytest.raises(RateLimitedError, match="fewer requests") as caught:
        await asked.days(FIRST, LAST)
    assert caught.value.retry_after_s == wait_s
    assert caught.value.retry


@pytest.mark.parametrize("name", KINDS)
@pytest.mark.parametrize(
    ("body", "status", "words"),
    [
        (b"", 200, "with nothing"),
        (b"{}", 200, "with nothing"),
        (b"null", 200, "with nothing"),
        (b"<html>maintenance</html>", 200, "not JSON"),
        (b'{"btc": 1, "revenue": 1, "transactions": 1, "result": 1}', 200, "changed its answer"),
        (
            b'{"btc": {"daily_rewards": [{"date": "x"}]}, "revenue": [{}], "transactions": [{}], "result": {}}',
            200,
            "changed its answer",
        ),
        (b"oops", 500, "HTTP 500"),
        (b"", 302, "HTTP 302"),
        (b" " * 200_000, 200, "more than"),
    ],
)
async def test_what_cannot_be_read_is_one_clear_error(
    pool: Any, name: str, body: bytes, status: int, words: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("hashwerk.feeds.pool_accounts.transport.MAX_REPLY_BYTES", 100_000)
    asked = account(name, pool)
    refuse(pool, name, body, status, **({"Location": "http://127.0.0.1:9/"} if status == 302 else {}))
    with pytest.raises(FeedError, match=words):
        await asked.days(FIRST, LAST)


@pytest.mark.parametrize("name", KINDS)
async def test_a_silent_pool_is_left_after_the_deadline(pool: Any, name: str) -> None:
    asked = account(name, pool, timeout_s=0.2)
    release = threading.Event()
    for answers in pool.answers.values():
        for answer in answers:
            answer.hold = release
    try:
        with pytest.raises(FeedError, match="cannot be asked"):
            await asked.days(FIRST, LAST)
    finally:
        release.set()


async def test_a_pool_that_is_not_there() -> None:
    with pytest.raises(FeedError, match="cannot be asked") as caught:
        await BraiinsAccount(Api("braiins", "http://127.0.0.1:9")).days(FIRST, LAST)
    assert caught.value.retry


async def test_requests_keep_the_pause_that_the_pool_asks_for(pool: Any) -> None:
    clock = VirtualClock(NOW)
    waited: list[float] = []

    async def sleep(duration_s: float) -> None:
        waited.append(duration_s)
        clock.advance(duration_s)

    for path, bodies in BRAIINS.items():
        pool.says(path, *bodies)
    braiins = BraiinsAccount(Api("braiins", pool.url, pause_s=5.0, clock=clock, sleep=sleep))
    await braiins.days(FIRST, LAST)
    await braiins.workers(FIRST, LAST)
    clock.advance(60)
    await braiins.payouts(FIRST, LAST)
    assert waited == [5.0, 5.0], "none before the first, none after a long while"


@pytest.mark.parametrize("name", HEADERS)
async def test_no_key_in_logs_addresses_or_representations(
    pool: Any, name: str, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    asked = account(name, pool)
    await asked.days(FIRST, LAST)
    assert KEY not in repr(vars(asked))
    assert all(KEY not in request.path and KEY not in request.query.values() for request in pool.requests)
    ours = [record for record in caplog.records if record.name.startswith(("hashwerk", "httpx"))]
    assert KEY not in "".join(record.getMessage() for record in ours)
