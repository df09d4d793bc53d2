"""What is particular to the ledger on SQLite: recovery, duplicates, blocks, latencies."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import Callable, Iterator
from pathlib import Path

import msgspec
import pytest

from hashwerk.clock import VirtualClock
from hashwerk.errors import StoreError
from hashwerk.store import SqliteLedger, StoreSettings
from hashwerk.store.counters import IdCounter
from hashwerk.store.writes import Write
from hashwerk.stratum.ports import BlockRecord
from hashwerk.work.share import Verdict
from support.ledger import (
    NOW,
    PREV_HASH,
    eventually,
    make_job,
    make_shares,
    make_template,
    settle,
    store,
)


@pytest.fixture
def clock() -> VirtualClock:
    return VirtualClock(NOW)


@pytest.fixture
def open_ledger(tmp_path: Path, clock: VirtualClock) -> Iterator[Callable[..., SqliteLedger]]:
    opened: list[SqliteLedger] = []

    def open_(**settings: object) -> SqliteLedger:
        loop = asyncio.get_running_loop()
        ledger = SqliteLedger(
            tmp_path / "ledger.db", loop, msgspec.convert(settings, StoreSettings), clock, entropy=bytes
        )
        ledger.open()
        opened.append(ledger)
        return ledger

    yield open_
    for ledger in opened:
        ledger.close()


async def test_duplicates_can_be_rebuilt_after_a_restart(open_ledger: Callable[..., SqliteLedger]) -> None:
    ledger = open_ledger()
    account = ledger.account("alice")
    here, elsewhere = make_template(100), make_template(100, prev_hash=bytes(32))
    shares = []
    for number, template in enumerate([here, here, elsewhere]):
        job = make_job(ledger.next_job_id(), account, template)
        ledger.put_job(job)
        shares.append(make_shares(4, first=10 * number, job=job.id))
        shares[-1]["verdict"][3] = Verdict.DUPLICATE
        assert await store(ledger, shares[-1]) is None
    ledger.close()
    ledger = open_ledger()
    assert [job.template for job in ledger.open_jobs()] == [here, here, elsewhere]
    assert ledger.recent_hash_keys(PREV_HASH).tolist() == [
        *shares[0]["hash_key"][:3].tolist(),
        *shares[1]["hash_key"][:3].tolist(),
    ]
    assert ledger.shares_of_jobs({3}).tobytes() == shares[2][:3].tobytes()
    assert len(ledger.shares_of_jobs({99})) == 0
    assert len(ledger.recent_hash_keys(b"?" * 32)) == 0


async def test_jobs_too_old_are_not_open_after_a_restart(
    open_ledger: Callable[..., SqliteLedger], clock: VirtualClock
) -> None:
    ledger = open_ledger(resume_jobs_s=60.0)
    account = ledger.account("alice")
    ledger.put_job(make_job(1, account, make_template(), at=NOW - 100))
    ledger.put_job(make_job(2, account, make_template(), at=NOW))
    await settle(ledger)
    ledger.close()
    assert [job.id for job in open_ledger(resume_jobs_s=60.0).open_jobs()] == [2]


async def test_a_transaction_is_stored_once_for_all_templates(
    open_ledger: Callable[..., SqliteLedger], tmp_path: Path
) -> None:
    ledger = open_ledger()
    account = ledger.account("alice")
    for number in range(10):
        ledger.put_job(make_job(number + 1, account, make_template(100 + number, transactions=50)))
    ledger.put_job(make_job(99, account, make_template(100, transactions=50)))
    await settle(ledger)
    connection = sqlite3.connect(tmp_path / "ledger.db")
    count = "SELECT (SELECT count(*) FROM templates), (SELECT count(*) FROM template_transactions)"
    assert connection.execute(count).fetchone() == (10, 59)
    assert connection.execute("PRAGMA foreign_key_check").fetchall() == []
    connection.close()


async def test_the_site_keeps_its_identity(tmp_path: Path) -> None:
    identities = set()
    for _ in range(2):
        ledger = SqliteLedger(tmp_path / "ledger.db", asyncio.get_running_loop())
        ledger.open()
        identities.add(ledger.site_uuid)
        ledger.close()
    assert len(identities) == 1
    assert len(identities.pop()) == 36


async def test_an_orderly_end_skips_no_identifier(open_ledger: Callable[..., SqliteLedger]) -> None:
    ledger = open_ledger()
    assert [ledger.next_job_id() for _ in range(3)] == [1, 2, 3]
    ledger.close()
    assert open_ledger().next_job_id() == 4


async def test_identifiers_are_reserved_as_they_are_used(open_ledger: Callable[..., SqliteLedger]) -> None:
    ledger = open_ledger(id_block=8)
    taken = []
    for _ in range(10):
        taken += [ledger.next_job_id() for _ in range(4)]
        await settle(ledger)
    assert taken == list(range(1, 41))


def test_identifiers_run_dry_rather_than_be_used_unreserved() -> None:
    writes: list[Write] = []
    counter = IdCounter("job", 1, block=4, top=9, enqueue=writes.append)
    assert [counter.take() for _ in range(4)] == [1, 2, 3, 4]
    with pytest.raises(StoreError, match="no job id left: the disk takes no more"):
        counter.take()
    for _ in range(3):
        for write in writes:
            assert write.committed is not None
            write.committed()
        writes.clear()
        try:
            while True:
                last = counter.take()
        except StoreError as error:
            message = str(error)
    assert last == 9
    assert "all are used up" in message


async def test_blocks_follow_the_chain_and_come_back(open_ledger: Callable[..., SqliteLedger]) -> None:
    ledger = open_ledger(maturity_confirmations=101)
    block = BlockRecord(
        hash=bytes(32), height=5, found_at=NOW, worker_id=1, job_id=1, reward_sat=1, state="submitted"
    )
    ledger.put_block(block)
    seen = []
    for confirmations in (None, 1, 2, None, 3, 100, 101, None, 150):
        changed = ledger.update_blocks({block.hash: confirmations})
        seen.append(changed[0].state if changed else None)
    assert seen == [None, "accepted", None, "orphaned", "accepted", None, "mature", "orphaned", "mature"]
    assert ledger.blocks()[0].confirmations == 150
    assert ledger.blocks()[0].reason is None
    await settle(ledger)
    ledger.close()
    assert open_ledger().blocks() == (msgspec.structs.replace(block, state="mature", confirmations=150),)


async def test_a_look_at_somebody_elses_block_is_our_own_mistake(
    open_ledger: Callable[..., SqliteLedger],
) -> None:
    with pytest.raises(KeyError):
        open_ledger().update_blocks({b"?" * 32: 1})


async def test_latencies_are_shown(open_ledger: Callable[..., SqliteLedger], clock: VirtualClock) -> None:
    ledger = open_ledger()
    assert ledger.status().commit_ms_p99 is None
    for number in range(20):
        assert await store(ledger, make_shares(3, first=3 * number)) is None
    status = ledger.status()
    assert status.stored == 60
    assert status.sync_ms_p50 is not None
    assert 0 < status.sync_ms_p50 <= (status.sync_ms_p99 or 0)
    clock.advance(61)
    assert ledger.status().sync_ms_p50 is None


async def test_rates_follow_the_commits(
    open_ledger: Callable[..., SqliteLedger], clock: VirtualClock
) -> None:
    ledger = open_ledger()
    worker = ledger.worker(ledger.account("alice").id, "m1")
    clock.advance(30)
    assert await store(ledger, make_shares(6, worker=worker, work_log2=32, at=NOW + 20)) is None
    rate = ledger.rates.worker(worker, clock.time())["1m"]
    assert rate is not None
    assert rate.shares == 6
    assert rate.hs == pytest.approx(6 * 2**32 / 30)


async def test_minutes_are_rolled_up_while_it_runs(
    open_ledger: Callable[..., SqliteLedger], clock: VirtualClock, tmp_path: Path
) -> None:
    ledger = open_ledger()
    assert await store(ledger, make_shares(6)) is None
    clock.advance(62)
    connection = sqlite3.connect(tmp_path / "ledger.db")
    await eventually(
        lambda: connection.execute("SELECT count(*) FROM rollups WHERE step_s = 60").fetchone()[0]
    )
    assert connection.execute("SELECT value FROM meta WHERE key = 'rolled_up_to'").fetchone() == (6,)
    connection.close()


async def test_a_verdict_nobody_knows_is_refused(open_ledger: Callable[..., SqliteLedger]) -> None:
    with pytest.raises(ValueError, match="unknown verdict: 200"):
        open_ledger().append(make_shares(1, verdict=200), lambda _: None)


@pytest.mark.parametrize(
    "wrong",
    [
        {"keep_shares_days": 0},
        {"keep_minutes_days": float("inf")},
        {"max_group_shares": 0},
        {"id_block": 1},
        {"keep_events": -1},
        {"unknown": 1},
    ],
)
def test_settings_out_of_range_are_refused(wrong: dict[str, float]) -> None:
    with pytest.raises(msgspec.ValidationError):
        msgspec.convert(wrong, StoreSettings)
