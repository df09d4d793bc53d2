"""A Stratum server in the test's own process that works for scripted pools, and looks at what it recorded."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from hashwerk.pool.server import StratumServer
from hashwerk.pool.upstream.settings import UpstreamSettings
from hashwerk.work.fate import Fate
from hashwerk.work.share import FLAG_BLOCK, Verdict
from support.machine import DIFFICULTY, Machine
from support.stratum import FakeNode, MemoryLedger, serving, until
from support.upstream import ScriptedPool

#: A pool at which every share of a machine counts, more or less.
EASY = DIFFICULTY
FAST = {"retry_min_s": 0.05, "retry_max_s": 0.1, "return_after_s": 0.3, "connect_timeout_s": 1.0}


class Hall:
    """A server that works for some pools, with its ledger."""

    def __init__(self, server: StratumServer, ledger: MemoryLedger) -> None:
        self.server = server
        self.ledger = ledger

    @property
    def address(self) -> tuple[str, int]:
        """Where machines connect."""
        host, _, port = self.server.urls["stratum"].partition("://")[2].rpartition(":")
        return host, int(port)

    @property
    def fates(self) -> list[Fate]:
        """All fates so far."""
        return [Fate(number) for part in self.ledger.fates for number in part["fate"].tolist()]

    @property
    def met(self) -> int:
        """How many accepted shares met the target of their job's pool."""
        return sum(
            int(((part["flags"] & FLAG_BLOCK != 0) & (part["verdict"] == Verdict.ACCEPTED)).sum())
            for part in self.ledger.shares
        )

    def said(self, words: str) -> bool:
        """Whether an event has these words."""
        return any(words in message for _, message in self.ledger.events)

    async def ready(self, count: int = 1) -> None:
        """Wait until so many pools give work."""
        assert self.server.upstreams is not None
        pools = self.server.upstreams.pools
        await until(lambda: sum(bool(pool.open_links) for pool in pools) >= count)


@asynccontextmanager
async def hall(
    *pools: ScriptedPool, accounts: dict[str, tuple[str, ...]] | None = None, **settings: Any
) -> AsyncIterator[Hall]:
    """Run a server that works for these pools, the first before the second; each for some accounts or for all."""
    served = accounts or {}
    upstreams = tuple(
        UpstreamSettings(
            name=pool.name,
            url=pool.url,
            user="acct",
            priority=number,
            accounts=served.get(pool.name, ()),
            **FAST,
        )
        for number, pool in enumerate(pools, start=1)
    )
    ledger = MemoryLedger()
    options = {"start_difficulty": DIFFICULTY, "min_difficulty": DIFFICULTY, **settings}
    async with serving(FakeNode(), ledger, upstreams=upstreams, **options) as server:
        yield Hall(server, ledger)


def works_for(machine: Machine, pool: ScriptedPool) -> bool:
    """Whether a machine's job is a pool's."""
    return machine.job is not None and f"/{pool.name}/".encode() in machine.job.coinbase1
