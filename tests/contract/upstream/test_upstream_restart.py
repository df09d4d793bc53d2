"""The server is killed, or comes back with other pools: whatever was on its way has a fate all the same."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from hashwerk.pool.server import StratumServer
from hashwerk.pool.upstream.settings import UpstreamSettings
from hashwerk.store import SqliteLedger
from hashwerk.work.fate import Fate
from support.fates import books
from support.machine import DIFFICULTY, STRATUM, Machine
from support.mine import RunningMine, running_mine
from support.stratum import FakeNode, make_template, serving
from support.upstream import ScriptedPool, scripted_pool

EASY = 2.0**-28
UNANSWERED = "we ended before the pool answered"


def write_site(path: Path, *pools: ScriptedPool) -> str:
    text = STRATUM
    for pool in pools:
        text += (
            f'\n[[upstream]]\nname = "{pool.name}"\nurl = "{pool.url}"\nuser = "acct"\n'
            "reply_timeout_s = 60\nretry_min_s = 0.1\nretry_max_s = 0.2\nreturn_after_s = 0.1\n"
        )
    path.write_text(text)
    return str(path)


async def back(mine: RunningMine, before: Machine) -> Machine:
    """Return a machine that resumes another's session as soon as the server listens again."""
    async with asyncio.timeout(30):
        while True:
            try:
                return await Machine.begin(mine.stratum, before.user, before.token)
            except OSError:
                await mine.status_or_none()


async def test_kill_9_while_shares_wait_for_the_pools_answer(tmp_path: Path) -> None:
    async with scripted_pool(difficulty=EASY, name="slow") as pool:
        site = write_site(tmp_path / "site.toml", pool)
        async with running_mine(tmp_path / "mine", site, "--no-miner") as mine:
            await pool.until(lambda pool: any(session.jobs for session in pool.sessions))
            machine = await Machine.begin(mine.stratum)
            for _ in range(20):
                assert await machine.answer(machine.find()) == 0
            await pool.until(lambda pool: len(pool.shares) >= 15)
            # The pool takes its time, and the server is killed meanwhile.
            pool.answer_after_s = 3_600
            sent = len(pool.messages)
            for _ in range(20):
                assert await machine.answer(machine.find()) == 0
            await pool.until(lambda pool: len(pool.messages) >= sent + 15)
            serve = mine.child("serve")
            serve.kill()
            await machine.lost()
            pool.answer_after_s = 0
            await mine.until(lambda _, pid=serve.pid: mine.has_other("serve", pid))
            # The machine comes back to its session, and work goes on.
            machine = await back(mine, machine)
            await machine.until(lambda: machine.job is not None and b"/slow/" in machine.job.coinbase1)
            for _ in range(20):
                assert await machine.answer(machine.find()) == 0
            machine.close()
    met, fates, words = books(tmp_path / "mine" / "data" / "testnet4" / "ledger.sqlite")
    assert len(met) > 50
    assert sorted(met["hash_key"].tolist()) == sorted(fates["hash_key"].tolist())
    lost = fates[fates["fate"] == Fate.LOST]
    assert len(lost) >= 15
    assert {words[reason] for reason in lost["reason"].tolist()} == {UNANSWERED}
    took = {share.hash_key for share in pool.accepted}
    accepted = set(fates[fates["fate"] == Fate.ACCEPTED]["hash_key"].tolist())
    assert accepted <= took
    assert pool.violations == []


@asynccontextmanager
async def process(folder: Path, *pools: ScriptedPool) -> AsyncIterator[StratumServer]:
    """Run a server with a ledger on disk, as a process of a mine does: with the jobs of the one before."""
    upstreams = tuple(
        UpstreamSettings(name=pool.name, url=pool.url, user="acct", return_after_s=0.1, retry_min_s=0.1)
        for pool in pools
    )
    ledger = SqliteLedger(folder / "ledger.sqlite", asyncio.get_running_loop())
    ledger.open()
    try:
        options = {"start_difficulty": DIFFICULTY, "min_difficulty": DIFFICULTY, "upstreams": upstreams}
        node = FakeNode()
        node.give(make_template(now=time.time()))
        async with serving(node, ledger, **options) as server:
            jobs = server.restorable(ledger.open_jobs())
            server.book.restore(jobs, ledger.shares_of_jobs({job.id for job in jobs}))
            yield server
    finally:
        ledger.close()


@pytest.mark.parametrize("left", ["the same", "another", "none"])
async def test_a_share_of_a_job_from_before_the_restart(tmp_path: Path, left: str) -> None:
    async with (
        scripted_pool(difficulty=EASY, name="old") as old,
        scripted_pool(difficulty=EASY, name="other") as other,
    ):
        async with process(tmp_path, old) as server:
            await old.until(lambda pool: any(session.jobs for session in pool.sessions))
            machine = await Machine.begin(address(server))
            assert await machine.answer(machine.find()) == 0
            late = [machine.find() for _ in range(20)]
            lines = [machine.line(share) for share in late]
        taken, connections = old.taken.total(), old.connections
        pools = {"the same": [old], "another": [other], "none": []}[left]
        async with process(tmp_path, *pools) as server:
            for pool in pools:
                before = connections if pool is old else 0
                await pool.until(lambda pool, n=before: pool.connections > n and pool.sessions[-1].jobs)
            again = await Machine.begin(address(server), machine.user, machine.token)
            again.under_way = machine.under_way
            for line in lines:
                again.write(line)
            await again.until(lambda: not again.under_way)
            again.close()
    # Whether or not they still count here: they could not go back over the connection their job came from.
    assert old.taken.total() == taken
    assert old.violations == other.violations == []
    met, fates, words = books(tmp_path / "ledger.sqlite")
    assert sorted(met["hash_key"].tolist()) == sorted(fates["hash_key"].tolist())
    assert all(words.get(reason) for reason in fates[fates["fate"] == Fate.LOST]["reason"].tolist())


def address(server: StratumServer) -> tuple[str, int]:
    host, _, port = server.urls["stratum"].partition("://")[2].rpartition(":")
    return host, int(port)
