"""Two verifiers, one text: Hashwerk's own and the small one in contrib/, written from the specification, agree."""

import importlib.util
import io
import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import msgspec
import pytest

from hashwerk.evidence import records
from hashwerk.evidence.bundle import Claim
from hashwerk.evidence.receipt import give_receipts, write_receipts
from hashwerk.evidence.verify import verify_bundle
from hashwerk.evidence.verify.compare import compare
from hashwerk.evidence.verify.run import Options, inspect_bundle
from support.evidence import ALL_CLAIMS, EditedSite, EvidenceSite, once, without
from support.forgeries import Contradiction, Forgery, all_forgeries

ROOT = Path(__file__).resolve().parents[3]
PROGRAM = ROOT / "contrib" / "verifier" / "verify_bundle.py"
VECTORS = ROOT / "docs" / "evidence" / "vectors"
OPTIONS = Options(threads=2)
SITE = EvidenceSite().run(4)
FORGERIES = list(all_forgeries(SITE))


def load() -> ModuleType:
    """Load the one file as it lies, as its reader would."""
    spec = importlib.util.spec_from_file_location("verify_bundle", PROGRAM)
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


second = load()


def vector(name: str) -> list[dict]:
    return json.loads((VECTORS / f"{name}.json").read_text())


def worth(label: str) -> str:
    """Return what a label says, without the names of those who attest."""
    return label.split(" by ", maxsplit=1)[0]


def agreed(data: bytes) -> tuple[str, set[str], set[str]]:
    """Return the verdict of both, and the names of the checks that failed in each."""
    report = verify_bundle(io.BytesIO(data), OPTIONS)
    _, other = second.verify(data)
    assert other.verdict() == str(report.verdict), (
        dict(other.failed),
        dict(other.lacking),
        report.failures(),
    )
    labels = {row["name"]: worth(row["label"]) for row in other.rows() if row["ok"]}
    for check in report.checks:
        if check.ok and check.name in labels:
            assert worth(check.label) == labels[check.name], check.name
    return (
        other.verdict(),
        {check.name for check in report.failures()},
        set(other.failed) | set(other.lacking),
    )


def test_it_needs_nothing_of_hashwerk() -> None:
    """One file, the standard library, and a library for Ed25519."""
    imported = {
        line.split()[1].split(".")[0]
        for line in PROGRAM.read_text().splitlines()
        if line[:5] in ("impor", "from ")
    }
    assert imported - set(sys.stdlib_module_names) == {"cryptography"}


def test_both_find_the_good_bundle_valid() -> None:
    assert agreed(SITE.bundle()) == ("valid", set(), set())
    bundle, _ = second.verify(SITE.bundle())
    assert bundle.subject == "simulation"


def test_both_read_a_part_of_the_history() -> None:
    """Declarations in force, a preamble that jobs name, and at last a payout whose window begins before the bundle."""
    found = [agreed(SITE.bundle(first=first)) for first in range(1, 5)]
    assert all(ours == theirs for _, ours, theirs in found), found
    assert {verdict for verdict, _, _ in found} == {"valid", "incomplete"}


def test_the_program_on_the_published_bundle() -> None:
    said = vector("bundle")
    run = subprocess.run(
        [sys.executable, str(PROGRAM), "--json", str(VECTORS / said["file"])],
        capture_output=True,
        check=False,
        timeout=30,
    )
    result = json.loads(run.stdout)
    assert (run.returncode, result["verdict"], result["subject"]) == (0, said["verdict"], said["subject"])
    for name in ("site", "shares", "hashes", "import_wh", "payout_sat"):
        assert result["statement"][name] == said[name], name


@pytest.mark.parametrize("forgery", FORGERIES, ids=lambda forgery: forgery.name)
def test_both_refuse_it_for_the_same_reason(forgery: Forgery | Contradiction) -> None:
    if isinstance(forgery, Contradiction):
        ours = [inspect_bundle(io.BytesIO(data), OPTIONS) for data in (forgery.first, forgery.second)]
        reports = compare([(str(i), one.report, one.summary) for i, one in enumerate(ours)])
        theirs = [second.verify(data) for data in (forgery.first, forgery.second)]
        assert [report.verdict() for _, report in theirs] == ["valid", "valid"]
        for (mine, report), (other, _), first in zip(theirs, theirs[::-1], reports, strict=True):
            second.compare(mine, other, report)
            assert report.verdict() == str(first.verdict) == "invalid"
            assert {check.name for check in first.failures()} == set(report.failed) == {"other bundles"}
        return
    verdict, ours, theirs = agreed(forgery.data)
    assert verdict == "invalid"
    assert forgery.check in ours & theirs


def test_the_vectors_of_trees_keys_and_remainders() -> None:
    for case in vector("trees"):
        nodes = [(bytes.fromhex(leaf["hash"]), (1 << leaf["work_log2"],), 1) for leaf in case["leaves"]]
        root, sums, count = second.merkle(2, nodes, (16,))
        assert (root.hex(), sums, count) == (case["root"], (case["work"],), case["count"])
    for case in vector("keys"):
        event = second.whole(second.KEY_EVENT, bytes.fromhex(case["event"]))
        assert second.hashed(9, event.raw[:-128]).hex() == case["hash"]
        assert second.fingerprint(event.key).hex() == case["fingerprint"]
    for case in vector("payouts"):
        parts = second.shared(
            case["amount"], {bytes.fromhex(a): weight for a, weight in case["weights"].items()}
        )
        assert {account.hex(): satoshi for account, satoshi in parts.items()} == case["shared"]


def test_the_vectors_of_records_and_shares() -> None:
    for case in vector("records"):
        found = second.record(bytes.fromhex(case["record"]))
        assert (found.leaf_hash.hex(), list(second.record_sums(found))) == (case["hash"], case["sums"])
    case = vector("shares")
    job = second.record(bytes.fromhex(case["job"]))
    shares = second.chunk(bytes.fromhex(case["chunk"]))
    for share, said in zip(shares, case["shares"], strict=True):
        assert list(share) == list(said["fields"].values())
        assert second.sha(second.LEAF.pack(0, *share)).hex() == said["leaf_hash"]
        assert second.header_hash(job, share, {}).hex() == said["header_hash"]


def test_the_vectors_of_receipts() -> None:
    """Held against the bundle of the vectors; one that nobody signed says nothing."""
    receipts = [bytes.fromhex(case["receipt"]) for case in vector("receipts")]
    for forged in (False, True):
        if forged:
            receipts[0] = receipts[0][:76] + bytes([receipts[0][76] ^ 1]) + receipts[0][77:]
        data = b"HASHWERK-RECEIPTS\x00\x00\x01" + b"".join(len(r).to_bytes(4, "big") + r for r in receipts)
        bundle, report = second.verify((VECTORS / "bundle.hwe").read_bytes())
        second.check_receipts(bundle, report, data)
        assert report.verdict() == ("incomplete" if forged else "valid"), report.failed


def test_both_judge_receipts_alike() -> None:
    """Kept, broken, withheld, of another site: the same word of both."""
    group = SITE.epochs[2].groups[0]
    leaves = group.leaves[:1].copy()
    other = leaves.copy()
    other["nonce"] += 1
    for site, epoch, given, deadline, verdict in (
        (SITE.id, 2, leaves, 0, "valid"),
        (SITE.id, 2, other, 0, "invalid"),
        (SITE.id, 9, leaves, 0, "invalid"),
        (SITE.id, 9, leaves, 2**63, "incomplete"),
        (bytes(32), 2, leaves, 0, "incomplete"),
    ):
        receipts = give_receipts(
            SITE.key, site=site, epoch=epoch, accounts=[group.account], leaves=given, deadline_us=deadline
        )
        report = verify_bundle(io.BytesIO(SITE.bundle()), Options(receipts=tuple(receipts), threads=1))
        bundle, theirs = second.verify(SITE.bundle())
        second.check_receipts(bundle, theirs, write_receipts(receipts))
        assert (str(report.verdict), theirs.verdict()) == (verdict, verdict)


def test_a_receipt_for_a_share_that_thinning_left_out_says_nothing() -> None:
    site = EvidenceSite(name="thinned", thinning=6).run(2)
    group = site.epochs[2].groups[0]
    held = {int(position) for g in site.epochs[2].groups for position in g.leaves["position"]}
    leaves = group.leaves[:1].copy()
    leaves["position"] = next(number for number in range(60) if number not in held)
    for given, verdict in ((leaves, "incomplete"), (group.leaves[:1], "valid")):
        receipts = give_receipts(
            site.key, site=site.id, epoch=2, accounts=[group.account], leaves=given, deadline_us=0
        )
        report = verify_bundle(io.BytesIO(site.bundle()), Options(receipts=tuple(receipts), threads=1))
        bundle, theirs = second.verify(site.bundle())
        second.check_receipts(bundle, theirs, write_receipts(receipts))
        assert (str(report.verdict), theirs.verdict()) == (verdict, verdict)


def exchanged(value: str) -> Callable[[int, list[records.Record]], list[records.Record]]:
    """From epoch 3 on the meter has another serial, which epoch 1 declares."""

    def edit(number: int, logged: list[records.Record]) -> list[records.Record]:
        after = [
            msgspec.structs.replace(found, serial="EM-2")
            if isinstance(found, records.Meter) and number >= 3
            else found
            for found in logged
        ]
        return after + [records.Configuration(name="meter/main", value=value)] * (number == 1)

    return edit


@pytest.mark.parametrize(
    ("edit", "verdict"),
    [
        (exchanged("EM-2"), "valid"),
        (exchanged("EM-3"), "invalid"),
        (without(records.Meter), "incomplete"),
        (without(records.Payout), "valid"),
        (without(records.PayoutRule), "incomplete"),
        (without(records.Block), "invalid"),
        (once(2, records.Scale(factor=10**15, basis="the same in other words")), "valid"),
        (once(2, records.Site(name="edited", network="signet", private=1)), "invalid"),
        (once(2, records.AttributionRule(rule="pro rata", parameters="by metered load")), "invalid"),
    ],
)  # fmt: skip
def test_both_agree_where_the_text_was_silent(
    edit: Callable[[int, list[records.Record]], list[records.Record]], verdict: str
) -> None:
    found, ours, theirs = agreed(EditedSite(edit).run(4).bundle())
    assert (found, ours) == (verdict, theirs)


@pytest.mark.parametrize(
    ("options", "claims", "verdict"),
    [
        ({"certificates": False}, ALL_CLAIMS, "valid"),
        ({"anchored": False}, ALL_CLAIMS, "invalid"),
        ({}, ALL_CLAIMS | Claim.TIME, "incomplete"),
        ({"wh": 2_450}, ALL_CLAIMS, "invalid"),  # enough for every interval alone, too little for all together
        ({"height": 1}, ALL_CLAIMS, "valid"),
        ({"height": 16}, ALL_CLAIMS, "valid"),
        ({"height": 128}, ALL_CLAIMS, "valid"),
    ],
)  # fmt: skip
def test_both_agree_on_claims_bounds_and_heights(
    options: dict[str, object], claims: Claim, verdict: str
) -> None:
    found, ours, theirs = agreed(EvidenceSite(name="other", **options).run(4).bundle(claims=claims))
    assert (found, ours) == (verdict, theirs)
