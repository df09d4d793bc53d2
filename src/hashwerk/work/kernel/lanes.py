"""Operations on vectors of 32-bit lanes as LLVM IR, chosen for what the processor has.

With AVX-512 a rotation is one instruction (`vprord`) and any function of three words is one too (`vpternlogd`). Elsewhere
functions are written so that the fewest plain operations are left.
"""

from __future__ import annotations

from typing import Final

from llvmlite import ir

I1: Final = ir.IntType(1)
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

    def __init__(self, module: ir.Module, width: int, features: frozenset[str]) -> None:
        self._module = module
        self.width: Final = width
        self.type: Final[ir.Type] = I32 if width == 1 else ir.VectorType(I32, width)
        self._has_ternary = (width == 16 and "avx512f" in features) or (
            width in {4, 8} and "avx512vl" in features
        )
        # By identity of both words; the words are kept, so that no identity is given away twice.
        self._xors: dict[tuple[int, int], tuple[ir.Value, ir.Value, ir.Value]] = {}

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
        lanes = ir.Constant(ir.VectorType(I32, self.width), [ir.Constant(I32, 0)] * self.width)
        return builder.shuffle_vector(single, undefined, lanes)

    def byte_swap(self, builder: ir.IRBuilder, value: ir.Value) -> ir.Value:
        """Return each lane with its bytes reversed."""
        suffix = "i32" if self.width == 1 else f"v{self.width}i32"
        return builder.call(declare(self._module, f"llvm.bswap.{suffix}", self.type, [self.type]), [value])

    def rotate_right(self, builder: ir.IRBuilder, value: ir.Value, count: int) -> ir.Value:
        """Return each lane rotated right."""
        suffix = "i32" if self.width == 1 else f"v{self.width}i32"
        rotate = declare(self._module, f"llvm.fshr.{suffix}", self.type, [self.type] * 3)
        return builder.call(rotate, [value, value, self.constant(count)])

    def sigma(self, builder: ir.IRBuilder, value: ir.Value, counts: tuple[int, int, int]) -> ir.Value:
        """Return σ: two rotations and a shift."""
        rotated = [self.rotate_right(builder, value, count) for count in counts[:2]]
        return self._xor_3(builder, *rotated, builder.lshr(value, self.constant(counts[2])))

    def capital_sigma(self, builder: ir.IRBuilder, value: ir.Value, counts: tuple[int, int, int]) -> ir.Value:
        """Return Σ: three rotations."""
        rotated = [self.rotate_right(builder, value, count) for count in counts]
        return self._xor_3(builder, *rotated)

    def choose(self, builder: ir.IRBuilder, first: ir.Value, second: ir.Value, third: ir.Value) -> ir.Value:
        """Return Ch."""
        if self._has_ternary:
            return self._ternary(builder, _CHOOSE, first, second, third)
        return builder.xor(third, builder.and_(first, builder.xor(second, third)))

    def majority(self, builder: ir.IRBuilder, first: ir.Value, second: ir.Value, third: ir.Value) -> ir.Value:
        """Return Maj. In the next round (first, second) come back as (second, third), and so does their xor."""
        if self._has_ternary:
            return self._ternary(builder, _MAJORITY, first, second, third)
        differs = builder.and_(
            self._cached_xor(builder, first, second), self._cached_xor(builder, second, third)
        )
        return builder.xor(differs, second)

    def _cached_xor(self, builder: ir.IRBuilder, first: ir.Value, second: ir.Value) -> ir.Value:
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
