"""Shares as leaves: 53 bytes each, so that one block of SHA-256 hashes a leaf; handled in batches.

The account of a leaf is that of the group it stands in, its work that of its job, or of the thinning rule where
that is harder. Both are bound by the job's tag, so a leaf need not repeat them.
"""

from __future__ import annotations

from typing import Any, Final

import numpy as np
from numba import njit
from numpy.typing import NDArray

from hashwerk.work.sha256 import INITIAL_STATE, compress

#: A share as evidence: fields in the order of the leaf.
LEAF_DTYPE: Final = np.dtype(
    [
        ("position", "<u4"),  # among the epoch's shares, from 0 without gaps
        ("time_us", "<u8"),
        ("session", "<u4"),
        ("worker", "<u4"),
        ("job", "<u4"),
        ("ntime", "<u4"),
        ("nonce", "<u4"),
        ("version", "<u4"),
        ("extranonce1", "<u8"),
        ("extranonce2", "<u8"),
    ]
)
Leaves = NDArray[np.void]  # rows of LEAF_DTYPE
Bytes2D = NDArray[np.uint8]

LEAF_SIZE: Final = 1 + LEAF_DTYPE.itemsize
assert LEAF_SIZE == 53


def pack_leaves(leaves: Leaves) -> Bytes2D:
    """Return the leaves' bytes, (n, 53): the domain 0x00, then the fields big-endian."""
    packed = np.zeros((len(leaves), LEAF_SIZE), np.uint8)
    at = 1
    for name in LEAF_DTYPE.names or ():
        size = LEAF_DTYPE[name].itemsize
        column = np.ascontiguousarray(leaves[name].astype(f">u{size}"))
        packed[:, at : at + size] = column.view(np.uint8).reshape(-1, size)
        at += size
    return packed


def leaf_hashes(leaves: Leaves) -> Bytes2D:
    """Return the leaf hashes, (n, 32)."""
    packed = pack_leaves(leaves)
    hashes = np.empty((len(leaves), 32), np.uint8)
    _hash_single_blocks(packed, hashes, INITIAL_STATE)
    return hashes


@njit(cache=True, nogil=True)
def put_state(out: Any, at: int, state: Any) -> None:
    """Write a state of eight words as the 32 bytes of a digest."""
    for k in range(8):
        word = state[k]
        out[at + 4 * k] = word >> 24
        out[at + 4 * k + 1] = (word >> 16) & 255
        out[at + 4 * k + 2] = (word >> 8) & 255
        out[at + 4 * k + 3] = word & 255


@njit(cache=True, nogil=True)
def _hash_single_blocks(packed: Any, hashes: Any, initial: Any) -> None:
    size = packed.shape[1]  # at most 55
    block = np.zeros(64, np.uint8)
    block[size] = 0x80
    block[62], block[63] = (8 * size) >> 8, (8 * size) & 255
    state = np.empty(8, np.uint32)
    for i in range(len(packed)):
        block[:size] = packed[i]
        for k in range(8):
            state[k] = initial[k]
        compress(state, block, 0)
        put_state(hashes[i], 0, state)
