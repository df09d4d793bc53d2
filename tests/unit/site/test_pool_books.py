"""Pools' books beside the ledger's while the mine runs: compared, told on the page and over the API, honest about failures."""

from __future__ import annotations

from pathlib import Path

import httpx
import pytest
from fastapi import FastAPI

from hashwerk.clock import VirtualClock
from hashwerk.config.problems import InvalidConfigError
from hashwerk.config.site import parse_site
from hashwerk.economics.reconcile import Verdict
from hashwerk.feeds.settings import PoolAccountSettings
from hashwerk.site.pool_books import PoolBooks
from hashwerk.web.books_api import books_router
from hashwerk.web.books_frames import books_frame
from support.pool_ledger import DAY_2, KEY, braiins_api, export, fill

NOON = DAY_2 + 86_400 + 43_200  # of the day after the ledger's two


def account(**settings: object) -> PoolAccountSettings:
    return PoolAccountSettings(upstream="braiins", pool="braiins", days=2, **settings)


async def test_an_export_is_compared_and_told(tmp_path: Path) -> None:
    ledger = tmp_path / "ledger.sqlite"
    await fill(ledger)
    one = account(files=(str(export(tmp_path, 37, 20)),))
    clock = VirtualClock(NOON)
    books = PoolBooks([one], ledger, clock)
    assert [row["c"][1]["s"] for row in books_frame(books, NOON)["rows.verdicts"]] == ["not compared yet"]
    assert await books.compare_once(one)
    [told] = books.view()
    assert told.result is not None
    assert told.result.verdict is Verdict.AGREES
    assert told.at == NOON
    frame = books_frame(books, NOON)
    assert [row["c"][1]["t"] for row in frame["rows.books"]] == ["2025-06-17", "2025-06-16"]
    assert [row["c"][5]["t"] for row in frame["rows.books"]] == ["+0.000 %", "+0.000 %"]
    export(tmp_path, 36, 20)
    assert await books.compare_once(one)
    [told] = books.view()
    assert told.result is not None
    assert told.result.verdict is Verdict.SHORT
    [row] = books_frame(books, NOON)["rows.verdicts"]
    assert row["c"][1]["t"] == "✕ the pool has less than it should"
    assert "credited" in row["c"][4]
    app = FastAPI()
    app.include_router(books_router(books))
    transport = httpx.ASGITransport(app)
    async with httpx.AsyncClient(transport=transport, base_url="http://mine") as client:
        [shown] = (await client.get("/api/v1/upstreams/books")).json()["accounts"]
    assert shown["result"]["verdict"] == "short"
    assert shown["result"]["days"][0]["accepted"] == str(37 * 65_536)
    assert "grade" in shown["result"]["whole"]["findings"][0]


async def test_a_pool_that_cannot_be_asked_leaves_what_was_known(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("hashwerk.feeds.pool_accounts.braiins.PAUSE_S", 0.0)
    ledger = tmp_path / "ledger.sqlite"
    await fill(ledger)
    key_file = tmp_path / "key"
    key_file.write_text(KEY)
    with braiins_api() as url:
        one = account(key_file=str(key_file), url=url)
        books = PoolBooks([one], ledger, VirtualClock(NOON))
        assert await books.compare_once(one)
        key_file.write_text("wrong")
        assert not await books.compare_once(one)
    [told] = books.view()
    assert told.result is not None
    assert told.problem
    assert "wrong" not in told.problem
    assert KEY not in repr(told)
    assert books_frame(books, NOON)["rows.verdicts"][0]["c"][4] == told.problem


def test_nothing_is_compared_without_accounts(tmp_path: Path) -> None:
    assert books_frame(PoolBooks([], tmp_path / "none", VirtualClock(NOON)), NOON) == {
        "rows.books": [],
        "rows.verdicts": [],
    }


UPSTREAM = """
[[upstream]]
name = "braiins"
url = "stratum+tcp://127.0.0.1:3333"
user = "hall"
"""


@pytest.mark.parametrize(
    ("lines", "words"),
    [
        ('upstream = "brains"\npool = "ocean"\naccount = "bc1q"', "there is no upstream 'brains'"),
        ('upstream = "braiins"\npool = "braiins"', "braiins asks for a key"),
        ('upstream = "braiins"\npool = "ocean"', "whose books ocean is asked for"),
        ('upstream = "braiins"\npool = "ocean"\naccount = "a"\nchain_file = "c.csv"', "fee_percent"),
        ('upstream = "braiins"\npool = "ocean"\naccount = "a"\nurl = "http://pool.example/"', "url"),
    ],
)
def test_a_wrong_account_is_refused_with_its_line(lines: str, words: str) -> None:
    with pytest.raises(InvalidConfigError) as refused:
        parse_site(f"{UPSTREAM}\n[[pool_account]]\n{lines}\n")
    assert any(words in str(problem) for problem in refused.value.problems)
    assert all(problem.line for problem in refused.value.problems)
