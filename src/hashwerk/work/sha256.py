"""The SHA-256 compression function for code compiled by numba.

`compress` is written once as LLVM IR: with the processor's own SHA instructions where it has them (x86
SHA-NI), else as plain 32-bit arithmetic. The standard is FIPS 180-4; a block is 64 bytes, the state eight
32-bit words.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from typing import Any, Final

import llvmlite.binding as llvm
import numpy as np
from llvmlite import ir
from numba import njit, types
from numba.extending import intrinsic

#: FIPS 180-4, 5.3.3: the initial state.
INITIAL_STATE: Final = np.array(
    [0x6A09E667, 0xBB67AE85, 0x3C6EF372, 0xA54FF53A, 0x510E527F, 0x9B05688C, 0x1F83D9AB, 0x5BE0CD19],
    dtype=np.uint32,
)


def _first_primes(count: int) -> list[int]:
    primes: list[int] = []
    candidate = 2
    while len(primes) < count:
        if all(candidate % prime for prime in primes):
            primes.append(candidate)
        candidate += 1
    return primes


def _cube_root_fraction(number: int) -> int:
    """Return the first 32 bits of the fraction of a number's cube root."""
    low, high = 0, 1 << 40
    while low < high:  # the largest r with r**3 <= number << 96
        middle = (low + high + 1) // 2
        low, high = (middle, high) if middle**3 <= number << 96 else (low, middle - 1)
    return low & 0xFFFF_FFFF


#: FIPS 180-4, 4.2.2: the round constants.
ROUND_CONSTANTS: Final[tuple[int, ...]] = tuple(_cube_root_fraction(prime) for prime in _first_primes(64))

_I8: Final = ir.IntType(8)
_I32: Final = ir.IntType(32)
_X4: Final = ir.VectorType(_I32, 4)
_SIGNATURE: Final = ir.FunctionType(ir.VoidType(), [_I32.as_pointer(), _I8.as_pointer()])

Build = Callable[[ir.IRBuilder, ir.Value, ir.Value], None]


def has_sha_instructions() -> bool:
    """Return whether code compiled by numba in this process may use x86 SHA instructions."""
    if os.environ.get("NUMBA_CPU_NAME") or os.environ.get("NUMBA_CPU_FEATURES"):
        return False  # compiled for some other processor on request
    return bool(llvm.get_host_cpu_features().get("sha", False)) and "86" in llvm.get_process_triple()


def _vector(values: Sequence[int]) -> ir.Constant:
    return ir.Constant(_X4, [ir.Constant(_I32, value) for value in values])


def _shuffle(builder: ir.IRBuilder, first: ir.Value, second: ir.Value, lanes: Sequence[int]) -> ir.Value:
    return builder.shuffle_vector(first, second, _vector(lanes))


def _load(builder: ir.IRBuilder, pointer: ir.Value, index: int, kind: ir.Type, size: int) -> ir.Value:
    """Load the ``index``-th value of ``size`` bytes, at any alignment."""
    at = builder.gep(pointer, [ir.Constant(_I32, index * size)])
    load = builder.load(builder.bitcast(at, kind.as_pointer()))
    load.align = 1
    return load


def _swap_bytes(builder: ir.IRBuilder, value: ir.Value, suffix: str) -> ir.Value:
    kind = ir.FunctionType(value.type, [value.type])
    return builder.call(_declare(builder.module, f"llvm.bswap.{suffix}", kind), [value])


def _declare(module: ir.Module, name: str, kind: ir.FunctionType) -> ir.Function:
    known = module.globals.get(name)
    return known if known is not None else ir.Function(module, kind, name)


def _build_with_sha_instructions(builder: ir.IRBuilder, state: ir.Value, block: ir.Value) -> None:
    """Write the rounds, four at a time. The instructions want the state as the words f,e,b,a and h,g,d,c."""
    two = ir.FunctionType(_X4, [_X4, _X4])
    three = ir.FunctionType(_X4, [_X4, _X4, _X4])
    module = builder.module
    rounds = _declare(module, "llvm.x86.sha256rnds2", three)
    schedule_1 = _declare(module, "llvm.x86.sha256msg1", two)
    schedule_2 = _declare(module, "llvm.x86.sha256msg2", two)
    state_bytes = builder.bitcast(state, _I8.as_pointer())
    abcd = _load(builder, state_bytes, 0, _X4, 16)
    efgh = _load(builder, state_bytes, 1, _X4, 16)
    feba = first_feba = _shuffle(builder, abcd, efgh, (5, 4, 1, 0))
    hgdc = first_hgdc = _shuffle(builder, abcd, efgh, (7, 6, 3, 2))
    words = [_swap_bytes(builder, _load(builder, block, i, _X4, 16), "v4i32") for i in range(4)]
    for i in range(16):
        if i >= 4:
            partial = builder.call(schedule_1, [words[i - 4], words[i - 3]])
            partial = builder.add(partial, _shuffle(builder, words[i - 2], words[i - 1], (1, 2, 3, 4)))
            words.append(builder.call(schedule_2, [partial, words[i - 1]]))
        keyed = builder.add(words[i], _vector(ROUND_CONSTANTS[4 * i : 4 * i + 4]))
        hgdc = builder.call(rounds, [hgdc, feba, keyed])
        keyed = _shuffle(builder, keyed, keyed, (2, 3, 2, 3))
        feba = builder.call(rounds, [feba, hgdc, keyed])
    feba = builder.add(feba, first_feba)
    hgdc = builder.add(hgdc, first_hgdc)
    for index, lanes in enumerate(((3, 2, 7, 6), (1, 0, 5, 4))):
        at = builder.gep(state_bytes, [ir.Constant(_I32, 16 * index)])
        store = builder.store(_shuffle(builder, feba, hgdc, lanes), builder.bitcast(at, _X4.as_pointer()))
        store.align = 1


def _build_plain(builder: ir.IRBuilder, state: ir.Value, block: ir.Value) -> None:
    """Write the rounds as 32-bit arithmetic, as FIPS 180-4, 6.2.2 states them."""
    rotate_kind = ir.FunctionType(_I32, [_I32, _I32, _I32])
    rotate_function = _declare(builder.module, "llvm.fshr.i32", rotate_kind)

    def rotate(value: ir.Value, count: int) -> ir.Value:
        return builder.call(rotate_function, [value, value, ir.Constant(_I32, count)])

    def xor3(first: ir.Value, second: ir.Value, third: ir.Value) -> ir.Value:
        return builder.xor(builder.xor(first, second), third)

    words = [_swap_bytes(builder, _load(builder, block, i, _I32, 4), "i32") for i in range(16)]
    state_bytes = builder.bitcast(state, _I8.as_pointer())
    first = [_load(builder, state_bytes, i, _I32, 4) for i in range(8)]
    a, b, c, d, e, f, g, h = first
    for i in range(64):
        if i >= 16:
            w15, w2 = words[i - 15], words[i - 2]
            s0 = xor3(rotate(w15, 7), rotate(w15, 18), builder.lshr(w15, ir.Constant(_I32, 3)))
            s1 = xor3(rotate(w2, 17), rotate(w2, 19), builder.lshr(w2, ir.Constant(_I32, 10)))
            words.append(builder.add(builder.add(words[i - 16], s0), builder.add(words[i - 7], s1)))
        big_1 = xor3(rotate(e, 6), rotate(e, 11), rotate(e, 25))
        choice = builder.xor(g, builder.and_(e, builder.xor(f, g)))
        keyed = builder.add(words[i], ir.Constant(_I32, ROUND_CONSTANTS[i]))
        t1 = builder.add(builder.add(h, keyed), builder.add(big_1, choice))
        big_0 = xor3(rotate(a, 2), rotate(a, 13), rotate(a, 22))
        majority = builder.or_(builder.and_(a, b), builder.and_(c, builder.or_(a, b)))
        h, g, f, e, d, c, b, a = (
            g,
            f,
            e,
            builder.add(d, t1),
            c,
            b,
            a,
            builder.add(t1, builder.add(big_0, majority)),
        )
    for index, (before, after) in enumerate(zip(first, (a, b, c, d, e, f, g, h), strict=True)):
        builder.store(builder.add(before, after), builder.gep(state, [ir.Constant(_I32, index)]))


def _define(module: ir.Module, name: str, build: Build) -> ir.Function:
    known = module.globals.get(name)
    if known is not None:
        return known
    function = ir.Function(module, _SIGNATURE, name)
    function.linkage = "internal"
    function.attributes.add("noinline")
    function.attributes.add("nounwind")
    builder = ir.IRBuilder(function.append_basic_block("entry"))
    build(builder, function.args[0], function.args[1])
    builder.ret_void()
    return function


def _make_intrinsic(name: str, build: Build) -> Any:
    """Return a function for numba: (state as uint32[::1], data as uint8[::1], offset) -> None."""

    @intrinsic
    def compress_intrinsic(typing_context: Any, state: Any, data: Any, offset: Any) -> Any:
        signature = types.void(state, data, types.intp)

        def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
            state_type, data_type, _ = signature.args
            state_array = context.make_array(state_type)(context, builder, arguments[0])
            data_array = context.make_array(data_type)(context, builder, arguments[1])
            block = builder.gep(data_array.data, [arguments[2]])
            state_pointer = builder.bitcast(state_array.data, _I32.as_pointer())
            block_pointer = builder.bitcast(block, _I8.as_pointer())
            builder.call(_define(builder.module, name, build), [state_pointer, block_pointer])
            return context.get_dummy_value()

        return signature, generate

    return compress_intrinsic


#: Both take (state: uint32[8], data: uint8[n], offset) and run one block of ``data`` into ``state``.
#: Only numba-compiled code can call them.
compress_plain: Final = _make_intrinsic("hashwerk_sha256_plain", _build_plain)
compress_with_sha_instructions: Final = _make_intrinsic("hashwerk_sha256_ni", _build_with_sha_instructions)
compress: Final = compress_with_sha_instructions if has_sha_instructions() else compress_plain


@njit(cache=True, nogil=True)
def run_blocks(state: Any, data: Any) -> None:
    """Run every 64-byte block of ``data`` (uint8, a multiple of 64) into ``state`` (uint32[8])."""
    for offset in range(0, len(data) - 63, 64):
        compress(state, data, offset)


def midstate(data: bytes) -> np.ndarray[Any, np.dtype[np.uint32]]:
    """Return the state after the whole 64-byte blocks of ``data``; what is left over is not used."""
    state = INITIAL_STATE.copy()
    whole = len(data) // 64 * 64
    run_blocks(state, np.frombuffer(bytearray(data[:whole]), dtype=np.uint8))
    return state
