"""Many shares of one job hashed side by side, a share in each lane of a vector.

A bundle's shares come in thousands of one job, whose coinbases and headers have one shape. So the compression
function of SHA-256 (FIPS 180-4) is written once more as LLVM IR, over vectors: 16 lanes where the processor has AVX-512,
8 with AVX2, else 4. It is two to five times as fast as the processor's own SHA instructions, one share at a time.
"""

from __future__ import annotations

import os
from typing import Any, Final

import llvmlite.binding as llvm
import numpy as np
from llvmlite import ir
from numba import njit, types
from numba.extending import intrinsic

from hashwerk.work.sha256 import ROUND_CONSTANTS


def _lanes() -> int:
    if os.environ.get("NUMBA_CPU_NAME") or os.environ.get("NUMBA_CPU_FEATURES"):
        return 4  # compiled for some other processor on request
    features = llvm.get_host_cpu_features()
    return 16 if features.get("avx512f") else 8 if features.get("avx2") else 4


LANES: Final = _lanes()
_I32: Final = ir.IntType(32)
_WIDE: Final = ir.VectorType(_I32, LANES)
_NAME: Final = f"hashwerk_sha256_{LANES}_lanes"


def _splat(value: int) -> ir.Constant:
    return ir.Constant(_WIDE, [ir.Constant(_I32, value)] * LANES)


def _build(builder: ir.IRBuilder, state: ir.Value, block: ir.Value) -> None:
    """Write the 64 rounds, with each variable a vector (6.2.2)."""
    kind = ir.FunctionType(_WIDE, [_WIDE, _WIDE, _WIDE])
    name = f"llvm.fshr.v{LANES}i32"
    shift = builder.module.globals.get(name) or ir.Function(builder.module, kind, name)

    def rotate(value: ir.Value, count: int) -> ir.Value:
        return builder.call(shift, [value, value, _splat(count)])

    def xor3(first: ir.Value, second: ir.Value, third: ir.Value) -> ir.Value:
        return builder.xor(builder.xor(first, second), third)

    def at(pointer: ir.Value, index: int) -> ir.Value:
        place = builder.gep(pointer, [ir.Constant(_I32, LANES * index)])
        return builder.bitcast(place, _WIDE.as_pointer())

    def load(pointer: ir.Value, index: int) -> ir.Value:
        value = builder.load(at(pointer, index))
        value.align = 4
        return value

    words = [load(block, i) for i in range(16)]
    first = [load(state, i) for i in range(8)]
    a, b, c, d, e, f, g, h = first
    for i in range(64):
        if i >= 16:
            w15, w2 = words[i - 15], words[i - 2]
            s0 = xor3(rotate(w15, 7), rotate(w15, 18), builder.lshr(w15, _splat(3)))
            s1 = xor3(rotate(w2, 17), rotate(w2, 19), builder.lshr(w2, _splat(10)))
            words.append(builder.add(builder.add(words[i - 16], s0), builder.add(words[i - 7], s1)))
        big_1 = xor3(rotate(e, 6), rotate(e, 11), rotate(e, 25))
        choice = builder.xor(g, builder.and_(e, builder.xor(f, g)))
        keyed = builder.add(words[i], _splat(ROUND_CONSTANTS[i]))
        t1 = builder.add(builder.add(h, keyed), builder.add(big_1, choice))
        big_0 = xor3(rotate(a, 2), rotate(a, 13), rotate(a, 22))
        majority = builder.or_(builder.and_(a, b), builder.and_(c, builder.or_(a, b)))
        a, b, c, d, e, f, g, h = (
            builder.add(t1, builder.add(big_0, majority)),
            a,
            b,
            c,
            builder.add(d, t1),
            e,
            f,
            g,
        )
    for index, (before, after) in enumerate(zip(first, (a, b, c, d, e, f, g, h), strict=True)):
        store = builder.store(builder.add(before, after), at(state, index))
        store.align = 4


@intrinsic
def _compress_intrinsic(typing_context: Any, state: Any, block: Any) -> Any:
    """Run a block (uint32[16, LANES]) into states (uint32[8, LANES])."""
    signature = types.void(state, block)

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        pointers = []
        for type_, value in zip(signature.args, arguments, strict=True):
            data = context.make_array(type_)(context, builder, value).data
            pointers.append(builder.bitcast(data, _I32.as_pointer()))
        function = builder.module.globals.get(_NAME)
        if function is None:
            kind = ir.FunctionType(ir.VoidType(), [_I32.as_pointer(), _I32.as_pointer()])
            function = ir.Function(builder.module, kind, _NAME)
            function.linkage = "internal"
            function.attributes.add("noinline")
            function.attributes.add("nounwind")
            inner = ir.IRBuilder(function.append_basic_block("entry"))
            _build(inner, *function.args)
            inner.ret_void()
        builder.call(function, pointers)
        return context.get_dummy_value()

    return signature, generate


#: Takes states (uint32[8, LANES]) and blocks (uint32[16, LANES]). Only compiled code can call it.
_compress: Final[Any] = _compress_intrinsic


@njit(cache=True, nogil=True)
def _swap(value: Any) -> Any:
    """Return a word with its bytes in the other order."""
    word = np.uint32(value)
    return (
        (word << np.uint32(24))
        | ((word & np.uint32(0xFF00)) << np.uint32(8))
        | ((word >> np.uint32(8)) & np.uint32(0xFF00))
        | (word >> np.uint32(24))
    )


@njit(cache=True, nogil=True)
def _begin(state: Any, initial: Any) -> None:
    for k in range(8):
        for lane in range(LANES):
            state[k, lane] = initial[k]


@njit(cache=True, nogil=True)
def _pad(block: Any, first: int, bits: int) -> None:
    """Fill a block from a word on: the end of a message of so many bits."""
    for k in range(first, 16):
        word = np.uint32(0x80000000) if k == first else np.uint32(bits) if k == 15 else np.uint32(0)
        for lane in range(LANES):
            block[k, lane] = word


@njit(cache=True, nogil=True)
def _again(state: Any, block: Any, initial: Any) -> None:
    """Hash the digests in ``state`` once more."""
    for k in range(8):
        for lane in range(LANES):
            block[k, lane] = state[k, lane]
    _pad(block, 8, 256)
    _begin(state, initial)
    _compress(state, block)


@njit(cache=True, nogil=True)
def _put_extranonces(block: Any, offset: int, place: int, values: Any, size: int) -> None:
    """Put numbers of ``size`` bytes, which begin at byte ``place`` of a message, into its block at byte ``offset``."""
    for k in range(size):
        at = place + k - offset
        if at < 0 or at >= 64:
            continue
        down = np.uint64(8 * (size - 1 - k))
        up = np.uint32(24 - 8 * (at & 3))
        for lane in range(LANES):
            block[at >> 2, lane] |= np.uint32((values[lane] >> down) & np.uint64(255)) << up


@njit(cache=True, nogil=True)
def hash_lanes(  # noqa: PLR0917 - compiled code takes no keywords
    leaves: Any, chosen: Any, job: Any, tail: Any, branch: Any, initial: Any, hashes: Any
) -> None:
    """Hash shares of one job.

    Args:
        leaves: Shares, rows of `share_leaf.LEAF_DTYPE`.
        chosen: Which of them; all are of the job.
        job: The job's row of `rehash.JobTable`.
        tail: The rest of its padded coinbase as big-endian words, (n,).
        branch: Its branch as big-endian words, (levels, 8).
        initial: The initial state of SHA-256.
        hashes: Where the hash of each share goes, (n, 32), internal order.
    """
    state = np.empty((8, LANES), np.uint32)
    block = np.empty((16, LANES), np.uint32)
    first, second = np.empty(LANES, np.uint64), np.empty(LANES, np.uint64)
    place, size1, size2 = int(job.extranonce_at), int(job.extranonce1_size), int(job.extranonce2_size)
    for start in range(0, len(chosen), LANES):
        count = min(LANES, len(chosen) - start)
        for lane in range(LANES):  # what is too much repeats the last
            leaf = leaves[chosen[start + min(lane, count - 1)]]
            first[lane], second[lane] = leaf.extranonce1, leaf.extranonce2
        for k in range(8):
            for lane in range(LANES):
                state[k, lane] = job.midstate[k]
        for offset in range(0, int(job.tail_size), 64):
            for k in range(16):
                for lane in range(LANES):
                    block[k, lane] = tail[offset // 4 + k]
            _put_extranonces(block, offset, place, first, size1)
            _put_extranonces(block, offset, place + size1, second, size2)
            _compress(state, block)
        _again(state, block, initial)
        for level in range(job.branch_size):
            for k in range(8):
                for lane in range(LANES):
                    block[k, lane] = state[k, lane]
                    block[8 + k, lane] = branch[level, k]
            _begin(state, initial)
            _compress(state, block)
            _pad(block, 0, 512)
            _compress(state, block)
            _again(state, block, initial)
        _hash_headers(leaves, chosen, start, job, state, block, initial)
        for lane in range(count):
            index = chosen[start + lane]
            for k in range(8):
                word = state[k, lane]
                hashes[index, 4 * k] = word >> np.uint32(24)
                hashes[index, 4 * k + 1] = (word >> np.uint32(16)) & np.uint32(255)
                hashes[index, 4 * k + 2] = (word >> np.uint32(8)) & np.uint32(255)
                hashes[index, 4 * k + 3] = word & np.uint32(255)


@njit(cache=True, nogil=True)
def _hash_headers(  # noqa: PLR0917 - compiled code takes no keywords
    leaves: Any, chosen: Any, start: int, job: Any, state: Any, block: Any, initial: Any
) -> None:
    """Hash headers twice whose merkle roots are in ``state``."""
    last = np.empty(LANES, np.uint32)
    for lane in range(LANES):
        leaf = leaves[chosen[min(start + lane, len(chosen) - 1)]]
        block[0, lane] = _swap(leaf.version)
        last[lane] = state[7, lane]
    for k in range(8):
        at = 4 * k
        word = (
            np.uint32(job.prev_hash[at]) << np.uint32(24)
            | np.uint32(job.prev_hash[at + 1]) << np.uint32(16)
            | np.uint32(job.prev_hash[at + 2]) << np.uint32(8)
            | np.uint32(job.prev_hash[at + 3])
        )
        for lane in range(LANES):
            block[1 + k, lane] = word
    for k in range(7):
        for lane in range(LANES):
            block[9 + k, lane] = state[k, lane]
    _begin(state, initial)
    _compress(state, block)
    _pad(block, 4, 640)
    for lane in range(LANES):
        leaf = leaves[chosen[min(start + lane, len(chosen) - 1)]]
        block[0, lane] = last[lane]
        block[1, lane] = _swap(leaf.ntime)
        block[2, lane] = _swap(job.nbits)
        block[3, lane] = _swap(leaf.nonce)
    _compress(state, block)
    _again(state, block, initial)
