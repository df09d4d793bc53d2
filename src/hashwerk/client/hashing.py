"""The threads that hash: each scans its own headers in short chunks, so that a new job takes over at once.

Resource handling:
    The scanner releases the GIL, so the threads use as many cores as there are of them. Each thread runs at
    low priority where the system allows that for a thread (Linux); elsewhere the process as a whole may be
    made nice.

Cancellation:
    `HashCrew.stop` is seen within one chunk, about 75 ms. A thread that waits for room for its shares sees it
    too.
"""

from __future__ import annotations

import os
import sys
import threading
from collections.abc import Callable
from typing import Final, Protocol

import msgspec

from hashwerk.client.work import NONCES_PER_HEADER, HeaderStream, HeaderWork, JobWork
from hashwerk.clock import Clock

#: A chunk lasts about so long: short beside a job's life, long beside the cost of a call.
CHUNK_S: Final = 0.075
_FIRST_CHUNK: Final = 1 << 16
_MIN_CHUNK: Final = 1 << 10
_MAX_CHUNK: Final = 1 << 28
#: The most shares of one chunk. At a target so easy, the chunk is taken up again after the last of them.
SHARES_PER_CHUNK: Final = 64


class NonceScanner(Protocol):
    """Finds the nonces of a header whose hash meets a target; `hashwerk.work.kernel.Scanner` is one."""

    def scan(self, header76: bytes, start_nonce: int, count: int, target: int, limit: int = ...) -> list[int]:
        """Return the first ``limit`` nonces that match, of ``count`` from ``start_nonce``, ascending."""
        ...


class Found(msgspec.Struct, frozen=True):
    """What one chunk yielded."""

    thread: int
    work: JobWork
    header: HeaderWork
    nonces: tuple[int, ...]


class HashCrew:
    """A fixed number of hashing threads that share one piece of work at a time."""

    def __init__(
        self,
        scanner: NonceScanner,
        threads: int,
        *,
        clock: Clock,
        on_found: Callable[[Found], None],
        on_failure: Callable[[BaseException], None],
        duty: float = 1.0,
        niceness: int | None = 10,
    ) -> None:
        """Prepare the threads; `start` starts them.

        Args:
            scanner: Shared by all threads.
            threads: How many.
            clock: For times of headers and lengths of chunks.
            on_found: Called in a hashing thread; may block it until there is room for its shares.
            on_failure: Called in a hashing thread that dies of an error.
            duty: Share of the time to hash, above 0 and up to 1; the rest is slept.
            niceness: Added to each hashing thread's niceness; None leaves it.

        Raises:
            ValueError: If ``threads`` or ``duty`` is out of range.
        """
        if threads < 1:
            raise ValueError(f"at least one thread is needed: {threads}")
        if not 0 < duty <= 1:
            raise ValueError(f"duty must be above 0 and at most 1: {duty}")
        self._scanner = scanner
        self._clock = clock
        self._on_found = on_found
        self._on_failure = on_failure
        self._duty = duty
        self._niceness = niceness
        self._work: JobWork | None = None
        self._changed = threading.Condition()
        self._stopping = threading.Event()
        # One number a thread, each written by its own thread only.
        self._hashes = [0] * threads
        self._threads = [
            threading.Thread(target=self._run, args=(index,), name=f"hash-{index}", daemon=True)
            for index in range(threads)
        ]

    @property
    def hashes(self) -> tuple[int, ...]:
        """Hashes computed so far by each thread."""
        return tuple(self._hashes)

    @property
    def stopping(self) -> bool:
        """Whether `stop` was called."""
        return self._stopping.is_set()

    def start(self) -> None:
        """Start the threads; they wait for work."""
        for thread in self._threads:
            thread.start()

    def set_work(self, work: JobWork | None) -> None:
        """Let all threads leave what they do for ``work``, within a chunk; None lets them rest."""
        with self._changed:
            self._work = work
            self._changed.notify_all()

    def stop(self, timeout_s: float) -> bool:
        """End the threads; return whether all had ended within the time."""
        self._stopping.set()
        with self._changed:
            self._changed.notify_all()
        deadline = self._clock.monotonic() + timeout_s
        for thread in self._threads:
            if thread.ident is not None:
                thread.join(max(0.0, deadline - self._clock.monotonic()))
        return not any(thread.is_alive() for thread in self._threads)

    def _run(self, index: int) -> None:
        try:
            _lower_priority(self._niceness)
            while (work := self._await_work()) is not None:
                self._hash_job(index, work)
        except BaseException as error:
            self._on_failure(error)

    def _await_work(self) -> JobWork | None:
        """Return the current work as soon as there is some; None when the crew stops."""
        with self._changed:
            self._changed.wait_for(lambda: self._work is not None or self._stopping.is_set())
            return None if self._stopping.is_set() else self._work

    def _is_current(self, work: JobWork) -> bool:
        return self._work is work and not self._stopping.is_set()

    def _hash_job(self, index: int, work: JobWork) -> None:
        stream: HeaderStream = work.stream()
        chunk = _FIRST_CHUNK
        while self._is_current(work):
            header = stream.next(self._clock.monotonic())
            if header is None:  # used up: rest until another job comes
                with self._changed:
                    self._changed.wait_for(lambda: not self._is_current(work))
                return
            chunk = self._hash_header(index, work, header, chunk)

    def _hash_header(self, index: int, work: JobWork, header: HeaderWork, chunk: int) -> int:
        """Scan all nonces of a header, or until the work changes; return the length of the next chunk."""
        nonce = 0
        while nonce < NONCES_PER_HEADER and self._is_current(work):
            count = min(chunk, NONCES_PER_HEADER - nonce)
            started_at = self._clock.monotonic()
            nonces = self._scanner.scan(header.header76, nonce, count, work.target, SHARES_PER_CHUNK)
            elapsed_s = self._clock.monotonic() - started_at
            if len(nonces) >= SHARES_PER_CHUNK:
                count = nonces[-1] + 1 - nonce
            else:
                chunk = _next_chunk(count, elapsed_s)
            nonce += count
            self._hashes[index] += count
            if nonces:
                self._on_found(Found(index, work, header, tuple(nonces)))
            if self._duty < 1:
                self._stopping.wait(elapsed_s * (1 - self._duty) / self._duty)
        return chunk


def _next_chunk(count: int, elapsed_s: float) -> int:
    """Return how many nonces take about `CHUNK_S`; at most four times as many as before."""
    wanted = int(count * min(4.0, CHUNK_S / max(elapsed_s, 1e-9)))
    return min(max(wanted & ~(_MIN_CHUNK - 1), _MIN_CHUNK), _MAX_CHUNK)


def _lower_priority(niceness: int | None) -> None:
    """Make the calling thread nice where threads have a niceness of their own."""
    if niceness is not None and sys.platform == "linux":
        thread = threading.get_native_id()
        os.setpriority(os.PRIO_PROCESS, thread, min(19, os.getpriority(os.PRIO_PROCESS, thread) + niceness))
