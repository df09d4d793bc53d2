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
from hashwerk.evidence.verify.weighed import Weighed
from hashwerk.evidence.verify.work_figures import counted_once


class Summary(msgspec.Struct, frozen=True, kw_only=True):
    """What of one bundle is compared with others."""

    site: bytes
    epochs: dict[int, bytes]  # number → hash, those before the period included
    seen: SeenHashes
    weighed: Weighed  # all its shares
    certificates: dict[str, int]  # id → epoch

    @classmethod
    def of(cls, manifest: Manifest, walk: EpochWalk, facts: Facts, seen: SeenHashes, work: Work) -> Summary:
        """Return the summary of a bundle that was read."""
        return cls(
            site=manifest.site,
            epochs={number: hash_ for hash_, number in walk.hashes.items()},
            seen=seen,
            weighed=work.weighed(),
            certificates=dict(facts.certificate_epochs),
        )


class Found(msgspec.Struct):
    """What the others say of one bundle."""

    problems: list[str] = []
    missing: list[str] = []
    chains: list[str] = []
    elsewhere: dict[tuple[int, int], int] = {}  # shares by (work_log2, scale) that count in another bundle


def compare(bundles: Sequence[tuple[str, Report, Summary | None]]) -> list[Report]:
    """Return the reports of several bundles, each with what the others contradict, or count in its stead."""
    found = [Found() for _ in bundles]
    for i, (name, _, one) in enumerate(bundles):
        for j in range(i + 1, len(bundles)):
            other_name, _, other = bundles[j]
            if one is not None and other is not None:
                _compare((found[i], one, name), (found[j], other, other_name))
    return [
        _with_others(report, found[i], summary, len(bundles) - 1)
        for i, (_, report, summary) in enumerate(bundles)
    ]


def _compare(first: tuple[Found, Summary, str], second: tuple[Found, Summary, str]) -> None:
    (here, one, name), (there, other, other_name) = first, second
    numbers = one.epochs.keys() & other.epochs.keys() if one.site == other.site else set()
    same_epochs = {number for number in numbers if one.epochs[number] == other.epochs[number]}
    here.problems += _contradictions(one, other, other_name, same_epochs)
    there.problems += _contradictions(other, one, name, same_epochs)
    both = _shared(one, other, same_epochs)
    if both is None:
        for side in (here, there):
            side.missing.append("too many shares to compare")
        return
    if both.rivals:
        here.problems.append(_rivals(both.rivals, one, other, other_name))
        there.problems.append(_rivals(both.rivals, other, one, name))
    if both.chained:
        shares = counted(both.chained, "share")
        here.chains.append(f"{shares} of a chain with {other_name} (site {other.site.hex()[:16]}…)")
        there.chains.append(f"{shares} of a chain with {name} (site {one.site.hex()[:16]}…)")
    for side, rows in ((here, both.not_first), (there, both.not_second)):
        for key, count in rows.items():
            side.elsewhere[key] = side.elsewhere.get(key, 0) + count


def _rivals(count: int, mine: Summary, other: Summary, name: str) -> str:
    return (
        f"{counted(count, 'share is', 'shares are')} also claimed by {name}, for site {other.site.hex()[:16]}…"
        f" (here {mine.site.hex()[:16]}…)"
    )


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


def _contradictions(mine: Summary, other: Summary, name: str, same_epochs: set[int]) -> list[str]:
    found = []
    if mine.site == other.site:
        found = [
            f"equivocation: {name} holds another epoch {number} of this site, {other.epochs[number].hex()[:16]}…"
            f" instead of {mine.epochs[number].hex()[:16]}…"
            for number in sorted((mine.epochs.keys() & other.epochs.keys()) - same_epochs)
        ]
    certificates = [
        id_
        for id_, epoch in mine.certificates.items()
        if epoch not in same_epochs and id_ in other.certificates
    ]
    if certificates:
        found.append(f"certificate {min(certificates)!r} is also cancelled in {name}")
    return found


class Both(msgspec.Struct):
    """The headers that two bundles hold, outside epochs that are the same in both."""

    rivals: int = 0  # both claim them, and one of them must be wrong
    chained: int = 0  # the one's work for a pool is bound work of the other, the pool
    not_first: dict[tuple[int, int], int] = {}  # of these, by (work_log2, scale): they count in the second
    not_second: dict[tuple[int, int], int] = {}


def _shared(one: Summary, other: Summary, same_epochs: set[int]) -> Both | None:
    """Return which headers both hold; None: not all shares are at hand.

    In a chain of Hashwerks a header is work for a pool in one bundle, and in the pool's is bound to the first as an account.
    It counts once: where it is credited with less, since that bundle holds also the shares that the other asked for none of,
    and where both are credited alike, where it is bound.
    """
    parts, others = one.seen.parts(), other.seen.parts()
    if parts is None or others is None:
        return None
    found = Both()
    without = np.array(sorted(same_epochs), np.uint64)
    for mine, theirs in zip(parts, others, strict=True):
        a, b = (entries[~np.isin(entries["epoch"], without)] for entries in (mine, theirs))
        _, at, there = np.intersect1d(_names(a), _names(b), assume_unique=False, return_indices=True)
        if not len(at):
            continue
        a, b = a[at], b[there]
        is_chain = (a["is_bound"] != b["is_bound"]) & (one.site != other.site)
        found.rivals += int(np.count_nonzero(~is_chain))
        found.chained += int(np.count_nonzero(is_chain))
        first = (a["work_log2"] < b["work_log2"]) | (
            (a["work_log2"] == b["work_log2"]) & (a["is_bound"] == 1)
        )
        _count(found.not_second, b[is_chain & first], other.seen.scales)
        _count(found.not_first, a[is_chain & ~first], one.seen.scales)
    return found


def _names(entries: NDArray[np.void]) -> NDArray[np.void]:
    names = np.empty(len(entries), [("first", "<u8"), ("second", "<u8")])
    names["first"], names["second"] = entries["first"], entries["second"]
    return names


def _count(rows: dict[tuple[int, int], int], entries: NDArray[np.void], scales: Sequence[int]) -> None:
    kinds, counts = np.unique(
        entries["work_log2"].astype(np.int64) << 8 | entries["scale"], return_counts=True
    )
    for kind, count in zip(kinds.tolist(), counts.tolist(), strict=True):
        key = kind >> 8, scales[kind & 0xFF]
        rows[key] = rows.get(key, 0) + count


def _with_others(report: Report, found: Found, summary: Summary | None, others: int) -> Report:
    if not others:
        return report
    checks = Checks()
    for problem in found.problems:
        checks.failed("other bundles", problem)
    for text in found.missing:
        checks.failed("other bundles", text, Verdict.INCOMPLETE)
    chains = "".join(f"; {text}: each counts once" for text in found.chains)
    checks.passed(
        "other bundles",
        Label.PROVEN,
        f"compared with {others}: no share, certificate or number twice{chains}",
    )
    order = [Verdict.VALID, Verdict.INCOMPLETE, Verdict.INVALID]
    worst = max(report.verdict, checks.verdict, key=order.index)
    statement = report.statement
    if found.elsewhere and summary is not None and "work" in statement:
        once = counted_once(statement["work"], summary.weighed, found.elsewhere)
        statement = {**statement, "work": {**statement["work"], "counted_once": once}}
    return msgspec.structs.replace(
        report, verdict=worst, checks=(*report.checks, *checks.results()), statement=statement
    )
