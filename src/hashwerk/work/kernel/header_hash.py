"""The double SHA-256 of a block header's second half, for many nonces, as far as the top word of the hash needs it.

A header has 80 bytes. The first 64 are one block whose result, the midstate, all nonces share. The second block is the tail
of 16 bytes, whose last word is the nonce, and padding; the second hash is one block of the first digest and padding. The
top 32 bits of the hash, a little-endian number, are its last word H7, which is known after round 60 of 64.
"""

from __future__ import annotations

from collections.abc import Generator, Sequence
from typing import Final

from hashwerk.work.kernel.algebra import Algebra, Sum, Word
from hashwerk.work.kernel.constants import (
    INITIAL_STATE,
    ROUND_CONSTANTS,
    SIGMA_0,
    SIGMA_1,
    SUM_0,
    SUM_1,
)

_PADDING_BIT: Final = 0x8000_0000
_HEADER_BITS: Final = 640
_DIGEST_BITS: Final = 256
#: H7 is e after round 60, moved through f and g to h, plus the initial h.
_LAST_ROUND: Final = 60

#: A step of a computation that is interleaved with others: it yields after each round and returns the hash's H7.
Steps = Generator[None, None, Word]


class _Schedule:
    """The message schedule: words 0 … 15 are given, the others are made when they are asked for."""

    def __init__(self, algebra: Algebra, words: Sequence[Sum | Word]) -> None:
        self._algebra = algebra
        self._words: list[Sum | Word] = list(words)

    def added(self, t: int) -> Word:
        """Return word ``t``, added up."""
        word = self.lazy(t)
        if isinstance(word, Sum):
            word = self._words[t] = self._algebra.add(word)
        return word

    def lazy(self, t: int) -> Sum | Word:
        """Return word ``t``, as a sum if nothing has needed its bits yet."""
        while len(self._words) <= t:
            self._words.append(self._next(len(self._words)))
        return self._words[t]

    def _next(self, t: int) -> Sum:
        return Sum.of(
            self.lazy(t - 16),
            self._algebra.sigma(self.added(t - 15), SIGMA_0),
            self.lazy(t - 7),
            self._algebra.sigma(self.added(t - 2), SIGMA_1),
        )


class _Rounds:
    """The eight working words, a … h, and one round's step on them."""

    def __init__(self, algebra: Algebra, state: Sequence[Word], schedule: _Schedule) -> None:
        self._algebra = algebra
        self._schedule = schedule
        self.state: list[Word] = list(state)

    def step(self, t: int, *, with_a: bool = True) -> None:
        """Do round ``t``; without a new a when nothing will read it."""
        a, b, c, d, e, f, g, h = self.state
        algebra = self._algebra
        word = self._schedule.added(t) if t <= _LAST_ROUND - 2 else self._schedule.lazy(t)
        terms = Sum.of(word, ROUND_CONSTANTS[t], h, algebra.choose(e, f, g), algebra.capital_sigma(e, SUM_1))
        t1 = terms if len(terms.lanes) == 1 else algebra.add(terms)
        new_e = algebra.add(d, t1)
        new_a: Word = 0
        if with_a:
            new_a = algebra.add(algebra.majority(a, b, c), algebra.capital_sigma(a, SUM_0), t1)
        self.state = [new_a, a, b, c, new_e, e, f, g]


def header_hash_top(algebra: Algebra, midstate: Sequence[Word], tail: Sequence[Word], nonce: Word) -> Steps:
    """Write the hash of one vector of nonces, a round at a time.

    Args:
        algebra: Writes the operations.
        midstate: The state after the header's first 64 bytes, 8 words.
        tail: Bytes 64 … 75 of the header as 3 big-endian words.
        nonce: Bytes 76 … 79 as big-endian words.

    Returns:
        H7 of the second hash: the top 32 bits of the hash as a number, their bytes reversed.
    """
    words = [*tail, nonce, _PADDING_BIT, *[0] * 10, _HEADER_BITS]
    first = _Rounds(algebra, midstate, _Schedule(algebra, words))
    for t in range(64):
        first.step(t)
        yield
    digest = [Sum.of(before, after) for before, after in zip(midstate, first.state, strict=True)]
    words_2: list[Sum | Word] = [*digest, _PADDING_BIT, *[0] * 6, _DIGEST_BITS]
    second = _Rounds(algebra, INITIAL_STATE, _Schedule(algebra, words_2))
    for t in range(_LAST_ROUND + 1):
        # The last a that is read is that of round 56: it is d in round 60.
        second.step(t, with_a=t <= _LAST_ROUND - 4)
        yield
    return algebra.add(second.state[4], INITIAL_STATE[7])
