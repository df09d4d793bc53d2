"""What people see of the miner: every count once, nothing that is missing shown as zero."""

from __future__ import annotations

import io

import msgspec
import pytest
from rich.console import Console

from hashwerk.cli.mine_view import JsonView, LiveView, PlainView, job_text, latency_text, shares_text
from hashwerk.client.statistics import MinerStats, ThreadStats

START = MinerStats(
    at=1_750_000_000.0,
    elapsed_s=0.0,
    hashes=0,
    hashrate_hs=None,
    hashrate_mean_hs=None,
    threads=(ThreadStats(0, None),),
    duty=1.0,
    found=0,
    accepted=0,
    accepted_work=0.0,
    rejected={},
    pending=0,
    unknown=0,
    stale=0,
    faulty=0,
    best_difficulty=None,
    server=None,
    connections=0,
    user="me.rig",
    job=None,
    difficulty=None,
    job_age_s=None,
    latency_ms_p50=None,
    latency_ms_p99=None,
    message=None,
)
BUSY = msgspec.structs.replace(
    START,
    elapsed_s=61.0,
    hashes=4_400_000_000,
    hashrate_hs=72_100_000.0,
    hashrate_mean_hs=72_000_000.0,
    threads=(ThreadStats(4_400_000_000, 72_100_000.0),),
    duty=0.5,
    found=12,
    accepted=7,
    rejected={"Stale share": 1},
    pending=1,
    unknown=2,
    stale=1,
    faulty=1,
    best_difficulty=3.21,
    server="stratum+tcp://127.0.0.1:3333",
    connections=1,
    job="a1",
    difficulty=0.015625,
    job_age_s=5.0,
    latency_ms_p50=0.94,
    latency_ms_p99=2.5,
    message="the server says: [bold]hello",
)


def _screen(width: int = 100) -> tuple[Console, io.StringIO]:
    written = io.StringIO()
    return Console(file=written, width=width, force_terminal=False), written


def test_missing_values_are_dashes_not_zeros() -> None:
    assert latency_text(START) == "–"
    assert job_text(START) == "none yet"
    console, written = _screen()
    console.print(LiveView(console).panel(START))
    shown = written.getvalue()
    assert "not connected" in shown
    assert "0 H/s" not in shown
    assert "difficulty –" in shown


def test_every_share_is_named_with_its_fate() -> None:
    assert shares_text(BUSY) == (
        "7 accepted, 1 rejected (Stale share), 1 unanswered, 2 of unknown fate, 1 stale, not sent, "
        "1 faulty, not sent"
    )
    assert shares_text(START) == "0 accepted"


def test_the_panel_shows_server_job_rate_and_duty() -> None:
    console, written = _screen()
    console.print(LiveView(console).panel(BUSY))
    shown = written.getvalue()
    for words in (
        "72.1 MH/s",
        "stratum+tcp://127.0.0.1:3333 as me.rig",
        "a1, difficulty 0.015625, 5 s old",
        "0.9 ms, 99 % within 2.5 ms",
        "hashing 50% of the time",
        "[bold]hello",  # a server's text is text, never markup
    ):
        assert words in shown


@pytest.mark.parametrize("width", [40, 60, 200])
def test_the_panel_fits_every_width(width: int) -> None:
    console, written = _screen(width)
    console.print(LiveView(console).panel(BUSY))
    assert max(map(len, written.getvalue().splitlines())) <= width


def test_plain_lines_say_what_is_new_and_no_more() -> None:
    console, written = _screen()
    view = PlainView(console)
    for elapsed_s in (1.0, 2.0, 3.0):
        view.update(msgspec.structs.replace(BUSY, elapsed_s=elapsed_s))
    assert len(written.getvalue().splitlines()) == 2  # the message once, the state once
    view.update(msgspec.structs.replace(BUSY, elapsed_s=12.0))
    assert len(written.getvalue().splitlines()) == 3
    view.finish(BUSY)
    assert "4.40 Ghashes in 1 min 1 s" in written.getvalue()


def test_json_lines_are_the_whole_statistics() -> None:
    console, written = _screen()
    view = JsonView(console)
    view.update(START)
    view.update(BUSY)
    view.finish(BUSY)
    lines = written.getvalue().splitlines()
    assert [msgspec.json.decode(line, type=MinerStats) for line in lines] == [START, BUSY]
