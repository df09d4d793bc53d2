"""Templates recomputed from what a node says: real blocks pass, every single lie is found."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest

from hashwerk.chain.block import Block, find_witness_commitment
from hashwerk.chain.header import hash_to_hex
from hashwerk.chain.network import network_from_name
from hashwerk.chain.target import target_from_compact
from hashwerk.node.gbt import GbtReply, GbtTransaction, InvalidTemplateError, TemplateVerifier

MAIN = network_from_name("main")
TESTNET4 = network_from_name("testnet4")
BLOCKS = Path(__file__).resolve().parents[3].parent / "shared" / "data" / "btc_blocks"
NOW = 1_790_000_000.0


def reply_of(block: Block, height: int, coinbase_value_sat: int) -> GbtReply:
    """Return what a node would have said before this block was found."""
    commitment = find_witness_commitment(block.transactions[0].outputs)
    return GbtReply(
        version=0x20000000,
        previousblockhash=hash_to_hex(block.header.prev_hash),
        transactions=[
            GbtTransaction(
                data=transaction.serialize().hex(),
                txid=hash_to_hex(transaction.txid()),
                hash=hash_to_hex(transaction.wtxid()),
                weight=transaction.weight(),
            )
            for transaction in block.transactions[1:]
        ],
        coinbasevalue=coinbase_value_sat,
        bits=f"{block.header.nbits:08x}",
        target=f"{target_from_compact(block.header.nbits):064x}",
        mintime=block.header.time - 3_600,
        curtime=block.header.time,
        height=height,
        default_witness_commitment=None if commitment is None else commitment.hex(),
    )


@pytest.fixture(scope="module")
def real_block() -> tuple[Block, int]:
    """A real block with witnesses, and its height."""
    if not BLOCKS.is_dir():
        pytest.skip(f"NOT TESTED: the real blocks are not there ({BLOCKS})")
    paths = [path for path in sorted(BLOCKS.glob("0*.blk")) if int(path.name[:7]) > 500_000]
    path = min(paths, key=lambda path: path.stat().st_size)
    return Block.parse(path.read_bytes()), int(path.name[:7])


def verify(reply: GbtReply, verifier: TemplateVerifier | None = None, **changes: Any):
    arguments: dict[str, Any] = {"previous_time": None, "now": NOW, "source": "test"}
    return (verifier or TemplateVerifier(MAIN)).verify(reply, **(arguments | changes))


def test_a_real_block_passes_with_its_own_commitment(real_block: tuple[Block, int]) -> None:
    block, height = real_block
    template = verify(reply_of(block, height, 0), now=float(block.header.time))
    assert template.witness_commitment == find_witness_commitment(block.transactions[0].outputs)
    assert [transaction.txid for transaction in template.transactions] == list(block.txids()[1:])
    assert template.nbits == block.header.nbits
    assert template.prev_hash == block.header.prev_hash


def test_known_transactions_are_not_parsed_again(real_block: tuple[Block, int]) -> None:
    block, height = real_block
    reply = reply_of(block, height, 0)
    verifier = TemplateVerifier(MAIN)
    first = verify(reply, verifier, now=float(block.header.time))
    started_at = time.perf_counter()
    assert verify(reply, verifier, now=float(block.header.time)) == first
    again_s = time.perf_counter() - started_at
    started_at = time.perf_counter()
    verify(reply, now=float(block.header.time))
    anew_s = time.perf_counter() - started_at
    assert again_s < anew_s


def _change(index: int, **changes: Any) -> Callable[[GbtReply], GbtReply]:
    def change(reply: GbtReply) -> GbtReply:
        transactions = list(reply.transactions)
        transactions[index] = msgspec.structs.replace(transactions[index], **changes)
        return msgspec.structs.replace(reply, transactions=transactions)

    return change


def _order(change: Callable[[list[GbtTransaction]], list[GbtTransaction]]) -> Callable[[GbtReply], GbtReply]:
    return lambda reply: msgspec.structs.replace(reply, transactions=change(list(reply.transactions)))


LIES: dict[str, tuple[Callable[[GbtReply], GbtReply], str]] = {
    "one bit of data": (
        lambda reply: _change(1, data="03" + reply.transactions[1].data[2:])(reply),
        "has another hash",
    ),
    "cut data": (lambda reply: _change(1, data=reply.transactions[1].data[:-2])(reply), "invalid template"),
    "odd hexadecimal": (
        lambda reply: _change(1, data=reply.transactions[1].data[:-1])(reply),
        "invalid template",
    ),
    "txid": (_change(0, txid="11" * 32), "has another hash"),
    "wtxid": (_change(0, hash="11" * 32), "has another hash"),
    "weight": (_change(0, weight=1), "weighs"),
    "depends on itself": (_change(0, depends=[1]), "before one it depends on"),
    "depends on nothing": (_change(1, depends=[0]), "before one it depends on"),
    "order": (_order(lambda transactions: transactions[::-1]), "commitment"),
    "one left out": (_order(lambda transactions: transactions[:-1]), "commitment"),
    "one twice": (_order(lambda transactions: [*transactions, transactions[0]]), "twice"),
    "too many signature operations": (_change(0, sigops=80_001), "too many"),
    "no commitment": (
        lambda reply: msgspec.structs.replace(reply, default_witness_commitment=None),
        "no witness commitment",
    ),
    "more than subsidy and fees": (
        lambda reply: msgspec.structs.replace(
            reply,
            coinbasevalue=10**12,
            transactions=[msgspec.structs.replace(each, fee=1) for each in reply.transactions],
        ),
        "may be worth",
    ),
    "more than there will ever be": (
        lambda reply: msgspec.structs.replace(reply, coinbasevalue=21 * 10**14 + 1),
        "may be worth",
    ),
}


@pytest.mark.parametrize("what", LIES)
def test_every_lie_is_found(real_block: tuple[Block, int], what: str) -> None:
    block, height = real_block
    lie, words = LIES[what]
    reply = reply_of(block, height, 0)
    verify(reply, now=float(block.header.time))
    with pytest.raises(InvalidTemplateError, match=words):
        verify(lie(reply), now=float(block.header.time))


def test_a_coinbase_among_the_transactions_is_found(real_block: tuple[Block, int]) -> None:
    block, height = real_block
    with_coinbase = msgspec.structs.replace(block, transactions=(block.transactions[0], *block.transactions))
    with pytest.raises(InvalidTemplateError, match="coinbase among its transactions"):
        verify(reply_of(with_coinbase, height, 0), now=float(block.header.time))


EMPTY = GbtReply(
    version=0x20000000,
    previousblockhash="11" * 32,
    transactions=[],
    coinbasevalue=50 * 10**8,
    bits="1c3fffc0",
    mintime=int(NOW) - 3_000,
    curtime=int(NOW),
    height=5_001,
)


@pytest.mark.parametrize(
    ("bits", "age_s", "min_time", "max_time"),
    [
        ("1c3fffc0", 600, EMPTY.mintime, int(NOW) + 600),  # ordinary: up to the edge
        ("1c3fffc0", 1_200, EMPTY.mintime, int(NOW)),  # exactly on it
        ("1d00ffff", 1_201, int(NOW), None),  # one second beyond: the easiest, from there on
        ("1d00ffff", 600, EMPTY.mintime, None),  # the ordinary nBits are the easiest themselves
    ],
)
def test_the_window_of_times_ends_or_begins_at_the_20_minute_edge(
    bits: str, age_s: int, min_time: int, max_time: int | None
) -> None:
    reply = msgspec.structs.replace(EMPTY, bits=bits)
    template = verify(reply, TemplateVerifier(TESTNET4), previous_time=int(NOW) - age_s)
    assert (template.min_time, template.max_time) == (min_time, max_time)
    assert template.min_time <= template.time <= (template.max_time or template.time)


def test_main_has_no_edge() -> None:
    reply = msgspec.structs.replace(EMPTY, height=210_000, coinbasevalue=25 * 10**8, bits="1703a30c")
    template = verify(reply, previous_time=int(NOW) - 5_000)
    assert (template.min_time, template.max_time) == (EMPTY.mintime, None)


def test_a_negative_version_keeps_its_bits() -> None:
    reply = msgspec.structs.replace(EMPTY, version=-0x60000000)
    assert verify(reply, previous_time=int(NOW)).version == 0xA0000000
