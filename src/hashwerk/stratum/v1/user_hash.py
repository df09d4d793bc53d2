"""A user's name as one number, so that a batch of shares can be told apart by user without making strings."""

from __future__ import annotations

from typing import Final

FNV_OFFSET: Final = 0xCBF29CE484222325
FNV_PRIME: Final = 0x100000001B3
_MASK: Final = 0xFFFF_FFFF_FFFF_FFFF


def user_hash(user: bytes) -> int:
    """Return the FNV-1a hash of 64 bits, as in ``SUBMIT_DTYPE``'s field of that name.

    It is no secret and can be forged; it is only ever looked up among the users of the very session that sent
    it.
    """
    value = FNV_OFFSET
    for byte in user:
        value = (value ^ byte) * FNV_PRIME & _MASK
    return value
