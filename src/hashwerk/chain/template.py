"""The block template: what a node says the next block should hold."""

from __future__ import annotations

import msgspec


class TemplateTransaction(msgspec.Struct, frozen=True):
    """One transaction of a template, serialised with its witness. Hashes are in internal byte order."""

    data: bytes
    txid: bytes
    wtxid: bytes
    weight: int
    fee_sat: int | None = None


class Template(msgspec.Struct, frozen=True, kw_only=True):
    """A block template as a node gave it. Hashes are in internal byte order; times are Unix seconds, UTC."""

    network: str
    height: int
    version: int
    prev_hash: bytes
    nbits: int
    time: int  # the node's suggestion for ntime
    min_time: int  # smallest valid ntime
    max_time: int | None = None  # largest ntime for which nbits holds; None: no such edge
    coinbase_value_sat: int
    transactions: tuple[TemplateTransaction, ...] = ()
    witness_commitment: bytes | None = None  # the whole output script, 6a24aa21a9ed…
    source: str = ""  # which node
    received_at: float = 0.0
