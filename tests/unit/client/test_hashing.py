"""The hashing threads: they find what there is, change jobs at once, and end at once."""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from hashwerk.chain.header import double_sha256
from hashwerk.client.hashing import Found, HashCrew
from hashwerk.client.work import ExtranonceCounter, HeaderStream, JobWork
from hashwerk.clock import SystemClock
from hashwerk.stratum.v1.client import ClientJob

DEADLINE_S = 10.0
CLOCK = SystemClock()


class PlainScanner:
    """The scanner's contract in three lines of hashlib, and what it was asked to scan."""

    def __init__(self) -> None:
        self.headers: list[bytes] = []
        self.ranges: list[tuple[bytes, int, int]] = []

    def scan(
        self, header76: bytes, start_nonce: int, count: int, target: int, limit: int = 1024
    ) -> list[int]:
        self.headers.append(header76)
        count = min(count, 256)  # hashlib is slow; the test only needs the first few
        found = []
        for nonce in range(start_nonce, start_nonce + count):
            digest = double_sha256(header76 + nonce.to_bytes(4, "little"))
            if int.from_bytes(digest, "little") <= target:
                found.append(nonce)
                if len(found) == limit:
                    break
        return found


def job_work(job_id: str = "1", *, difficulty: float = 2**-26, **changes: Any) -> JobWork:
    fields: dict[str, Any] = {
        "prev_hash": bytes(32),
        "coinbase1": b"\x01" * 40,
        "coinbase2": b"\x02" * 40,
        "branch": (),
        "version": 0x20000000,
        "nbits": 0x1D00FFFF,
        "ntime": 0x65000000,
        "clean": True,
        "extranonce1": b"\x00" * 4,
        "extranonce2_size": 8,
        "version_mask": 0x1FFFE000,
    }
    job = ClientJob(job_id=job_id, difficulty=difficulty, **fields | changes)
    return JobWork(job, ExtranonceCounter(), received_at=CLOCK.monotonic())


@contextmanager
def crew(
    scanner: Any, threads: int = 1, *, on_found: Callable[[Found], None] | None = None, **options: Any
) -> Iterator[tuple[HashCrew, queue.Queue[Any]]]:
    """Run a crew; finds and failures go to a queue."""
    results: queue.Queue[Any] = queue.Queue()
    hashing = HashCrew(
        scanner,
        threads,
        clock=CLOCK,
        on_found=on_found or results.put,
        on_failure=results.put,
        niceness=None,
        **options,
    )
    hashing.start()
    try:
        yield hashing, results
    finally:
        assert hashing.stop(DEADLINE_S)


def test_what_is_found_meets_the_target() -> None:
    work = job_work()
    with crew(PlainScanner()) as (hashing, results):
        hashing.set_work(work)
        found: Found = results.get(timeout=DEADLINE_S)
    assert found.work is work
    for nonce in found.nonces:
        digest = double_sha256(found.header.header76 + nonce.to_bytes(4, "little"))
        assert int.from_bytes(digest, "little") <= work.target
    assert sum(hashing.hashes) > 0


def test_each_thread_has_headers_of_its_own() -> None:
    with crew(PlainScanner(), 4) as (hashing, results):
        hashing.set_work(job_work())
        extranonces: dict[int, bytes] = {}
        while len(extranonces) < 4:
            found: Found = results.get(timeout=DEADLINE_S)
            extranonces[found.thread] = found.header.extranonce2
    assert len(set(extranonces.values())) == 4
    assert all(count > 0 for count in hashing.hashes)


def test_a_new_job_takes_over_after_the_running_chunk() -> None:
    second = job_work("2", prev_hash=b"\x09" * 32)
    entered, release = threading.Event(), threading.Event()

    class Gate(PlainScanner):
        def scan(self, header76: bytes, *arguments: Any, **options: Any) -> list[int]:
            if not self.headers:
                self.headers.append(header76)
                entered.set()
                assert release.wait(DEADLINE_S)
                return []
            return super().scan(header76, *arguments, **options)

    scanner = Gate()
    with crew(scanner) as (hashing, results):
        hashing.set_work(job_work("1"))
        assert entered.wait(DEADLINE_S)
        hashing.set_work(second)
        release.set()
        found: Found = results.get(timeout=DEADLINE_S)
        assert found.work is second
    # Only the one chunk that was running was of the old job.
    assert all(header[4:36] == second.job.prev_hash for header in scanner.headers[1:])


def test_a_target_so_easy_that_a_chunk_overflows_loses_no_share() -> None:
    with crew(PlainScanner()) as (hashing, results):
        hashing.set_work(job_work(difficulty=1e-12))  # every hash counts
        nonces: list[int] = []
        while len(nonces) < 1000:
            nonces += results.get(timeout=DEADLINE_S).nonces
    assert nonces == list(range(len(nonces)))


def test_a_thread_that_waits_to_deliver_ends_when_the_crew_stops() -> None:
    delivering = threading.Event()
    hashing: HashCrew

    def never_takes(_: Found) -> None:
        delivering.set()
        while not hashing.stopping:
            threading.Event().wait(0.01)

    with crew(PlainScanner(), on_found=never_takes) as (hashing, _):
        hashing.set_work(job_work())
        assert delivering.wait(DEADLINE_S)


def test_an_error_in_a_thread_is_reported_not_swallowed() -> None:
    class Broken:
        def scan(self, *_: Any, **__: Any) -> list[int]:
            raise ZeroDivisionError("the kernel broke")

    with crew(Broken()) as (hashing, results):
        hashing.set_work(job_work())
        error = results.get(timeout=DEADLINE_S)
    assert isinstance(error, ZeroDivisionError)


def test_a_used_up_job_lets_the_threads_wait_for_the_next() -> None:
    asked = threading.Event()

    class UsedUp(JobWork):
        def stream(self) -> HeaderStream:
            asked.set()
            return super().stream()

    scanner = PlainScanner()
    first = job_work("1", ntime=0xFFFFFFFF, extranonce2_size=0)
    used_up = UsedUp(first.job, ExtranonceCounter(), received_at=CLOCK.monotonic())
    used_up.take_extranonce2()  # the only one there is; the next needs a time beyond 32 bits
    second = job_work("2")
    with crew(scanner) as (hashing, results):
        hashing.set_work(used_up)
        assert asked.wait(DEADLINE_S)
        hashing.set_work(second)
        assert results.get(timeout=DEADLINE_S).work is second


@pytest.mark.parametrize(("threads", "duty"), [(0, 1.0), (1, 0.0), (1, 1.1)])
def test_impossible_settings_are_refused(threads: int, duty: float) -> None:
    with pytest.raises(ValueError, match=r"thread|duty"):
        HashCrew(
            PlainScanner(), threads, clock=CLOCK, on_found=print, on_failure=print, duty=duty, niceness=None
        )
