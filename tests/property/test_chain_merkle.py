"""Merkle trees against a recursive definition; branches against roots."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from hashwerk.chain.header import double_sha256
from hashwerk.chain.merkle import is_ambiguous, merkle_branch, merkle_root, root_from_branch

# Few different leaves, so that repetitions happen.
LEAVES = st.lists(st.integers(0, 3).map(lambda number: bytes([number]) * 32), min_size=1, max_size=70)
UNIQUE = st.integers(1, 200).map(lambda count: [number.to_bytes(32, "big") for number in range(count)])


def recursive_root(leaves: list[bytes], height: int) -> bytes:
    """The root of a tree of this height whose missing right parts repeat the left ones."""
    if height == 0:
        return leaves[0]
    half = 1 << height - 1
    left = recursive_root(leaves[:half], height - 1)
    right = recursive_root(leaves[half:], height - 1) if len(leaves) > half else left
    return double_sha256(left + right)


@given(LEAVES)
def test_the_root_agrees_with_the_recursive_definition(leaves: list[bytes]) -> None:
    height = (len(leaves) - 1).bit_length()
    assert merkle_root(leaves) == recursive_root(leaves, height)


@given(LEAVES)
def test_the_branch_gives_the_root_for_any_first_leaf(leaves: list[bytes]) -> None:
    branch = merkle_branch(leaves[1:])
    assert len(branch) == (len(leaves) - 1).bit_length()
    assert root_from_branch(leaves[0], branch) == merkle_root(leaves)
    other = b"\xff" * 32
    assert root_from_branch(other, branch) == merkle_root([other, *leaves[1:]])


@given(UNIQUE, st.data())
def test_a_repeated_tail_with_the_same_root_is_always_found(leaves: list[bytes], data: st.DataObject) -> None:
    assert not is_ambiguous(leaves)
    size = data.draw(st.integers(1, len(leaves)))
    longer = leaves + leaves[-size:]
    if merkle_root(longer) == merkle_root(leaves):
        assert is_ambiguous(longer)
