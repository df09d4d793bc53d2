"""How fast a whole fleet is looked at: `python benches/fleet.py [--machines N …] [--hung SHARE] [--steady S]`.

Budget: a full poll of 1,000 machines in 0.8 s and of 5,000 in 5 s, 1 % of them hung, on two cores: one for the fleet,
one for the simulated hall, which is a process of its own. That is until everybody who answers was read; the hung ones
take their deadline. The columns of the hall map are to be made in under 0.1 s.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import resource
import subprocess
import sys
import tempfile
import time
import urllib.request
from pathlib import Path

import msgspec
import uvloop

from hashwerk.clock import SystemClock
from hashwerk.devices import open_drivers
from hashwerk.fleet.settings import FleetSettings
from hashwerk.site.fleet import FleetService
from hashwerk.twin import HallSettings

BASE = "127.48.0.1"
CONTROL_PORT = 40_281


async def measure(machines: int, hung: float, steady_s: float) -> None:
    """Search once, then look at everybody, first all well and then with some hung; at last run as a mine does for a while."""
    hall = HallSettings(machines=machines, base=BASE)
    settings = FleetSettings(ranges=(f"{BASE}-{hall.address(machines - 1)}",), timeout_s=3.0, concurrency=512)
    with tempfile.TemporaryDirectory() as folder:
        record = Path(folder) / "fleet.sqlite"
        fleet = FleetService(settings, record, SystemClock(), drivers=open_drivers())
        fleet.open()
        started = time.perf_counter()
        await fleet.discovery.search()
        print(f"{len(fleet.roster.units):>6} machines found in {time.perf_counter() - started:5.2f} s")
        await sweep(fleet, "all well")
        for index in range(0, machines, max(1, round(1 / hung))):
            await asyncio.to_thread(hang, f"twin-{index + 1:04d}")
        await sweep(fleet, f"{hung:.0%} hung")
        started = time.perf_counter()
        body = msgspec.json.encode(fleet.columns())
        print(
            f"       columns {1e3 * (time.perf_counter() - started):5.1f} ms, {len(body) / 1e3:,.0f} kB of JSON"
        )
        memory_mb = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
        print(f"       {memory_mb:,.0f} MB at the most, the whole process")
        if steady_s:
            await steady(fleet, steady_s)
        await fleet.close()


async def steady(fleet: FleetService, seconds: float) -> None:
    """Watch, alarm, measure and record as a mine does; say how late polls begin."""
    task, late_s, cpu, polls = asyncio.create_task(fleet.run()), list[float](), time.process_time(), 0
    for second in range(round(seconds) + round(fleet.settings.poll_s)):
        await asyncio.sleep(1.0)
        if second == round(fleet.settings.poll_s):  # everybody has a moment of their own by now
            late_s, cpu, polls = [], time.process_time(), fleet.watcher.polls
        late_s.append(fleet.watcher.lateness_s)
    share = (time.process_time() - cpu) / len(late_s)
    print(
        f"       every {fleet.settings.poll_s:g} s: {(fleet.watcher.polls - polls) / len(late_s):,.0f} polls a second,"
        f" {share:.0%} of a core, {max(late_s):.2f} s late at the most"
    )
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


async def sweep(fleet: FleetService, name: str) -> None:
    """Look at everybody once, as fast as it goes."""
    began, started, cpu = time.time(), time.perf_counter(), time.process_time()
    await fleet.watcher.sweep()
    wall_s, cpu_s = time.perf_counter() - started, time.process_time() - cpu
    read = [
        unit.read_at - began for unit in fleet.roster.units.values() if unit.read_at and unit.read_at > began
    ]
    print(
        f"       full poll, {name}: {len(read)} read within {max(read):5.2f} s, over after {wall_s:5.2f} s,"
        f" {cpu_s:5.2f} s of this process's CPU"
    )


def hang(name: str) -> None:
    """Let a machine take connections and never answer."""
    request = urllib.request.Request(
        f"http://127.0.0.1:{CONTROL_PORT}/faults",
        f'{{"machine": "{name}", "kind": "hang"}}'.encode(),
        {"content-type": "application/json"},
    )
    urllib.request.urlopen(request, timeout=5).close()


def main() -> None:
    """Run the hall beside, and measure."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--machines", type=int, nargs="+", default=[1_000, 5_000])
    parser.add_argument("--hung", type=float, default=0.01)
    parser.add_argument("--steady", type=float, default=0.0, help="seconds of an ordinary day at the end")
    options = parser.parse_args()
    for machines in options.machines:
        command = [sys.executable, "-m", "hashwerk", "twin", "--machines", str(machines), "--base", BASE]
        hall = subprocess.Popen(
            [*command, "--http-port", "0", "--control-port", str(CONTROL_PORT), "--json"],
            stdout=subprocess.DEVNULL,
        )
        try:
            deadline = time.monotonic() + 60
            while time.monotonic() < deadline:
                with contextlib.suppress(OSError):
                    urllib.request.urlopen(f"http://127.0.0.1:{CONTROL_PORT}/hall", timeout=2).close()
                    break
                time.sleep(0.2)
            uvloop.run(measure(machines, options.hung, options.steady))
        finally:
            hall.terminate()
            hall.wait()


if __name__ == "__main__":
    main()
