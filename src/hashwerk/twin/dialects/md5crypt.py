"""The MD5-based crypt(3) of FreeBSD, ``$1$``, which WhatsMiners derive their tokens with. Not for anything secret.

After the description in Poul-Henning Kamp's crypt-md5: a digest stirred a thousand times, written in its own base 64.
"""

from __future__ import annotations

import hashlib
from typing import Final

_ALPHABET: Final = "./0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
_ROUNDS: Final = 1000
#: Which three bytes make up each group of four characters; the last byte stands alone.
_GROUPS: Final = ((0, 6, 12), (1, 7, 13), (2, 8, 14), (3, 9, 15), (4, 10, 5))
_MAGIC: Final = b"$1$"


def md5crypt(password: bytes, salt: bytes) -> str:
    """Return the hash alone: the part after the second dollar of ``$1$salt$hash``."""
    salt = salt[:8]
    digest = _stirred(password, salt, _first(password, salt))
    text = "".join(_four(digest[a] << 16 | digest[b] << 8 | digest[c], 4) for a, b, c in _GROUPS)
    return text + _four(digest[11], 2)


def _first(password: bytes, salt: bytes) -> bytes:
    """Return the digest before the rounds."""
    inner = _md5(password + salt + password)
    data = password + _MAGIC + salt
    data += (inner * (len(password) // 16 + 1))[: len(password)]
    count = len(password)
    while count:
        data += b"\0" if count & 1 else password[:1]
        count >>= 1
    return _md5(data)


def _stirred(password: bytes, salt: bytes, digest: bytes) -> bytes:
    for turn in range(_ROUNDS):
        data = password if turn & 1 else digest
        data += salt if turn % 3 else b""
        data += password if turn % 7 else b""
        data += digest if turn & 1 else password
        digest = _md5(data)
    return digest


def _four(value: int, characters: int) -> str:
    return "".join(_ALPHABET[value >> 6 * index & 0x3F] for index in range(characters))


def _md5(data: bytes) -> bytes:
    return hashlib.md5(data, usedforsecurity=False).digest()
