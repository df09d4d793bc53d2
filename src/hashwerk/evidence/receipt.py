"""Receipts: for every share the site signs, at once, at which place of which epoch it will stand.

A batch of shares is signed once: each receipt carries its path to the batch's root. A signed root of the epoch
with another leaf at that place, or no epoch by the deadline, is proof of fraud that fits in a kilobyte.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import msgspec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from hashwerk.errors import DecodeError, EvidenceError
from hashwerk.evidence.canonical import U8, U32, U64, Hash32, Layout, Reader, Signature64
from hashwerk.evidence.domains import RECEIPT, RECEIPT_NODE, SIGN_RECEIPT, tagged
from hashwerk.evidence.keys import is_signed, public_bytes, sign
from hashwerk.evidence.share_leaf import Leaves, leaf_hashes


class ReceiptBody(msgspec.Struct, frozen=True, kw_only=True):
    """What is promised."""

    site: Hash32
    epoch: U64
    account: Hash32
    position: U32
    leaf: Hash32
    deadline_us: U64  # by then the epoch will be published


class ReceiptStep(msgspec.Struct, frozen=True, kw_only=True):
    """One level of a receipt's path."""

    left: U8  # 1: the sibling stands on the left
    sibling: Hash32


class Receipt(msgspec.Struct, frozen=True, kw_only=True):
    """A promise and its signature."""

    body: ReceiptBody
    path: tuple[ReceiptStep, ...]
    key: Hash32
    signature: Signature64


BODY: Final = Layout(ReceiptBody)
RECEIPT_LAYOUT: Final = Layout(Receipt)
_MAGIC: Final = b"HASHWERK-RECEIPTS\x00\x00\x01"


def give_receipts(
    key: Ed25519PrivateKey,
    *,
    site: bytes,
    epoch: int,
    accounts: Sequence[bytes],
    leaves: Leaves,
    deadline_us: int,
) -> list[Receipt]:
    """Return receipts for a batch of shares, signed once.

    Args:
        key: Who signs.
        site: The hash that names the site.
        epoch: The open epoch.
        accounts: The account of each share.
        leaves: The shares, with their positions in the epoch.
        deadline_us: By when the epoch will be published.

    Raises:
        EvidenceError: If there is no share, or not one account for each.
    """
    if not len(leaves) or len(accounts) != len(leaves):
        raise EvidenceError(f"receipts for {len(leaves)} shares of {len(accounts)} accounts")
    bodies = [
        ReceiptBody(
            site=site,
            epoch=epoch,
            account=account,
            position=int(leaf["position"]),
            leaf=bytes(hash_),
            deadline_us=deadline_us,
        )
        for account, leaf, hash_ in zip(accounts, leaves, leaf_hashes(leaves), strict=True)
    ]
    levels = [[receipt_hash(body) for body in bodies]]
    while len(levels[-1]) > 1:
        below = levels[-1]
        above = [tagged(RECEIPT_NODE, below[i], below[i + 1]) for i in range(0, len(below) - 1, 2)]
        levels.append(above + below[len(below) & ~1 :])
    signature = sign(key, SIGN_RECEIPT, levels[-1][0])
    public = public_bytes(key)
    return [
        Receipt(body=body, path=_path(levels, index), key=public, signature=signature)
        for index, body in enumerate(bodies)
    ]


def receipt_hash(body: ReceiptBody) -> bytes:
    """Return the hash of a promise."""
    return tagged(RECEIPT, BODY.encode(body))


def is_genuine(receipt: Receipt) -> bool:
    """Return whether the key that a receipt names signed it."""
    node = receipt_hash(receipt.body)
    for step in receipt.path:
        pair = (step.sibling, node) if step.left else (node, step.sibling)
        node = tagged(RECEIPT_NODE, *pair)
    return is_signed(receipt.key, SIGN_RECEIPT, node, receipt.signature)


def write_receipts(receipts: Sequence[Receipt]) -> bytes:
    """Return receipts as a file."""
    encoded = [RECEIPT_LAYOUT.encode(receipt) for receipt in receipts]
    return _MAGIC + b"".join(len(data).to_bytes(4, "big") + data for data in encoded)


def read_receipts(data: bytes) -> tuple[Receipt, ...]:
    """Return the receipts of a file.

    Raises:
        DecodeError: If it is not one.
    """
    reader = Reader(data)
    if reader.take(len(_MAGIC)) != _MAGIC:
        raise DecodeError("not a file of receipts")
    found = []
    while reader.position < len(data):
        found.append(RECEIPT_LAYOUT.decode(reader.take(reader.uint(4))))
    return tuple(found)


def _path(levels: Sequence[Sequence[bytes]], index: int) -> tuple[ReceiptStep, ...]:
    steps = []
    for level in levels[:-1]:
        sibling = index ^ 1
        if sibling < len(level):
            steps.append(ReceiptStep(left=int(sibling < index), sibling=level[sibling]))
        index //= 2
    return tuple(steps)
