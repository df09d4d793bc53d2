"""Unmodified third-party miners against our server: their shares are accepted, by their own account and by ours."""

from __future__ import annotations

import asyncio
import os
import re
import shutil
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import msgspec
import pytest

from support.pool import running_pool

SHARES = 5
DEADLINE_S = 90.0


class ThirdPartyMiner(msgspec.Struct, frozen=True):
    """How a miner is started and how it says that a share was accepted."""

    name: str
    program: str  # on the PATH
    environment: str  # or where this variable says
    arguments: tuple[str, ...]
    accepted: str  # in its output


MINERS = (
    ThirdPartyMiner(
        "pooler's cpuminer",
        "minerd",
        "HASHWERK_MINERD",
        ("-a", "sha256d", "-t", "1", "-o", "{url}", "-u", "account.minerd", "-p", "x"),
        r"accepted: (\d+)/\d+ \(100\.00%\)",
    ),
    ThirdPartyMiner(
        "cpuminer-opt",
        "cpuminer",
        "HASHWERK_CPUMINER",
        ("-a", "sha256d", "-t", "1", "--no-color", "-o", "{url}", "-u", "account.cpuminer", "-p", "x"),
        r"(?i)accepted (\d+)",
    ),
    ThirdPartyMiner(
        "bfgminer",
        "bfgminer",
        "HASHWERK_BFGMINER",
        ("-S", "cpu:auto", "-t", "1", "-T", "-o", "{url}", "-u", "account.bfgminer", "-p", "x"),
        r"(?i)accepted",
    ),
    ThirdPartyMiner(
        "cgminer",
        "cgminer",
        "HASHWERK_CGMINER",
        ("-T", "-o", "{url}", "-u", "account.cgminer", "-p", "x"),
        r"(?i)accepted",
    ),
)


def program_of(miner: ThirdPartyMiner) -> str:
    """Return the miner's program; skip loudly where there is none."""
    found = os.environ.get(miner.environment) or shutil.which(miner.program)
    if found is None:
        pytest.skip(f"NOT TESTED: no {miner.program} on the PATH and no ${miner.environment}")
    return found


@asynccontextmanager
async def running_miner(
    miner: ThirdPartyMiner, url: str, log: Path
) -> AsyncIterator[asyncio.subprocess.Process]:
    """Run the miner against a server; it is ended afterwards whatever happens."""
    arguments = [argument.format(url=url) for argument in miner.arguments]
    with log.open("wb") as output:
        process = await asyncio.create_subprocess_exec(
            program_of(miner), *arguments, stdout=output, stderr=asyncio.subprocess.STDOUT
        )
    try:
        yield process
    finally:
        if process.returncode is None:
            process.terminate()
            try:
                async with asyncio.timeout(5):
                    await process.wait()
            except TimeoutError:
                process.kill()
                await process.wait()


@pytest.mark.parametrize("miner", MINERS, ids=lambda miner: miner.program)
async def test_its_shares_are_accepted(miner: ThirdPartyMiner, tmp_path: Path) -> None:
    program_of(miner)
    log = tmp_path / "miner.log"
    # About four million hashes a share: less than a second of the slowest of them.
    async with running_pool(tmp_path, start_difficulty=2.0**-10) as pool:
        async with running_miner(miner, pool.url, log):
            await pool.until(lambda pool: pool.accepted >= SHARES, DEADLINE_S)
            # A new job while it mines: its shares of the job before still count.
            template = await pool.node.template()
            await pool.server.use_template(template)
            before = pool.accepted
            await pool.until(lambda pool: pool.accepted >= before + SHARES, DEADLINE_S)
        assert pool.rejected == {}
        workers = pool.server.statistics.workers()
        assert len(workers) == 1
    said = re.findall(miner.accepted, log.read_text(errors="replace"))
    assert len(said) >= SHARES, log.read_text(errors="replace")[-3000:]
