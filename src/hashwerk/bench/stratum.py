"""`hashwerk bench stratum`: what the Stratum server does on this machine, with the real ledger on the real disk.

The server and the load generator run in processes of their own. What is measured is stated with what it was measured
against: the disk's own sync time stands beside every latency.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

import msgspec
from rich.console import Console
from rich.table import Table

from hashwerk.bench.loadgen import LoadResult
from hashwerk.bench.stratum_target import Usage
from hashwerk.errors import HashwerkError

_GRACE_S: Final = 10.0


class Saturation(msgspec.Struct, frozen=True, kw_only=True):
    """Machines that keep a window of shares under way."""

    connections: int
    window: int
    shares_per_s: float
    rejected: int
    cpu_us_per_share: float  # of the whole server process, ledger included
    ms_p50: float | None  # only for a window of 1
    ms_p99: float | None
    sync_ms_p50: float | None  # of the disk, per commit
    sync_ms_p99: float | None


class Paced(msgspec.Struct, frozen=True, kw_only=True):
    """Machines that hand in so many shares a second, whatever the answers do."""

    connections: int
    shares_per_s: float
    duration_s: float
    errors: int
    ms_p50: float | None
    ms_p99: float | None
    ms_max: float | None
    sync_ms_p50: float | None
    sync_ms_p99: float | None


class Connections(msgspec.Struct, frozen=True, kw_only=True):
    """Many machines connected at once, and a new block for all of them."""

    connections: int
    connect_s: float
    bytes_per_connection: float
    rss_bytes: int
    template_to_first_job_ms: float
    template_to_last_job_ms: float  # at the last machine


class StratumBench(msgspec.Struct, frozen=True, kw_only=True):
    """Everything that was measured; None: not asked for."""

    folder: str
    shares_per_s: float | None = None
    cpu_us_per_share: float | None = None
    throughput: Saturation | None = None
    one_at_a_time: Saturation | None = None
    paced: Paced | None = None
    miners: Paced | None = None
    storm: Connections | None = None


class Processes:
    """The server under test and the load generator, each taking orders on its standard input."""

    def __init__(self, target: subprocess.Popen[bytes], generator: subprocess.Popen[bytes]) -> None:
        self._target = target
        self._generator = generator

    def load(self, order: dict[str, Any]) -> Any:
        """Give the generator an order and return its answer."""
        self.tell_generator(order)
        return self.hear_generator()

    def tell_generator(self, order: dict[str, Any]) -> None:
        """Give the generator an order without waiting."""
        _say(self._generator, order)

    def hear_generator(self) -> Any:
        """Return the generator's next answer."""
        return _hear(self._generator)

    def usage(self) -> Usage:
        """Return what the server has used so far."""
        _say(self._target, {"do": "usage"})
        return msgspec.convert(_hear(self._target), Usage)

    def new_block(self) -> float:
        """Let the server's node have a new template; return when, on the monotonic clock."""
        _say(self._target, {"do": "block"})
        return float(_hear(self._target)["at"])


def _say(process: subprocess.Popen[bytes], order: dict[str, Any]) -> None:
    assert process.stdin is not None
    try:
        process.stdin.write(msgspec.json.encode(order) + b"\n")
        process.stdin.flush()
    except BrokenPipeError as error:
        raise HashwerkError("a process of the bench has ended by itself; see its messages above") from error


def _hear(process: subprocess.Popen[bytes]) -> Any:
    assert process.stdout is not None
    line = process.stdout.readline()
    if not line:
        raise HashwerkError("a process of the bench has ended by itself; see its messages above")
    return msgspec.json.decode(line)


@contextmanager
def running(
    folder: Path,
    *,
    transactions: int = 0,
    upstreams: Sequence[dict[str, Any]] = (),
    port: int | None = None,
) -> Iterator[Processes]:
    """Run a server with its ledger in ``folder``, and a generator that knows it; both have ended afterwards.

    Args:
        folder: For the ledger.
        transactions: How many a template has.
        upstreams: Pools that the server's machines work for, as `UpstreamSettings`.
        port: Where the generator goes instead of the server.
    """
    pools = msgspec.json.encode(upstreams).decode()
    folder.mkdir(exist_ok=True)
    commands = (
        [sys.executable, "-m", "hashwerk.bench.stratum_target", str(folder), str(transactions), pools],
        [sys.executable, "-m", "hashwerk.bench.loadgen"],
    )
    started = [
        subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) for command in commands
    ]
    target, generator = started
    try:
        own = _hear(target)["port"]
        _say(generator, {"host": "127.0.0.1", "port": own if port is None else port})
        yield Processes(target, generator)
    finally:
        for process in (generator, target):
            assert process.stdin is not None
            assert process.stdout is not None
            try:
                process.stdin.close()
                process.wait(_GRACE_S)
            except (BrokenPipeError, subprocess.TimeoutExpired):
                process.kill()
                process.wait()
            process.stdout.close()


def measure_saturation(processes: Processes, connections: int, window: int, seconds: float) -> Saturation:
    """Keep ``window`` shares of each of so many machines under way."""
    processes.load({"do": "connect", "count": connections})
    before = processes.usage()
    answer = processes.load({"do": "saturate", "seconds": seconds, "window": window})
    result, after = msgspec.convert(answer, LoadResult), processes.usage()
    accepted = max(1, after.accepted - before.accepted)
    return Saturation(
        connections=connections,
        window=window,
        shares_per_s=result.accepted / result.duration_s,
        rejected=result.rejected,
        cpu_us_per_share=1e6 * (after.cpu_s - before.cpu_s) / accepted,
        ms_p50=result.ms_p50,
        ms_p99=result.ms_p99,
        sync_ms_p50=after.sync_ms_p50,
        sync_ms_p99=after.sync_ms_p99,
    )


def measure_paced(processes: Processes, connections: int, rate: float, seconds: float) -> Paced:
    """Hand in ``rate`` shares a second on so many machines in turn."""
    processes.load({"do": "connect", "count": connections})
    answer = processes.load({"do": "pace", "seconds": seconds, "rate": rate})
    result, after = msgspec.convert(answer, LoadResult), processes.usage()
    return Paced(
        connections=connections,
        shares_per_s=result.accepted / result.duration_s,
        duration_s=result.duration_s,
        errors=int(rate * seconds) - result.accepted,
        ms_p50=result.ms_p50,
        ms_p99=result.ms_p99,
        ms_max=result.ms_max,
        sync_ms_p50=after.sync_ms_p50,
        sync_ms_p99=after.sync_ms_p99,
    )


def measure_connections(processes: Processes, count: int) -> Connections:
    """Connect so many machines as fast as it goes, then bring them a new block."""
    before = processes.usage()
    connected = processes.load({"do": "connect", "count": count})
    after = processes.usage()
    processes.tell_generator({"do": "await_job", "timeout_s": 30.0})
    at = processes.new_block()
    jobs = processes.hear_generator()
    if jobs["missing"]:
        raise HashwerkError(f"{jobs['missing']:.0f} of {count} machines got no job within 30 s")
    return Connections(
        connections=count,
        connect_s=connected["seconds"],
        bytes_per_connection=(after.rss_bytes - before.rss_bytes) / (after.sessions - before.sessions),
        rss_bytes=after.rss_bytes,
        template_to_first_job_ms=1000 * (jobs["first_at"] - at),
        template_to_last_job_ms=1000 * (jobs["last_at"] - at),
    )


#: Scenario → what it measures, and how. The counts are those of the published figures we compare with.
SCENARIOS: Final[dict[str, tuple[str, Callable[[Processes, float], Any]]]] = {
    "throughput": (
        "50 machines, 100 shares under way each",
        lambda processes, seconds: measure_saturation(processes, 50, 100, seconds),
    ),
    "one_at_a_time": (
        "50 machines, one share under way each",
        lambda processes, seconds: measure_saturation(processes, 50, 1, seconds),
    ),
    "paced": (
        "50 machines, 885 shares a second",
        lambda processes, seconds: measure_paced(processes, 50, 885, seconds),
    ),
    "miners": (
        "5,000 machines, 885 shares a second",
        lambda processes, seconds: measure_paced(processes, 5_000, 885, seconds),
    ),
    "storm": (
        "10,000 machines connect, then a new block",
        lambda processes, _seconds: measure_connections(processes, 10_000),
    ),
}
DEFAULT_SCENARIOS: Final = ("throughput", "one_at_a_time", "paced", "storm")


def run_stratum_bench(
    *,
    scenarios: Sequence[str] = DEFAULT_SCENARIOS,
    seconds: float = 4.0,
    folder: Path | None = None,
    console: Console | None = None,
) -> StratumBench:
    """Measure the Stratum server; by default for less than half a minute.

    Args:
        scenarios: What to measure, names of `SCENARIOS`; each with a server of its own.
        seconds: How long each that takes a time is measured.
        folder: Where the ledger is written, to choose the disk; None: the system's folder for temporary files.
        console: Where to say what is being done; None: nowhere.

    Raises:
        ValueError: If a scenario is unknown.
        HashwerkError: If the server or the generator fails.
    """
    unknown = set(scenarios) - set(SCENARIOS)
    if unknown:
        raise ValueError(f"unknown scenario {sorted(unknown)[0]!r}; there are {', '.join(SCENARIOS)}")
    found: dict[str, Any] = {}
    for name in scenarios:
        what, measure = SCENARIOS[name]
        if console is not None:
            console.print(f"measuring {what} …")
        with (
            tempfile.TemporaryDirectory(prefix="hashwerk-bench-", dir=folder) as place,
            running(Path(place)) as processes,
        ):
            found[name] = measure(processes, seconds)
    throughput: Saturation | None = found.get("throughput")
    return StratumBench(
        folder=str(folder or tempfile.gettempdir()),
        shares_per_s=throughput.shares_per_s if throughput else None,
        cpu_us_per_share=throughput.cpu_us_per_share if throughput else None,
        **found,
    )


def render(result: StratumBench, console: Console) -> None:
    """Print a result for people."""
    table = Table(title=f"Stratum server, ledger in {result.folder}", title_justify="left")
    table.add_column("load")
    table.add_column("result", justify="right")
    table.add_column("of which the disk")
    for name, (what, _) in SCENARIOS.items():
        measured = getattr(result, name)
        if measured is not None:
            table.add_row(what, *_row(measured))
    console.print(table)


def _row(measured: Saturation | Paced | Connections) -> tuple[str, str]:
    match measured:
        case Saturation(ms_p50=None):
            return (
                f"{measured.shares_per_s:,.0f} shares/s accepted and durable, {measured.cpu_us_per_share:.2f} µs CPU each",
                _sync(measured),
            )
        case Saturation():
            return (
                f"{measured.shares_per_s:,.0f} shares/s, p50 {measured.ms_p50:.2f} ms, p99 {measured.ms_p99:.2f} ms",
                _sync(measured),
            )
        case Paced():
            return (
                f"p50 {_ms(measured.ms_p50)}, p99 {_ms(measured.ms_p99)}, {measured.errors} errors",
                _sync(measured),
            )
        case Connections():
            return (
                f"connected in {measured.connect_s:.2f} s, {measured.bytes_per_connection / 1000:.1f} kB each; "
                f"job at the first after {measured.template_to_first_job_ms:.1f} ms, "
                f"at the last after {measured.template_to_last_job_ms:.0f} ms",
                "",
            )


def _sync(measured: Saturation | Paced) -> str:
    return f"sync p50 {_ms(measured.sync_ms_p50)}, p99 {_ms(measured.sync_ms_p99)}"


def _ms(value: float | None) -> str:
    return "–" if value is None else f"{value:.2f} ms"
