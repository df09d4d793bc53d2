"""A small template with witnesses, and the script it is paid to."""

from __future__ import annotations

import pytest

from hashwerk.chain.block import witness_commitment
from hashwerk.chain.template import Template, TemplateTransaction
from hashwerk.chain.transaction import OutPoint, Transaction, TxIn, TxOut


def template_transaction(number: int) -> TemplateTransaction:
    """A payment with a witness, different for every number, with a fee of as many satoshi."""
    transaction = Transaction(
        version=2,
        inputs=(
            TxIn(OutPoint(number.to_bytes(32, "big"), 0), b"", 0xFFFF_FFFD, (b"\x30" * 71, b"\x02" * 33)),
        ),
        outputs=(TxOut(10_000 + number, b"\x00\x14" + b"\xaa" * 20),),
        lock_time=0,
    )
    return TemplateTransaction(
        data=transaction.serialize(),
        txid=transaction.txid(),
        wtxid=transaction.wtxid(),
        weight=transaction.weight(),
        fee_sat=number,
    )


@pytest.fixture
def template() -> Template:
    """Height 840,000 on main, five transactions."""
    transactions = tuple(template_transaction(number) for number in range(1, 6))
    return Template(
        network="main",
        height=840_000,
        version=0x2000_0000,
        prev_hash=b"\x77" * 32,
        nbits=0x1703_4219,
        time=1_713_571_767,
        min_time=1_713_570_000,
        coinbase_value_sat=312_500_000 + 15,
        transactions=transactions,
        witness_commitment=witness_commitment([transaction.wtxid for transaction in transactions]),
    )


@pytest.fixture
def payout_script() -> bytes:
    """P2WPKH."""
    return b"\x00\x14" + b"\xbb" * 20
