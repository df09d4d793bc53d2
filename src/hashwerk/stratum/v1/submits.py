"""Runs of shares read straight from the bytes of a socket, in compiled code.

Nearly all bytes a server reads are ``mining.submit`` lines, and nearly all of those are written in one of a
few ways. `scan_submits` reads such lines, *canonical* ones, into rows without making a single Python object,
and stops at the first that is not: an incomplete one, another method, an escape, anything odd. That line goes
to `ServerSession.receive_line`, which reads everything, and what a row says is exactly what its
`SubmitReceived` would say of the same line.

A canonical line is shorter than 1 KiB and holds one JSON object with the keys ``id`` (a whole number below
10**19), ``method`` and ``params``, each once and in any order, perhaps ``jsonrpc``, and only strings of
printable ASCII without a backslash; params are user, job id (1 to 8 hex digits), extranonce2 (1 to 8 bytes),
ntime, nonce, and perhaps version bits or null.
"""

from __future__ import annotations

from enum import IntEnum
from typing import Any, Final

import numpy as np
from numba import njit
from numpy.typing import NDArray

from hashwerk.stratum.v1.codec import MIN_MAX_LINE_BYTES
from hashwerk.stratum.v1.user_hash import FNV_OFFSET, FNV_PRIME

#: One share as its machine handed it in. Offsets count from the start of the scanned buffer.
SUBMIT_DTYPE: Final = np.dtype(
    [
        ("id", "<u8"),
        ("extranonce2", "<u8"),  # as a big-endian number
        ("user_hash", "<u8"),  # see user_hash.user_hash
        ("job", "<u4"),
        ("ntime", "<u4"),
        ("nonce", "<u4"),
        ("version_bits", "<u4"),  # 0 where has_version is 0
        ("user_start", "<u4"),
        ("line_start", "<u4"),
        ("segment", "<u4"),  # which segment of a batch
        ("user_length", "<u2"),
        ("extranonce2_size", "u1"),  # bytes
        ("has_version", "u1"),
    ],
    align=True,
)


class Stop(IntEnum):
    """Why a scan ended where it did."""

    END = 0  # all was read
    INCOMPLETE = 1  # the last line has no end yet
    OTHER_LINE = 2  # a whole line that is not canonical
    FULL = 3  # no row left


_END: Final = int(Stop.END)
_INCOMPLETE: Final = int(Stop.INCOMPLETE)
_OTHER_LINE: Final = int(Stop.OTHER_LINE)
_FULL: Final = int(Stop.FULL)

_MAX_LINE_BYTES: Final = MIN_MAX_LINE_BYTES
_MAX_ID_DIGITS: Final = 19
_MAX_USER_BYTES: Final = 255
_FNV_OFFSET: Final = np.uint64(FNV_OFFSET)
_FNV_PRIME: Final = np.uint64(FNV_PRIME)

_QUOTE, _COLON, _COMMA, _BACKSLASH, _LF = (np.uint8(ord(c)) for c in '":,\\\n')
_OPEN, _CLOSE, _OPEN_LIST, _CLOSE_LIST, _LETTER_N = (np.uint8(ord(c)) for c in "{}[]n")

_ID: Final = np.frombuffer(b'"id"', np.uint8)
_METHOD: Final = np.frombuffer(b'"method"', np.uint8)
_PARAMS: Final = np.frombuffer(b'"params"', np.uint8)
_JSONRPC: Final = np.frombuffer(b'"jsonrpc"', np.uint8)
_SUBMIT: Final = np.frombuffer(b'"mining.submit"', np.uint8)
_VERSION_2: Final = np.frombuffer(b'"2.0"', np.uint8)
_NULL: Final = np.frombuffer(b"null", np.uint8)


def _hex_values() -> NDArray[np.uint8]:
    values = np.full(256, 255, np.uint8)
    for digit in "0123456789abcdefABCDEF":
        values[ord(digit)] = int(digit, 16)
    return values


_HEX: Final = _hex_values()
_NOT_HEX: Final = 255


@njit(cache=True, nogil=True, inline="always")
def _skip_space(buffer: Any, at: int, end: int) -> int:
    """Return where the next byte stands that is no space, tab or CR."""
    while at < end and (buffer[at] == 32 or buffer[at] == 9 or buffer[at] == 13):
        at += 1
    return at


@njit(cache=True, nogil=True, inline="always")
def _past(buffer: Any, at: int, end: int, word: Any) -> int:
    """Return where ``word`` ends if it stands here, else -1."""
    size = len(word)
    if at + size > end:
        return -1
    for i in range(size):
        if buffer[at + i] != word[i]:
            return -1
    return at + size


@njit(cache=True, nogil=True, inline="always")
def _hex_number(buffer: Any, at: int, end: int, most: int) -> Any:
    """Return the number of a quoted run of hex digits, how many there are, and where it ends, or -1 for that."""
    value = np.uint64(0)
    if at >= end or buffer[at] != _QUOTE:
        return value, 0, -1
    at += 1
    start = at
    last = min(end, at + most + 1)
    while at < last:
        digit = _HEX[buffer[at]]
        if digit == _NOT_HEX:
            break
        value = (value << np.uint64(4)) | np.uint64(digit)
        at += 1
    if at >= last or buffer[at] != _QUOTE:
        return value, 0, -1
    return value, at - start, at + 1


@njit(cache=True, nogil=True, inline="always")
def _comma(buffer: Any, at: int, end: int) -> int:
    """Return where the element after a comma begins, or -1."""
    at = _skip_space(buffer, at, end)
    if at >= end or buffer[at] != _COMMA:
        return -1
    return _skip_space(buffer, at + 1, end)


@njit(cache=True, nogil=True)
def _scan_params(buffer: Any, at: int, end: int, row: Any) -> int:
    """Read the list of parameters into a row; return where it ends, or -1."""
    if at >= end or buffer[at] != _OPEN_LIST:
        return -1
    at = _skip_space(buffer, at + 1, end)
    if at >= end or buffer[at] != _QUOTE:
        return -1
    at += 1
    start = at
    hashed = _FNV_OFFSET
    while at < end and buffer[at] != _QUOTE:
        byte = buffer[at]
        if byte < 32 or byte > 126 or byte == _BACKSLASH:
            return -1
        hashed = (hashed ^ np.uint64(byte)) * _FNV_PRIME
        at += 1
    if at >= end or at - start > _MAX_USER_BYTES:
        return -1
    row.user_start = start
    row.user_length = at - start
    row.user_hash = hashed
    at = _comma(buffer, at + 1, end)
    if at < 0:
        return -1
    value, digits, at = _hex_number(buffer, at, end, 8)
    if at < 0 or digits == 0:
        return -1
    row.job = value
    at = _comma(buffer, at, end)
    if at < 0:
        return -1
    value, digits, at = _hex_number(buffer, at, end, 16)
    if at < 0 or digits == 0 or digits & 1:
        return -1
    row.extranonce2 = value
    row.extranonce2_size = digits >> 1
    at = _comma(buffer, at, end)
    if at < 0:
        return -1
    value, digits, at = _hex_number(buffer, at, end, 8)
    if at < 0 or digits != 8:
        return -1
    row.ntime = value
    at = _comma(buffer, at, end)
    if at < 0:
        return -1
    value, digits, at = _hex_number(buffer, at, end, 8)
    if at < 0 or digits != 8:
        return -1
    row.nonce = value
    row.version_bits = 0
    row.has_version = 0
    after = _comma(buffer, at, end)
    if after >= 0:
        if after < end and buffer[after] == _LETTER_N:
            at = _past(buffer, after, end, _NULL)
        else:
            value, digits, at = _hex_number(buffer, after, end, 8)
            if digits != 8:
                return -1
            row.version_bits = value
            row.has_version = 1
        if at < 0:
            return -1
    at = _skip_space(buffer, at, end)
    if at >= end or buffer[at] != _CLOSE_LIST:
        return -1
    return at + 1


@njit(cache=True, nogil=True)
def _scan_id(buffer: Any, at: int, end: int, row: Any) -> int:
    """Read a whole number into a row; return where it ends, or -1."""
    start = at
    value = np.uint64(0)
    while at < end and 48 <= buffer[at] <= 57:
        value = value * np.uint64(10) + np.uint64(buffer[at] - 48)
        at += 1
    digits = at - start
    if digits == 0 or digits > _MAX_ID_DIGITS or (digits > 1 and buffer[start] == 48):
        return -1
    row.id = value
    return at


@njit(cache=True, nogil=True)
def _scan_line(buffer: Any, start: int, end: int, row: Any) -> int:
    """Read one canonical line into a row; return where the next begins, or -1 for any other."""
    end = min(end, start + _MAX_LINE_BYTES)
    at = _skip_space(buffer, start, end)
    if at >= end or buffer[at] != _OPEN:
        return -1
    seen = 0
    while True:
        at = _skip_space(buffer, at + 1, end)
        key = 0
        after = _past(buffer, at, end, _ID)
        if after >= 0:
            key = 1
        else:
            after = _past(buffer, at, end, _METHOD)
            if after >= 0:
                key = 2
            else:
                after = _past(buffer, at, end, _PARAMS)
                if after >= 0:
                    key = 4
                else:
                    after = _past(buffer, at, end, _JSONRPC)
                    key = 8
        if after < 0 or seen & key:
            return -1
        seen |= key
        at = _skip_space(buffer, after, end)
        if at >= end or buffer[at] != _COLON:
            return -1
        at = _skip_space(buffer, at + 1, end)
        if key == 1:
            at = _scan_id(buffer, at, end, row)
        elif key == 2:
            at = _past(buffer, at, end, _SUBMIT)
        elif key == 4:
            at = _scan_params(buffer, at, end, row)
        else:
            at = _past(buffer, at, end, _VERSION_2)
        if at < 0:
            return -1
        at = _skip_space(buffer, at, end)
        if at >= end:
            return -1
        if buffer[at] == _CLOSE:
            break
        if buffer[at] != _COMMA:
            return -1
    if seen & 7 != 7:
        return -1
    at = _skip_space(buffer, at + 1, end)
    if at >= end or buffer[at] != _LF:
        return -1
    row.line_start = start
    return at + 1


@njit(cache=True, nogil=True)
def _scan_run(  # noqa: PLR0917 - compiled code takes no keywords
    buffer: Any, start: int, end: int, rows: Any, first: int, segment: int
) -> Any:
    at = start
    count = first
    while at < end:
        if count >= len(rows):
            return count, at, _FULL
        row = rows[count]
        after = _scan_line(buffer, at, end, row)
        if after < 0:
            for i in range(at, end):
                if buffer[i] == _LF:
                    return count, at, _OTHER_LINE
            return count, at, _INCOMPLETE
        row.segment = segment
        count += 1
        at = after
    return count, at, _END


@njit(cache=True, nogil=True)
def _scan_segments(  # noqa: PLR0917 - compiled code takes no keywords
    buffer: Any, starts: Any, ends: Any, rows: Any, first_rows: Any, consumed: Any, stops: Any
) -> int:
    count = 0
    for segment in range(len(starts)):
        first_rows[segment] = count
        count, consumed[segment], stops[segment] = _scan_run(
            buffer, starts[segment], ends[segment], rows, count, segment
        )
    return count


def scan_submits(
    buffer: NDArray[np.uint8], start: int, end: int, rows: NDArray[np.void], first_row: int = 0
) -> tuple[int, int, Stop]:
    """Read the canonical lines that ``buffer[start:end]`` begins with.

    Args:
        buffer: Bytes, as ``np.frombuffer`` gives them; contiguous, fewer than 2**32.
        start: Where to begin.
        end: Where the bytes of this connection end.
        rows: Filled from ``first_row`` on; dtype `SUBMIT_DTYPE`, contiguous.
        first_row: The first row to fill.

    Returns:
        How many rows were filled, where the first byte not read stands (always the start of a line), and why.
    """
    count, consumed, stop = _scan_run(buffer, start, end, rows, first_row, 0)
    return count - first_row, consumed, Stop(stop)


class SegmentScan:
    """What `scan_batch` found: rows of all segments one after the other, and where it stopped in each."""

    __slots__ = ("consumed", "count", "first_rows", "stops")

    def __init__(self, segments: int) -> None:
        """Make room for so many segments."""
        self.count = 0  # rows filled
        self.first_rows: NDArray[np.int64] = np.zeros(segments + 1, np.int64)  # segment s: [s] up to [s + 1]
        self.consumed: NDArray[np.int64] = np.zeros(segments, np.int64)  # the first byte not read
        self.stops: NDArray[np.uint8] = np.zeros(segments, np.uint8)  # `Stop`


def scan_batch(
    buffer: NDArray[np.uint8], starts: NDArray[np.int64], ends: NDArray[np.int64], rows: NDArray[np.void]
) -> SegmentScan:
    """Read the canonical lines that each of many segments of a buffer begins with, in one call.

    Args:
        buffer: The bytes of all connections, one after the other.
        starts: Where each segment begins.
        ends: Where each ends.
        rows: Filled from the first on; a row's ``segment`` says where it comes from.
    """
    scan = SegmentScan(len(starts))
    scan.count = _scan_segments(buffer, starts, ends, rows, scan.first_rows, scan.consumed, scan.stops)
    scan.first_rows[len(starts)] = scan.count
    return scan


def warm_up() -> None:
    """Compile the scanner, or load it from the cache, so that the first share does not wait some seconds for that."""
    blank = np.frombuffer(b"\n", np.uint8)  # read-only, as bytes are: another type to the compiler
    rows = np.zeros(1, SUBMIT_DTYPE)
    scan_submits(blank, 0, 1, rows)
    scan_batch(blank, np.zeros(1, np.int64), np.ones(1, np.int64), rows)


def most_submits(size_bytes: int) -> int:
    """Return how many rows so many bytes can fill at most; the shortest canonical line has 85 bytes with its end."""
    return size_bytes // SHORTEST_LINE_BYTES + 1


SHORTEST_LINE_BYTES: Final = len(
    '{"id":0,"method":"mining.submit","params":["","0","00","00000000","00000000"]}\n'
)
