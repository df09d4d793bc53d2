"""The kernel for processors that have SHA instructions (x86 SHA-NI) but no wide vectors.

One instruction does two rounds of a hash, others make four words of the schedule: a vector holds four words of one
hash. The round instructions of a hash wait for each other, so here too the first hash of some nonces is written side
by side with the second hash of those before.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, NamedTuple, TypeAlias

from llvmlite import ir

from hashwerk.work.kernel.constants import (
    DIGEST_PADDING,
    HEADER_PADDING,
    INITIAL_STATE,
    MASK_32,
    ROUND_CONSTANTS,
    SIGMA_0,
    sigma,
)
from hashwerk.work.kernel.double_sha256 import LAST_ROUND
from hashwerk.work.kernel.frame import KernelFrame
from hashwerk.work.kernel.interleave import Steps, side_by_side, write_out
from hashwerk.work.kernel.lanes import I32, LaneOps, declare
from hashwerk.work.kernel.target import Target

_X4: Final = ir.VectorType(I32, 4)
#: Four words: known while the code is generated, or a vector.
_Four: TypeAlias = tuple[int, ...] | ir.Value
#: The instructions keep the state as f, e, b, a and h, g, d, c, the lowest lane first.
_FEBA, _HGDC = (5, 4, 1, 0), (7, 6, 3, 2)
_ABCD, _EFGH = (3, 2, 7, 6), (1, 0, 5, 4)
_UPPER: Final = (2, 3, 2, 3)
_FULL_ROUNDS: Final = 64


class _State(NamedTuple):
    feba: _Four
    hgdc: _Four


class _Digest(NamedTuple):
    abcd: _Four
    efgh: _Four


class _ShaOps:
    """The instructions, on vectors of which some are known while the code is generated."""

    def __init__(self, builder: ir.IRBuilder, lanes: LaneOps) -> None:
        self._builder = builder
        self._lanes = lanes

    def _call(self, name: str, *words: _Four) -> ir.Value:
        function = declare(self._builder.module, f"llvm.x86.{name}", _X4, [_X4] * len(words))
        return self._builder.call(function, [_vector(four) for four in words])

    def add(self, first: _Four, second: _Four) -> _Four:
        """Return the sum of each pair of words."""
        if isinstance(second, tuple):
            if isinstance(first, tuple):
                return tuple((left + right) & MASK_32 for left, right in zip(first, second, strict=True))
            if not any(second):
                return first
        return self._builder.add(_vector(first), _vector(second))

    def shuffle(self, first: _Four, second: _Four, lanes: tuple[int, ...]) -> _Four:
        """Return the words at ``lanes``: 0 … 3 are the first's, 4 … 7 the second's."""
        if isinstance(first, tuple) and isinstance(second, tuple):
            return tuple((first + second)[lane] for lane in lanes)
        return self._builder.shuffle_vector(_vector(first), _vector(second), _vector(lanes))

    def next_words(self, words: Sequence[_Four]) -> _Four:
        """Return the next four words of the schedule, from the sixteen before them."""
        first, second, third, fourth = words[-4:]
        early: _Four
        if isinstance(first, tuple) and isinstance(second, tuple):
            following = (*first[1:], second[0])
            early = tuple(
                (word + sigma(after, SIGMA_0)) & MASK_32 for word, after in zip(first, following, strict=True)
            )
        else:
            early = self._call("sha256msg1", first, second)
        partial = self.add(self.shuffle(third, fourth, (1, 2, 3, 4)), early)
        return self._call("sha256msg2", partial, fourth)

    def keyed(self, t: int, words: _Four) -> _Four:
        """Return W + K of the rounds ``t`` … ``t + 3``."""
        return self.add(words, ROUND_CONSTANTS[t : t + 4])

    def two_rounds(self, state: _State, keyed: _Four, *, held: bool = True) -> _State:
        """Return the state after two rounds; the first two words of ``keyed`` are W + K."""
        feba = self._call("sha256rnds2", state.hgdc, state.feba, keyed)
        return _State(self._lanes.hold_order(self._builder, feba) if held else feba, state.feba)

    def rounds(self, state: _State, words: list[_Four], first: int, end: int) -> Steps[_State]:
        """Write rounds ``first`` … ``end - 1``, both even; words that are not there yet are made."""
        for t in range(first, end, 2):
            if len(words) <= t // 4:
                words.append(self.next_words(words))
            keyed = self.keyed(t // 4 * 4, words[t // 4])
            state = self.two_rounds(state, self.shuffle(keyed, keyed, _UPPER) if t % 4 else keyed)
            yield
        return state

    def digest(self, before: _State, after: _State) -> _Digest:
        """Return the sum of two states, a block's result."""
        feba, hgdc = self.add(after.feba, before.feba), self.add(after.hgdc, before.hgdc)
        return _Digest(self.shuffle(feba, hgdc, _ABCD), self.shuffle(feba, hgdc, _EFGH))


class _Header:
    """What all nonces share: the midstate, the tail, and the rounds before the nonce's."""

    def __init__(self, frame: KernelFrame, ops: _ShaOps) -> None:
        self._tail = frame.vector(frame.tail)
        abcd, efgh = frame.vector(frame.midstate[:4]), frame.vector(frame.midstate[4:])
        self.midstate: Final = _State(ops.shuffle(abcd, efgh, _FEBA), ops.shuffle(abcd, efgh, _HGDC))
        self.after_2: Final = ops.two_rounds(self.midstate, ops.keyed(0, self._tail), held=False)

    def words(self, builder: ir.IRBuilder, nonce: ir.Value) -> list[_Four]:
        """Return the sixteen words of the block with a nonce."""
        tail = builder.insert_element(self._tail, nonce, ir.Constant(I32, 3))
        return [tail, *(HEADER_PADDING[at : at + 4] for at in (0, 4, 8))]


def build_sha_kernel(streams: int, target: Target) -> ir.Module:
    """Return a module with the kernel for groups of ``streams`` nonces, all written side by side."""
    module = ir.Module(name=f"header_scan_sha_{streams}")
    frame = KernelFrame(module, streams)
    loop = frame.loop
    lanes = LaneOps(module, 4, target)
    ops = _ShaOps(loop, lanes)
    header = _Header(frame, _ShaOps(frame.entry, lanes))
    carried = [frame.carried(_X4, 2) for _ in range(streams)]
    pairs = []
    for stream, (abcd, efgh) in enumerate(carried):
        nonce = lanes.scalar().byte_swap(loop, loop.add(frame.nonce, ir.Constant(I32, stream)))
        first = _first_hash(ops, header, header.words(loop, nonce))
        pairs.append(side_by_side(first, _second_hash(ops, _Digest(abcd, efgh))))
    results = write_out(pairs)
    hits: ir.Value = ir.Constant(ir.IntType(1), 0)
    for _, feba in results:
        top = loop.add(loop.extract_element(feba, ir.Constant(I32, 0)), ir.Constant(I32, INITIAL_STATE[7]))
        hits = loop.or_(hits, loop.icmp_unsigned("==", loop.and_(top, frame.mask), ir.Constant(I32, 0)))
    digests = [digest for digest, _ in results]
    frame.finish(
        hits,
        [
            (phi, _vector(words))
            for phis, digest in zip(carried, digests, strict=True)
            for phi, words in zip(phis, digest, strict=True)
        ],
    )
    return module


def _first_hash(ops: _ShaOps, header: _Header, words: list[_Four]) -> Steps[_Digest]:
    """Write the hash of a header's second block."""
    state = yield from ops.rounds(header.after_2, words, 2, _FULL_ROUNDS)
    return ops.digest(header.midstate, state)


def _second_hash(ops: _ShaOps, digest: _Digest) -> Steps[ir.Value]:
    """Write the hash of a digest as far as round 60 and, because they go by two, 61: its e is then f, lane 0."""
    words = [digest.abcd, digest.efgh, *(DIGEST_PADDING[at : at + 4] for at in (0, 4))]
    abcd, efgh = INITIAL_STATE[:4], INITIAL_STATE[4:]
    start = _State(ops.shuffle(abcd, efgh, _FEBA), ops.shuffle(abcd, efgh, _HGDC))
    state = yield from ops.rounds(start, words, 0, LAST_ROUND + 2)
    return state.feba


def _vector(words: _Four) -> ir.Value:
    if isinstance(words, tuple):
        return ir.Constant(_X4, [ir.Constant(I32, word) for word in words])
    return words
