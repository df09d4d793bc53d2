"""The threads that hash for all machines of a hall, a batch of small chunks at a time.

Resource handling:
    One batch a thread is under way at most. A batch that cannot be done in time makes the next one late, and the hall
    then counts what fell short; nothing piles up.

Cancellation:
    `HashPool.stop` is seen between two chunks, within some milliseconds.
"""

from __future__ import annotations

import asyncio
import os
import sys
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from functools import partial
from typing import Final

import msgspec

from hashwerk.client.hashing import NonceScanner
from hashwerk.client.work import HeaderWork, JobWork

_NICENESS: Final = 10
#: The most shares of one chunk; a target so easy that there are more is not one that a server gives.
_SHARES_PER_CHUNK: Final = 64


class Chunk(msgspec.Struct, frozen=True):
    """A run of nonces of one machine's header."""

    seat: int
    work: JobWork
    header: HeaderWork
    start: int
    count: int


class Find(msgspec.Struct, frozen=True):
    """Shares in a chunk."""

    chunk: Chunk
    nonces: tuple[int, ...]


class HashPool:
    """A few threads shared by all machines."""

    def __init__(self, scanner: NonceScanner, threads: int) -> None:
        """Prepare the threads; they start with the first batch."""
        self._scanner = scanner
        self._threads = threads
        self._stopping = threading.Event()
        self._executor = ThreadPoolExecutor(threads, "twin-hash", initializer=_be_nice)
        self._pending = 0
        self.hashes = 0  # done, as the loop's thread knows it

    @property
    def idle(self) -> bool:
        """Whether every batch is done."""
        return self._pending == 0

    def submit(self, chunks: Sequence[Chunk], on_found: Callable[[list[Find]], None]) -> None:
        """Hash chunks on all threads; ``on_found`` is called on the event loop, once a thread."""
        loop = asyncio.get_running_loop()
        shares = [chunks[index :: self._threads] for index in range(self._threads)]
        for share in shares:
            if share:
                self._pending += 1
                future = loop.run_in_executor(self._executor, self._scan, share)
                future.add_done_callback(partial(self._finished, share, on_found))

    def stop(self) -> None:
        """End the threads."""
        self._stopping.set()
        self._executor.shutdown(wait=True, cancel_futures=True)

    def _scan(self, chunks: Sequence[Chunk]) -> list[Find]:
        found = []
        for chunk in chunks:
            if self._stopping.is_set():
                break
            nonces = self._scanner.scan(
                chunk.header.header76, chunk.start, chunk.count, chunk.work.target, _SHARES_PER_CHUNK
            )
            if nonces:
                found.append(Find(chunk, tuple(nonces)))
        return found

    def _finished(
        self,
        chunks: Sequence[Chunk],
        on_found: Callable[[list[Find]], None],
        done: asyncio.Future[list[Find]],
    ) -> None:
        self._pending -= 1
        if done.cancelled() or self._stopping.is_set():
            return
        self.hashes += sum(chunk.count for chunk in chunks)
        on_found(done.result())


def _be_nice() -> None:
    """Let everything else go first, where threads have a niceness of their own."""
    if sys.platform == "linux":
        with suppress(OSError):
            os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), _NICENESS)
