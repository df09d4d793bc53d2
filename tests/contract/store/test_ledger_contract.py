"""What every ledger must do, whatever database is behind it. Another one joins by a row in `LEDGERS`."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Protocol

import msgspec
import numpy as np
import pytest

from hashwerk.clock import Clock, VirtualClock
from hashwerk.store import LedgerReader, SqliteLedger, StoreSettings
from hashwerk.stratum.ports import BlockRecord, FateRecords, Ledger, SessionRecord, ShareRecords
from hashwerk.work.fate import Fate
from hashwerk.work.job import Job
from support.fates import make_fates, make_met, make_upstream_job
from support.ledger import NOW, make_job, make_shares, make_template, settle, store


class OpenLedger(Protocol):
    """A ledger with what a test may look at after a restart."""

    ledger: Ledger

    async def restart(self) -> Ledger: ...
    async def close(self) -> None: ...
    def stored(self) -> ShareRecords: ...
    def job(self, job_id: int) -> Job | None: ...
    def fates(self) -> FateRecords: ...
    def blocks(self) -> tuple[BlockRecord, ...]: ...
    def events(self) -> list[tuple[str, str, dict[str, object]]]: ...


class OpenSqlite:
    """The ledger on SQLite in a folder of its own."""

    def __init__(self, folder: Path, clock: Clock) -> None:
        self._path = folder / "ledger.db"
        self._clock = clock
        self.ledger = self._open()

    def _open(self) -> SqliteLedger:
        settings = StoreSettings(lock_timeout_s=1.0, id_block=16)
        ledger = SqliteLedger(self._path, asyncio.get_running_loop(), settings, self._clock)
        ledger.open()
        return ledger

    async def restart(self) -> Ledger:
        self.ledger.close()
        self.ledger = self._open()
        return self.ledger

    async def close(self) -> None:
        self.ledger.close()

    def stored(self) -> ShareRecords:
        with LedgerReader(self._path) as reader:
            return reader.shares(0, 1_000_000)[1]

    def job(self, job_id: int) -> Job | None:
        with LedgerReader(self._path) as reader:
            return reader.job(job_id)

    def fates(self) -> FateRecords:
        with LedgerReader(self._path) as reader:
            return reader.fates(0, 2**62)

    def blocks(self) -> tuple[BlockRecord, ...]:
        with LedgerReader(self._path) as reader:
            return reader.blocks()

    def events(self) -> list[tuple[str, str, dict[str, object]]]:
        with LedgerReader(self._path) as reader:
            return [(event.kind, event.message, event.details) for event in reader.events(100)]


async def open_sqlite(folder: Path, clock: Clock) -> OpenLedger:
    return OpenSqlite(folder, clock)


LEDGERS: dict[str, Callable[[Path, Clock], Awaitable[OpenLedger]]] = {"sqlite": open_sqlite}


@pytest.fixture
def clock() -> VirtualClock:
    return VirtualClock(NOW)


@pytest.fixture(params=sorted(LEDGERS))
async def opened(
    request: pytest.FixtureRequest, tmp_path: Path, clock: VirtualClock
) -> AsyncIterator[OpenLedger]:
    async with AsyncExitStack() as stack:
        opened = await LEDGERS[request.param](tmp_path, clock)
        stack.push_async_callback(opened.close)
        yield opened


def session(number: int, token: str, ended_at: float | None = None) -> SessionRecord:
    return SessionRecord(
        id=number,
        token=token,
        extranonce1=number,
        extranonce1_size=4,
        extranonce2_size=8,
        worker_id=None,
        user_agent="cgminer/4.12",
        remote="127.0.0.1:5000",
        work_log2=40,
        started_at=NOW,
        ended_at=ended_at,
    )


BLOCK = BlockRecord(
    hash=bytes(range(32)),
    height=101,
    found_at=NOW,
    worker_id=1,
    job_id=1,
    reward_sat=50 * 10**8,
    state="submitted",
)


async def test_stored_shares_come_back_as_they_were_and_in_order(opened: OpenLedger) -> None:
    first, second = make_shares(3, verdict=0), make_shares(500, first=3, worker=2, verdict=4)
    assert await store(opened.ledger, first) is None
    assert await store(opened.ledger, second) is None
    assert opened.stored().tobytes() == first.tobytes() + second.tobytes()
    await opened.restart()
    assert opened.stored().tobytes() == first.tobytes() + second.tobytes()


async def test_every_append_is_answered_once_on_the_loop_and_in_order(opened: OpenLedger) -> None:
    answers: list[tuple[int, BaseException | None]] = []
    loops: set[asyncio.AbstractEventLoop] = set()
    all_done = asyncio.Event()

    def done(number: int, error: BaseException | None) -> None:
        answers.append((number, error))
        loops.add(asyncio.get_running_loop())
        if len(answers) == 300:
            all_done.set()

    for number in range(300):
        opened.ledger.append(make_shares(2, first=2 * number), lambda error, n=number: done(n, error))
    assert answers == []  # never from within the call
    await asyncio.wait_for(all_done.wait(), 20)
    assert answers == [(number, None) for number in range(300)]
    assert loops == {asyncio.get_running_loop()}
    assert opened.stored()["nonce"].tolist() == list(range(600))


async def test_an_account_keeps_its_id_and_its_commitment(opened: OpenLedger) -> None:
    alice, bob = opened.ledger.account("alice"), opened.ledger.account("bob")
    assert opened.ledger.account("alice") == alice
    assert alice.id != bob.id
    assert len(alice.commitment) == 32
    assert alice.commitment != bob.commitment
    ledger = await opened.restart()
    assert ledger.account("alice") == alice
    assert ledger.account("carol").id not in {alice.id, bob.id}


async def test_a_worker_is_a_machine_of_an_account(opened: OpenLedger) -> None:
    alice, bob = opened.ledger.account("alice"), opened.ledger.account("bob")
    ids = {
        opened.ledger.worker(alice.id, "m1"),
        opened.ledger.worker(alice.id, "m2"),
        opened.ledger.worker(bob.id, "m1"),
    }
    assert len(ids) == 3
    known = opened.ledger.worker(alice.id, "m2")
    ledger = await opened.restart()
    assert ledger.worker(alice.id, "m2") == known
    assert ledger.worker(alice.id, "m3") not in ids


@pytest.mark.parametrize(
    "name", ["", "bc1q" + "x" * 60, "bob.rig%20%", "Zoë 🜛", "lone \ud800 surrogate", "nul\x00"]
)
async def test_any_name_is_kept(opened: OpenLedger, name: str) -> None:
    account = opened.ledger.account(name)
    worker = opened.ledger.worker(account.id, name)
    await settle(opened.ledger)
    ledger = await opened.restart()
    assert ledger.account(name) == account
    assert ledger.worker(account.id, name) == worker


async def test_identifiers_are_never_given_out_twice(opened: OpenLedger) -> None:
    jobs: list[int] = []
    sessions: list[tuple[int, int]] = []
    ledger = opened.ledger
    for _ in range(4):
        for _ in range(5):
            jobs.append(ledger.next_job_id())
            sessions.append(ledger.next_session())
        ledger = await opened.restart()
    assert len(set(jobs)) == len(jobs)
    assert len({number for number, _ in sessions}) == len(sessions)
    assert len({extranonce1 for _, extranonce1 in sessions}) == len(sessions)
    assert all(0 < number < 2**32 for number in jobs)


async def test_a_job_comes_back_whole(opened: OpenLedger) -> None:
    account = opened.ledger.account("alice")
    template = make_template(transactions=40)
    jobs = [make_job(opened.ledger.next_job_id(), account, template, work_log2=w) for w in (38, 40, 44)]
    for job in jobs:
        opened.ledger.put_job(job)
    await settle(opened.ledger)
    await opened.restart()
    assert [opened.job(job.id) for job in jobs] == jobs


async def test_a_job_of_a_pool_comes_back_whole(opened: OpenLedger) -> None:
    account = opened.ledger.account("alice")
    pool = opened.ledger.upstream("first", "stratum+tcp://a:1", "acct")
    job = make_upstream_job(opened.ledger.next_job_id(), account, pool)
    opened.ledger.put_job(job)
    await settle(opened.ledger)
    assert opened.job(job.id) == job
    await opened.restart()
    assert opened.job(job.id) == job


async def test_a_pool_keeps_its_id_and_its_words_theirs(opened: OpenLedger) -> None:
    names = [("first", "stratum+tcp://a:1", "acct"), ("first", "stratum+tcp://a:2", "acct"), ("", "", "")]
    pools = [opened.ledger.upstream(*name) for name in names]
    words = [opened.ledger.fate_reason(text) for text in ("Stale", "Low difficulty", "lone \ud800 surrogate")]
    assert len(set(pools)) == len(set(words)) == 3
    assert all(0 < pool < 2**16 for pool in pools)
    assert all(0 < word < 2**16 for word in words)
    assert opened.ledger.fate_reason("") == 0
    ledger = await opened.restart()
    assert [ledger.upstream(*name) for name in names] == pools
    assert ledger.fate_reason("Low difficulty") == words[1]
    assert ledger.upstream("second", "stratum+tcp://a:1", "acct") not in pools
    assert ledger.fate_reason("another") not in words


async def test_fates_come_back_as_they_were_and_in_order(opened: OpenLedger) -> None:
    shares = make_met(300)
    first, second = make_fates(shares[:200]), make_fates(shares[200:], Fate.REJECTED, reason=7)
    kept = first.tobytes() + second.tobytes()
    opened.ledger.put_fates(first)
    opened.ledger.put_fates(second)
    first["fate"] = Fate.LOST  # whatever the caller does to its array later
    await settle(opened.ledger)
    assert opened.fates().tobytes() == kept
    await opened.restart()
    assert opened.fates().tobytes() == kept


async def test_a_share_without_an_answer_is_lost_after_a_restart(opened: OpenLedger) -> None:
    account = opened.ledger.account("alice")
    pool = opened.ledger.upstream("first", "stratum+tcp://a:1", "acct")
    job = make_upstream_job(opened.ledger.next_job_id(), account, pool)
    opened.ledger.put_job(job)
    shares = make_met(5, job=job.id)
    assert await store(opened.ledger, shares) is None
    opened.ledger.put_fates(make_fates(shares[:3], upstream=pool))
    await settle(opened.ledger)
    await opened.restart()
    await opened.restart()
    fates = opened.fates()
    assert fates["hash_key"].tolist() == shares["hash_key"].tolist()
    assert fates["fate"].tolist() == [Fate.ACCEPTED] * 3 + [Fate.LOST] * 2
    assert set(fates["upstream"].tolist()) == {pool}


async def test_what_a_share_names_is_durable_no_later_than_the_share(opened: OpenLedger) -> None:
    account = opened.ledger.account("alice")
    job = make_job(opened.ledger.next_job_id(), account, make_template())
    opened.ledger.put_job(job)
    assert await store(opened.ledger, make_shares(1, job=job.id)) is None
    assert opened.job(job.id) == job


async def test_a_session_can_be_resumed_after_a_restart(opened: OpenLedger) -> None:
    number, _ = opened.ledger.next_session()
    opened.ledger.put_session(session(number, "token"))
    assert opened.ledger.find_session("token") == session(number, "token")
    assert opened.ledger.find_session("other") is None
    await settle(opened.ledger)
    ledger = await opened.restart()
    found = ledger.find_session("token")
    assert found is not None
    assert msgspec.structs.replace(found, ended_at=None) == session(number, "token")


async def test_a_session_long_over_cannot_be_resumed(opened: OpenLedger, clock: VirtualClock) -> None:
    opened.ledger.put_session(session(1, "token", ended_at=NOW))
    assert opened.ledger.find_session("token") is not None
    clock.advance(86_400)
    assert opened.ledger.find_session("token") is None


async def test_a_block_is_kept_in_its_latest_state(opened: OpenLedger) -> None:
    opened.ledger.put_block(BLOCK)
    rejected = msgspec.structs.replace(BLOCK, state="rejected", reason="high-hash")
    opened.ledger.put_block(rejected)
    await settle(opened.ledger)
    await opened.restart()
    assert opened.blocks() == (rejected,)


async def test_events_are_kept_with_their_details(opened: OpenLedger) -> None:
    opened.ledger.event("node", "the node answers again", height=7, tip="00ab")
    opened.ledger.event("odd", "\ud800", raw={"any": object})
    await settle(opened.ledger)
    newest, first = opened.events()
    assert first == ("node", "the node answers again", {"height": 7, "tip": "00ab"})
    assert newest[0] == "odd"


async def test_a_batch_of_another_layout_is_refused(opened: OpenLedger) -> None:
    with pytest.raises(ValueError, match="shares must be"):
        opened.ledger.append(np.zeros(3, np.uint8), lambda _: None)


async def test_shares_are_kept_whatever_the_caller_does_to_its_array_later(opened: OpenLedger) -> None:
    shares = make_shares(4)
    kept = shares.copy()
    assert await store(opened.ledger, shares) is None
    shares["nonce"] = 0
    assert opened.stored().tobytes() == kept.tobytes()
