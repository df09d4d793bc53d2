"""The compiled merkle branch against the plain one."""

from __future__ import annotations

import random

import pytest

from hashwerk.chain.merkle import merkle_branch, merkle_root, root_from_branch
from hashwerk.work.branch import fast_merkle_branch


@pytest.mark.parametrize("count", [*range(34), 63, 64, 65, 1000, 4321])
def test_both_give_the_same_branch(count: int) -> None:
    drawn = random.Random(count)
    hashes = [drawn.randbytes(32) for _ in range(count)]
    branch = fast_merkle_branch(hashes)
    assert branch == merkle_branch(hashes)
    coinbase = drawn.randbytes(32)
    assert root_from_branch(coinbase, branch) == merkle_root([coinbase, *hashes])
