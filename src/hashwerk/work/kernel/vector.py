"""The vector kernel: one loop over groups of nonces, each group several interleaved vectors.

One stream of rounds is a chain: every round waits for the one before. Two or more interleaved streams keep the processor's
ports busy meanwhile.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from llvmlite import ir

from hashwerk.work.kernel.algebra import Algebra, Lanes, Uniform, Word
from hashwerk.work.kernel.header_hash import Steps, header_hash_top
from hashwerk.work.kernel.lanes import I32, I64, LaneOps

#: The kernel's name and signature in the module it is compiled in:
#: uint64 scan(const uint32 input[13], uint64 *groups, uint32 *found, uint64 capacity).
#:
#: ``input`` is the midstate (8 words), the tail (3), the first nonce and a mask; the nonces are numbers, as the header's
#: bytes give them in little-endian order. A group is reported when (H7 & mask) is 0 for one of its hashes: the first nonce of
#: each is put in ``found``. Returns how many; the scan ends when ``capacity`` are found, and ``*groups``, the number of groups
#: to scan, is replaced by the number scanned.
NAME: Final = "scan"
_MIDSTATE, _TAIL, _START, _MASK = 0, 8, 11, 12
INPUT_WORDS: Final = 13


class KernelFrame:
    """The kernel's function around the body of its loop: inputs, counting, and the list of what was found."""

    def __init__(self, module: ir.Module, group_size: int) -> None:
        """Write everything before the body; ``group_size`` is the number of nonces in a group."""
        pointers = [I32.as_pointer(), I64.as_pointer(), I32.as_pointer(), I64]
        self.function = ir.Function(module, ir.FunctionType(I64, pointers), NAME)
        self._input, self._groups, self._found, self._capacity = self.function.args
        self.entry = ir.IRBuilder(self.function.append_basic_block("entry"))
        self._loop_block = self.function.append_basic_block("loop")
        self.loop = ir.IRBuilder(self._loop_block)
        words = [self._load(index) for index in range(INPUT_WORDS)]
        self.midstate: Final[Sequence[ir.Value]] = words[_MIDSTATE:_TAIL]
        self.tail: Final[Sequence[ir.Value]] = words[_TAIL:_START]
        self.mask: Final[ir.Value] = words[_MASK]
        self._limit = self.entry.load(self._groups)
        self._group_size = group_size
        self._start = words[_START]
        self._index = self.loop.phi(I64)
        self._count = self.loop.phi(I64)
        self.nonce: Final[ir.Value] = self.loop.phi(I32)

    def _load(self, index: int) -> ir.Value:
        return self.entry.load(self.entry.gep(self._input, [ir.Constant(I64, index)]))

    def finish(self, hit: ir.Value) -> None:
        """Write everything after the body; ``hit`` (one bit) says whether the group is to be reported."""
        found, following, done = (
            self.function.append_basic_block(name) for name in ("found", "next", "done")
        )
        self.loop.cbranch(hit, found, following).set_weights([1, 1 << 20])
        body_end = self.loop.block
        rare = ir.IRBuilder(found)
        rare.store(self.nonce, rare.gep(self._found, [self._count]))
        more = rare.add(self._count, ir.Constant(I64, 1))
        rare.branch(following)
        step = ir.IRBuilder(following)
        count = step.phi(I64)
        count.add_incoming(self._count, body_end)
        count.add_incoming(more, found)
        index = step.add(self._index, ir.Constant(I64, 1))
        nonce = step.add(self.nonce, ir.Constant(I32, self._group_size))
        goes_on = step.and_(
            step.icmp_unsigned("<", index, self._limit), step.icmp_unsigned("<", count, self._capacity)
        )
        step.cbranch(goes_on, self._loop_block, done)
        self.entry.branch(self._loop_block)
        for phi, first, next_value in (
            (self._index, ir.Constant(I64, 0), index),
            (self._count, ir.Constant(I64, 0), count),
            (self.nonce, self._start, nonce),
        ):
            phi.add_incoming(first, self.entry.block)
            phi.add_incoming(next_value, following)
        end = ir.IRBuilder(done)
        end.store(index, self._groups)
        end.ret(count)


def build_vector_kernel(width: int, streams: int, features: frozenset[str]) -> ir.Module:
    """Return a module with the kernel for ``streams`` interleaved vectors of ``width`` lanes."""
    module = ir.Module(name=f"header_scan_{width}x{streams}")
    frame = KernelFrame(module, width * streams)
    ops = LaneOps(module, width, features)
    algebra = Algebra(frame.entry, frame.loop, ops)
    midstate = [Uniform(word) for word in frame.midstate]
    tail = [Uniform(word) for word in frame.tail]
    mask = ops.splat(frame.entry, frame.mask)
    nonces = [_nonce_words(frame, ops, stream) for stream in range(streams)]
    tops = run_interleaved([header_hash_top(algebra, midstate, tail, nonce) for nonce in nonces])
    frame.finish(_any_hit(frame.loop, ops, tops, mask))
    return module


def run_interleaved(streams: Sequence[Steps]) -> list[Word]:
    """Advance all computations in turn, a round each, and return their results."""
    results: dict[int, Word] = {}
    while len(results) < len(streams):
        for index, steps in enumerate(streams):
            if index not in results:
                try:
                    next(steps)
                except StopIteration as end:
                    results[index] = end.value
    return [results[index] for index in range(len(streams))]


def _nonce_words(frame: KernelFrame, ops: LaneOps, stream: int) -> Lanes:
    """Return a vector of consecutive nonces as the big-endian words that SHA-256 reads."""
    builder = frame.loop
    first = stream * ops.width
    if ops.width == 1:
        offsets: ir.Value = ir.Constant(I32, first)
    else:
        offsets = ir.Constant(ops.type, [ir.Constant(I32, first + lane) for lane in range(ops.width)])
    return Lanes(ops.byte_swap(builder, builder.add(ops.splat(builder, frame.nonce), offsets)))


def _any_hit(builder: ir.IRBuilder, ops: LaneOps, tops: Sequence[Word], mask: ir.Value) -> ir.Value:
    """Return one bit: whether (H7 & mask) is 0 in any lane of any stream."""
    zero = ops.constant(0)
    hits = None
    for top in tops:
        if not isinstance(top, Lanes):
            raise TypeError("the hash does not depend on the nonce")
        hit = builder.icmp_unsigned("==", builder.and_(top.value, mask), zero)
        hits = hit if hits is None else builder.or_(hits, hit)
    if ops.width == 1:
        return hits
    bits = ir.IntType(ops.width)
    return builder.icmp_unsigned("!=", builder.bitcast(hits, bits), ir.Constant(bits, 0))
