"""A whole Stratum server in the test's own process: embedded node, ledger, server, on loopback and a free port."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from hashwerk.clock import SystemClock
from hashwerk.node.kernel import KernelNode
from hashwerk.node.regtest import ANYONE_CAN_SPEND
from hashwerk.pool.payees import Payees
from hashwerk.pool.server import StratumServer
from hashwerk.pool.settings import PoolSettings
from hashwerk.store.ledger import SqliteLedger


class RunningPool:
    """The parts of a running server."""

    def __init__(
        self, server: StratumServer, run: asyncio.Task[None], node: KernelNode, ledger: SqliteLedger
    ) -> None:
        self.server = server
        self._run = run
        self.node = node
        self.ledger = ledger

    @property
    def url(self) -> str:
        """Where miners connect."""
        return self.server.urls["stratum"]

    @property
    def accepted(self) -> int:
        """Accepted shares so far, every one of them on disk."""
        return self.server.statistics.accepted

    @property
    def rejected(self) -> dict[str, int]:
        """Rejected shares so far by reason."""
        return self.server.statistics.rejected

    async def until(self, condition: Callable[[RunningPool], bool], deadline_s: float = 30.0) -> None:
        """Wait until a condition holds.

        Raises:
            AssertionError: If it does not within the deadline.
        """
        try:
            async with asyncio.timeout(deadline_s):
                while not condition(self):
                    assert not self._run.done(), f"the server ended by itself: {self._run}"
                    await asyncio.sleep(0.01)
        except TimeoutError:
            raise AssertionError(
                f"not within {deadline_s} s; accepted {self.accepted}, rejected {self.rejected}, "
                f"sessions {self.server.sessions}, dropped {self.server.statistics.sessions_dropped}"
            ) from None


@asynccontextmanager
async def running_pool(
    folder: Path, *, network: str = "testnet4", **settings: Any
) -> AsyncIterator[RunningPool]:
    """Run a server; ``settings`` are those of `PoolSettings`.

    On testnet4 a share at the usual test difficulties is hardly ever a block; on regtest every second hash is.
    """
    clock = SystemClock()
    loop = asyncio.get_running_loop()
    node = KernelNode(folder / "chain", clock=clock, network=network)
    ledger = SqliteLedger(folder / "ledger.sqlite", loop, clock=clock)
    await node.start()
    try:
        ledger.open()
        try:
            server = StratumServer(
                PoolSettings(**{"port": 0, "vardiff": False} | settings),
                ledger,
                node,
                clock,
                site_key=bytes(32),
                payees=Payees(ANYONE_CAN_SPEND),
                private_chain=True,
            )
            await server.start()
            run = asyncio.create_task(server.run())
            try:
                yield RunningPool(server, run, node, ledger)
            finally:
                run.cancel()
                await asyncio.gather(run, return_exceptions=True)
                await server.close()
        finally:
            ledger.close()
    finally:
        await node.close()
