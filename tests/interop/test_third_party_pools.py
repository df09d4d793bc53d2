"""Our miner against an unmodified third-party pool: ckpool, on the embedded node.

ckpool's smallest difficulty is 1, about 4.3 billion hashes, so this takes a minute where there is a ckpool.
"""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from hashwerk.chain.network import network_from_name
from hashwerk.client.miner import run_miner
from hashwerk.client.statistics import MinerStats
from hashwerk.clock import SystemClock
from hashwerk.node.kernel import KernelNode
from hashwerk.node.regtest import mine_block
from hashwerk.node.rpc_methods import MethodError, RpcMethods
from hashwerk.work.kernel import Scanner

CKPOOL = os.environ.get("HASHWERK_CKPOOL") or shutil.which("ckpool")
ADDRESS = "bcrt1qw508d6qejxtdg4y5r3zarvary0c5xw7kygt080"  # BIP-0173's example key on regtest
DEADLINE_S = 300.0

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(CKPOOL is None, reason="NOT TESTED: no ckpool on the PATH and no $HASHWERK_CKPOOL"),
]


class CoreForCkpool:
    """Core's RPC as ckpool speaks it: bare line feeds, a line feed after the answer, two more methods.

    Some of ckpool's branches leave out the segwit rule, and ask to decode a transaction only to see an answer.
    """

    def __init__(self, methods: RpcMethods) -> None:
        self._methods = methods

    async def answer(self, method: str, params: Any) -> Any:
        """Return the result of one call."""
        if method == "decoderawtransaction":
            return {"txid": "00" * 32}
        if method == "getblocktemplate":
            params = [{"rules": ["segwit"]} | (params[0] if params else {})]
        return await self._methods.call(method, params or [])

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Answer one connection until it ends."""
        try:
            while line := await reader.readline():
                length = 0
                while line.strip():
                    if line.lower().startswith(b"content-length:"):
                        length = int(line.split(b":")[1])
                    line = await reader.readline()
                request = json.loads(await reader.readexactly(length))
                try:
                    result = await self.answer(request["method"], request.get("params"))
                    answer: dict[str, Any] = {"result": result, "error": None}
                except MethodError as error:
                    answer = {"result": None, "error": {"code": error.code, "message": error.message}}
                body = json.dumps(answer | {"id": request.get("id")}).encode() + b"\n"
                status = "500 Internal Server Error" if answer["error"] else "200 OK"
                writer.write(f"HTTP/1.1 {status}\r\nContent-Length: {len(body)}\r\n\r\n".encode() + body)
                await writer.drain()
        except (ConnectionError, asyncio.IncompleteReadError):
            pass  # ckpool left
        finally:
            writer.close()


def free_port() -> int:
    # ckpool takes a port above 4000 for one of machines that want a million times the difficulty.
    for port in range(3400, 3999):
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) != 0:
                return port
    raise AssertionError("no free port below 4000")


@asynccontextmanager
async def running_ckpool(folder: Path, rpc_port: int) -> AsyncIterator[str]:
    """Run ckpool in solo mode; yields its address."""
    assert CKPOOL is not None
    port = free_port()
    config = {
        "btcd": [{"url": f"127.0.0.1:{rpc_port}", "auth": "user", "pass": "pass", "notify": False}],
        "blockpoll": 100,
        "mindiff": 1,
        "startdiff": 1,
        "serverurl": [f"127.0.0.1:{port}"],
        "logdir": str(folder / "logs"),
    }
    (folder / "ckpool.conf").write_text(json.dumps(config))
    (folder / "logs").mkdir()
    with (folder / "ckpool.log").open("wb") as log:
        process = await asyncio.create_subprocess_exec(
            CKPOOL, "-B", "-c", "ckpool.conf", "-s", str(folder / "s"), "-n", "hw",
            cwd=folder, stdin=asyncio.subprocess.DEVNULL, stdout=log, stderr=log,
        )  # fmt: skip
    try:
        yield f"stratum+tcp://127.0.0.1:{port}"
    finally:
        if process.returncode is None:
            process.terminate()
        await process.wait()


async def test_ckpool_accepts_our_shares_and_the_engine_its_block(tmp_path: Path) -> None:
    clock = SystemClock()
    node = KernelNode(tmp_path / "chain", clock=clock, network="regtest")
    await node.start()
    try:
        # ckpool writes heights up to 16 in a form that consensus refuses, so it begins above.
        for number in range(17):
            outcome = await node.submit_block(mine_block(await node.template(), extranonce=number))
            assert outcome.accepted, outcome
        core = CoreForCkpool(RpcMethods(node, network_from_name("regtest"), clock))
        rpc = await asyncio.start_server(core.serve, "127.0.0.1", 0)
        stop = asyncio.Event()
        reports: list[MinerStats] = []
        async with rpc, running_ckpool(tmp_path, rpc.sockets[0].getsockname()[1]) as url:
            mining = asyncio.create_task(
                run_miner(
                    [url],
                    f"{ADDRESS}.rig",
                    threads=os.cpu_count() or 1,
                    scanner=Scanner(),
                    stop=stop,
                    on_stats=reports.append,
                )
            )
            async with asyncio.timeout(DEADLINE_S):
                while not (reports and reports[-1].accepted >= 1 and node.status().height >= 18):
                    assert not mining.done(), mining
                    await asyncio.sleep(0.1)
            stop.set()
            stats = await mining
        assert stats.difficulty == 1
        assert stats.rejected == {}
    finally:
        await node.close()
