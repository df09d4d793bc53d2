"""Write the specification's vectors and its page of records: ``python tests/vectors/evidence/write_vectors.py``."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import msgspec
import numpy as np

ROOT = Path(__file__).resolve().parents[3]
DOCS = ROOT / "docs" / "evidence"
sys.path.insert(0, str(ROOT / "tests"))

from hashwerk.evidence import keys, share_tree, tree  # noqa: E402 - the path is set above
from hashwerk.evidence.columns import encode_chunk  # noqa: E402
from hashwerk.evidence.epoch import EPOCH, HEADER, SIGNED_HEADER, credited_work  # noqa: E402
from hashwerk.evidence.job_record import expected_tag  # noqa: E402
from hashwerk.evidence.leaf import describe_kinds, encode_record, record_hash, record_sums  # noqa: E402
from hashwerk.evidence.openings import draw, open_draw  # noqa: E402
from hashwerk.evidence.payout import apportion  # noqa: E402
from hashwerk.evidence.proof import EpochProver  # noqa: E402
from hashwerk.evidence.proof_file import check_proof, openings_of, write_proof  # noqa: E402
from hashwerk.evidence.receipt import RECEIPT_LAYOUT, give_receipts, receipt_hash  # noqa: E402
from hashwerk.evidence.records import AccountScale, Job  # noqa: E402
from hashwerk.evidence.rehash import JobTable  # noqa: E402
from hashwerk.evidence.share_leaf import LEAF_DTYPE, leaf_hashes, pack_leaves  # noqa: E402
from hashwerk.evidence.tag import job_tag_preimage  # noqa: E402
from support.evidence import ACCOUNTS, EvidenceSite, decoded  # noqa: E402


def vectors() -> dict[str, Any]:
    """Return all vectors by the name of their file."""
    site = vector_site()
    return {
        "records.json": records_of(site),
        "shares.json": shares_of(site),
        "trees.json": trees(),
        "keys.json": keys_of(site),
        "epochs.json": epochs_of(site),
        "payouts.json": payouts(),
        "receipts.json": receipts_of(site),
        "proofs.json": proofs_of(site),
        "bundle.json": bundle_of(site),
    }


def vector_site() -> EvidenceSite:
    """Return the site of the vectors."""
    own = AccountScale(account=ACCOUNTS[1], factor=5 * 10**14, basis="a smaller model")
    return EvidenceSite(name="vectors", shares=12, account_scales=(own,)).run(4)


def bundle_bytes() -> bytes:
    """Return the bundle of the vectors."""
    return vector_site().bundle()


def records_of(site: EvidenceSite) -> list[dict[str, Any]]:
    """Return one record of each kind that the site logs."""
    found: dict[int, dict[str, Any]] = {}
    for epoch in site.epochs:
        for record in decoded(epoch):
            data = encode_record(record)
            found.setdefault(
                record.NUMBER,
                {
                    "kind": record.NUMBER,
                    "name": type(record).__name__,
                    "fields": plain(msgspec.structs.asdict(record)),
                    "record": data.hex(),
                    "hash": record_hash(data).hex(),
                    "sums": record_sums(record),
                },
            )
    return [found[number] for number in sorted(found)]


def shares_of(site: EvidenceSite) -> dict[str, Any]:
    """Return shares with their leaves and headers, and a chunk."""
    epoch = site.epochs[1]
    group = epoch.groups[0]
    jobs = [record for record in decoded(epoch) if isinstance(record, Job)]
    table = JobTable(jobs, credited_work(jobs, site.standings[1]))
    hashed = table.hash(group.leaves)
    job = next(record for record in jobs if record.account == group.account)
    rows = []
    for index in range(3):
        leaf = group.leaves[index]
        rows.append(
            {
                "fields": {name: int(leaf[name]) for name in LEAF_DTYPE.names or ()},
                "leaf": pack_leaves(group.leaves[index : index + 1]).tobytes().hex(),
                "leaf_hash": leaf_hashes(group.leaves[index : index + 1]).tobytes().hex(),
                "header_hash": bytes(hashed.hashes[index]).hex(),
            }
        )
    return {
        "job": encode_record(job).hex(),
        "tag_preimage": job_tag_preimage(job.site_key, job.epoch_root, job.account, job.work_log2).hex(),
        "tag": expected_tag(job).hex(),
        "account": group.account.hex(),
        "shares": rows,
        "chunk": encode_chunk(group.leaves[:3]).hex(),
    }


def trees() -> list[dict[str, Any]]:
    """Return roots and paths of small trees of shares."""
    found = []
    for count in (0, 1, 2, 3, 5, 8):
        hashes = np.arange(count * 32, dtype=np.uint8).reshape(count, 32)
        works = np.arange(count, dtype=np.uint8) + 30
        level = share_tree.leaf_level(hashes, works)
        root = share_tree.root_of(level)
        entry = {
            "leaves": [
                {"hash": bytes(h).hex(), "work_log2": int(w)} for h, w in zip(hashes, works, strict=True)
            ],
            "root": root.hash.hex(),
            "work": root.sums[0],
            "count": root.count,
        }
        if count:
            path = share_tree.path_of(share_tree.all_levels(level), count - 1)
            entry["path_of_last"] = [
                {"left": s.left, "hash": s.node.hash.hex(), "work": s.node.sums[0], "count": s.node.count}
                for s in path
            ]
            account = share_tree.account_leaf(ACCOUNTS[0], root)
            entry["account_leaf"] = {"account": ACCOUNTS[0].hex(), "hash": account.hash.hex()}
        found.append(entry)
    assert tree.empty(tree.SHARES).hash == bytes(32)
    return found


def keys_of(site: EvidenceSite) -> list[dict[str, Any]]:
    """Return a genesis, a rotation and a revocation."""
    first = site.key_events[0]
    third = EvidenceSite(name="third").key
    second = keys.rotate(
        first, site.key, site.next_key, keys.public_bytes(third), from_epoch=5, now_us=site.start_us + 10
    )
    last = keys.revoke(
        second, site.recovery, third, keys.public_bytes(site.key), from_epoch=9, now_us=site.start_us + 20
    )
    return [
        {
            "fields": plain(msgspec.structs.asdict(event.body)),
            "event": keys.EVENT.encode(event).hex(),
            "hash": keys.event_hash(event.body).hex(),
            "fingerprint": keys.fingerprint(event.body.key),
        }
        for event in (first, second, last)
    ]


def epochs_of(site: EvidenceSite) -> list[dict[str, Any]]:
    """Return headers with their hashes and the declarations in force."""
    return [
        {
            "fields": plain(msgspec.structs.asdict(epoch.header)),
            "signed_header": SIGNED_HEADER.encode(epoch.signed).hex(),
            "stamped_document": (EPOCH + HEADER.encode(epoch.header)).hex(),
            "hash": epoch.signed.hash().hex(),
            "standing": [encode_record(record).hex() for record in standing.records],
        }
        for epoch, standing in zip(site.epochs, site.standings, strict=False)
    ]


def payouts() -> list[dict[str, Any]]:
    """Return amounts shared by weights."""
    cases = [
        (100, (1, 1, 1)),
        (10, (5, 3, 2)),
        (312_500_123, (1600, 960, 1280)),
        (2, (1, 1, 1)),
        (0, (1, 2, 3)),
    ]
    return [
        {
            "amount": amount,
            "weights": {a.hex(): w for a, w in zip(ACCOUNTS, weights, strict=True)},
            "shared": {
                a.hex(): s for a, s in apportion(amount, dict(zip(ACCOUNTS, weights, strict=True))).items()
            },
        }
        for amount, weights in cases
    ]


def receipts_of(site: EvidenceSite) -> list[dict[str, Any]]:
    """Return a batch of receipts."""
    group = site.epochs[2].groups[0]
    given = give_receipts(
        site.key,
        site=site.id,
        epoch=2,
        accounts=[group.account] * 3,
        leaves=group.leaves[:3],
        deadline_us=10**15,
    )
    return [
        {"receipt": RECEIPT_LAYOUT.encode(receipt).hex(), "hash": receipt_hash(receipt.body).hex()}
        for receipt in given
    ]


def proofs_of(site: EvidenceSite) -> list[dict[str, Any]]:
    """Return a file of each kind of proof, and what it shows."""
    epoch = site.epochs[2]
    group, randomness = epoch.groups[1], bytes(range(32))
    prover = EpochProver(epoch, site.standings[2])
    drawn = draw(epoch.signed, randomness, 4)
    files = (
        write_proof(prover.account(group.account)),
        write_proof(prover.share(group.account, int(group.leaves["position"][1]))),
        write_proof(openings_of(epoch.signed, randomness, 4, open_draw(drawn, epoch, prover))),
    )
    return [
        {
            "file": data.hex(),
            "epoch_hash": epoch.signed.hash().hex(),
            "randomness": randomness.hex() if number == len(files) - 1 else None,
            "shows": check_proof(data).figures,
        }
        for number, data in enumerate(files)
    ]


def bundle_of(site: EvidenceSite) -> dict[str, Any]:
    """Return what a verifier says of the bundle beside it."""
    return {
        "file": "bundle.hwe",
        "verdict": "valid",
        "subject": "simulation",
        "site": site.id.hex(),
        "shares": sum(epoch.header.shares for epoch in site.epochs),
        "hashes": sum(epoch.header.work for epoch in site.epochs),
        "import_wh": sum(epoch.header.import_wh for epoch in site.epochs),
        "payout_sat": sum(epoch.header.payout_sat for epoch in site.epochs),
    }


def plain(value: Any) -> Any:
    """Return bytes as hexadecimal, structs and tuples as JSON has them."""
    if isinstance(value, bytes):
        return value.hex()
    if isinstance(value, dict):
        return {key: plain(inner) for key, inner in value.items()}
    if isinstance(value, tuple | list):
        return [plain(inner) for inner in value]
    if isinstance(value, msgspec.Struct):
        return plain(msgspec.structs.asdict(value))
    return value


def records_page() -> str:
    """Return the page of all kinds of records."""
    lines = [
        "# Records",
        "",
        "All kinds of records, as the code writes them; how each type is spelled is in the",
        "[specification](specification.md). A kind's number and fields never change.",
        "",
    ]
    for number, name, meaning, fields in describe_kinds():
        lines += [f"## {number} `{name}`", "", meaning, "", "| field | type |", "|---|---|"]
        lines += [f"| `{field}` | {kind} |" for field, kind in fields]
        lines.append("")
    return "\n".join(lines)


def main() -> None:
    """Write everything."""
    folder = DOCS / "vectors"
    folder.mkdir(parents=True, exist_ok=True)
    for name, content in vectors().items():
        (folder / name).write_text(as_text(content))
    (folder / "bundle.hwe").write_bytes(bundle_bytes())
    (DOCS / "records.md").write_text(records_page())


def as_text(content: Any) -> str:
    """Return vectors as they stand in their file."""
    return json.dumps(content, indent=1) + "\n"


if __name__ == "__main__":
    main()
