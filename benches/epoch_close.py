"""Does Stratum's latency move while a large epoch closes, and what does closing cost?

    python benches/epoch_close.py [--rates 1000 5000] [--epoch 20] [--pairs 3]
    python benches/epoch_close.py --backlog 4000000

The bench's own server and load generator run as `hashwerk bench stratum --scenario paced` has them; the server also keeps epochs
as a mine does: it prepares the open one every second, and closes it when it ends. Latency is told for pairs of windows of three
seconds: one in which no epoch closes, and one around the close.

`--backlog` measures the other end: a mine that starts with so many shares of the open epoch in its ledger.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import psutil  # type: ignore[import-untyped]

from hashwerk.bench import stratum, stratum_target
from hashwerk.chain.template import Template
from hashwerk.evidence.key_files import open_keys
from hashwerk.evidence.keys import public_bytes
from hashwerk.evidence.records import Scale, Site
from hashwerk.evidence.tag import ZERO_ROOT, job_tag, job_tag_preimage
from hashwerk.store import SqliteLedger, StoreSettings
from hashwerk.store.connection import connect_writer
from hashwerk.store.jobs import template_hash, write_job
from hashwerk.store.keeper import SETTLE_S, EpochKeeper
from hashwerk.store.migrations import migrate
from hashwerk.store.writes import Write
from hashwerk.work.job import Job
from hashwerk.work.share import SHARE_DTYPE

WINDOW_S = 3.0
CLOSED = "closed.jsonl"
CLOSE_BUDGET_MS = 200
DECLARED = (
    Site(name="bench", network="main", private=1),
    Scale(factor=1, basis="one hash is one hash"),
)


def timed(work: Callable[[float], object], now: float) -> tuple[float, float]:
    """Run work on this thread; return its milliseconds and those of processor time."""
    started, cpu = time.perf_counter(), time.thread_time()
    work(now)
    return 1e3 * (time.perf_counter() - started), 1e3 * (time.thread_time() - cpu)


class KeptLedger(SqliteLedger):
    """A ledger whose epochs are kept as `serve` keeps them: looked after once a second, on a thread."""

    interval_s = 20.0

    def open(self) -> None:
        """Open, and begin to keep epochs."""
        super().open()
        self._epochs = asyncio.get_running_loop().create_task(self._keep())

    async def _keep(self) -> None:
        keeper = EpochKeeper(
            self.path,
            open_keys(self.path.parent),
            self.put,
            declarations=DECLARED,
            interval_s=self.interval_s,
        )
        await asyncio.to_thread(keeper.open, time.time())
        stored, preparing = self._stored, 0.0
        while True:
            now = time.time()
            if keeper.due(now):
                ms, cpu = await asyncio.to_thread(timed, keeper.close_epoch, now)
                line = {
                    "at": now,
                    "shares": self._stored - stored,
                    "ms": ms,
                    "cpu_ms": cpu,
                    "before_ms": preparing,
                }
                stored, preparing = self._stored, 0.0
                with (self.path.parent / CLOSED).open("a") as out:
                    out.write(json.dumps(line) + "\n")
            else:
                preparing += (await asyncio.to_thread(timed, keeper.take_in, now))[1]
            await asyncio.sleep(1.0)


def serve(folder: str, interval_s: float) -> None:
    """Be the server under test."""
    KeptLedger.interval_s = interval_s
    stratum_target.SqliteLedger = KeptLedger  # type: ignore[misc]
    sys.argv = [sys.argv[0], folder, "0"]
    stratum_target.main()


def measure(rate: float, epoch_s: float, pairs: int) -> None:
    """Print the latencies of pairs of windows, and what the closes between them cost."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        me = [sys.executable, __file__, "--serve", name, "--epoch", str(epoch_s)]
        target = subprocess.Popen(me, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        generator = subprocess.Popen(
            [sys.executable, "-m", "hashwerk.bench.loadgen"], stdin=subprocess.PIPE, stdout=subprocess.PIPE
        )
        try:
            stratum._say(generator, {"host": "127.0.0.1", "port": stratum._hear(target)["port"]})
            processes = stratum.Processes(target, generator)
            processes.load({"do": "connect", "count": 50})
            processes.load({"do": "pace", "seconds": 2.0, "rate": rate})
            rows = measure_pairs(processes, rate, epoch_s, pairs)
        finally:
            for process in (generator, target):
                assert process.stdin is not None and process.stdout is not None
                process.stdin.close()
                process.wait(20)
                process.stdout.close()
        tell(rate, rows, [json.loads(line) for line in (folder / CLOSED).read_text().splitlines()])


def measure_pairs(
    processes: Any, rate: float, epoch_s: float, pairs: int
) -> list[tuple[dict[str, Any], dict[str, Any]]]:
    """Return for each pair the window without a close and the one around one; the load goes on between them."""
    close_at = (time.time() // epoch_s + 2) * epoch_s + SETTLE_S
    rows = []
    for _ in range(pairs):
        while (left := close_at - WINDOW_S / 3 - time.time()) > WINDOW_S + 0.5:
            processes.load({"do": "pace", "seconds": min(left - WINDOW_S - 0.4, 5.0), "rate": rate})
        quiet = processes.load({"do": "pace", "seconds": WINDOW_S, "rate": rate})
        time.sleep(max(0.0, close_at - WINDOW_S / 3 - time.time()))
        rows.append((quiet, processes.load({"do": "pace", "seconds": WINDOW_S, "rate": rate})))
        close_at += epoch_s
    return rows


def tell(
    rate: float, rows: list[tuple[dict[str, Any], dict[str, Any]]], closed: list[dict[str, Any]]
) -> None:
    """Print what was measured."""
    print(f"{rate:,.0f} shares/s; load of the machine {os.getloadavg()[0]:.1f} on {os.cpu_count()} cores")
    for title, index in (("no epoch closes", 0), ("an epoch closes", 1)):
        figures = ", ".join(
            f"{name} {statistics.median(row[index][f'ms_{name}'] for row in rows):.2f} ms"
            f" ({min(row[index][f'ms_{name}'] for row in rows):.2f} – {max(row[index][f'ms_{name}'] for row in rows):.2f})"
            for name in ("p50", "p99", "max")
        )
        print(f"  {title}: {figures}")
    for line in closed[1:]:
        print(
            f"  closed {line['shares']:,} shares in {line['ms']:.1f} ms, {line['cpu_ms']:.1f} ms of CPU (budget"
            f" {CLOSE_BUDGET_MS} ms); {line['before_ms']:.0f} ms of CPU while it was open"
        )


def measure_backlog(count: int) -> None:
    """Print how long a mine takes to make up for so many shares of the open epoch, and the memory that takes."""
    with tempfile.TemporaryDirectory() as name:
        path = Path(name) / "ledger.sqlite"
        connection = connect_writer(path, StoreSettings())
        migrate(connection, path)

        def write(entry: Write) -> None:
            connection.execute("BEGIN IMMEDIATE")
            entry.apply(connection)
            connection.execute("COMMIT")
            if entry.committed is not None:
                entry.committed()

        start = time.time() // 3600 * 3600
        keys = open_keys(path.parent)
        keeper = EpochKeeper(path, keys, write, declarations=DECLARED, interval_s=3600.0)
        keeper.open(start)
        fill(connection, count, start, public_bytes(keys.current))
        before, grown = psutil.Process().memory_info().rss, 0
        rounds, began, cpu = 0, time.perf_counter(), time.process_time()
        for _ in range(count // (1 << 18) + 1):
            keeper.take_in(start + 1800)
            grown = max(grown, psutil.Process().memory_info().rss - before)
            rounds += 1
        took, cpu = time.perf_counter() - began, time.process_time() - cpu
        ms, cpu_ms = timed(keeper.close_epoch, start + 3700)
        print(
            f"{count:,} shares of the open epoch: taken in in {rounds} rounds, {took:.1f} s, {cpu:.1f} s of CPU; closed in"
            f" {ms:.1f} ms, {cpu_ms:.1f} ms of CPU; memory +{grown / 2**20:.0f} MiB"
        )
        keeper.close()
        connection.close()


def fill(connection: Any, count: int, start: float, site_key: bytes) -> None:
    """Write one job and so many shares of it, as a busy mine has them: some five in a group."""
    commitment, preimage = bytes(32), job_tag_preimage(site_key, ZERO_ROOT, bytes(32), 0)
    template = Template(
        network="main", height=900_000, version=0x20000000, prev_hash=bytes(32), nbits=0x17034219, time=int(start),
        min_time=int(start) - 3600, coinbase_value_sat=312_500_000, source="bench",
    )  # fmt: skip
    job = Job(
        id=1, account_id=1, work_log2=0, template=template, coinbase1=bytes(100), coinbase2=bytes(100), branch=(),
        version=0x20000000, version_mask=0x1FFFE000, ntime=int(start), extranonce1_size=4, extranonce2_size=8,
        tag=job_tag(preimage), tag_preimage=preimage, created_at=start,
    )  # fmt: skip
    random = np.random.default_rng(1)
    connection.execute("BEGIN")
    connection.execute("INSERT INTO accounts VALUES (1, 'a', ?, ?, 0.0)", (bytes(32), commitment))
    write_job(connection, job, template_hash(template))
    step = 1 << 16
    for first in range(0, count, step):
        rows = np.zeros(min(step, count - first), SHARE_DTYPE)
        rows["job"], rows["nonce"] = 1, random.integers(0, 2**32, len(rows))
        rows["time_us"] = int(start * 1e6) + (first + np.arange(len(rows))) * 1_000_000_000 // count
        blob, size = rows.tobytes(), SHARE_DTYPE.itemsize
        connection.executemany(
            "INSERT INTO share_groups VALUES (?, ?, 0, 0, ?, 0)",
            (
                (first + at, min(5, len(rows) - at), blob[at * size : (at + 5) * size])
                for at in range(0, len(rows), 5)
            ),
        )
    connection.execute("COMMIT")


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rates", type=float, nargs="+", default=[1_000.0, 5_000.0], help="shares a second")
    parser.add_argument("--epoch", type=float, default=20.0, help="seconds")
    parser.add_argument("--pairs", type=int, default=3, help="how many pairs of windows at each rate")
    parser.add_argument("--backlog", type=int, help="measure so many shares of the open epoch at the start")
    parser.add_argument("--serve", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.serve is not None:
        serve(options.serve, options.epoch)
    elif options.backlog is not None:
        measure_backlog(options.backlog)
    else:
        for rate in options.rates:
            measure(rate, options.epoch, options.pairs)


if __name__ == "__main__":
    main()
