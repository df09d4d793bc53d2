"""What every node keeps to, whichever it is. The reasons are the words of Bitcoin Core's submitblock."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import Protocol

import msgspec
import pytest

from hashwerk.chain.block import witness_commitment
from hashwerk.chain.coinbase import height_push
from hashwerk.chain.header import double_sha256
from hashwerk.chain.network import network_from_name
from hashwerk.chain.template import Template
from hashwerk.chain.transaction import Transaction
from hashwerk.errors import NodeLockedError, NodeUnavailableError
from hashwerk.node.block_store import BlockStore
from hashwerk.node.regtest import mine_block
from hashwerk.stratum.ports import Node, SubmitOutcome

REGTEST = network_from_name("regtest")
DEADLINE_S = 10.0

TemplateOn = Callable[[Node, bytes], Awaitable[Template]]
Rework = Callable[..., bytes]


class Rig(Protocol):
    """See conftest."""

    refresh_s: float

    @property
    def folder(self): ...

    async def make(self) -> Node: ...

    async def open(self) -> Node: ...


def hash_of(block: bytes) -> bytes:
    return double_sha256(block[:80])


async def mine(
    node: Node, template_on: TemplateOn, count: int, prev_hash: bytes | None = None
) -> list[bytes]:
    """Mine ``count`` blocks on the tip; return them."""
    tip = node.status().tip if prev_hash is None else prev_hash
    blocks = []
    for _ in range(count):
        block = mine_block(await template_on(node, tip))
        assert (await node.submit_block(block)).accepted
        blocks.append(block)
        tip = hash_of(block)
    await template_on(node, tip)  # the node itself knows by now
    return blocks


async def test_first_template_is_that_of_block_one(rig: Rig, template_on: TemplateOn) -> None:
    node = await rig.open()
    now = time.time()
    template = await template_on(node, REGTEST.genesis_hash)
    assert template.network == "regtest"
    assert template.height == 1
    assert template.nbits == 0x207FFFFF
    assert template.min_time == REGTEST.genesis.time + 1
    assert template.min_time <= template.time
    assert abs(template.time - now) < DEADLINE_S
    assert template.max_time is None
    assert template.coinbase_value_sat == 50 * 10**8
    assert template.transactions == ()
    assert template.witness_commitment == witness_commitment([])
    assert abs(template.received_at - now) < DEADLINE_S


async def test_status_before_and_after_the_first_block(rig: Rig, template_on: TemplateOn) -> None:
    node = await rig.open()
    await template_on(node, REGTEST.genesis_hash)
    status = node.status()
    assert (status.network, status.height, status.tip) == ("regtest", 0, REGTEST.genesis_hash)
    assert status.healthy
    assert status.message is None
    (block,) = await mine(node, template_on, 1)
    assert (node.status().height, node.status().tip) == (1, hash_of(block))


async def test_a_block_is_accepted_and_the_next_template_stands_on_it(
    rig: Rig, template_on: TemplateOn
) -> None:
    node = await rig.open()
    async with asyncio.timeout(DEADLINE_S):
        templates = node.templates()
        template = await anext(templates)
        block = mine_block(template)
        assert await node.submit_block(block) == SubmitOutcome(accepted=True, reason=None)
        following = await anext(templates)
    assert following.prev_hash == hash_of(block)
    assert following.height == 2


async def test_two_readers_get_the_same_news(rig: Rig, template_on: TemplateOn) -> None:
    node = await rig.open()
    async with asyncio.timeout(DEADLINE_S):
        one, two = node.templates(), node.templates()
        first = await anext(one)
        await anext(two)
        block = mine_block(first)
        assert (await node.submit_block(block)).accepted
        assert {(await anext(one)).prev_hash, (await anext(two)).prev_hash} == {hash_of(block)}


async def test_a_template_is_refreshed_without_a_new_tip(rig: Rig) -> None:
    rig.refresh_s = 0.1
    node = await rig.open()
    async with asyncio.timeout(DEADLINE_S):
        templates = node.templates()
        first = await anext(templates)
        second = await anext(templates)
    assert second.prev_hash == first.prev_hash
    assert second.received_at > first.received_at


async def test_a_block_after_the_first_halving(rig: Rig, template_on: TemplateOn) -> None:
    node = await rig.open()
    await mine(node, template_on, 149)
    template = await template_on(node, node.status().tip)
    assert (template.height, template.coinbase_value_sat) == (150, 25 * 10**8)
    assert (await node.submit_block(mine_block(template))).accepted


def _more_money(coinbase: Transaction) -> Transaction:
    first = msgspec.structs.replace(coinbase.outputs[0], value_sat=coinbase.outputs[0].value_sat + 1)
    return msgspec.structs.replace(coinbase, outputs=(first, *coinbase.outputs[1:]))


def _other_height(coinbase: Transaction) -> Transaction:
    script = height_push(77) + coinbase.inputs[0].script_sig[1:]
    return msgspec.structs.replace(
        coinbase, inputs=(msgspec.structs.replace(coinbase.inputs[0], script_sig=script),)
    )


def _other_commitment(coinbase: Transaction) -> Transaction:
    script = coinbase.outputs[-1].script_pubkey[:-1] + b"\x00"
    last = msgspec.structs.replace(coinbase.outputs[-1], script_pubkey=script)
    return msgspec.structs.replace(coinbase, outputs=(*coinbase.outputs[:-1], last))


INVALID = {
    "high-hash": {"unsolved": True},
    "bad-txnmrklroot": {"coinbase": _more_money, "keep_root": True},
    "bad-cb-amount": {"coinbase": _more_money},
    "bad-cb-height": {"coinbase": _other_height},
    "bad-witness-merkle-match": {"coinbase": _other_commitment},
    "time-too-new": {"header": lambda header: msgspec.structs.replace(header, time=int(time.time()) + 7_300)},
    "time-too-old": {"header": lambda header: msgspec.structs.replace(header, time=REGTEST.genesis.time)},
    "bad-diffbits": {"header": lambda header: msgspec.structs.replace(header, nbits=0x207FFFFE)},
    "bad-version(0x00000001)": {"header": lambda header: msgspec.structs.replace(header, version=1)},
    "prev-blk-not-found": {
        "header": lambda header: msgspec.structs.replace(header, prev_hash=bytes(range(32)))
    },
}


@pytest.mark.parametrize("reason", INVALID)
async def test_an_invalid_block_is_refused_with_its_reason(
    rig: Rig, template_on: TemplateOn, rework: Rework, reason: str
) -> None:
    node = await rig.open()
    template = await template_on(node, REGTEST.genesis_hash)
    good = mine_block(template)
    bad = rework(good, **INVALID[reason])
    assert await node.submit_block(bad) == SubmitOutcome(accepted=False, reason=reason)
    assert await node.confirmations(hash_of(bad)) is None
    # The refusal did no harm: the same template still makes a block.
    assert (await node.submit_block(good)).accepted


async def test_an_invalid_block_stays_invalid_and_so_do_its_children(
    rig: Rig, template_on: TemplateOn, rework: Rework
) -> None:
    node = await rig.open()
    template = await template_on(node, REGTEST.genesis_hash)
    bad = rework(mine_block(template), coinbase=_more_money)
    assert (await node.submit_block(bad)).reason == "bad-cb-amount"
    assert (await node.submit_block(bad)).reason == "duplicate-invalid"
    on_bad = msgspec.structs.replace(template, prev_hash=hash_of(bad), height=2)
    assert (await node.submit_block(mine_block(on_bad))).reason == "bad-prevblk"


async def test_a_duplicate_is_named_and_still_counts_as_accepted(rig: Rig, template_on: TemplateOn) -> None:
    node = await rig.open()
    (block,) = await mine(node, template_on, 1)
    assert await node.submit_block(block) == SubmitOutcome(accepted=True, reason="duplicate")
    assert await node.confirmations(hash_of(block)) == 1


async def test_a_reorganisation(rig: Rig, template_on: TemplateOn) -> None:
    node = await rig.open()
    (base,) = await mine(node, template_on, 1)
    fork = await template_on(node, hash_of(base))
    ours, theirs = mine_block(fork, extranonce=1), mine_block(fork, extranonce=2)
    assert (await node.submit_block(ours)).accepted
    assert await node.submit_block(theirs) == SubmitOutcome(accepted=False, reason="inconclusive")
    assert await node.confirmations(hash_of(theirs)) is None
    assert await node.submit_block(theirs) == SubmitOutcome(accepted=False, reason="duplicate")
    on_theirs = msgspec.structs.replace(fork, prev_hash=hash_of(theirs), height=3, time=fork.time + 1)
    winner = mine_block(on_theirs)
    assert (await node.submit_block(winner)).accepted
    assert await node.confirmations(hash_of(ours)) is None
    assert await node.confirmations(hash_of(theirs)) == 2
    assert await node.confirmations(hash_of(base)) == 3
    assert (await template_on(node, hash_of(winner))).height == 4


async def test_bytes_after_the_block_are_refused(rig: Rig, template_on: TemplateOn) -> None:
    node = await rig.open()
    block = mine_block(await template_on(node, REGTEST.genesis_hash))
    assert await node.submit_block(block + b"\x00") == SubmitOutcome(accepted=False, reason="trailing-bytes")
    for wrong in (b"", block[:79], block[:80], block[:-1], b"\xff" * 200):
        assert (await node.submit_block(wrong)).reason == "block-decode-failed"
    assert (await node.submit_block(block)).accepted


async def test_confirmations(rig: Rig, template_on: TemplateOn) -> None:
    node = await rig.open()
    blocks = await mine(node, template_on, 3)
    assert [await node.confirmations(hash_of(block)) for block in blocks] == [3, 2, 1]
    assert await node.confirmations(REGTEST.genesis_hash) == 4
    assert await node.confirmations(bytes(range(32))) is None


async def test_a_folder_in_use_is_named(rig: Rig) -> None:
    await rig.open()
    second = await rig.make()
    with pytest.raises(NodeLockedError, match=str(rig.folder)):
        await second.start()
    await second.close()


async def test_closed_and_opened_again_at_once(rig: Rig, template_on: TemplateOn) -> None:
    node = await rig.open()
    blocks = await mine(node, template_on, 3)
    for _ in range(3):
        await node.close()
        node = await rig.open()
        assert (await template_on(node, hash_of(blocks[-1]))).height == 4
    await node.close()
    await node.close()


async def test_templates_end_when_the_node_is_closed(rig: Rig) -> None:
    node = await rig.open()
    templates = node.templates()
    async with asyncio.timeout(DEADLINE_S):
        await anext(templates)
        waiting = asyncio.ensure_future(anext(templates, None))
        await asyncio.sleep(0)
        await node.close()
        assert await waiting is None
    with pytest.raises(NodeUnavailableError):
        await node.submit_block(b"")


async def test_a_stored_block_the_chain_lacks_is_fed_again(rig: Rig, template_on: TemplateOn) -> None:
    node = await rig.open()
    template = await template_on(node, REGTEST.genesis_hash)
    await node.close()
    # As a process leaves it that died between the disk and the node.
    first = mine_block(template)
    second = mine_block(
        msgspec.structs.replace(template, prev_hash=hash_of(first), height=2, time=template.time + 1)
    )
    store = BlockStore(rig.folder / "regtest" / "found-blocks.dat")
    store.append(first)
    store.append(second)
    store.close()
    node = await rig.open()
    assert (await template_on(node, hash_of(second))).height == 3
    assert await node.confirmations(hash_of(first)) == 2


async def test_a_torn_tail_of_the_found_blocks_is_repaired(rig: Rig, template_on: TemplateOn) -> None:
    node = await rig.open()
    (block,) = await mine(node, template_on, 1)
    await node.close()
    path = rig.folder / "regtest" / "found-blocks.dat"
    whole = path.read_bytes()
    path.write_bytes(whole + whole[: len(whole) // 2])
    node = await rig.open()
    following = await template_on(node, hash_of(block))
    assert (await node.submit_block(mine_block(following))).accepted
    await node.close()
    assert path.read_bytes().startswith(whole)
    store = BlockStore(path)
    assert len(store) == 2
    store.close()


async def test_a_block_is_judged_to_the_end_when_the_caller_leaves(rig: Rig, template_on: TemplateOn) -> None:
    node = await rig.open()
    block = mine_block(await template_on(node, REGTEST.genesis_hash))
    submission = asyncio.ensure_future(node.submit_block(block))
    await asyncio.sleep(0)
    submission.cancel()
    with pytest.raises(asyncio.CancelledError):
        await submission
    assert (await template_on(node, hash_of(block))).height == 2


async def test_the_payout_script_is_paid(rig: Rig, template_on: TemplateOn) -> None:
    node = await rig.open()
    template = await template_on(node, REGTEST.genesis_hash)
    block = mine_block(template, b"\x00\x14" + bytes(20))
    assert b"\x16\x00\x14" + bytes(20) in block
    assert (await node.submit_block(block)).accepted
