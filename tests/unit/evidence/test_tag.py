"""The tag in the coinbase: every part of what it binds changes it."""

import hashlib
from itertools import combinations

import pytest

from hashwerk.evidence.tag import (
    ACCOUNT_DOMAIN,
    TAG_DOMAIN,
    ZERO_ROOT,
    account_commitment,
    job_tag,
    job_tag_preimage,
)


def test_the_preimage_is_what_the_docs_say() -> None:
    key, account = b"k" * 32, b"a" * 32
    preimage = job_tag_preimage(key, ZERO_ROOT, account, 32)
    assert preimage == TAG_DOMAIN + key + bytes(32) + account + (2**224 - 1).to_bytes(32, "big")
    assert job_tag(preimage) == hashlib.sha256(preimage).digest()


def test_every_part_is_bound() -> None:
    one, two = b"1" * 32, b"2" * 32
    made = [
        job_tag(job_tag_preimage(*parts))
        for parts in (
            (one, one, one, 32),
            (two, one, one, 32),
            (one, two, one, 32),
            (one, one, two, 32),
            (one, one, one, 33),
        )
    ]
    assert all(left != right for left, right in combinations(made, 2))


@pytest.mark.parametrize("position", range(3))
def test_parts_of_another_size_are_refused(position: int) -> None:
    parts = [bytes(32)] * 3
    parts[position] = bytes(31)
    with pytest.raises(ValueError, match="32 bytes: 31"):
        job_tag_preimage(*parts, 32)


def test_an_account_is_hidden_by_its_salt() -> None:
    assert account_commitment("me", bytes(32)) == hashlib.sha256(ACCOUNT_DOMAIN + bytes(32) + b"me").digest()
    assert account_commitment("me", bytes(32)) != account_commitment("me", b"\x01" * 32)
    with pytest.raises(ValueError, match="salt"):
        account_commitment("me", b"")
