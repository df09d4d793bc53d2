"""The block header: eighty bytes that are hashed, and the hashes themselves.

A hash is kept in *internal order*, as SHA-256 gives it and as it stands inside headers and transactions.
People and most interfaces see the same bytes reversed: *display order*, written in hexadecimal.
"""

from __future__ import annotations

import struct
from hashlib import sha256
from typing import Final

import msgspec

from hashwerk.errors import DecodeError

HEADER_SIZE: Final = 80
HASH_SIZE: Final = 32
ZERO_HASH: Final = bytes(HASH_SIZE)

_LAYOUT: Final = struct.Struct("<I32s32sIII")


def double_sha256(data: bytes | bytearray | memoryview) -> bytes:
    """Return SHA-256 of SHA-256 of ``data``: 32 bytes in internal order."""
    return sha256(sha256(data).digest()).digest()


def hash_to_hex(hash_: bytes) -> str:
    """Return a hash in display order, 64 hexadecimal digits.

    Raises:
        ValueError: If it is not 32 bytes.
    """
    if len(hash_) != HASH_SIZE:
        raise ValueError(f"a hash has 32 bytes, not {len(hash_)}")
    return hash_[::-1].hex()


def hash_from_hex(text: str) -> bytes:
    """Return the hash in internal order from its 64 hexadecimal digits in display order.

    Raises:
        DecodeError: If the text is anything else.
    """
    # bytes.fromhex would let blanks through.
    if len(text) != 2 * HASH_SIZE or not text.isascii() or not text.isalnum():
        raise DecodeError(f"not a hash of 64 hexadecimal digits: {text[:80]!r}")
    try:
        return bytes.fromhex(text)[::-1]
    except ValueError as error:
        raise DecodeError(f"not a hash of 64 hexadecimal digits: {text!r}") from error


class BlockHeader(msgspec.Struct, frozen=True):
    """A block header. Hashes are in internal order; the time is in Unix seconds, UTC.

    The version is a signed number to the consensus rules; here it is the same 32 bits read as an unsigned
    one, because only its bits matter to a miner.
    """

    version: int
    prev_hash: bytes
    merkle_root: bytes
    time: int
    nbits: int
    nonce: int

    def __post_init__(self) -> None:
        """Refuse hashes of a wrong length: they would be padded or cut in silence."""
        if len(self.prev_hash) != HASH_SIZE or len(self.merkle_root) != HASH_SIZE:
            raise ValueError(
                f"a hash has 32 bytes: prev_hash {len(self.prev_hash)}, merkle_root {len(self.merkle_root)}"
            )

    def serialize(self) -> bytes:
        """Return the 80 bytes that are hashed.

        Raises:
            ValueError: If a number does not fit unsigned 32 bits.
        """
        try:
            return _LAYOUT.pack(
                self.version, self.prev_hash, self.merkle_root, self.time, self.nbits, self.nonce
            )
        except struct.error as error:
            raise ValueError(f"a header field does not fit 32 bits: {self}") from error

    @classmethod
    def parse(cls, data: bytes | bytearray | memoryview) -> BlockHeader:
        """Return the header of exactly 80 bytes.

        Raises:
            DecodeError: If the length is another.
        """
        if len(data) != HEADER_SIZE:
            raise DecodeError(f"a block header has 80 bytes, not {len(data)}")
        return cls(*_LAYOUT.unpack(data))

    def hash(self) -> bytes:
        """Return the block hash in internal order."""
        return double_sha256(self.serialize())
