"""The book of jobs: which job a machine gets, how long it counts, and that a block made of it is one."""

from __future__ import annotations

import hashlib

import numpy as np
import pytest

from hashwerk.chain.block import Block, assemble_block
from hashwerk.chain.template import TemplateTransaction
from hashwerk.clock import VirtualClock
from hashwerk.evidence.tag import ZERO_ROOT, job_tag_preimage
from hashwerk.pool.jobs import OWN, JobBook
from hashwerk.pool.payees import Payees
from hashwerk.pool.room import Room
from hashwerk.pool.settings import PoolSettings
from hashwerk.work.batch import ROW_DTYPE, TERMS_DTYPE, check_batch
from hashwerk.work.check import assemble_coinbase, check_share
from hashwerk.work.share import SHARE_DTYPE, Verdict
from support.stratum import MemoryLedger, make_template

ROOM = Room(4, 8)
SETTINGS = PoolSettings(job_refresh_s=60, job_lifetime_s=180, stale_lifetime_s=120)
SITE_KEY = bytes(range(32))


@pytest.fixture
def clock() -> VirtualClock:
    return VirtualClock(1_750_000_000.0)


@pytest.fixture
def ledger() -> MemoryLedger:
    return MemoryLedger()


@pytest.fixture
def book(ledger: MemoryLedger, clock: VirtualClock) -> JobBook:
    return JobBook(SETTINGS, ledger, clock, site_key=SITE_KEY, payees=Payees(b"\x51"))


def _verdict(book: JobBook, job_id: int, now: float, nonce: int = 0) -> Verdict:
    rows = np.zeros(1, ROW_DTYPE)
    rows["job"], rows["ntime"], rows["nonce"] = job_id, 1_750_000_000, nonce
    terms = np.zeros(1, TERMS_DTYPE)
    terms["account"] = 1
    checked = check_batch(
        book.table,
        rows,
        extranonce2_sizes=np.full(1, 8, np.uint8),
        seats=np.zeros(1, np.int32),
        terms=terms,
        now=now,
    )
    book.duplicates.judge_batch(rows, checked)
    return Verdict(int(rows[0]["verdict"]))


def test_one_job_for_an_account_and_target(book: JobBook, ledger: MemoryLedger) -> None:
    book.use_template(make_template())
    alice, bob = ledger.account("alice"), ledger.account("bob")
    first = book.prepare(alice, 3, ROOM)
    assert book.prepare(alice, 3, ROOM) is first
    others = [book.prepare(alice, 4, ROOM), book.prepare(bob, 3, ROOM), book.prepare(alice, 3, Room(4, 4))]
    jobs = [first.job, *(other.job for other in others)]
    assert len({job.id for job in jobs}) == len({job.coinbase1 for job in jobs}) == 4
    assert len(book) == 4
    assert list(ledger.jobs) == [job.id for job in jobs]  # recorded before it is sent


def test_a_job_commits_to_site_account_and_target(book: JobBook, ledger: MemoryLedger) -> None:
    book.use_template(make_template())
    account = ledger.account("alice")
    job = book.prepare(account, 5, ROOM).job
    assert job.tag_preimage == job_tag_preimage(SITE_KEY, ZERO_ROOT, account.commitment, 5)
    assert job.tag == hashlib.sha256(job.tag_preimage).digest()
    assert job.tag in job.coinbase2
    assert job.version & SETTINGS.version_mask == 0


def test_lines_are_encoded_once_and_differ_in_clean_only(book: JobBook, ledger: MemoryLedger) -> None:
    book.use_template(make_template())
    prepared = book.prepare(ledger.account("alice"), 0, ROOM)
    assert prepared.line(clean=True) is prepared.line(clean=True)
    assert prepared.line(clean=True).replace(b"true]", b"false]") == prepared.line(clean=False)


def test_a_block_of_a_job_is_whole(book: JobBook, ledger: MemoryLedger) -> None:
    transactions = tuple(
        TemplateTransaction(data=b"", txid=bytes([number]) * 32, wtxid=bytes([number]) * 32, weight=4)
        for number in range(5)
    )
    template = make_template(7)
    book.use_template(make_template(7, transactions=transactions))
    job = book.prepare(ledger.account("alice"), 0, ROOM).job
    assert len(job.branch) == 3
    book.use_template(template)
    job = book.prepare(ledger.account("alice"), 0, ROOM).job
    header, _ = check_share(job, 1, 2, template.time, 3, job.version)
    block = Block.parse(assemble_block(header, assemble_coinbase(job, 1, 2), template))
    assert block.header.serialize() == header
    assert block.header.prev_hash == template.prev_hash
    assert sum(output.value_sat for output in block.transactions[0].outputs) == template.coinbase_value_sat


def test_a_new_prevhash_is_clean_and_makes_all_else_stale(
    book: JobBook, ledger: MemoryLedger, clock: VirtualClock
) -> None:
    assert book.use_template(make_template(1))
    old = book.prepare(ledger.account("a"), 0, ROOM).job
    assert not book.use_template(make_template(1))
    replaced = book.prepare(ledger.account("a"), 0, ROOM).job
    assert _verdict(book, old.id, clock.time()) is Verdict.ACCEPTED
    assert book.use_template(make_template(2))
    assert {_verdict(book, job.id, clock.time(), 9) for job in (old, replaced)} == {Verdict.STALE}
    clock.advance(121)
    book.forget_expired()
    assert book.job(old.id) is None
    assert _verdict(book, old.id, clock.time()) is Verdict.UNKNOWN_JOB


def test_a_replaced_job_counts_for_its_lifetime(
    book: JobBook, ledger: MemoryLedger, clock: VirtualClock
) -> None:
    book.use_template(make_template())
    old = book.prepare(ledger.account("a"), 0, ROOM).job
    clock.advance(30)
    book.use_template(make_template())
    clock.advance(179)
    book.forget_expired()
    assert _verdict(book, old.id, clock.time()) is Verdict.ACCEPTED
    clock.advance(2)
    book.forget_expired()
    assert _verdict(book, old.id, clock.time(), 1) is Verdict.UNKNOWN_JOB


def test_without_a_template_the_last_job_stays_valid_and_is_made_anew(
    book: JobBook, ledger: MemoryLedger, clock: VirtualClock
) -> None:
    book.use_template(make_template(received_at=clock.time()))
    first = book.prepare(ledger.account("a"), 0, ROOM).job
    assert not book.refresh()
    clock.advance(3_000)
    book.forget_expired()
    assert _verdict(book, first.id, clock.time()) is Verdict.ACCEPTED
    assert book.refresh()
    second = book.prepare(ledger.account("a"), 0, ROOM).job
    assert second.id != first.id
    assert second.ntime == first.ntime + 3_000


def test_the_time_to_begin_with_stays_within_the_templates_bounds(
    book: JobBook, ledger: MemoryLedger, clock: VirtualClock
) -> None:
    template = make_template(time=1_750_000_000, min_time=1_750_000_005, max_time=1_750_000_020)
    book.use_template(template)
    assert book.prepare(ledger.account("a"), 0, ROOM).job.ntime == 1_750_000_005
    clock.advance(61)
    book.refresh()
    assert book.prepare(ledger.account("a"), 0, ROOM).job.ntime == 1_750_000_020


def test_duplicates_are_forgotten_with_the_last_job_of_their_generation(
    book: JobBook, ledger: MemoryLedger, clock: VirtualClock
) -> None:
    book.use_template(make_template())
    job = book.prepare(ledger.account("a"), 0, ROOM).job
    assert _verdict(book, job.id, clock.time()) is Verdict.ACCEPTED
    assert _verdict(book, job.id, clock.time()) is Verdict.DUPLICATE
    clock.advance(70)
    book.use_template(make_template())
    book.prepare(ledger.account("a"), 0, ROOM)
    assert len(book.duplicates) == 1
    clock.advance(181)
    book.use_template(make_template())
    assert len(book.duplicates) == 0


def test_network_target_as_a_share_target(book: JobBook) -> None:
    assert book.work(OWN) is None
    book.use_template(make_template(nbits=0x1D00FFFF))
    work = book.work(OWN)
    assert work is not None
    assert work.most_work_log2 == 32
    book.use_template(make_template(nbits=0x207FFFFF))
    work = book.work(OWN)
    assert work is not None
    assert work.most_work_log2 == 1


def test_jobs_and_duplicates_outlive_a_restart(
    book: JobBook, ledger: MemoryLedger, clock: VirtualClock
) -> None:
    book.use_template(make_template(1))
    stale = book.prepare(ledger.account("a"), 0, ROOM).job
    book.use_template(make_template(2))
    job = book.prepare(ledger.account("a"), 0, ROOM).job
    share = check_share(job, 0, 0, 1_750_000_000, 5, job.version)
    stored = np.zeros(1, SHARE_DTYPE)
    stored["job"], stored["hash_key"] = job.id, np.frombuffer(share.hash[:16], "V16")
    successor = JobBook(SETTINGS, ledger, clock, site_key=SITE_KEY, payees=Payees(b"\x51"))
    successor.restore((stale, job), stored)
    assert _verdict(successor, job.id, clock.time(), 5) is Verdict.DUPLICATE
    assert _verdict(successor, job.id, clock.time(), 6) is Verdict.ACCEPTED
    assert _verdict(successor, stale.id, clock.time(), 6) is Verdict.STALE
    assert not successor.use_template(make_template(2))  # the tip the machines know already
    assert successor.use_template(make_template(3))
    assert _verdict(successor, job.id, clock.time(), 7) is Verdict.STALE


def test_no_job_without_a_template(book: JobBook, ledger: MemoryLedger) -> None:
    with pytest.raises(ValueError, match="no work"):
        book.prepare(ledger.account("a"), 0, ROOM)
