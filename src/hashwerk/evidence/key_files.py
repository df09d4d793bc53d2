"""Keys on disk: readable by their owner only, and a backup that a passphrase opens.

Resource handling: files are written under another name, synced and renamed, so a crash leaves the old key or the new
one. The backup is scrypt (RFC 7914) and ChaCha20-Poly1305 (RFC 8439).
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Final

import msgspec
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.ciphers.aead import ChaCha20Poly1305
from cryptography.hazmat.primitives.kdf.scrypt import Scrypt

from hashwerk.errors import DecodeError, EvidenceError

CURRENT: Final = "site.key"
NEXT: Final = "site-next.key"
RECOVERY: Final = "site-recovery.key"

_MAGIC: Final = b"HWKEYS\x00\x01"
#: 2**17 blocks of 1 KiB: 128 MiB and about half a second, once (OWASP's first choice for scrypt).
_SCRYPT_COST: Final = 1 << 17


class SiteKeys(msgspec.Struct, frozen=True):
    """The private keys at hand. The recovery key is missing once it was taken off line, as it should be."""

    current: Ed25519PrivateKey
    next: Ed25519PrivateKey
    recovery: Ed25519PrivateKey | None


def read_key(path: Path) -> Ed25519PrivateKey:
    """Return the key in a file.

    Raises:
        EvidenceError: If there is none, others may read it, or it is not a key.
    """
    try:
        mode = path.stat().st_mode
        text = path.read_text().strip()
    except (OSError, UnicodeDecodeError) as error:
        raise EvidenceError(f"{path}: the key cannot be read: {error}") from error
    if mode & 0o077:
        raise EvidenceError(f"{path} can be read by others; run: chmod 600 {path}")
    try:
        return Ed25519PrivateKey.from_private_bytes(bytes.fromhex(text))
    except ValueError as error:
        raise EvidenceError(f"{path} does not hold a key") from error


def write_key(path: Path, key: Ed25519PrivateKey) -> None:
    """Write a key that only its owner can read.

    Raises:
        EvidenceError: If the disk refuses.
    """
    _write(path, key.private_bytes_raw().hex().encode() + b"\n")


def open_keys(folder: Path) -> SiteKeys:
    """Return the keys of a site, made on first use.

    Raises:
        EvidenceError: If a file cannot be read or written, or others may read it.
    """
    fresh = not (folder / NEXT).exists()
    keys = {}
    for name in (CURRENT, NEXT) + ((RECOVERY,) if fresh or (folder / RECOVERY).exists() else ()):
        path = folder / name
        if not path.exists():
            write_key(path, Ed25519PrivateKey.generate())
        keys[name] = read_key(path)
    return SiteKeys(keys[CURRENT], keys[NEXT], keys.get(RECOVERY))


def promote_next(folder: Path, after: Ed25519PrivateKey) -> SiteKeys:
    """Make the next key the current one and ``after`` the next; for after a rotation was logged.

    Raises:
        EvidenceError: If the disk refuses.
    """
    keys = open_keys(folder)
    write_key(folder / CURRENT, keys.next)
    write_key(folder / NEXT, after)
    return open_keys(folder)


def seal_keys(keys: SiteKeys, passphrase: str) -> bytes:
    """Return an encrypted backup of all keys.

    Raises:
        EvidenceError: If the passphrase is shorter than twelve characters.
    """
    if len(passphrase) < 12:
        raise EvidenceError("a passphrase of at least twelve characters is needed")
    salt, nonce = os.urandom(16), os.urandom(12)
    recovery = b"" if keys.recovery is None else keys.recovery.private_bytes_raw()
    plain = keys.current.private_bytes_raw() + keys.next.private_bytes_raw() + recovery
    head = _MAGIC + salt + nonce
    return head + ChaCha20Poly1305(_derive(passphrase, salt)).encrypt(nonce, plain, head)


def unseal_keys(data: bytes, passphrase: str) -> SiteKeys:
    """Return the keys of a backup.

    Raises:
        DecodeError: If it is not a backup, was changed, or the passphrase is another.
    """
    if not data.startswith(_MAGIC) or len(data) < 36 + 16:
        raise DecodeError("not a backup of keys")
    head, salt, nonce = data[:36], data[8:24], data[24:36]
    try:
        plain = ChaCha20Poly1305(_derive(passphrase, salt)).decrypt(nonce, data[36:], head)
    except InvalidTag as error:
        raise DecodeError("the passphrase is wrong, or the backup was changed") from error
    if len(plain) not in (64, 96):
        raise DecodeError("the backup does not hold keys")
    parts = [Ed25519PrivateKey.from_private_bytes(plain[at : at + 32]) for at in range(0, len(plain), 32)]
    return SiteKeys(parts[0], parts[1], parts[2] if len(parts) == 3 else None)


def _derive(passphrase: str, salt: bytes) -> bytes:
    return Scrypt(salt=salt, length=32, n=_SCRYPT_COST, r=8, p=1).derive(passphrase.encode())


def _write(path: Path, data: bytes) -> None:
    temporary = path.with_name(path.name + ".new")
    try:
        handle = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        try:
            os.write(handle, data)
            os.fsync(handle)
        finally:
            os.close(handle)
        temporary.replace(path)
        folder = os.open(path.parent, os.O_RDONLY)
        try:
            os.fsync(folder)  # the new name too: what is logged after it must not outlive it
        finally:
            os.close(folder)
    except OSError as error:
        raise EvidenceError(f"{path}: the key cannot be written: {error.strerror}") from error
