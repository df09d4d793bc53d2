"""No acknowledged share is lost or credited twice, whatever happens to the server."""

import asyncio
import os
from collections import Counter
from pathlib import Path

import httpx
import pytest

from hashwerk.store.reader import LedgerReader
from hashwerk.work.share import Verdict
from support.mine import RunningMine, hashwerk_passwd, running_mine
from support.stratum import Peer

#: A private chain whose blocks nobody finds here, and shares that every hash is.
SITE = "[stratum]\nstart_difficulty = 1e-10\nmin_difficulty = 1e-10\nvardiff = false\n"
DUPLICATE = -22


@pytest.fixture
def site(tmp_path: Path) -> Path:
    path = tmp_path / "site.toml"
    path.write_text(SITE)
    return path


async def connect(mine: RunningMine, number: int, token: str | None = None) -> Peer:
    peer = await Peer.connect(mine.urls["stratum"])
    await peer.begin(f"acc.m{number}", *(["peer/1"] if token is None else ["peer/1", token]))
    return peer


async def test_kill_9_of_the_server_while_shares_come_in(tmp_path: Path, site: Path) -> None:
    acknowledged: Counter[tuple[int, int]] = Counter()
    async with running_mine(tmp_path / "mine", str(site), "--no-miner") as mine:
        for round_ in range(3):
            # Machines hand in shares, many under way at a time.
            peers = [await connect(mine, number) for number in range(4)]
            jobs = [peer.job for peer in peers]

            async def work(peer: Peer) -> None:
                nonce = 0
                while True:
                    sent = [
                        (nonce + i, peer.send("mining.submit", *peer.share(nonce + i))) for i in range(20)
                    ]
                    for shared, request in sent:
                        answer = await peer.answer(request)
                        if answer["result"] is True:
                            acknowledged[int(peer.extranonce1, 16), shared] += 1
                    nonce += 20

            tasks = [asyncio.create_task(work(peer)) for peer in peers]
            started = sum(acknowledged.values())
            serve = mine.child("serve")
            while sum(acknowledged.values()) < started + 400:
                await asyncio.wait(tasks, timeout=0.01)
            # The server is killed in the middle of it.
            serve.kill()
            async with asyncio.timeout(30):
                await asyncio.gather(*tasks, return_exceptions=True)
            await mine.until(lambda _, pid=serve.pid: mine.has_other("serve", pid))
            # A machine comes back with its token, gets its extranonce, and what it was told stays told.
            old = peers[0]
            async with asyncio.timeout(30):
                back = await reconnect(mine, old.token)
            assert back.extranonce1 == old.extranonce1
            told = [nonce for extranonce1, nonce in acknowledged if extranonce1 == int(old.extranonce1, 16)]
            assert jobs[0] is not None
            before = {"job": jobs[0].job_id, "ntime": f"{jobs[0].ntime:08x}"}
            assert await back.submit(max(told), **before) == DUPLICATE, f"round {round_}"
            # A share of the old job that was never handed in still counts.
            assert await back.submit(1_000_000, **before) is True
            acknowledged[int(back.extranonce1, 16), 1_000_000] += 1
            for peer in [*peers, back]:
                await peer.close()
    # Each share that was acknowledged stands in the ledger exactly once.
    with LedgerReader(tmp_path / "mine" / "data" / "testnet4" / "ledger.sqlite") as reader:
        _, records = reader.shares(0, 10_000_000)
    accepted = records[records["verdict"] == Verdict.ACCEPTED]
    stored = Counter(zip(accepted["extranonce1"].tolist(), accepted["nonce"].tolist(), strict=True))
    assert max(stored.values()) == 1
    assert set(acknowledged) <= set(stored)


async def reconnect(mine: RunningMine, token: str) -> Peer:
    """Connect as soon as the server listens again."""
    while True:
        try:
            return await connect(mine, 0, token)
        except OSError:
            await asyncio.wait([asyncio.create_task(mine.status_or_none())], timeout=0.1)


async def test_others_need_the_password(tmp_path: Path) -> None:
    with pytest.raises(AssertionError, match="password_hash"):
        async with RunningMine(tmp_path / "open", "--web", "0.0.0.0:0", "--listen-beyond-loopback"):
            pass
    site = tmp_path / "site.toml"
    made, token = await hashwerk_passwd("correct horse")
    site.write_text(
        "[listen]\nbeyond_loopback = true\n"
        f'[web]\nhost = "0.0.0.0"\nport = 0\npassword_hash = "{made}"\ntokens = ["{token[1]}"]\n'
        '[node]\nnetwork = "regtest"\n'
    )
    async with RunningMine(tmp_path / "mine", str(site), "--no-miner", "--web", "0.0.0.0:0") as mine:
        http = httpx.AsyncClient(trust_env=False, base_url=mine.urls["web"])
        async with http:
            assert (await http.get("/api/v1/status")).status_code == 401
            assert (await http.get("/", headers={"Accept": "text/html"})).status_code in (302, 303, 307)
            wrong = {"Authorization": "Bearer " + token[0] + "x"}
            assert (await http.get("/api/v1/status", headers=wrong)).status_code == 401
            right = {"Authorization": "Bearer " + token[0]}
            assert (await http.get("/api/v1/status", headers=right)).status_code == 200
            assert (await http.get("/healthz")).status_code in (200, 503)


@pytest.mark.skipif(os.geteuid() != 0, reason="NOT TESTED: only root can make a small disk")
async def test_a_full_disk_is_told_and_recovers(tmp_path: Path, site: Path) -> None:
    disk = tmp_path / "mine" / "data"
    disk.mkdir(parents=True)
    mount = await asyncio.create_subprocess_exec("mount", "-t", "tmpfs", "-o", "size=256m", "none", str(disk))
    if await mount.wait():
        pytest.skip("NOT TESTED: a small disk cannot be mounted here")
    try:
        async with running_mine(tmp_path / "mine", str(site), "--no-miner") as mine:
            peer = await connect(mine, 0)
            assert await peer.submit(0) is True
            # The disk fills up.
            with (disk / "filler").open("wb", buffering=0) as filler:
                for size in (1 << 20, 4_096):
                    try:
                        while True:
                            filler.write(bytes(size))
                    except OSError:
                        continue
            # Shares are refused, and the page says why.
            nonce = 1
            while (answer := await peer.submit(nonce)) is True:
                nonce += 1
            assert answer < 0
            async with httpx.AsyncClient(trust_env=False, base_url=mine.urls["web"]) as http:
                await mine.until(lambda s: not s["serving"])
                assert (await http.get("/healthz")).status_code == 503
            # There is room again: everything goes on by itself.
            (disk / "filler").unlink()
            await mine.until(lambda s: s["serving"])
            assert await peer.submit(nonce + 1) is True
            await mine.until(lambda s: s["shares"]["accepted"] == nonce + 1)
            await peer.close()
    finally:
        umount = await asyncio.create_subprocess_exec("umount", "-l", str(disk))
        await umount.wait()
