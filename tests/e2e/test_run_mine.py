"""The whole mine, as a user meets it."""

import asyncio
import os
import signal
from pathlib import Path

import httpx
import psutil
import pytest

from support.mine import RunningMine, running_mine

pytestmark = pytest.mark.asyncio


async def test_one_command_mines_blocks(tmp_path: Path) -> None:
    # A fresh folder, one command.
    async with running_mine(tmp_path / "mine", "--miner-threads", "1") as mine:
        # Shares come in and blocks are accepted by the engine.
        status = await mine.until(lambda s: s["blocks"]["accepted"] >= 3 and s["shares"]["accepted"] >= 3)
        assert status["node"]["kind"] == "kernel"
        assert status["node"]["network"] == "regtest"
        assert status["node"]["height"] >= 3
        assert status["shares"]["rejected"] == 0
        async with httpx.AsyncClient(trust_env=False, base_url=mine.urls["web"]) as http:
            assert (await http.get("/healthz")).status_code == 200
            assert "hashwerk" in (await http.get("/metrics")).text
            assert (await http.get("/openapi.json")).status_code == 200
        # Ctrl-C ends it cleanly, and nothing of it is left.
        children = mine.children()
        assert len(children) == 3
        started = asyncio.get_running_loop().time()
        assert await mine.stop(signal.SIGINT) == 0
        assert asyncio.get_running_loop().time() - started < 5
        assert not psutil.wait_procs(children, timeout=0.1)[1]


async def test_kill_9_loses_neither_share_nor_block(tmp_path: Path) -> None:
    folder = tmp_path / "mine"
    async with running_mine(folder, "--miner-threads", "1") as mine:
        before = await mine.until(lambda s: s["blocks"]["accepted"] >= 5)
        # The power goes: every process is killed at once.
        children = mine.children()
        for process in [psutil.Process(mine.pid), *children]:
            process.kill()
        psutil.wait_procs(children, timeout=5)
        assert mine.process is not None
        await mine.process.wait()
    async with running_mine(folder, "--no-miner") as mine:
        after = await mine.until(lambda s: s["node"]["height"] > 0)
        assert after["node"]["height"] >= before["node"]["height"]
        assert after["shares"]["accepted"] >= before["shares"]["accepted"]
        assert after["blocks"]["accepted"] >= before["blocks"]["accepted"]


@pytest.mark.parametrize("victim", ["serve", "site", "mine"])
async def test_a_killed_process_comes_back_and_the_others_go_on(tmp_path: Path, victim: str) -> None:
    async with running_mine(tmp_path / "mine", "--miner-threads", "1") as mine:
        before = await mine.until(lambda s: s["shares"]["accepted"] >= 2)
        others = {name: mine.child(name).pid for name in ("serve", "site", "mine") if name != victim}
        old = mine.child(victim)
        old.kill()
        after = await mine.until(
            lambda s: s["shares"]["accepted"] > before["shares"]["accepted"] + 2, within_s=45
        )
        assert {name: mine.child(name).pid for name in others} == others
        assert mine.child(victim).pid != old.pid
        assert after["node"]["height"] >= before["node"]["height"]


async def test_no_orphan_holds_a_port(tmp_path: Path) -> None:
    async with running_mine(tmp_path / "mine", "--no-miner") as mine:
        children = mine.children()
        assert len(children) == 2
        # The supervisor dies without a word; its children notice and end.
        os.kill(mine.pid, signal.SIGKILL)
        _, alive = psutil.wait_procs(children, timeout=6)
        assert alive == []


async def test_a_second_mine_on_the_same_folder_is_refused(tmp_path: Path) -> None:
    async with running_mine(tmp_path / "mine", "--no-miner"):
        with pytest.raises(AssertionError, match="in use by another mine"):
            async with running_mine(tmp_path / "mine", "--no-miner"):
                pass


async def test_a_taken_port_is_named(tmp_path: Path) -> None:
    server = await asyncio.start_server(lambda _reader, writer: writer.close(), "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    try:
        with pytest.raises(AssertionError, match=str(port)):
            async with RunningMine(
                tmp_path / "mine", "--no-miner", "--network", "regtest", "--stratum", f"127.0.0.1:{port}"
            ):
                pass
    finally:
        server.close()
