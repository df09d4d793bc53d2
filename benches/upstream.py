"""What a share loses on its way through us to an upstream pool, and how many machines go over few connections.

    python benches/upstream.py [--machines 5000] [--connections 10] [--rate 885] [--seconds 20]
    python benches/upstream.py --machines 20000 --connections 40 --rate 3400

The pool at the upper end does nothing but note when each share arrives and answer it. Its difficulty is that of the machines,
so that every share goes all the way: checked, forwarded, stored, answered on both sides. The same generator also sends the
same load to the pool directly; what stands between the two is what we add. Budget: 1 ms at the 99th percentile.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import uvloop

from hashwerk.bench.loadgen import LoadResult
from hashwerk.bench.stratum import Processes, running
from hashwerk.pool.listen import allow_many_files

_DIFFICULTY = 2.0**-32
_COINBASE1 = "0100000001" + "00" * 32 + "ffffffff2003a0bb0d"
_COINBASE2 = "ffffffff0100f2052a01000000015100000000"


class SinkConnection(asyncio.Protocol):
    """A connection to the pool at the end."""

    def __init__(self, sink: Sink) -> None:
        self._sink = sink
        self._held = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Remember the transport."""
        self._transport: Any = transport

    def data_received(self, data: bytes) -> None:
        """Answer every line."""
        at = time.monotonic()
        *lines, self._held = (self._held + data).split(b"\n")
        out = []
        for line in lines:
            request = msgspec.json.decode(line)
            if request["method"] == "mining.submit":
                self._sink.arrived.append((request["params"][0], at))
                out.append(b'{"id":%d,"result":true,"error":null}\n' % request["id"])
            else:
                out.append(self._answer(request))
        self._transport.write(b"".join(out))

    def _answer(self, request: dict[str, Any]) -> bytes:
        result: Any = True
        match request["method"]:
            case "mining.configure":
                result = {"version-rolling": True, "version-rolling.mask": "1fffe000"}
            case "mining.subscribe":
                result = [[["mining.notify", "s"]], os.urandom(4).hex(), 8]
        lines = [{"id": request["id"], "result": result, "error": None}]
        if request["method"] == "mining.authorize" and not self._sink.is_known(self):
            lines += [
                {"id": None, "method": "mining.set_difficulty", "params": [_DIFFICULTY]},
                {"id": None, "method": "mining.notify", "params": self._sink.job},
            ]
        return b"".join(msgspec.json.encode(line) + b"\n" for line in lines)


class Sink:
    """A pool that notes when shares arrive."""

    def __init__(self) -> None:
        self.arrived: list[tuple[str, float]] = []
        self._known: set[SinkConnection] = set()
        ntime = f"{int(time.time()):08x}"
        self.job = [
            "1",
            os.urandom(32).hex(),
            _COINBASE1,
            _COINBASE2,
            [],
            "20000000",
            "17034219",
            ntime,
            True,
        ]

    def is_known(self, connection: SinkConnection) -> bool:
        """Say whether it has had its job."""
        if connection in self._known:
            return True
        self._known.add(connection)
        return False

    def dump(self, path: str) -> None:
        """Write which machine's share arrived when, and forget it."""
        rows = [(int(user[-6:]), at) for user, at in self.arrived if user[-7:-6] == "m"]
        np.save(path, np.array(rows, np.float64).reshape(-1, 2))
        self.arrived.clear()


async def _sink() -> None:
    allow_many_files()
    loop, sink = asyncio.get_running_loop(), Sink()
    server = await loop.create_server(lambda: SinkConnection(sink), "127.0.0.1", 0, backlog=4096)
    _say({"port": server.sockets[0].getsockname()[1]})
    reader = asyncio.StreamReader()
    await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)
    while line := await reader.readline():
        sink.dump(json.loads(line)["path"])
        _say({"done": True})


def _say(answer: Any) -> None:
    sys.stdout.buffer.write(msgspec.json.encode(answer) + b"\n")
    sys.stdout.buffer.flush()


class Pool:
    """The sink in a process of its own."""

    def __init__(self, process: subprocess.Popen[bytes]) -> None:
        self._process = process
        self.port = self._hear()["port"]

    def dump(self, path: Path) -> np.ndarray:
        """Return (machine, time) of the shares that arrived since the last call."""
        assert self._process.stdin is not None
        self._process.stdin.write(msgspec.json.encode({"path": str(path)}) + b"\n")
        self._process.stdin.flush()
        self._hear()
        return np.load(path)

    def _hear(self) -> Any:
        assert self._process.stdout is not None
        return msgspec.json.decode(self._process.stdout.readline())


@contextmanager
def pool() -> Iterator[Pool]:
    """Run the sink; it has ended afterwards."""
    process = subprocess.Popen(
        [sys.executable, __file__, "sink"], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    try:
        yield Pool(process)
    finally:
        assert process.stdin is not None
        process.stdin.close()
        process.wait(10)


def ways_ms(sent: np.ndarray, arrived: np.ndarray) -> np.ndarray:
    """Return how long each share took from the machine's write to the pool, in ms; each machine's arrive in order."""
    found = []
    for machine in np.unique(sent[:, 0]):
        left = sent[sent[:, 0] == machine, 2]
        there = arrived[arrived[:, 0] == machine, 1]
        assert len(left) == len(there), (
            f"machine {machine:.0f}: {len(left)} shares sent, {len(there)} arrived"
        )
        found.append(1000 * (there - left))
    return np.concatenate(found)


def measure(  # noqa: PLR0917
    processes: Processes, end: Pool, machines: int, rate: float, seconds: float, folder: Path
) -> tuple[LoadResult, Any]:
    """Return the answers' times and those of the way to the pool."""
    processes.load({"do": "connect", "count": machines})
    # Once around, so that every machine's name is known upstream.
    processes.load({"do": "pace", "seconds": machines / 4_000 + 0.5, "rate": 4_000.0})
    time.sleep(1)
    end.dump(folder / "warm.npy")
    answer = processes.load(
        {"do": "pace", "seconds": seconds, "rate": rate, "record": str(folder / "sent.npy")}
    )
    time.sleep(1)
    ways = ways_ms(np.load(folder / "sent.npy"), end.dump(folder / "arrived.npy"))
    return msgspec.convert(answer, LoadResult), ways


def main() -> None:
    """Measure both ways and print them."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--machines", type=int, default=5_000)
    parser.add_argument("--connections", type=int, default=10)
    parser.add_argument("--rate", type=float, default=885.0)
    parser.add_argument("--seconds", type=float, default=20.0)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="hashwerk-bench-") as name, pool() as end:
        folder = Path(name)
        with running(folder / "direct", port=end.port) as processes:
            _, direct = measure(processes, end, arguments.machines, arguments.rate, arguments.seconds, folder)
        upstream = {
            "name": "end",
            "url": f"stratum+tcp://127.0.0.1:{end.port}",
            "user": "acct",
            "connections": arguments.connections,
            "silence_timeout_s": 3600,
        }
        with running(folder / "ledger", upstreams=[upstream]) as processes:
            before = processes.usage()
            result, through = measure(
                processes, end, arguments.machines, arguments.rate, arguments.seconds, folder
            )
            after = processes.usage()
    print(
        f"{arguments.machines:,} machines over {arguments.connections} connections, {arguments.rate:g} shares a second"
    )
    for label, ways in (("machine to pool, directly", direct), ("machine to pool, through us", through)):
        p50, p90, p99 = np.percentile(ways, [50, 90, 99])
        print(f"  {label:30} {len(ways):>7,} shares  p50 {p50:.3f} ms  p90 {p90:.3f} ms  p99 {p99:.3f} ms")
    added = np.percentile(through, [50, 99]) - np.percentile(direct, [50, 99])
    print(f"  added by us                            p50 {added[0]:.3f} ms  p99 {added[1]:.3f} ms")
    print(
        f"  the machine's answer                   p50 {result.ms_p50:.3f} ms  p99 {result.ms_p99:.3f} ms"
        f"  ({result.rejected} rejected; disk sync p99 {after.sync_ms_p99:.2f} ms)"
    )
    shares = after.accepted - before.accepted
    print(
        f"  our process: {1e6 * (after.cpu_s - before.cpu_s) / shares:.0f} µs CPU a share, all told,"
        f" {after.rss_bytes / 1e6:.0f} MB, {after.sessions:,} sessions"
    )


if __name__ == "__main__":
    if sys.argv[1:] == ["sink"]:
        uvloop.run(_sink())
    else:
        main()
