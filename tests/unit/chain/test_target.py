"""Targets and their compact form, with the cases of Bitcoin Core's rules at their edges."""

from __future__ import annotations

from fractions import Fraction

import pytest

from hashwerk.chain.target import (
    DIFFICULTY_1_TARGET,
    MAX_TARGET,
    compact_from_target,
    difficulty_from_target,
    exact_difficulty_from_target,
    hash_meets_target,
    target_from_compact,
    work_from_target,
)
from hashwerk.errors import DecodeError


@pytest.mark.parametrize(
    ("nbits", "target"),
    [
        (0x1D00FFFF, 0xFFFF << 208),
        (0x207FFFFF, 0x7FFFFF << 232),
        (0x1B0404CB, 0x0404CB << 192),
        (0x01123456, 0x12),
        (0x02123456, 0x1234),
        (0x03123456, 0x123456),
        (0x04123456, 0x12345600),
        (0x05009234, 0x92340000),
        (0x2100FFFF, 0xFFFF << 240),
        (0x220000FF, 0xFF << 248),
    ],
)
def test_compact_form_is_read(nbits: int, target: int) -> None:
    assert target_from_compact(nbits) == target


@pytest.mark.parametrize(
    ("nbits", "reason"),
    [
        (0x00000000, "zero"),
        (0x00123456, "zero"),
        (0x01003456, "zero"),
        (0x1D000000, "zero"),
        (0x01FEDCBA, "negative"),
        (0x04923456, "negative"),
        (0x1D80FFFF, "negative"),
        (0x20FFFFFF, "negative"),
        (0x21010000, "256 bits"),
        (0x22000100, "256 bits"),
        (0x23000001, "256 bits"),
        (0xFF123456, "256 bits"),
    ],
)
def test_targets_nobody_may_have_are_refused(nbits: int, reason: str) -> None:
    with pytest.raises(DecodeError, match=reason):
        target_from_compact(nbits)


@pytest.mark.parametrize("nbits", [-1, 1 << 32])
def test_nbits_has_32_bits(nbits: int) -> None:
    with pytest.raises(ValueError, match="32 bits"):
        target_from_compact(nbits)


def test_compact_form_is_written() -> None:
    assert compact_from_target(DIFFICULTY_1_TARGET) == 0x1D00FFFF
    # Rounded down to what three bytes can keep.
    assert compact_from_target((1 << 224) - 1) == 0x1D00FFFF
    assert compact_from_target((1 << 255) - 1) == 0x207FFFFF
    assert compact_from_target(MAX_TARGET) == 0x2100FFFF
    assert compact_from_target(1) == 0x01010000
    # The highest bit would read as a sign: one byte more.
    assert compact_from_target(0x80) == 0x02008000


@pytest.mark.parametrize("target", [0, -1, 1 << 256])
def test_targets_out_of_range_are_refused_everywhere(target: int) -> None:
    for function in (
        compact_from_target,
        work_from_target,
        exact_difficulty_from_target,
        difficulty_from_target,
    ):
        with pytest.raises(ValueError, match="out of range"):
            function(target)


def test_work_of_difficulty_1_is_what_the_chain_counts() -> None:
    assert work_from_target(DIFFICULTY_1_TARGET) == 0x1_0001_0001
    assert work_from_target((1 << 224) - 1) == 1 << 32
    assert work_from_target(MAX_TARGET) == 1


def test_difficulty_is_exact_first_and_a_float_only_to_be_read() -> None:
    target = target_from_compact(0x1B0404CB)
    assert exact_difficulty_from_target(target) == Fraction(0xFFFF << 16, 0x0404CB)
    assert difficulty_from_target(target) == pytest.approx(16_307.420938523983, rel=1e-15)
    assert difficulty_from_target(DIFFICULTY_1_TARGET) == 1.0


def test_a_hash_meets_its_own_target_and_no_smaller_one() -> None:
    hash_ = bytes(31) + b"\x01"  # little-endian: 1 << 248
    assert hash_meets_target(hash_, 1 << 248)
    assert not hash_meets_target(hash_, (1 << 248) - 1)
    assert hash_meets_target(bytes(32), 0)
