"""The fate of every share that was handed in to a pool: kept, counted, packed, removed, and never missing."""

from __future__ import annotations

import asyncio
import datetime as dt
import os
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from decimal import Decimal
from pathlib import Path

import numpy as np
import pytest

from hashwerk.clock import VirtualClock
from hashwerk.errors import DecodeError, StoreError
from hashwerk.store import FateCount, FateKey, FateSum, LedgerReader, SqliteLedger, StoreSettings
from hashwerk.store.fates import UNANSWERED, Fates, clipped
from hashwerk.store.jobs import decode_part
from hashwerk.store.writes import Write
from hashwerk.work.fate import FATE_DTYPE, Fate
from hashwerk.work.share import FLAG_BLOCK
from support.fates import make_fates, make_met, make_upstream_job
from support.ledger import NOW, make_job, make_shares, make_template, settle, store

ACCEPTED, REJECTED, LOST = Fate.ACCEPTED, Fate.REJECTED, Fate.LOST
DAY_S = 86_400.0


@contextmanager
def ledger_at(
    folder: Path, clock: VirtualClock | None = None, settings: StoreSettings | None = None
) -> Iterator[SqliteLedger]:
    ledger = SqliteLedger(
        folder / "ledger.db", asyncio.get_running_loop(), settings, clock or VirtualClock(NOW)
    )
    ledger.open()
    try:
        yield ledger
    finally:
        ledger.close()


def query(folder: Path, statement: str) -> list[tuple[object, ...]]:
    connection = sqlite3.connect(folder / "ledger.db")
    try:
        return connection.execute(statement).fetchall()
    finally:
        connection.close()


async def test_counts_of_fates_are_the_same_after_a_restart(tmp_path: Path) -> None:
    with ledger_at(tmp_path) as ledger:
        pool, reason = (
            ledger.upstream("first", "stratum+tcp://a:1", "acct"),
            ledger.fate_reason("Stale share"),
        )
        one, two = make_met(4, worker=1), make_met(3, first=4, worker=2)
        ledger.put_fates(make_fates(one, [ACCEPTED, ACCEPTED, REJECTED, LOST], upstream=pool, reason=reason))
        ledger.put_fates(make_fates(two, upstream=pool, latency_us=500))
        await settle(ledger)
        before = dict(ledger.fate_totals()), dict(ledger.fates_of_worker(1))
    assert before == (
        {
            FateKey(pool, ACCEPTED, reason): FateCount(2, 4_000),
            FateKey(pool, REJECTED, reason): FateCount(1, 2_000),
            FateKey(pool, LOST, reason): FateCount(1, 0),
            FateKey(pool, ACCEPTED, 0): FateCount(3, 1_500),
        },
        {
            FateKey(pool, ACCEPTED, reason): FateCount(2, 4_000),
            FateKey(pool, REJECTED, reason): FateCount(1, 2_000),
            FateKey(pool, LOST, reason): FateCount(1, 0),
        },
    )
    with ledger_at(tmp_path) as ledger:
        assert (dict(ledger.fate_totals()), dict(ledger.fates_of_worker(1))) == before
        assert ledger.fates_of_worker(99) == {}
        assert ledger.fate_words == {0: "", reason: "Stale share"}


async def test_a_write_that_the_disk_refused_is_counted_once(tmp_path: Path) -> None:
    with ledger_at(tmp_path) as ledger:
        refused = 0

        def refuse_first(connection: sqlite3.Connection) -> None:
            nonlocal refused
            if not refused:
                refused += 1
                raise sqlite3.OperationalError("the disk refuses")

        pool = ledger.upstream("first", "stratum+tcp://a:1", "acct")
        ledger.put_fates(make_fates(make_met(5), upstream=pool))
        ledger._put(Write(refuse_first))
        while (await store(ledger, make_shares(0))) is not None:
            continue
        assert refused == 1
        assert ledger.fate_totals() == {FateKey(pool, ACCEPTED, 0): FateCount(5, 10_000)}
    assert query(tmp_path, "SELECT count, latency_us_sum FROM fate_totals") == [(5, 10_000)]
    assert query(tmp_path, "SELECT sum(count) FROM fate_groups") == [(5,)]


async def test_fates_are_found_by_the_time_they_were_handed_in(tmp_path: Path) -> None:
    early, late = make_fates(make_met(2, at=NOW)), make_fates(make_met(3, first=2, at=NOW + 100))
    never = make_fates(make_met(1, first=9, at=NOW + 200), LOST)
    never["sent_us"] = 0
    with ledger_at(tmp_path) as ledger:
        for fates in (late, early, never):
            ledger.put_fates(fates)
        await settle(ledger)
        with LedgerReader(ledger.path) as reader:
            start = int(NOW * 1e6)
            assert reader.fates(start, start + 1).tobytes() == early.tobytes()
            assert reader.fates(start + 1, start + 100_000_001).tobytes() == late.tobytes()
            assert reader.fates(0, 2**62).tobytes() == late.tobytes() + early.tobytes() + never.tobytes()
            known = int(never["known_us"][0])
            assert reader.fates(known, known + 1).tobytes() == never.tobytes()
            assert len(reader.fates(known + 1, 2**62)) == 0


async def test_old_fates_are_packed_and_then_removed_with_the_shares(tmp_path: Path) -> None:
    clock = VirtualClock(NOW)
    settings = StoreSettings(keep_shares_days=10.0, maintenance_interval_s=3_600.0)
    with ledger_at(tmp_path, clock, settings) as ledger:
        pool = ledger.upstream("first", "stratum+tcp://a:1", "acct")
        kept = [
            make_fates(make_met(3, first=3 * number, at=NOW + number), upstream=pool) for number in range(40)
        ]
        for fates in kept:
            ledger.put_fates(fates)
        await settle(ledger)
        clock.advance(2 * DAY_S)
        fresh = make_fates(make_met(1, first=500, at=clock.time()), upstream=pool)
        ledger.put_fates(fresh)
        await settle(ledger)
        await asyncio.to_thread(ledger.maintain)
        assert query(tmp_path, "SELECT encoding, count FROM fate_groups ORDER BY id") == [(0, 1), (1, 120)]
        with LedgerReader(ledger.path) as reader:
            whole = reader.fates(0, 2**62)
            assert sorted(whole["hash_key"].tolist()) == sorted(
                np.concatenate([*kept, fresh])["hash_key"].tolist()
            )
            assert reader.proved("first", int(NOW), int(NOW + 1)) is None  # the jobs were never told of
        clock.advance(8.5 * DAY_S)
        await asyncio.to_thread(ledger.maintain)
        with LedgerReader(ledger.path) as reader:
            assert reader.fates(0, 2**62).tobytes() == fresh.tobytes()
            assert reader.proved("first", int(NOW + 39), int(NOW + 40)) is None
            assert reader.proved("first", int(NOW + 41), int(NOW + 42)) == []
        assert ledger.fate_totals() == {FateKey(pool, ACCEPTED, 0): FateCount(121, 121 * 2_000)}


async def test_words_of_a_pool_are_clipped_and_not_kept_without_end(tmp_path: Path) -> None:
    assert clipped("  low\ndifficulty\x1b[31m \x00 share ") == "low difficulty [31m share"
    assert clipped("é" * 500) == "é" * 200
    with ledger_at(tmp_path) as ledger:
        assert ledger.fate_reason("") == ledger.fate_reason(" \n ") == 0
        first = ledger.fate_reason("stale\n")
        assert ledger.fate_reason("stale") == first > 0
        assert ledger.fate_reason("lone \ud800 surrogate") > first
        await settle(ledger)
    fates = Fates()
    ids = {fates.reason(f"reason {number}")[0] for number in range(10_000)}
    assert len(ids) == 10_000
    assert 0 not in ids
    assert fates.reason("one more") == (0, None)
    assert fates.reason("reason 7")[0] in ids


def test_there_are_only_so_many_upstream_pools() -> None:
    fates = Fates()
    for number in range(65_535):
        fates.upstream(f"pool {number}", "", "", NOW)
    assert fates.upstream("pool 65534", "", "", NOW) == (65_535, None)
    with pytest.raises(StoreError, match="no upstream id left"):
        fates.upstream("one more", "", "", NOW)


async def test_what_is_no_fate_is_refused(tmp_path: Path) -> None:
    with ledger_at(tmp_path) as ledger:
        with pytest.raises(ValueError, match="fates must be a row"):
            ledger.put_fates(np.zeros(3, np.uint8))
        fates = make_fates(make_met(1))
        fates["fate"] = 3
        with pytest.raises(ValueError, match="unknown fate: 3"):
            ledger.put_fates(fates)
        ledger.put_fates(np.empty(0, FATE_DTYPE))
        await settle(ledger)
    assert query(tmp_path, "SELECT count(*) FROM fate_groups") == [(0,)]


def test_a_damaged_part_of_a_job_is_named() -> None:
    with pytest.raises(DecodeError, match="a job's part of its pool is damaged"):
        decode_part(b"\x93\x01")


async def test_a_day_is_proved_exactly_and_only_if_it_is_there_whole(tmp_path: Path) -> None:
    clock = VirtualClock(NOW)
    with ledger_at(tmp_path, clock) as ledger:
        account = ledger.account("alice")
        first, second = ledger.worker(account.id, "m1"), ledger.worker(account.id, "m2")
        pool = ledger.upstream("first", "stratum+tcp://a:1", "acct")
        other = ledger.upstream("second", "stratum+tcp://b:1", "acct")
        stale = ledger.fate_reason("stale")
        jobs = [
            make_upstream_job(ledger.next_job_id(), account, pool, difficulty="0.1"),
            make_upstream_job(ledger.next_job_id(), account, pool, difficulty="1e-06"),
            make_upstream_job(ledger.next_job_id(), account, other),
            make_job(ledger.next_job_id(), account, make_template()),
        ]
        for job in jobs:
            ledger.put_job(job)
        easy = make_met(3, worker=first, job=jobs[0].id)
        hard = make_met(2, first=3, worker=first, job=jobs[1].id, work_log2=70)
        local = make_shares(5, first=5, worker=second, job=jobs[1].id, work_log2=30)
        refused = make_shares(2, first=20, worker=second, job=jobs[1].id, verdict=4)
        elsewhere = make_met(4, first=30, worker=second, job=jobs[2].id)
        own = make_met(6, first=40, worker=second, job=jobs[3].id)
        next_day = make_met(1, first=50, worker=first, job=jobs[0].id, at=NOW + DAY_S)
        for shares in (easy, hard, local, refused, elsewhere, own, next_day):
            assert await store(ledger, shares) is None
        ledger.put_fates(make_fates(easy, [ACCEPTED, ACCEPTED, LOST], upstream=pool))
        ledger.put_fates(make_fates(hard, [ACCEPTED, REJECTED], upstream=pool, reason=stale))
        ledger.put_fates(make_fates(elsewhere, upstream=other))
        ledger.put_fates(make_fates(next_day, upstream=pool))
        await settle(ledger)
        with LedgerReader(ledger.path) as reader:
            assert [row.name for row in reader.upstreams()] == ["first", "second"]
            assert reader.fate_reasons() == {stale: "stale"}
            rows = reader.proved("first", int(NOW), int(NOW + 3_600))
            assert rows is not None
            one, two = rows
            assert reader.proved("first", int(NOW) - 1, int(NOW + 3_600)) is None
            assert reader.proved("nobody", int(NOW), int(NOW + 3_600)) is None
            day = dt.datetime.fromtimestamp(NOW, dt.UTC).date()
            days = reader.proved_days(day, day + dt.timedelta(days=2), "first")
    assert (one.account, one.machine, one.local_shares) == ("alice", "m1", 5)
    assert one.local_work == 3 * 2**20 + 2 * 2**70
    assert one.accepted == FateSum(3, Decimal("0.200001"))
    assert one.rejected == {"stale": FateSum(1, Decimal("0.000001"))}
    assert one.lost == FateSum(1, Decimal("0.1"))
    assert one.forwarded == FateSum(5, Decimal("0.300002"))
    assert (two.machine, two.local_shares, two.local_work) == ("m2", 5, 5 * 2**30)
    assert two.forwarded == FateSum()
    whole = list(days.values())
    assert whole[0] is None  # the pool was not there when the day began
    assert whole[1] is not None
    assert [row.accepted for row in whole[1]] == [FateSum(1, Decimal("0.1"))]
    assert whole[2] == []


# Stores shares that met the target, tells the fates of some of them, and is killed. It prints what is on disk.
CHILD = """
import asyncio, sys
from pathlib import Path
from hashwerk.store import SqliteLedger, StoreSettings
from hashwerk.clock import SystemClock
from support.fates import make_fates, make_met, make_upstream_job
from support.ledger import make_job, make_template, settle, store

async def main():
    ledger = SqliteLedger(Path(sys.argv[1]), asyncio.get_running_loop(), StoreSettings(lock_timeout_s=10))
    ledger.open()
    account = ledger.account("alice")
    worker = ledger.worker(account.id, "m1")
    pool = ledger.upstream("first", "stratum+tcp://a:1", "acct")
    now = SystemClock().time()
    ours = make_upstream_job(ledger.next_job_id(), account, pool, at=now)
    own = make_job(ledger.next_job_id(), account, make_template(), at=now)
    ledger.put_job(ours)
    ledger.put_job(own)
    await store(ledger, make_met(9, first=1_000, worker=worker, job=own.id, at=now))
    number = 0
    while True:
        shares = make_met(7, first=number, worker=worker, job=ours.id, at=SystemClock().time())
        shares["flags"][5:] = 0
        number += 7
        assert await store(ledger, shares) is None
        ledger.put_fates(make_fates(shares[:3], upstream=pool))
        print(number, flush=True)

asyncio.run(main())
"""


def run_and_kill(path: Path) -> list[str]:
    child = subprocess.Popen(
        [sys.executable, "-c", CHILD, str(path)],
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": str(Path(__file__).resolve().parents[2])},
    )
    assert child.stdout is not None
    try:
        lines = [child.stdout.readline() for _ in range(30)]
    finally:
        child.send_signal(signal.SIGKILL)
        child.wait(10)
        child.stdout.close()
    return lines


@pytest.mark.parametrize("idle_s", [0.0, 7 * DAY_S])
async def test_no_share_is_unaccounted_for_after_kill_9(tmp_path: Path, idle_s: float) -> None:
    path = tmp_path / "ledger.db"
    lines = run_and_kill(path)
    assert int(lines[-1]) == 210
    with LedgerReader(path) as reader:
        told = set(reader.fates(0, 2**62)["hash_key"].tolist())
        open_before = len(reader.without_fate())
    assert open_before > 50
    clock = VirtualClock(time.time() + idle_s)
    for _ in range(2):  # the second start finds nothing left to do
        with ledger_at(tmp_path, clock) as ledger:
            assert len(ledger.fate_words) == 2
            assert (
                sum(count.shares for key, count in ledger.fate_totals().items() if key.fate is LOST)
                == open_before
            )
    with LedgerReader(path) as reader:
        shares, fates = reader.shares(0, 1_000_000)[1], reader.fates(0, 2**62)
        assert len(reader.without_fate()) == 0
        words = reader.fate_reasons()
        events = [event.message for event in reader.events(10) if event.kind == "upstream"]
    met = shares[(shares["flags"] & FLAG_BLOCK != 0) & (shares["job"] == 1)]
    assert sorted(fates["hash_key"].tolist()) == sorted(met["hash_key"].tolist())  # exactly one each
    recovered = fates[fates["fate"] == LOST]
    assert not told & set(recovered["hash_key"].tolist())
    assert {words[reason] for reason in recovered["reason"].tolist()} == {UNANSWERED}
    assert events == [
        f"{open_before} shares had no answer from their pool when the last run ended; they count as lost"
    ]
