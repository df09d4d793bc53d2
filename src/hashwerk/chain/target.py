"""Targets, their compact form (nBits), work and difficulty.

A block hash, read as a little-endian number, meets a target when it is not above it. The compact form keeps
the three most significant bytes and a byte length, with a sign bit that a legal target never sets.
"""

from __future__ import annotations

from fractions import Fraction
from typing import Final

from hashwerk.errors import DecodeError

#: The target of difficulty 1, compact 0x1d00ffff.
DIFFICULTY_1_TARGET: Final = 0xFFFF << 208
MAX_TARGET: Final = (1 << 256) - 1

_SIGN_BIT: Final = 0x0080_0000
_MANTISSA: Final = 0x007F_FFFF


def target_from_compact(nbits: int) -> int:
    """Return the target that a header's nBits stands for.

    The rules are those of Bitcoin Core's consensus code: mantissa · 256**(size - 3), rounded down.

    Raises:
        DecodeError: If it stands for zero, a negative number, or one of more than 256 bits.
        ValueError: If ``nbits`` is not an unsigned number of 32 bits.
    """
    if not 0 <= nbits <= 0xFFFF_FFFF:
        raise ValueError(f"nBits has 32 bits: {nbits}")
    size = nbits >> 24
    mantissa = nbits & _MANTISSA
    target = mantissa >> 8 * (3 - size) if size <= 3 else mantissa << 8 * (size - 3)
    if target == 0:
        raise DecodeError(f"nBits {nbits:08x} stands for a target of zero")
    if nbits & _SIGN_BIT:
        raise DecodeError(f"nBits {nbits:08x} stands for a negative target")
    if target > MAX_TARGET:
        raise DecodeError(f"nBits {nbits:08x} stands for a target of more than 256 bits")
    return target


def compact_from_target(target: int) -> int:
    """Return the nBits of a target, rounded down to the three bytes it can keep.

    Raises:
        ValueError: If the target is not in 1 … 2**256 - 1.
    """
    if not 0 < target <= MAX_TARGET:
        raise ValueError(f"target out of range: {target}")
    size = (target.bit_length() + 7) // 8
    mantissa = target << 8 * (3 - size) if size <= 3 else target >> 8 * (size - 3)
    if mantissa & _SIGN_BIT:  # would be read as a negative number: one byte more, one digit less
        mantissa >>= 8
        size += 1
    return size << 24 | mantissa


def work_from_target(target: int) -> int:
    """Return the expected number of hashes to meet a target, 2**256 // (target + 1).

    This is what Bitcoin Core adds up to the chain's work.

    Raises:
        ValueError: If the target is not in 1 … 2**256 - 1.
    """
    if not 0 < target <= MAX_TARGET:
        raise ValueError(f"target out of range: {target}")
    return (1 << 256) // (target + 1)


def exact_difficulty_from_target(target: int) -> Fraction:
    """Return the difficulty of a target as an exact fraction, `DIFFICULTY_1_TARGET` / target.

    Raises:
        ValueError: If the target is not in 1 … 2**256 - 1.
    """
    if not 0 < target <= MAX_TARGET:
        raise ValueError(f"target out of range: {target}")
    return Fraction(DIFFICULTY_1_TARGET, target)


def difficulty_from_target(target: int) -> float:
    """Return the difficulty of a target for people to read: the nearest float, never for accounting.

    Raises:
        ValueError: If the target is not in 1 … 2**256 - 1.
    """
    return float(exact_difficulty_from_target(target))


def hash_meets_target(hash_: bytes, target: int) -> bool:
    """Return whether a hash in internal order, read as a little-endian number, is at or below the target."""
    return int.from_bytes(hash_, "little") <= target
