"""The merkle tree of a block's transactions.

Nodes are double SHA-256 of their two children; a level with an odd number of nodes repeats its last one. That
repetition makes two different lists with one root (CVE-2012-2459): a list whose tail is written twice. A root
is therefore evidence of a list only where `is_ambiguous` says no.

All hashes are 32 bytes in internal order.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from hashlib import sha256

from hashwerk.chain.header import double_sha256


def merkle_root(hashes: Sequence[bytes]) -> bytes:
    """Return the merkle root of a list of transaction hashes.

    Raises:
        ValueError: If the list is empty.
    """
    if not hashes:
        raise ValueError("a merkle tree has at least one leaf")
    level = list(hashes)
    while len(level) > 1:
        level = _parents(level)
    return level[0]


def merkle_branch(hashes: Sequence[bytes]) -> tuple[bytes, ...]:
    """Return the branch of leaf 0, from its sibling upwards, given the hashes of all *other* leaves in order.

    This is what a Stratum job carries: with it, any coinbase gives the root (see `root_from_branch`).
    """
    branch = []
    level = list(hashes)  # without its first node, which is not known yet
    while level:
        branch.append(level[0])
        if len(level) % 2 == 0:
            level.append(level[-1])
        level = _parents(level[1:])
    return tuple(branch)


def root_from_branch(leaf: bytes, branch: Iterable[bytes]) -> bytes:
    """Return the merkle root from leaf 0 and its branch."""
    for sibling in branch:
        leaf = double_sha256(leaf + sibling)
    return leaf


def is_ambiguous(hashes: Sequence[bytes]) -> bool:
    """Return whether another list may have the same root (CVE-2012-2459).

    That is so when two sibling nodes are equal at any level, the repetition of an odd last node not counted.
    """
    level = list(hashes)
    while len(level) > 1:
        if any(level[i] == level[i + 1] for i in range(0, len(level) - 1, 2)):
            return True
        level = _parents(level)
    return False


def _parents(level: list[bytes]) -> list[bytes]:
    """Return the next level up; an odd last node is paired with itself. Appends to ``level`` in that case."""
    if len(level) % 2:
        level.append(level[-1])
    nodes = iter(level)
    # Written out, because this is all the time a new template costs.
    return [sha256(sha256(left + right).digest()).digest() for left, right in zip(nodes, nodes, strict=True)]
