"""Proofs of a few hundred bytes: a share, a record, an account's sum, and openings drawn by the verifier."""

import msgspec
import numpy as np
import pytest

from hashwerk.errors import DecodeError, EvidenceError
from hashwerk.evidence import records
from hashwerk.evidence.epoch import EpochFrame, Group, close_epoch
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
from hashwerk.evidence.proof_file import MAGIC, check_proof, openings_of, write_proof
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
from support.evidence import ACCOUNTS, EvidenceSite, decoded

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


def test_a_share_whose_job_is_for_somebody_else_is_not_proven() -> None:
    """The owner of the key closes an epoch whose job says another target than its coinbase."""
    group = EPOCH.groups[0]
    logged = [
        msgspec.structs.replace(r, work_log2=2)
        if isinstance(r, records.Job) and r.account == group.account
        else r
        for r in decoded(EPOCH)
    ]
    frame = EpochFrame(
        site=SITE.id, number=2, start_us=EPOCH.header.start_us, end_us=EPOCH.header.end_us,
        previous=EPOCH.header.previous, key_events=EPOCH.header.key_events, standing=SITE.standings[2],
    )  # fmt: skip
    forged = close_epoch(frame, SITE.key, logged, EPOCH.groups)
    proof = EpochProver(forged, SITE.standings[2]).share(group.account, int(group.leaves["position"][0]))
    with pytest.raises(EvidenceError, match="commits to another"):
        check_share(proof)


def test_proofs_as_files() -> None:
    group = EPOCH.groups[0]
    position = int(group.leaves["position"][2])
    account, share = PROVER.account(group.account), PROVER.share(group.account, position)
    shown = check_proof(write_proof(account))
    assert (shown.kind, shown.epoch, shown.figures["shares"]) == ("sum of an account", 2, len(group.leaves))
    assert check_proof(write_proof(share)).figures["position"] == position
    drawn = draw(EPOCH.signed, b"r" * 32, 30)
    openings = openings_of(EPOCH.signed, b"r" * 32, 30, open_draw(drawn, EPOCH, PROVER))
    data = write_proof(openings)
    shown = check_proof(data, randomness=b"r" * 32, drawn_from=EPOCH.signed.hash())
    assert (shown.figures["draws"], shown.figures["own_randomness"]) == (30, True)
    assert 0.09 < shown.figures["finds_with_95_percent"] < 0.1
    assert not check_proof(data).figures["own_randomness"]
    for options, words in (
        ({"randomness": b"s" * 32}, "another draw"),
        ({"drawn_from": bytes(32)}, "another epoch"),
    ):
        with pytest.raises(EvidenceError, match=words):
            check_proof(data, **options)
    fewer = msgspec.structs.replace(openings, count=31)
    with pytest.raises(EvidenceError, match="31 draws, 30 openings"):
        check_proof(write_proof(fewer))
    for noise in (b"", MAGIC, MAGIC + b"\x09", MAGIC + b"\x01", data[:-1], data + b"\x00"):
        with pytest.raises(DecodeError):
            check_proof(noise)


def test_any_byte_of_a_proof_matters() -> None:
    data = write_proof(PROVER.share(EPOCH.groups[0].account, int(EPOCH.groups[0].leaves["position"][0])))
    said = check_proof(data)
    for at in range(0, len(data), 7):
        changed = data[:at] + bytes([data[at] ^ 1]) + data[at + 1 :]
        try:
            assert check_proof(changed) == said
        except (EvidenceError, DecodeError):
            continue
        raise AssertionError(f"byte {at} may be changed")


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
