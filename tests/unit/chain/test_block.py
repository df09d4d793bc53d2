"""Blocks: the genesis block, commitments, and a block put together from a template and a solved header."""

from __future__ import annotations

import msgspec
import pytest

from hashwerk.chain.block import (
    Block,
    add_coinbase_witness,
    assemble_block,
    find_witness_commitment,
    witness_commitment,
)
from hashwerk.chain.coinbase import build_coinbase
from hashwerk.chain.header import BlockHeader, double_sha256, hash_to_hex
from hashwerk.chain.merkle import merkle_branch, merkle_root, root_from_branch
from hashwerk.chain.network import NETWORKS
from hashwerk.chain.template import Template
from hashwerk.chain.transaction import NULL_OUTPOINT, Transaction, TxIn, TxOut
from hashwerk.errors import DecodeError

GENESIS_COINBASE = bytes.fromhex(
    "01000000010000000000000000000000000000000000000000000000000000000000000000ffffffff4d04ffff001d010445546865"
    "2054696d65732030332f4a616e2f32303039204368616e63656c6c6f72206f6e206272696e6b206f66207365636f6e64206261696c"
    "6f757420666f722062616e6b73ffffffff0100f2052a01000000434104678afdb0fe5548271967f1a67130b7105cd6a828e03909a6"
    "7962e0ea1f61deb649f6bc3f4cef38c4f35504e51ec112de5c384df7ba0b8d578a4c702b6bf11d5fac00000000"
)
GENESIS = NETWORKS["main"].genesis.serialize() + b"\x01" + GENESIS_COINBASE


def solved(template: Template, payout_script: bytes) -> bytes:
    """The block of a template as a machine's share makes it."""
    parts = build_coinbase(
        template=template,
        outputs=[(template.coinbase_value_sat, payout_script)],
        pool_tag=b"/hashwerk/",
        job_number=1,
        extranonce_size=12,
    )
    coinbase = parts.with_extranonce(bytes(range(12)))
    branch = merkle_branch([transaction.txid for transaction in template.transactions])
    root = root_from_branch(double_sha256(coinbase), branch)
    header = BlockHeader(template.version, template.prev_hash, root, template.time, template.nbits, 1)
    return assemble_block(header.serialize(), coinbase, template)


def rebuilt(block: Block, *transactions: Transaction) -> Block:
    """The block with other transactions and the root that goes with them."""
    root = merkle_root([transaction.txid() for transaction in transactions])
    return Block(msgspec.structs.replace(block.header, merkle_root=root), transactions)


def test_the_genesis_block() -> None:
    block = Block.parse(GENESIS)
    block.check()
    assert (
        hash_to_hex(block.header.hash()) == "000000000019d6689c085ae165831e934ff763ae46a2a6c172b3f1b60a8ce26f"
    )
    assert block.serialize() == GENESIS
    assert block.weight() == 4 * 285


def test_the_witness_commitment_of_an_empty_block_is_the_known_one() -> None:
    script = witness_commitment([])
    assert script.hex() == "6a24aa21a9ede2f61c3f71d1defd3fa999dfa36953755c690689799962b48bebd836974e8cf9"


def test_the_last_witness_commitment_counts() -> None:
    first, second = witness_commitment([]), witness_commitment([bytes(32)])
    outputs = [TxOut(0, first), TxOut(1, b"\x51"), TxOut(0, second + b"more"), TxOut(0, first[:37])]
    assert find_witness_commitment(outputs) == second + b"more"
    assert find_witness_commitment(outputs[3:]) is None


def test_an_assembled_block_is_a_block(template: Template, payout_script: bytes) -> None:
    data = solved(template, payout_script)
    block = Block.parse(data)
    block.check()
    assert block.serialize() == data
    assert block.transactions[0].inputs[0].witness == (bytes(32),)
    assert [transaction.serialize() for transaction in block.transactions[1:]] == [
        transaction.data for transaction in template.transactions
    ]


def test_without_a_commitment_the_coinbase_has_no_witness(template: Template, payout_script: bytes) -> None:
    plain = msgspec.structs.replace(template, transactions=(), witness_commitment=None)
    block = Block.parse(solved(plain, payout_script))
    block.check()
    assert not block.transactions[0].has_witness


def test_the_coinbase_keeps_its_txid_when_its_witness_is_added() -> None:
    transaction = Transaction.parse(add_coinbase_witness(GENESIS_COINBASE))
    assert transaction.txid() == double_sha256(GENESIS_COINBASE)
    assert transaction.inputs[0].witness == (bytes(32),)


def test_assembling_wants_a_header_and_a_coinbase(template: Template) -> None:
    with pytest.raises(DecodeError, match="80 bytes, not 79"):
        assemble_block(bytes(79), GENESIS_COINBASE, template)
    with pytest.raises(DecodeError, match="not a coinbase: 9 bytes"):
        assemble_block(bytes(80), bytes(9), template)


def test_every_truncation_and_any_tail_is_refused(template: Template, payout_script: bytes) -> None:
    data = solved(template, payout_script)
    for size in range(len(data)):
        with pytest.raises(DecodeError):
            Block.parse(data[:size])
    with pytest.raises(DecodeError, match="after the end of the block"):
        Block.parse(data + b"\x00")


def test_a_wrong_merkle_root_is_found(template: Template, payout_script: bytes) -> None:
    block = Block.parse(solved(template, payout_script))
    wrong = msgspec.structs.replace(block, transactions=block.transactions[:-1])
    with pytest.raises(DecodeError, match="merkle root is not"):
        wrong.check()


def test_a_block_with_its_tail_repeated_is_found(template: Template, payout_script: bytes) -> None:
    block = Block.parse(solved(template, payout_script))
    # Six transactions: the last pair repeated gives eight with the same root.
    mutated = msgspec.structs.replace(block, transactions=block.transactions + block.transactions[-2:])
    with pytest.raises(DecodeError, match="CVE-2012-2459"):
        mutated.check()


def test_a_wrong_witness_is_found(template: Template, payout_script: bytes) -> None:
    block = Block.parse(solved(template, payout_script))
    coinbase, first, *rest = block.transactions
    changed_input = msgspec.structs.replace(first.inputs[0], witness=(b"\x31" * 71, b"\x02" * 33))
    changed = msgspec.structs.replace(first, inputs=(changed_input,))
    with pytest.raises(DecodeError, match="witness commitment is not"):
        msgspec.structs.replace(block, transactions=(coinbase, changed, *rest)).check()


def test_a_coinbase_without_its_reserved_value_is_found(template: Template, payout_script: bytes) -> None:
    block = Block.parse(solved(template, payout_script))
    coinbase, *rest = block.transactions
    for witness, words in (
        ((), "no witness reserved value"),
        ((bytes(31),), "not one item of 32 bytes"),
        ((bytes(32), bytes(32)), "not one item of 32 bytes"),
    ):
        tx_in = msgspec.structs.replace(coinbase.inputs[0], witness=witness)
        changed = msgspec.structs.replace(coinbase, inputs=(tx_in,))
        with pytest.raises(DecodeError, match=words):
            msgspec.structs.replace(block, transactions=(changed, *rest)).check()


def test_witnesses_want_a_commitment(template: Template, payout_script: bytes) -> None:
    block = Block.parse(solved(template, payout_script))
    coinbase, *rest = block.transactions
    without = msgspec.structs.replace(coinbase, outputs=coinbase.outputs[:1])
    with pytest.raises(DecodeError, match="no witness commitment"):
        rebuilt(block, without, *rest).check()


def test_a_block_has_one_coinbase_in_first_place(template: Template, payout_script: bytes) -> None:
    block = Block.parse(solved(template, payout_script))
    coinbase, *rest = block.transactions
    for transactions in ((*rest, coinbase), (coinbase, coinbase, *rest), tuple(rest)):
        with pytest.raises(DecodeError, match="one coinbase and it comes first"):
            rebuilt(block, *transactions).check()
    with pytest.raises(DecodeError, match="no transactions"):
        Block(block.header, ()).check()


def test_a_block_above_the_weight_limit_is_found() -> None:
    # A coinbase of a megabyte, four times that in weight units.
    coinbase = Transaction(1, (TxIn(NULL_OUTPOINT, b"\x51\x51", 0),), (TxOut(0, bytes(1_000_000)),), 0)
    block = rebuilt(Block.parse(GENESIS), coinbase)
    with pytest.raises(DecodeError, match="is above 4000000"):
        block.check()
