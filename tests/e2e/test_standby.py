"""The hall does not depend on one Hashwerk: slot 1 is this mine, slot 2 a standby, slot 3 the pool itself.

An unmodified Stratum client of another process holds the three slots, as a machine's firmware does. When the first goes the
standby serves it, when both are gone the pool itself does; the pool sees the same worker all the while.
"""

from __future__ import annotations

import asyncio
import sys
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager

from support.hall import Hall, hall
from support.upstream import ScriptedPool, scripted_pool

#: A million hashes a share: several a second, even on a slow machine at low priority.
DIFFICULTY = 2.0**-12
DEADLINE_S = 60.0
EASY = {"start_difficulty": DIFFICULTY, "min_difficulty": DIFFICULTY}


@asynccontextmanager
async def miner(*urls: str) -> AsyncIterator[asyncio.subprocess.Process]:
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "hashwerk", "mine", *urls, "-u", "acct.rig7", "--threads", "1", "--json"),
        stdout=asyncio.subprocess.DEVNULL,
        stderr=asyncio.subprocess.DEVNULL,
    )
    try:
        yield process
    finally:
        process.terminate()
        await process.wait()


def url(address: tuple[str, int]) -> str:
    return f"stratum+tcp://{address[0]}:{address[1]}"


async def test_the_standby_takes_over_with_the_same_worker_and_then_the_pool_itself() -> None:
    def named(pool: ScriptedPool) -> int:
        return pool.taken["acct.rig7"]

    async with (
        scripted_pool(name="pool", difficulty=DIFFICULTY) as pool,
        AsyncExitStack() as second,
        AsyncExitStack() as first,
    ):
        here: Hall = await first.enter_async_context(hall(pool, **EASY))
        standby: Hall = await second.enter_async_context(hall(pool, **EASY))
        await here.ready()
        await standby.ready()
        async with miner(url(here.address), url(standby.address), pool.url):
            await pool.until(lambda pool: named(pool) >= 2, DEADLINE_S)
            assert here.met >= 2
            assert standby.met == 0
            await first.aclose()
            before = named(pool)
            await pool.until(lambda pool: named(pool) >= before + 2, DEADLINE_S)
            assert standby.met >= 2
            await second.aclose()
            before = named(pool)
            await pool.until(lambda pool: named(pool) >= before + 2, DEADLINE_S)
        # Each share is in the pool once, whoever handed it in. The first of a server asks for the name, and goes in as the
        # account's.
        assert not pool.violations
        assert set(pool.taken) <= {"acct", "acct.rig7"}
        keys = [share.hash_key for share in pool.shares]
        assert len(keys) == len(set(keys))
