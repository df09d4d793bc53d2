"""A new version while machines work: nobody is disconnected, no share is lost."""

import asyncio
import os
import signal
import time
from pathlib import Path

from hashwerk.work.fate import Fate
from support.fates import books
from support.machine import DIFFICULTY, STRATUM, Machine
from support.mine import running_mine
from support.stratum import Peer
from support.upstream import ScriptedPool


async def test_an_upgrade_costs_no_connection_and_no_share(tmp_path: Path) -> None:
    site = tmp_path / "site.toml"
    site.write_text("[stratum]\nstart_difficulty = 1e-10\nmin_difficulty = 1e-10\nvardiff = false\n")
    async with running_mine(tmp_path / "mine", str(site), "--no-miner") as mine:
        before = mine.child("serve").pid
        # Machines are at work.
        peers = [await Peer.connect(mine.urls["stratum"]) for _ in range(5)]
        for number, peer in enumerate(peers):
            await peer.begin(f"acc.m{number}")
        accepted = [0] * len(peers)
        gaps: list[float] = []
        over = asyncio.Event()

        async def work(number: int) -> None:
            while not over.is_set():
                started = time.monotonic()
                answer = await peers[number].submit(accepted[number])
                gaps.append(time.monotonic() - started)
                assert answer is True
                accepted[number] += 1

        tasks = [asyncio.create_task(work(number)) for number in range(len(peers))]
        # The operator asks for the new version.
        os.kill(mine.pid, signal.SIGHUP)
        await mine.until(lambda _: all(not t.done() for t in tasks) and mine.has_other("serve", before))
        counted = sum(accepted)
        await mine.until(lambda _: sum(accepted) > counted + 50)
        over.set()
        async with asyncio.timeout(10):
            await asyncio.gather(*tasks)
        # Every answered share is in the ledger, over both processes.
        status = await mine.until(lambda s: s["shares"]["accepted"] == sum(accepted), within_s=15)
        assert status["shares"]["rejected"] == 0
        print(f"longest wait for an answer {max(gaps):.3f} s, {sum(accepted)} shares")
        for peer in peers:
            await peer.close()
        # And the successor ends like any other.
        assert await mine.stop() == 0


async def test_an_upgrade_while_machines_work_for_a_pool(tmp_path: Path) -> None:
    async with ScriptedPool(difficulty=4 * DIFFICULTY) as pool:
        site = tmp_path / "site.toml"
        site.write_text(f'{STRATUM}[[upstream]]\nname = "pool"\nurl = "{pool.url}"\nuser = "acct"\n')
        async with running_mine(tmp_path / "mine", str(site), "--no-miner") as mine:
            before = mine.child("serve").pid
            machines = [await Machine.begin(mine.stratum, f"acc.m{number}") for number in range(5)]
            for machine in machines:
                machine.work(1)
            await pool.until(lambda pool: len(pool.accepted) > 20)
            os.kill(mine.pid, signal.SIGHUP)
            await mine.until(lambda _: mine.has_other("serve", before))
            # The machines keep their connections, and what they do reaches the pool again.
            taken = len(pool.accepted)
            await pool.until(lambda pool: len(pool.accepted) > taken + 20)
            for machine in machines:
                machine.work(0)
                await machine.until(lambda machine=machine: not machine.under_way)
                assert not machine.is_lost
            status = await mine.until(lambda found: found["upstreams"] and found["upstreams"][0]["accepted"])
            assert await mine.stop() == 0
        assert pool.violations == []
        assert status["upstreams"][0]["rejected"] == {}
        met, fates, _ = books(tmp_path / "mine" / "data" / "testnet4" / "ledger.sqlite")
        assert sorted(met["hash_key"].tolist()) == sorted(fates["hash_key"].tolist())
        lost = int((fates["fate"] == Fate.LOST).sum())
        print(f"{len(fates)} shares met the pool's target, {lost} of them on a job of the old connection")
        for machine in machines:
            machine.close()
