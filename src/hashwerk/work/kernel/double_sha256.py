"""The double SHA-256 of a block header's last bytes, for many nonces, as far as the top word of the hash needs it.

A header has 80 bytes. The first 64 are one block whose result, the midstate, all nonces share. The second block is
the tail of 16 bytes, whose last word is the nonce, and padding; the second hash is one block of the first digest and
padding. The top 32 bits of the hash, a little-endian number, are its last word H7, which is known after round 60 of
0 … 63.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from hashwerk.work.kernel.algebra import Algebra, Lanes, Sum, Word
from hashwerk.work.kernel.constants import (
    DIGEST_PADDING,
    HEADER_PADDING,
    INITIAL_STATE,
    ROUND_CONSTANTS,
    SIGMA_0,
    SIGMA_1,
    SUM_0,
    SUM_1,
)
from hashwerk.work.kernel.interleave import Steps

#: H7 is e after this round, moved through f and g to h, plus the initial h.
LAST_ROUND: Final = 60
_FULL_ROUNDS: Final = 63
_E: Final = 4


class _Schedule:
    """The message schedule: words 0 … 15 are given, the others are made when they are asked for."""

    def __init__(self, algebra: Algebra, words: Sequence[Sum | Word]) -> None:
        self._algebra = algebra
        self._words: list[Sum | Word] = list(words)

    def added(self, t: int) -> Word:
        """Return word ``t``, added up."""
        word = self.terms(t)
        if isinstance(word, Sum):
            word = self._words[t] = self._algebra.add(word)
        return word

    def terms(self, t: int) -> Sum | Word:
        """Return word ``t``, as a sum while nothing has needed its bits."""
        while len(self._words) <= t:
            self._words.append(self._next(len(self._words)))
        return self._words[t]

    def _next(self, t: int) -> Sum:
        return Sum(
            self.terms(t - 16),
            self._algebra.sigma(self.added(t - 15), SIGMA_0),
            self.terms(t - 7),
            self._algebra.sigma(self.added(t - 2), SIGMA_1),
        )


class _Rounds:
    """The eight working words, a … h, and one round's step on them. FIPS 180-4, 6.2.2."""

    def __init__(self, algebra: Algebra, state: Sequence[Word], schedule: _Schedule) -> None:
        self._algebra = algebra
        self._schedule = schedule
        self.state: list[Word] = list(state)

    def step(self, t: int, *, last: int) -> None:
        """Do round ``t`` of 0 … ``last``, without a new a where the last round's e does not read it."""
        a, b, c, d, e, f, g, h = self.state
        algebra = self._algebra
        # The bits of word t are next needed for word t + 2.
        word = self._schedule.added(t) if t + 2 <= last else self._schedule.terms(t)
        terms = Sum(word, ROUND_CONSTANTS[t], h, algebra.choose(e, f, g), algebra.capital_sigma(e, SUM_1))
        t1 = terms if len(terms.lanes) == 1 else algebra.add(terms)
        new_e = algebra.add(d, t1)
        new_a: Word = 0
        if last == _FULL_ROUNDS or t + 4 <= last:
            new_a = algebra.add(algebra.majority(a, b, c), algebra.capital_sigma(a, SUM_0), t1)
        new_a, new_e = algebra.hold_order([new_a, new_e])
        self.state = [new_a, a, b, c, new_e, e, f, g]


def first_hash(
    algebra: Algebra, midstate: Sequence[Word], tail: Sequence[Word], nonce: Word
) -> Steps[list[Word]]:
    """Write the first hash of one vector of nonces.

    Args:
        algebra: Writes the operations.
        midstate: The state after the header's first 64 bytes, 8 words.
        tail: Bytes 64 … 75 of the header as 3 big-endian words.
        nonce: Bytes 76 … 79 as a big-endian word.

    Returns:
        The digest, 8 words.
    """
    words = [*tail, nonce, *HEADER_PADDING]
    rounds = _Rounds(algebra, midstate, _Schedule(algebra, words))
    for t in range(_FULL_ROUNDS + 1):
        rounds.step(t, last=_FULL_ROUNDS)
        if isinstance(rounds.state[_E], Lanes):  # before, nothing is written in the loop
            yield
    return [algebra.add(before, after) for before, after in zip(midstate, rounds.state, strict=True)]


def second_hash(algebra: Algebra, digest: Sequence[Word]) -> Steps[Word]:
    """Write the hash of a digest.

    Returns:
        H7: the top 32 bits of the hash as a number, with their bytes reversed.
    """
    words = [*digest, *DIGEST_PADDING]
    rounds = _Rounds(algebra, INITIAL_STATE, _Schedule(algebra, words))
    for t in range(LAST_ROUND + 1):
        rounds.step(t, last=LAST_ROUND)
        yield
    return algebra.add(rounds.state[_E], INITIAL_STATE[7])
