"""Does Stratum's latency move while a large epoch closes?

    python benches/epoch_close.py [--rate 4000] [--epoch 20]

The bench's own server and load generator run as `hashwerk bench stratum --scenario paced` has them; the server also keeps epochs
as a mine does. Latency is told for windows of three seconds: one in which no epoch closes, and one around the close.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from hashwerk.bench import stratum, stratum_target
from hashwerk.evidence.key_files import open_keys
from hashwerk.evidence.records import Scale, Site
from hashwerk.store import SqliteLedger
from hashwerk.store.keeper import SETTLE_S, EpochKeeper

WINDOW_S = 3.0
CLOSED = "closed.jsonl"


class KeptLedger(SqliteLedger):
    """A ledger whose epochs are closed as `serve` closes them: on a thread, when due."""

    interval_s = 20.0

    def open(self) -> None:
        """Open, and begin to keep epochs."""
        super().open()
        self._epochs = asyncio.get_running_loop().create_task(self._keep())

    async def _keep(self) -> None:
        declared = (
            Site(name="bench", network="main", private=1),
            Scale(factor=1, basis="one hash is one hash"),
        )
        keeper = EpochKeeper(
            self.path,
            open_keys(self.path.parent),
            self.put,
            declarations=declared,
            interval_s=self.interval_s,
        )
        await asyncio.to_thread(keeper.open, time.time())
        while True:
            if keeper.due(time.time()):
                started, shares = time.time(), self._stored
                await asyncio.to_thread(keeper.close_epoch, started)
                line = {"at": started, "ms": 1e3 * (time.time() - started), "stored": shares}
                with (self.path.parent / CLOSED).open("a") as out:
                    out.write(json.dumps(line) + "\n")
            else:
                await asyncio.to_thread(keeper.take_in, time.time())
            await asyncio.sleep(1.0)


def serve(folder: str, interval_s: float) -> None:
    """Be the server under test."""
    KeptLedger.interval_s = interval_s
    stratum_target.SqliteLedger = KeptLedger  # type: ignore[misc]
    sys.argv = [sys.argv[0], folder, "0"]
    stratum_target.main()


def measure(rate: float, epoch_s: float) -> list[dict[str, Any]]:
    """Return the latencies of a quiet window and of those around two closes."""
    found: list[dict[str, Any]] = []
    with tempfile.TemporaryDirectory() as folder:
        me = [sys.executable, __file__, "--serve", folder, "--epoch", str(epoch_s)]
        target = subprocess.Popen(me, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        generator = subprocess.Popen(
            [sys.executable, "-m", "hashwerk.bench.loadgen"], stdin=subprocess.PIPE, stdout=subprocess.PIPE
        )
        try:
            stratum._say(generator, {"host": "127.0.0.1", "port": stratum._hear(target)["port"]})
            processes = stratum.Processes(target, generator)
            processes.load({"do": "connect", "count": 50})
            close_at = (time.time() // epoch_s + 1) * epoch_s + SETTLE_S
            for _ in range(2):
                while (left := close_at - WINDOW_S / 2 - time.time()) > 2 * WINDOW_S:
                    processes.load({"do": "pace", "seconds": min(left - WINDOW_S, 5.0), "rate": rate})
                found.append(window(processes, rate, "no epoch closes", Path(folder)))
                time.sleep(max(0.0, close_at - WINDOW_S / 2 - time.time()))
                found.append(window(processes, rate, "an epoch closes", Path(folder)))
                close_at += epoch_s
        finally:
            for process in (generator, target):
                assert process.stdin is not None and process.stdout is not None
                process.stdin.close()
                process.wait(20)
                process.stdout.close()
    return found


def window(processes: Any, rate: float, name: str, folder: Path) -> dict[str, Any]:
    """Measure one window and say what was closed in it."""
    started = time.time()
    answer = processes.load({"do": "pace", "seconds": WINDOW_S, "rate": rate})
    lines = (folder / CLOSED).read_text().splitlines() if (folder / CLOSED).exists() else []
    closed = [line for line in map(json.loads, lines) if line["at"] >= started]
    row = {key: answer[key] for key in ("accepted", "ms_p50", "ms_p99", "ms_max")}
    return {"window": name, **row, "closed": closed}


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--rate", type=float, default=4_000.0)
    parser.add_argument("--epoch", type=float, default=20.0)
    parser.add_argument("--serve")
    options = parser.parse_args()
    if options.serve is not None:
        serve(options.serve, options.epoch)
        return
    for row in measure(options.rate, options.epoch):
        print(json.dumps(row))


if __name__ == "__main__":
    main()
