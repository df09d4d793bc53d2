"""Checking a block template before machines are put to work on it.

A template may come from a node far away, and a wrong one costs every hash that is spent on it. What can be
recomputed from the template alone is recomputed; scripts, coins and the height are the node's word.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

import msgspec

from hashwerk.chain.block import (
    FORBIDDEN_STRIPPED_SIZE,
    MAX_BLOCK_WEIGHT,
    WITNESS_COMMITMENT_SIZE,
    witness_commitment,
)
from hashwerk.chain.header import HASH_SIZE, HEADER_SIZE, double_sha256
from hashwerk.chain.merkle import merkle_branch
from hashwerk.chain.network import NETWORKS
from hashwerk.chain.serial import compact_size
from hashwerk.chain.subsidy import MAX_MONEY_SAT, subsidy_sat
from hashwerk.chain.target import compact_from_target, target_from_compact
from hashwerk.chain.template import Template, TemplateTransaction
from hashwerk.chain.transaction import UINT32_MAX, WITNESS_SCALE_FACTOR, Transaction
from hashwerk.errors import DecodeError, TemplateError

#: Weight a template must leave for header, transaction count and coinbase: the least that Bitcoin Core allows
#: to be configured (blockreservedweight).
MIN_RESERVED_WEIGHT: Final = 2_000


class VerifiedTemplate(msgspec.Struct, frozen=True):
    """A template that agrees with itself, and what was computed on the way."""

    template: Template
    target: int  # the network's
    branch: tuple[bytes, ...]  # merkle branch of the coinbase, internal byte order
    coinbase_weight_limit: int  # weight units left for the coinbase, its witness included
    known: Mapping[bytes, TemplateTransaction]  # its transactions by wtxid


def verify_template(
    template: Template,
    *,
    previous: VerifiedTemplate | None = None,
    reserved_weight: int = MIN_RESERVED_WEIGHT,
) -> VerifiedTemplate:
    """Return the template as a verified one.

    Recomputed: transaction ids with and without witness, weights, witness commitment, target, and the bounds
    of times and reward. A template with a transaction of 64 bytes without witness is refused (BIP-0054).

    Args:
        template: The template.
        previous: The last one; transactions that are the same in it are not parsed again.
        reserved_weight: Least weight to be left for header, transaction count and coinbase.

    Raises:
        TemplateError: With the first contradiction found.
    """
    target = _check_header_fields(template)
    known = _check_transactions(template, previous.known if previous is not None else {})
    _check_commitment(template)
    _check_value(template)
    weight = sum(transaction.weight for transaction in template.transactions)
    if weight + reserved_weight > MAX_BLOCK_WEIGHT:
        raise TemplateError(
            f"the transactions weigh {weight}; with {reserved_weight} reserved, above {MAX_BLOCK_WEIGHT}"
        )
    count_size = len(compact_size(1 + len(template.transactions)))
    return VerifiedTemplate(
        template=template,
        target=target,
        branch=merkle_branch([transaction.txid for transaction in template.transactions]),
        coinbase_weight_limit=MAX_BLOCK_WEIGHT - weight - (HEADER_SIZE + count_size) * WITNESS_SCALE_FACTOR,
        known=known,
    )


def _check_header_fields(template: Template) -> int:
    """Check what goes into the header; return the network's target."""
    network = NETWORKS.get(template.network)
    if network is None:
        raise TemplateError(f"unknown network {template.network!r}")
    if len(template.prev_hash) != HASH_SIZE:
        raise TemplateError(f"the previous hash has {len(template.prev_hash)} bytes")
    if template.height < 1:
        raise TemplateError(f"height {template.height} is not above the genesis block's")
    for name in ("version", "time", "min_time", "nbits", "height"):
        if not 0 <= getattr(template, name) <= UINT32_MAX:
            raise TemplateError(f"{name} {getattr(template, name)} does not fit 32 bits")
    if template.time < template.min_time:
        raise TemplateError(f"time {template.time} is below the smallest valid one, {template.min_time}")
    if template.max_time is not None and template.time > template.max_time:
        raise TemplateError(f"time {template.time} is above the largest valid one, {template.max_time}")
    try:
        target = target_from_compact(template.nbits)
    except DecodeError as error:
        raise TemplateError(str(error)) from error
    if target > network.pow_limit:
        raise TemplateError(f"nBits {template.nbits:08x} is easier than {network.name} allows")
    if compact_from_target(target) != template.nbits:
        raise TemplateError(f"nBits {template.nbits:08x} is not in the form the rules write")
    return target


def _check_transactions(
    template: Template, known: Mapping[bytes, TemplateTransaction]
) -> dict[bytes, TemplateTransaction]:
    """Check every transaction that is not ``known``; return all of them by wtxid."""
    checked: dict[bytes, TemplateTransaction] = {}
    txids = set()
    for index, transaction in enumerate(template.transactions):
        if known.get(transaction.wtxid) != transaction:
            _check_transaction(index, transaction)
        checked[transaction.wtxid] = transaction
        txids.add(transaction.txid)
    if len(txids) != len(template.transactions):
        raise TemplateError("a transaction is in the template twice")
    return checked


def _check_transaction(index: int, claimed: TemplateTransaction) -> None:
    try:
        transaction = Transaction.parse(claimed.data)
    except DecodeError as error:
        raise TemplateError(f"transaction {index} cannot be read: {error}") from error
    if transaction.is_coinbase:
        raise TemplateError(f"transaction {index} is a coinbase")
    # The parser takes only what it would write, so `data` is the form with witness.
    stripped = transaction.serialize(witness=False) if transaction.has_witness else claimed.data
    weight = len(stripped) * (WITNESS_SCALE_FACTOR - 1) + len(claimed.data)
    if len(stripped) == FORBIDDEN_STRIPPED_SIZE:
        raise TemplateError(f"transaction {index} has {FORBIDDEN_STRIPPED_SIZE} bytes without witness")
    if double_sha256(stripped) != claimed.txid:
        raise TemplateError(f"transaction {index} does not have the txid it is given")
    if double_sha256(claimed.data) != claimed.wtxid:
        raise TemplateError(f"transaction {index} does not have the wtxid it is given")
    if weight != claimed.weight:
        raise TemplateError(f"transaction {index} weighs {weight}, not {claimed.weight}")


def _check_commitment(template: Template) -> None:
    commitment = template.witness_commitment
    if commitment is None:
        if any(transaction.txid != transaction.wtxid for transaction in template.transactions):
            raise TemplateError("there are witnesses and no witness commitment")
        return
    expected = witness_commitment([transaction.wtxid for transaction in template.transactions])
    # What follows the first 38 bytes has no meaning to the rules, but is not ours to drop (BIP-0141).
    if commitment[:WITNESS_COMMITMENT_SIZE] != expected:
        raise TemplateError("the witness commitment is not that of the transactions")


def _check_value(template: Template) -> None:
    """Check the reward; exactly, where every fee is known."""
    value_sat = template.coinbase_value_sat
    if not 0 <= value_sat <= MAX_MONEY_SAT:
        raise TemplateError(f"coinbase value {value_sat} sat is out of range")
    fees_sat = [transaction.fee_sat for transaction in template.transactions]
    known_fees_sat = [fee_sat for fee_sat in fees_sat if fee_sat is not None]
    if len(known_fees_sat) < len(fees_sat):
        return
    allowed_sat = subsidy_sat(NETWORKS[template.network], template.height) + sum(known_fees_sat)
    if value_sat > allowed_sat:
        raise TemplateError(f"coinbase value {value_sat} sat is above subsidy and fees, {allowed_sat} sat")
