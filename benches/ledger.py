"""How fast shares become durable, and how much room they take: `python benches/ledger.py [--volume]
[--seconds S]`.

Budget: p99 from append to acknowledgement of 3 ms up to 60,000 shares a second, where the disk's own p99 is
below half a millisecond. The load runs on the same event loop as the ledger's answers, as in `serve`.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import sqlite3
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import uvloop

from hashwerk.clock import VirtualClock
from hashwerk.store import SqliteLedger, StoreSettings
from hashwerk.store.codec import count_shares, encode_counts
from hashwerk.stratum.ports import ShareRecords
from hashwerk.work.share import SHARE_DTYPE

TICK_S = 0.001
RATES = (1_000, 10_000, 60_000)


def realistic_shares(count: int, machines: int, start_us: int, interval_us: float) -> ShareRecords:
    """Return shares as machines hand them in: nonce, hash and rolled version are noise, the rest is not."""
    random = np.random.default_rng(1)
    shares = np.zeros(count, SHARE_DTYPE)
    shares["time_us"] = start_us + np.cumsum(random.exponential(interval_us, count)).astype(np.int64)
    machine = random.integers(1, machines + 1, count)
    shares["session"] = shares["worker"] = shares["extranonce1"] = machine
    shares["job"] = 1 + (shares["time_us"] - start_us) // 30_000_000
    shares["ntime"] = shares["time_us"] // 1_000_000
    shares["nonce"] = random.integers(0, 2**32, count)
    shares["version"] = 0x20000000 | random.integers(0, 2**16, count) << 13
    shares["extranonce2"] = random.integers(0, 2**20, count)
    shares["hash_key"] = np.frombuffer(random.bytes(16 * count), "V16")
    shares["work_log2"] = 46
    return shares


def disk_sync_ms(folder: Path, runs: int = 1_000) -> tuple[float, float]:
    """Return p50 and p99 of writing one page and syncing it, in a file that does not grow."""
    path = folder / "sync"
    file = os.open(path, os.O_RDWR | os.O_CREAT)
    sync = getattr(os, "fdatasync", os.fsync)
    os.pwrite(file, bytes(4096 * 64), 0)
    os.fsync(file)
    durations = []
    for run in range(runs):
        started = time.perf_counter()
        os.pwrite(file, bytes(4096), 4096 * (run % 64))
        sync(file)
        durations.append(time.perf_counter() - started)
    os.close(file)
    path.unlink()
    p50, p99 = np.quantile(durations, [0.5, 0.99]) * 1000
    return float(p50), float(p99)


class Load:
    """Appends one batch again and again and notes how long each took to become durable."""

    def __init__(self, ledger: SqliteLedger, batch: ShareRecords) -> None:
        self._ledger = ledger
        self._batch = batch
        self._room = asyncio.Semaphore(0)
        self.durations_s: list[float] = []
        self.sent = 0

    def send(self) -> None:
        """Append the batch once more."""
        begun = time.perf_counter()

        def done(error: BaseException | None) -> None:
            if error is not None:
                raise SystemExit(f"not stored: {error}")
            self.durations_s.append(time.perf_counter() - begun)
            self._room.release()

        self._ledger.append(self._batch, done)
        self.sent += 1

    async def one_done(self) -> None:
        """Wait until one more batch is durable."""
        await self._room.acquire()

    async def all_done(self) -> None:
        """Wait until every batch is durable that has not been waited for."""
        while len(self.durations_s) < self.sent:
            await self._room.acquire()

    def line(self, name: str, elapsed_s: float, cpu_s: float) -> str:
        """Return what happened as a line of the table."""
        p50, p99, worst = np.quantile(self.durations_s, [0.5, 0.99, 1.0]) * 1000
        stored = self.sent * len(self._batch)
        sync = self._ledger.status().sync_ms_p99 or 0.0
        return (
            f"{name:>9} {stored / elapsed_s:>12,.0f} {p50:>9.2f} {p99:>9.2f} {worst:>9.2f} {sync:>11.2f}"
            f" {cpu_s / stored * 1e6:>12.2f}"
        )


async def paced(path: Path, rate: int, duration_s: float) -> str:
    """Append ``rate`` shares a second in ticks of a millisecond."""
    ledger = SqliteLedger(path, asyncio.get_running_loop())
    ledger.open()
    load = Load(ledger, realistic_shares(max(1, round(rate * TICK_S)), 11_000, int(time.time() * 1e6), 1.0))
    started, cpu = time.perf_counter(), time.process_time()
    while (elapsed := time.perf_counter() - started) < duration_s:
        while load.sent * TICK_S <= elapsed:
            load.send()
        await asyncio.sleep(max(TICK_S, load.sent * TICK_S - elapsed))
    await load.all_done()
    line = load.line(f"{rate:,}", time.perf_counter() - started, time.process_time() - cpu)
    ledger.close()
    return line


async def flat_out(path: Path, duration_s: float) -> str:
    """Keep 64 batches of 256 shares under way."""
    ledger = SqliteLedger(path, asyncio.get_running_loop())
    ledger.open()
    load = Load(ledger, realistic_shares(256, 11_000, int(time.time() * 1e6), 1.0))
    started, cpu = time.perf_counter(), time.process_time()
    for _ in range(64):
        load.send()
    while time.perf_counter() - started < duration_s:
        await load.one_done()
        load.send()
    await load.all_done()
    line = load.line("flat out", time.perf_counter() - started, time.process_time() - cpu)
    ledger.close()
    return line


def used_bytes(path: Path) -> int:
    """Return what the tables of a closed ledger take, without pages kept free for the next commits."""
    connection = sqlite3.connect(path)
    pages, free, size = (
        connection.execute(f"PRAGMA {name}").fetchone()[0]
        for name in ("page_count", "freelist_count", "page_size")
    )
    connection.close()
    return int((pages - free) * size)


async def volume(folder: Path, machines: int, per_minute: int, count: int) -> str:
    """Store shares in the groups that this many machines make, then pack them; return a line of the table."""
    clock = VirtualClock(1_750_000_000.0)
    rate = machines * per_minute / 60
    path = folder / f"{machines}-{per_minute}.db"
    ledger = SqliteLedger(
        path,
        asyncio.get_running_loop(),
        StoreSettings(maintenance_interval_s=1e6, compact_after_h=1.0),
        clock,
    )
    ledger.open()
    shares = realistic_shares(count, machines, int(clock.time() * 1e6), 1e6 / rate)
    # One group each millisecond at most: shares of the same one share a row.
    ticks = np.flatnonzero(np.diff(shares["time_us"] // 1_000)) + 1
    empty = used_bytes(path)
    batches = np.split(shares, ticks)
    for batch in batches:
        answer: asyncio.Future[BaseException | None] = asyncio.get_running_loop().create_future()
        ledger.append(batch, answer.set_result)
        if await answer is not None:
            raise SystemExit(f"not stored: {answer.result()}")
    ledger.close()
    raw = (used_bytes(path) - empty) / count
    clock.advance(30 * 86_400)
    ledger.open()
    ledger.maintain()
    ledger.close()
    packed = (used_bytes(path) - empty) / count
    minute = len(encode_counts(count_shares(shares[: max(1, round(rate * 60))])))
    day = rate * 86_400
    return (
        f"{machines:>8,} {per_minute:>8} {count / len(batches):>10.2f} {day:>14,.0f} {raw:>9.1f} {packed:>9.1f}"
        f" {raw * day / 1e9:>12.4f} {packed * day / 1e9:>12.4f} {minute * 1440 / 1e9:>12.4f}"
    )


async def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=5.0, help="duration of each run")
    parser.add_argument("--folder", type=Path, default=None, help="where to write; default: the system's own")
    parser.add_argument(
        "--switch-ms", type=float, default=5.0, help="the interpreter's thread switch interval"
    )
    parser.add_argument("--volume", action="store_true", help="measure room instead of speed")
    arguments = parser.parse_args()
    sys.setswitchinterval(arguments.switch_ms / 1000)
    with tempfile.TemporaryDirectory(dir=arguments.folder) as name:
        folder = Path(name)
        if arguments.volume:
            print(
                "machines per min  per group     shares/day   B/share    packed       GB/day       packed   counts/day"
            )
            for machines, count in ((1, 4_000), (200, 8_000), (11_000, 40_000)):
                for per_minute in (6, 12):
                    print(await volume(folder, machines, per_minute, count), flush=True)
            return
        p50, p99 = disk_sync_ms(folder)
        print(f"disk: one page written and synced: p50 {p50:.2f} ms, p99 {p99:.2f} ms")
        print(" shares/s       stored    p50 ms    p99 ms    max ms  COMMIT p99 CPU µs/share")
        for rate in RATES:
            print(await paced(folder / f"{rate}.db", rate, arguments.seconds), flush=True)
        print(await flat_out(folder / "flat.db", arguments.seconds), flush=True)
        p50, p99 = disk_sync_ms(folder)
        print(f"disk afterwards: p50 {p50:.2f} ms, p99 {p99:.2f} ms")


if __name__ == "__main__":
    uvloop.run(main())
