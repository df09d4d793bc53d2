"""A real Bitcoin Core on regtest, where one is on the PATH: templates, blocks, reorganisation, long poll."""

from __future__ import annotations

import asyncio
import os
import shutil
import socket
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path

import msgspec
import pytest

from hashwerk.chain.header import double_sha256, hash_to_hex
from hashwerk.chain.network import network_from_name
from hashwerk.chain.template import Template
from hashwerk.node.core import CoreNode
from hashwerk.node.core_rpc import Credentials, RpcClient
from hashwerk.node.regtest import mine_block
from hashwerk.node.settings import CoreSettings
from hashwerk.stratum.ports import SubmitOutcome

BITCOIND = shutil.which("bitcoind")
DEADLINE_S = 60.0

pytestmark = pytest.mark.skipif(BITCOIND is None, reason="NOT TESTED: there is no bitcoind on the PATH")


def hash_of(block: bytes) -> bytes:
    return double_sha256(block[:80])


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@dataclass(slots=True)
class Core:
    """A running bitcoind."""

    process: asyncio.subprocess.Process
    port: int
    cookie_file: Path

    def client(self) -> RpcClient:
        return RpcClient(
            f"http://127.0.0.1:{self.port}",
            Credentials(cookie_file=self.cookie_file),
            default_port=self.port,
            timeout_s=10.0,
        )


@pytest.fixture
async def core(tmp_path: Path) -> AsyncIterator[Core]:
    folder = tmp_path / "bitcoind"
    folder.mkdir()
    port = free_port()
    process = await asyncio.create_subprocess_exec(
        str(BITCOIND),
        *("-regtest", f"-datadir={folder}", f"-rpcport={port}", "-listen=0", "-connect=0", "-disablewallet"),
        *("-server", "-printtoconsole=0"),
        env={"PATH": os.environ["PATH"], "HOME": str(tmp_path)},
    )
    running = Core(process, port, folder / "regtest" / ".cookie")
    yield running
    process.terminate()
    async with asyncio.timeout(DEADLINE_S):
        await process.wait()


@pytest.fixture
async def node(core: Core, tmp_path: Path) -> AsyncIterator[CoreNode]:
    settings = CoreSettings(
        urls=[f"http://127.0.0.1:{core.port}"], cookie_file=str(core.cookie_file), retry_s=0.2, poll_s=0.2
    )
    opened = CoreNode(tmp_path / "node", settings, network="regtest")
    await opened.start()  # before bitcoind answers: it is waited for
    yield opened
    await opened.close()


async def template_on(node: CoreNode, prev_hash: bytes) -> Template:
    async with asyncio.timeout(DEADLINE_S):
        async for template in node.templates():
            if template.prev_hash == prev_hash:
                return template
    raise AssertionError("the templates ended")


async def test_blocks_are_mined_on_a_real_node(node: CoreNode) -> None:
    tip = network_from_name("regtest").genesis_hash
    for height in range(1, 21):
        template = await template_on(node, tip)
        assert template.height == height
        block = mine_block(template)
        assert await node.submit_block(block) == SubmitOutcome(accepted=True)
        tip = hash_of(block)
    assert await node.submit_block(block) == SubmitOutcome(accepted=True, reason="duplicate")
    assert await node.confirmations(tip) == 1


async def test_a_real_node_gives_the_same_reasons(node: CoreNode) -> None:
    template = await template_on(node, network_from_name("regtest").genesis_hash)
    rich = msgspec.structs.replace(template, coinbase_value_sat=template.coinbase_value_sat + 1)
    assert (await node.submit_block(mine_block(rich))).reason == "bad-cb-amount"
    orphan = msgspec.structs.replace(template, prev_hash=bytes(range(32)))
    assert (await node.submit_block(mine_block(orphan))).reason == "prev-blk-not-found"
    late = mine_block(template, ntime=template.time + 8_000)
    assert (await node.submit_block(late)).reason == "time-too-new"


async def test_of_two_blocks_ours_is_preferred_and_a_longer_chain_wins(node: CoreNode, core: Core) -> None:
    fork = await template_on(node, network_from_name("regtest").genesis_hash)
    theirs, ours = mine_block(fork, extranonce=1), mine_block(fork, extranonce=2)
    client = core.client()
    try:
        assert await client.call("submitblock", [theirs.hex()], kind=object) is None
        # The node says "inconclusive"; asked to prefer ours, it takes it.
        assert await node.submit_block(ours) == SubmitOutcome(accepted=True, reason="inconclusive")
        assert await node.confirmations(hash_of(theirs)) is None
        longer = msgspec.structs.replace(fork, prev_hash=hash_of(theirs), height=2, time=fork.time + 1)
        winner = mine_block(longer)
        assert await client.call("submitblock", [winner.hex()], kind=object) is None
    finally:
        await client.close()
    assert await node.confirmations(hash_of(ours)) is None
    assert (await template_on(node, hash_of(winner))).height == 3


async def test_a_block_of_somebody_else_arrives_by_long_poll(node: CoreNode, core: Core) -> None:
    template = await template_on(node, network_from_name("regtest").genesis_hash)
    block = mine_block(template)
    client = core.client()
    try:
        assert await client.call("submitblock", [block.hex()], kind=object) is None
        assert (await template_on(node, hash_of(block))).height == 2
        assert await client.call("getbestblockhash", kind=str) == hash_to_hex(hash_of(block))
    finally:
        await client.close()
