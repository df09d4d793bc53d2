"""Epochs: numbered without gaps, empty ones included, each header signed and naming the hash of the one before.

An epoch's hash is what the following jobs carry in their coinbase as "last closed epoch root".
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Final, NamedTuple

import msgspec
import numpy as np
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from numpy.typing import NDArray

from hashwerk.errors import EvidenceError
from hashwerk.evidence import share_tree, tree
from hashwerk.evidence.canonical import U8, U32, U64, U128, Hash32, Layout, Signature64
from hashwerk.evidence.domains import EPOCH, SIGN_EPOCH, tagged
from hashwerk.evidence.keys import is_signed, public_bytes, sign
from hashwerk.evidence.leaf import SUM_COLUMNS, decode_record, encode_record, record_hash, record_sums
from hashwerk.evidence.records import Job, Record, Thinning
from hashwerk.evidence.share_leaf import Leaves, leaf_hashes
from hashwerk.evidence.standing import Standing, standing_key
from hashwerk.evidence.tree import Node

VERSION: Final = 1
#: The most a share is credited, as a power of two: sums of work have 128 bits.
MAX_CREDIT_LOG2: Final = 127
#: Receive times may lie this far outside their epoch: shares wait for the commit that closes it.
TIME_SLACK_US: Final = 10_000_000


class Header(msgspec.Struct, frozen=True, kw_only=True):
    """What an epoch commits to."""

    version: U8 = VERSION
    site: Hash32  # hash of the genesis key event
    number: U64
    start_us: U64
    end_us: U64
    previous: Hash32  # hash of the header before; zero for epoch 0
    key: Hash32  # public key that signs
    key_events: Hash32  # hash of the last key event in force
    standing: Hash32  # declarations in force during this epoch
    accounts_root: Hash32
    accounts: U32
    shares: U64
    work: U128
    records_root: Hash32
    records: U64
    import_wh: U64
    export_wh: U64
    correction_up_wh: U64
    correction_down_wh: U64
    certificate_wh: U64
    payout_sat: U64
    full_root: Hash32  # of the tree before thinning; zero where nothing was thinned
    full_shares: U64
    full_work: U128


class SignedHeader(msgspec.Struct, frozen=True, kw_only=True):
    """A header and its signature."""

    header: Header
    signature: Signature64

    def hash(self) -> bytes:
        """Return the epoch's hash."""
        return header_hash(self.header)

    def is_signed(self) -> bool:
        """Return whether the key that the header names signed it."""
        return is_signed(self.header.key, SIGN_EPOCH, self.hash(), self.signature)


HEADER: Final = Layout(Header)
SIGNED_HEADER: Final = Layout(SignedHeader)


class Group(msgspec.Struct, frozen=True):
    """The shares of one account in an epoch, by position."""

    account: bytes
    leaves: Leaves


class RecordLeaf(NamedTuple):
    """A record as a leaf: its bytes, its node, and the record itself if it stands until replaced."""

    data: bytes
    node: Node
    declared: Record | None


class SealedEpoch(msgspec.Struct, frozen=True):
    """A closed epoch with its records; its shares stay where they are."""

    signed: SignedHeader
    records: tuple[bytes, ...]

    @property
    def header(self) -> Header:
        """The header."""
        return self.signed.header


class Epoch(SealedEpoch, frozen=True):
    """A closed epoch with all its leaves."""

    groups: tuple[Group, ...]  # by account, ascending


class EpochFrame(msgspec.Struct, frozen=True, kw_only=True):
    """Where an epoch stands: all of its header that does not follow from its leaves."""

    site: bytes
    number: int
    start_us: int
    end_us: int
    previous: bytes
    key_events: bytes
    standing: Standing


def header_hash(header: Header) -> bytes:
    """Return the hash of a header."""
    return tagged(EPOCH, HEADER.encode(header))


def close_epoch(
    frame: EpochFrame,
    key: Ed25519PrivateKey,
    records: Sequence[Record],
    groups: Sequence[Group],
    *,
    full: Node | None = None,
) -> Epoch:
    """Return the signed epoch of these leaves.

    Args:
        frame: Where it stands.
        key: Who signs.
        records: In the order in which they become leaves; every job that a share names is among them.
        groups: By account, ascending, none empty.
        full: Root of the accounts before thinning; None: nothing was thinned.

    Raises:
        EvidenceError: If a leaf cannot be written, a job is missing or a sum overflows.
    """
    work = credited_work(records, frame.standing)
    leaves = [record_leaf(record) for record in records]
    accounts = root_of_accounts([(group.account, root_of_group(group, work)) for group in groups])
    sealed = seal_epoch(frame, key, leaves, accounts, len(groups), full=full)
    return Epoch(sealed.signed, sealed.records, tuple(groups))


def seal_epoch(
    frame: EpochFrame,
    key: Ed25519PrivateKey,
    leaves: Sequence[RecordLeaf],
    shares: Node,
    accounts: int,
    *,
    full: Node | None = None,
    pause: Callable[[], None] = tree.go_on,
) -> SealedEpoch:
    """Return the signed epoch of these records, and of shares whose root is known.

    Args:
        frame: Where it stands.
        key: Who signs.
        leaves: The records in their order; every job that a share names is among them.
        shares: Root over the accounts with their shares.
        accounts: How many there are.
        full: Root of the accounts before thinning; None: nothing was thinned.
        pause: Called between pieces of work of about a millisecond.

    Raises:
        EvidenceError: If a sum overflows.
    """
    below = tree.root(tree.RECORDS, [leaf.node for leaf in leaves], pause)
    header = Header(
        site=frame.site,
        number=frame.number,
        start_us=frame.start_us,
        end_us=frame.end_us,
        previous=frame.previous,
        key=public_bytes(key),
        key_events=frame.key_events,
        standing=frame.standing.root(),
        accounts_root=shares.hash,
        accounts=accounts,
        shares=shares.count,
        work=shares.sums[0],
        records_root=below.hash,
        records=below.count,
        **dict(zip(SUM_COLUMNS, below.sums, strict=True)),
        full_root=bytes(32) if full is None else full.hash,
        full_shares=0 if full is None else full.count,
        full_work=0 if full is None else full.sums[0],
    )
    signature = sign(key, SIGN_EPOCH, header_hash(header))
    return SealedEpoch(SignedHeader(header=header, signature=signature), tuple(leaf.data for leaf in leaves))


def record_leaf(record: Record) -> RecordLeaf:
    """Return a record as a leaf.

    Raises:
        EvidenceError: If it cannot be written, or its amount is not possible.
    """
    return _leaf(record, encode_record(record))


def leaf_of_bytes(data: bytes) -> RecordLeaf:
    """Return the leaf of a record's bytes.

    Raises:
        DecodeError: If they are not the one spelling of a record.
        EvidenceError: If its amount is not possible.
    """
    return _leaf(decode_record(data), data)


def _leaf(record: Record, data: bytes) -> RecordLeaf:
    node = Node(record_hash(data), record_sums(record), 1)
    return RecordLeaf(data, node, None if standing_key(record) is None else record)


def credited_work(records: Sequence[Record], standing: Standing) -> dict[int, int]:
    """Return what a share of each job is credited, as a power of two: the job's, or the thinning's where harder.

    Raises:
        EvidenceError: If two jobs have one number, or a credit is out of range.
    """
    thinning = standing.find(Thinning)
    least = 0 if thinning is None else thinning.work_log2
    found: dict[int, int] = {}
    for record in records:
        if isinstance(record, Job):
            if record.id in found:
                raise EvidenceError(f"job {record.id} stands twice in one epoch")
            found[record.id] = max(record.work_log2, least)
            if found[record.id] > MAX_CREDIT_LOG2:
                raise EvidenceError(f"job {record.id} credits 2**{found[record.id]} hashes a share")
    return found


def work_of(jobs: NDArray[np.uint32], work: Mapping[int, int]) -> NDArray[np.uint8]:
    """Return the work of shares by their jobs.

    Raises:
        EvidenceError: If a job is unknown.
    """
    known, which = np.unique(jobs, return_inverse=True)
    try:
        table = np.array([work[int(job)] for job in known], np.uint8)
    except KeyError as error:
        raise EvidenceError(f"a share names job {error.args[0]}, which the epoch does not hold") from error
    found: NDArray[np.uint8] = table[which]
    return found


def root_of_group(group: Group, work: Mapping[int, int]) -> Node:
    """Return the root of an account's shares.

    Raises:
        EvidenceError: If a job is unknown or a sum overflows.
    """
    credited = work_of(group.leaves["job"], work)
    return share_tree.root_of(share_tree.leaf_level(leaf_hashes(group.leaves), credited))


def root_of_accounts(accounts: Sequence[tuple[bytes, Node]]) -> Node:
    """Return the root over accounts, each given with the root of its shares."""
    return tree.root(tree.ACCOUNTS, [share_tree.account_leaf(*account) for account in accounts])


def record_nodes(encoded: Sequence[bytes]) -> list[Node]:
    """Return the leaves of the tree of records."""
    return [Node(record_hash(data), record_sums(decode_record(data)), 1) for data in encoded]
