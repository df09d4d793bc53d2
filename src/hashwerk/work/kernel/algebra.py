"""Sums that know which of their terms vary: what lets one generator fold, hoist and vectorise SHA-256.

A word of the computation is one of three kinds: an `int`, known while the code is generated (padding, round
constants); a `Uniform`, known once the header is, the same for all nonces and computed before the loop; or a
`Lanes`, with a value for each nonce. `Sum` holds terms of all kinds without adding them. Each kind is added up
apart: constants cost nothing at run time, uniform parts cost one addition in the loop, and only what depends on the
nonce is computed for every nonce.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from llvmlite import ir

from hashwerk.work.kernel import constants
from hashwerk.work.kernel.constants import MASK_32, Shifts
from hashwerk.work.kernel.lanes import I32, LaneOps


class Uniform:
    """A 32-bit value that all nonces of a scan share; a scalar of the kernel's entry block."""

    __slots__ = ("splat", "value")

    def __init__(self, value: ir.Value) -> None:
        self.value: Final = value
        self.splat: ir.Value | None = None


class Lanes:
    """A vector with one 32-bit value for each nonce."""

    __slots__ = ("value",)

    def __init__(self, value: ir.Value) -> None:
        self.value: Final = value


Word = int | Uniform | Lanes


class Sum:
    """A sum modulo 2^32 whose terms are not yet added. The vectors keep their order: the last is ready last."""

    __slots__ = ("constant", "lanes", "uniforms")
    constant: int
    uniforms: tuple[Uniform, ...]
    lanes: tuple[Lanes, ...]

    def __init__(self, *terms: Sum | Word) -> None:
        constant = 0
        uniforms: list[Uniform] = []
        lanes: list[Lanes] = []
        for term in terms:
            if isinstance(term, Sum):
                constant += term.constant
                uniforms += term.uniforms
                lanes += term.lanes
            elif isinstance(term, Uniform):
                uniforms.append(term)
            elif isinstance(term, Lanes):
                lanes.append(term)
            else:
                constant += term
        self.constant = constant & MASK_32
        self.uniforms = tuple(uniforms)
        self.lanes = tuple(lanes)


class Algebra:
    """Computes on words: in Python, in the kernel's entry block, or in its loop, as their kinds ask for."""

    def __init__(self, entry: ir.IRBuilder, loop: ir.IRBuilder, ops: LaneOps) -> None:
        """Write uniform values with ``entry`` and lanes with ``loop``; ``ops`` are the vector operations."""
        self._entry = entry
        self._loop = loop
        self._ops = ops
        self._scalar_ops = ops.scalar()

    def add(self, *terms: Sum | Word) -> Word:
        """Return the sum, added up."""
        total = Sum(*terms)
        uniform = self._add_uniforms(total)
        if not total.lanes:
            return uniform
        value = total.lanes[0].value
        rest = [lanes.value for lanes in total.lanes[1:]]
        if uniform != 0:
            rest.insert(0, self._splat(uniform))
        for term in rest:
            value = self._loop.add(value, term)
        return Lanes(value)

    def _add_uniforms(self, total: Sum) -> int | Uniform:
        if not total.uniforms:
            return total.constant
        if len(total.uniforms) == 1 and not total.constant:
            return total.uniforms[0]
        value = total.uniforms[0].value
        for uniform in total.uniforms[1:]:
            value = self._entry.add(value, uniform.value)
        if total.constant:
            value = self._entry.add(value, ir.Constant(I32, total.constant))
        return Uniform(value)

    def sigma(self, word: Word, shifts: Shifts) -> Word:
        """Return σ: two rotations and a shift."""
        if isinstance(word, int):
            return constants.sigma(word, shifts)
        if isinstance(word, Uniform):
            return Uniform(self._scalar_ops.sigma(self._entry, word.value, shifts))
        return Lanes(self._ops.sigma(self._loop, word.value, shifts))

    def capital_sigma(self, word: Word, shifts: Shifts) -> Word:
        """Return Σ: three rotations."""
        if isinstance(word, int):
            return constants.capital_sigma(word, shifts)
        if isinstance(word, Uniform):
            return Uniform(self._scalar_ops.capital_sigma(self._entry, word.value, shifts))
        return Lanes(self._ops.capital_sigma(self._loop, word.value, shifts))

    def choose(self, first: Word, second: Word, third: Word) -> Word:
        """Return Ch."""
        words = (first, second, third)
        if any(isinstance(word, Lanes) for word in words):
            return Lanes(self._ops.choose(self._loop, *map(self._splat, words)))
        if isinstance(first, int) and isinstance(second, int) and isinstance(third, int):
            return constants.choose(first, second, third)
        return Uniform(self._scalar_ops.choose(self._entry, *map(_scalar, words)))

    def majority(self, first: Word, second: Word, third: Word) -> Word:
        """Return Maj."""
        words = (first, second, third)
        if any(isinstance(word, Lanes) for word in words):
            return Lanes(self._ops.majority(self._loop, *map(self._splat, words)))
        if isinstance(first, int) and isinstance(second, int) and isinstance(third, int):
            return constants.majority(first, second, third)
        return Uniform(self._scalar_ops.majority(self._entry, *map(_scalar, words)))

    def hold_order(self, words: Sequence[Word]) -> list[Word]:
        """Return the words, computed here: the compiler does not move their computation past another such point."""
        return [
            Lanes(self._ops.hold_order(self._loop, word.value)) if isinstance(word, Lanes) else word
            for word in words
        ]

    def _splat(self, word: Word) -> ir.Value:
        if isinstance(word, int):
            return self._ops.constant(word)
        if isinstance(word, Uniform):
            if word.splat is None:
                word.splat = self._ops.splat(self._entry, word.value)
            return word.splat
        return word.value


def _scalar(word: Word) -> ir.Value:
    return ir.Constant(I32, word) if isinstance(word, int) else word.value
