"""Checks of payouts: the sums, and that the declared rule gives exactly them."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from hashwerk.chain.target import target_from_compact, work_from_target
from hashwerk.errors import EvidenceError
from hashwerk.evidence.payout import (
    BlockPayout,
    FoundBlock,
    IncompleteWindowError,
    Scheme,
    ShareOrder,
    fpps,
    share_out,
)
from hashwerk.evidence.records import UNBOUND, Job, Payout, PayoutRule
from hashwerk.evidence.verify.facts import Facts
from hashwerk.evidence.verify.result import Checks, Label, Verdict
from hashwerk.evidence.verify.shares import Work

_STATES = ("pending", "mature", "reversed")
#: States of a block record that were refused by the chain, then or later.
_REFUSED = frozenset({2, 4})
_MATURE = 3


class OrderBuilder:
    """Brings the shares of an epoch, which stand by account, back into the order in which they came."""

    def __init__(self, *, keep: bool) -> None:
        self.keep = keep
        self._accounts: dict[bytes, int] = {}
        self._account: list[np.ndarray[tuple[int], np.dtype[np.uint32]]] = []
        self._work: list[np.ndarray[tuple[int], np.dtype[np.uint8]]] = []
        self._offsets: dict[int, int] = {}
        self._count = 0
        self.value: dict[tuple[bytes, int, int], int] = {}
        self.blocks: list[FoundBlock] = []

    def add(
        self, number: int, order: Sequence[tuple[bytes, object, object, object]], jobs: Sequence[Job]
    ) -> None:
        """Take the shares of an epoch: (account, positions, work, jobs) for each chunk."""
        count = sum(len(np.asarray(part[1])) for part in order)
        account = np.zeros(count, np.uint32)
        work = np.zeros(count, np.uint8)
        by_id = {job.id: job for job in jobs}
        for name, positions_, work_, jobs_ in order:
            positions = np.asarray(positions_)
            index = self._accounts.setdefault(name, len(self._accounts))
            inside = positions < count
            account[positions[inside]] = index
            work[positions[inside]] = np.asarray(work_)[inside]
            self._add_value(name, np.asarray(work_), np.asarray(jobs_), by_id)
        self._offsets[number] = self._count
        self._count += count
        if self.keep:
            self._account.append(account)
            self._work.append(work)

    def _add_value(self, account: bytes, work: object, jobs: object, by_id: dict[int, Job]) -> None:
        keys = np.asarray(jobs).astype(np.int64) << 8 | np.asarray(work)
        unique, counts = np.unique(keys, return_counts=True)
        for key, count in zip(unique.tolist(), counts.tolist(), strict=True):
            job = by_id.get(key >> 8)
            if job is None:
                continue
            name = account, job.coinbase_value_sat, work_from_target(target_from_compact(job.nbits))
            self.value[name] = self.value.get(name, 0) + (count << (key & 0xFF))

    def index(self, number: int, position: int) -> int:
        """Return where a share stands among all."""
        return self._offsets[number] + position

    def order(self, *, from_beginning: bool) -> ShareOrder:
        """Return all shares in their order."""
        return ShareOrder(
            tuple(self._accounts),
            np.concatenate(self._account) if self._account else np.empty(0, np.uint32),
            np.concatenate(self._work) if self._work else np.empty(0, np.uint8),
            from_beginning,
        )


def found_blocks(
    work: Work, facts: Facts, jobs: dict[int, tuple[int, int, int]], order: OrderBuilder
) -> list[FoundBlock]:
    """Return our blocks in the order in which they were found.

    Args:
        work: With the shares that meet the network's target.
        facts: With what became of them.
        jobs: Job → (height, coinbase value, expected hashes).
        order: Where shares stand.
    """
    found = []
    for block in work.blocks:
        record = facts.blocks.get(block.hash)
        if record is None or block.account == UNBOUND:
            continue
        height, value_sat, network_work = jobs[block.job]
        state = "reversed" if record.state in _REFUSED else "mature" if record.state == _MATURE else "pending"
        index = order.index(block.epoch, block.position)
        found.append(FoundBlock(block.hash, height, index, value_sat, network_work, state))
    return sorted(found, key=lambda block: block.at)


def check_payouts(
    checks: Checks,
    facts: Facts,
    rules: dict[int, PayoutRule],
    blocks: Sequence[FoundBlock],
    *,
    order: ShareOrder,
    value: dict[tuple[bytes, int, int], int],
) -> None:
    """Check every logged payout."""
    for number, payout in facts.payouts:
        rule = rules.get(number)
        where = f"epoch {number}: the payout of block {payout.height}"
        total = sum(entry.sat for entry in payout.entries)
        accounts = [entry.account for entry in payout.entries]
        if accounts != sorted(set(accounts)):
            checks.failed("payouts", f"{where}: accounts are not in their order")
        if payout.state >= len(_STATES):
            checks.failed("payouts", f"{where}: unknown state {payout.state}")
        if payout.state != 2 and total + payout.fee_sat != payout.reward_sat:
            checks.failed(
                "payouts",
                f"{where} gives {total} sat and a fee of {payout.fee_sat}, the reward is {payout.reward_sat}",
            )
        if rule is None:
            checks.failed("payouts", f"{where}: no rule was declared before", Verdict.INCOMPLETE)
            continue
        try:
            expected = _expected(rule, payout, blocks, order, value)
        except IncompleteWindowError as error:
            checks.failed("payouts", f"{where}: {error}", Verdict.INCOMPLETE)
            continue
        except EvidenceError as error:
            checks.failed("payouts", f"{where}: {error}")
            continue
        given = {entry.account: entry.sat for entry in payout.entries}
        if given != expected.entries or payout.fee_sat != expected.fee_sat:
            wrong = next(
                (a for a in {*given, *expected.entries} if given.get(a) != expected.entries.get(a)), b""
            )
            checks.failed(
                "payouts",
                f"{where} is not by the declared rule {rule.scheme!r}: account {wrong.hex()[:16]}… was given"
                f" {given.get(wrong, 0)} sat, the rule gives {expected.entries.get(wrong, 0)}",
            )
    if facts.payouts:
        checks.passed(
            "payouts",
            Label.PROVEN,
            f"{len(facts.payouts)} rewards shared by the declared rule, to the satoshi",
        )


def _expected(
    rule: PayoutRule,
    payout: Payout,
    blocks: Sequence[FoundBlock],
    order: ShareOrder,
    value: dict[tuple[bytes, int, int], int],
) -> BlockPayout:
    if rule.scheme == Scheme.FPPS:
        nowhere = FoundBlock(payout.block_hash, payout.height, 0, payout.reward_sat, 1, "mature")
        return BlockPayout(nowhere, payout.fee_sat, fpps(rule, value))
    for shared in share_out(rule, order, blocks):
        if shared.block.hash == payout.block_hash:
            if shared.block.reward_sat != payout.reward_sat:
                raise EvidenceError(f"the block's coinbase is worth {shared.block.reward_sat} sat")
            if (shared.block.state == "reversed") != (payout.state == 2):
                raise EvidenceError("what became of the block and of its payout differ")
            return shared
    raise EvidenceError("no share of the bundle is that block")
