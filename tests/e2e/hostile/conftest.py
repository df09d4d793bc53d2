"""One mine for all the strangers of a file."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio

from support.machine import Machine
from support.mine import running_mine
from support.strangers import SITE, HostileMine


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def hostile(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[HostileMine]:
    folder: Path = tmp_path_factory.mktemp("hostile")
    site = folder / "site.toml"
    site.write_text(SITE)
    async with running_mine(folder / "mine", str(site), "--no-miner") as mine:
        good = await Machine.begin(mine.stratum, "good.m1")
        yield HostileMine(mine, good, mine.child("serve"))
        good.close()
