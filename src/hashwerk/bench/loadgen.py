"""A load generator for Stratum servers: a process of its own that spends as little as it can on each share.

Shares are real and distinct (another nonce each), written in blocks by numpy and sent as slices; answers are counted, not
parsed. It speaks Stratum V1 to any server whose share target every hash meets, and takes its orders as JSON lines.
"""

from __future__ import annotations

import json
import select
import selectors
import socket
import sys
import time
from collections import deque
from typing import Any, Final

import msgspec
import numpy as np
from numpy.typing import NDArray

from hashwerk.pool.listen import allow_many_files

_BLOCK: Final = 1_000  # shares written at a time for a machine that hands in as many as it can
_SMALL_BLOCK: Final = 8  # …and for one that hands in one now and then: writing them must not delay it
_HEX: Final = np.frombuffer(b"0123456789abcdef", np.uint8)
_NONCE_SHIFTS: Final = np.arange(28, -1, -4, dtype=np.uint32)
_CONNECTING: Final = 512  # connects under way at a time
_RECEIVE_BYTES: Final = 1 << 18
_AUTHORIZE_ID: Final = 2
_ACCEPTED: Final = b'"result":true'
_NOTIFY: Final = b'"method":"mining.notify"'


class LoadResult(msgspec.Struct, frozen=True, kw_only=True):
    """What one run measured. Latencies in milliseconds, from a share's sending to its answer."""

    duration_s: float
    accepted: int
    rejected: int
    ms_p50: float | None = None
    ms_p90: float | None = None
    ms_p99: float | None = None
    ms_max: float | None = None


class Machine:
    """One connection that hands in shares."""

    __slots__ = (
        "_authorized",
        "_block",
        "_length",
        "_next",
        "_nonce",
        "_tail",
        "block_shares",
        "extranonce2_size",
        "job",
        "sent_at",
        "sock",
        "user",
    )

    def __init__(self, sock: socket.socket, user: str) -> None:
        self.sock = sock
        self.user = user
        self.job: tuple[str, str] | None = None  # id and ntime
        self.sent_at: deque[float] = deque()
        self.block_shares = _SMALL_BLOCK
        self.extranonce2_size = 8
        self._block = memoryview(b"")
        self._length = 1
        self._next = 0
        self._nonce = 0
        self._tail = b""
        self._authorized = False

    def greet(self) -> None:
        """Subscribe and authorise."""
        self.sock.send(
            b'{"id":1,"method":"mining.subscribe","params":["loadgen/1"]}\n'
            b'{"id":%d,"method":"mining.authorize","params":["%b","x"]}\n'
            % (_AUTHORIZE_ID, self.user.encode())
        )

    def hear(self, data: bytes) -> bool:
        """Take what the server says until it may be worked for: a job is known and the user authorised.

        Some servers send the job first. The answer to the authorisation must not be left to be counted as a share's.

        Raises:
            ConnectionError: If the server ended the connection or refuses the user.
        """
        if not data:
            raise ConnectionError("the server closed a connection")
        for line in self.whole_lines(data).splitlines():
            if _NOTIFY in line:
                self.take_job(line)
            elif b'"method"' not in line:
                self._take_answer(json.loads(line))
        return self.job is not None and self._authorized

    def _take_answer(self, answer: dict[str, Any]) -> None:
        match answer:
            case {"id": 1, "result": [_, _, int(size), *_]}:
                self.extranonce2_size = size
            case {"id": 2, "result": True}:
                self._authorized = True
            case {"id": 2}:
                raise ConnectionError(f"the server refuses {self.user}")

    def whole_lines(self, data: bytes) -> bytes:
        """Return the lines that are complete with ``data``, and keep what follows them."""
        end = data.rfind(b"\n") + 1
        if not end:
            self._tail += data
            return b""
        lines = self._tail + data[:end] if self._tail or end < len(data) else data
        self._tail = data[end:]
        return lines

    def take_job(self, line: bytes) -> None:
        """Work on the job of a `mining.notify` line from now on."""
        params = json.loads(line)["params"]
        self.job = (params[0], params[7])
        self._next = len(self._block)

    def shares(self, count: int) -> memoryview:
        """Return the lines of the next shares; at most a block, perhaps fewer than asked for."""
        if self._next >= len(self._block):
            self._write_block()
        start = self._next
        self._next = min(start + count * self._length, len(self._block))
        return self._block[start : self._next]

    @property
    def line_bytes(self) -> int:
        """How long a share's line is."""
        return self._length

    def _write_block(self) -> None:
        assert self.job is not None
        job_id, ntime = self.job
        extranonce2 = "00" * self.extranonce2_size
        head = f'{{"id":1000000,"method":"mining.submit","params":["{self.user}","{job_id}","{extranonce2}","{ntime}","'
        line = f'{head}00000000"]}}\n'.encode()
        lines: NDArray[np.uint8] = np.tile(np.frombuffer(line, np.uint8), (self.block_shares, 1))
        nonces = np.arange(self._nonce, self._nonce + self.block_shares, dtype=np.uint32)
        at = len(head)
        lines[:, at : at + 8] = _HEX[(nonces[:, None] >> _NONCE_SHIFTS) & 15]
        self._nonce += self.block_shares
        self._block = memoryview(lines.tobytes())
        self._length = len(line)
        self._next = 0


class LoadGenerator:
    """Many machines on one thread."""

    def __init__(self, host: str, port: int, *, accounts: int = 1) -> None:
        self._address = (host, port)
        self._accounts = accounts
        self._machines: dict[int, Machine] = {}
        self._selector = selectors.DefaultSelector()

    def connect(self, count: int) -> dict[str, float]:
        """Connect until there are ``count`` authorised machines that have a job; return how long it took."""
        started_at = time.monotonic()
        allow_many_files()
        waiting: set[int] = set()
        opened = len(self._machines)
        while len(self._machines) < count or waiting:
            while opened < count and len(waiting) < _CONNECTING:
                waiting.add(self._open(opened))
                opened += 1
            for key, _ in self._selector.select(10):
                number, machine = key.fd, key.data
                if number not in waiting:
                    continue
                if not machine.sent_at:
                    machine.sent_at.append(0.0)
                    machine.greet()
                    self._selector.modify(number, selectors.EVENT_READ, machine)
                elif machine.hear(machine.sock.recv(_RECEIVE_BYTES)):
                    machine.sent_at.clear()
                    waiting.discard(number)
        return {"seconds": time.monotonic() - started_at, "connections": float(len(self._machines))}

    def _open(self, index: int) -> int:
        sock = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
        sock.setblocking(False)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        sock.connect_ex(self._address)
        number = sock.fileno()
        machine = Machine(sock, f"bench{index % self._accounts}.m{index:06}")
        self._machines[number] = machine
        self._selector.register(number, selectors.EVENT_WRITE, machine)
        return number

    def saturate(self, seconds: float, window: int) -> LoadResult:
        """Keep ``window`` shares of every machine under way; with a window of 1, measure each one's time."""
        counts = [0, 0]
        latencies: list[float] = []
        started_at = time.perf_counter()
        ends_at = started_at + seconds
        for machine in self._machines.values():
            machine.block_shares = _BLOCK
            self._send(machine, window)
        now = started_at
        while now < ends_at:
            for key, _ in self._selector.select(1):
                machine = key.data
                answered = self._receive(machine, counts)
                now = time.perf_counter()
                if answered and window == 1:
                    latencies.append(now - machine.sent_at.popleft())
                self._send(machine, answered)
            now = time.perf_counter()
        return self._finish(started_at, now, counts, latencies, drain=window * len(self._machines))

    def pace(self, seconds: float, rate: float, record: str | None = None) -> LoadResult:
        """Hand in ``rate`` shares a second on the machines in turn, whatever the answers do.

        A share's time counts from when it was due, so that a late generator does not flatter the server. With ``record``
        the time at which each share was written goes into a file of that name, on the monotonic clock: an array of
        (machine, its how many-th share, seconds).
        """
        written: list[tuple[int, int, float]] = []
        counts = [0, 0]
        latencies: list[float] = []
        machines = list(self._machines.values())
        for machine in machines:
            machine.block_shares = _SMALL_BLOCK
        started_at = time.perf_counter()
        due, total = 0, int(rate * seconds)
        selector = self._selector.fileno()
        while len(latencies) < total:
            now = time.perf_counter()
            if now > started_at + seconds + 10:
                break
            while due < total and started_at + due / rate <= now:
                machine = machines[due % len(machines)]
                shares = machine.shares(1)
                if record is not None:
                    written.append((due % len(machines), due // len(machines), time.monotonic()))
                machine.sock.send(shares)
                machine.sent_at.append(started_at + due / rate)
                due += 1
            wait_s = max(0.0, started_at + due / rate - time.perf_counter()) if due < total else 1.0
            # A selector counts in milliseconds, which is too coarse here; select() on the selector does not.
            select.select([selector], [], [], wait_s)
            for key, _ in self._selector.select(0):
                machine = key.data
                answered = self._receive(machine, counts)
                now = time.perf_counter()
                latencies.extend(now - machine.sent_at.popleft() for _ in range(answered))
        if record is not None:
            np.save(record, np.array(written, np.float64))
        return self._result(started_at, time.perf_counter(), counts, latencies)

    def await_job(self, timeout_s: float) -> dict[str, float]:
        """Wait until every machine has been sent another job; return when the first and the last had it."""
        waiting = set(self._machines)
        first_at = last_at = 0.0
        deadline = time.monotonic() + timeout_s
        while waiting and time.monotonic() < deadline:
            for key, _ in self._selector.select(0.1):
                number, machine = key.fd, key.data
                lines = machine.whole_lines(machine.sock.recv(_RECEIVE_BYTES))
                if _NOTIFY in lines:
                    last_at = time.monotonic()
                    first_at = first_at or last_at
                    waiting.discard(number)
                    machine.take_job(_last_notify(lines))
        return {"first_at": first_at, "last_at": last_at, "missing": float(len(waiting))}

    def close(self) -> None:
        """Close every connection."""
        for number, machine in self._machines.items():
            self._selector.unregister(number)
            machine.sock.close()
        self._machines.clear()

    def _send(self, machine: Machine, count: int) -> None:
        while count:
            lines = machine.shares(count)
            count -= len(lines) // machine.line_bytes
            machine.sent_at.append(time.perf_counter())
            sent = machine.sock.send(lines)
            while sent < len(lines):  # the server is slow to read: wait for it, this is what is measured
                select.select([], [machine.sock], [])
                lines = lines[sent:]
                sent = machine.sock.send(lines)

    def _receive(self, machine: Machine, counts: list[int]) -> int:
        """Count the answers that came, accepted and rejected, and return how many."""
        data = machine.sock.recv(_RECEIVE_BYTES)
        if not data:
            raise ConnectionError("the server closed a connection")
        data = machine.whole_lines(data)
        accepted = data.count(_ACCEPTED)
        answers = data.count(b'"error":')
        counts[0] += accepted
        counts[1] += answers - accepted
        if _NOTIFY in data:
            machine.take_job(_last_notify(data))
        return answers

    def _finish(
        self, started_at: float, ended_at: float, counts: list[int], latencies: list[float], *, drain: int
    ) -> LoadResult:
        """Return the result, after the answers still under way have come."""
        result = self._result(started_at, ended_at, counts, latencies)
        deadline = time.perf_counter() + 5
        while drain > 0 and time.perf_counter() < deadline:
            for key, _ in self._selector.select(0.2):
                drain -= self._receive(key.data, counts)
        for machine in self._machines.values():
            machine.sent_at.clear()
        return result

    def _result(
        self, started_at: float, ended_at: float, counts: list[int], latencies: list[float]
    ) -> LoadResult:
        duration_s = ended_at - started_at
        if not latencies:
            return LoadResult(duration_s=duration_s, accepted=counts[0], rejected=counts[1])
        p50, p90, p99 = (1000 * float(value) for value in np.percentile(latencies, [50, 90, 99]))
        return LoadResult(
            duration_s=duration_s,
            accepted=counts[0],
            rejected=counts[1],
            ms_p50=p50,
            ms_p90=p90,
            ms_p99=p99,
            ms_max=1000 * max(latencies),
        )


def _last_notify(lines: bytes) -> bytes:
    """Return the last line among these that is a job."""
    at = lines.rindex(_NOTIFY)
    return lines[lines.rfind(b"\n", 0, at) + 1 : lines.index(b"\n", at)]


def obey(generator: LoadGenerator, order: dict[str, Any]) -> Any:
    """Carry out one order and return its result."""
    match order.pop("do"):
        case "connect":
            return generator.connect(**order)
        case "saturate":
            return generator.saturate(**order)
        case "pace":
            return generator.pace(**order)
        case "await_job":
            return generator.await_job(**order)
        case "close":
            return generator.close()
        case unknown:
            raise ValueError(f"unknown order: {unknown}")


def main() -> None:
    """Take orders as JSON lines, the first of them the server's address; answer each with one line."""
    generator = LoadGenerator(**json.loads(sys.stdin.readline()))
    for line in sys.stdin:
        answer = obey(generator, json.loads(line))
        sys.stdout.buffer.write(msgspec.json.encode(answer) + b"\n")
        sys.stdout.buffer.flush()


if __name__ == "__main__":
    main()
