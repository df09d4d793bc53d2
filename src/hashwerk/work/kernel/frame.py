"""The kernel's function around the body of its loop: inputs, counting, and the list of what was found.

In C the function is `uint64 scan(const uint32 input[13], uint64 *groups, uint32 *found, uint64 capacity)`. ``input`` is
the midstate (8 words), the tail (3 words), the first nonce and a mask; the nonces count as numbers, which the header
holds little-endian. Nonces are scanned in groups. A group is reported when (H7 & mask) is 0 for one of its hashes:
its first nonce is put in ``found``. The function returns how many are found; it ends early when they are ``capacity``.
``*groups``, the number of groups to scan, is replaced by the number of those scanned.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from llvmlite import ir

from hashwerk.work.kernel.lanes import I32, I64

NAME: Final = "scan"
_MIDSTATE, _TAIL, _START, _MASK = 0, 8, 11, 12
INPUT_WORDS: Final = 13


class KernelFrame:
    """Writes the function. The body writes with ``loop``, from ``nonce`` on, and hands its result to `finish`.

    The body is a pipeline of two stages: in one turn it may finish the group that it began in the turn before. So
    there is one turn more than there are groups, and what the first turn finishes is ignored.
    """

    def __init__(self, module: ir.Module, group_size: int) -> None:
        """Write everything before the body; ``group_size`` is the number of nonces in a group."""
        pointers = [I32.as_pointer(), I64.as_pointer(), I32.as_pointer(), I64]
        function = ir.Function(module, ir.FunctionType(I64, pointers), NAME)
        input_, groups, self._found, self._capacity = function.args
        self.entry = ir.IRBuilder(function.append_basic_block("entry"))
        self.loop = ir.IRBuilder(function.append_basic_block("loop"))
        words = [
            self.entry.load(self.entry.gep(input_, [ir.Constant(I64, index)])) for index in range(INPUT_WORDS)
        ]
        self.midstate: Final[Sequence[ir.Value]] = words[_MIDSTATE:_TAIL]
        self.tail: Final[Sequence[ir.Value]] = words[_TAIL:_START]
        self.mask: Final[ir.Value] = words[_MASK]
        self._function = function
        self._groups = groups
        self._group_count = self.entry.load(groups)
        self._group_size = group_size
        self._start = words[_START]
        self._turn = self.loop.phi(I64)
        self._count = self.loop.phi(I64)
        self.nonce: Final[ir.Value] = self.loop.phi(I32)

    def vector(self, words: Sequence[ir.Value]) -> ir.Value:
        """Return scalars of the entry block as one vector; lanes without a scalar are 0."""
        vector: ir.Value = ir.Constant(ir.VectorType(I32, 4), [ir.Constant(I32, 0)] * 4)
        for lane, word in enumerate(words):
            vector = self.entry.insert_element(vector, word, ir.Constant(I32, lane))
        return vector

    def carried(self, kind: ir.Type, count: int) -> list[ir.PhiInstr]:
        """Return values that the body hands to its next turn; `finish` is told what they become."""
        return [self.loop.phi(kind) for _ in range(count)]

    def finish(self, hit: ir.Value, carried: Sequence[tuple[ir.PhiInstr, ir.Value]]) -> None:
        """Write everything after the body.

        Args:
            hit: One bit: whether the group that was begun in the turn before is to be reported.
            carried: The values of `carried` and what they are in the next turn.
        """
        loop_block, body_end = self._function.basic_blocks[1], self.loop.block
        found, report, following, done = (
            self._function.append_basic_block(name) for name in ("found", "report", "next", "done")
        )
        self.loop.cbranch(hit, found, following).set_weights([1, 1 << 20])
        first_turn = ir.IRBuilder(found)
        first_turn.cbranch(first_turn.icmp_unsigned("==", self._turn, ir.Constant(I64, 0)), following, report)
        rare = ir.IRBuilder(report)
        nonce = rare.sub(self.nonce, ir.Constant(I32, self._group_size))
        rare.store(nonce, rare.gep(self._found, [self._count]))
        more = rare.add(self._count, ir.Constant(I64, 1))
        rare.branch(following)

        step = ir.IRBuilder(following)
        count = step.phi(I64)
        for value, block in ((self._count, body_end), (self._count, found), (more, report)):
            count.add_incoming(value, block)
        turn = step.add(self._turn, ir.Constant(I64, 1))
        next_nonce = step.add(self.nonce, ir.Constant(I32, self._group_size))
        has_more = step.icmp_unsigned("<=", turn, self._group_count)
        has_room = step.icmp_unsigned("<", count, self._capacity)
        step.cbranch(step.and_(has_more, has_room), loop_block, done)

        self.entry.branch(loop_block)
        zero = ir.Constant(I64, 0)
        counters = (
            (self._turn, zero, turn),
            (self._count, zero, count),
            (self.nonce, self._start, next_nonce),
        )
        for phi, before, after in counters:
            phi.add_incoming(before, self.entry.block)
            phi.add_incoming(after, following)
        for phi, after in carried:
            phi.add_incoming(ir.Constant(phi.type, None), self.entry.block)
            phi.add_incoming(after, following)

        end = ir.IRBuilder(done)
        end.store(self._turn, self._groups)
        end.ret(count)
