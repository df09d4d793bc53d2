"""Our next nBits beside the engine's own judgement, on the first period of the main chain."""

from __future__ import annotations

from pathlib import Path

import pbk
import pytest

from hashwerk.chain.header import BlockHeader, hash_to_hex
from hashwerk.chain.nbits import minimum_time, next_nbits
from hashwerk.chain.network import network_from_name

MAIN = network_from_name("main")
HEADERS = Path(__file__).resolve().parents[3].parent / "shared" / "data" / "btc_headers_0_2016.bin"


def test_the_engine_takes_every_header_with_the_nbits_we_compute(tmp_path: Path) -> None:
    if not HEADERS.is_file():
        pytest.skip(f"NOT TESTED: the real headers are not there ({HEADERS})")
    raw = HEADERS.read_bytes()
    headers = [BlockHeader.parse(raw[at : at + 80]) for at in range(0, len(raw), 80)]
    options = pbk.ContextOptions()
    options.set_chainparams(pbk.ChainParameters(pbk.ChainType.MAINNET))
    manager = pbk.ChainstateManager(
        pbk.ChainstateManagerOptions(pbk.Context(options), str(tmp_path), str(tmp_path / "blocks"))
    )
    with manager:
        for height, header in enumerate(headers[1:], start=1):
            assert next_nbits(MAIN, height, headers.__getitem__, header.time) == header.nbits
            assert minimum_time(MAIN, height, headers.__getitem__) <= header.time
            state = manager.process_block_header(pbk.BlockHeader(header.serialize()))
            assert state.validation_mode == pbk.ValidationMode.VALID
        assert len(headers) == 2_017  # the first retarget is the last of them
        assert int(manager.best_entry.height) == 2_016
        assert str(manager.best_entry.block_hash) == hash_to_hex(headers[-1].hash())
