"""The same machinery as a mine: the main network's headers, and stamps of authorities made for the test."""

import hashlib
import io
from datetime import UTC, datetime

import msgspec
import pytest
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from hashwerk.chain.header import BlockHeader
from hashwerk.chain.network import NETWORKS
from hashwerk.chain.target import compact_from_target
from hashwerk.errors import EvidenceError
from hashwerk.evidence import records
from hashwerk.evidence.blockchain import Checkpoint, HeaderChain, trusted_chain
from hashwerk.evidence.bundle import ChainPart, Claim, Stamp, StampKind
from hashwerk.evidence.keys import fingerprint, public_bytes
from hashwerk.evidence.meter_signature import check_meter_signature
from hashwerk.evidence.stamps import (
    Trust,
    UntrustedStampError,
    check_stamp,
    countersign,
    recognise,
    stamped_document,
)
from hashwerk.evidence.verify import Report, Verdict, verify_bundle
from hashwerk.evidence.verify.run import Options
from support.evidence import ALL_CLAIMS, EvidenceSite, seeded_key
from support.timestamping import TestAuthority

GENESIS = NETWORKS["main"].genesis
#: The chain of the test: the main network's first block, which the verifier knows.
KNOWN = (Checkpoint(0, GENESIS.hash()),)
START_US = (GENESIS.time // 3600 + 1) * 3_600_000_000
WITNESS = seeded_key("witness")


@pytest.fixture(scope="module")
def mine() -> EvidenceSite:
    site = EvidenceSite(
        name="river", network="main", private=False, scale=1, nbits=0x1D00FFFF, prev_hash=GENESIS.hash(), height=1,
        start_us=START_US,
    )  # fmt: skip
    return site.run(4)


@pytest.fixture(scope="module")
def authority() -> TestAuthority:
    return TestAuthority()


def stamps(mine: EvidenceSite, authority: TestAuthority) -> tuple[Stamp, ...]:
    """Stamp epoch 2 by a witness and the last one by the authority."""
    two, last = mine.epochs[2], mine.last
    said = countersign(mine.id, 2, two.signed.hash(), WITNESS, two.header.end_us + 5_000_000)
    at = datetime.fromtimestamp(last.header.end_us / 1e6 + 30, UTC)
    response = authority.stamp(stamped_document(last.header), at)
    return (
        Stamp(epoch=2, kind=StampKind.WITNESS, data=said),
        Stamp(epoch=4, kind=StampKind.RFC3161, data=response),
    )


def check(data: bytes, **options: object) -> Report:
    return verify_bundle(io.BytesIO(data), Options(threads=1, **options))


def trusting(authority: TestAuthority) -> dict[str, object]:
    return {
        "headers": GENESIS.serialize(),
        "checkpoints": KNOWN,
        "tsa_roots": (authority.root,),
        "witnesses": frozenset({fingerprint(public_bytes(WITNESS))}),
    }


def test_a_mine_with_headers_and_stamps_is_valid(mine: EvidenceSite, authority: TestAuthority) -> None:
    bundle = mine.bundle(claims=ALL_CLAIMS | Claim.TIME, stamps=stamps(mine, authority))
    report = check(bundle, **trusting(authority))
    assert (report.verdict, report.subject) == (Verdict.VALID, "mine"), report.failures()
    labels = {made.name: made.label for made in report.checks}
    assert labels["chain"] == "proven"
    assert labels["anchor"] == "proven"
    assert "attested by" in labels["external time"]
    assert "witness" in labels["external time"]
    assert "Test authority" in labels["external time"]
    times = report.statement["period"]["external_time"]
    assert [row["by"].split()[0] for row in times[:3]] == ["witness"] * 3, (
        "a stamp holds for the epochs before it"
    )
    assert times[3]["by"].startswith("RFC 3161")
    assert times[1]["after"] is not None
    assert report.statement["matching"]["hourly_matching"]["label"] == "asserted"


def test_whom_nobody_pinned_shows_no_time(mine: EvidenceSite, authority: TestAuthority) -> None:
    bundle = mine.bundle(claims=ALL_CLAIMS | Claim.TIME, stamps=stamps(mine, authority))
    trusted = trusting(authority)
    report = check(bundle, **{name: value for name, value in trusted.items() if name != "tsa_roots"})
    assert report.verdict == Verdict.INCOMPLETE
    assert [made.name for made in report.failures()] == ["external time"]
    assert "2 epochs from 3 on have none" in report.failures()[0].detail
    assert "no root of a time-stamping authority was pinned" in report.failures()[0].detail
    # The authority's stamp of the last epoch dates every earlier one, whatever the witness is worth.
    assert check(bundle, **{name: value for name, value in trusted.items() if name != "witnesses"}).ok
    # Without a claim the same stamps are no failure, and show nothing.
    report = check(
        mine.bundle(stamps=stamps(mine, authority)), headers=GENESIS.serialize(), checkpoints=KNOWN
    )
    assert report.ok, report.failures()
    assert any("no external time" in line for line in report.statement["not_shown"])


def test_a_claim_of_time_without_stamps_is_incomplete(mine: EvidenceSite) -> None:
    report = check(mine.bundle(claims=ALL_CLAIMS | Claim.TIME))
    assert report.verdict == Verdict.INCOMPLETE
    assert "hourly matching is not shown" in report.failures()[0].detail


def test_headers_of_another_chain(mine: EvidenceSite) -> None:
    other = NETWORKS["testnet4"].genesis.serialize()
    assert check(mine.bundle(), headers=other, checkpoints=KNOWN).verdict == Verdict.INVALID
    # Without a known block a header file is worth nothing.
    report = check(mine.bundle(), headers=GENESIS.serialize())
    assert "do not begin at a known block" in report.failures()[0].detail
    # A file that comes with the bundle is checked in the same way, and is no claim.
    part = ChainPart(0, GENESIS.serialize())
    assert check(mine.bundle(chain=part)).ok
    assert {c.name: c.label for c in check(mine.bundle(chain=part), checkpoints=KNOWN).checks}[
        "chain"
    ] == "proven"


def test_jobs_that_do_not_build_on_the_chain() -> None:
    site = EvidenceSite(
        name="elsewhere", network="main", private=False, scale=1, nbits=0x1D00FFFF, height=1, start_us=START_US
    ).run(1)  # fmt: skip
    report = check(site.bundle(), headers=GENESIS.serialize(), checkpoints=KNOWN)
    assert report.verdict == Verdict.INCOMPLETE
    assert "do not reach" in report.failures()[0].detail


def test_stamps_that_do_not_hold(mine: EvidenceSite, authority: TestAuthority) -> None:
    header, epoch = mine.last.header, mine.last.signed.hash()
    witness, rfc = stamps(mine, authority)
    trust = Trust(tsa_roots=(authority.root,), witnesses=frozenset({fingerprint(public_bytes(WITNESS))}))
    two = mine.epochs[2]
    assert check_stamp(witness, two.header, two.signed.hash(), trust).at_us == two.header.end_us + 5_000_000
    assert check_stamp(rfc, header, epoch, trust).by.startswith("RFC 3161")
    edited = bytearray(witness.data)
    edited[79] ^= 1  # the time
    cases = (
        (Stamp(epoch=4, kind=3, data=witness.data), "another epoch"),
        (Stamp(epoch=2, kind=3, data=bytes(edited)), "not its own"),
        (Stamp(epoch=2, kind=3, data=b"noise"), "not a witness"),
        (Stamp(epoch=2, kind=2, data=rfc.data), "something else"),
        (Stamp(epoch=4, kind=2, data=b"noise"), "not an RFC 3161"),
        (Stamp(epoch=4, kind=1, data=b"noise"), "not an OpenTimestamps"),
        (Stamp(epoch=4, kind=9, data=b""), "unknown kind"),
        (Stamp(epoch=4, kind=1, data=bytes(1 << 17)), "bytes"),
    )
    for stamp, words in cases:
        where = mine.epochs[stamp.epoch]
        with pytest.raises(EvidenceError, match=words):
            check_stamp(stamp, where.header, where.signed.hash(), trust)
    assert recognise(witness.data) == (StampKind.WITNESS, two.signed.hash())
    assert recognise(rfc.data) == (StampKind.RFC3161, epoch)
    for noise in (b"", b"noise", b"\x00OpenTimestamps\x00\x00"):
        with pytest.raises(EvidenceError):
            recognise(noise)
    impostor = TestAuthority()
    with pytest.raises(EvidenceError, match="does not hold"):
        check_stamp(rfc, header, epoch, Trust(tsa_roots=(impostor.root,)))


def test_a_stamp_from_before_the_epoch_s_end_is_a_contradiction(
    mine: EvidenceSite, authority: TestAuthority
) -> None:
    early = countersign(mine.id, 4, mine.last.signed.hash(), WITNESS, mine.last.header.start_us)
    bundle = mine.bundle(stamps=(Stamp(epoch=4, kind=3, data=early),))
    report = check(bundle, **trusting(authority))
    assert report.verdict == Verdict.INVALID
    assert "stamped before it ended" in report.failures()[0].detail


def test_opentimestamps_leads_to_a_block(mine: EvidenceSite) -> None:
    from opentimestamps.core.notary import BitcoinBlockHeaderAttestation
    from opentimestamps.core.op import OpAppend, OpSHA256
    from opentimestamps.core.serialize import BytesSerializationContext
    from opentimestamps.core.timestamp import DetachedTimestampFile, Timestamp

    epoch = mine.last.signed.hash()
    proof = Timestamp(epoch)
    proof.ops.add(OpAppend(b"salt")).ops.add(OpSHA256()).attestations.add(BitcoinBlockHeaderAttestation(1))
    context = BytesSerializationContext()
    DetachedTimestampFile(OpSHA256(), proof).serialize(context)
    stamp = Stamp(epoch=4, kind=StampKind.OPENTIMESTAMPS, data=context.getbytes())
    assert recognise(stamp.data) == (StampKind.OPENTIMESTAMPS, epoch)
    merkle = hashlib.sha256(epoch + b"salt").digest()
    chain = regtest_chain(merkle)
    shown = check_stamp(stamp, mine.last.header, epoch, Trust(chain=chain))
    assert (shown.at_us, shown.by) == (1_296_689_000_000_000, "Bitcoin block 1 (OpenTimestamps)")
    with pytest.raises(EvidenceError, match="does not lead to block 1"):
        check_stamp(stamp, mine.last.header, epoch, Trust(chain=regtest_chain(bytes(32))))
    with pytest.raises(UntrustedStampError, match="needs block headers"):
        check_stamp(stamp, mine.last.header, epoch, Trust())


def regtest_chain(merkle: bytes) -> HeaderChain:
    """Return a chain of two headers whose second one has this merkle root."""
    first = NETWORKS["regtest"].genesis
    for nonce in range(1000):
        header = BlockHeader(
            1, first.hash(), merkle, 1_296_689_000, compact_from_target((1 << 255) - 1), nonce
        )
        if header.hash()[31] < 128:
            return trusted_chain(
                "regtest", first.serialize() + header.serialize(), (Checkpoint(0, first.hash()),)
            )
    raise AssertionError("no header")


def test_header_chains_are_checked() -> None:
    first = GENESIS.serialize()
    with pytest.raises(EvidenceError, match="not whole headers"):
        HeaderChain("main", first + b"x", 0)
    with pytest.raises(EvidenceError, match="has not the work"):
        HeaderChain("main", first[:-1] + b"\x00", 0)
    with pytest.raises(EvidenceError, match="does not follow"):
        HeaderChain("main", first + first, 0)
    with pytest.raises(EvidenceError, match="no block of the network"):
        trusted_chain("signet", first)


def test_a_reading_that_the_meter_signed_is_attested() -> None:
    key = ec.generate_private_key(ec.SECP256R1())
    der = key.public_key().public_bytes(
        serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo
    )
    site = EvidenceSite(shares=3)
    start = site.last.header.end_us
    payload = b'{"FV":"1.0","MS":"EM-1","RD":[{"RV":1005.0,"RU":"kWh"}]}'
    signature = key.sign(payload, ec.ECDSA(hashes.SHA256()))
    line = b"OCMF|" + payload + b'|{"SD":"' + signature.hex().encode() + b'"}'
    reading = site.meter(start, start + 900_000_000, signed_by="OCMF", signed_data=line, signer_key=der)
    assert (check_meter_signature(reading) or "").startswith("meter EM-1")
    for change, words in (
        ({"end_wh": 1_005_001}, "the record says"),
        ({"signed_data": line.replace(b"1005", b"1006")}, "does not hold"),
        ({"signed_data": b"OCMF"}, "not a line"),
        ({"signed_data": b"OCMF|{}|{}"}, "cannot be read"),
        ({"signer_key": b"x"}, "cannot be read"),
        ({"signed_by": "DLMS"}, "unknown format"),
    ):
        with pytest.raises(EvidenceError, match=words):
            check_meter_signature(msgspec.structs.replace(reading, **change))
    assert isinstance(reading, records.Meter)
