"""Five thousand shares a second, durable, for as long as asked: latency and memory of the server, minute by minute.

    python benches/soak.py [--minutes 60] [--rate 5000] [--connections 500]

A new block comes every minute, as jobs and their duplicates must be forgotten for the memory to stay flat.
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path

from hashwerk.bench.stratum import measure_paced, running


def main() -> None:
    """Run, print a line a minute, and what stands at the end."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--minutes", type=int, default=60)
    parser.add_argument("--rate", type=float, default=5_000.0)
    parser.add_argument("--connections", type=int, default=500)
    arguments = parser.parse_args()
    print(
        f"{'minute':>6} {'shares/s':>9} {'errors':>7} {'p50 ms':>8} {'p99 ms':>8} {'max ms':>8} {'sync p99':>9} {'MB':>7}"
    )
    total, memory = 0.0, []
    with tempfile.TemporaryDirectory(prefix="hashwerk-soak-") as folder, running(Path(folder)) as processes:
        connections = arguments.connections
        for minute in range(1, arguments.minutes + 1):
            result = measure_paced(processes, connections, arguments.rate, 60.0)
            connections = 0  # they stay
            usage = processes.usage()
            memory.append(usage.rss_bytes / 1e6)
            total += result.shares_per_s * result.duration_s
            print(
                f"{minute:>6} {result.shares_per_s:>9,.0f} {result.errors:>7} {result.ms_p50:>8.2f} {result.ms_p99:>8.2f}"
                f" {result.ms_max:>8.1f} {result.sync_ms_p99 or 0:>9.2f} {memory[-1]:>7.0f}",
                flush=True,
            )
            processes.new_block()
    early = memory[min(4, len(memory) - 1)]
    print(f"{total:,.0f} shares; memory after 5 minutes {early:.0f} MB, at the end {memory[-1]:.0f} MB")


if __name__ == "__main__":
    main()
