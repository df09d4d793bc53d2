"""What only the embedded node does: it survives kill -9, damage and full disks; its chain is private."""

from __future__ import annotations

import asyncio
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import msgspec
import pytest

from hashwerk.chain.header import BlockHeader, double_sha256, hash_to_hex
from hashwerk.chain.nbits import next_nbits
from hashwerk.chain.network import network_from_name
from hashwerk.errors import ConfigError, NodeError, StoreFullError
from hashwerk.node.block_store import BlockStore
from hashwerk.node.engine import block_problem, decode_block
from hashwerk.node.kernel import KernelNode
from hashwerk.node.private_template import private_template
from hashwerk.node.regtest import mine_block
from hashwerk.node.settings import KernelSettings
from hashwerk.stratum.ports import SubmitOutcome

MINE_FOREVER = """
import asyncio, sys
from pathlib import Path
from hashwerk.chain.header import hash_to_hex
from hashwerk.node.kernel import KernelNode
from hashwerk.node.private_template import private_template
from hashwerk.node.regtest import mine_block

async def main():
    node = KernelNode(Path(sys.argv[1]), network="regtest")
    await node.start()
    async for template in node.templates():
        outcome = await node.submit_block(mine_block(template))
        assert outcome.accepted, outcome
        status = node.status()
        print(status.height, hash_to_hex(status.tip), flush=True)
        if status.height == 10:
            sys.stdin.read()  # alive, with the chain open, until killed

asyncio.run(main())
"""


def hash_of(block: bytes) -> bytes:
    return double_sha256(block[:80])


async def mine(node: KernelNode, count: int) -> bytes:
    block = b""
    for _ in range(count):
        block = mine_block(await node.template())
        outcome = await node.submit_block(block)
        assert outcome.accepted, outcome
    return hash_of(block)


def mine_ten_blocks_and_kill(folder: Path) -> str:
    """Return the tip another process had when it was killed, with the chain open."""
    program = [sys.executable, "-c", MINE_FOREVER, str(folder)]
    with subprocess.Popen(program, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as child:
        assert child.stdout is not None
        for line in child.stdout:
            height, tip = line.split()
            if height == "10":
                break
        child.send_signal(signal.SIGKILL)
    assert child.returncode == -signal.SIGKILL
    assert height == "10"
    return tip


async def test_kill_9_after_ten_blocks_finds_tip_and_height_unchanged(tmp_path: Path) -> None:
    tip = mine_ten_blocks_and_kill(tmp_path)
    node = KernelNode(tmp_path, network="regtest")
    await node.start()
    assert (node.status().height, hash_to_hex(node.status().tip)) == (10, tip)
    await mine(node, 1)
    assert node.status().height == 11
    await node.close()


async def test_blocks_beside_the_chain_come_back_in_the_same_order(tmp_path: Path) -> None:
    """Of two blocks of one height the first counts; after the engine lost all, it still must be the first."""
    node = KernelNode(tmp_path, network="regtest")
    await node.start()
    await mine(node, 3)
    fork = await node.template()
    rivals = [mine_block(fork, extranonce=number) for number in range(4)]
    outcomes = [await node.submit_block(rival) for rival in rivals]
    assert [outcome.reason for outcome in outcomes] == [None, *["inconclusive"] * 3]
    await node.close()
    shutil.rmtree(node.folder / "chainstate")
    node = KernelNode(tmp_path, network="regtest")
    await node.start()
    assert node.status().tip == hash_of(rivals[0])
    await node.close()


async def test_a_damaged_chainstate_is_put_aside_and_made_anew(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    node = KernelNode(tmp_path, network="regtest")
    await node.start()
    tip = await mine(node, 5)
    await node.close()
    for path in (node.folder / "chainstate" / "chainstate").iterdir():
        path.write_bytes(b"not a database")
    node = KernelNode(tmp_path, network="regtest")
    await node.start()
    assert (node.status().height, node.status().tip) == (5, tip)
    await node.close()
    assert "made anew" in caplog.text
    assert len(list(node.folder.glob("chainstate.damaged-*"))) == 1


async def test_an_older_chainstate_is_brought_up_to_the_found_blocks(tmp_path: Path) -> None:
    """Where a backup of the folder was taken while the mine ran, its two parts are of different ages."""
    node = KernelNode(tmp_path, network="regtest")
    await node.start()
    await mine(node, 5)
    await node.close()
    shutil.copytree(node.folder / "chainstate", tmp_path / "older")
    node = KernelNode(tmp_path, network="regtest")
    await node.start()
    tip = await mine(node, 5)
    await node.close()
    shutil.rmtree(node.folder / "chainstate")
    (tmp_path / "older").rename(node.folder / "chainstate")
    node = KernelNode(tmp_path, network="regtest")
    await node.start()
    assert (node.status().height, node.status().tip) == (10, tip)
    await node.close()


@pytest.mark.parametrize(
    ("network", "words"),
    [
        ("main", "point the mine at a Bitcoin Core node"),
        ("signet", "testnet4 or regtest"),
        ("moon", "unknown network"),
    ],
)
def test_other_networks_are_refused_with_the_reason(tmp_path: Path, network: str, words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        KernelNode(tmp_path, network=network)


async def test_each_network_has_a_folder_of_its_own(tmp_path: Path) -> None:
    regtest = KernelNode(tmp_path, network="regtest")
    await regtest.start()
    await mine(regtest, 2)
    testnet4 = KernelNode(tmp_path)
    await testnet4.start()
    status = testnet4.status()
    assert (status.network, status.height, status.tip) == (
        "testnet4",
        0,
        network_from_name("testnet4").genesis_hash,
    )
    template = await testnet4.template()
    assert (template.nbits, template.coinbase_value_sat) == (0x1D00FFFF, 50 * 10**8)
    await testnet4.close()
    await regtest.close()


async def test_what_has_cost_no_work_or_has_no_parent_is_not_stored(tmp_path: Path) -> None:
    node = KernelNode(tmp_path, network="regtest")
    await node.start()
    good = mine_block(await node.template())
    template = await node.template()
    orphan = mine_block(msgspec.structs.replace(template, prev_hash=bytes(range(32))))
    cut_root = good[:40] + bytes(4) + good[44:]
    for bad in (orphan, cut_root, good[:-1], good + b"\x00"):
        assert not (await node.submit_block(bad)).accepted
    for _ in range(3):
        await node.submit_block(good)
    await node.close()
    store = BlockStore(node.folder / "found-blocks.dat")
    assert list(store) == [good]
    store.close()


async def test_a_full_disk_accepts_nothing_that_is_not_stored(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    node = KernelNode(tmp_path, network="regtest")
    await node.start()
    block = mine_block(await node.template())

    def full(_store: BlockStore, _block: bytes) -> bool:
        raise StoreFullError("cannot write a found block: No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(BlockStore, "append", full)
        outcome = await node.submit_block(block)
    assert (outcome.accepted, outcome.reason) == (False, "not-stored")
    assert not node.status().healthy
    assert "No space left" in (node.status().message or "")
    assert node.status().height == 0
    assert (await node.submit_block(block)).accepted
    assert node.status().healthy
    await node.close()


def blocks_on_genesis(count: int) -> list[bytes]:
    """Mine a chain from nothing but our own templates, without asking the engine."""
    regtest = network_from_name("regtest")
    headers = [regtest.genesis]
    blocks = []
    now = time.time()
    for height in range(count):
        template = private_template(regtest, height, headers[-1].hash(), headers.__getitem__, now)
        blocks.append(mine_block(template))
        headers.append(BlockHeader.parse(blocks[-1][:80]))
    return blocks


@pytest.mark.slow
async def test_ten_thousand_blocks(tmp_path: Path) -> None:
    started_at = time.process_time()
    blocks = blocks_on_genesis(10_000)
    mined_at = time.process_time()
    node = KernelNode(tmp_path, network="regtest")
    await node.start()
    for first in range(0, len(blocks), 100):
        outcomes = await asyncio.gather(*(node.submit_block(block) for block in blocks[first : first + 100]))
        assert outcomes == [SubmitOutcome(accepted=True)] * 100
    await node.close()
    accepted_at = time.process_time()
    tip = hash_of(blocks[-1])
    node = KernelNode(tmp_path, network="regtest")
    await node.start()
    assert (node.status().height, node.status().tip) == (10_000, tip)
    await node.close()
    ended_at = time.process_time()
    # Most of it is a check of the whole block index after every block, which the engine makes on regtest only.
    print(
        f"CPU time: mined {mined_at - started_at:.1f} s, accepted {accepted_at - mined_at:.1f} s, "
        f"reopened {ended_at - accepted_at:.2f} s"
    )
    assert ended_at - started_at < 60


async def test_our_next_nbits_are_those_of_the_engine_for_every_block(tmp_path: Path) -> None:
    node = KernelNode(tmp_path, network="regtest")
    await node.start()
    await mine(node, 300)  # two retarget intervals of 144

    def compare(engine) -> int:  # type: ignore[no-untyped-def]
        regtest = network_from_name("regtest")
        for height in range(1, engine.height + 1):
            header = engine.header_at(height)
            assert header.nbits == next_nbits(regtest, height, engine.header_at, header.time)
        return engine.height

    assert await node.ask(compare) == 300
    await node.close()


async def test_the_loop_stays_free_while_the_engine_works(tmp_path: Path) -> None:
    node = KernelNode(tmp_path, network="regtest")
    await node.start()
    await mine(node, 500)
    await node.close()
    shutil.rmtree(node.folder / "chainstate")
    node = KernelNode(tmp_path, network="regtest")
    start = asyncio.ensure_future(node.start())
    turns = 0
    while not start.done():
        await asyncio.sleep(0)
        turns += 1
    await start
    assert turns > 50
    await node.close()


async def test_a_start_that_is_given_up_leaves_the_folder_free(tmp_path: Path) -> None:
    node = KernelNode(tmp_path, network="regtest")
    await node.start()
    tip = await mine(node, 300)
    await node.close()
    shutil.rmtree(node.folder / "chainstate")
    node = KernelNode(tmp_path, network="regtest")
    start = asyncio.ensure_future(node.start())
    await asyncio.sleep(0)
    start.cancel()
    with pytest.raises(asyncio.CancelledError):
        await start
    node = KernelNode(tmp_path, network="regtest")
    await node.start()
    assert (node.status().height, node.status().tip) == (300, tip)
    await node.close()


def test_a_block_is_recognised_whole_cut_or_with_a_tail(tmp_path: Path) -> None:
    async def one() -> bytes:
        node = KernelNode(tmp_path, KernelSettings(), network="regtest")
        await node.start()
        try:
            return mine_block(await node.template())
        finally:
            await node.close()

    block = asyncio.run(one())
    assert block_problem(block) is None
    assert decode_block(block) is not None
    assert all(block_problem(block[:end]) == "block-decode-failed" for end in range(len(block)))
    assert all(block_problem(block + bytes(more)) == "trailing-bytes" for more in (1, 2, 80, 500))


def mount_small_disk(folder: Path) -> bool:
    mount = ["mount", "-t", "tmpfs", "-o", "size=40m", "none", str(folder)]
    return subprocess.run(mount, check=False).returncode == 0


@pytest.mark.skipif(os.geteuid() != 0, reason="NOT TESTED: only root can make a small disk")
async def test_a_full_disk_at_the_start_is_named_and_nothing_is_moved(tmp_path: Path) -> None:
    if not mount_small_disk(tmp_path):
        pytest.skip("NOT TESTED: a small disk cannot be mounted here")
    try:
        node = KernelNode(tmp_path, network="regtest")
        with pytest.raises(NodeError, match="MiB are free"):
            await node.start()
        await node.close()
        assert not list(tmp_path.glob("*/chainstate.damaged-*"))  # noqa: ASYNC240
    finally:
        subprocess.run(["umount", "-l", str(tmp_path)], check=True)  # noqa: ASYNC221
