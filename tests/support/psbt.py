"""A strict reader of partially signed transactions, version 0, from the text of BIP-0174; for tests."""

from __future__ import annotations

from typing import NamedTuple

from hashwerk.chain.transaction import OutPoint, Transaction


class PsbtInput(NamedTuple):
    """What a signer is told of a coin."""

    value_sat: int
    script: bytes


class Psbt(NamedTuple):
    """An unsigned transaction, and the coins that it spends."""

    transaction: Transaction
    inputs: tuple[PsbtInput, ...]
    outputs: int


class _Cursor:
    def __init__(self, data: bytes) -> None:
        self.data, self.at = data, 0

    def take(self, count: int) -> bytes:
        assert len(self.data) >= self.at + count, "cut short"
        self.at += count
        return self.data[self.at - count : self.at]

    def size(self) -> int:
        first = self.take(1)[0]
        if first < 0xFD:
            return first
        width = {0xFD: 2, 0xFE: 4, 0xFF: 8}[first]
        value = int.from_bytes(self.take(width), "little")
        assert value >= {2: 0xFD, 4: 1 << 16, 8: 1 << 32}[width], "a size that is not in its shortest form"
        return value

    def table(self) -> dict[bytes, bytes]:
        """Read key-value pairs to the separator; a key that stands twice is an error (BIP-0174, Specification)."""
        found: dict[bytes, bytes] = {}
        while size := self.size():
            key = self.take(size)
            assert key not in found, "a key twice"
            found[key] = self.take(self.size())
        return found


def read_psbt(data: bytes) -> Psbt:
    """Return what a file of one unsigned transaction says; anything that it should not hold is an error."""
    cursor = _Cursor(data)
    assert cursor.take(5) == b"psbt\xff"
    whole = cursor.table()
    assert set(whole) == {b"\x00"}, (
        "the global table of version 0 holds the unsigned transaction, and here no more"
    )
    transaction = Transaction.parse(whole[b"\x00"])
    assert all(not txin.script_sig for txin in transaction.inputs), "unsigned: scripts are empty"
    assert transaction.serialize() == whole[b"\x00"], "no witnesses"
    coins = tuple(_coin(cursor.table(), txin.prevout) for txin in transaction.inputs)
    tables = [cursor.table() for _ in transaction.outputs]
    assert not any(tables)
    assert cursor.at == len(data), "bytes after the last table"
    return Psbt(transaction, coins, len(tables))


def _coin(table: dict[bytes, bytes], spent: OutPoint) -> PsbtInput:
    """Read PSBT_IN_WITNESS_UTXO (01), or of old scripts PSBT_IN_NON_WITNESS_UTXO (00), whose hash is checked."""
    assert len(table) == 1, "one thing is told of each coin"
    if b"\x01" in table:
        cursor = _Cursor(table[b"\x01"])
        value, script = int.from_bytes(cursor.take(8), "little"), cursor.take(cursor.size())
        assert cursor.at == len(cursor.data)
        assert script[:1] in (b"\x00", *(bytes([op]) for op in range(0x51, 0x61))), "a witness program"
        return PsbtInput(value, script)
    before = Transaction.parse(table[b"\x00"])
    assert before.txid() == spent.txid
    output = before.outputs[spent.index]
    return PsbtInput(output.value_sat, output.script_pubkey)
