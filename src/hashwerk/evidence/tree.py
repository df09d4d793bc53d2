"""Merkle-sum trees: a root that commits to leaves, to their number and to sums over them, subtree by subtree.

A node is SHA-256 of its domain, then for each child its sums, its count and its hash. Each child's sums are committed
apart: a node that committed only to their total could move amounts between its children. Sums are unsigned and of
fixed width, and a sum that overflows is a failure. The last node of an odd level is promoted, never doubled
(CVE-2012-2459). The empty tree has the root of 32 zero bytes.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Final

import msgspec

from hashwerk.errors import EvidenceError
from hashwerk.evidence.domains import ACCOUNT_NODE, EMPTY_ROOT, RECORD_NODE, SHARE_NODE, tagged
from hashwerk.evidence.leaf import SUM_COLUMNS

COUNT_SIZE: Final = 8
_PAUSE_NODES: Final = 32


class Shape(msgspec.Struct, frozen=True):
    """What sets one tree apart from another: the domain of its nodes and the widths of its sums in bytes."""

    domain: bytes
    widths: tuple[int, ...]


SHARES: Final = Shape(SHARE_NODE, (16,))  # work in hashes
ACCOUNTS: Final = Shape(ACCOUNT_NODE, (16,))
RECORDS: Final = Shape(RECORD_NODE, (8,) * len(SUM_COLUMNS))


class Node(msgspec.Struct, frozen=True):
    """A node, or a leaf: its hash, and what lies below it."""

    hash: bytes
    sums: tuple[int, ...]
    count: int


class Step(msgspec.Struct, frozen=True):
    """One level of a path: the sibling, and whether it stands on the left."""

    node: Node
    left: bool


def empty(shape: Shape) -> Node:
    """Return the root of a tree without leaves."""
    return Node(EMPTY_ROOT, (0,) * len(shape.widths), 0)


def parent(shape: Shape, left: Node, right: Node) -> Node:
    """Return the node above two.

    Raises:
        EvidenceError: If a sum overflows.
    """
    sums = tuple(a + b for a, b in zip(left.sums, right.sums, strict=True))
    for value, width in zip(sums, shape.widths, strict=True):
        if value >= 1 << 8 * width:
            raise EvidenceError(f"sum overflows {8 * width} bits: {value}")
    hash_ = tagged(shape.domain, committed(shape, left), committed(shape, right))
    return Node(hash_, sums, left.count + right.count)


def committed(shape: Shape, node: Node) -> bytes:
    """Return a child as its parent commits to it: sums, count, hash.

    Raises:
        EvidenceError: If a sum is negative or does not fit.
    """
    try:
        sums = b"".join(
            value.to_bytes(width, "big") for value, width in zip(node.sums, shape.widths, strict=True)
        )
        return sums + node.count.to_bytes(COUNT_SIZE, "big") + node.hash
    except OverflowError as error:
        raise EvidenceError(f"sum does not fit: {node.sums}, {node.count}") from error


def levels(shape: Shape, leaves: Sequence[Node]) -> list[list[Node]]:
    """Return all levels, leaves first, root last. Without leaves the one level holds the empty root."""
    if not leaves:
        return [[empty(shape)]]
    found = [list(leaves)]
    while len(found[-1]) > 1:
        below = found[-1]
        above = [parent(shape, below[i], below[i + 1]) for i in range(0, len(below) - 1, 2)]
        if len(below) % 2:
            above.append(below[-1])
        found.append(above)
    return found


def go_on() -> None:
    """Do not pause."""


def root(shape: Shape, leaves: Sequence[Node], pause: Callable[[], None] = go_on) -> Node:
    """Return the root of a tree; ``pause`` is called after every few nodes."""
    if not leaves:
        return empty(shape)
    level = list(leaves)
    while len(level) > 1:
        above = []
        for index in range(0, len(level) - 1, 2):
            above.append(parent(shape, level[index], level[index + 1]))
            if index % _PAUSE_NODES == 0:
                pause()
        if len(level) % 2:
            above.append(level[-1])
        level = above
    return level[0]


def path(tree: Sequence[Sequence[Node]], index: int) -> tuple[Step, ...]:
    """Return the path of leaf ``index`` in the `levels` of a tree, from its sibling upwards.

    Raises:
        EvidenceError: If there is no such leaf.
    """
    if not 0 <= index < len(tree[0]):
        raise EvidenceError(f"there is no leaf {index} among {len(tree[0])}")
    steps = []
    for level in tree[:-1]:
        sibling = index ^ 1
        if sibling < len(level):
            steps.append(Step(level[sibling], left=sibling < index))
        index //= 2
    return tuple(steps)


def climb(shape: Shape, leaf: Node, steps: Sequence[Step]) -> Node:
    """Return the root that a leaf and its path lead to.

    Raises:
        EvidenceError: If a sum overflows or is negative.
    """
    node = leaf
    for step in steps:
        node = parent(shape, step.node, node) if step.left else parent(shape, node, step.node)
    return node


def before(shape: Shape, steps: Sequence[Step]) -> tuple[tuple[int, ...], int]:
    """Return the sums and the count of all leaves that stand before the one of this path."""
    sums, count = [0] * len(shape.widths), 0
    for step in steps:
        if step.left:
            sums = [a + b for a, b in zip(sums, step.node.sums, strict=True)]
            count += step.node.count
    return tuple(sums), count
