"""What several bundles, or a bundle and receipts, say together: what none of them shows alone."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

import msgspec
import numpy as np
from numpy.typing import NDArray

from hashwerk.evidence.bundle import Manifest
from hashwerk.evidence.epoch import Header
from hashwerk.evidence.keys import KeyChain
from hashwerk.evidence.receipt import Receipt, is_genuine
from hashwerk.evidence.verify.epochs import EpochWalk
from hashwerk.evidence.verify.facts import Facts
from hashwerk.evidence.verify.result import Checks, Label, Report, Verdict, counted
from hashwerk.evidence.verify.seen import SeenHashes
from hashwerk.evidence.verify.shares import Work


class Summary(msgspec.Struct, frozen=True, kw_only=True):
    """What of one bundle is compared with others."""

    site: bytes
    epochs: dict[int, bytes]  # number → hash, those before the period included
    entries: NDArray[np.void] | None  # None: too many shares to compare in memory
    certificates: dict[str, int]  # id → epoch

    @classmethod
    def of(cls, manifest: Manifest, walk: EpochWalk, facts: Facts, seen: SeenHashes) -> Summary:
        """Return the summary of a bundle that was read."""
        return cls(
            site=manifest.site,
            epochs={number: hash_ for hash_, number in walk.hashes.items()},
            entries=seen.entries(),
            certificates=dict(facts.certificate_epochs),
        )


def compare(found: Sequence[tuple[str, Report, Summary | None]]) -> list[Report]:
    """Return the reports of several bundles, each with what the others contradict."""
    problems: list[list[str]] = [[] for _ in found]
    missing: list[list[str]] = [[] for _ in found]
    for i, (name, _, one) in enumerate(found):
        for j in range(i + 1, len(found)):
            other_name, _, other = found[j]
            if one is None or other is None:
                continue
            for here, there, away in ((i, other_name, other), (j, name, one)):
                mine = other if here == j else one
                problems[here] += _contradictions(mine, away, there)
            if one.entries is None or other.entries is None:
                for here in (i, j):
                    missing[here].append("too many shares to compare in memory")
    return [
        _with_others(report, problems[i], missing[i], len(found) - 1)
        for i, (_, report, _) in enumerate(found)
    ]


def check_receipts(
    checks: Checks,
    receipts: Sequence[Receipt],
    manifest: Manifest,
    headers: Sequence[Header],
    *,
    keys: KeyChain | None,
    work: Work,
) -> None:
    """Check that what was promised in receipts is there."""
    if not receipts:
        return
    numbers = {header.number for header in headers}
    thinned = {header.number for header in headers if header.full_shares}
    judged = 0
    lacking: Counter[str] = Counter()
    for receipt in receipts:
        body = receipt.body
        where = f"epoch {body.epoch}, position {body.position}"
        if body.site != manifest.site or not is_genuine(receipt) or keys is None or not keys.has(receipt.key):
            lacking["not of this site"] += 1
        elif body.epoch not in numbers:
            if manifest.made_us > body.deadline_us and body.epoch > manifest.last_epoch:
                checks.failed("receipts", f"{where}: the epoch is withheld beyond its deadline")
            else:
                lacking[f"for epoch {body.epoch}, which the bundle does not hold"] += 1
        elif body.epoch in thinned and (body.epoch, body.position) not in work.found:
            lacking[
                f"for shares of epoch {body.epoch} that were left out by thinning: ask for the leaves"
            ] += 1
        elif work.found.get((body.epoch, body.position)) != (body.account, body.leaf):
            checks.failed("receipts", f"{where}: another leaf was signed there than was promised")
        else:
            judged += 1
    for what, count in lacking.items():
        checks.failed("receipts", f"{counted(count, 'receipt')} {what}", Verdict.INCOMPLETE)
    checks.passed("receipts", Label.PROVEN, f"{counted(judged, 'receipt')} kept")


def receipts_of(
    manifests: Sequence[Manifest | None], receipts: Sequence[Receipt]
) -> list[tuple[Receipt, ...]]:
    """Return which receipts are to be held against each of several bundles: those of its epochs, and those of none here.

    Args:
        manifests: Of the bundles; None: it cannot be read.
        receipts: All that are given.
    """

    def is_of(receipt: Receipt, manifest: Manifest | None) -> bool:
        body = receipt.body
        return (
            manifest is not None
            and manifest.site == body.site
            and manifest.first_epoch <= body.epoch <= manifest.last_epoch
        )

    homeless = {id(one) for one in receipts if not any(is_of(one, manifest) for manifest in manifests)}
    return [
        tuple(one for one in receipts if id(one) in homeless or is_of(one, manifest))
        for manifest in manifests
    ]


def _contradictions(mine: Summary, other: Summary, name: str) -> list[str]:
    found = []
    same_epochs: set[int] = set()
    if mine.site == other.site:
        for number in sorted(mine.epochs.keys() & other.epochs.keys()):
            if mine.epochs[number] == other.epochs[number]:
                same_epochs.add(number)
            else:
                found.append(
                    f"equivocation: {name} holds another epoch {number} of this site, {other.epochs[number].hex()[:16]}…"
                    f" instead of {mine.epochs[number].hex()[:16]}…"
                )
    shared = _shared(mine, other, same_epochs)
    if shared:
        found.append(
            f"{counted(shared, 'share is', 'shares are')} also claimed by {name}, for site {other.site.hex()[:16]}…"
            f" (here {mine.site.hex()[:16]}…)"
        )
    certificates = [
        id_
        for id_, epoch in mine.certificates.items()
        if epoch not in same_epochs and id_ in other.certificates
    ]
    if certificates:
        found.append(f"certificate {min(certificates)!r} is also cancelled in {name}")
    return found


def _shared(mine: Summary, other: Summary, same_epochs: set[int]) -> int:
    """Return how many headers both claim, outside epochs that are the same in both."""
    if mine.entries is None or other.entries is None:
        return 0
    own, away = (_pairs(summary.entries, same_epochs) for summary in (mine, other))
    return len(np.intersect1d(own, away))


def _pairs(entries: NDArray[np.void] | None, without: set[int]) -> NDArray[np.void]:
    assert entries is not None
    kept = entries[~np.isin(entries["epoch"], np.array(sorted(without), np.uint64))]
    pairs = np.empty(len(kept), [("first", "<u8"), ("second", "<u8")])
    pairs["first"], pairs["second"] = kept["first"], kept["second"]
    return pairs


def _with_others(report: Report, problems: list[str], missing: list[str], others: int) -> Report:
    if not others:
        return report
    checks = Checks()
    for problem in problems:
        checks.failed("other bundles", problem)
    for text in missing:
        checks.failed("other bundles", text, Verdict.INCOMPLETE)
    checks.passed(
        "other bundles", Label.PROVEN, f"compared with {others}: no share, certificate or number twice"
    )
    order = [Verdict.VALID, Verdict.INCOMPLETE, Verdict.INVALID]
    worst = max(report.verdict, checks.verdict, key=order.index)
    return msgspec.structs.replace(report, verdict=worst, checks=(*report.checks, *checks.results()))
