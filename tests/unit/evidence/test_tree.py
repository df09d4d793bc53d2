"""Merkle-sum trees: sums of each child apart, odd nodes promoted, overflow a failure."""

import hashlib

import numpy as np
import pytest

from hashwerk.errors import EvidenceError
from hashwerk.evidence import share_tree, tree
from hashwerk.evidence.share_tree import CHUNK_SHARES, GrowingRoot, Level, leaf_level
from hashwerk.evidence.tree import RECORDS, SHARES, Node


def leaf(number: int, work_log2: int = 5) -> Node:
    return Node(hashlib.sha256(bytes([number])).digest(), (1 << work_log2,), 1)


def level(nodes: list[Node]) -> Level:
    hashes = np.frombuffer(b"".join(node.hash for node in nodes), np.uint8).reshape(-1, 32)
    return leaf_level(hashes, np.array([node.sums[0].bit_length() - 1 for node in nodes], np.uint8))


def test_a_node_commits_to_each_child_apart() -> None:
    left, right = leaf(1, 3), leaf(2, 4)
    spelled = b"\x02"
    for node in (left, right):
        spelled += node.sums[0].to_bytes(16, "big") + (1).to_bytes(8, "big") + node.hash
    found = tree.parent(SHARES, left, right)
    assert found == Node(hashlib.sha256(spelled).digest(), (24,), 2)
    swapped = [Node(left.hash, right.sums, 1), Node(right.hash, left.sums, 1)]
    assert tree.root(SHARES, swapped).sums == found.sums
    assert tree.root(SHARES, swapped).hash != found.hash


def test_the_last_node_of_an_odd_level_is_promoted() -> None:
    nodes = [leaf(i) for i in range(3)]
    assert tree.root(SHARES, nodes) == tree.parent(SHARES, tree.parent(SHARES, nodes[0], nodes[1]), nodes[2])
    assert tree.root(SHARES, nodes).hash != tree.root(SHARES, [*nodes, nodes[2]]).hash


def test_the_empty_tree_and_the_single_leaf() -> None:
    assert tree.root(SHARES, []) == Node(bytes(32), (0,), 0)
    assert tree.root(SHARES, [leaf(1)]) == leaf(1)


@pytest.mark.parametrize("count", [1, 2, 3, 5, 8, 31])
def test_every_path_leads_to_the_root(count: int) -> None:
    nodes = [leaf(i, i % 70) for i in range(count)]
    levels = tree.levels(SHARES, nodes)
    for index, node in enumerate(nodes):
        path = tree.path(levels, index)
        assert tree.climb(SHARES, node, path) == levels[-1][0]
        sums, before = tree.before(SHARES, path)
        assert (sums[0], before) == (sum(n.sums[0] for n in nodes[:index]), index)
        assert share_tree.path_of(share_tree.all_levels(level(nodes)), index) == path
    with pytest.raises(EvidenceError):
        tree.path(levels, count)


def test_a_sum_that_overflows_is_a_failure() -> None:
    most = Node(bytes(32), ((1 << 128) - 1,), 1)
    with pytest.raises(EvidenceError, match="overflows"):
        tree.root(SHARES, [most, leaf(1)])
    with pytest.raises(EvidenceError, match="does not fit"):
        tree.parent(RECORDS, Node(bytes(32), (-1,) * 6, 1), Node(bytes(32), (0,) * 6, 1))
    rows = Level(np.zeros((2, 32), np.uint8), np.array([[2**63, 0, 1], [2**63, 0, 1]], np.uint64))
    with pytest.raises(EvidenceError, match="overflows"):
        share_tree.parents(rows)
    carry = Level(np.zeros((2, 32), np.uint8), np.array([[2**64 - 1, 2**63, 1], [0, 2**63, 1]], np.uint64))
    with pytest.raises(EvidenceError, match="overflows"):
        share_tree.parents(carry)


def test_chunks_grow_the_same_root() -> None:
    count = 2 * CHUNK_SHARES + 77
    hashes = np.random.default_rng(3).integers(0, 256, (count, 32), dtype=np.uint8)
    work = np.full(count, 33, np.uint8)
    growing = GrowingRoot()
    for start in range(0, count, CHUNK_SHARES):
        growing.add(leaf_level(hashes[start : start + CHUNK_SHARES], work[start : start + CHUNK_SHARES]))
    assert growing.root() == share_tree.root_of(leaf_level(hashes, work))
    with pytest.raises(EvidenceError, match="where it belongs"):
        growing.add(leaf_level(hashes[:1], work[:1]))
