"""Two hundred machines and a miner of another process work for two pools, 70 to 30, through whatever happens to the pools."""

from __future__ import annotations

import asyncio
import json
import os
import random
import shutil
import sqlite3
import subprocess
import sys
import time
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, closing
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner

from hashwerk.cli import cli
from hashwerk.evidence.verify import verify_bundle
from hashwerk.store.reader import LedgerReader
from hashwerk.work.fate import Fate
from hashwerk.work.share import FLAG_BLOCK, Verdict
from support.machine import Machine
from support.mine import RunningMine, running_mine
from support.upstream import Chain, ScriptedPool

MACHINES = 200
SHARES_PER_TICK = 20
TICK_S = 0.05
#: 1,024 hashes a share here; every fourth is one of the pool's.
DIFFICULTY = 2.0**-22
POOL_DIFFICULTY = 2.0**-20
STRATUM = (
    f"[stratum]\nstart_difficulty = {DIFFICULTY}\nmin_difficulty = {DIFFICULTY}\nshares_per_minute = 120\n"
)


CONTRIB = Path(__file__).resolve().parents[2] / "contrib" / "verifier" / "verify_bundle.py"


def site(first: ScriptedPool, second: ScriptedPool) -> str:
    text = STRATUM + "[evidence]\nepoch_s = 5\n"
    for pool, share in ((first, 70), (second, 30)):
        text += (
            f'[[upstream]]\nname = "{pool.name}"\nurl = "{pool.url}"\nuser = "acct"\npassword = "do not tell"\n'
            f"share = {share}\nreply_timeout_s = 1\nretry_min_s = 0.2\nreturn_after_s = 1\n"
        )
    return text


class Hall:
    """Machines that hand in shares at an even pace, one drawn at random after the other."""

    def __init__(self, machines: list[Machine]) -> None:
        self.machines = machines
        self._chance = random.Random(7)

    async def work(self) -> None:
        """Work until cancelled."""
        while True:
            for machine in self._chance.sample(self.machines, SHARES_PER_TICK):
                machine.hand_in(machine.find())
            await asyncio.sleep(TICK_S)

    @property
    def accepted(self) -> int:
        """Shares that were acknowledged."""
        return sum(len(machine.accepted) for machine in self.machines)

    async def done(self, more: int) -> None:
        """Wait until so many more shares are acknowledged."""
        wanted = self.accepted + more
        async with asyncio.timeout(60):
            while self.accepted < wanted:  # noqa: ASYNC110 - two hundred machines have no event in common
                await asyncio.sleep(TICK_S)


@asynccontextmanager
async def another_miner(server: tuple[str, int]) -> AsyncIterator[None]:
    """Run a software miner of another process: an unmodified third-party one where there is one, else our own."""
    minerd = os.environ.get("HASHWERK_MINERD") or shutil.which("minerd")
    url = f"stratum+tcp://{server[0]}:{server[1]}"
    if minerd:
        command = [minerd, "-a", "sha256d", "-t", "1", "-o", url, "-u", "hall.soft", "-p", "x"]
    else:
        sys.stderr.write(
            "NOT TESTED with a third-party miner: no minerd on the PATH and no $HASHWERK_MINERD\n"
        )
        command = [
            sys.executable,
            "-m",
            "hashwerk",
            "mine",
            url,
            "-u",
            "hall.soft",
            "--threads",
            "1",
            "--duty",
            "0.02",
        ]
    process = await asyncio.create_subprocess_exec(
        *command, stdout=asyncio.subprocess.DEVNULL, stderr=asyncio.subprocess.DEVNULL
    )
    try:
        yield
    finally:
        process.terminate()
        await process.wait()


def upstreams(status: dict[str, object]) -> dict[str, dict[str, object]]:
    return {each["name"]: each for each in status["upstreams"]}  # type: ignore[index,attr-defined,misc]


async def sole_worker(mine: RunningMine, name: str) -> None:
    """Wait until all machines work for one pool."""
    await mine.until(lambda status: upstreams(status)[name]["sessions"] == status["sessions"], within_s=15)


async def test_two_pools_seventy_to_thirty(tmp_path: Path) -> None:
    chain = Chain()
    file = tmp_path / "site.toml"
    async with (
        ScriptedPool(name="first", chain=chain, difficulty=POOL_DIFFICULTY) as first,
        ScriptedPool(name="second", chain=chain, difficulty=POOL_DIFFICULTY) as second,
    ):
        file.write_text(site(first, second))
        async with running_mine(tmp_path / "mine", str(file), "--no-miner") as mine:
            await mine.until(lambda status: all(each["connections"] for each in status["upstreams"]))
            machines = await asyncio.gather(
                *(Machine.begin(mine.stratum, f"hall.m{number:03}") for number in range(MACHINES))
            )
            hall = Hall(list(machines))
            async with another_miner(mine.stratum):
                work = asyncio.create_task(hall.work())
                # Both pools work: seventy to thirty, counted in work. In seconds it is rough, and over an hour within one
                # percent (tests/unit/pool/upstream/test_split.py). The software miner alone may do more work than all
                # the others, so it takes a debt's minute until the pools have what is theirs.
                for _ in range(90):
                    await hall.done(250)
                    ratio = len(first.accepted) / (len(first.accepted) + len(second.accepted))
                    if ratio == pytest.approx(0.7, abs=0.12):
                        break
                else:
                    raise AssertionError((len(first.accepted), len(second.accepted)))
                # The first is cut: everybody has work of the second within a second, on the same connection.
                jobs_before = {machine: machine.jobs for machine in machines}
                cut_at = time.time()
                await first.refuse()
                await sole_worker(mine, "second")
                assert not any(machine.is_lost for machine in machines)
                late = [
                    machine.job_at - cut_at for machine in machines if machine.jobs > jobs_before[machine]
                ]
                await hall.done(200)
                # It comes back, proves itself, and is used again.
                await first.listen()
                await mine.until(lambda status: upstreams(status)["first"]["sessions"] > MACHINES // 4)
                await hall.done(200)
                # The second hangs: the connection lives, nothing comes. The first takes all.
                second.silent = True
                await sole_worker(mine, "first")
                await hall.done(200)
                second.be_well()
                await mine.until(lambda status: upstreams(status)["second"]["sessions"] > 0)
                # A new block for all.
                chain.advance()
                await hall.done(200)
                work.cancel()
                await asyncio.gather(work, return_exceptions=True)
            for machine in machines:
                await machine.until(lambda machine=machine: not machine.under_way)
            names = [each["what"] for each in (await switches(mine))]
            assert not any(machine.is_lost for machine in machines)
            for machine in machines:
                machine.close()
            await mine.stop()
        assert max(late) < 1.0
    check_the_books(tmp_path / "mine" / "data", list(machines), [first, second])
    await asyncio.to_thread(check_the_evidence, tmp_path / "mine" / "data", tmp_path / "pools.hwe")
    told = " ".join(names)
    assert "the pool closed the connection" in told or "broke" in told
    assert "a share was not answered within 1 s" in told
    assert "has proven itself" in told or "gives work again" in told
    assert "do not tell" not in mine.log.read_text()


def check_the_evidence(data: Path, bundle: Path) -> None:
    """A stranger finds the pools declared before their work, the work unbound, and what that does not show."""
    made = CliRunner().invoke(cli, ["prove", "--data-dir", str(data), "--from", "-1h", "-o", str(bundle)])
    assert made.exit_code == 0, made.output
    report = verify_bundle(bundle)
    assert report.ok, report.failures()
    work = report.statement["work"]
    assert {row["pool"] for row in work["upstream"]} == {"first", "second"}
    # Once their extranonces stood in a table of an epoch before, the work is the account's that was named there.
    (named,) = {row["account"] for row in work["upstream"] if row["account"]}
    assert named == commitment(data, "hall").hex()
    assert {row["pool"] for row in work["upstream"] if row["account"]} == {"first", "second"}
    told = subprocess.run(
        [sys.executable, CONTRIB, "--json", bundle], capture_output=True, check=True, timeout=60
    )
    theirs = json.loads(told.stdout)
    assert theirs["verdict"] == "valid"
    assert {(row["pool"], row["account"], row["shares"]) for row in theirs["statement"]["upstream"]} == {
        (row["pool"], row["account"], row["shares"]) for row in work["upstream"]
    }
    assert all("account asserted" in row["label"] for row in work["upstream"])
    assert work["accounts"] == [], "no account's total holds a pool's work"
    assert sum(row["shares"] for row in work["upstream"]) == work["shares"]["value"] > 0
    assert any("unbound work" in line for line in report.statement["not_shown"])


def commitment(data: Path, account: str) -> bytes:
    """Return the salted hash under which an account appears in evidence, as the mine's ledger has it."""
    (file,) = data.rglob("ledger.sqlite")
    with closing(sqlite3.connect(f"file:{file}?mode=ro", uri=True)) as ledger:
        ((found,),) = ledger.execute("SELECT commitment FROM accounts WHERE name = ?", (account,)).fetchall()
    return bytes(found)


async def switches(mine: RunningMine) -> list[dict[str, str]]:
    import httpx

    async with httpx.AsyncClient(trust_env=False, base_url=mine.urls["web"]) as http:
        found: list[dict[str, str]] = (await http.get("/api/v1/upstreams")).json()["switches"]
        return found


def check_the_books(data: Path, machines: list[Machine], pools: list[ScriptedPool]) -> None:
    """Hold the machines' books, ours, and the pools' against each other: no share is missing in any."""
    (file,) = data.rglob("ledger.sqlite")
    with LedgerReader(file) as reader:
        shares = reader.shares_since(0.0)
        fates = reader.fates(0, 1 << 62)
        by_number = {each.id: each.name for each in reader.upstreams()}
    accepted = shares[shares["verdict"] == Verdict.ACCEPTED]
    stored = Counter(
        zip(
            *(accepted[name].tolist() for name in ("job", "extranonce1", "extranonce2", "ntime", "nonce")),
            strict=True,
        )
    )
    assert max(stored.values()) == 1
    for machine in machines:
        for share in machine.accepted:
            assert stored[share[:5]] == 1
    # Every share that met its pool's target has exactly one fate, and no other has one.
    wanted = Counter(key.tobytes() for key in accepted["hash_key"][(accepted["flags"] & FLAG_BLOCK) != 0])
    assert Counter(key.tobytes() for key in fates["hash_key"]) == wanted
    assert set(wanted.values()) == {1}
    for pool in pools:
        mine = fates[[by_number[int(number)] == pool.name for number in fates["upstream"]]]
        told = {row["hash_key"].tobytes() for row in mine if row["fate"] == Fate.ACCEPTED}
        lost = {row["hash_key"].tobytes() for row in mine if row["fate"] == Fate.LOST}
        theirs = {share.hash_key for share in pool.accepted}
        # What it said it took it has; what it has beyond that we know to be open.
        assert told <= theirs
        assert theirs - told <= lost
        assert len(told) > 50
        assert pool.violations == []
    # The pools know the machines by name.
    assert len({user for pool in pools for user in pool.taken}) > MACHINES // 2
    assert len(np.unique(fates["worker"])) > MACHINES // 2
