"""Transactions: real ones from the chain's first days, witnesses, and bytes that are refused."""

from __future__ import annotations

import msgspec
import pytest

from hashwerk.chain.header import hash_to_hex
from hashwerk.chain.transaction import NULL_OUTPOINT, OutPoint, Transaction, TxIn, TxOut
from hashwerk.errors import DecodeError

# The first payment between two people, in block 170.
FIRST_PAYMENT = bytes.fromhex(
    "0100000001c997a5e56e104102fa209c6a852dd90660a20b2d9c352423edce25857fcd3704000000004847304402204e45e16932b8"
    "af514961a1d3a1a25fdf3f4f7732e9d624c6c61548ab5fb8cd410220181522ec8eca07de4860a4acdd12909d831cc56cbbac462208"
    "2221a8768d1d0901ffffffff0200ca9a3b00000000434104ae1a62fe09c5f51b13905f07f06b99a2f7159b2225f374cd378d71302f"
    "a28414e7aab37397f554a7df5f142c21c1b7303b8a0626f1baded5c72a704f7e6cd84cac00286bee0000000043410411db93e1dcdb"
    "8a016b49840f8c53bc1eb68a382e97b1482ecad7b148a6909a5cb2e0eaddfb84ccf9744464f82e160bfa9b8b64f9d4c03f999b8643"
    "f656b412a3ac00000000"
)
WITNESS = Transaction(
    version=2,
    inputs=(
        TxIn(OutPoint(b"\x11" * 32, 7), b"", 0xFFFF_FFFD, (b"\x30" * 71, b"\x02" * 33)),
        TxIn(OutPoint(b"\x22" * 32, 0), b"\x51", 0, ()),
    ),
    outputs=(TxOut(1_000, b"\x00\x14" + b"\xaa" * 20), TxOut(0, b"\x6a")),
    lock_time=840_000,
)


def test_the_first_payment() -> None:
    transaction = Transaction.parse(FIRST_PAYMENT)
    assert (
        hash_to_hex(transaction.txid()) == "f4184fc596403b9d638783cf57adfe4c75c605f6356fbc91338530e9831e9e16"
    )
    assert transaction.wtxid() == transaction.txid()
    assert [output.value_sat for output in transaction.outputs] == [1_000_000_000, 4_000_000_000]
    assert transaction.weight() == 4 * len(FIRST_PAYMENT) == 1_100
    assert not transaction.is_coinbase
    assert not transaction.has_witness
    assert transaction.serialize() == FIRST_PAYMENT


def test_a_witness_is_in_the_wtxid_only() -> None:
    data = WITNESS.serialize()
    assert data[4:6] == b"\x00\x01"
    assert Transaction.parse(data) == WITNESS
    stripped = WITNESS.serialize(witness=False)
    without = Transaction.parse(stripped)
    assert without.txid() == WITNESS.txid() == without.wtxid() != WITNESS.wtxid()
    # Marker, flag, two stacks: 2 + (1 + 1 + 71 + 1 + 33) + 1.
    assert len(data) - len(stripped) == 110
    assert WITNESS.weight() == 4 * len(stripped) + 110


def test_a_coinbase_spends_nothing_and_stands_alone() -> None:
    coinbase_input = TxIn(NULL_OUTPOINT, b"\x51\x51", 0)
    transaction = Transaction(1, (coinbase_input,), (TxOut(1, b""),), 0)
    assert transaction.is_coinbase
    two = msgspec.structs.replace(transaction, inputs=(coinbase_input, coinbase_input))
    assert not two.is_coinbase


@pytest.mark.parametrize("data", [FIRST_PAYMENT, WITNESS.serialize()])
def test_every_truncation_and_any_tail_is_refused(data: bytes) -> None:
    for size in range(len(data)):
        with pytest.raises(DecodeError):
            Transaction.parse(data[:size])
    with pytest.raises(DecodeError, match="after the end of the transaction"):
        Transaction.parse(data + b"\x00")


def test_a_witness_that_is_announced_must_be_there() -> None:
    stripped = FIRST_PAYMENT
    superfluous = stripped[:4] + b"\x00\x01" + stripped[4:-4] + b"\x00" + stripped[-4:]
    with pytest.raises(DecodeError, match="announces a witness and has none"):
        Transaction.parse(superfluous)


@pytest.mark.parametrize("flag", [0, 2, 255])
def test_no_inputs_and_unknown_flags_are_refused(flag: int) -> None:
    with pytest.raises(DecodeError, match="no inputs, or an unknown flag"):
        Transaction.parse(FIRST_PAYMENT[:4] + bytes((0, flag)) + FIRST_PAYMENT[4:])
    with pytest.raises(DecodeError, match="no inputs"):
        Transaction.parse(b"\x01\x00\x00\x00\x00\x01\x00\x00" + bytes(4))


def test_a_lying_count_costs_nothing() -> None:
    with pytest.raises(DecodeError, match="16777216 items"):
        Transaction.parse(b"\x01\x00\x00\x00\xfe\x00\x00\x00\x01" + bytes(1_000))


def test_what_has_no_wire_form_is_refused() -> None:
    with pytest.raises(ValueError, match="without inputs"):
        Transaction(1, (), (), 0).serialize()
    with pytest.raises(ValueError, match="does not fit"):
        msgspec.structs.replace(WITNESS, lock_time=1 << 32).serialize()
    with pytest.raises(ValueError, match="does not fit"):
        msgspec.structs.replace(WITNESS, outputs=(TxOut(-1, b""),)).serialize()
    with pytest.raises(ValueError, match="not 31"):
        OutPoint(bytes(31), 0)
