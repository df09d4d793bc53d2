"""The merkle branch of the coinbase in compiled code: a block of thousands of transactions in half a millisecond.

It gives what `chain.merkle.merkle_branch` gives; a test holds the two together. The branch stands between a new template and
its first job.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numba import njit

from hashwerk.work.sha256 import INITIAL_STATE, compress


def fast_merkle_branch(hashes: Sequence[bytes]) -> tuple[bytes, ...]:
    """Return the branch of leaf 0, from its sibling upwards, given the hashes of all *other* leaves in order."""
    if not hashes:
        return ()
    # The tree's first row, with a place for the coinbase, and one for a repeated last node.
    nodes = np.zeros((len(hashes) + 2, 32), np.uint8)
    nodes[1:-1] = np.frombuffer(b"".join(hashes), np.uint8).reshape(-1, 32)
    branch = np.empty((64, 32), np.uint8)
    levels = int(_climb(nodes, len(hashes) + 1, branch, INITIAL_STATE))
    return tuple(bytes(sibling) for sibling in branch[:levels])


@njit(cache=True, nogil=True)
def _climb(nodes: Any, count: int, branch: Any, initial: Any) -> int:
    """Replace the nodes by their parents level by level, keeping the sibling of the first path; return the levels."""
    state = np.empty(8, np.uint32)
    pair = np.zeros(128, np.uint8)
    pair[64], pair[126] = 0x80, 0x02  # 512 bits
    digest = np.zeros(64, np.uint8)
    digest[32], digest[62] = 0x80, 0x01  # 256 bits
    level = 0
    while count > 1:
        branch[level] = nodes[1]
        level += 1
        if count & 1:
            nodes[count] = nodes[count - 1]
            count += 1
        for parent in range(1, count // 2):
            pair[:32] = nodes[2 * parent]
            pair[32:64] = nodes[2 * parent + 1]
            for k in range(8):
                state[k] = initial[k]
            compress(state, pair, 0)
            compress(state, pair, 64)
            for k in range(8):
                digest[4 * k] = state[k] >> 24
                digest[4 * k + 1] = (state[k] >> 16) & 255
                digest[4 * k + 2] = (state[k] >> 8) & 255
                digest[4 * k + 3] = state[k] & 255
                state[k] = initial[k]
            compress(state, digest, 0)
            for k in range(8):
                nodes[parent, 4 * k] = state[k] >> 24
                nodes[parent, 4 * k + 1] = (state[k] >> 16) & 255
                nodes[parent, 4 * k + 2] = (state[k] >> 8) & 255
                nodes[parent, 4 * k + 3] = state[k] & 255
        count //= 2
    return level
