"""The tag in every job's coinbase, which binds a share to site, epoch, account and target before it is hashed."""

from __future__ import annotations

import hashlib
from typing import Final

TAG_DOMAIN: Final = b"hashwerk/job-tag/v1"
ACCOUNT_DOMAIN: Final = b"hashwerk/account/v1"
ZERO_ROOT: Final = bytes(32)


def account_commitment(name: str, salt: bytes) -> bytes:
    """Return the salted hash under which an account appears in public.

    Raises:
        ValueError: If the salt is not 32 bytes.
    """
    if len(salt) != 32:
        raise ValueError(f"salt must be 32 bytes: {len(salt)}")
    return hashlib.sha256(ACCOUNT_DOMAIN + salt + name.encode()).digest()


def job_tag_preimage(site_key: bytes, epoch_root: bytes, account: bytes, work_log2: int) -> bytes:
    """Return what the tag commits to: domain ‖ site key ‖ last closed epoch root ‖ account ‖ share target.

    The target is written as its 32-byte big-endian number, 2**(256-work_log2) - 1.
    """
    for name, part in (("site key", site_key), ("epoch root", epoch_root), ("account commitment", account)):
        if len(part) != 32:
            raise ValueError(f"{name} must be 32 bytes: {len(part)}")
    target = (1 << (256 - work_log2)) - 1
    return TAG_DOMAIN + site_key + epoch_root + account + target.to_bytes(32, "big")


def job_tag(preimage: bytes) -> bytes:
    """Return the 32-byte tag of a preimage."""
    return hashlib.sha256(preimage).digest()
