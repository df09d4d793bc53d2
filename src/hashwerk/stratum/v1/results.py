"""The answers to many shares at once, written in compiled code.

The bytes are those of `codec.encode_verdict`, line by line.
"""

from __future__ import annotations

from typing import Any, Final

import numpy as np
from numba import njit
from numpy.typing import NDArray

from hashwerk.stratum.v1.codec import encode_verdict
from hashwerk.work.share import Verdict

_PREFIX: Final = np.frombuffer(b'{"id":', np.uint8)
_MAX_DIGITS: Final = 20


def _tails() -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    """Return what follows the id for every verdict, and how long that is."""
    lines = [encode_verdict(0, verdict).removeprefix(b'{"id":0') for verdict in Verdict]
    tails = np.zeros((len(lines), max(map(len, lines))), np.uint8)
    for verdict, line in zip(Verdict, lines, strict=True):
        tails[verdict, : len(line)] = np.frombuffer(line, np.uint8)
    return tails, np.array([len(line) for line in lines], np.int64)


_TAILS, _TAIL_SIZES = _tails()
_MAX_LINE_BYTES: Final = len(_PREFIX) + _MAX_DIGITS + _TAILS.shape[1]


@njit(cache=True, nogil=True)
def _write_results(  # noqa: PLR0917 - compiled code takes no keywords
    ids: Any, verdicts: Any, prefix: Any, tails: Any, tail_sizes: Any, out: Any, starts: Any
) -> int:
    digits = np.empty(20, np.uint8)
    at = 0
    for i in range(len(ids)):
        starts[i] = at
        for k in range(len(prefix)):
            out[at + k] = prefix[k]
        at += len(prefix)
        value = ids[i]
        count = 0
        while True:
            quotient = value // np.uint64(10)
            digits[count] = np.uint8(48) + np.uint8(value - quotient * np.uint64(10))
            count += 1
            value = quotient
            if value == 0:
                break
        for k in range(count):
            out[at + k] = digits[count - 1 - k]
        at += count
        tail = tails[verdicts[i]]
        size = tail_sizes[verdicts[i]]
        for k in range(size):
            out[at + k] = tail[k]
        at += size
    starts[len(ids)] = at
    return at


class Results:
    """The lines for a batch of shares, one after the other."""

    __slots__ = ("data", "starts")

    def __init__(self, data: memoryview, starts: NDArray[np.int64]) -> None:
        """Hold lines and where each starts; one more entry than shares."""
        self.data: Final = data
        self.starts: Final = starts

    def lines(self, first: int, last: int) -> bytes:
        """Return the lines of the shares ``first`` up to, not including, ``last``."""
        return bytes(self.data[self.starts[first] : self.starts[last]])


def encode_batch(ids: NDArray[np.uint64], verdicts: NDArray[np.uint8]) -> Results:
    """Return the answers to shares, so that each session's part can be cut out.

    Args:
        ids: The ids of the requests, shape (n,).
        verdicts: `Verdict` numbers, shape (n,).

    Raises:
        ValueError: If the shapes differ or a number is no verdict.
    """
    if ids.shape != verdicts.shape:
        raise ValueError(f"{ids.shape} ids for {verdicts.shape} verdicts")
    if len(verdicts) and verdicts.max() >= len(_TAIL_SIZES):
        raise ValueError(f"no such verdict: {verdicts.max()}")
    out = np.empty(len(ids) * _MAX_LINE_BYTES, np.uint8)
    starts = np.empty(len(ids) + 1, np.int64)
    size = _write_results(ids, verdicts, _PREFIX, _TAILS, _TAIL_SIZES, out, starts)
    return Results(out[:size].data, starts)


def encode_results(ids: NDArray[np.uint64], verdicts: NDArray[np.uint8]) -> bytes:
    """Return the answers to shares as one piece of bytes; arguments and errors as for `encode_batch`."""
    return bytes(encode_batch(ids, verdicts).data)


def warm_up() -> None:
    """Compile the writer, or load it from the cache, so that the first answer does not wait for that."""
    encode_results(np.zeros(1, np.uint64), np.zeros(1, np.uint8))
