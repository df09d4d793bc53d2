"""Checks of time: what block headers and stamps say, and how wide the gap between the bounds is."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

import msgspec

from hashwerk.chain.header import hash_to_hex
from hashwerk.errors import EvidenceError
from hashwerk.evidence.blockchain import HEADER_SLACK_S, HeaderChain
from hashwerk.evidence.bundle import Stamp
from hashwerk.evidence.epoch import Header, header_hash
from hashwerk.evidence.stamps import External, Trust, UntrustedStampError, check_stamp
from hashwerk.evidence.verify.block_shares import BlockShares
from hashwerk.evidence.verify.facts import Facts
from hashwerk.evidence.verify.result import Checks, Label, Verdict, attested_by, counted

#: A stamp made so long before its epoch's end contradicts it: clocks differ.
STAMP_SLACK_US: Final = 60_000_000


class Bounds(msgspec.Struct, frozen=True, kw_only=True):
    """Between which times an epoch's work was done, by others than the operator; None: nobody says."""

    epoch: int
    after_us: int | None
    before_us: int | None
    by: str | None


def check_chain(
    checks: Checks, facts: Facts, chain: HeaderChain | None, *, private: bool
) -> tuple[dict[int, int], dict[int, int]]:
    """Check that jobs build on the given chain.

    Returns:
        For each epoch, in microseconds, the times before which none and not all of its work can have been done: those
        of the earliest and of the latest block that its jobs build on.
    """
    if private:
        checks.passed("chain", Label.ASSERTED, "a private chain: it gives neither time nor anchor")
        return {}, {}
    if chain is None:
        checks.passed(
            "chain", Label.ASSERTED, "no block headers were given: that jobs build on the chain is not shown"
        )
        return {}, {}
    after: dict[int, int] = {}
    latest: dict[int, int] = {}
    unknown = 0
    for prev_hash, (height, epoch) in facts.prev_hashes.items():
        found = chain.height_of(prev_hash)
        if found is None:
            if chain.first < height <= chain.last:
                unknown += 1  # a block that lost the race, or one that never was
            else:
                checks.failed("chain", f"the headers do not reach height {height - 1}", Verdict.INCOMPLETE)
            continue
        header = chain.at(found)
        if found != height - 1 or header is None:
            checks.failed("chain", f"epoch {epoch}: a job of height {height} builds on block {found}")
            continue
        bound = (header.time - HEADER_SLACK_S) * 1_000_000
        after[epoch] = min(after.get(epoch, bound), bound)
        latest[epoch] = max(latest.get(epoch, bound), bound)
    if unknown * 20 > len(facts.prev_hashes):
        example = next(hash_ for hash_ in facts.prev_hashes if chain.height_of(hash_) is None)
        blocks = counted(unknown, "block that jobs build on is", "blocks that jobs build on are")
        checks.failed("chain", f"{blocks} not in the chain, such as {hash_to_hex(example)}")
    checks.passed(
        "chain",
        Label.PROVEN,
        f"jobs build on {counted(len(facts.prev_hashes) - unknown, 'block')} of the chain",
    )
    return after, latest


def check_lower_bounds(checks: Checks, headers: Sequence[Header], latest: dict[int, int]) -> None:
    """Check that no epoch ends before a block its jobs build on existed."""
    for header in headers:
        bound = latest.get(header.number)
        if bound is not None and header.end_us < bound:
            checks.failed(
                "time bounds", f"epoch {header.number} ends before the block that its jobs build on was made"
            )


def check_stamps(
    checks: Checks, stamps: Sequence[Stamp], headers: dict[int, Header], trust: Trust
) -> tuple[list[External], list[str]]:
    """Check stamps.

    Returns:
        The times they show, and of those that show nothing why.
    """
    found: list[External] = []
    doubts: list[str] = []
    for stamp in stamps:
        header = headers.get(stamp.epoch)
        if header is None:
            checks.failed(
                "external time", f"a stamp names epoch {stamp.epoch}, which the bundle does not hold"
            )
            continue
        try:
            external = check_stamp(stamp, header, header_hash(header), trust)
        except UntrustedStampError as error:
            doubts.append(f"epoch {stamp.epoch}: {error}")
            continue
        except EvidenceError as error:
            checks.failed("external time", f"epoch {stamp.epoch}: {error}")
            continue
        if external.at_us + STAMP_SLACK_US < header.end_us and "Bitcoin" not in external.by:
            checks.failed(
                "external time", f"epoch {stamp.epoch} was stamped before it ended, by {external.by}"
            )
        found.append(external)
    return found, doubts


def anchors(
    shares: BlockShares, roots: Mapping[tuple[int, int], int], chain: HeaderChain | None
) -> list[External]:
    """Return what blocks of our own in the chain show: their coinbase names an epoch that was closed before them.

    Args:
        shares: That were blocks.
        roots: Epoch and job → the epoch whose root its coinbase carries.
        chain: The chain.
    """
    if chain is None:
        return []
    found = []
    for share in shares.among(chain.hashes()).values():
        root = roots.get((share.epoch, share.job.id))
        height = chain.height_of(share.hash)
        header = None if height is None else chain.at(height)
        if root is None or header is None:
            continue
        at_us = (header.time + HEADER_SLACK_S) * 1_000_000
        found.append(External(epoch=root, at_us=at_us, by=f"our own block {height}"))
    return found


def bounds(headers: Sequence[Header], after: dict[int, int], externals: Sequence[External]) -> list[Bounds]:
    """Return the bounds of each epoch: a time shown for a later epoch holds for every earlier one."""
    found = []
    for header in headers:
        later = [external for external in externals if external.epoch >= header.number]
        first = min(later, key=lambda external: external.at_us, default=None)
        found.append(
            Bounds(
                epoch=header.number,
                after_us=after.get(header.number),
                before_us=None if first is None else first.at_us,
                by=None if first is None else first.by,
            )
        )
    return found


def _from(without: Sequence[int]) -> str:
    if len(without) == 1:
        return f"epoch {without[0]} has none"
    return f"{len(without)} epochs from {without[0]} on have none"


def conclude_time(checks: Checks, found: Sequence[Bounds], doubts: Sequence[str], *, asked: bool) -> None:
    """Say what external time there is; ``doubts`` is why stamps show none."""
    without = [bound.epoch for bound in found if bound.before_us is None and bound.epoch]
    if asked and without:
        checks.failed(
            "external time",
            "; ".join([f"{_from(without)}: their hourly matching is not shown", *doubts[:5]]),
            Verdict.INCOMPLETE,
        )
    whom = sorted({bound.by for bound in found if bound.by is not None})
    if whom:
        checks.passed(
            "external time", attested_by(", ".join(whom[:5])), counted(len(found) - len(without), "epoch")
        )
    elif not asked:
        checks.passed("external time", Label.ASSERTED, "no external time is claimed, and none is shown")
    else:
        checks.passed("external time", Label.ASSERTED, "no external time")
