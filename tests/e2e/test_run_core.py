"""A mine on Bitcoin Core's RPC: the in-tree server of it, on the embedded engine."""

import asyncio
import signal
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from support.mine import free_port, running_mine

ADDRESS = "bcrt1qw508d6qejxtdg4y5r3zarvary0c5xw7kygt080"


@asynccontextmanager
async def core(folder: Path, port: int) -> AsyncIterator[asyncio.subprocess.Process]:
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "hashwerk.node.rpc_server", "--folder", str(folder), "--port", str(port),
        "--network", "regtest", stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.DEVNULL,
    )  # fmt: skip
    try:
        assert process.stdout is not None
        async with asyncio.timeout(20):
            assert await process.stdout.readline()
        yield process
    finally:
        if process.returncode is None:
            process.kill()
        await process.communicate()


async def test_mines_on_core_and_survives_its_absence(tmp_path: Path) -> None:
    port = free_port()
    site = tmp_path / "site.toml"
    site.write_text(
        f"""
        [site]
        payout_address = "{ADDRESS}"
        [node]
        kind = "core"
        network = "regtest"
        [node.core]
        urls = ["http://127.0.0.1:{port}"]
        cookie_file = "{tmp_path / "core" / "regtest" / ".cookie"}"
        retry_s = 0.2
        """
    )
    async with (
        core(tmp_path / "core", port) as process,
        running_mine(tmp_path / "mine", str(site), "--miner-threads", "1") as mine,
    ):
        # Blocks go to the node and are accepted.
        status = await mine.until(lambda s: s["blocks"]["accepted"] >= 2)
        assert status["node"]["kind"] == "core"
        # The node is killed: the page says so, the machines keep their work.
        process.send_signal(signal.SIGKILL)
        await process.wait()
        status = await mine.until(lambda s: not s["node"]["healthy"])
        assert status["node"]["message"]
        shares = status["shares"]["accepted"]
        await mine.until(lambda s: s["shares"]["accepted"] > shares)
        # It comes back, and everything goes on by itself.
        async with core(tmp_path / "core", port):
            status = await mine.until(lambda s: s["node"]["healthy"])
            blocks = status["blocks"]["accepted"]
            await mine.until(lambda s: s["blocks"]["accepted"] > blocks)


async def test_main_without_a_payout_address_is_refused(tmp_path: Path) -> None:
    with pytest.raises(AssertionError, match="payout_address"):
        async with running_mine(tmp_path / "mine", "--node", "http://127.0.0.1:1", "--network", "main"):
            pass


async def test_the_embedded_node_refuses_main(tmp_path: Path) -> None:
    with pytest.raises(AssertionError, match="private chain"):
        async with running_mine(tmp_path / "mine", "--network", "main"):
            pass
