"""Blocks really mined under testnet4's rules (2^32 hashes each), judged by the embedded node.

``testnet4_blocks.json`` was made with this program's own kernel from `private_template` on top of testnet4's
genesis block: a block 600 s after it, one 1,500 s after that, beyond the 20-minute edge, a third, and a rival of
the second whose nBits ask for a little more work than the rules do, and which has that work.
"""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from hashwerk.chain.block import Block
from hashwerk.chain.header import BlockHeader, double_sha256
from hashwerk.chain.nbits import next_block_rules
from hashwerk.chain.network import network_from_name
from hashwerk.chain.target import hash_meets_target, target_from_compact
from hashwerk.node.kernel import KernelNode
from hashwerk.stratum.ports import SubmitOutcome

TESTNET4 = network_from_name("testnet4")
BLOCKS = {
    name: bytes.fromhex(text)
    for name, text in json.loads(Path(__file__).with_name("testnet4_blocks.json").read_text()).items()
}
CHAIN = ("block1", "block2_late", "block3")


async def test_blocks_of_testnet4_rules_are_accepted_and_survive(tmp_path: Path) -> None:
    node = KernelNode(tmp_path)
    await node.start()
    for height, name in enumerate(CHAIN, start=1):
        assert await node.submit_block(BLOCKS[name]) == SubmitOutcome(accepted=True)
        assert node.status().height == height
    following = await node.template()
    assert following.height == 4
    assert following.nbits == 0x1D00FFFF
    await node.close()
    node = KernelNode(tmp_path)
    await node.start()
    assert node.status().tip == double_sha256(BLOCKS["block3"][:80])
    await node.close()


async def test_other_nbits_are_refused_even_with_the_work_for_them(tmp_path: Path) -> None:
    rival = BlockHeader.parse(BLOCKS["wrong_nbits"][:80])
    assert rival.nbits == 0x1D00FFFE
    assert hash_meets_target(rival.hash(), target_from_compact(rival.nbits))
    node = KernelNode(tmp_path)
    await node.start()
    assert (await node.submit_block(BLOCKS["block1"])).accepted
    assert await node.submit_block(BLOCKS["wrong_nbits"]) == SubmitOutcome(
        accepted=False, reason="bad-diffbits"
    )
    # Without the work, the lack of it is found first.
    without_work = BLOCKS["wrong_nbits"][:76] + bytes(4) + BLOCKS["wrong_nbits"][80:]
    assert await node.submit_block(without_work) == SubmitOutcome(accepted=False, reason="high-hash")
    assert (await node.submit_block(BLOCKS["block2_late"])).accepted
    await node.close()


@pytest.mark.parametrize("height", [1, 2, 3])
def test_our_rules_are_those_the_engine_accepted(height: int) -> None:
    headers = [TESTNET4.genesis, *(Block.parse(BLOCKS[name]).header for name in CHAIN)]
    header = headers[height]
    rules = next_block_rules(TESTNET4, height, headers.__getitem__, header.time)
    assert rules.nbits == header.nbits
    assert rules.min_time <= header.time
