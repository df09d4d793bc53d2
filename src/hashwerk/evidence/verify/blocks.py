"""Checks of records of found blocks: each is a share of this bundle, with the height, job and reward it is said to have."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from hashwerk.evidence.blockchain import HeaderChain
from hashwerk.evidence.epoch import TIME_SLACK_US, Header
from hashwerk.evidence.records import Block
from hashwerk.evidence.verify.block_shares import BlockShare
from hashwerk.evidence.verify.facts import Facts
from hashwerk.evidence.verify.result import Checks, Label, counted

SUBMITTED, ACCEPTED, REJECTED, MATURE, ORPHANED = range(5)
STATES: Final = ("submitted", "accepted", "rejected", "mature", "orphaned")


def check_blocks(
    checks: Checks,
    facts: Facts,
    shares: dict[bytes, BlockShare],
    headers: Sequence[Header],
    chain: HeaderChain | None,
    *,
    thinned: bool,
) -> None:
    """Check all records of blocks.

    Args:
        checks: Where failures go.
        facts: With the records.
        shares: The shares that they are, by hash.
        headers: Of the period.
        chain: The checked chain.
        thinned: Shares were left out in some epoch, and on an easy chain a block can be among them.
    """
    first, last = headers[0].start_us + TIME_SLACK_US, headers[-1].end_us - TIME_SLACK_US
    for hash_, logged in facts.blocks.items():
        share = shares.get(hash_)
        for number, block in logged:
            where = f"epoch {number}: block {hash_[::-1].hex()[:24]}…"
            if block.state >= len(STATES):
                checks.failed("blocks", f"{where} is in unknown state {block.state}")
            if share is not None:
                _compare(checks, where, block, share)
            elif first <= block.found_us < last and not thinned:
                checks.failed("blocks", f"{where} is no share of this bundle, which covers its time")
        _compare_chain(checks, logged[-1], chain)
    if facts.blocks:
        here = sum(hash_ in shares for hash_ in facts.blocks)
        text = (
            f"{counted(len(facts.blocks), 'block')}, of which {here:,} {'is a share' if here == 1 else 'are shares'} of this"
            " bundle, with the height, job and reward that is named"
        )
        checks.passed("blocks", Label.PROVEN if here else Label.ASSERTED, text)


def _compare(checks: Checks, where: str, block: Block, share: BlockShare) -> None:
    job = share.job
    if (block.height, block.reward_sat, block.job) != (job.height, job.coinbase_value_sat, job.id):
        checks.failed(
            "blocks",
            f"{where} is named with height {block.height}, {block.reward_sat} sat and job {block.job};"
            f" its share says {job.height}, {job.coinbase_value_sat} sat and {job.id}",
        )
    if abs(block.found_us - share.time_us) > TIME_SLACK_US:
        checks.failed("blocks", f"{where} is said to be found at another time than its share")


def _compare_chain(checks: Checks, logged: tuple[int, Block], chain: HeaderChain | None) -> None:
    """Check what became of a block against a chain that covers its height; a rival of the chain's last may have won."""
    number, block = logged
    if chain is None:
        return
    where = f"epoch {number}: block {block.hash[::-1].hex()[:24]}…"
    height = chain.height_of(block.hash)
    if height is None:
        if block.state == MATURE and chain.first <= block.height < chain.last:
            checks.failed("blocks", f"{where} is called mature, and the chain holds another at its height")
    elif height != block.height:
        checks.failed("blocks", f"{where} is named with height {block.height}, in the chain it has {height}")
    elif block.state in (REJECTED, ORPHANED) and height < chain.last:
        checks.failed("blocks", f"{where} is called {STATES[block.state]}, and the chain holds it")
