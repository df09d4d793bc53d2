"""Proofs about one epoch, a few hundred bytes each: a share is in it, a record is in it, an account's sum is this.

A sum proof protects an account from being dropped or cut; it does not show that the others' work was done. That needs
the whole bundle, or openings drawn by the verifier, see `openings`.
"""

from __future__ import annotations

from functools import cached_property

import msgspec
import numpy as np

from hashwerk.errors import DecodeError, EvidenceError
from hashwerk.evidence import share_tree, tree
from hashwerk.evidence.canonical import U8, U64, U128, Blob, Hash32, Layout
from hashwerk.evidence.epoch import (
    MAX_CREDIT_LOG2,
    SIGNED_HEADER,
    TIME_SLACK_US,
    Epoch,
    SignedHeader,
    credited_work,
    record_nodes,
    work_of,
)
from hashwerk.evidence.job_record import check_range, coinbase_problems, parse_coinbase
from hashwerk.evidence.leaf import decode_record, record_hash, record_sums
from hashwerk.evidence.records import Job
from hashwerk.evidence.rehash import JobTable, check_fields
from hashwerk.evidence.share_leaf import LEAF_DTYPE, LEAF_SIZE, leaf_hashes, pack_leaves
from hashwerk.evidence.standing import Standing
from hashwerk.evidence.tree import Node, Shape, Step


class WireStep(msgspec.Struct, frozen=True, kw_only=True):
    """One level of a path as bytes."""

    left: U8
    sums: tuple[U128, ...]
    count: U64
    hash: Hash32


class AccountProof(msgspec.Struct, frozen=True, kw_only=True):
    """An account's work, count and root in an epoch."""

    header: Blob  # signed
    account: Hash32
    work: U128
    shares: U64
    root: Hash32
    path: tuple[WireStep, ...]


class RecordProof(msgspec.Struct, frozen=True, kw_only=True):
    """A record of an epoch."""

    header: Blob
    record: Blob
    path: tuple[WireStep, ...]


class ShareProof(msgspec.Struct, frozen=True, kw_only=True):
    """A share of an epoch, with its job."""

    account: AccountProof
    leaf: Blob
    work_log2: U8
    path: tuple[WireStep, ...]
    job: RecordProof


ACCOUNT_PROOF = Layout(AccountProof)
RECORD_PROOF = Layout(RecordProof)
SHARE_PROOF = Layout(ShareProof)


class EpochProver:
    """Makes proofs about one epoch; its trees are built once."""

    def __init__(self, epoch: Epoch, standing: Standing) -> None:
        self._epoch = epoch
        self._records = [decode_record(data) for data in epoch.records]
        self.work = credited_work(self._records, standing)
        self._header = SIGNED_HEADER.encode(epoch.signed)

    @cached_property
    def groups(self) -> list[list[share_tree.Level]]:
        """All levels of the tree of each account."""
        return [
            share_tree.all_levels(
                share_tree.leaf_level(leaf_hashes(group.leaves), work_of(group.leaves["job"], self.work))
            )
            for group in self._epoch.groups
        ]

    @cached_property
    def accounts(self) -> list[list[Node]]:
        """All levels of the tree of accounts."""
        leaves = [
            share_tree.account_leaf(group.account, levels[-1].node(0))
            for group, levels in zip(self._epoch.groups, self.groups, strict=True)
        ]
        return tree.levels(tree.ACCOUNTS, leaves)

    @cached_property
    def _record_levels(self) -> list[list[Node]]:
        return tree.levels(tree.RECORDS, record_nodes(self._epoch.records))

    def account(self, account: bytes) -> AccountProof:
        """Return the proof of an account's sum.

        Raises:
            EvidenceError: If the epoch holds none of its shares.
        """
        index = self._index(account)
        node = self.groups[index][-1].node(0)
        return AccountProof(
            header=self._header,
            account=account,
            work=node.sums[0],
            shares=node.count,
            root=node.hash,
            path=_wire(tree.path(self.accounts, index)),
        )

    def record(self, index: int) -> RecordProof:
        """Return the proof of a record by its index in the epoch."""
        path = _wire(tree.path(self._record_levels, index))
        return RecordProof(header=self._header, record=self._epoch.records[index], path=path)

    def share(self, account: bytes, position: int) -> ShareProof:
        """Return the proof of a share by its position in the epoch.

        Raises:
            EvidenceError: If no share of the account stands there.
        """
        index = self._index(account)
        leaves = self._epoch.groups[index].leaves
        at = int(np.searchsorted(leaves["position"], position))
        if at == len(leaves) or leaves["position"][at] != position:
            raise EvidenceError(f"no share of the account stands at position {position}")
        job_id = int(leaves["job"][at])
        job = next(
            i for i, record in enumerate(self._records) if isinstance(record, Job) and record.id == job_id
        )
        return ShareProof(
            account=self.account(account),
            leaf=pack_leaves(leaves[at : at + 1]).tobytes(),
            work_log2=self.work[job_id],
            path=_wire(share_tree.path_of(self.groups[index], at)),
            job=self.record(job),
        )

    def _index(self, account: bytes) -> int:
        for index, group in enumerate(self._epoch.groups):
            if group.account == account:
                return index
        raise EvidenceError("the epoch holds no share of this account")


def check_account(proof: AccountProof) -> SignedHeader:
    """Check a sum proof; return the epoch it leads to.

    Raises:
        EvidenceError: If it does not hold.
    """
    signed = _signed(proof.header)
    leaf = share_tree.account_leaf(proof.account, Node(proof.root, (proof.work,), proof.shares))
    root = tree.climb(tree.ACCOUNTS, leaf, steps_of(tree.ACCOUNTS, proof.path))
    header = signed.header
    if (root.hash, root.sums[0], root.count) != (header.accounts_root, header.work, header.shares):
        raise EvidenceError("the sum proof does not lead to the root that was signed")
    return signed


def check_record(proof: RecordProof) -> SignedHeader:
    """Check the proof of a record; return the epoch it leads to.

    Raises:
        EvidenceError: If it does not hold.
        DecodeError: If the record cannot be read.
    """
    signed = _signed(proof.header)
    leaf = Node(record_hash(proof.record), record_sums(decode_record(proof.record)), 1)
    root = tree.climb(tree.RECORDS, leaf, steps_of(tree.RECORDS, proof.path))
    if (root.hash, root.count) != (signed.header.records_root, signed.header.records):
        raise EvidenceError("the record does not lead to the root that was signed")
    return signed


def check_share(proof: ShareProof) -> SignedHeader:
    """Check the proof of a share: its hash, its job, its account, its time; return the epoch it leads to.

    Whether the job names a key of the site and the last closed epoch, only a bundle can show.

    Raises:
        EvidenceError: If it does not hold.
        DecodeError: If something cannot be read.
    """
    signed = check_account(proof.account)
    if check_record(proof.job) != signed:
        raise EvidenceError("the job is of another epoch")
    job = decode_record(proof.job.record)
    if not isinstance(job, Job) or job.account != proof.account.account:
        raise EvidenceError("the job belongs to another account")
    check_range(job)
    for wrong in coinbase_problems(job, parse_coinbase(job)):
        raise EvidenceError(f"the share's job {wrong}")
    if len(proof.leaf) != LEAF_SIZE or proof.leaf[0] != 0:
        raise DecodeError("not a share")
    leaves = np.zeros(1, LEAF_DTYPE)
    at = 1
    for name in LEAF_DTYPE.names or ():
        size = LEAF_DTYPE[name].itemsize
        leaves[name] = int.from_bytes(proof.leaf[at : at + size], "big")
        at += size
    if int(leaves["job"][0]) != job.id or not job.work_log2 <= proof.work_log2 <= MAX_CREDIT_LOG2:
        raise EvidenceError("the share is of another job, or credited more than its target")
    table = JobTable([job], {job.id: proof.work_log2})
    problem = check_fields(table, leaves, table.hash(leaves))
    if problem is not None:
        raise EvidenceError(problem)
    header, received_us = signed.header, int(leaves["time_us"][0])
    if not header.start_us - TIME_SLACK_US <= received_us <= header.end_us + TIME_SLACK_US:
        raise EvidenceError(f"the share was received at {received_us}, outside its epoch")
    level = share_tree.leaf_level(leaf_hashes(leaves), np.array([proof.work_log2], np.uint8))
    root = tree.climb(tree.SHARES, level.node(0), steps_of(tree.SHARES, proof.path))
    if (root.hash, root.sums[0], root.count) != (
        proof.account.root,
        proof.account.work,
        proof.account.shares,
    ):
        raise EvidenceError("the share does not lead to its account's root")
    return signed


def _signed(data: bytes) -> SignedHeader:
    signed = SIGNED_HEADER.decode(data)
    if not signed.is_signed():
        raise EvidenceError("the epoch is not signed by the key it names")
    return signed


def _wire(path: tuple[Step, ...]) -> tuple[WireStep, ...]:
    return tuple(
        WireStep(left=int(step.left), sums=step.node.sums, count=step.node.count, hash=step.node.hash)
        for step in path
    )


def steps_of(shape: Shape, path: tuple[WireStep, ...]) -> list[Step]:
    """Return a path as the tree reads it.

    Raises:
        EvidenceError: If it is of another tree.
    """
    if any(len(step.sums) != len(shape.widths) or step.left > 1 for step in path):
        raise EvidenceError("a path of another tree")
    return [Step(Node(step.hash, step.sums, step.count), left=bool(step.left)) for step in path]
