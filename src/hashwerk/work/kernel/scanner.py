"""The scanner: which nonces of a header meet a target."""

from __future__ import annotations

import ctypes
import functools
import hashlib
import struct
from collections.abc import Iterator
from typing import Final

from hashwerk.work.kernel.constants import INITIAL_STATE, compress
from hashwerk.work.kernel.frame import INPUT_WORDS
from hashwerk.work.kernel.native import NativeKernel
from hashwerk.work.kernel.strategy import Kind, Strategy, available_strategies, available_widths, host_kernel

NONCES: Final = 1 << 32
MAX_TARGET: Final = (1 << 256) - 1
DEFAULT_LIMIT: Final = 1024
_MAX_GROUPS_FOUND: Final = 1024


@functools.lru_cache(maxsize=8_192)  # a hall of virtual machines takes turns
def _midstate(first_block: bytes) -> tuple[int, ...]:
    return compress(INITIAL_STATE, first_block)


def header_hash(header76: bytes, nonce: int) -> int:
    """Return the hash of a header as the number that is compared with the target."""
    header = header76 + nonce.to_bytes(4, "little")
    return int.from_bytes(hashlib.sha256(hashlib.sha256(header).digest()).digest(), "little")


class Scanner:
    """Scans the nonces of block headers. It keeps no state, so threads may share it, and they scale."""

    def __init__(self, width: int | None = None, *, strategy: Strategy | None = None) -> None:
        """Compile the kernel, or take the one that this process has compiled before.

        Args:
            width: Vector width in 32-bit lanes, one of `available_widths`; None takes what is fastest here.
            strategy: One of `available_strategies`, in place of a width.

        Raises:
            ValueError: If this processor does not have that width or strategy.
        """
        if width is not None and width not in available_widths():
            raise ValueError(f"this processor has vector widths {available_widths()}, not {width}")
        if strategy is None:
            strategy = available_strategies()[0] if width is None else Strategy(Kind.VECTOR, width)
        if strategy not in available_strategies():
            raise ValueError(f"this processor cannot do {strategy.name}")
        self.strategy: Final = strategy
        self._kernel: Final[NativeKernel] = host_kernel(strategy)

    def scan(
        self, header76: bytes, start_nonce: int, count: int, target: int, limit: int = DEFAULT_LIMIT
    ) -> list[int]:
        """Return the nonces whose header hash is at most ``target``, in the order of the scan.

        The hash is the double SHA-256 of the 80 bytes, read as a little-endian number of 256 bits. The GIL is
        released while scanning.

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
        if not 0 <= target <= MAX_TARGET or limit < 1:
            raise ValueError(f"target or limit out of range: {target:#x}, {limit}")
        found: list[int] = []
        for nonce in scan_candidates(self._kernel, header76, start_nonce, count, target):
            if header_hash(header76, nonce) <= target:
                found.append(nonce)
                if len(found) == limit:
                    break
        return found


def scan_candidates(
    kernel: NativeKernel, header76: bytes, start_nonce: int, count: int, target: int
) -> Iterator[int]:
    """Yield nonces among which are all whose header hash is at most ``target``, in the order of the scan.

    The kernel compares top words only, and tells groups of nonces, not nonces: all of a group are yielded.
    """
    group = kernel.group_size
    words = (*_midstate(header76[:64]), *struct.unpack(">3I", header76[64:]))
    firsts = (ctypes.c_uint32 * _MAX_GROUPS_FOUND)()
    done = 0
    while done < count:
        inputs = (ctypes.c_uint32 * INPUT_WORDS)(*words, (start_nonce + done) % NONCES, _top_mask(target))
        groups = ctypes.c_uint64(-(-(count - done) // group))
        found = kernel.call(inputs, ctypes.byref(groups), firsts, _MAX_GROUPS_FOUND)
        for first in firsts[:found]:
            at = done + (first - start_nonce - done) % NONCES
            for index in range(at, min(at + group, count)):
                yield (start_nonce + index) % NONCES
        done += groups.value * group


def _top_mask(target: int) -> int:
    """Return the bits that are zero in H7, the hash's top word byte by byte reversed, up to ``target``."""
    top_bits = (target >> 224).bit_length()
    zeros = 0xFFFF_FFFF >> top_bits << top_bits
    return int.from_bytes(zeros.to_bytes(4, "little"), "big")
