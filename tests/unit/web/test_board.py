import asyncio

import pytest

from hashwerk.web.board import Board
from hashwerk.web.history import History
from hashwerk.web.state import MineView


@pytest.fixture
def ledger(clock, web_site):
    return web_site.SampleLedger(clock.now)


@pytest.fixture
def view(ledger, clock):
    return MineView(ledger, clock)


@pytest.fixture
def board(view, ledger, clock):
    history = History(ledger, clock)
    yield Board(view, history, clock)
    history.close()


async def test_only_changes_are_told(board, view, clock, web_site):
    view.receive(web_site.sample(clock.now))
    told = []
    board.join(told.append)
    await board.refresh()
    assert {"sentence", "rows.workers", "chart.rate.1 h", "rows.events"} <= set(board.frame)
    told.clear()
    await board.refresh()
    assert told == []
    view.receive(web_site.sample(clock.now, accepted=41_208))
    await board.refresh()
    assert told == [{"shares.accepted": "41,208"}]


async def test_further_pages_read_nothing_more(board, view, ledger, clock, web_site):
    view.receive(web_site.sample(clock.now))
    pages = [[], [], []]
    for page in pages:
        board.join(page.append)
    await board.refresh()
    reads = list(ledger.reads)
    await board.refresh()
    assert ledger.reads == reads
    assert reads.count("series") == 3  # one for each range, however many look
    board.leave(pages[0].append)  # equal bound methods: the page that joined
    assert board.listeners == 2


async def test_a_lost_server_is_shown_and_recovers(board, view, clock, web_site):
    view.receive(web_site.sample(clock.now))
    await board.refresh()
    assert (board.frame["stale"], board.frame["lost"], board.frame["live"]) == ("", "", "live")
    clock.advance(12)
    await board.refresh()
    assert board.frame["stale"] == "stale"
    assert board.frame["live"] == "12 s old"
    assert "recovers by itself" in board.frame["lost"]
    assert board.frame["rate.figure"] == "98.2"  # the last value stays, in grey
    view.receive(web_site.sample(clock.now))
    await board.refresh()
    assert (board.frame["stale"], board.frame["lost"]) == ("", "")


async def test_an_unreadable_ledger_leaves_the_rest_of_the_page(board, view, ledger, clock, web_site):
    ledger.fails = True
    view.receive(web_site.sample(clock.now))
    await board.refresh()
    assert board.frame["history.trouble"] == "History cannot be read now: the ledger is locked"
    assert board.frame["shares.accepted"] == "41,207"
    ledger.fails = False
    await board.refresh()
    assert board.frame["history.trouble"] == ""
    assert "chart.rate.7 d" in board.frame


async def test_nobody_looks_nothing_is_computed(board, view, ledger, clock, web_site):
    view.receive(web_site.sample(clock.now))
    running = asyncio.create_task(board.run())
    for _ in range(10):
        await asyncio.sleep(0)
    assert board.frame == {}
    seen = asyncio.Event()
    board.join(lambda changes: seen.set() if "rows.events" in changes else None)
    async with asyncio.timeout(5):
        await seen.wait()
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running


async def test_before_the_first_report(board):
    await board.refresh()
    assert board.frame["sentence"] == "The mine is starting: the server has not reported yet."
    assert board.frame["live"] == "starting"
    assert board.frame["lost"] == ""


async def test_alerts_come_with_their_times(board, view, clock, web_site):
    view.receive(web_site.sample(clock.now, warnings=["disk is nearly full"]))
    await board.refresh()
    assert board.frame["alerts.none"] == ""
    (row,) = board.frame["rows.alerts"]
    assert row["c"][1:] == [{"e": clock.now}, "disk is nearly full"]
