"""The vector kernel: a loop over vectors of nonces in two stages.

The rounds of one hash are a chain, each waits for the one before, and the processor cannot look far enough ahead to fill
the gaps. So each turn of the loop writes, round by round side by side, the first hash of one vector and the second hash
of the vector before: two chains that do not wait for each other, in code as long as for one. (Two vectors side by side
through both hashes make it twice as long: then it falls out of the processor's cache of decoded instructions.) Two
chains need registers; where there are only 16, their words would travel to memory and back too often, and the stages
are written one after the other. Figures: docs/performance/hashing.md.
"""

from __future__ import annotations

from llvmlite import ir

from hashwerk.work.kernel.algebra import Algebra, Lanes, Uniform, Word
from hashwerk.work.kernel.double_sha256 import first_hash, second_hash
from hashwerk.work.kernel.frame import KernelFrame
from hashwerk.work.kernel.interleave import one_after_another, side_by_side, write_out
from hashwerk.work.kernel.lanes import I32, LaneOps
from hashwerk.work.kernel.target import Target


def build_vector_kernel(width: int, target: Target) -> ir.Module:
    """Return a module with the kernel for vectors of ``width`` lanes; a group is one vector."""
    module = ir.Module(name=f"header_scan_{width}")
    frame = KernelFrame(module, width)
    ops = LaneOps(module, width, target)
    algebra = Algebra(frame.entry, frame.loop, ops)
    mask = ops.splat(frame.entry, frame.mask)
    before = frame.carried(ops.type, 8)
    first = first_hash(
        algebra,
        [Uniform(word) for word in frame.midstate],
        [Uniform(word) for word in frame.tail],
        _nonce_words(frame, ops),
    )
    second = second_hash(algebra, [Lanes(word) for word in before])
    arrange = side_by_side if target.has_many_registers(width) else one_after_another
    [(digest, top)] = write_out([arrange(first, second)])
    carried = [(phi, word.value) for phi, word in zip(before, digest, strict=True) if isinstance(word, Lanes)]
    frame.finish(_any_hit(frame.loop, ops, top, mask), carried)
    return module


def _nonce_words(frame: KernelFrame, ops: LaneOps) -> Lanes:
    """Return a vector of consecutive nonces as the big-endian words that SHA-256 reads."""
    builder = frame.loop
    nonces = ops.splat(builder, frame.nonce)
    if ops.width > 1:
        nonces = builder.add(
            nonces, ir.Constant(ops.type, [ir.Constant(I32, lane) for lane in range(ops.width)])
        )
    return Lanes(ops.byte_swap(builder, nonces))


def _any_hit(builder: ir.IRBuilder, ops: LaneOps, top: Word, mask: ir.Value) -> ir.Value:
    """Return one bit: whether (H7 & mask) is 0 in any lane."""
    if not isinstance(top, Lanes):
        raise TypeError("the hash does not depend on the nonce")
    hits = builder.icmp_unsigned("==", builder.and_(top.value, mask), ops.constant(0))
    if ops.width == 1:
        return hits
    bits = ir.IntType(ops.width)
    return builder.icmp_unsigned("!=", builder.bitcast(hits, bits), ir.Constant(bits, 0))
