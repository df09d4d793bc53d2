"""How fast Avalons are polled: full readings over loopback, 1 % of the machines hung.

    python benches/devices_poll.py [--machines 1000] [--hung 10] [--scan]

Budget (issue 4 §6): 1,000 in under 0.8 s and 5,000 in under 5 s with 1 % hung, on two cores; and at most 1 ms of CPU of the
polling process a reading, so that 5,000 machines every 10 s take half a core. The machines are one process of their own
that answers each joined request with the same recorded bytes, one address each; a hung one accepts and stays silent.
Two times are
printed: when the last machine that answers had answered, which is what the budget is about, and when the last hung one
was given up, which is its deadline and delays nobody.
"""

from __future__ import annotations

import argparse
import asyncio
import multiprocessing
import multiprocessing.connection
import resource
import sys
import time
from pathlib import Path
from typing import cast

import uvloop

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests"))

from hashwerk.devices import scan
from hashwerk.devices.avalon import AvalonDriver
from hashwerk.errors import DeviceError
from hashwerk.fleet.ports import Address
from support import avalon_replies
from support.cgminer_machine import CgminerMachine

PORT = 40_280
#: The site polls so many at a time: enough to fill a loop, and within the usual 1,024 open files.
CONCURRENCY = 256
TIMEOUT_S = 2.0
MACHINES = {"q": avalon_replies.q_running, "a1566": avalon_replies.a1566}


def address(number: int) -> Address:
    """Return the address of a machine: 127.10.0.1 and on."""
    return Address(host=f"127.{10 + (number >> 16)}.{number >> 8 & 255}.{number & 255}", port=PORT)


class Answerer(asyncio.Protocol):
    """Answers whatever it is asked with the recorded bytes, or, when hung, with nothing."""

    replies: dict[bytes, bytes]
    machine: CgminerMachine
    hung: frozenset[str]

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast("asyncio.Transport", transport)
        self.is_hung = transport.get_extra_info("sockname")[0] in self.hung

    def data_received(self, data: bytes) -> None:
        if self.is_hung:
            return
        reply = self.replies.get(data)
        if reply is None:
            reply = self.replies[data] = self.machine.reply(data) or b""
        self.transport.write(reply)
        self.transport.close()


def serve(ready: multiprocessing.connection.Connection, model: str, hung: frozenset[str]) -> None:
    """Serve all machines until the pipe closes."""

    async def run() -> None:
        Answerer.replies, Answerer.machine, Answerer.hung = {}, MACHINES[model](), hung
        loop = asyncio.get_running_loop()
        server = await loop.create_server(Answerer, "0.0.0.0", PORT, backlog=8192, reuse_address=True)
        over = asyncio.Event()
        loop.add_reader(ready.fileno(), over.set)
        ready.send(True)
        await over.wait()
        server.close()

    uvloop.run(run())


async def poll(driver: AvalonDriver, machines: int, timeout_s: float) -> tuple[int, float]:
    """Read all machines once; return how many answered, and when the last of them had."""
    waiting = iter(range(1, machines + 1))
    answered, last = 0, 0.0

    async def work() -> None:
        nonlocal answered, last
        for number in waiting:
            try:
                await driver.read(address(number), timeout_s=timeout_s)
            except DeviceError:
                continue
            answered, last = answered + 1, time.perf_counter()

    async with asyncio.TaskGroup() as workers:
        for _ in range(min(CONCURRENCY, machines)):
            workers.create_task(work())
    return answered, last


async def find(driver: AvalonDriver, machines: int, timeout_s: float) -> None:
    """Scan the ranges in which the machines are and print how long it took."""
    started, cpu, found = time.perf_counter(), _cpu_s(), 0
    ranges = [f"{address(1).host}-{address(machines).host}"]
    async for _ in scan(ranges, [driver], timeout_s=timeout_s, port=PORT, concurrency=CONCURRENCY):
        found += 1
        last = time.perf_counter()
    cpu = _cpu_s() - cpu
    print(
        f"scan of {machines} addresses: {found} found in {last - started:.2f} s, over after "
        f"{time.perf_counter() - started:.2f} s, {1000 * cpu / machines:.3f} ms CPU each"
    )


def main() -> None:
    """Print the time of full polls, the CPU of each reading, and the share of those that answered."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--machines", type=int, default=1000)
    parser.add_argument("--hung", type=int, default=None, help="default: 1 %%")
    parser.add_argument("--model", choices=MACHINES, default="q")
    parser.add_argument("--timeout", type=float, default=TIMEOUT_S, help="of one reading, in seconds")
    parser.add_argument("--polls", type=int, default=3)
    parser.add_argument(
        "--scan", action="store_true", help="find them in their ranges instead of reading them"
    )
    options = parser.parse_args()
    hung_count = options.machines // 100 if options.hung is None else options.hung
    hung = frozenset(address(1 + at * 97 % options.machines).host for at in range(hung_count))
    here, there = multiprocessing.Pipe()
    server = multiprocessing.Process(target=serve, args=(there, options.model, hung), daemon=True)
    server.start()
    here.recv()

    async def run() -> None:
        driver = AvalonDriver()
        if options.scan:
            await find(driver, options.machines, options.timeout)
            return
        await poll(driver, options.machines, options.timeout)  # the first learns how each is best asked
        for _ in range(options.polls):
            started, cpu = time.perf_counter(), _cpu_s()
            answered, last = await poll(driver, options.machines, options.timeout)
            elapsed, cpu = time.perf_counter() - started, _cpu_s() - cpu
            print(
                f"{options.machines} × {options.model}: {answered} answered in {last - started:.2f} s, {len(hung)} hung given "
                f"up after {elapsed:.2f} s, {1000 * cpu / options.machines:.3f} ms CPU each"
            )

    uvloop.run(run())
    here.close()
    server.join(5)
    server.kill()


def _cpu_s() -> float:
    usage = resource.getrusage(resource.RUSAGE_SELF)
    return usage.ru_utime + usage.ru_stime


if __name__ == "__main__":
    main()
