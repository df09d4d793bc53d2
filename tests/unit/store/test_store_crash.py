"""kill -9 at any moment: every acknowledged share is there exactly once, and the file comes back by
itself."""

from __future__ import annotations

import asyncio
import os
import random
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from hashwerk.store import LedgerReader, SqliteLedger, StoreSettings
from hashwerk.work.share import SHARE_DTYPE, Verdict
from support.ledger import make_shares, store

ROUNDS = 12

# Numbers each share in its nonce, and prints the number after a batch once the ledger says that it is on
# disk. Maintenance and rollups run all the time, so that kills hit those too.
CHILD = """
import asyncio, sys
from pathlib import Path
import numpy as np
from hashwerk.clock import SystemClock
from hashwerk.store import SqliteLedger, StoreSettings
from hashwerk.store import writer
from hashwerk.work.share import SHARE_DTYPE

first, seed = int(sys.argv[2]), int(sys.argv[3])
random = np.random.default_rng(seed)
writer._ROLLUP_AT = 64

async def main():
    loop = asyncio.get_running_loop()
    settings = StoreSettings(
        maintenance_interval_s=0.01, compact_after_h=1e-6, checkpoint_pages=50, id_block=64, lock_timeout_s=10
    )
    ledger = SqliteLedger(Path(sys.argv[1]), loop, settings)
    ledger.open()
    print("ids", ledger.next_job_id(), *ledger.next_session(), flush=True)
    number, gate = first, asyncio.Semaphore(16)
    while True:
        await gate.acquire()
        shares = np.zeros(int(random.integers(1, 40)), SHARE_DTYPE)
        shares["nonce"] = np.arange(number, number + len(shares))
        shares["verdict"] = random.integers(0, 2, len(shares)) * 3
        shares["worker"] = ledger.worker(ledger.account(f"account {number % 5}").id, f"machine {number % 50}")
        shares["time_us"] = int(SystemClock().time() * 1e6)
        number += len(shares)
        def done(error, upto=number):
            if error is None:
                print("ack", upto, flush=True)
            gate.release()
        ledger.append(shares, done)

asyncio.run(main())
"""


@pytest.mark.slow
def test_no_acknowledged_share_is_lost_or_doubled_by_kill_9(tmp_path: Path) -> None:
    path = tmp_path / "ledger.db"
    seed = int(os.environ.get("HASHWERK_SEED", "20261122"))
    chance = random.Random(seed)
    acknowledged = stored = 0
    identifiers: list[tuple[str, ...]] = []
    for round_ in range(ROUNDS):
        lines = run_and_kill(path, stored, seed + round_, chance)
        identifiers += [tuple(line[1:]) for line in lines if line[0] == "ids"]
        acknowledged = max([stored, *(int(line[1]) for line in lines if line[0] == "ack")])
        with LedgerReader(path) as reader:
            first, shares = reader.shares(0, 10_000_000)
        assert first == 0
        # Exactly the numbers from 0 on: none lost before the last acknowledged one, none twice, none
        # invented.
        assert np.array_equal(shares["nonce"], np.arange(len(shares))), f"seed {seed}, round {round_}"
        assert len(shares) >= acknowledged, f"seed {seed}, round {round_}"
        stored = len(shares)
    assert stored > ROUNDS * 10
    assert len(set(identifiers)) == len(identifiers) == ROUNDS
    asyncio.run(check_counts(path, shares))


def run_and_kill(path: Path, first: int, seed: int, chance: random.Random) -> list[list[str]]:
    child = subprocess.Popen(
        [sys.executable, "-c", CHILD, str(path), str(first), str(seed)], stdout=subprocess.PIPE, text=True
    )
    assert child.stdout is not None
    try:
        # The first line says that it is open; after that any moment will do, and the pipe's buffer blurs
        # which.
        lines = [child.stdout.readline() for _ in range(1 + chance.randrange(600))]
    finally:
        child.send_signal(signal.SIGKILL)
        child.wait(10)
    lines += child.stdout.read().split("\n")[:-1]  # a line cut short was not said
    child.stdout.close()
    return [line.split() for line in lines]


async def check_counts(path: Path, shares: np.ndarray) -> None:
    """The counts, rebuilt after each kill, agree with the shares themselves."""
    ledger = SqliteLedger(path, asyncio.get_running_loop(), StoreSettings())
    ledger.open()
    accepted = int((shares["verdict"] == Verdict.ACCEPTED).sum())
    try:
        assert ledger.rates.accepted == accepted
        assert ledger.rates.rejected == {"duplicate": len(shares) - accepted}
        assert await store(ledger, make_shares(1, first=len(shares))) is None
    finally:
        ledger.close()
    with LedgerReader(path) as reader:
        assert reader.totals().accepted == accepted + 1
        assert reader.shares(len(shares), 10)[1].dtype == SHARE_DTYPE
