"""Merkle trees: by hand up to five leaves, and the repetition of CVE-2012-2459."""

from __future__ import annotations

import pytest

from hashwerk.chain.header import double_sha256
from hashwerk.chain.merkle import is_ambiguous, merkle_branch, merkle_root, root_from_branch

A, B, C, D, E = (bytes([number]) * 32 for number in range(1, 6))


def pair(left: bytes, right: bytes) -> bytes:
    return double_sha256(left + right)


def test_roots_by_hand() -> None:
    assert merkle_root([A]) == A
    assert merkle_root([A, B]) == pair(A, B)
    assert merkle_root([A, B, C]) == pair(pair(A, B), pair(C, C))
    five = pair(pair(pair(A, B), pair(C, D)), pair(pair(E, E), pair(E, E)))
    assert merkle_root([A, B, C, D, E]) == five


def test_an_empty_tree_is_refused() -> None:
    with pytest.raises(ValueError, match="at least one leaf"):
        merkle_root([])


def test_branches_by_hand() -> None:
    assert merkle_branch([]) == ()
    assert merkle_branch([B]) == (B,)
    assert merkle_branch([B, C]) == (B, pair(C, C))
    assert merkle_branch([B, C, D]) == (B, pair(C, D))
    assert merkle_branch([B, C, D, E]) == (B, pair(C, D), pair(pair(E, E), pair(E, E)))


def test_the_arguments_are_left_alone() -> None:
    hashes = [A, B, C]
    merkle_root(hashes)
    merkle_branch(hashes)
    is_ambiguous(hashes)
    assert hashes == [A, B, C]


def test_a_branch_and_its_leaf_give_the_root() -> None:
    assert root_from_branch(A, merkle_branch([B, C, D, E])) == merkle_root([A, B, C, D, E])
    assert root_from_branch(A, []) == A


def test_two_lists_with_one_root_are_told_apart() -> None:
    assert merkle_root([A, B, C]) == merkle_root([A, B, C, C])
    assert not is_ambiguous([A, B, C])
    assert is_ambiguous([A, B, C, C])
    # The same one level up: the list of six, its last pair written twice.
    six = [A, B, C, D, E, A]
    assert merkle_root(six) == merkle_root([*six, E, A])
    assert not is_ambiguous(six)
    assert is_ambiguous([*six, E, A])


def test_equal_leaves_that_are_no_siblings_are_not_ambiguous() -> None:
    assert not is_ambiguous([A, B, B, C])
