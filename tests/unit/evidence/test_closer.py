"""Epochs from the ledger's rows: who is where, what is thinned, what is upstream's, and that the bundle verifies."""

import io
import sqlite3
from collections.abc import Iterator
from pathlib import Path

import msgspec
import numpy as np
import pytest

from hashwerk.errors import EvidenceError, StoreError
from hashwerk.evidence import records
from hashwerk.evidence.bundle import BundleWriter, Manifest
from hashwerk.evidence.closer import EpochCloser
from hashwerk.evidence.epoch import Epoch
from hashwerk.evidence.key_files import SiteKeys
from hashwerk.evidence.keys import public_bytes
from hashwerk.evidence.records import UNBOUND
from hashwerk.evidence.rehash import JobTable
from hashwerk.evidence.standing import Standing
from hashwerk.evidence.verify import Report, Verdict, verify_bundle
from hashwerk.evidence.verify.run import Options
from hashwerk.store import epochs
from hashwerk.store.bundles import Period, close_stopped, write_bundle
from hashwerk.store.connection import WriterLock
from hashwerk.store.open_epoch import prepare_epoch
from hashwerk.store.records import put_record
from hashwerk.work.share import SHARE_DTYPE
from hashwerk.work.share import Verdict as ShareVerdict
from support.evidence import ACCOUNTS, EPOCH_US, START_US, seeded_key
from support.evidence_ledger import DECLARED, KEYS, Ledger


@pytest.fixture
def ledger(tmp_path: Path) -> Iterator[Ledger]:
    made = Ledger(tmp_path / "ledger.sqlite")
    yield made
    made.connection.close()


def check(data: bytes) -> Report:
    return verify_bundle(io.BytesIO(data), Options(threads=1))


def start(ledger: Ledger, extra: tuple[records.Record, ...] = ()) -> EpochCloser:
    closer = epochs.open_closer(ledger.connection, KEYS)
    ledger.store(epochs.begin(ledger.connection, closer, [*DECLARED, *extra], START_US))
    return closer


def test_epochs_of_a_running_mine_verify(ledger: Ledger) -> None:
    closer = start(ledger)
    for number in range(3):
        at = START_US + number * EPOCH_US
        jobs = [ledger.job(account, at, closer.root) for account in (1, 2)]
        ledger.shares(jobs, at, 20, refused=2)
        ledger.connection.execute("BEGIN")
        put_record(ledger.connection, ledger.maker.meter(at, at + EPOCH_US), at + 1)
        ledger.connection.execute("COMMIT")
        prepared = ledger.close_epoch(closer, at + EPOCH_US)
        assert (prepared.epoch.header.number, prepared.epoch.header.shares) == (number + 1, 18)
        assert closer.root == prepared.epoch.signed.hash()
        # A program that starts again goes on where the last one ended.
        again = epochs.open_closer(ledger.connection, KEYS)
        assert (again.root, again.number, again.start_us) == (closer.root, number + 2, at + EPOCH_US)
        assert again.standing.root() == closer.standing.root()
    report = check(ledger.bundle())
    assert (report.verdict, report.subject) == (Verdict.VALID, "simulation"), report.failures()
    assert report.statement["work"]["shares"]["value"] == 54
    assert report.statement["rejected"]["value"] == {int(ShareVerdict.STALE): 6}
    assert report.statement["energy"]["metered"]["value"] == 15_000
    # A later part of it stands on headers alone.
    last = ledger.bundle(START_US + 2 * EPOCH_US + 1)
    report = check(last)
    assert report.ok, report.failures()
    assert len(last) < len(ledger.bundle())


def test_an_empty_epoch_is_one_too(ledger: Ledger) -> None:
    closer = start(ledger)
    ledger.close_epoch(closer, START_US + EPOCH_US)
    job = ledger.job(1, START_US + EPOCH_US, closer.root)
    ledger.shares([job], START_US + EPOCH_US, 3)
    ledger.close_epoch(closer, START_US + 2 * EPOCH_US)
    report = check(ledger.bundle())
    assert report.ok, report.failures()
    assert report.statement["period"]["epochs"] == [1, 2]


def test_a_share_after_the_end_goes_to_the_next_epoch(ledger: Ledger) -> None:
    closer = start(ledger)
    job = ledger.job(1, START_US, closer.root)
    ledger.shares([job], START_US + EPOCH_US - 5_000_000, 10)
    first = ledger.close_epoch(closer, START_US + EPOCH_US)
    second = ledger.close_epoch(closer, START_US + 2 * EPOCH_US)
    assert (first.epoch.header.shares, second.epoch.header.shares) == (5, 5)
    assert (first.end_position, second.first_position) == (5, 5)
    assert check(ledger.bundle()).ok


def test_thinned_epochs_hold_only_the_harder_shares(ledger: Ledger) -> None:
    closer = start(ledger, (records.Thinning(work_log2=6),))
    jobs = [ledger.job(account, START_US, closer.root) for account in (1, 2)]
    ledger.shares(jobs, START_US, 80)
    header = ledger.close_epoch(closer, START_US + EPOCH_US).epoch.header
    assert (header.full_shares, header.full_work) == (80, 80 * 16)
    assert 5 < header.shares < 45
    assert header.work == header.shares * 64
    report = check(ledger.bundle())
    assert report.ok, report.failures()
    assert report.statement["work"]["shares"]["value"] == header.shares


def test_upstream_work_is_unbound(ledger: Ledger) -> None:
    closer = start(ledger)
    own = ledger.job(1, START_US, closer.root)
    theirs = ledger.job(2, START_US, closer.root, upstream=True)
    ledger.shares([own, theirs], START_US, 20)
    prepared = ledger.close_epoch(closer, START_US + EPOCH_US)
    assert [group.account for group in whole(ledger, prepared).groups] == sorted([ACCOUNTS[0], UNBOUND])
    report = check(ledger.bundle())
    assert report.ok, report.failures()
    work = report.statement["work"]
    assert [row["shares"] for row in work["accounts"]] == [10]
    assert "asserted" in work["unbound"]["label"]
    assert any("upstream pool" in line for line in report.statement["not_shown"])


def test_an_upstream_pool_that_was_not_declared_leaves_it_incomplete(ledger: Ledger) -> None:
    closer = epochs.open_closer(ledger.connection, KEYS)
    ledger.store(epochs.begin(ledger.connection, closer, DECLARED[:2], START_US))
    theirs = ledger.job(2, START_US, closer.root, upstream=True)
    ledger.shares([theirs], START_US, 5)
    ledger.close_epoch(closer, START_US + EPOCH_US)
    report = check(ledger.bundle())
    assert report.verdict == Verdict.INCOMPLETE
    assert "was not declared before" in report.failures()[0].detail


def test_a_key_is_rotated_within_a_chain(ledger: Ledger) -> None:
    closer = start(ledger)
    ledger.close_epoch(closer, START_US + EPOCH_US)
    after = seeded_key("site/after")
    event = closer.rotate(after, START_US + EPOCH_US)
    epochs.put_key_event(ledger.connection, 1, event)
    prepared = ledger.close_epoch(closer, START_US + 2 * EPOCH_US)
    assert prepared.epoch.header.key == public_bytes(KEYS.next)
    out = io.BytesIO()
    period = Period(start_us=START_US, end_us=START_US + 3 * EPOCH_US, fixed_beforehand=False)
    write_bundle(ledger.connection, out, KEYS.next, period, now_us=START_US + 3 * EPOCH_US, software="test")
    report = check(out.getvalue())
    assert report.ok, report.failures()


def test_a_found_block_is_logged(ledger: Ledger) -> None:
    closer = start(ledger)
    job = ledger.job(1, START_US, closer.root)
    ledger.shares([job], START_US, 5)
    ledger.connection.execute(
        "INSERT INTO blocks VALUES (?, 700, ?, 1, ?, 5000, 'accepted', NULL, 1)",
        (b"\x01" * 32, START_US / 1e6 + 1, job.id),
    )
    ledger.close_epoch(closer, START_US + EPOCH_US)
    (block,) = check(ledger.bundle()).statement["blocks"]
    assert (block["height"], block["reward_sat"], block["state"]) == (700, 5000, "accepted")


def test_what_cannot_be_closed(ledger: Ledger) -> None:
    closer = epochs.open_closer(ledger.connection, KEYS)
    assert closer.start_us is None
    with pytest.raises(EvidenceError, match="has not begun"):
        prepare_epoch(ledger.connection, closer, START_US)
    with pytest.raises(EvidenceError, match="has not begun"):
        closer.close(np.empty(0, SHARE_DTYPE), {}, (), START_US)
    with pytest.raises(EvidenceError, match="has not begun"):
        closer.rotate(KEYS.next, START_US)
    closer = start(ledger)
    with pytest.raises(EvidenceError, match="before it began"):
        closer.close(np.empty(0, SHARE_DTYPE), {}, (), START_US - 1)
    with pytest.raises(EvidenceError, match="begun already"):
        closer.begin(DECLARED, START_US)
    stray = np.zeros(1, SHARE_DTYPE)
    stray["job"] = 99
    with pytest.raises(EvidenceError, match="job 99"):
        closer.close(stray, {}, (), START_US + 1)
    without = SiteKeys(KEYS.current, KEYS.next, None)
    with pytest.raises(EvidenceError, match="recovery key"):
        EpochCloser(without, (), None, Standing()).begin(DECLARED, START_US)
    with pytest.raises(EvidenceError, match="no epoch of this period"):
        ledger.bundle(0, 1)


def test_shares_that_are_gone_are_noticed(ledger: Ledger) -> None:
    closer = start(ledger)
    job = ledger.job(1, START_US, closer.root)
    ledger.shares([job], START_US, 5)
    ledger.close_epoch(closer, START_US + EPOCH_US)
    ledger.shares([job], START_US + EPOCH_US, 5)
    ledger.shares([job], START_US + EPOCH_US + 60_000_000, 5)
    ledger.connection.execute("DELETE FROM share_groups WHERE first_position = 5")
    with pytest.raises(StoreError, match="were removed before"):
        ledger.close_epoch(closer, START_US + 2 * EPOCH_US)
    ledger.connection.execute("DELETE FROM share_groups")
    with pytest.raises(EvidenceError, match="5 shares were signed, 0 are left"):
        ledger.bundle()


def test_the_open_epoch_of_a_stopped_mine_is_closed(ledger: Ledger) -> None:
    job = ledger.job(1, START_US, bytes(32))
    ledger.shares([job], START_US, 5)
    ledger.connection.close()
    lock = WriterLock(ledger.path)
    lock.acquire(0)
    with pytest.raises(StoreError, match="locked by process"):
        close_stopped(ledger.path, KEYS, DECLARED, START_US + EPOCH_US)
    lock.release()
    assert close_stopped(ledger.path, KEYS, DECLARED, START_US + EPOCH_US)
    assert not close_stopped(ledger.path, KEYS, DECLARED, START_US + 2 * EPOCH_US), "nothing new"
    report = check(ledger.bundle())
    assert report.ok, report.failures()
    assert any("no root of an earlier epoch" in line for line in report.statement["not_shown"])


def test_an_empty_ledger_has_nothing_to_close(tmp_path: Path) -> None:
    made = Ledger(tmp_path / "ledger.sqlite")
    made.connection.close()
    assert not close_stopped(made.path, KEYS, DECLARED, START_US)
    connection = sqlite3.connect(made.path)
    assert connection.execute("SELECT count(*) FROM epochs").fetchone() == (0,)
    connection.close()


def test_unbound_work_that_was_relabelled_is_noticed(ledger: Ledger) -> None:
    """Each share credited with its best power of two: hash over target then lies in the upper half."""
    closer = start(ledger)
    theirs = ledger.job(2, START_US, closer.root, upstream=True)
    ledger.shares([theirs], START_US, 120)
    prepared = prepare_epoch(ledger.connection, closer, START_US + EPOCH_US)
    honest = check(in_one_bundle(ledger, prepared, closer))
    assert honest.ok, honest.failures()
    again = epochs.open_closer(ledger.connection, KEYS)
    rows = whole(ledger, prepared).groups[0].leaves
    shares = np.zeros(len(rows), SHARE_DTYPE)
    for name in rows.dtype.names or ():
        if name != "position":
            shares[name] = rows[name]
    record = epochs.read_job_records(ledger.connection, [theirs.id])[theirs.id]
    zeros = JobTable([record], {record.id: 4}).hash(rows).zeros
    shares["job"] = 1000 + zeros
    labels = {
        1000 + int(work): msgspec.structs.replace(record, id=1000 + int(work), work_log2=int(work))
        for work in set(zeros)
    }
    epoch = again.close(shares, labels, (), START_US + EPOCH_US)
    forged = epochs.PreparedEpoch(epoch, prepared.standing, again.events, 0, 0, 0)
    report = check(in_one_bundle(ledger, forged, again))
    assert report.verdict == Verdict.INVALID
    assert "unbound work is spread so" in next(c.detail for c in report.failures() if c.name == "uniformity")


def whole(ledger: Ledger, prepared: epochs.PreparedEpoch) -> Epoch:
    """Return a prepared epoch with its shares."""
    row = epochs.EpochRow(
        prepared.epoch.signed, prepared.epoch.records, prepared.epoch.header.standing,
        prepared.first_position, prepared.end_position, prepared.records_through, prepared.logbook_through,
    )  # fmt: skip
    return epochs.read_epoch(ledger.connection, row)


def in_one_bundle(ledger: Ledger, prepared: epochs.PreparedEpoch, closer: EpochCloser) -> bytes:
    """Write one epoch without storing it."""
    header = prepared.epoch.header
    manifest = Manifest(
        site=header.site, start_us=header.start_us, end_us=header.end_us, first_epoch=1, last_epoch=1, claims=0,
        period_fixed=1, made_us=header.end_us, software="test", note="",
    )  # fmt: skip
    out = io.BytesIO()
    first = next(epochs.read_epochs(ledger.connection, 0, 0)).signed
    writer = BundleWriter(
        out, manifest, keys=closer.events, preamble=[first], standing=prepared.standing.records
    )
    writer.epoch(prepared.epoch if isinstance(prepared.epoch, Epoch) else whole(ledger, prepared))
    writer.finish(KEYS.current)
    return out.getvalue()
