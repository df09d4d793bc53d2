"""Transactions, with and without witness (BIP-0144)."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

import msgspec

from hashwerk.chain.header import HASH_SIZE, ZERO_HASH, double_sha256
from hashwerk.chain.serial import Cursor, compact_size
from hashwerk.errors import DecodeError

#: The index of a coinbase input's outpoint, and the usual last sequence number.
UINT32_MAX: Final = 0xFFFF_FFFF
WITNESS_SCALE_FACTOR: Final = 4

_MARKER_AND_FLAG: Final = b"\x00\x01"
_SMALLEST_INPUT: Final = 41  # outpoint 36, empty script 1, sequence 4
_SMALLEST_OUTPUT: Final = 9  # value 8, empty script 1


class OutPoint(msgspec.Struct, frozen=True):
    """One output of an earlier transaction. The id is in internal byte order."""

    txid: bytes
    index: int

    def __post_init__(self) -> None:
        """Refuse an id of a wrong length: it would shift all that follows."""
        if len(self.txid) != HASH_SIZE:
            raise ValueError(f"a txid has 32 bytes, not {len(self.txid)}")


class TxIn(msgspec.Struct, frozen=True):
    """An input, with its witness stack."""

    prevout: OutPoint
    script_sig: bytes
    sequence: int
    witness: tuple[bytes, ...] = ()


class TxOut(msgspec.Struct, frozen=True):
    """An output."""

    value_sat: int
    script_pubkey: bytes


class Transaction(msgspec.Struct, frozen=True):
    """A transaction. The version is its 32 bits read as an unsigned number."""

    version: int
    inputs: tuple[TxIn, ...]
    outputs: tuple[TxOut, ...]
    lock_time: int

    @classmethod
    def parse(cls, data: bytes) -> Transaction:
        """Return the transaction that ``data`` is, with or without witness.

        Raises:
            DecodeError: If bytes are missing, left over, or not in the one form Bitcoin Core writes; also if
                there are no inputs, which no transaction of a block is without.
        """
        cursor = Cursor(bytes(data))
        transaction = cls.read(cursor)
        cursor.finish("transaction")
        return transaction

    @classmethod
    def read(cls, cursor: Cursor) -> Transaction:
        """Return the transaction at the cursor and move behind it.

        Raises:
            DecodeError: As `parse`, trailing bytes apart.
        """
        version = cursor.uint32()
        has_witness = _read_marker(cursor)
        inputs = [
            (OutPoint(cursor.read(HASH_SIZE), cursor.uint32()), cursor.var_bytes(), cursor.uint32())
            for _ in range(_count_inputs(cursor))
        ]
        outputs = tuple(
            [TxOut(cursor.uint64(), cursor.var_bytes()) for _ in range(cursor.count(_SMALLEST_OUTPUT))]
        )
        if has_witness:
            tx_ins = tuple([TxIn(*fields, _read_witness(cursor)) for fields in inputs])
            if not any(tx_in.witness for tx_in in tx_ins):
                raise DecodeError("a transaction announces a witness and has none")
        else:
            tx_ins = tuple([TxIn(*fields) for fields in inputs])
        return cls(version, tx_ins, outputs, cursor.uint32())

    def serialize(self, *, witness: bool = True) -> bytes:
        """Return the wire form; without witness where ``witness`` is false or there is none.

        Raises:
            ValueError: If there are no inputs, or a number does not fit its field.
        """
        if not self.inputs:
            raise ValueError("a transaction without inputs has no wire form")
        with_witness = witness and self.has_witness
        try:
            return b"".join(self._parts(with_witness))
        except OverflowError as error:
            raise ValueError(f"a number does not fit its field: {error}") from error

    @property
    def has_witness(self) -> bool:
        """Whether any input has a witness."""
        return any(tx_in.witness for tx_in in self.inputs)

    @property
    def is_coinbase(self) -> bool:
        """Whether it creates coin: one input that spends nothing."""
        return len(self.inputs) == 1 and self.inputs[0].prevout == NULL_OUTPOINT

    def txid(self) -> bytes:
        """Return the hash of the form without witness, internal order."""
        return double_sha256(self.serialize(witness=False))

    def wtxid(self) -> bytes:
        """Return the hash of the form with witness, internal order (BIP-0141)."""
        return double_sha256(self.serialize())

    def weight(self) -> int:
        """Return the weight: three times the size without witness plus the size (BIP-0141)."""
        stripped_size = len(self.serialize(witness=False))
        return stripped_size * (WITNESS_SCALE_FACTOR - 1) + len(self.serialize())

    def _parts(self, with_witness: bool) -> Iterable[bytes]:
        yield self.version.to_bytes(4, "little")
        if with_witness:
            yield _MARKER_AND_FLAG
        yield compact_size(len(self.inputs))
        for tx_in in self.inputs:
            yield tx_in.prevout.txid
            yield tx_in.prevout.index.to_bytes(4, "little")
            yield compact_size(len(tx_in.script_sig))
            yield tx_in.script_sig
            yield tx_in.sequence.to_bytes(4, "little")
        yield compact_size(len(self.outputs))
        for tx_out in self.outputs:
            yield tx_out.value_sat.to_bytes(8, "little")
            yield compact_size(len(tx_out.script_pubkey))
            yield tx_out.script_pubkey
        if with_witness:
            for tx_in in self.inputs:
                yield compact_size(len(tx_in.witness))
                for item in tx_in.witness:
                    yield compact_size(len(item))
                    yield item
        yield self.lock_time.to_bytes(4, "little")


NULL_OUTPOINT: Final = OutPoint(ZERO_HASH, UINT32_MAX)


def _read_marker(cursor: Cursor) -> bool:
    """Return whether a witness follows. The marker stands where a count of zero inputs would (BIP-0144)."""
    start = cursor.position
    if cursor.data[start : start + 1] != b"\x00":
        return False
    if cursor.read(2) != _MARKER_AND_FLAG:
        raise DecodeError("a transaction has no inputs, or an unknown flag")
    return True


def _count_inputs(cursor: Cursor) -> int:
    count = cursor.count(_SMALLEST_INPUT)
    if count == 0:
        raise DecodeError("a transaction has no inputs")
    return count


def _read_witness(cursor: Cursor) -> tuple[bytes, ...]:
    return tuple([cursor.var_bytes() for _ in range(cursor.count(1))])
