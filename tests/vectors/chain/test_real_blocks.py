"""455 whole mainnet blocks, from the first to one of 2026, against an index of their contents."""

from __future__ import annotations

import csv
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path

import pytest

from hashwerk.chain.block import Block, find_witness_commitment, witness_commitment
from hashwerk.chain.coinbase import height_push
from hashwerk.chain.header import hash_from_hex, hash_to_hex
from hashwerk.chain.merkle import is_ambiguous, merkle_branch, merkle_root, root_from_branch
from hashwerk.chain.network import NETWORKS
from hashwerk.chain.subsidy import SAT_PER_BTC, subsidy_sat
from hashwerk.chain.transaction import Transaction
from hashwerk.errors import DecodeError

BIP34_HEIGHT = 227_931  # where every block of version 2 or more carries its height
FRAME_SIZE = 8  # magic, length


@pytest.fixture(scope="module")
def index(data_folder: Path) -> dict[int, dict[str, str]]:
    with (data_folder / "btc_blocks_index.csv").open(newline="") as file:
        return {int(row["height"]): row for row in csv.DictReader(file)}


@pytest.fixture(scope="module")
def raw_blocks(data_folder: Path) -> list[bytes]:
    """Every whole block of the folder, in the order of the files."""
    folder = data_folder / "btc_blocks"
    framed = list(unframe((folder / "blocks_1_to_438.bin").read_bytes()))
    return framed + [path.read_bytes() for path in sorted(folder.glob("*.blk"))]


@pytest.fixture(scope="module")
def blocks(raw_blocks: list[bytes], index: dict[int, dict[str, str]]) -> dict[int, Block]:
    heights = {row["block_hash"]: height for height, row in index.items()}
    parsed = [Block.parse(data) for data in raw_blocks]
    return {heights[hash_to_hex(block.header.hash())]: block for block in parsed}


def unframe(data: bytes) -> Iterator[bytes]:
    at = 0
    while at < len(data):
        assert data[at : at + 4].hex() == "f9beb4d9"
        size = int.from_bytes(data[at + 4 : at + FRAME_SIZE], "little")
        yield data[at + FRAME_SIZE : at + FRAME_SIZE + size]
        at += FRAME_SIZE + size


def test_all_are_there(blocks: dict[int, Block]) -> None:
    assert len(blocks) == 455
    assert set(range(439)) <= set(blocks)


def test_wire_form_is_kept_to_the_byte(raw_blocks: list[bytes]) -> None:
    for data in raw_blocks:
        assert Block.parse(data).serialize() == data


def test_headers_sizes_and_weights_are_those_of_the_index(
    blocks: dict[int, Block], index: dict[int, dict[str, str]]
) -> None:
    for height, block in blocks.items():
        row = index[height]
        assert block.header.serialize().hex() == row["header_hex"]
        assert f"{block.header.version:08x}" == row["version_hex"]
        assert f"{block.header.nbits:08x}" == row["bits_hex"]
        assert (block.header.time, block.header.nonce) == (int(row["timestamp"]), int(row["nonce"]))
        assert block.header.merkle_root == hash_from_hex(row["merkle_root"])
        assert len(block.transactions) == int(row["n_tx"])
        assert len(block.serialize()) == int(row["size_bytes"])
        assert block.weight() == int(row["weight_wu"])


def test_merkle_roots_branches_and_commitments(blocks: dict[int, Block]) -> None:
    committed = 0
    for block in blocks.values():
        block.check()
        txids = block.txids()
        assert merkle_root(txids) == block.header.merkle_root
        assert root_from_branch(txids[0], merkle_branch(txids[1:])) == block.header.merkle_root
        assert not is_ambiguous(txids)
        coinbase = block.transactions[0]
        if coinbase.has_witness:
            reserved_value = coinbase.inputs[0].witness[0]
            wtxids = [transaction.wtxid() for transaction in block.transactions[1:]]
            script = witness_commitment(wtxids, reserved_value=reserved_value)
            assert find_witness_commitment(coinbase.outputs) == script
            committed += 1
    assert committed >= 5


def test_one_changed_byte_is_found(raw_blocks: list[bytes]) -> None:
    # The last bytes of a block of the witness age: in the lock time, or the witness, of its last transaction.
    for data in raw_blocks[-5:]:
        for offset in (1, 40):
            changed = bytearray(data)
            changed[-offset] ^= 1
            with pytest.raises(DecodeError):
                Block.parse(bytes(changed)).check()


def test_subsidies_and_coinbase_values(blocks: dict[int, Block], index: dict[int, dict[str, str]]) -> None:
    main = NETWORKS["main"]
    for height, block in blocks.items():
        row = index[height]
        value_sat = sum(output.value_sat for output in block.transactions[0].outputs)
        assert subsidy_sat(main, height) == Decimal(row["subsidy_btc"]) * SAT_PER_BTC
        assert value_sat == Decimal(row["coinbase_out_btc"]) * SAT_PER_BTC
        assert value_sat - subsidy_sat(main, height) == Decimal(row["fees_btc"]) * SAT_PER_BTC


def test_heights_in_coinbases(blocks: dict[int, Block]) -> None:
    with_height = {height: block for height, block in blocks.items() if height >= BIP34_HEIGHT}
    assert len(with_height) >= 13
    for height, block in with_height.items():
        assert block.transactions[0].inputs[0].script_sig.startswith(height_push(height))


def test_every_transaction_alone(blocks: dict[int, Block]) -> None:
    for block in blocks.values():
        for transaction in block.transactions[:50]:
            data = transaction.serialize()
            assert Transaction.parse(data) == transaction
            with pytest.raises(DecodeError):
                Transaction.parse(data[:-1])
            with pytest.raises(DecodeError):
                Transaction.parse(data + b"\x00")


def test_a_block_without_its_body_has_a_worked_header(
    data_folder: Path, index: dict[int, dict[str, str]], blocks: dict[int, Block]
) -> None:
    # One row of the index, 881,423, has a header only; the Stratum vectors rebuild it from its coinbase.
    assert sorted(set(index) - set(blocks)) == [881_423]
