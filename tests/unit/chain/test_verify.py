"""Templates: a good one passes, and every way to contradict itself is found."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from hashwerk.chain.block import MAX_BLOCK_WEIGHT, witness_commitment
from hashwerk.chain.merkle import merkle_branch
from hashwerk.chain.target import target_from_compact
from hashwerk.chain.template import Template, TemplateTransaction
from hashwerk.chain.transaction import NULL_OUTPOINT, OutPoint, Transaction, TxIn, TxOut
from hashwerk.chain.verify import verify_template
from hashwerk.errors import TemplateError


def described(transaction: Transaction) -> TemplateTransaction:
    return TemplateTransaction(
        transaction.serialize(), transaction.txid(), transaction.wtxid(), transaction.weight(), 0
    )


def with_transactions(template: Template, *transactions: TemplateTransaction) -> Template:
    """The template with other transactions, and the commitment and reward that go with them."""
    return msgspec.structs.replace(
        template,
        transactions=transactions,
        witness_commitment=witness_commitment([transaction.wtxid for transaction in transactions]),
        coinbase_value_sat=312_500_000 + sum(transaction.fee_sat or 0 for transaction in transactions),
    )


def test_a_good_template_passes(template: Template) -> None:
    verified = verify_template(template)
    assert verified.template is template
    assert verified.target == target_from_compact(template.nbits)
    assert verified.branch == merkle_branch([transaction.txid for transaction in template.transactions])
    weight = sum(transaction.weight for transaction in template.transactions)
    assert verified.coinbase_weight_limit == MAX_BLOCK_WEIGHT - weight - 4 * 81


def test_an_empty_template_passes(template: Template) -> None:
    empty = msgspec.structs.replace(template, transactions=(), witness_commitment=None, coinbase_value_sat=0)
    assert verify_template(empty).branch == ()


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"network": "testnet3"}, "unknown network"),
        ({"prev_hash": bytes(31)}, "31 bytes"),
        ({"height": 0}, "height 0"),
        ({"height": 1 << 32}, "does not fit 32 bits"),
        ({"version": -1}, "version -1 does not fit"),
        ({"nbits": 1 << 32}, "nbits 4294967296 does not fit"),
        ({"nbits": 0}, "target of zero"),
        ({"nbits": 0x1D010000}, "easier than main allows"),
        ({"nbits": 0x18000342}, "not in the form"),
        ({"time": 1_713_569_999}, "below the smallest"),
        ({"max_time": 1_713_571_766}, "above the largest"),
        ({"coinbase_value_sat": -1}, "out of range"),
        ({"coinbase_value_sat": 2_100_000_000_000_001}, "out of range"),
        ({"coinbase_value_sat": 312_500_016}, "above subsidy and fees, 312500015"),
        ({"witness_commitment": None}, "no witness commitment"),
        ({"witness_commitment": witness_commitment([])}, "witness commitment is not"),
        ({"witness_commitment": b""}, "witness commitment is not"),
    ],
)
def test_contradictions_of_the_template(template: Template, changes: dict[str, Any], words: str) -> None:
    with pytest.raises(TemplateError, match=words):
        verify_template(msgspec.structs.replace(template, **changes))


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"data": b""}, "transaction 2 cannot be read"),
        ({"txid": bytes(32)}, "transaction 2 does not have the txid"),
        ({"wtxid": bytes(32)}, "transaction 2 does not have the wtxid"),
        ({"weight": 1}, "transaction 2 weighs"),
    ],
)
def test_contradictions_of_a_transaction(template: Template, changes: dict[str, Any], words: str) -> None:
    transactions = list(template.transactions)
    transactions[2] = msgspec.structs.replace(transactions[2], **changes)
    wrong = msgspec.structs.replace(template, transactions=tuple(transactions))
    with pytest.raises(TemplateError, match=words):
        verify_template(wrong)
    # Nor does having seen the right one hide it.
    with pytest.raises(TemplateError, match=words):
        verify_template(wrong, previous=verify_template(template))


def test_a_transaction_with_trailing_bytes_is_found(template: Template) -> None:
    first, *rest = template.transactions
    longer = msgspec.structs.replace(first, data=first.data + b"\x00", weight=first.weight + 1)
    with pytest.raises(TemplateError, match="after the end of the transaction"):
        verify_template(with_transactions(template, longer, *rest))


def test_a_repeated_transaction_is_found(template: Template) -> None:
    first, *rest = template.transactions
    with pytest.raises(TemplateError, match="twice"):
        verify_template(with_transactions(template, first, *rest, first))


def test_a_second_coinbase_is_found(template: Template) -> None:
    coinbase = Transaction(1, (TxIn(NULL_OUTPOINT, b"\x51\x51", 0),), (TxOut(0, b""),), 0)
    with pytest.raises(TemplateError, match="transaction 5 is a coinbase"):
        verify_template(with_transactions(template, *template.transactions, described(coinbase)))


def test_a_transaction_of_64_bytes_is_refused(template: Template) -> None:
    # 10 bytes around one input of 41 and one output of 9 + 4.
    tx_in = TxIn(OutPoint(b"\x01" * 32, 0), b"", 0)
    short = Transaction(1, (tx_in,), (TxOut(0, b"\x51" * 4),), 0)
    assert len(short.serialize()) == 64
    with pytest.raises(TemplateError, match="has 64 bytes without witness"):
        verify_template(with_transactions(template, described(short)))
    longer = msgspec.structs.replace(short, outputs=(TxOut(0, b"\x51" * 5),))
    verify_template(with_transactions(template, described(longer)))


def test_room_is_left_for_the_coinbase(template: Template) -> None:
    def filled(output_size: int) -> Template:
        tx_in = TxIn(OutPoint(b"\x01" * 32, 0), b"", 0)
        large = Transaction(1, (tx_in,), (TxOut(0, bytes(output_size)),), 0)
        return with_transactions(template, described(large))

    # 10 + 41 + 8 + 5 bytes around a script of this length.
    size = (MAX_BLOCK_WEIGHT - 2_000) // 4 - 64
    assert verify_template(filled(size)).coinbase_weight_limit == 2_000 - 4 * 81
    with pytest.raises(TemplateError, match="with 2000 reserved, above 4000000"):
        verify_template(filled(size + 1))
    with pytest.raises(TemplateError, match="with 8000 reserved"):
        verify_template(filled(size), reserved_weight=8_000)


def test_unknown_fees_leave_the_reward_to_the_node(template: Template) -> None:
    first, *rest = template.transactions
    unknown = msgspec.structs.replace(first, fee_sat=None)
    generous = msgspec.structs.replace(
        template, transactions=(unknown, *rest), coinbase_value_sat=template.coinbase_value_sat + 1
    )
    assert verify_template(generous).template is generous


def test_the_same_transactions_are_taken_from_the_last_template(template: Template) -> None:
    previous = verify_template(template)
    fewer = with_transactions(template, *template.transactions[1:])
    assert verify_template(fewer, previous=previous) == verify_template(fewer)
