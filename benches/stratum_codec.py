"""What the Stratum V1 core costs, without sockets: `python benches/stratum_codec.py`.

Budgets on one core: a scanned share 0.4 µs, a bulk answer 0.1 µs, a share through the session core 10 µs, a job
to one more session 2 µs, vardiff 10 µs for a share.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from statistics import median

import numpy as np

from hashwerk.chain.template import Template
from hashwerk.stratum.v1.limits import SessionLimits
from hashwerk.stratum.v1.notify import encode_job
from hashwerk.stratum.v1.results import encode_batch
from hashwerk.stratum.v1.server import Extranonce, ServerSession
from hashwerk.stratum.v1.submits import SUBMIT_DTYPE, scan_batch
from hashwerk.stratum.vardiff import Vardiff, VardiffSettings
from hashwerk.work.job import Job

RUNS = 15
LINE = (
    b'{"params": ["account.machine0001", "1a2b3", "00000000000000ff", "6927b489", "deadbeef", "00002000"],'
    b' "id": 12345, "method": "mining.submit"}\n'
)
VERSION_MASK = 0x1FFFE000


def measure_us(run: Callable[[], object], count: int) -> float:
    """Return the median time of ``RUNS`` runs over ``count`` things, in microseconds for one."""
    run()
    durations = []
    for _ in range(RUNS):
        started = time.perf_counter()
        run()
        durations.append(time.perf_counter() - started)
    return median(durations) / count * 1e6


def active_session(number: int) -> ServerSession:
    """Return a session ready for work that no limit holds back."""
    session = ServerSession(SessionLimits(soft_cost=1e12, hard_cost=1e12), 0.0, version_mask=VERSION_MASK)
    session.accept_subscribe(1, Extranonce(number), "token")
    session.accept_authorize(2, "account.machine0001", number)
    session.data_to_send()
    return session


def make_job(job_id: int) -> Job:
    """Return a job of the size real ones have."""
    template = Template(
        network="main",
        height=900_000,
        version=0x20000000,
        prev_hash=bytes(32),
        nbits=0x1701E2A0,
        time=0,
        min_time=0,
        coinbase_value_sat=0,
    )
    return Job(
        id=job_id,
        account_id=1,
        work_log2=46,
        template=template,
        coinbase1=bytes(70),
        coinbase2=bytes(180),
        branch=(bytes(32),) * 12,
        version=0x20000000,
        version_mask=VERSION_MASK,
        ntime=0,
        extranonce1_size=4,
        extranonce2_size=8,
        tag=bytes(32),
        tag_preimage=b"",
        created_at=0.0,
    )


def scan() -> float:
    """Scan one tick's worth of shares of many connections."""
    connections, each = 500, 20
    buffer = np.frombuffer(LINE * (connections * each), np.uint8)
    ends = np.arange(1, connections + 1, dtype=np.int64) * len(LINE) * each
    starts = ends - len(LINE) * each
    rows = np.zeros(connections * each + 1, SUBMIT_DTYPE)
    return measure_us(lambda: scan_batch(buffer, starts, ends, rows), connections * each)


def answer() -> float:
    """Write the answers of one tick."""
    ids, verdicts = np.arange(10_000, 20_000, dtype=np.uint64), np.zeros(10_000, np.uint8)
    return measure_us(lambda: encode_batch(ids, verdicts), len(ids))


def receive() -> float:
    """Read shares one by one through the session core."""
    session, line = active_session(1), LINE.removesuffix(b"\n")
    return measure_us(lambda: [session.receive_line(line, 0.0) for _ in range(1_000)], 1_000)


def send() -> float:
    """Give one job to many sessions."""
    sessions = [active_session(number) for number in range(2_000)]
    job = make_job(1)
    line = encode_job(job, clean=True)

    def broadcast() -> None:
        for session in sessions:
            session.send_job(job, True, 0.0, line)
            session.data_to_send()

    return measure_us(broadcast, len(sessions))


def vary() -> float:
    """Count shares and decide, as once for every share of a slow machine."""
    vardiff = Vardiff(VardiffSettings(), 40, 0.0)
    now = 0.0

    def share() -> None:
        nonlocal now
        for _ in range(1_000):
            now += 5.0
            vardiff.on_shares(1, now, vardiff.work_log2)
            vardiff.decide(now)
            vardiff.next_deadline()

    return measure_us(share, 1_000)


def main() -> int:
    """Print every figure beside its budget; exit with 1 if one is over it."""
    over = False
    for name, budget_us, bench in (
        ("scanned share", 0.4, scan),
        ("bulk answer", 0.1, answer),
        ("share through the session", 10.0, receive),
        ("job to one more session", 2.0, send),
        ("vardiff, a share", 10.0, vary),
    ):
        cost_us = bench()
        over |= cost_us > budget_us
        print(f"{name:<28}{cost_us:8.3f} µs  (budget {budget_us:g})")
    return int(over)


if __name__ == "__main__":
    sys.exit(main())
