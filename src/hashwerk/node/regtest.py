"""Mine blocks in a moment where every second hash is one: on regtest. For tests, and to try things."""

from __future__ import annotations

import struct
from hashlib import sha256
from typing import Final

from hashwerk.chain.block import assemble_block
from hashwerk.chain.coinbase import build_coinbase
from hashwerk.chain.header import BlockHeader
from hashwerk.chain.merkle import merkle_branch, root_from_branch
from hashwerk.chain.target import target_from_compact
from hashwerk.chain.template import Template

#: OP_TRUE: anybody may spend it, nobody needs a key.
ANYONE_CAN_SPEND: Final = b"\x51"
_EXTRANONCE_SIZE: Final = 12
_NONCES: Final = 1 << 32


def mine_block(
    template: Template,
    payout_script: bytes = ANYONE_CAN_SPEND,
    *,
    extranonce: int = 0,
    ntime: int | None = None,
    pool_tag: bytes = b"hashwerk",
) -> bytes:
    """Return a solved block of this template.

    Args:
        template: What to mine; its difficulty should be regtest's, for one hash is tried after the other.
        payout_script: Who is paid.
        extranonce: Makes different blocks of one template.
        ntime: The header's time; the template's own when None.
        pool_tag: Goes into the coinbase.

    Raises:
        ValueError: If no nonce solves it.
    """
    coinbase = build_coinbase(
        template=template,
        outputs=[(template.coinbase_value_sat, payout_script)],
        pool_tag=pool_tag,
        job_number=0,
        extranonce_size=_EXTRANONCE_SIZE,
    ).with_extranonce(extranonce.to_bytes(_EXTRANONCE_SIZE, "big"))
    header = BlockHeader(
        version=template.version,
        prev_hash=template.prev_hash,
        merkle_root=coinbase_root(coinbase, template),
        time=template.time if ntime is None else ntime,
        nbits=template.nbits,
        nonce=0,
    )
    return assemble_block(solve(header), coinbase, template)


def coinbase_root(coinbase: bytes, template: Template) -> bytes:
    """Return the merkle root of a block of this template with this coinbase, serialised without witness."""
    branch = merkle_branch([transaction.txid for transaction in template.transactions])
    return root_from_branch(sha256(sha256(coinbase).digest()).digest(), branch)


def solve(header: BlockHeader) -> bytes:
    """Return the header's 80 bytes with the first nonce that meets its own nBits.

    Raises:
        ValueError: If there is none.
    """
    target = target_from_compact(header.nbits)
    head = header.serialize()[:76]
    midstate = sha256(head)
    for nonce in range(_NONCES):
        inner = midstate.copy()
        inner.update(struct.pack("<I", nonce))
        if int.from_bytes(sha256(inner.digest()).digest(), "little") <= target:
            return head + struct.pack("<I", nonce)
    raise ValueError("no nonce solves this header")
