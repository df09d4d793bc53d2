"""Compact targets against another way of writing them: as a floating number of base 256."""

from __future__ import annotations

from fractions import Fraction

from hypothesis import example, given
from hypothesis import strategies as st

from hashwerk.chain.target import (
    DIFFICULTY_1_TARGET,
    compact_from_target,
    exact_difficulty_from_target,
    hash_meets_target,
    target_from_compact,
    work_from_target,
)
from hashwerk.errors import DecodeError

TARGETS = st.integers(1, 256).flatmap(lambda bits: st.integers(1 << bits - 1, (1 << bits) - 1))
NBITS = st.one_of(
    st.integers(0, 0xFFFF_FFFF),
    st.builds(lambda size, mantissa: size << 24 | mantissa, st.integers(0, 36), st.integers(0, 0xFF_FFFF)),
)


def value_of(nbits: int) -> int | None:
    """The number that nBits stands for, in exact fractions; None where nobody may use it."""
    sign_and_mantissa = nbits & 0xFF_FFFF
    mantissa = sign_and_mantissa % 0x80_0000
    value = int(mantissa * Fraction(256) ** ((nbits >> 24) - 3))
    is_negative = sign_and_mantissa >= 0x80_0000
    return value if 0 < value < 2**256 and not is_negative else None


@given(NBITS)
@example(0x22000100)
@example(0x2100FFFF)
@example(0xFF000001)
def test_reading_agrees_with_exact_fractions(nbits: int) -> None:
    try:
        target = target_from_compact(nbits)
    except DecodeError:
        target = None
    assert target == value_of(nbits)


@given(TARGETS)
def test_writing_keeps_the_leading_bytes_and_never_rounds_up(target: int) -> None:
    nbits = compact_from_target(target)
    kept = target_from_compact(nbits)
    assert kept <= target
    # Fifteen bits of precision at least: two full bytes and no sign.
    assert target - kept < max(1, target >> 15)
    assert compact_from_target(kept) == nbits


@given(TARGETS)
def test_writing_agrees_with_the_bytes_of_the_number(target: int) -> None:
    data = target.to_bytes(33, "big").lstrip(b"\0")
    if data[0] & 0x80:
        data = b"\0" + data
    expected = bytes([len(data)]) + (data + b"\0\0")[:3]
    assert compact_from_target(target).to_bytes(4, "big") == expected


@given(TARGETS)
def test_work_and_difficulty_are_inverse_to_the_target(target: int) -> None:
    work = work_from_target(target)
    assert work * (target + 1) <= 2**256 < (work + 1) * (target + 1)
    assert exact_difficulty_from_target(target) * target == DIFFICULTY_1_TARGET


@given(st.binary(min_size=32, max_size=32), TARGETS)
def test_meeting_a_target_is_comparing_the_bytes_from_the_end(hash_: bytes, target: int) -> None:
    assert hash_meets_target(hash_, target) == (hash_[::-1] <= target.to_bytes(32, "big"))
