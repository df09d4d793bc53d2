"""CompactSize and the cursor: shortest forms only, and lengths that lie."""

from __future__ import annotations

import pytest

from hashwerk.chain.serial import MAX_SIZE, Cursor, compact_size
from hashwerk.errors import DecodeError


@pytest.mark.parametrize(
    ("number", "expected"),
    [
        (0, "00"),
        (252, "fc"),
        (253, "fdfd00"),
        (0xFFFF, "fdffff"),
        (0x1_0000, "fe00000100"),
        (0xFFFF_FFFF, "feffffffff"),
        (0x1_0000_0000, "ff0000000001000000"),
        ((1 << 64) - 1, "ffffffffffffffffff"),
    ],
)
def test_compact_size_is_written_in_its_shortest_form(number: int, expected: str) -> None:
    assert compact_size(number).hex() == expected


@pytest.mark.parametrize("number", [-1, 1 << 64])
def test_what_does_not_fit_is_refused(number: int) -> None:
    with pytest.raises(ValueError, match="at most 64 bits"):
        compact_size(number)


@pytest.mark.parametrize(
    "data", ["fdfc00", "fe00000000", "feffff0000", "ff" + "00" * 8, "ffffffffff00000000"]
)
def test_longer_forms_are_refused(data: str) -> None:
    with pytest.raises(DecodeError, match="shortest form"):
        Cursor(bytes.fromhex(data)).compact_size()


def test_sizes_above_the_limit_are_refused() -> None:
    assert Cursor(compact_size(MAX_SIZE)).compact_size() == MAX_SIZE
    with pytest.raises(DecodeError, match="is above"):
        Cursor(compact_size(MAX_SIZE + 1)).compact_size()


def test_a_count_that_lies_is_refused_before_anything_is_built() -> None:
    with pytest.raises(DecodeError, match="16777216 items"):
        Cursor(compact_size(1 << 24) + bytes(100)).count(1)
    assert Cursor(b"\x02" + bytes(8)).count(4) == 2
    with pytest.raises(DecodeError, match="2 items"):
        Cursor(b"\x02" + bytes(7)).count(4)


def test_reading_past_the_end_is_refused() -> None:
    for read in (Cursor.uint32, Cursor.uint64, Cursor.compact_size, Cursor.var_bytes):
        with pytest.raises(DecodeError):
            read(Cursor(b""))
    with pytest.raises(DecodeError, match="5 bytes wanted at 1, 2 left"):
        Cursor(b"\x05ab").var_bytes()


def test_trailing_bytes_are_refused() -> None:
    cursor = Cursor(b"\x01\x02")
    cursor.read(1)
    with pytest.raises(DecodeError, match="1 bytes after the end of the thing"):
        cursor.finish("thing")
