"""Operations on vectors of 32-bit lanes as LLVM IR, chosen for what the processor has.

With AVX-512 a rotation is one instruction (`vprord`) and any function of three words is one too (`vpternlogd`).
Elsewhere the functions are written so that the fewest plain operations are left.
"""

from __future__ import annotations

from typing import Final

from llvmlite import ir

from hashwerk.work.kernel.constants import Shifts
from hashwerk.work.kernel.target import Target

I32: Final = ir.IntType(32)
I64: Final = ir.IntType(64)

# Truth tables for vpternlogd: bit (4a + 2b + c) is the result for the bits a, b, c.
_XOR_3: Final = 0x96
_CHOOSE: Final = 0xCA
_MAJORITY: Final = 0xE8


def declare(module: ir.Module, name: str, result: ir.Type, arguments: list[ir.Type]) -> ir.Function:
    """Return the module's declaration of an intrinsic, made when it is first asked for."""
    known = module.globals.get(name)
    return known if known is not None else ir.Function(module, ir.FunctionType(result, arguments), name)


class LaneOps:
    """Vector operations of one width; width 1 is a plain 32-bit register."""

    def __init__(self, module: ir.Module, width: int, target: Target) -> None:
        """Write for ``target``, with vectors of ``width`` lanes."""
        self._module = module
        self._target = target
        self._suffix = "i32" if width == 1 else f"v{width}i32"
        self._has_ternary = target.has_ternary_logic(width)
        # By identity of both words; the words are kept, so that no identity is given away twice.
        self._xors: dict[tuple[int, int], tuple[ir.Value, ir.Value, ir.Value]] = {}
        self.width: Final = width
        self.type: Final[ir.Type] = I32 if width == 1 else ir.VectorType(I32, width)

    def scalar(self) -> LaneOps:
        """Return the operations on a single lane."""
        return LaneOps(self._module, 1, self._target)

    def constant(self, value: int) -> ir.Constant:
        """Return a value known now, in all lanes."""
        if self.width == 1:
            return ir.Constant(I32, value)
        return ir.Constant(self.type, [ir.Constant(I32, value)] * self.width)

    def splat(self, builder: ir.IRBuilder, value: ir.Value) -> ir.Value:
        """Return a scalar in all lanes."""
        if self.width == 1:
            return value
        undefined = ir.Constant(self.type, ir.Undefined)
        single = builder.insert_element(undefined, value, ir.Constant(I32, 0))
        return builder.shuffle_vector(single, undefined, self.constant(0))

    def byte_swap(self, builder: ir.IRBuilder, value: ir.Value) -> ir.Value:
        """Return each lane with its bytes reversed."""
        return builder.call(
            declare(self._module, f"llvm.bswap.{self._suffix}", self.type, [self.type]), [value]
        )

    def rotate_right(self, builder: ir.IRBuilder, value: ir.Value, count: int) -> ir.Value:
        """Return each lane rotated right."""
        rotate = declare(self._module, f"llvm.fshr.{self._suffix}", self.type, [self.type] * 3)
        return builder.call(rotate, [value, value, self.constant(count)])

    def sigma(self, builder: ir.IRBuilder, value: ir.Value, shifts: Shifts) -> ir.Value:
        """Return σ: two rotations and a shift."""
        first, second = (self.rotate_right(builder, value, count) for count in shifts[:2])
        return self._xor_3(builder, first, second, builder.lshr(value, self.constant(shifts[2])))

    def capital_sigma(self, builder: ir.IRBuilder, value: ir.Value, shifts: Shifts) -> ir.Value:
        """Return Σ: three rotations."""
        first, second, third = (self.rotate_right(builder, value, count) for count in shifts)
        return self._xor_3(builder, first, second, third)

    def choose(self, builder: ir.IRBuilder, first: ir.Value, second: ir.Value, third: ir.Value) -> ir.Value:
        """Return Ch."""
        if self._has_ternary:
            return self._ternary(builder, _CHOOSE, first, second, third)
        return builder.xor(third, builder.and_(first, builder.xor(second, third)))

    def majority(self, builder: ir.IRBuilder, first: ir.Value, second: ir.Value, third: ir.Value) -> ir.Value:
        """Return Maj. The next round's (second, third) are this one's (first, second), and so is their xor."""
        if self._has_ternary:
            return self._ternary(builder, _MAJORITY, first, second, third)
        differs = builder.and_(self._xor(builder, first, second), self._xor(builder, second, third))
        return builder.xor(differs, second)

    def hold_order(self, builder: ir.IRBuilder, value: ir.Value) -> ir.Value:
        """Return the value; the code that computes it stays between its neighbours of this kind.

        LLVM's schedulers would sort interleaved computations apart again, one after the other. An empty piece of
        assembly with side effects costs no instruction, and those keep their order among each other.
        """
        constraint = self._target.register_constraint(self.width)
        kind = ir.FunctionType(self.type, [self.type])
        return builder.asm(kind, "", f"={constraint},0", [value], True)

    def _xor(self, builder: ir.IRBuilder, first: ir.Value, second: ir.Value) -> ir.Value:
        key = (id(first), id(second))
        if key not in self._xors:
            self._xors[key] = (builder.xor(first, second), first, second)
        return self._xors[key][0]

    def _xor_3(self, builder: ir.IRBuilder, first: ir.Value, second: ir.Value, third: ir.Value) -> ir.Value:
        if self._has_ternary:
            return self._ternary(builder, _XOR_3, first, second, third)
        return builder.xor(builder.xor(first, second), third)

    def _ternary(self, builder: ir.IRBuilder, table: int, *values: ir.Value) -> ir.Value:
        name = f"llvm.x86.avx512.pternlog.d.{32 * self.width}"
        function = declare(self._module, name, self.type, [self.type] * 3 + [I32])
        return builder.call(function, [*values, ir.Constant(I32, table)])
