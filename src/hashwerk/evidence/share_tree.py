"""The Merkle-sum trees of shares, in compiled code: one tree for each account of an epoch, and one above them.

It gives what `tree` gives with `tree.SHARES`, node by node; a property test holds the two together.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

import numpy as np
from numba import njit
from numpy.typing import NDArray

from hashwerk.errors import EvidenceError
from hashwerk.evidence import tree
from hashwerk.evidence.domains import ACCOUNT_LEAF, tagged
from hashwerk.evidence.share_leaf import Bytes2D, put_state
from hashwerk.evidence.tree import Node
from hashwerk.work.sha256 import INITIAL_STATE, compress

#: Shares are read and written so many at a time. A power of two: a whole chunk is a whole subtree.
CHUNK_SHARES: Final = 1 << 14


class Level:
    """One level of a tree as arrays: hashes (n, 32), and sums and counts as (n, 3) numbers: high, low, count."""

    __slots__ = ("hashes", "sums")

    def __init__(self, hashes: Bytes2D, sums: NDArray[np.uint64]) -> None:
        self.hashes = hashes
        self.sums = sums

    def __len__(self) -> int:
        return len(self.hashes)

    def node(self, index: int) -> Node:
        """Return one node."""
        high, low, count = (int(value) for value in self.sums[index])
        return Node(bytes(self.hashes[index]), (high << 64 | low,), count)


def leaf_level(hashes: Bytes2D, work_log2: NDArray[np.uint8]) -> Level:
    """Return the leaves of a tree: each counts once and adds 2**work_log2 hashes."""
    sums = np.zeros((len(hashes), 3), np.uint64)
    wide = work_log2.astype(np.uint64)
    sums[:, 0] = np.where(wide >= 64, np.uint64(1) << (wide % np.uint64(64)), np.uint64(0))
    sums[:, 1] = np.where(wide < 64, np.uint64(1) << (wide % np.uint64(64)), np.uint64(0))
    sums[:, 2] = 1
    return Level(hashes, sums)


def parents(level: Level, shape: tree.Shape = tree.SHARES) -> Level:
    """Return the level above one of at least two nodes, of shares or of accounts.

    Raises:
        EvidenceError: If a sum overflows 128 bits.
    """
    count = len(level) // 2
    odd = len(level) % 2
    above = Level(np.empty((count + odd, 32), np.uint8), np.empty((count + odd, 3), np.uint64))
    if not _parents(level.hashes, level.sums, above.hashes, above.sums, shape.domain[0], INITIAL_STATE):
        raise EvidenceError("sum of work overflows 128 bits")
    if odd:
        above.hashes[-1], above.sums[-1] = level.hashes[-1], level.sums[-1]
    return above


def all_levels(leaves: Level) -> list[Level]:
    """Return all levels of a tree of at least one leaf, leaves first."""
    found = [leaves]
    while len(found[-1]) > 1:
        found.append(parents(found[-1]))
    return found


def root_of(leaves: Level, shape: tree.Shape = tree.SHARES) -> Node:
    """Return the root of a tree, of shares or of accounts; without leaves the empty one."""
    if not len(leaves):
        return tree.empty(shape)
    level = leaves
    while len(level) > 1:
        level = parents(level, shape)
    return level.node(0)


def path_of(levels: Sequence[Level], index: int) -> tuple[tree.Step, ...]:
    """Return the path of a leaf, from its sibling upwards.

    Raises:
        EvidenceError: If there is no such leaf.
    """
    if not 0 <= index < len(levels[0]):
        raise EvidenceError(f"there is no leaf {index} among {len(levels[0])}")
    steps = []
    for level in levels[:-1]:
        sibling = index ^ 1
        if sibling < len(level):
            steps.append(tree.Step(level.node(sibling), left=sibling < index))
        index //= 2
    return tuple(steps)


class GrowingRoot:
    """The root of a tree whose leaves come in chunks of `CHUNK_SHARES`, only the last one shorter.

    It keeps one node a chunk: 99 million shares take 6,000.
    """

    __slots__ = ("_chunks", "_closed")

    def __init__(self) -> None:
        self._chunks: list[Node] = []
        self._closed = False

    def add(self, leaves: Level) -> None:
        """Add the next chunk.

        Raises:
            EvidenceError: If it is empty, too long, or follows a short one.
        """
        self.add_root(root_of(leaves), len(leaves))

    def add_root(self, node: Node, count: int) -> None:
        """Add the next chunk of ``count`` leaves by its root.

        Raises:
            EvidenceError: If it is empty, too long, or follows a short one.
        """
        if self._closed or not 0 < count <= CHUNK_SHARES:
            raise EvidenceError(f"chunk of {count} shares is not where it belongs")
        self._closed = count < CHUNK_SHARES
        self._chunks.append(node)

    def root(self) -> Node:
        """Return the root of all leaves so far."""
        return tree.root(tree.SHARES, self._chunks)


def account_leaf(account: bytes, shares: Node) -> Node:
    """Return an account as a leaf of the tree above: commitment, work, count and root of its shares."""
    hash_ = tagged(ACCOUNT_LEAF, account, tree.committed(tree.SHARES, shares))
    return Node(hash_, shares.sums, shares.count)


def account_level(accounts: Bytes2D, roots: Level) -> Level:
    """Return accounts (n, 32) as leaves of the tree above, given with the roots of their shares."""
    hashes = np.empty((len(roots), 32), np.uint8)
    _account_leaves(accounts, roots.hashes, roots.sums, hashes, ACCOUNT_LEAF[0], INITIAL_STATE)
    return Level(hashes, roots.sums)


@njit(cache=True, nogil=True)
def _put_number(block: Any, at: int, value: Any) -> None:
    for k in range(8):
        block[at + k] = np.uint8((value >> np.uint64(8 * (7 - k))) & np.uint64(255))


@njit(cache=True, nogil=True)
def _account_leaves(  # noqa: PLR0917 - compiled code takes no keywords
    accounts: Any, roots: Any, sums: Any, hashes: Any, domain: int, initial: Any
) -> None:
    size = 1 + 32 + 16 + 8 + 32
    blocks = np.zeros(128, np.uint8)
    blocks[0] = domain
    blocks[size] = 0x80
    blocks[126], blocks[127] = (8 * size) >> 8, (8 * size) & 255
    state = np.empty(8, np.uint32)
    for i in range(len(accounts)):
        blocks[1:33] = accounts[i]
        for k in range(3):
            _put_number(blocks, 33 + 8 * k, sums[i, k])
        blocks[57:89] = roots[i]
        for k in range(8):
            state[k] = initial[k]
        compress(state, blocks, 0)
        compress(state, blocks, 64)
        put_state(hashes[i], 0, state)


@njit(cache=True, nogil=True)
def _parents(  # noqa: PLR0917 - compiled code takes no keywords
    hashes: Any, sums: Any, above_hashes: Any, above_sums: Any, domain: int, initial: Any
) -> bool:
    size = 1 + 2 * (16 + 8 + 32)
    blocks = np.zeros(128, np.uint8)
    blocks[0] = domain
    blocks[size] = 0x80
    blocks[126], blocks[127] = (8 * size) >> 8, (8 * size) & 255
    state = np.empty(8, np.uint32)
    for parent in range(len(hashes) // 2):
        for side in range(2):
            child = 2 * parent + side
            at = 1 + 56 * side
            for k in range(3):
                _put_number(blocks, at + 8 * k, sums[child, k])
            blocks[at + 24 : at + 56] = hashes[child]
        for k in range(8):
            state[k] = initial[k]
        compress(state, blocks, 0)
        compress(state, blocks, 64)
        put_state(above_hashes[parent], 0, state)
        low = sums[2 * parent, 1] + sums[2 * parent + 1, 1]
        carry = np.uint64(1) if low < sums[2 * parent, 1] else np.uint64(0)
        high = sums[2 * parent, 0] + sums[2 * parent + 1, 0]
        overflow = high < sums[2 * parent, 0]
        total = high + carry
        if overflow or total < high:
            return False
        above_sums[parent, 0], above_sums[parent, 1] = total, low
        above_sums[parent, 2] = sums[2 * parent, 2] + sums[2 * parent + 1, 2]
    return True
