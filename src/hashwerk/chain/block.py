"""Blocks: the wire form, the hashes they must commit to, and putting one together from a solved header."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from hashlib import sha256
from typing import Final

import msgspec

from hashwerk.chain.header import HEADER_SIZE, ZERO_HASH, BlockHeader
from hashwerk.chain.merkle import is_ambiguous, merkle_root
from hashwerk.chain.serial import Cursor, compact_size
from hashwerk.chain.template import Template
from hashwerk.chain.transaction import WITNESS_SCALE_FACTOR, Transaction, TxOut
from hashwerk.errors import DecodeError

MAX_BLOCK_WEIGHT: Final = 4_000_000
#: OP_RETURN, a push of 36 bytes, and the four bytes that say what they are (BIP-0141).
WITNESS_COMMITMENT_HEADER: Final = bytes.fromhex("6a24aa21a9ed")
WITNESS_COMMITMENT_SIZE: Final = 38
#: A block with a witness commitment carries this as the only witness item of its coinbase.
WITNESS_RESERVED_VALUE: Final = bytes(32)
#: A transaction of this size without witness can pass for an inner node of the merkle tree (BIP-0054).
FORBIDDEN_STRIPPED_SIZE: Final = 64

_SMALLEST_TRANSACTION: Final = 10  # no honest one has fewer than 60 bytes; this only bounds the count


class Block(msgspec.Struct, frozen=True):
    """A block."""

    header: BlockHeader
    transactions: tuple[Transaction, ...]

    @classmethod
    def parse(cls, data: bytes) -> Block:
        """Return the block that ``data`` is.

        Raises:
            DecodeError: If bytes are missing, left over, or not in the one form Bitcoin Core writes.
        """
        cursor = Cursor(bytes(data))
        header = BlockHeader.parse(cursor.read(HEADER_SIZE))
        count = cursor.count(_SMALLEST_TRANSACTION)
        transactions = tuple([Transaction.read(cursor) for _ in range(count)])
        cursor.finish("block")
        return cls(header, transactions)

    def serialize(self, *, witness: bool = True) -> bytes:
        """Return the wire form, with all witnesses unless ``witness`` is false."""
        transactions = [transaction.serialize(witness=witness) for transaction in self.transactions]
        return b"".join([self.header.serialize(), compact_size(len(transactions)), *transactions])

    def txids(self) -> tuple[bytes, ...]:
        """Return the transaction ids in order, internal byte order."""
        return tuple([transaction.txid() for transaction in self.transactions])

    def weight(self) -> int:
        """Return the weight in weight units (BIP-0141)."""
        stripped_size = len(self.serialize(witness=False))
        return stripped_size * (WITNESS_SCALE_FACTOR - 1) + len(self.serialize())

    def check(self) -> None:
        """Check that the block is what its header commits to.

        Merkle root (CVE-2012-2459 refused), one coinbase in first place, witness commitment, weight. Proof of
        work, scripts and coins are the node's to check.

        Raises:
            DecodeError: With the first thing found wrong.
        """
        if not self.transactions:
            raise DecodeError("a block has no transactions")
        is_coinbase = [transaction.is_coinbase for transaction in self.transactions]
        if not is_coinbase[0] or any(is_coinbase[1:]):
            raise DecodeError("a block has one coinbase and it comes first")
        txids = self.txids()
        if merkle_root(txids) != self.header.merkle_root:
            raise DecodeError("the merkle root is not that of the transactions")
        if is_ambiguous(txids):
            raise DecodeError("transactions are repeated and leave the merkle root as it is (CVE-2012-2459)")
        self._check_witness()
        if self.weight() > MAX_BLOCK_WEIGHT:
            raise DecodeError(f"the block's weight {self.weight()} is above {MAX_BLOCK_WEIGHT}")

    def _check_witness(self) -> None:
        coinbase = self.transactions[0]
        found = find_witness_commitment(coinbase.outputs)
        if found is None:
            # Also before segwit was active: no witness, no commitment wanted.
            if any(transaction.has_witness for transaction in self.transactions):
                raise DecodeError("there are witnesses and no witness commitment")
            return
        witness = coinbase.inputs[0].witness
        if not witness:
            if any(transaction.has_witness for transaction in self.transactions):
                raise DecodeError("the coinbase has no witness reserved value")
            return
        if len(witness) != 1 or len(witness[0]) != len(WITNESS_RESERVED_VALUE):
            raise DecodeError("the coinbase's witness is not one item of 32 bytes")
        wtxids = [transaction.wtxid() for transaction in self.transactions[1:]]
        expected = witness_commitment(wtxids, reserved_value=witness[0])
        if found[:WITNESS_COMMITMENT_SIZE] != expected:
            raise DecodeError("the witness commitment is not that of the transactions")


def witness_commitment(wtxids: Sequence[bytes], *, reserved_value: bytes = WITNESS_RESERVED_VALUE) -> bytes:
    """Return the output script that commits to all witnesses, 38 bytes (BIP-0141).

    ``wtxids`` are those of the transactions *after* the coinbase, in order; the coinbase itself counts as
    zero.
    """
    root = merkle_root([ZERO_HASH, *wtxids])
    digest = sha256(sha256(root + reserved_value).digest()).digest()
    return WITNESS_COMMITMENT_HEADER + digest


def find_witness_commitment(outputs: Iterable[TxOut]) -> bytes | None:
    """Return the script of the last output that has the form of a witness commitment, or None."""
    found = None
    for output in outputs:
        script = output.script_pubkey
        if len(script) >= WITNESS_COMMITMENT_SIZE and script.startswith(WITNESS_COMMITMENT_HEADER):
            found = script
    return found


def assemble_block(header: bytes, coinbase_without_witness: bytes, template: Template) -> bytes:
    """Return the whole block in wire form, ready to be handed to a node.

    With a witness commitment in the template, the coinbase is given marker, flag and the reserved value.
    Nothing is checked here beyond sizes: a block candidate is handed in first and judged by the node.

    Args:
        header: The solved header, 80 bytes.
        coinbase_without_witness: The coinbase as it is hashed.
        template: The template the job was made from.

    Raises:
        DecodeError: If the header has not 80 bytes or the coinbase is too short to be one.
    """
    if len(header) != HEADER_SIZE:
        raise DecodeError(f"a block header has 80 bytes, not {len(header)}")
    if len(coinbase_without_witness) < _SMALLEST_TRANSACTION:
        raise DecodeError(f"not a coinbase: {len(coinbase_without_witness)} bytes")
    coinbase = coinbase_without_witness
    if template.witness_commitment is not None:
        coinbase = add_coinbase_witness(coinbase)
    count = compact_size(1 + len(template.transactions))
    return b"".join([header, count, coinbase, *(transaction.data for transaction in template.transactions)])


def add_coinbase_witness(coinbase: bytes) -> bytes:
    """Return a coinbase with marker, flag and witness added to its form without them (BIP-0144)."""
    stack = b"\x01" + compact_size(len(WITNESS_RESERVED_VALUE)) + WITNESS_RESERVED_VALUE
    return coinbase[:4] + b"\x00\x01" + coinbase[4:-4] + stack + coinbase[-4:]
