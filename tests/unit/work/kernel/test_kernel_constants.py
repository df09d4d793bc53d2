import hashlib

import pytest

from hashwerk.work.kernel.constants import INITIAL_STATE, ROUND_CONSTANTS, compress


def test_constants_are_those_of_the_standard() -> None:
    assert ROUND_CONSTANTS[:2] == (0x428A2F98, 0x71374491)
    assert ROUND_CONSTANTS[-1] == 0xC67178F2
    assert INITIAL_STATE[0] == 0x6A09E667
    assert INITIAL_STATE[7] == 0x5BE0CD19


def test_compress_is_sha_256() -> None:
    message = b"abc"
    block = message + b"\x80" + bytes(52) + (8 * len(message)).to_bytes(8, "big")
    digest = b"".join(word.to_bytes(4, "big") for word in compress(INITIAL_STATE, block))
    assert digest == hashlib.sha256(message).digest()


def test_compress_refuses_other_lengths() -> None:
    with pytest.raises(ValueError, match="63"):
        compress(INITIAL_STATE, bytes(63))
