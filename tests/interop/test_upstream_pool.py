"""An unmodified third-party pool as an operator meets it: `hashwerk mine` works for it, and its books are compared with ours.

The pool is ckpool, on the RPC that the embedded node serves. ckpool's smallest difficulty is 1, about 4.3 billion hashes, and
it writes its books once a minute, so this takes some minutes where there is a ckpool: on the PATH, or at $HASHWERK_CKPOOL.
"""

from __future__ import annotations

import asyncio
import contextlib
import datetime as dt
import json
import os
import shutil
import signal
import socket
import sys
import time
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from hashwerk.chain.network import network_from_name
from hashwerk.clock import SystemClock
from hashwerk.economics.books import day_books, worker_books
from hashwerk.economics.ports import CreditedDay, CreditedWorker, ProvedWork, ShareSum, day_of, day_window
from hashwerk.economics.reconcile import Verdict, reconcile
from hashwerk.economics.schemes import Scheme, Terms
from hashwerk.node import rpc_server
from hashwerk.node.kernel import KernelNode
from hashwerk.node.regtest import mine_block
from hashwerk.node.rpc_methods import RpcMethods
from support.mine import running_mine

CKPOOL = os.environ.get("HASHWERK_CKPOOL") or shutil.which("ckpool")
MINERD = os.environ.get("HASHWERK_MINERD") or shutil.which("minerd")
ADDRESS = "bcrt1qw508d6qejxtdg4y5r3zarvary0c5xw7kygt080"  # BIP-0173's example key on regtest
DEADLINE_S = 420.0

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(CKPOOL is None, reason="NOT TESTED: no ckpool on the PATH and no $HASHWERK_CKPOOL"),
]


class CkpoolsMethods:
    """The node's methods as ckpool asks for them: some of its branches leave out the segwit rule, and one method is its own."""

    def __init__(self, methods: RpcMethods) -> None:
        self._methods = methods

    async def call(self, method: str, params: list[Any]) -> object:
        """Return the result of a method."""
        if method == "decoderawtransaction":
            return {"txid": "00" * 32}  # only asked to see whether the node answers
        if method == "getblocktemplate":
            params = [{"rules": ["segwit"]} | (params[0] if params else {})]
        return await self._methods.call(method, params)


@asynccontextmanager
async def running_node(folder: Path) -> AsyncIterator[int]:
    """Run a regtest node above height 16, below which ckpool writes heights that consensus refuses; yield its RPC port."""
    clock = SystemClock()
    node = KernelNode(folder / "chain", clock=clock, network="regtest")
    await node.start()
    try:
        for number in range(17):
            outcome = await node.submit_block(mine_block(await node.template(), extranonce=number))
            assert outcome.accepted, outcome
        methods = CkpoolsMethods(RpcMethods(node, network_from_name("regtest"), clock))
        rpc = rpc_server.RpcServer(methods, cookie_file=folder / ".cookie", user="ckpool", password="secret")
        port = await rpc.start()
        try:
            yield port
        finally:
            await rpc.close()
    finally:
        await node.close()


@asynccontextmanager
async def running_ckpool(folder: Path, rpc_port: int) -> AsyncIterator[str]:
    """Run ckpool in solo mode; yield its address."""
    assert CKPOOL is not None
    port = next(port for port in range(3400, 3999) if _is_free(port))  # above 4000 it wants huge difficulties
    config = {
        "btcd": [
            {"url": f"127.0.0.1:{rpc_port}", "auth": "ckpool", "pass": "secret", "notify": False},
        ],
        "blockpoll": 500,
        "mindiff": 1,
        "startdiff": 1,
        "maxdiff": 1,
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


def _is_free(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) != 0


async def mine_until(url: str, accepted: int) -> dict[str, Any]:
    """Run `hashwerk mine` until so many shares are accepted, end it, and return its summary."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "hashwerk", "mine", url, "-u", f"{ADDRESS}.rig", "--json"),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    assert process.stdout is not None
    assert process.stderr is not None
    last: dict[str, Any] = {}
    try:
        async with asyncio.timeout(DEADLINE_S):
            while last.get("accepted", 0) < accepted:
                line = await process.stdout.readline()
                assert line, (await process.stderr.read()).decode()
                last = json.loads(line)
            process.send_signal(signal.SIGTERM)
            for line in (await process.stdout.read()).splitlines():
                last = json.loads(line)
            assert await process.wait() == 0
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    return last


async def eventually(read: Callable[[], Any], what: str) -> Any:
    """Return the first answer that is not None."""
    deadline = time.monotonic() + DEADLINE_S
    while (value := read()) is None:
        assert time.monotonic() < deadline, f"no {what} within {DEADLINE_S:.0f} s"
        await asyncio.sleep(0.2)
    return value


class OneMiner:
    """The ledger's side of a miner that worked from one moment to another."""

    def __init__(self, start: float, end: float, work: ProvedWork) -> None:
        self._start, self._end, self._work = start, end, work

    def proved(self, upstream: str, start: int, end: int) -> Sequence[ProvedWork]:
        """Return the work if it lies inside; the test runs far from midnight or in one piece."""
        return [self._work] if start <= self._start and self._end <= end else []


async def test_what_a_pool_accepts_from_hashwerk_mine_is_in_its_books(tmp_path: Path) -> None:
    async with running_node(tmp_path) as rpc_port, running_ckpool(tmp_path, rpc_port) as url:
        started = time.time()
        summary = await mine_until(url, accepted=1)
        ended = time.time()
        assert summary["rejected"] == {}
        accepted = ShareSum(
            summary["accepted"], Decimal(summary["accepted_work"]) / 2**32
        )  # each at difficulty 1
        assert accepted.difficulty == summary["accepted"]

        def book() -> dict[str, Any] | None:
            path = tmp_path / "logs" / "users" / ADDRESS
            with contextlib.suppress(FileNotFoundError, json.JSONDecodeError):  # it may be half written
                user: dict[str, Any] = json.loads(path.read_text())
                return user if user.get("shares", 0) >= summary["accepted"] else None
            return None

        user = await eventually(book, "entry in ckpool's books")
    day = day_of(started, 0)
    if day_of(ended, 0) != day:
        pytest.skip("NOT TESTED: midnight came in between")
    start, end = day_window(day, 0)
    lost = ShareSum(summary["unknown"], Decimal(summary["unknown"]))
    ledger = OneMiner(started, ended, ProvedWork(worker="rig", accepted=accepted, lost=lost))
    [rig] = user["worker"]
    books = day_books(
        ledger,
        "ckpool",
        first=day,
        last=day,
        credited=[CreditedDay(day=day, difficulty=Decimal(user["shares"]))],
        payouts=None,
        network_of=lambda start, end: (),
        day_start_s=0,
        boundary_s=0,
    )
    names = [
        CreditedWorker(
            worker=rig["workername"].partition(".")[2],
            start=start,
            end=end,
            difficulty=Decimal(rig["shares"]),
        )
    ]
    result = reconcile(Terms(scheme=Scheme.SOLO), books, worker_books(ledger, "ckpool", names, boundary_s=0))
    assert result.verdict is Verdict.AGREES, result
    assert result.days[0].name == dt.datetime.fromtimestamp(started, dt.UTC).date().isoformat()
    [line] = result.workers
    assert (line.name, line.findings) == ("rig", ()) or lost.shares


async def test_ckpool_behind_hashwerk(tmp_path: Path) -> None:
    """Machines at Hashwerk, which works for ckpool: a third-party miner where there is one, else our own."""
    async with running_node(tmp_path) as rpc_port, running_ckpool(tmp_path, rpc_port) as url:
        site = tmp_path / "site.toml"
        site.write_text(f'[[upstream]]\nname = "ckpool"\nurl = "{url}"\nuser = "{ADDRESS}"\n')
        async with running_mine(tmp_path / "mine", str(site), "--no-miner") as mine:
            host, port = mine.stratum
            lower = f"stratum+tcp://{host}:{port}"
            own = [sys.executable, "-m", "hashwerk", "mine", lower, "-u", "hall.rig"]
            minerd = [MINERD or "", "-a", "sha256d", "-t", "2", "-o", lower, "-u", "hall.rig", "-p", "x"]
            process = await asyncio.create_subprocess_exec(
                *(minerd if MINERD else own),
                stdout=asyncio.subprocess.DEVNULL,
                stderr=asyncio.subprocess.DEVNULL,
            )
            try:
                status = await mine.until(
                    lambda found: found["upstreams"][0]["accepted"] >= 1, within_s=DEADLINE_S
                )
            finally:
                process.terminate()
                await process.wait()
        (pool,) = status["upstreams"]
        assert pool["rejected"] == {}
        assert pool["lost"] == 0
        assert status["shares"]["accepted"] > pool["accepted"]  # our own difficulty is far below ckpool's

        def book() -> dict[str, Any] | None:
            path = tmp_path / "logs" / "users" / ADDRESS
            with contextlib.suppress(FileNotFoundError, json.JSONDecodeError):  # it may be half written
                user: dict[str, Any] = json.loads(path.read_text())
                return user if user.get("shares", 0) >= pool["accepted"] else None
            return None

        assert (await eventually(book, "entry in ckpool's books"))["shares"] >= 1
