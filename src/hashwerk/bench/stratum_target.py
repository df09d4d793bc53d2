"""The server under test: the real Stratum server and the real ledger, in a process of its own.

Only the node is a stand-in: it gives templates on request and takes no blocks, for what is measured is the server.
"""

from __future__ import annotations

import asyncio
import json
import os
import resource
import sys
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import msgspec
import psutil  # type: ignore[import-untyped]
import uvloop

from hashwerk.chain.template import Template, TemplateTransaction
from hashwerk.clock import SystemClock
from hashwerk.pool.payees import Payees
from hashwerk.pool.server import StratumServer
from hashwerk.pool.settings import PoolSettings
from hashwerk.pool.upstream.settings import UpstreamSettings
from hashwerk.pool.warm_up import quiet_collector
from hashwerk.store import SqliteLedger
from hashwerk.stratum.ports import NodeStatus, SubmitOutcome
from hashwerk.stratum.v1.limits import SessionLimits

#: Every hash is a share: the generator need not search for them.
EVERY_HASH = 2.0**-32
_LAVISH = 1e12  # a load generator is what the limits are there to stop


class TemplateSource:
    """A `hashwerk.stratum.ports.Node` whose templates are made on request, of so many transactions."""

    def __init__(self, transactions: int) -> None:
        self._transactions = tuple(
            TemplateTransaction(data=bytes(250), txid=os.urandom(32), wtxid=os.urandom(32), weight=1000)
            for _ in range(transactions)
        )
        self._height = 0
        self._queue: asyncio.Queue[Template] = asyncio.Queue()
        self.next_block()

    def next_block(self) -> float:
        """Make a template on a new prevhash; return when, on the monotonic clock."""
        self._height += 1
        now = time.time()
        # Other transactions in every template, as on the real chain: nothing can be reused from the last one.
        self._transactions = self._transactions[1:] + self._transactions[:1]
        self._queue.put_nowait(
            Template(
                network="main",
                height=900_000 + self._height,
                version=0x20000000,
                prev_hash=os.urandom(32),
                nbits=0x17034219,
                time=int(now),
                min_time=int(now) - 3600,
                coinbase_value_sat=312_500_000,
                transactions=self._transactions,
                witness_commitment=bytes.fromhex("6a24aa21a9ed") + bytes(32),
                source="bench",
                received_at=now,
            )
        )
        return time.monotonic()

    async def start(self) -> None:
        """Nothing is opened."""

    async def templates(self) -> AsyncIterator[Template]:
        """Yield the templates made."""
        while True:
            yield await self._queue.get()

    async def submit_block(self, block: bytes) -> SubmitOutcome:
        """Take no block."""
        return SubmitOutcome(accepted=False, reason="bench")

    async def confirmations(self, block_hash: bytes) -> int | None:
        """No block is in the chain."""
        return None

    def status(self) -> NodeStatus:
        """Always well."""
        return NodeStatus(kind="bench", network="main", height=self._height, tip=bytes(32), healthy=True)

    async def close(self) -> None:
        """Nothing is held."""


class Usage(msgspec.Struct, frozen=True, kw_only=True):
    """What the server process has used so far."""

    cpu_s: float
    rss_bytes: int
    sessions: int
    accepted: int
    commit_ms_p50: float | None
    commit_ms_p99: float | None
    sync_ms_p50: float | None
    sync_ms_p99: float | None
    submit_ms_p50: float | None
    submit_ms_p99: float | None
    job_first_ms: float | None
    job_last_ms: float | None


async def _serve(folder: Path, transactions: int, upstreams: tuple[UpstreamSettings, ...]) -> None:
    loop, clock = asyncio.get_running_loop(), SystemClock()
    ledger = SqliteLedger(folder / "ledger.sqlite", loop, clock=clock)
    ledger.open()
    node = TemplateSource(transactions)
    settings = PoolSettings(
        port=0,
        vardiff=False,
        start_difficulty=EVERY_HASH,
        min_difficulty=EVERY_HASH,
        limits=SessionLimits(soft_cost=_LAVISH, hard_cost=_LAVISH),
    )
    server = StratumServer(
        settings, ledger, node, clock, site_key=bytes(32), payees=Payees(b"\x51" * 22), upstreams=upstreams
    )
    await server.start()
    run = asyncio.create_task(server.run())
    if server.upstreams is not None:
        await server.upstreams.first_work(10.0)
    quiet_collector()
    _say({"port": server.listeners[0].getsockname()[1]})
    reader = asyncio.StreamReader()
    await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)
    while line := await reader.readline():
        match json.loads(line)["do"]:
            case "block":
                _say({"at": node.next_block()})
            case "usage":
                _say(_usage(server, ledger))
    run.cancel()
    await asyncio.gather(run, return_exceptions=True)
    await server.close()
    ledger.close()


def _usage(server: StratumServer, ledger: SqliteLedger) -> Usage:
    used, status = resource.getrusage(resource.RUSAGE_SELF), ledger.status()
    now = time.monotonic()
    broadcast = server.statistics.last_broadcast
    return Usage(
        cpu_s=used.ru_utime + used.ru_stime,
        rss_bytes=psutil.Process().memory_info().rss,
        sessions=server.sessions,
        accepted=server.statistics.accepted,
        commit_ms_p50=status.commit_ms_p50,
        commit_ms_p99=status.commit_ms_p99,
        sync_ms_p50=status.sync_ms_p50,
        sync_ms_p99=status.sync_ms_p99,
        submit_ms_p50=server.statistics.submit_latency.quantile_ms(0.5, now),
        submit_ms_p99=server.statistics.submit_latency.quantile_ms(0.99, now),
        job_first_ms=broadcast.first_ms if broadcast else None,
        job_last_ms=broadcast.last_ms if broadcast else None,
    )


def _say(answer: Any) -> None:
    sys.stdout.buffer.write(msgspec.json.encode(answer) + b"\n")
    sys.stdout.buffer.flush()


def main() -> None:
    """Serve in the folder named on the command line until standard input ends; upstream pools as JSON, if any."""
    upstreams = msgspec.json.decode(
        sys.argv[3] if len(sys.argv) > 3 else "[]", type=tuple[UpstreamSettings, ...]
    )
    uvloop.run(_serve(Path(sys.argv[1]), int(sys.argv[2]), upstreams))


if __name__ == "__main__":
    main()
