"""Checks of payouts: the sums, that the declared rule gives exactly them, and that no block is paid twice.

What became of a block is told by its `Block` records, what became of its payout by its `Payout` records: the last one
counts and takes the earlier ones back. Each is judged by what was logged up to the end of its own epoch.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterator
from typing import Final

from hashwerk.chain.target import target_from_compact, work_from_target
from hashwerk.errors import EvidenceError
from hashwerk.evidence.payout import (
    BlockPayout,
    FoundBlock,
    IncompleteWindowError,
    Scheme,
    ShareOrder,
    Window,
    fpps,
    share_one,
)
from hashwerk.evidence.records import Payout, PayoutRule
from hashwerk.evidence.verify.block_shares import BlockShare
from hashwerk.evidence.verify.facts import Facts
from hashwerk.evidence.verify.order import OrderBuilder
from hashwerk.evidence.verify.result import Checks, Label, Verdict, counted

PENDING: Final = 0
MATURE: Final = 1
REVERSED: Final = 2
_STATES: Final = ("pending", "mature", "reversed")
#: State of a block's record → what its payout may say; 2 and 4: refused by the chain, then or later.
_OF_BLOCK: Final = {0: "pending", 1: "pending", 2: "reversed", 3: "mature", 4: "reversed"}
NO_BLOCK: Final = bytes(32)


def block_state(state: int) -> str:
    """Return what the state of a block's record means for its reward."""
    return _OF_BLOCK.get(state, "pending")


def found_blocks(facts: Facts, shares: dict[bytes, BlockShare]) -> list[FoundBlock]:
    """Return our blocks in the order in which they were found, each with what became of it at last."""
    found = []
    for hash_, logged in facts.blocks.items():
        share = shares.get(hash_)
        if share is not None and share.at >= 0:
            found.append(_found(share, block_state(logged[-1][1].state)))
    return sorted(found, key=lambda block: block.at)


def _found(share: BlockShare, state: str) -> FoundBlock:
    job = share.job
    network_work = work_from_target(target_from_compact(job.nbits))
    return FoundBlock(share.hash, job.height, share.at, job.coinbase_value_sat, network_work, state)


class PayoutCheck:
    """Checks every logged payout."""

    def __init__(
        self,
        checks: Checks,
        facts: Facts,
        rules: dict[int, PayoutRule],
        *,
        shares: dict[bytes, BlockShare],
        order: OrderBuilder,
        from_beginning: bool,
        asked: bool,
    ) -> None:
        """Take what payouts are checked against.

        Args:
            checks: Where failures go.
            facts: With blocks and payouts as they were logged.
            rules: The rule in force in each epoch.
            shares: The shares that the blocks are, by hash.
            order: All bound shares.
            from_beginning: The bundle holds all shares since the site began.
            asked: The bundle claims that rewards were shared by the rule.
        """
        self._checks = checks
        self._facts = facts
        self._rules = rules
        self._shares = shares
        self._order: ShareOrder = order.order(from_beginning=from_beginning)
        self._window = Window(self._order)
        self._values = order
        self._from_beginning = from_beginning
        self._asked = asked
        self._blocks = found_blocks(facts, shares)
        self._index = {block.hash: number for number, block in enumerate(self._blocks)}
        self._states: dict[bytes, str] = {}  # as logged so far
        self._last: dict[bytes, tuple[int, Payout]] = {}
        self._by_share_paid: list[Payout] = []
        # Looked up for each record: a year has half a million epochs, and ten thousand such records.
        self._by_share_epochs = sorted(n for n, rule in rules.items() if rule.scheme == Scheme.FPPS)
        self._paid_until = 0  # FPPS: the epoch up to which shares are paid
        self.recomputed = 0
        self.lacking: list[str] = []

    def run(self) -> None:
        """Check them in the order of the log."""
        logged = self._blocks_by_epoch()
        row = next(logged, None)
        for number, payout in self._facts.payouts:
            while row is not None and row[0] <= number:
                self._states[row[1]] = row[2]
                row = next(logged, None)
            where = f"epoch {number}: the payout of block {payout.height}"
            self._check_form(where, payout)
            try:
                self._check_one(where, number, payout)
            except IncompleteWindowError as error:
                self.lacking.append(f"{where}: {error}")
            except EvidenceError as error:
                self._checks.failed("payouts", f"{where}: {error}")
            if payout.block_hash == NO_BLOCK:
                self._by_share_paid.append(payout)
            else:
                self._last[payout.block_hash] = number, payout
        self._check_reversed()
        self._conclude()

    @property
    def last(self) -> list[Payout]:
        """The payouts that count."""
        return [*self._by_share_paid, *(payout for _, payout in self._last.values())]

    def _blocks_by_epoch(self) -> Iterator[tuple[int, bytes, str]]:
        rows = [
            (number, hash_, block_state(block.state))
            for hash_, logged in self._facts.blocks.items()
            for number, block in logged
        ]
        return iter(sorted(rows, key=lambda row: row[0]))

    def _check_form(self, where: str, payout: Payout) -> None:
        total = sum(entry.sat for entry in payout.entries)
        accounts = [entry.account for entry in payout.entries]
        if accounts != sorted(set(accounts)):
            self._checks.failed("payouts", f"{where}: accounts are not in their order")
        if payout.state >= len(_STATES):
            self._checks.failed("payouts", f"{where}: unknown state {payout.state}")
        if payout.state != REVERSED and total + payout.fee_sat != payout.reward_sat:
            self._checks.failed(
                "payouts",
                f"{where} gives {total} sat and a fee of {payout.fee_sat}, the reward is {payout.reward_sat}",
            )

    def _check_one(self, where: str, number: int, payout: Payout) -> None:
        rule = self._rules.get(number)
        if rule is None:
            raise IncompleteWindowError("no rule was declared before")
        before = self._last.get(payout.block_hash)
        if before is not None:
            _check_succession(before[1], payout)
        by_share = rule.scheme == Scheme.FPPS
        expected = self._by_share(rule, number, payout) if by_share else self._by_block(rule, payout)
        self.recomputed += 1
        given = {entry.account: entry.sat for entry in payout.entries}
        if given != expected.entries or payout.fee_sat != expected.fee_sat:
            wrong = next(
                (a for a in {*given, *expected.entries} if given.get(a) != expected.entries.get(a)), b""
            )
            self._checks.failed(
                "payouts",
                f"{where} is not by the declared rule {rule.scheme!r}: account {wrong.hex()[:16]}… was given"
                f" {given.get(wrong, 0)} sat, the rule gives {expected.entries.get(wrong, 0)}",
            )

    def _by_share(self, rule: PayoutRule, number: int, payout: Payout) -> BlockPayout:
        """FPPS: all shares of the epochs that it names: those after the last it paid, and none that is not over."""
        if payout.block_hash != NO_BLOCK or payout.state == REVERSED:
            raise EvidenceError("full pay per share is not by block, and is not reversed")
        first, until, before = payout.height, payout.position, self._paid_until
        self._paid_until = max(until, before)
        if not before and not self._from_beginning:
            raise IncompleteWindowError("what was paid before it is not here")
        by_share = self._by_share_epochs
        begin = bisect_left(by_share, max(before, 1))
        paid = by_share[begin : bisect_left(by_share, until, begin)]
        if not paid or paid[0] != first or len(paid) != until - first or until > number:
            following = by_share[begin] if begin < len(by_share) else "none"
            raise EvidenceError(f"it pays epochs {first} to {until - 1}, {following} was next")
        nowhere = FoundBlock(payout.block_hash, payout.height, 0, payout.reward_sat, 1, "mature")
        return BlockPayout(nowhere, payout.fee_sat, fpps(rule, self._values.value(paid)))

    def _by_block(self, rule: PayoutRule, payout: Payout) -> BlockPayout:
        share = self._shares.get(payout.block_hash)
        if share is None:
            raise IncompleteWindowError("the share that found its block is not here")
        if share.at < 0:
            raise EvidenceError("its block was found by an upstream pool's work")
        state = self._states.get(payout.block_hash)
        if state is None:
            raise EvidenceError("no record says that its block was found")
        block = _found(share, state)
        if (payout.height, payout.position) != (block.height, share.position):
            raise EvidenceError(
                f"it names height {payout.height} and position {payout.position}, its block is the share at"
                f" position {share.position} of height {block.height}"
            )
        if block.reward_sat != payout.reward_sat:
            raise EvidenceError(f"the block's coinbase is worth {block.reward_sat} sat")
        said = _STATES[payout.state] if payout.state < len(_STATES) else ""
        if (state == "reversed") != (said == "reversed") or (said == "mature" and state != "mature"):
            raise EvidenceError(f"it is called {said}, its block was {state} then")
        after = self._round_before(payout.block_hash) if rule.scheme == Scheme.PROPORTIONAL else -1
        return share_one(rule, self._order, block, after=after, window=self._window)

    def _round_before(self, hash_: bytes) -> int:
        """Return where the block before stands that was not reversed, as far as was known then; -1: none."""
        for number in range(self._index[hash_] - 1, -1, -1):
            block = self._blocks[number]
            if self._states.get(block.hash, "reversed") != "reversed":
                return block.at
        return -1

    def _check_reversed(self) -> None:
        """Check that no payout is left of a block that was reversed at last."""
        for hash_, (number, payout) in self._last.items():
            if payout.state != REVERSED and self._states_at_last(hash_) == "reversed":
                self._checks.failed(
                    "payouts",
                    f"epoch {number}: the payout of block {payout.height} stands although the block was reversed",
                )

    def _states_at_last(self, hash_: bytes) -> str | None:
        logged = self._facts.blocks.get(hash_)
        return None if logged is None else block_state(logged[-1][1].state)

    def _conclude(self) -> None:
        count = len(self._facts.payouts)
        if self.lacking and self._asked:
            for text in self.lacking:
                self._checks.failed("payouts", text, Verdict.INCOMPLETE)
        if count and self.lacking:
            label = Label.PROVEN if self._asked else Label.ASSERTED
            text = f"{self.recomputed} of {count} recomputed to the satoshi; {len(self.lacking)} need what is not here"
            self._checks.passed("payouts", label, text)
        elif count:
            self._checks.passed(
                "payouts",
                Label.PROVEN,
                f"{counted(count, 'reward')} shared by the declared rule, to the satoshi",
            )


def _check_succession(before: Payout, after: Payout) -> None:
    """Check that one record of a block's payout may follow another.

    Raises:
        EvidenceError: If the block is paid twice by it, or a payment taken back.
    """
    if before.state == MATURE:
        what = "taken back" if after.state == REVERSED else "paid twice"
        raise EvidenceError(f"it was paid as mature before: {what}")
    if before.state == after.state and (before.state == REVERSED or before.entries == after.entries):
        raise EvidenceError("the block is paid twice" if before.state == PENDING else "it is reversed twice")
