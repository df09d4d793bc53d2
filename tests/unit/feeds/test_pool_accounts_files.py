"""Account exports as files: columns by name, units, kinds, and what is refused."""

from __future__ import annotations

import datetime as dt
from decimal import Decimal
from pathlib import Path

import pytest

from hashwerk.economics.ports import Rail
from hashwerk.errors import FeedError
from hashwerk.feeds.pool_accounts import POOLS, open_files
from hashwerk.feeds.pool_accounts.amounts import hashes_from_unit, rounding
from hashwerk.feeds.pool_accounts.table import MAX_FILE_BYTES, parse

FIRST, LAST = dt.date(2026, 3, 1), dt.date(2026, 3, 31)
TH_DAY = 86_400e12 / 2**32  # the difficulty that a terahash a second works off in a day


@pytest.mark.parametrize(
    ("pool", "text", "sat", "difficulty"),
    [
        (
            "braiins",
            "Date,Hash Rate (Th/s),Mining Reward (BTC)\n2026-03-01,117.5,0.0013\n",
            130_000,
            117.5 * TH_DAY,
        ),
        ("braiins", "date,total_shares,mining_reward\n1772323200,20116992,0.000012\n", 1200, 20_116_992),
        (
            "luxor",
            "Date;Hashrate (PH/s);Revenue (BTC)\n2026-03-01;1.0358;0.00066154\n",
            66_154,
            1035.8 * TH_DAY,
        ),
        (
            "f2pool",
            '\ufeffDate,Hashrate,Revenue\n2026-03-01,611.54 TH/s,"0.00078947"\n',
            78_947,
            611.54 * TH_DAY,
        ),
        ("ocean", "TimeUTC,satoshis_net_earned\n2026-03-01T04:00:00Z,39858017\n", 39_858_017, None),
    ],
)
async def test_days_of_every_pool(
    pool: str, text: str, sat: int, difficulty: float | None, tmp_path: Path
) -> None:
    path = tmp_path / "export.csv"
    path.write_text(text, encoding="utf-8")
    account = open_files(pool, [path])
    [day] = await account.days(FIRST, LAST)
    assert day.day == FIRST
    assert day.mining_sat == sat
    if difficulty is None:
        assert day.difficulty is None
        assert day.blocks == 1
    else:
        assert day.difficulty is not None
        assert float(day.difficulty) == pytest.approx(difficulty, rel=1e-12)
    assert await account.workers(FIRST, LAST) is None
    assert await account.payouts(FIRST, LAST) is None
    assert await account.days(dt.date(2026, 4, 1), dt.date(2026, 4, 2)) == []


async def test_blocks_of_one_day_are_summed(tmp_path: Path) -> None:
    path = tmp_path / "earnings.csv"
    path.write_text(
        "ts,satoshis_net_earned\n2026-03-01T04:00:00,10\n2026-03-01T23:59:59,20\n2026-03-02T00:00:00,5\n"
    )
    days = await open_files("ocean", [path]).days(FIRST, LAST)
    assert [(day.day.day, day.mining_sat, day.blocks) for day in days] == [(1, 30, 2), (2, 5, 1)]


async def test_payouts_as_ocean_documents_them(tmp_path: Path) -> None:
    path = tmp_path / "payouts.csv"
    path.write_text(
        "TimeUTC,PayoutAmt,PayoutAddress,TXID,Generated\n"
        "2026-03-01T00:00:00Z,200000,bc1qexample,abcd,True\n2026-03-02T00:00:00Z,1000,bc1qexample,,False\n"
    )
    payouts = await open_files("ocean", [path]).payouts(FIRST, LAST)
    assert payouts is not None
    assert [(row.amount_sat, row.rail, row.transaction) for row in payouts] == [
        (200_000, Rail.COINBASE, "abcd"),
        (1000, Rail.UNKNOWN, None),
    ]


async def test_workers_and_days_of_several_files_together(tmp_path: Path) -> None:
    days, workers = tmp_path / "days.csv", tmp_path / "workers.csv"
    days.write_text("date,hashrate (TH/s),revenue (BTC)\n2026-03-01,10,0.001\n")
    workers.write_text("date,worker,hashrate (TH/s)\n2026-03-01,m1,4\n2026-03-01,m2,6\n")
    account = open_files("luxor", [days, workers])
    [day] = await account.days(FIRST, LAST)
    rows = await account.workers(FIRST, LAST)
    assert rows is not None
    assert [row.worker for row in rows] == ["m1", "m2"]
    assert sum((row.difficulty or Decimal(0)) for row in rows) == day.difficulty


def test_a_pools_day_that_begins_elsewhere() -> None:
    layout = POOLS["f2pool"].layout
    text = "date,hashrate,revenue\n2026-03-02T03:00:00Z,1,1\n"
    assert parse("f2pool", text, layout, 8 * 3600).days[0].day == dt.date(2026, 3, 1)
    assert parse("f2pool", "date,revenue\n2026-03-02,1\n", layout, 8 * 3600).days[0].day.day == 2


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "no rows"),
        ("date,revenue\n", "no rows"),
        ("when,what\n1,2\n", "its columns are: when, what"),
        ("date,comment\n2026-03-01,hello\n", "its columns are: date, comment"),
        ("date,revenue\n2026-03-01\n", "line 2 has 1 fields"),
        ("date,revenue\nyesterday,1\n", "no date"),
        ("date,revenue\n2026-03-01,much\n", "no number"),
        ("date,revenue\n2026-03-01,NaN\n", "no number"),
        ("date,revenue (USD)\n2026-03-01,1\n", "'usd'"),
        ("date,hashrate (parsec)\n2026-03-01,1\n", "'parsec'"),
        ("date,revenue\n2026-03-01,1\n2026-03-01,2\n", "twice"),
    ],
)
def test_what_is_no_export_is_refused_with_the_reason(text: str, words: str) -> None:
    with pytest.raises(FeedError, match=words):
        parse("luxor", text, POOLS["luxor"].layout)


async def test_the_same_day_in_two_files(tmp_path: Path) -> None:
    for name in ("a.csv", "b.csv"):
        (tmp_path / name).write_text("date,revenue\n2026-03-01,1\n")
    account = open_files("luxor", [tmp_path / "a.csv", tmp_path / "b.csv"])
    with pytest.raises(FeedError, match="twice"):
        await account.days(FIRST, LAST)


def test_files_that_cannot_be_read(tmp_path: Path) -> None:
    with pytest.raises(FeedError, match="cannot be read"):
        open_files("luxor", [tmp_path / "missing.csv"])
    binary = tmp_path / "binary.csv"
    binary.write_bytes(b"\xff\xfe\x00\x80")
    with pytest.raises(FeedError, match="cannot be read"):
        open_files("luxor", [binary])
    huge = tmp_path / "huge.csv"
    with huge.open("wb") as file:
        file.truncate(MAX_FILE_BYTES + 1)
    with pytest.raises(FeedError, match="larger than"):
        open_files("luxor", [huge])


def test_figures() -> None:
    assert rounding(Decimal("0.00131")) == Decimal("0.000005")
    assert rounding(Decimal(17)) == Decimal("0.5")
    assert rounding(Decimal("1.2E+3")) == 50
    assert [hashes_from_unit("x", unit) for unit in ("H/s", "Gh/s", "TH/s", "EH/s")] == [
        1,
        10**9,
        10**12,
        10**18,
    ]
    for unit in ("", "s", "Th", "xh/s"):
        with pytest.raises(FeedError, match="not known here"):
            hashes_from_unit("x", unit)
