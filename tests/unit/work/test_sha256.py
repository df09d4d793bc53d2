"""The compression function for compiled code, against hashlib."""

from __future__ import annotations

from collections.abc import Callable
from hashlib import sha256
from typing import Any

import numpy as np
import pytest
from numba import njit

from hashwerk.work import sha256 as ours


def _digest(compress: Any, data: bytes) -> bytes:
    @njit
    def run(state: Any, blocks: Any) -> None:
        for offset in range(0, len(blocks), 64):
            compress(state, blocks, offset)

    padding = b"\x80" + bytes(-(len(data) + 9) % 64) + (8 * len(data)).to_bytes(8, "big")
    state = ours.INITIAL_STATE.copy()
    run(state, np.frombuffer(bytearray(data + padding), np.uint8))
    return state.astype(">u4").tobytes()


def test_constants_are_those_of_the_standard() -> None:
    assert ours.ROUND_CONSTANTS[:2] == (0x428A2F98, 0x71374491)
    assert ours.ROUND_CONSTANTS[-1] == 0xC67178F2
    assert len(ours.ROUND_CONSTANTS) == 64


@pytest.mark.parametrize("size", [0, 1, 55, 56, 63, 64, 65, 119, 120, 1000])
def test_plain_arithmetic_agrees_with_hashlib(size: int) -> None:
    data = bytes(i * 7 % 256 for i in range(size))
    assert _digest(ours.compress_plain, data) == sha256(data).digest()


@pytest.mark.skipif(not ours.has_sha_instructions(), reason="this processor has no x86 SHA instructions")
@pytest.mark.parametrize("size", [0, 1, 55, 56, 63, 64, 65, 119, 120, 1000])
def test_sha_instructions_agree_with_hashlib(size: int) -> None:
    data = bytes(i * 11 % 256 for i in range(size))
    assert _digest(ours.compress_with_sha_instructions, data) == sha256(data).digest()


def test_midstate_goes_on_where_whole_blocks_end() -> None:
    data = bytes(range(200))
    state = ours.midstate(data)
    rest = data[192:] + b"\x80" + bytes(47) + (1600).to_bytes(8, "big")
    ours.run_blocks(state, np.frombuffer(bytearray(rest), np.uint8))
    assert state.astype(">u4").tobytes() == sha256(data).digest()


@pytest.fixture
def other_processor(monkeypatch: pytest.MonkeyPatch) -> Callable[[str], None]:
    return lambda name: monkeypatch.setenv(name, "generic")


@pytest.mark.parametrize("name", ["NUMBA_CPU_NAME", "NUMBA_CPU_FEATURES"])
def test_code_for_another_processor_uses_no_sha_instructions(
    name: str, other_processor: Callable[[str], None]
) -> None:
    other_processor(name)
    assert not ours.has_sha_instructions()
