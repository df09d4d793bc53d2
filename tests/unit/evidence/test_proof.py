"""Proofs of a few hundred bytes: a share, a record, an account's sum, and openings drawn by the verifier."""

import msgspec
import numpy as np
import pytest

from hashwerk.errors import DecodeError, EvidenceError
from hashwerk.evidence.epoch import Group
from hashwerk.evidence.openings import check_openings, draw, draws_needed, open_draw
from hashwerk.evidence.proof import (
    ACCOUNT_PROOF,
    RECORD_PROOF,
    SHARE_PROOF,
    EpochProver,
    check_account,
    check_record,
    check_share,
)
from hashwerk.evidence.receipt import (
    RECEIPT_LAYOUT,
    Receipt,
    give_receipts,
    is_genuine,
    read_receipts,
    write_receipts,
)
from hashwerk.evidence.verify import Verdict
from hashwerk.evidence.verify.run import Options
from support.evidence import ACCOUNTS, EvidenceSite

SITE = EvidenceSite().run(2)
EPOCH = SITE.last
PROVER = EpochProver(EPOCH, SITE.standings[2])


def test_an_account_s_sum_is_proven_in_a_few_hundred_bytes() -> None:
    for group in EPOCH.groups:
        proof = PROVER.account(group.account)
        assert check_account(proof) == EPOCH.signed
        assert (proof.shares, proof.work) == (len(group.leaves), 16 * len(group.leaves))
        data = ACCOUNT_PROOF.encode(proof)
        assert len(data) < 700
        assert ACCOUNT_PROOF.decode(data) == proof
    with pytest.raises(EvidenceError, match="no share of this account"):
        PROVER.account(b"\x01" * 32)


def test_a_sum_that_is_not_so_is_not_proven() -> None:
    proof = PROVER.account(EPOCH.groups[0].account)
    for change in (
        {"work": proof.work + 16},
        {"shares": proof.shares + 1},
        {"account": bytes(32)},
        {"path": ()},
        {"header": proof.header[:-1] + bytes([proof.header[-1] ^ 1])},
        {"path": (msgspec.structs.replace(proof.path[0], sums=(1, 2)),)},
    ):
        with pytest.raises(EvidenceError):
            check_account(msgspec.structs.replace(proof, **change))


def test_shares_and_records_are_proven() -> None:
    for group in EPOCH.groups:
        for position in (int(group.leaves["position"][0]), int(group.leaves["position"][-1])):
            proof = PROVER.share(group.account, position)
            assert check_share(proof) == EPOCH.signed
            assert SHARE_PROOF.decode(SHARE_PROOF.encode(proof)) == proof
    for index in range(len(EPOCH.records)):
        record = PROVER.record(index)
        assert check_record(record) == EPOCH.signed
        assert RECORD_PROOF.decode(RECORD_PROOF.encode(record)) == record


def test_an_edited_share_is_not_proven() -> None:
    group = EPOCH.groups[0]
    proof = PROVER.share(group.account, int(group.leaves["position"][3]))
    other = PROVER.share(EPOCH.groups[1].account, int(EPOCH.groups[1].leaves["position"][0]))
    for change in (
        {"leaf": proof.leaf[:-1] + bytes([proof.leaf[-1] ^ 1])},
        {"leaf": proof.leaf[:-1]},
        {"work_log2": 3},
        {"work_log2": 30},
        {"job": other.job},
        {"account": other.account},
        {"path": proof.path[1:]},
    ):
        with pytest.raises((EvidenceError, DecodeError)):
            check_share(msgspec.structs.replace(proof, **change))


def test_openings_are_those_that_were_drawn() -> None:
    assert draws_needed(0.01) == 299
    drawn = draw(EPOCH.signed, b"r" * 16, 40)
    proofs = open_draw(drawn, EPOCH, PROVER)
    check_openings(drawn, EPOCH.signed, proofs)
    assert len({point // 16 for point in drawn.points}) > 20, "spread over the work"
    with pytest.raises(EvidenceError, match="is the share from"):
        check_openings(drawn, EPOCH.signed, [proofs[0]] * 40)
    with pytest.raises(EvidenceError, match="asked for"):
        check_openings(drawn, EPOCH.signed, proofs[:-1])
    with pytest.raises(EvidenceError, match="randomness"):
        draw(EPOCH.signed, b"short", 1)


def receipts() -> list[Receipt]:
    """Return what the site promised for the first seven shares of an account in epoch 2."""
    group = EPOCH.groups[1]
    return give_receipts(
        SITE.key, site=SITE.id, epoch=2, accounts=[group.account] * 7, leaves=group.leaves[:7],
        deadline_us=EPOCH.header.end_us,
    )  # fmt: skip


def test_receipts_are_genuine_and_come_back_from_their_file() -> None:
    given = receipts()
    assert all(is_genuine(receipt) for receipt in given)
    assert read_receipts(write_receipts(given)) == tuple(given)
    assert max(len(RECEIPT_LAYOUT.encode(receipt)) for receipt in given) < 350
    forged = msgspec.structs.replace(given[0], body=msgspec.structs.replace(given[0].body, position=99))
    assert not is_genuine(forged)
    for noise in (b"", b"x" * 40, write_receipts(given)[:-1]):
        with pytest.raises(DecodeError):
            read_receipts(noise)


def test_kept_and_broken_receipts() -> None:
    import io

    from hashwerk.evidence.verify import verify_bundle

    given = tuple(receipts())
    report = verify_bundle(io.BytesIO(SITE.bundle()), Options(receipts=given, threads=1))
    assert report.ok, report.failures()
    # For a share that never came to stand there.
    leaves = EPOCH.groups[0].leaves[:1].copy()
    leaves["nonce"] += 1
    (broken,) = give_receipts(
        SITE.key, site=SITE.id, epoch=2, accounts=[EPOCH.groups[0].account], leaves=leaves, deadline_us=0
    )
    # For an epoch that ought to be published by now.
    (withheld,) = give_receipts(
        SITE.key,
        site=SITE.id,
        epoch=3,
        accounts=[ACCOUNTS[0]],
        leaves=leaves,
        deadline_us=EPOCH.header.end_us,
    )
    for receipt, words in ((broken, "another leaf"), (withheld, "withheld")):
        report = verify_bundle(io.BytesIO(SITE.bundle()), Options(receipts=(*given, receipt), threads=1))
        assert report.verdict == Verdict.INVALID
        assert words in next(check.detail for check in report.failures() if check.name == "receipts")
    foreign = EvidenceSite(name="other").key
    (other,) = give_receipts(
        foreign, site=SITE.id, epoch=2, accounts=[ACCOUNTS[0]], leaves=leaves, deadline_us=0
    )
    report = verify_bundle(io.BytesIO(SITE.bundle()), Options(receipts=(other,), threads=1))
    assert report.verdict == Verdict.INCOMPLETE


def test_an_account_without_its_job_is_not_proven() -> None:
    empty = Group(ACCOUNTS[0], np.empty(0, EPOCH.groups[0].leaves.dtype))
    assert len(empty.leaves) == 0
    with pytest.raises(EvidenceError, match="no share of the account stands"):
        PROVER.share(EPOCH.groups[0].account, 10_000)
