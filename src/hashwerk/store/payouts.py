"""Payouts of a running mine: how each reward is shared by the declared rule, computed from closed epochs alone.

What is logged must be what a stranger recomputes: so only shares of closed epochs count, in their order, and a block's state only
once it was the same at the end of an epoch before.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Mapping, Sequence
from typing import Final

import msgspec
import numpy as np
from numpy.typing import NDArray

from hashwerk.chain.target import target_from_compact, work_from_target
from hashwerk.evidence.epoch import credited_work
from hashwerk.evidence.leaf import decode_record
from hashwerk.evidence.payout import (
    PPM,
    TIDES_WINDOW_PPM,
    FoundBlock,
    IncompleteWindowError,
    Scheme,
    ShareOrder,
    fpps,
    share_one,
)
from hashwerk.evidence.records import UNBOUND, Job, Payout, PayoutEntry, PayoutRule
from hashwerk.store import epochs, share_groups
from hashwerk.store.blocks import read_blocks
from hashwerk.store.epochs import EpochRow
from hashwerk.stratum.ports import BlockRecord
from hashwerk.work.share import Verdict

PENDING: Final = 0
MATURE: Final = 1
REVERSED: Final = 2
#: A reward is promised when so many blocks lie on it: before, a reorganisation may take it back in the same epoch.
_CONFIRMATIONS: Final = 3
_GONE: Final = ("rejected", "orphaned")
#: Full pay per share is logged for so long a time at once.
_FULL_PAY_EVERY_US: Final = 3_600_000_000
#: Receive times may lie so far outside the epoch of their share.
_SLACK_US: Final = 10_000_000


class PaidBlocks(msgspec.Struct, frozen=True, kw_only=True):
    """What was logged of rewards, by block."""

    seen: dict[bytes, str] = {}  # the block's state when last looked at
    paid: dict[bytes, int] = {}  # the payout's state as logged
    next_epoch: int = 1  # with fpps: the first that was not paid


class _Place(msgspec.Struct, frozen=True):
    """Where a block's share stands."""

    epoch: int
    position: int
    job: Job


class _Due(msgspec.Struct, frozen=True):
    """A block whose payout takes on a new state."""

    block: BlockRecord
    place: _Place
    state: int


def new_payouts(
    connection: sqlite3.Connection, rule: PayoutRule, before: PaidBlocks, now_us: int, most: int = 20
) -> tuple[list[Payout], PaidBlocks]:
    """Return the payouts that are to be logged now, and what is logged with them.

    Args:
        connection: To the ledger; a reader's is enough.
        rule: As configured; nothing is shared before it is in force.
        before: What is logged already.
        now_us: The time.
        most: So many at a time; the others follow.

    Raises:
        StoreError: If the ledger cannot be read.
        EvidenceError: If its evidence is damaged, or the rule does not share rewards by block.
    """
    blocks = sorted(read_blocks(connection), key=lambda block: block.found_at)
    after = PaidBlocks(
        seen={block.hash: block.state for block in blocks},
        paid={hash_: state for hash_, state in before.paid.items() if any(b.hash == hash_ for b in blocks)},
    )
    after = msgspec.structs.replace(after, next_epoch=before.next_epoch)
    if rule not in _in_force(connection):
        return [], after
    if rule.scheme == Scheme.FPPS:
        return _full_pay(connection, rule, after, now_us)
    found: list[Payout] = []
    for number, block in enumerate(blocks):
        state = _next(block, before)
        if state is None or len(found) >= most:
            continue
        place = _place(connection, block)
        if place is None:
            continue
        found.append(_payout(connection, rule, blocks[:number], _Due(block, place, state), now_us))
        after.paid[block.hash] = state
    return found, after


def _full_pay(
    connection: sqlite3.Connection, rule: PayoutRule, before: PaidBlocks, now_us: int
) -> tuple[list[Payout], PaidBlocks]:
    """Return what all shares of the closed epochs are worth that were not paid yet, once they are an hour's."""
    last = epochs.last_epoch(connection)
    paid: list[int] = []
    length_us = 0
    for number in range(before.next_epoch, 1 if last is None else last.signed.header.number + 1):
        (row,) = epochs.read_epochs(connection, number, number)
        in_force = epochs.read_standing(connection, row.standing).find(PayoutRule)
        if in_force is None or in_force.scheme != Scheme.FPPS:
            if paid:
                break
            continue
        paid.append(number)
        length_us += row.signed.header.end_us - row.signed.header.start_us
    if length_us < _FULL_PAY_EVERY_US:
        return [], before
    work: dict[tuple[bytes, int, int], int] = {}
    for number in paid:
        (row,) = epochs.read_epochs(connection, number, number)
        for name, hashes in _value(connection, row).items():
            work[name] = work.get(name, 0) + hashes
    first, until = paid[0], paid[-1] + 1
    due = fpps(rule, work)
    gross = sum(fpps(msgspec.structs.replace(rule, fee_ppm=0), work).values())
    after = msgspec.structs.replace(before, next_epoch=until)
    payout = Payout(
        block_hash=bytes(32),
        height=first,
        at_us=now_us,
        position=until,
        reward_sat=gross,
        fee_sat=gross - sum(due.values()),
        state=MATURE,
        entries=tuple(PayoutEntry(account=account, sat=sat) for account, sat in sorted(due.items())),
    )
    return [payout], after


def _value(connection: sqlite3.Connection, row: EpochRow) -> dict[tuple[bytes, int, int], int]:
    """Return the bound work of an epoch by account, coinbase value and expected hashes for a block."""
    credited = credited_work(_jobs(row), epochs.read_standing(connection, row.standing))
    jobs = {job.id: job for job in _jobs(row)}
    found: dict[tuple[bytes, int, int], int] = {}
    for group in epochs.read_epoch(connection, row).groups:
        if group.account == UNBOUND:
            continue
        numbers, counts = np.unique(group.leaves["job"], return_counts=True)
        for number, count in zip(numbers.tolist(), counts.tolist(), strict=True):
            job = jobs[number]
            name = group.account, job.coinbase_value_sat, work_from_target(target_from_compact(job.nbits))
            found[name] = found.get(name, 0) + (count << credited[number])
    return found


def _next(block: BlockRecord, before: PaidBlocks) -> int | None:
    """Return the state that a block's payout takes on; None: there is nothing new to say."""
    paid = before.paid.get(block.hash)
    if before.seen.get(block.hash) != block.state or paid == MATURE:
        return None
    if block.state in _GONE:
        return REVERSED if paid == PENDING else None
    if block.state == "mature":
        return MATURE
    is_promised = block.state == "accepted" and block.confirmations >= _CONFIRMATIONS
    return PENDING if is_promised and paid != PENDING else None


def _in_force(connection: sqlite3.Connection) -> list[PayoutRule]:
    last = epochs.last_epoch(connection)
    if last is None:
        return []
    standing = epochs.read_standing(connection, last.standing)
    # In the open epoch, and in the last one too: so it is in force wherever the record comes to stand.
    now = standing.after(decode_record(data) for data in last.records)
    return [rule for rule in now.all(PayoutRule) if rule in standing.all(PayoutRule)]


def _place(connection: sqlite3.Connection, block: BlockRecord) -> _Place | None:
    """Return where a block's share stands in the closed epochs; None: in none, or its work was bound to nobody."""
    found_us = int(block.found_at * 1e6)
    numbers = connection.execute(
        "SELECT number FROM epochs WHERE start_us <= ? AND end_us >= ? AND number > 0 ORDER BY number",
        (found_us + _SLACK_US, found_us - _SLACK_US),
    ).fetchall()
    for (number,) in numbers:
        (row,) = epochs.read_epochs(connection, number, number)
        at = 0
        for _, shares in share_groups.read(
            connection, row.first_position, row.end_position - row.first_position
        ):
            accepted = shares[shares["verdict"] == Verdict.ACCEPTED]
            key = np.frombuffer(block.hash[:16], accepted["hash_key"].dtype)
            mine = np.flatnonzero((accepted["job"] == block.job_id) & (accepted["hash_key"] == key))
            if len(mine):
                job = next((job for job in _jobs(row) if job.id == block.job_id), None)
                is_ours = job is not None and job.account != UNBOUND
                return _Place(number, at + int(mine[0]), job) if is_ours and job is not None else None
            at += len(accepted)
    return None


def _payout(
    connection: sqlite3.Connection, rule: PayoutRule, earlier: Sequence[BlockRecord], due: _Due, now_us: int
) -> Payout:
    block, place = due.block, due.place
    standing = [one for one in earlier if one.state not in _GONE]
    last = _place(connection, standing[-1]) if standing and rule.scheme == Scheme.PROPORTIONAL else None
    work = work_from_target(target_from_compact(place.job.nbits))
    first = _first_epoch(connection, rule, work, place, last)
    while True:
        shares = _Shares.read(connection, first, place.epoch)
        state = "reversed" if due.state == REVERSED else "pending"
        reward_sat = place.job.coinbase_value_sat
        found = FoundBlock(block.hash, place.job.height, shares.at(place), reward_sat, work, state)
        try:
            shared = share_one(rule, shares.order, found, after=-1 if last is None else shares.at(last))
        except IncompleteWindowError:  # work that is bound to nobody fills no window
            first = max(1, first - max(1, place.epoch - first + 1))
            continue
        return Payout(
            block_hash=block.hash,
            height=place.job.height,
            at_us=now_us,
            position=place.position,
            reward_sat=reward_sat,
            fee_sat=shared.fee_sat,
            state=due.state,
            entries=tuple(
                PayoutEntry(account=account, sat=sat) for account, sat in sorted(shared.entries.items())
            ),
        )


def _first_epoch(
    connection: sqlite3.Connection, rule: PayoutRule, work: int, place: _Place, last: _Place | None
) -> int:
    """Return the epoch from which on shares are needed."""
    if rule.scheme == Scheme.SOLO:
        return place.epoch
    if rule.scheme == Scheme.PROPORTIONAL:
        return 1 if last is None else last.epoch
    window_ppm = TIDES_WINDOW_PPM if rule.scheme == Scheme.TIDES else rule.window_ppm
    wanted, number = work * window_ppm // PPM, place.epoch
    # The last epoch counts in part, so its work is not counted on.
    while number > 1 and wanted > 0:
        number -= 1
        (row,) = epochs.read_epochs(connection, number, number)
        wanted -= row.signed.header.work
    return number


class _Shares(msgspec.Struct, frozen=True):
    """The bound shares of some epochs in their order, and where those of each epoch begin."""

    order: ShareOrder
    epochs: Mapping[int, tuple[int, NDArray[np.uint32]]]  # number → place of its first share, positions

    @classmethod
    def read(cls, connection: sqlite3.Connection, first: int, last: int) -> _Shares:
        """Read them from the ledger."""
        names: dict[bytes, int] = {}
        accounts: list[NDArray[np.uint32]] = [np.empty(0, np.uint32)]
        works: list[NDArray[np.uint8]] = [np.empty(0, np.uint8)]
        begins: dict[int, tuple[int, NDArray[np.uint32]]] = {}
        begin = 0
        for row in epochs.read_epochs(connection, first, last):
            groups = [g for g in epochs.read_epoch(connection, row).groups if g.account != UNBOUND]
            if not groups:
                continue
            credited = credited_work(_jobs(row), epochs.read_standing(connection, row.standing))
            positions = np.concatenate([group.leaves["position"] for group in groups])
            sequence = np.argsort(positions, kind="stable")
            index = np.array([names.setdefault(group.account, len(names)) for group in groups], np.uint32)
            accounts.append(np.repeat(index, [len(group.leaves) for group in groups])[sequence])
            jobs, which = np.unique(
                np.concatenate([group.leaves["job"] for group in groups]), return_inverse=True
            )
            works.append(np.array([credited[int(job)] for job in jobs], np.uint8)[which][sequence])
            begins[row.signed.header.number] = begin, positions[sequence]
            begin += len(positions)
        order = ShareOrder(
            tuple(names), np.concatenate(accounts), np.concatenate(works), from_beginning=first <= 1
        )
        return cls(order, begins)

    def at(self, place: _Place) -> int:
        """Return where a share stands among all."""
        begin, positions = self.epochs[place.epoch]
        return begin + int(np.searchsorted(positions, place.position))


def _jobs(row: EpochRow) -> list[Job]:
    return [record for record in map(decode_record, row.records) if isinstance(record, Job)]
