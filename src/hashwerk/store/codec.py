"""The blobs of the ledger: packed share records, counts and lists of identifiers.

Shares are stored as they came (`RAW`) and, once their group is old, as zlib-compressed columns (`COLUMNS`):
all bytes number 0 of the records, then all bytes number 1, and so on. That loses nothing and roughly halves
them.
"""

from __future__ import annotations

import zlib
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from hashwerk.errors import DecodeError
from hashwerk.stratum.ports import ShareRecords
from hashwerk.work.share import SHARE_DTYPE

RAW: Final = 0
COLUMNS: Final = 1

#: How many shares one worker handed in at one target with one verdict. Little-endian, no padding; 12 bytes.
COUNT_DTYPE: Final = np.dtype(
    [("worker", "<u4"), ("count", "<u4"), ("work_log2", "u1"), ("verdict", "u1"), ("pad", "<u2")]
)
Counts = NDArray[np.void]  # rows of COUNT_DTYPE, sorted by worker, work_log2, verdict; no two alike

_COMPRESSION_LEVEL: Final = 6
_HASH_SIZE: Final = 32


def encode_shares(shares: ShareRecords, encoding: int) -> bytes:
    """Return the records as one blob."""
    return encode_records(shares, encoding)


def decode_shares(blob: bytes, encoding: int, count: int) -> ShareRecords:
    """Return the records of a blob, read-only.

    Raises:
        DecodeError: If the blob does not hold exactly ``count`` records.
    """
    return decode_records(blob, encoding, count, SHARE_DTYPE, "shares")


def encode_records(records: NDArray[np.void], encoding: int) -> bytes:
    """Return packed records of any layout as one blob."""
    if encoding == RAW:
        return records.tobytes()
    rows = np.frombuffer(records.tobytes(), np.uint8).reshape(len(records), records.dtype.itemsize)
    return zlib.compress(np.ascontiguousarray(rows.T).tobytes(), _COMPRESSION_LEVEL)


def decode_records(
    blob: bytes, encoding: int, count: int, layout: np.dtype[np.void], what: str
) -> NDArray[np.void]:
    """Return the records of a blob, read-only. ``what`` is what they are, for the message.

    Raises:
        DecodeError: If the blob does not hold exactly ``count`` records of this layout.
    """
    if encoding == COLUMNS:
        try:
            columns = zlib.decompress(blob)
        except zlib.error as error:
            raise DecodeError(f"group of {what} is damaged: {error}") from error
        if len(columns) != count * layout.itemsize:
            raise DecodeError(f"group holds {len(columns)} bytes, not {count} {what}")
        matrix = np.frombuffer(columns, np.uint8).reshape(layout.itemsize, count)
        blob = np.ascontiguousarray(matrix.T).tobytes()
    elif encoding != RAW:
        raise DecodeError(f"unknown encoding of {what}: {encoding}")
    if len(blob) != count * layout.itemsize:
        raise DecodeError(f"group holds {len(blob)} bytes, not {count} {what}")
    return np.frombuffer(blob, layout)


def count_shares(shares: ShareRecords) -> Counts:
    """Return how many of the records each worker, target and verdict has."""
    keys = (
        (shares["worker"].astype(np.uint64) << np.uint64(16))
        | (shares["work_log2"].astype(np.uint64) << np.uint64(8))
        | shares["verdict"].astype(np.uint64)
    )
    unique, counts = np.unique(keys, return_counts=True)
    return _counts(unique, counts)


def merge_counts(parts: list[Counts]) -> Counts:
    """Return the sum of several tables of counts.

    Raises:
        OverflowError: If one count leaves 32 bits.
    """
    if len(parts) == 1:
        return parts[0]
    rows = np.concatenate(parts) if parts else np.empty(0, COUNT_DTYPE)
    keys = (
        (rows["worker"].astype(np.uint64) << np.uint64(16))
        | (rows["work_log2"].astype(np.uint64) << np.uint64(8))
        | rows["verdict"].astype(np.uint64)
    )
    unique, inverse = np.unique(keys, return_inverse=True)
    sums = np.zeros(len(unique), np.int64)
    np.add.at(sums, inverse, rows["count"].astype(np.int64))
    return _counts(unique, sums)


def _counts(keys: NDArray[Any], counts: NDArray[np.int64]) -> Counts:
    if len(counts) and int(counts.max()) > 0xFFFF_FFFF:
        raise OverflowError(f"count does not fit in 32 bits: {int(counts.max())}")
    table = np.zeros(len(keys), COUNT_DTYPE)
    table["worker"] = keys >> np.uint64(16)
    table["work_log2"] = (keys >> np.uint64(8)) & np.uint64(0xFF)
    table["verdict"] = keys & np.uint64(0xFF)
    table["count"] = counts
    return table


def encode_counts(counts: Counts) -> bytes:
    """Return a table of counts as one blob."""
    return zlib.compress(counts.tobytes(), 1)


def decode_counts(blob: bytes) -> Counts:
    """Return the table of counts in a blob, read-only.

    Raises:
        DecodeError: If the blob is damaged.
    """
    try:
        return np.frombuffer(zlib.decompress(blob), COUNT_DTYPE)
    except (zlib.error, ValueError) as error:
        raise DecodeError(f"table of counts is damaged: {error}") from error


def encode_ids(ids: NDArray[np.int64]) -> bytes:
    """Return row ids in their order as one blob."""
    return ids.astype("<u8").tobytes()


def decode_ids(blob: bytes) -> list[int]:
    """Return the row ids of a blob in their order."""
    ids: list[int] = np.frombuffer(blob, "<u8").tolist()
    return ids


def split_hashes(blob: bytes) -> tuple[bytes, ...]:
    """Return the 32-byte hashes that a blob holds one after the other.

    Raises:
        DecodeError: If the blob is not a whole number of hashes.
    """
    if len(blob) % _HASH_SIZE:
        raise DecodeError(f"{len(blob)} bytes are not a whole number of hashes")
    return tuple(blob[start : start + _HASH_SIZE] for start in range(0, len(blob), _HASH_SIZE))


def plain_text(value: Any) -> str:
    """Return text as UTF-8 can hold it: a lone surrogate out of a peer's JSON becomes its escape."""
    return str(value).encode("utf-8", "backslashreplace").decode()
