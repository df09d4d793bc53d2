"""A new version while machines work: nobody is disconnected, no share is lost."""

import asyncio
import os
import signal
import time
from pathlib import Path

from support.mine import running_mine
from support.stratum import Peer


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
