"""What became of a block, against real headers of the main network: both verifiers tell a mature one from a lost one."""

import importlib.util
import io
from datetime import UTC, datetime
from pathlib import Path
from types import ModuleType

import pytest
from cryptography.hazmat.primitives import serialization

from hashwerk.chain.network import NETWORKS
from hashwerk.evidence import records
from hashwerk.evidence.blockchain import Checkpoint
from hashwerk.evidence.bundle import Claim, Stamp, StampKind
from hashwerk.evidence.keys import fingerprint, public_bytes
from hashwerk.evidence.stamps import countersign, stamped_document
from hashwerk.evidence.verify import verify_bundle
from hashwerk.evidence.verify.run import Options
from support.evidence import ALL_CLAIMS, EvidenceSite, seeded_key
from support.timestamping import TestAuthority

PROGRAM = Path(__file__).resolve().parents[3] / "contrib" / "verifier" / "verify_bundle.py"
GENESIS = NETWORKS["main"].genesis
#: The blocks of heights 1, 2 and 3 of the main network, as anybody's node has them.
FIRST = tuple(
    bytes.fromhex(text)
    for text in (
        "010000006fe28c0ab6f1b372c1a6a246ae63f74f931e8365e15a089c68d6190000000000982051fd1e4ba744bbbe680e1fee14677ba1a3c354"
        "0bf7b1cdb606e857233e0e61bc6649ffff001d01e36299",
        "010000004860eb18bf1b1620e37e9490fc8a427514416fd75159ab86688e9a8300000000d5fdcc541e25de1c7a5addedf24858b8bb665c9f36"
        "ef744ee42c316022c90f9bb0bc6649ffff001d08d2bd61",
        "01000000bddd99ccfda39da1b108ce1a5d70038d0a967bacb68b6b63065f626a0000000044f672226090d85db9a9f2fbfe5f0f9609b387af7b"
        "e5b7fbb7a1767c831c9e995dbe6649ffff001d05e0ed6d",
    )
)
HEADERS = GENESIS.serialize() + b"".join(FIRST)
#: The epochs lie between blocks 2 and 3, whose times are a day after genesis' own.
START_US = (int.from_bytes(FIRST[2][68:72], "little") // 3600 + 1) * 3_600_000_000


def load() -> ModuleType:
    spec = importlib.util.spec_from_file_location("verify_bundle_chain", PROGRAM)
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


second = load()


def hash_of(height: int) -> bytes:
    return bytes(second.dsha(FIRST[height - 1]))


def judged(*blocks: records.Block, headers: bytes | None = HEADERS) -> list[tuple[str, set[str]]]:
    """Return verdict and failed checks of both for a mine that logs these blocks, found before its first epoch here."""
    site = EvidenceSite(
        name="river", network="main", private=False, scale=1, nbits=0x1D00FFFF, prev_hash=hash_of(2), height=3,
        start_us=START_US, shares=6, certificates=False,
    ).run(1)  # fmt: skip
    for block in blocks:
        site.epoch([block])
    data = site.bundle(first=1, claims=Claim.ENERGY)
    known = (Checkpoint(0, GENESIS.hash()),)
    report = verify_bundle(io.BytesIO(data), Options(threads=1, headers=headers, checkpoints=known))
    _, other = second.verify(data, headers=headers, trusted={GENESIS.hash(): 0})
    return [
        (str(report.verdict), {check.name for check in report.failures()}),
        (other.verdict(), set(other.failed) | set(other.lacking)),
    ]


def block(height: int, hash_: bytes, state: int) -> records.Block:
    return records.Block(
        hash=hash_,
        height=height,
        found_us=START_US - 600_000_000,
        reward_sat=5_000_000_000,
        job=1,
        state=state,
    )


SUBMITTED, ACCEPTED, REJECTED, MATURE, ORPHANED = range(5)
OTHER = b"\x07" * 32


@pytest.mark.parametrize(
    ("blocks", "verdict"),
    [
        ([block(2, hash_of(2), MATURE)], "valid"),
        ([block(2, hash_of(2), ACCEPTED)], "valid"),
        ([block(1, OTHER, ORPHANED)], "valid"),
        ([block(1, OTHER, REJECTED)], "valid"),
        ([block(1, OTHER, ACCEPTED)], "valid"),
        ([block(1, OTHER, MATURE)], "invalid"),
        ([block(2, hash_of(2), ORPHANED)], "invalid"),
        ([block(2, hash_of(2), REJECTED)], "invalid"),
        ([block(1, hash_of(2), MATURE)], "invalid"),
        ([block(2, hash_of(2), ORPHANED), block(2, hash_of(2), MATURE)], "valid"),
        ([block(1, OTHER, MATURE), block(1, OTHER, ORPHANED)], "valid"),
        ([block(3, OTHER, MATURE)], "valid"),
        ([block(9, OTHER, MATURE)], "valid"),
    ],
    ids=[
        "mature-and-there", "accepted-and-there", "orphaned-and-not-there", "rejected-and-not-there",
        "accepted-and-not-there", "mature-and-not-there", "orphaned-and-there", "rejected-and-there",
        "of-another-height", "the-last-word-counts", "the-last-word-counts-too", "a-rival-of-the-last-block",
        "beyond-the-headers",
    ],
)  # fmt: skip
def test_what_became_of_a_block_is_what_the_chain_says(blocks: list[records.Block], verdict: str) -> None:
    assert judged(*blocks) == [(verdict, {"blocks"} if verdict == "invalid" else set())] * 2


def test_without_headers_it_is_the_operator_s_word() -> None:
    assert judged(block(1, OTHER, MATURE), headers=None) == [("valid", set())] * 2


def test_a_mine_with_headers_and_stamps_is_a_mine_in_both() -> None:
    """Main-network headers, an authority's and a witness's stamps made for the test, every claim: valid, and no simulation."""
    site = EvidenceSite(
        name="river", network="main", private=False, scale=1, nbits=0x1D00FFFF, prev_hash=hash_of(2), height=3,
        start_us=START_US, shares=24,
    ).run(4)  # fmt: skip
    authority, witness = TestAuthority(), seeded_key("witness")
    said = countersign(
        site.id, 2, site.epochs[2].signed.hash(), witness, site.epochs[2].header.end_us + 5_000_000
    )
    at = datetime.fromtimestamp(site.last.header.end_us / 1e6 + 30, UTC)
    stamps = (
        Stamp(epoch=2, kind=StampKind.WITNESS, data=said),
        Stamp(epoch=4, kind=StampKind.RFC3161, data=authority.stamp(stamped_document(site.last.header), at)),
    )
    data = site.bundle(claims=ALL_CLAIMS | Claim.TIME, stamps=stamps)
    name = fingerprint(public_bytes(witness))
    report = verify_bundle(
        io.BytesIO(data),
        Options(
            threads=1, headers=HEADERS, checkpoints=(Checkpoint(0, GENESIS.hash()),), key=site.id.hex(),
            tsa_roots=(authority.root,), witnesses=frozenset({name}),
        ),
    )  # fmt: skip
    bundle, other = second.verify(
        data, headers=HEADERS, trusted={GENESIS.hash(): 0}, pinned=site.id.hex(), witnesses=frozenset({name}),
        roots=[authority.root.public_bytes(serialization.Encoding.DER)],
    )  # fmt: skip
    assert (report.verdict, report.subject) == ("valid", "mine"), report.failures()
    assert (other.verdict(), bundle.subject) == ("valid", "mine"), (dict(other.failed), dict(other.lacking))
    labels = {check.name: check.label for check in report.checks}
    for check in ("chain", "anchor", "pinned key"):
        assert labels[check] == other.done[check] == "proven", check
    for label in (labels["external time"], other.done["external time"]):
        assert label.startswith("attested by")
