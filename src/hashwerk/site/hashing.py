"""The `mine` process: the reference miner working for this mine, at low priority."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
from typing import Final

from hashwerk.client.miner import run_miner
from hashwerk.site.child import Progress, Ready, tell
from hashwerk.site.orders import Orders
from hashwerk.work.kernel import Scanner

log = logging.getLogger(__name__)

NICENESS: Final = 10


def lower_priority(step: int) -> None:
    """Let other processes go first; where the system does not allow it the work goes on at its own priority."""
    with contextlib.suppress(OSError):
        os.nice(step)


def default_threads() -> int:
    """Return all cores this process may use but one, and at least one."""
    usable = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return max(1, usable - 1)


async def hash_for_mine(orders: Orders, stop: asyncio.Event) -> None:
    """Hash until ``stop`` is set.

    Raises:
        ClientError: If the orders name no server.
    """
    settings = orders.config.miner
    lower_priority(NICENESS)
    threads = settings.threads or default_threads()
    tell(Progress("compiling the hashing kernel for this processor"))
    scanner = await asyncio.to_thread(Scanner)
    tell(Ready())
    assert orders.stratum_url is not None, "serve is ready before mine is started"
    stats = await run_miner(
        [orders.stratum_url],
        settings.user,
        threads=threads,
        scanner=scanner,
        duty=settings.duty,
        niceness=None,
        stop=stop,
    )
    log.info("hashed %d times", stats.hashes)
