"""Headers, transactions and blocks: there and back, and everything else refused."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hashwerk.chain.block import Block
from hashwerk.chain.coinbase import build_coinbase, height_push
from hashwerk.chain.header import BlockHeader, hash_from_hex, hash_to_hex
from hashwerk.chain.serial import MAX_SIZE, Cursor, compact_size
from hashwerk.chain.template import Template
from hashwerk.chain.transaction import OutPoint, Transaction, TxIn, TxOut
from hashwerk.errors import DecodeError

UINT32 = st.integers(0, 0xFFFF_FFFF)
HASH = st.binary(min_size=32, max_size=32)
SCRIPT = st.one_of(st.binary(max_size=80), st.integers(250, 260).map(bytes))
INPUT = st.builds(
    TxIn,
    st.builds(OutPoint, HASH, UINT32),
    SCRIPT,
    UINT32,
    st.lists(SCRIPT, max_size=3).map(tuple),
)
OUTPUT = st.builds(TxOut, st.integers(0, (1 << 64) - 1), SCRIPT)
TRANSACTION = st.builds(
    Transaction,
    UINT32,
    st.lists(INPUT, min_size=1, max_size=3).map(tuple),
    st.lists(OUTPUT, max_size=3).map(tuple),
    UINT32,
)
HEADER = st.builds(BlockHeader, UINT32, HASH, HASH, UINT32, UINT32, UINT32)
BLOCK = st.builds(Block, HEADER, st.lists(TRANSACTION, max_size=3).map(tuple))


@given(st.integers(0, MAX_SIZE))
def test_compact_sizes_there_and_back(number: int) -> None:
    cursor = Cursor(compact_size(number))
    assert cursor.compact_size() == number
    cursor.finish("size")


@given(HASH)
def test_hashes_there_and_back(hash_: bytes) -> None:
    assert hash_from_hex(hash_to_hex(hash_)) == hash_


@given(HEADER)
def test_headers_there_and_back(header: BlockHeader) -> None:
    assert BlockHeader.parse(header.serialize()) == header


@given(TRANSACTION)
def test_transactions_there_and_back(transaction: Transaction) -> None:
    data = transaction.serialize()
    assert Transaction.parse(data) == transaction
    stripped = transaction.serialize(witness=False)
    assert Transaction.parse(stripped).txid() == transaction.txid()
    assert transaction.weight() == 3 * len(stripped) + len(data)
    assert (transaction.wtxid() == transaction.txid()) == (not transaction.has_witness)


@given(BLOCK)
def test_blocks_there_and_back(block: Block) -> None:
    assert Block.parse(block.serialize()) == block


@given(BLOCK, st.data())
def test_truncations_and_tails_are_refused(block: Block, data: st.DataObject) -> None:
    wire = block.serialize()
    with pytest.raises(DecodeError):
        Block.parse(wire[: data.draw(st.integers(0, len(wire) - 1))])
    with pytest.raises(DecodeError):
        Block.parse(wire + data.draw(st.binary(min_size=1, max_size=10)))


@given(TRANSACTION, st.data())
def test_what_is_read_is_written_the_same_or_refused(transaction: Transaction, data: st.DataObject) -> None:
    """Change one byte: the parser refuses it, or there is one form only and it is this one."""
    wire = bytearray(transaction.serialize())
    wire[data.draw(st.integers(0, len(wire) - 1))] ^= data.draw(st.integers(1, 255))
    try:
        parsed = Transaction.parse(bytes(wire))
    except DecodeError:
        return
    assert parsed.serialize() == bytes(wire)


@given(st.binary(max_size=300))
def test_garbage_is_refused_with_the_right_error(garbage: bytes) -> None:
    for parse in (BlockHeader.parse, Transaction.parse, Block.parse):
        try:
            parsed = parse(garbage)
        except DecodeError:
            continue
        assert parsed.serialize() == garbage


@given(
    height=st.integers(1, 0x7FFF_FFFF),
    job_number=UINT32,
    pool_tag=st.binary(max_size=70),
    extranonce=st.binary(min_size=2, max_size=16),
    shares=st.lists(st.integers(0, 10**12), min_size=1, max_size=5),
    commitment=st.none() | HASH,
)
def test_every_coinbase_is_a_transaction_with_its_height(
    height: int,
    job_number: int,
    pool_tag: bytes,
    extranonce: bytes,
    shares: list[int],
    commitment: bytes | None,
) -> None:
    template = Template(
        network="main",
        height=height,
        version=0x2000_0000,
        prev_hash=bytes(32),
        nbits=0x1D00FFFF,
        time=0,
        min_time=0,
        coinbase_value_sat=sum(shares),
    )
    parts = build_coinbase(
        template=template,
        outputs=[(share_sat, b"\x51") for share_sat in shares],
        pool_tag=pool_tag,
        job_number=job_number,
        extranonce_size=len(extranonce),
        commitment=commitment,
    )
    coinbase = Transaction.parse(parts.with_extranonce(extranonce))
    script = coinbase.inputs[0].script_sig
    assert coinbase.is_coinbase
    assert script.startswith(height_push(height))
    assert script.endswith(job_number.to_bytes(4, "big") + extranonce)
    assert 2 <= len(script) <= 100
    assert coinbase.lock_time == height - 1
    assert sum(output.value_sat for output in coinbase.outputs) == sum(shares)


@given(st.integers(17, 0xFFFF_FFFF))
def test_a_pushed_height_reads_back_as_a_signed_number(height: int) -> None:
    script = height_push(height)
    number = script[1:]
    assert script[0] == len(number)
    assert int.from_bytes(number, "little", signed=True) == height
    assert int.from_bytes(number[:-1], "little", signed=True) != height  # no shorter form
