"""Headers: the genesis block's, whose hash everybody knows, and what is refused."""

from __future__ import annotations

import pytest

from hashwerk.chain.header import (
    HEADER_SIZE,
    BlockHeader,
    double_sha256,
    hash_from_hex,
    hash_to_hex,
)
from hashwerk.errors import DecodeError

GENESIS = bytes.fromhex(
    "01000000" + "00" * 32 + "3ba3edfd7a7b12b27ac72c3e67768f617fc81bc3888a51323a9fb8aa4b1e5e4a"
    "29ab5f49ffff001d1dac2b7c"
)
GENESIS_HASH = "000000000019d6689c085ae165831e934ff763ae46a2a6c172b3f1b60a8ce26f"


def test_genesis_header_parses_and_hashes() -> None:
    header = BlockHeader.parse(GENESIS)
    assert (header.version, header.time, header.nbits, header.nonce) == (
        1,
        1_231_006_505,
        0x1D00FFFF,
        2_083_236_893,
    )
    assert hash_to_hex(header.hash()) == GENESIS_HASH
    assert header.serialize() == GENESIS


@pytest.mark.parametrize("size", [0, 79, 81, 160])
def test_other_lengths_are_refused(size: int) -> None:
    with pytest.raises(DecodeError, match=f"not {size}"):
        BlockHeader.parse(bytes(size))


def test_hashes_of_a_wrong_length_are_refused() -> None:
    # struct would pad the short one and cut the long one.
    with pytest.raises(ValueError, match="prev_hash 31"):
        BlockHeader(1, bytes(31), bytes(32), 0, 0, 0)
    with pytest.raises(ValueError, match="merkle_root 33"):
        BlockHeader(1, bytes(32), bytes(33), 0, 0, 0)


@pytest.mark.parametrize("field", ["version", "time", "nbits", "nonce"])
@pytest.mark.parametrize("value", [-1, 1 << 32])
def test_numbers_beyond_32_bits_are_refused(field: str, value: int) -> None:
    fields = {"version": 1, "time": 0, "nbits": 0, "nonce": 0, field: value}
    header = BlockHeader(prev_hash=bytes(32), merkle_root=bytes(32), **fields)
    with pytest.raises(ValueError, match="does not fit 32 bits"):
        header.serialize()


def test_a_version_with_the_sign_bit_survives() -> None:
    data = b"\xff\xff\xff\xff" + bytes(HEADER_SIZE - 4)
    header = BlockHeader.parse(data)
    assert header.version == 0xFFFF_FFFF
    assert header.serialize() == data


def test_double_sha256_of_nothing() -> None:
    # The checksum of an empty message in Bitcoin's network protocol begins with 5df6e0e2.
    assert double_sha256(b"").hex().startswith("5df6e0e2")


def test_display_order_is_the_reverse() -> None:
    assert hash_from_hex(GENESIS_HASH)[::-1].hex() == GENESIS_HASH
    assert hash_to_hex(hash_from_hex(GENESIS_HASH)) == GENESIS_HASH


@pytest.mark.parametrize(
    "text", ["", "00" * 31, "00" * 33, "0x" + "00" * 31, "zz" * 32, " " * 64, "00 " * 21 + "0", "٠" * 64]
)
def test_what_is_not_a_hash_is_refused(text: str) -> None:
    with pytest.raises(DecodeError):
        hash_from_hex(text)


def test_only_32_bytes_are_shown_as_a_hash() -> None:
    with pytest.raises(ValueError, match="not 31"):
        hash_to_hex(bytes(31))
