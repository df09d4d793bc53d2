"""The scanner: which nonces of a header meet a target."""

from __future__ import annotations

import ctypes
import functools
import hashlib
import struct
from typing import Final

from hashwerk.work.kernel.constants import INITIAL_STATE, compress
from hashwerk.work.kernel.frame import INPUT_WORDS
from hashwerk.work.kernel.native import NativeKernel
from hashwerk.work.kernel.target import host_target
from hashwerk.work.kernel.vector import build_vector_kernel

NONCES: Final = 1 << 32
MAX_TARGET: Final = (1 << 256) - 1
DEFAULT_LIMIT: Final = 1024
_MAX_FOUND: Final = 1024


def available_widths() -> tuple[int, ...]:
    """Return the vector widths in 32-bit lanes that this processor has registers for, widest first."""
    return host_target().widths


@functools.cache
def _compiled(width: int) -> NativeKernel:
    return NativeKernel(build_vector_kernel(width, host_target()), host_target(), width)


@functools.lru_cache(maxsize=64)
def _midstate(first_block: bytes) -> tuple[int, ...]:
    return compress(INITIAL_STATE, first_block)


class Scanner:
    """Scans the nonces of block headers. It keeps no state, so threads may share it, and they scale."""

    def __init__(self, width: int | None = None) -> None:
        """Compile the kernel, or take the one this process has compiled before.

        Args:
            width: Vector width in 32-bit lanes, one of `available_widths`; None takes what is fastest here.

        Raises:
            ValueError: If this processor does not have that width.
        """
        widths = available_widths()
        if width is None:
            width = widths[0]
        if width not in widths:
            raise ValueError(f"this processor has vector widths {widths}, not {width}")
        self.width: Final = width
        self._kernel = _compiled(width)

    def scan(
        self, header76: bytes, start_nonce: int, count: int, target: int, limit: int = DEFAULT_LIMIT
    ) -> list[int]:
        """Return the nonces whose header hash is at most ``target``, in the order of the scan.

        The hash is the double SHA-256 of the 80 bytes, read as a little-endian number of 256 bits. The GIL is released while
        scanning.

        Args:
            header76: The header without its nonce, 76 bytes.
            start_nonce: The first nonce; the header holds it little-endian.
            count: How many nonces to scan, up to 2^32; after 2^32 - 1 comes 0.
            target: The largest hash that counts.
            limit: The scan ends early once so many are found; the caller may go on after the last one.

        Raises:
            ValueError: If an argument is out of range.
        """
        if len(header76) != 76:
            raise ValueError(f"a header without its nonce has 76 bytes: {len(header76)}")
        if not 0 <= start_nonce < NONCES or not 0 <= count <= NONCES:
            raise ValueError(f"nonces out of range: {count} from {start_nonce}")
        if not 0 <= target <= MAX_TARGET or limit < 0:
            raise ValueError(f"target or limit out of range: {target:#x}, {limit}")
        found: list[int] = []
        done = 0
        while done < count and len(found) < limit:
            done = self._scan_part(header76, start_nonce, done, count, target, limit, found)
        return found

    def _scan_part(
        self, header76: bytes, start: int, done: int, count: int, target: int, limit: int, found: list[int]
    ) -> int:
        """Scan until the kernel's list is full; return how many nonces are done."""
        group = self._kernel.group_size
        inputs = (ctypes.c_uint32 * INPUT_WORDS)(
            *_midstate(header76[:64]),
            *struct.unpack(">3I", header76[64:]),
            (start + done) % NONCES,
            _top_mask(target),
        )
        groups = ctypes.c_uint64(-(-(count - done) // group))
        capacity = min(_MAX_FOUND, max(1, limit - len(found)))
        firsts = (ctypes.c_uint32 * capacity)()
        hits = self._kernel.call(inputs, ctypes.byref(groups), firsts, capacity)
        for first in firsts[:hits]:
            for nonce in range(first, first + group):
                index = (nonce - start) % NONCES
                if (
                    done <= index < count
                    and header_hash(header76, nonce % NONCES) <= target
                    and len(found) < limit
                ):
                    found.append(nonce % NONCES)
        return min(count, done + groups.value * group)


def header_hash(header76: bytes, nonce: int) -> int:
    """Return the hash of a header, the number that is compared with the target."""
    header = header76 + nonce.to_bytes(4, "little")
    return int.from_bytes(hashlib.sha256(hashlib.sha256(header).digest()).digest(), "little")


def _top_mask(target: int) -> int:
    """Return the bits of H7, the hash's top word with its bytes reversed, that are zero in every hash up to ``target``."""
    top = target >> 224
    zeros = 0xFFFF_FFFF >> top.bit_length() << top.bit_length()
    return int.from_bytes(zeros.to_bytes(4, "little"), "big")
