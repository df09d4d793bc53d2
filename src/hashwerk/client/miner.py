"""The reference miner: a Stratum client on one side, hashing threads on the other.

Resource handling:
    Two chunks of finds a thread may wait to be handed in; then the thread itself waits, so an easy target
    cannot fill the memory. Shares are never dropped for lack of room, only when their job is over.

Cancellation:
    On ``stop`` the threads end first, then what was sent has half a second to be answered, then the
    connections close. The whole takes less than a second.
"""

from __future__ import annotations

import asyncio
import concurrent.futures
import logging
import random
from collections import Counter
from collections.abc import Callable, Sequence
from typing import Final, assert_never

from hashwerk.chain.header import double_sha256
from hashwerk.chain.target import DIFFICULTY_1_TARGET
from hashwerk.client.events import (
    ClientEvent,
    Connected,
    ConnectFailed,
    Disconnected,
    ServerMessage,
    ShareAccepted,
    ShareRejected,
    Submission,
    Work,
    WorkReceived,
)
from hashwerk.client.hashing import Found, HashCrew, NonceScanner
from hashwerk.client.settings import ClientSettings, ServerUrl
from hashwerk.client.statistics import Latencies, MinerStats, MovingRate, ThreadStats
from hashwerk.client.stratum_client import StratumClient
from hashwerk.client.work import ExtranonceCounter, JobWork
from hashwerk.clock import Clock, SystemClock
from hashwerk.errors import ClientError

log = logging.getLogger(__name__)

SETTLE_S: Final = 0.5
_STOP_THREADS_S: Final = 2.0
_FOUND_PER_THREAD: Final = 2
_JOBS_KEPT: Final = 32
_WORK_OF_DIFFICULTY_1: Final = 2.0**32

OnStats = Callable[[MinerStats], None]


class Miner:
    """Hashes what a `StratumClient` brings and hands in what it finds."""

    def __init__(
        self,
        client: StratumClient,
        scanner: NonceScanner,
        *,
        threads: int,
        duty: float = 1.0,
        niceness: int | None = 10,
        clock: Clock | None = None,
    ) -> None:
        """Prepare a miner; `run` runs it once.

        Args:
            client: Not running yet; the miner runs it.
            scanner: The hashing kernel, shared by all threads.
            threads: How many threads hash.
            duty: Share of the time to hash, above 0 and up to 1.
            niceness: Added to the niceness of the hashing threads; None leaves it.
            clock: Where the time comes from.

        Raises:
            ValueError: If ``threads`` or ``duty`` is out of range.
        """
        self._client = client
        self._clock = clock or SystemClock()
        self._duty = duty
        self._crew = HashCrew(
            scanner,
            threads,
            clock=self._clock,
            on_found=self._deliver,
            on_failure=self._thread_failed,
            duty=duty,
            niceness=niceness,
        )
        self._found: asyncio.Queue[Found] = asyncio.Queue(_FOUND_PER_THREAD * threads)
        self._loop: asyncio.AbstractEventLoop | None = None
        self._ended: asyncio.Future[None] | None = None
        self._extranonces = ExtranonceCounter()
        self._sources: dict[JobWork, Work] = {}  # jobs whose shares still count, the latest last
        self._started_at = self._clock.monotonic()
        self._rates = [MovingRate() for _ in range(threads)]
        self._rate = MovingRate()
        self._latencies = Latencies()
        self._counts: Counter[str] = Counter()
        self._rejected: Counter[str] = Counter()
        self._accepted_work = 0.0
        self._best_hash: int | None = None
        self._server: ServerUrl | None = None
        self._connection: int | None = None
        self._message: str | None = None

    async def run(
        self, stop: asyncio.Event, on_stats: OnStats | None = None, *, interval_s: float = 1.0
    ) -> MinerStats:
        """Mine until ``stop`` is set; return the last statistics.

        Args:
            stop: Set by the caller, for example from a signal handler.
            on_stats: Called on the event loop every ``interval_s`` seconds, and once at the end.
            interval_s: Seconds between two reports.

        Raises:
            ClientError: If the client gave up: no server could be used and it was told not to try again.
        """
        self._loop = asyncio.get_running_loop()
        self._ended = self._loop.create_future()
        self._started_at = self._clock.monotonic()
        self._crew.start()
        tasks: list[asyncio.Task[None]] = []
        try:
            async with asyncio.TaskGroup() as group:
                tasks += [
                    group.create_task(self._run_client(), name="client"),
                    group.create_task(self._consume_events(), name="events"),
                    group.create_task(self._hand_in(), name="shares"),
                    group.create_task(self._report(on_stats, interval_s), name="report"),
                ]
                stopped = group.create_task(_wait(stop), name="stop")
                tasks.append(stopped)
                await asyncio.wait({stopped, self._ended}, return_when=asyncio.FIRST_COMPLETED)
                await asyncio.to_thread(self._crew.stop, _STOP_THREADS_S)
                await self._settle()
                self._counts["unknown"] += self._client.in_flight
                for task in tasks:
                    task.cancel()
        finally:
            self._crew.stop(_STOP_THREADS_S)
        if self._ended.done():
            self._ended.result()
        stats = self.stats()
        if on_stats is not None:
            on_stats(stats)
        return stats

    def stats(self) -> MinerStats:
        """Return the statistics of this moment."""
        now = self._clock.monotonic()
        elapsed_s = now - self._started_at
        hashes = self._crew.hashes
        counts = self._counts
        work = next(reversed(self._sources), None)
        best = self._best_hash
        return MinerStats(
            at=self._clock.time(),
            elapsed_s=elapsed_s,
            hashes=sum(hashes),
            hashrate_hs=self._rate.value,
            hashrate_mean_hs=sum(hashes) / elapsed_s if elapsed_s > 0 else None,
            threads=tuple(
                ThreadStats(count, rate.value) for count, rate in zip(hashes, self._rates, strict=True)
            ),
            duty=self._duty,
            found=counts["found"],
            accepted=counts["accepted"],
            accepted_work=self._accepted_work,
            rejected=dict(self._rejected),
            pending=counts["found"]
            - counts["accepted"]
            - counts["unknown"]
            - counts["stale"]
            - self._rejected.total(),
            unknown=counts["unknown"],
            stale=counts["stale"],
            faulty=counts["faulty"],
            best_difficulty=None if best is None else DIFFICULTY_1_TARGET / max(best, 1),
            server=None if self._server is None else str(self._server),
            connections=counts["connections"],
            user=self._client.settings.user,
            job=None if work is None else work.job.job_id,
            difficulty=None if work is None else float(work.job.difficulty),
            job_age_s=None if work is None else now - work.received_at,
            latency_ms_p50=self._latencies.quantile_ms(0.50),
            latency_ms_p99=self._latencies.quantile_ms(0.99),
            message=self._message,
        )

    # In the hashing threads.

    def _deliver(self, found: Found) -> None:
        """Queue a find; wait for room, unless the crew stops."""
        assert self._loop is not None
        queued = asyncio.run_coroutine_threadsafe(self._found.put(found), self._loop)
        while True:
            try:
                return queued.result(0.1)
            except concurrent.futures.TimeoutError:
                if self._crew.stopping:
                    queued.cancel()
                    return None

    def _thread_failed(self, error: BaseException) -> None:
        assert self._loop is not None
        self._loop.call_soon_threadsafe(self._end, error)

    # On the event loop.

    def _end(self, error: BaseException) -> None:
        if self._ended is not None and not self._ended.done():
            self._ended.set_exception(error)

    async def _run_client(self) -> None:
        try:
            await self._client.run()
        except ClientError as error:
            self._end(error)

    async def _report(self, on_stats: OnStats | None, interval_s: float) -> None:
        while True:
            now = self._clock.monotonic()
            hashes = self._crew.hashes
            self._rate.update(now, sum(hashes))
            for rate, count in zip(self._rates, hashes, strict=True):
                rate.update(now, count)
            if on_stats is not None:
                on_stats(self.stats())
            await asyncio.sleep(interval_s)

    async def _consume_events(self) -> None:
        while True:
            self._handle(await self._client.next_event())

    def _handle(self, event: ClientEvent) -> None:
        match event:
            case WorkReceived(work, clean):
                self._take_work(work, clean)
            case ShareAccepted(share, latency_s):
                self._counts["accepted"] += 1
                self._accepted_work += float(share.work.job.difficulty) * _WORK_OF_DIFFICULTY_1
                self._latencies.add(latency_s)
            case ShareRejected(_, latency_s, _, reason):
                self._rejected[reason] += 1
                self._latencies.add(latency_s)
            case Connected(server, connection):
                self._counts["connections"] += 1
                self._server, self._connection = server, connection
                self._tell(f"connected to {server}")
            case Disconnected(server, connection, reason, unknown):
                self._counts["unknown"] += len(unknown)
                if connection == self._connection:
                    self._tell(f"{server}: {reason}")
                    self._server = self._connection = None
                    self._sources.clear()
                    self._crew.set_work(None)
            case ConnectFailed(server, reason):
                if self._server is None:
                    self._tell(f"{server}: {reason}")
            case ServerMessage(text):
                self._tell(f"the server says: {text}")
            case _:
                assert_never(event)

    def _tell(self, message: str) -> None:
        """Keep a change of state for the view, and log it if it is another than the last."""
        if message != self._message:
            log.info("%s", message)
        self._message = message

    def _take_work(self, work: Work, clean: bool) -> None:
        """Let all threads change to a new job. After a clean one, shares of earlier jobs are stale."""
        if clean or any(old.connection != work.connection for old in self._sources.values()):
            self._sources.clear()
        job_work = JobWork(work.job, self._extranonces, received_at=self._clock.monotonic())
        self._sources[job_work] = work
        while len(self._sources) > _JOBS_KEPT:
            del self._sources[next(iter(self._sources))]
        self._crew.set_work(job_work)

    async def _hand_in(self) -> None:
        while True:
            found = await self._found.get()
            for nonce in found.nonces:
                await self._submit(found, nonce)
            self._found.task_done()

    async def _submit(self, found: Found, nonce: int) -> None:
        """Check a find with another implementation, then send it if its job still counts."""
        header = found.header
        digest = int.from_bytes(double_sha256(header.header76 + nonce.to_bytes(4, "little")), "little")
        if digest > found.work.target:
            self._counts["faulty"] += 1
            return
        self._counts["found"] += 1
        if self._best_hash is None or digest < self._best_hash:
            self._best_hash = digest
        work = self._sources.get(found.work)
        if work is None or not await self._client.submit(
            Submission(work, header.extranonce2, header.ntime, nonce, header.version_bits)
        ):
            self._counts["stale"] += 1

    async def _settle(self) -> None:
        """Wait until every find is sent and answered, for a short while only."""
        try:
            async with asyncio.timeout(SETTLE_S):
                await self._found.join()
                await self._client.settled()
        except TimeoutError:
            return


async def _wait(stop: asyncio.Event) -> None:
    await stop.wait()


async def run_miner(
    urls: Sequence[str | ServerUrl],
    user: str,
    password: str = "x",  # noqa: S107  what miners send where no password is asked for
    *,
    threads: int,
    scanner: NonceScanner,
    duty: float = 1.0,
    niceness: int | None = 10,
    stop: asyncio.Event,
    on_stats: OnStats | None = None,
    interval_s: float = 1.0,
    retry: bool = True,
    clock: Clock | None = None,
    rng: random.Random | None = None,
) -> MinerStats:
    """Mine for ``user`` on the first server that works until ``stop`` is set; return the last statistics.

    Args:
        urls: Servers by preference, for example ``stratum+tcp://127.0.0.1:3333``.
        user: ``account.machine``.
        password: What the server asks for; most ask for nothing.
        threads: How many threads hash.
        scanner: The hashing kernel.
        duty: Share of the time to hash, above 0 and up to 1.
        niceness: Added to the niceness of the hashing threads.
        stop: Set it to end the miner.
        on_stats: Called on the event loop every ``interval_s`` seconds.
        interval_s: Seconds between two reports.
        retry: Whether to go on trying when no server can be used.
        clock: Where the time comes from.
        rng: Where the jitter of retries comes from.

    Raises:
        ConfigError: If a server's address is wrong.
        ClientError: If ``retry`` is False and no server can be used.
        ValueError: If ``threads`` or ``duty`` is out of range.
    """
    servers = tuple(url if isinstance(url, ServerUrl) else ServerUrl.parse(url) for url in urls)
    settings = ClientSettings(servers=servers, user=user, password=password, retry=retry)
    clock = clock or SystemClock()
    client = StratumClient(settings, rng=rng or random.Random())  # noqa: S311  jitter only
    miner = Miner(client, scanner, threads=threads, duty=duty, niceness=niceness, clock=clock)
    return await miner.run(stop, on_stats, interval_s=interval_s)
