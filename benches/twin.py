"""A hall of virtual machines: how soon it stands, what a machine costs, how many replies a second, what hashing takes.

    python benches/twin.py [--machines 1000,5000] [--hashing 200] [--seconds 8]

The hall runs in a process of its own (`hashwerk twin`), the client in this one. Budgets: 5,000 machines stand within ten
seconds and cost under 40 kB each; 200 Avalon Q at the default scale hash with less than a fifth of a core.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import resource
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psutil
import uvloop

sys.path.insert(0, str(Path(__file__).parent.parent / "tests"))

from hashwerk.twin.settings import DEFAULT_SCALE
from support.pool import running_pool

BASE = "127.90.0.1"
AT_ONCE = 256
MIX = "avalon-q,luxos-s19kpro,whatsminer-m50s,avalon-a1566"


@contextmanager
def hall(*arguments: str) -> Iterator[tuple[psutil.Process, dict[str, Any], float]]:
    """Run a hall; yield its process, its first line and how long it took to stand.

    Its further lines, one a second, are not read: few enough for a pipe.
    """
    command = [
        sys.executable,
        "-m",
        "hashwerk",
        "twin",
        "--json",
        "--base",
        BASE,
        "--control-port",
        "0",
        *arguments,
    ]
    started_at = time.perf_counter()
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    try:
        first = json.loads(process.stdout.readline())
        took_s = time.perf_counter() - started_at
        yield psutil.Process(process.pid), first, took_s
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(timeout=30)


async def poll(machines: list[dict[str, Any]], command: str) -> tuple[float, int]:
    """Ask every machine once; return how long it took and how many answered."""
    gate, answered = asyncio.Semaphore(AT_ONCE), 0
    request = json.dumps({"command": command}).encode()

    async def one(machine: dict[str, Any]) -> None:
        nonlocal answered
        async with gate:
            reader, writer = await asyncio.open_connection(machine["host"], machine["port"])
            writer.write(request)
            reply = await reader.read()
            writer.close()
            answered += b"STATUS" in reply

    started_at = time.perf_counter()
    async with asyncio.TaskGroup() as group:
        for machine in machines:
            group.create_task(one(machine))
    return time.perf_counter() - started_at, answered


async def measure_size(count: int, base_bytes: int) -> None:
    """Print what a hall of so many machines costs and how fast it answers."""
    with hall("--machines", str(count), "--model", MIX) as (process, first, took_s):
        standing = process.memory_info().rss
        await asyncio.sleep(1)
        print(
            f"{count:,} machines: stand after {took_s:.2f} s, {(standing - base_bytes) / count / 1e3:.1f} kB each"
        )
        for command in ("summary", "version+summary+devs"):
            before = process.cpu_times()
            elapsed_s, answered = await poll(first["machines"], command)
            after = process.cpu_times()
            cpu_s = after.user + after.system - before.user - before.system
            print(
                f"  {command:22} {answered:,} replies in {elapsed_s:.2f} s: {answered / elapsed_s:,.0f} a second, "
                f"{cpu_s / answered * 1e6:.0f} µs of the hall's processor each"
            )
        print(f"  after that {(process.memory_info().rss - base_bytes) / count / 1e3:.1f} kB each")


async def measure_hashing(count: int, scale: float, seconds: float) -> None:
    """Print what hashing takes of a core, the Stratum sessions included."""
    with tempfile.TemporaryDirectory() as folder:
        async with running_pool(Path(folder), vardiff=True) as pool:
            arguments = ["--machines", str(count), "--pool", pool.url, "--scale", str(scale)]
            with hall(*arguments) as (process, _first, _took_s):
                await pool.until(lambda pool: pool.server.sessions == count)
                before, accepted, started_at = process.cpu_times(), pool.accepted, time.perf_counter()
                await asyncio.sleep(seconds)
                after, elapsed_s = process.cpu_times(), time.perf_counter() - started_at
                cpu = (after.user + after.system - before.user - before.system) / elapsed_s
                shares = (pool.accepted - accepted) / elapsed_s
                print(
                    f"{count} Avalon Q hash at 1:{scale:g} with {cpu:.1%} of a core, {shares:.1f} shares a second, "
                    f"{sum(pool.rejected.values())} rejected"
                )


async def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--machines", default="1000,5000")
    parser.add_argument("--hashing", type=int, default=200)
    parser.add_argument("--seconds", type=float, default=8)
    arguments = parser.parse_args()
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    with hall("--machines", "1", "--model", MIX) as (process, _first, _took_s):
        base_bytes = process.memory_info().rss
    for count in (int(word) for word in arguments.machines.split(",")):
        await measure_size(count, base_bytes)
    for scale in (DEFAULT_SCALE, DEFAULT_SCALE / 10):
        await measure_hashing(arguments.hashing, scale, arguments.seconds)


if __name__ == "__main__":
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(main())
