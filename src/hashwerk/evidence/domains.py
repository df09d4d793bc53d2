"""The first byte, or the first words, of everything that is hashed or signed here: no two uses share one.

A hash is always SHA-256 of the domain's byte followed by fields of fixed order. A signature is always Ed25519 over a
domain in words followed by one hash of 32 bytes.
"""

from __future__ import annotations

from hashlib import sha256
from typing import Final

SHARE_LEAF: Final = b"\x00"
RECORD_LEAF: Final = b"\x01"
SHARE_NODE: Final = b"\x02"
RECORD_NODE: Final = b"\x03"
ACCOUNT_LEAF: Final = b"\x04"
ACCOUNT_NODE: Final = b"\x05"
EPOCH: Final = b"\x06"
STANDING: Final = b"\x07"
KEY: Final = b"\x08"
KEY_EVENT: Final = b"\x09"
RECEIPT_NODE: Final = b"\x0a"
RECEIPT: Final = b"\x0b"
BUNDLE: Final = b"\x0c"
DRAW: Final = b"\x0d"
WITNESS: Final = b"\x0e"

SIGN_EPOCH: Final = b"hashwerk/sign/epoch/v1"
SIGN_KEY_EVENT: Final = b"hashwerk/sign/key-event/v1"
SIGN_RECEIPT: Final = b"hashwerk/sign/receipt/v1"
SIGN_BUNDLE: Final = b"hashwerk/sign/bundle/v1"
SIGN_WITNESS: Final = b"hashwerk/sign/witness/v1"

EMPTY_ROOT: Final = bytes(32)


def tagged(domain: bytes, *parts: bytes) -> bytes:
    """Return SHA-256 of a domain and what follows it."""
    return sha256(domain + b"".join(parts)).digest()
