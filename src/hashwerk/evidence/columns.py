"""Chunks of shares as columns: each field's smallest value, then the differences from it in as few bytes as fit.

Base and width follow from the values, so there is one spelling; nothing is compressed, and a chunk of a known number
of shares has a known greatest size.
"""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import NDArray

from hashwerk.errors import DecodeError
from hashwerk.evidence.canonical import Reader
from hashwerk.evidence.share_leaf import LEAF_DTYPE, Leaves
from hashwerk.evidence.share_tree import CHUNK_SHARES

_NAMES: Final = LEAF_DTYPE.names or ()


def encode_chunk(leaves: Leaves) -> bytes:
    """Return 1 … `CHUNK_SHARES` leaves as columns: for each field base (8 bytes), width (1), and the differences."""
    parts = [len(leaves).to_bytes(4, "big")]
    for name in _NAMES:
        values = leaves[name].astype(np.uint64)
        base = int(values.min())
        offsets = values - np.uint64(base)
        width = (int(offsets.max()).bit_length() + 7) // 8
        matrix = np.ascontiguousarray(offsets.astype(">u8")).view(np.uint8).reshape(-1, 8)
        parts.append(base.to_bytes(8, "big") + bytes((width,)))
        parts.append(matrix[:, 8 - width :].tobytes())
    return b"".join(parts)


def decode_chunk(data: bytes) -> Leaves:
    """Return the leaves of a chunk.

    Raises:
        DecodeError: If the bytes are not the one spelling of a chunk.
    """
    reader = Reader(data)
    count = reader.uint(4)
    if not 0 < count <= CHUNK_SHARES:
        raise DecodeError(f"chunk of {count} shares")
    leaves = np.zeros(count, LEAF_DTYPE)
    for name in _NAMES:
        base, width = reader.uint(8), reader.uint(1)
        offsets = _offsets(reader, count, width)
        least, most = int(offsets.min()), int(offsets.max())
        if least or width != (most.bit_length() + 7) // 8:
            raise DecodeError(f"column {name} is not in its shortest form")
        if base + most >= 1 << 8 * LEAF_DTYPE[name].itemsize:
            raise DecodeError(f"column {name} does not fit")
        leaves[name] = offsets + np.uint64(base)
    reader.finish("chunk")
    return leaves


def _offsets(reader: Reader, count: int, width: int) -> NDArray[np.uint64]:
    if width > 8:
        raise DecodeError(f"column of {width} bytes a value")
    matrix = np.zeros((count, 8), np.uint8)
    matrix[:, 8 - width :] = np.frombuffer(reader.take(count * width), np.uint8).reshape(count, width)
    return matrix.view(">u8").reshape(count).astype(np.uint64)
