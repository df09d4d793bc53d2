"""138 Stratum jobs with the share that won the block, and one live job: from notify and submit to header."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from hashwerk.chain.block import Block
from hashwerk.chain.coinbase import CoinbaseParts, height_push
from hashwerk.chain.header import BlockHeader, double_sha256, hash_from_hex, hash_to_hex
from hashwerk.chain.merkle import merkle_branch, root_from_branch
from hashwerk.chain.target import (
    DIFFICULTY_1_TARGET,
    difficulty_from_target,
    hash_meets_target,
    target_from_compact,
)
from hashwerk.chain.transaction import Transaction


@pytest.fixture(scope="module")
def jobs(data_folder: Path) -> dict[str, Any]:
    return json.loads((data_folder / "btc_stratum_vectors.json").read_text())


def unswapped(prevhash: str) -> bytes:
    """The previous hash in internal order; on the wire every word of four bytes is reversed."""
    data = bytes.fromhex(prevhash)
    return b"".join(data[at : at + 4][::-1] for at in range(0, 32, 4))


def header_of(vector: dict[str, Any]) -> tuple[BlockHeader, Transaction]:
    """The header and the coinbase that a job and its share describe."""
    _, prevhash, coinbase1, coinbase2, branch, version, nbits, _, _ = vector["notify_params"]
    submit = vector["submit"]
    parts = CoinbaseParts(bytes.fromhex(coinbase1), bytes.fromhex(coinbase2))
    extranonce2 = bytes.fromhex(submit["extranonce2"])
    assert len(extranonce2) == vector["extranonce2_size"]
    coinbase = parts.with_extranonce(bytes.fromhex(vector["extranonce1"]) + extranonce2)
    root = root_from_branch(double_sha256(coinbase), [bytes.fromhex(sibling) for sibling in branch])
    header = BlockHeader(
        int(version, 16),
        unswapped(prevhash),
        root,
        int(submit["ntime"], 16),
        int(nbits, 16),
        int(submit["nonce"], 16),
    )
    return header, Transaction.parse(coinbase)


def test_every_winning_share_makes_its_block(jobs: dict[str, Any]) -> None:
    assert len(jobs["vectors"]) == 138
    for vector in jobs["vectors"]:
        header, coinbase = header_of(vector)
        assert header.merkle_root.hex() == vector["expected_merkle_root_internal_hex"]
        assert header.serialize().hex() == vector["expected_header_hex"]
        assert hash_to_hex(header.hash()) == vector["block_hash"]
        assert hash_meets_target(header.hash(), target_from_compact(header.nbits))
        assert coinbase.is_coinbase
        share_target = int.from_bytes(header.hash(), "little")
        assert difficulty_from_target(share_target) == pytest.approx(vector["share_difficulty"], rel=1e-12)
        assert share_target < DIFFICULTY_1_TARGET


def test_branches_are_those_of_the_whole_blocks(jobs: dict[str, Any], data_folder: Path) -> None:
    vectors = {vector["block_hash"]: vector for vector in jobs["vectors"]}
    compared = 0
    for path in sorted((data_folder / "btc_blocks").glob("*.blk")):
        block = Block.parse(path.read_bytes())
        vector = vectors.get(hash_to_hex(block.header.hash()))
        if vector is not None:
            branch = merkle_branch(block.txids()[1:])
            assert [sibling.hex() for sibling in branch] == vector["notify_params"][4]
            assert block.transactions[0].has_witness == vector["coinbase_tx_is_segwit_in_block"]
            compared += 1
    assert compared >= 10


def test_the_captured_live_job(jobs: dict[str, Any]) -> None:
    (captured,) = jobs["captured_notify_without_solution"]
    params = captured["message"]["params"]
    assert unswapped(params[1]) == hash_from_hex(captured["prev_block_hash"])
    script = bytes.fromhex(params[2])[42:]
    assert script.startswith(height_push(captured["height"]))
