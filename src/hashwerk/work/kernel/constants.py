"""SHA-256 as FIPS 180-4 states it: its constants, and the compression function on Python integers.

The generators fold the constants into the code; `compress` runs once a header, for its first 64 bytes.
"""

from __future__ import annotations

from typing import Final

MASK_32: Final = 0xFFFF_FFFF
#: Three rotations, or two and a shift.
Shifts = tuple[int, int, int]


def _first_primes(count: int) -> list[int]:
    primes: list[int] = []
    candidate = 2
    while len(primes) < count:
        if all(candidate % prime for prime in primes):
            primes.append(candidate)
        candidate += 1
    return primes


def _root_fraction(number: int, degree: int) -> int:
    """Return the first 32 bits of the fraction of a number's square (2) or cube (3) root."""
    low, high = 0, 1 << 40
    while low < high:  # the largest r with r**degree <= number << 32 * degree
        middle = (low + high + 1) // 2
        low, high = (middle, high) if middle**degree <= number << 32 * degree else (low, middle - 1)
    return low & MASK_32


#: FIPS 180-4, 4.2.2: one constant a round.
ROUND_CONSTANTS: Final = tuple(_root_fraction(prime, 3) for prime in _first_primes(64))
#: FIPS 180-4, 5.3.3: the state before the first block.
INITIAL_STATE: Final = tuple(_root_fraction(prime, 2) for prime in _first_primes(8))
#: FIPS 180-4, 4.1.2: two rotations and a shift (σ) for the schedule, three rotations (Σ) for the rounds.
SIGMA_0: Final[Shifts] = (7, 18, 3)
SIGMA_1: Final[Shifts] = (17, 19, 10)
SUM_0: Final[Shifts] = (2, 13, 22)
SUM_1: Final[Shifts] = (6, 11, 25)

#: What follows the last 16 bytes of a header, and a digest, in their blocks: a one, zeros, the length in bits.
HEADER_PADDING: Final = (0x8000_0000, *[0] * 10, 640)
DIGEST_PADDING: Final = (0x8000_0000, *[0] * 6, 256)


def rotate_right(value: int, count: int) -> int:
    """Return a 32-bit word rotated right by 1 … 31 bits."""
    return (value >> count | value << 32 - count) & MASK_32


def sigma(value: int, shifts: Shifts) -> int:
    """Return σ of a word: two rotations and a shift."""
    return rotate_right(value, shifts[0]) ^ rotate_right(value, shifts[1]) ^ value >> shifts[2]


def capital_sigma(value: int, shifts: Shifts) -> int:
    """Return Σ of a word: three rotations."""
    return rotate_right(value, shifts[0]) ^ rotate_right(value, shifts[1]) ^ rotate_right(value, shifts[2])


def choose(first: int, second: int, third: int) -> int:
    """Return Ch: bits of the second word where the first has ones, of the third elsewhere."""
    return third ^ first & (second ^ third)


def majority(first: int, second: int, third: int) -> int:
    """Return Maj: the bits that at least two of the words have."""
    return first & second | third & (first | second)


def compress(state: tuple[int, ...], block: bytes) -> tuple[int, ...]:
    """Return the state (8 words) after one block of 64 bytes. FIPS 180-4, 6.2.2.

    Raises:
        ValueError: If ``block`` is not 64 bytes long.
    """
    if len(block) != 64:
        raise ValueError(f"a SHA-256 block has 64 bytes: {len(block)}")
    words = [int.from_bytes(block[at : at + 4], "big") for at in range(0, 64, 4)]
    for t in range(16, 64):
        partial = words[t - 16] + sigma(words[t - 15], SIGMA_0) + words[t - 7] + sigma(words[t - 2], SIGMA_1)
        words.append(partial & MASK_32)
    a, b, c, d, e, f, g, h = state
    for constant, word in zip(ROUND_CONSTANTS, words, strict=True):
        t1 = h + capital_sigma(e, SUM_1) + choose(e, f, g) + constant + word
        t2 = capital_sigma(a, SUM_0) + majority(a, b, c)
        a, b, c, d, e, f, g, h = (t1 + t2) & MASK_32, a, b, c, (d + t1) & MASK_32, e, f, g
    return tuple(
        (before + after) & MASK_32 for before, after in zip(state, (a, b, c, d, e, f, g, h), strict=True)
    )
