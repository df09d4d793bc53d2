"""All upstream pools: their connections, the work they give, and every share's way to them and back.

`Upstreams` keeps each pool's connections warm, standby pools' too, so that a switch is a job to each machine and takes no
handshake. Who works for whom is decided in `hashwerk.pool.upstream.crew`.
"""

from __future__ import annotations

import asyncio
import logging
import random
import time
from collections import deque
from collections.abc import Mapping
from typing import Final

from hashwerk.clock import Clock
from hashwerk.errors import DecodeError
from hashwerk.pool.dispatch import Dispatcher
from hashwerk.pool.jobs import JobBook
from hashwerk.pool.room import Room
from hashwerk.pool.seats import Seats
from hashwerk.pool.settings import PoolSettings
from hashwerk.pool.upstream.crew import Crew
from hashwerk.pool.upstream.forwarding import Forwarding
from hashwerk.pool.upstream.health import Trust
from hashwerk.pool.upstream.link import Link, Waiting
from hashwerk.pool.upstream.pool import Pool
from hashwerk.pool.upstream.record import PoolRecord, WorkWindow
from hashwerk.pool.upstream.report import view_of
from hashwerk.pool.upstream.settings import UpstreamSettings
from hashwerk.pool.upstream.views import Switch, UpstreamView
from hashwerk.pool.upstream.work import UpstreamWork, room_for
from hashwerk.stratum.ports import Ledger
from hashwerk.stratum.v1.client_events import ClientJob, Rejected

log = logging.getLogger(__name__)

LOOK_S: Final = 0.1  # how often connections' health is looked at
_SERVED_S: Final = 30.0  # a connection that served so long begins its rests anew
_FAREWELL_S: Final = 1.0
_SWITCHES_KEPT: Final = 50
_MESSAGE_EVERY_S: Final = 10.0
_GONE: Final = "the connection was gone"


class Upstreams:
    """The pools of a server.

    Resource handling:
        `run` holds one task and at most one socket per connection; `close` waits a moment for answers, and what is still
        open then is recorded as lost.

    Cancellation:
        When `run` is cancelled every connection ends.
    """

    def __init__(
        self,
        settings: PoolSettings,
        pools: tuple[UpstreamSettings, ...],
        *,
        network: str,
        book: JobBook,
        seats: Seats,
        dispatcher: Dispatcher,
        ledger: Ledger,
        clock: Clock,
        crew: Crew,
        machines: Mapping[int, str],
        rng: random.Random | None = None,
    ) -> None:
        """Prepare; nothing connects before `run`."""
        now = clock.time()
        self._settings = settings
        self._network = network
        self._book = book
        self._seats = seats
        self._dispatcher = dispatcher
        self._ledger = ledger
        self._clock = clock
        self._crew = crew
        self._rng = rng or random.Random()  # noqa: S311 - jitter
        # Never a number of an earlier process: its jobs are still in the book, and their shares must not go over ours.
        self._number = int(now * 1000)
        self._closing = False
        self._all_answered = asyncio.Event()
        self._broadcasts: set[asyncio.Task[None]] = set()
        self._group: asyncio.TaskGroup | None = None
        self.switches: Final[deque[Switch]] = deque(maxlen=_SWITCHES_KEPT)
        self.pools: Final = [
            Pool(
                settings=each,
                id=ledger.upstream(each.name, str(each.server), each.user),
                trust=Trust(each.return_after_s),
                record=PoolRecord(WorkWindow(now), WorkWindow(now)),
                links=[None] * each.connections,
            )
            for each in pools
        ]
        self.forwarding: Final = Forwarding(
            self.pools, book=book, ledger=ledger, clock=clock, crew=crew, machines=machines
        )
        self._pool_of: dict[int, Pool] = {}  # by link number
        crew.attach(self)

    # --- life ------------------------------------------------------------------------------------------------------

    async def run(self) -> None:
        """Keep all connections, watch them, and keep machines where they belong, until cancelled."""
        async with asyncio.TaskGroup() as group:
            self._group = group
            for pool in self.pools:
                for slot in range(len(pool.links)):
                    group.create_task(self._keep(pool, slot), name=f"upstream {pool.settings.name}")
            group.create_task(self._watch(), name="upstream health")
            group.create_task(self._crew.run(), name="upstream crew")

    async def first_work(self, timeout_s: float) -> None:
        """Wait until every pool has work for us or has failed, at most so long."""
        loop = asyncio.get_running_loop()
        deadline = loop.time() + timeout_s
        while loop.time() < deadline:
            if all(pool.open_links or pool.failed_because for pool in self.pools):
                return
            await asyncio.sleep(LOOK_S / 4)

    async def close(self) -> None:
        """Wait a moment for the pools' last answers; what has none then is recorded as lost."""
        self._closing = True
        self._note_answered()
        try:
            async with asyncio.timeout(_FAREWELL_S):
                await self._all_answered.wait()
        except TimeoutError:
            log.warning("pools did not answer every share before the end")
        for link in self._links():
            link.end("we ended before the pool answered")
        self.forwarding.flush()

    def want_links(self, planes: int) -> None:
        """Make room for so many planes of extranonces: each needs a connection of its own at every pool."""
        for pool in self.pools:
            missing = planes - len(pool.links)
            if missing <= 0 or self._group is None:
                continue
            job = next((link.job for link in pool.open_links), None)
            size = "few" if job is None else f"{job.extranonce2_size}"
            text = f"{pool.settings.name} gives {size} bytes of extranonce2: {missing} more connections for all machines"
            log.warning(text)
            self._ledger.event("upstream", text)
            for slot in range(len(pool.links), planes):
                pool.links.append(None)
                self._group.create_task(self._keep(pool, slot), name=f"upstream {pool.settings.name}")

    async def _keep(self, pool: Pool, slot: int) -> None:
        """Keep one connection to a pool, attempt after attempt."""
        settings, loop = pool.settings, asyncio.get_running_loop()
        server, failures = settings.server, 0
        while True:
            self._number += 1
            link = Link(self._number, settings, server, self)
            pool.links[slot] = link
            self._pool_of[link.number] = pool
            began_at = loop.time()
            try:
                await self._live(link)
            except asyncio.CancelledError:
                self._closing = True  # `close` looks after what waits for an answer
                raise
            pool.links[slot] = None
            self._pool_of.pop(link.number, None)
            self._dispatcher.forget(link.number)
            failures = 0 if loop.time() - began_at >= _SERVED_S else failures + 1
            server = link.next_server or settings.server
            rest_s = min(settings.retry_max_s, settings.retry_min_s * 2.0 ** min(max(failures - 1, 0), 16))
            rest_s *= 1.0 - 0.5 * self._rng.random()
            if link.next_server is not None:
                rest_s = 0.0
            await asyncio.sleep(max(rest_s, min(link.retry_after_s, settings.retry_max_s)))

    async def _live(self, link: Link) -> None:
        try:
            await link.open()
        except TimeoutError:
            link.end(f"no connection within {link.settings.connect_timeout_s:g} s")
        except OSError as error:
            link.end(f"no connection: {(error.strerror or str(error) or type(error).__name__).lower()}")
        else:
            await link.closed.wait()

    async def _watch(self) -> None:
        """Look for connections that live and do not do what they should."""
        loop = asyncio.get_running_loop()
        while True:
            await asyncio.sleep(LOOK_S)
            now = loop.time()
            heights = [work.template.height for work in self._works()]
            best = max(heights, default=0)
            for link in self._links():
                work = self._work(link.number)
                if work is not None and work.template.height:
                    link.health.on_height(now, behind=work.template.height < best)
                failure = link.health.failure(now)
                if failure is not None:
                    link.end(failure)
            for pool in self.pools:
                if not pool.open_links:
                    continue
                if pool.failed_because is not None and pool.trust.is_usable(now):
                    pool.failed_because = None
                    self._switched(pool, "has proven itself and is used again")
                    self._crew.wake()

    # --- what links tell -------------------------------------------------------------------------------------------

    def on_work(self, link: Link, job: ClientJob, now: float) -> None:
        """Give a pool's job to its machines."""
        started_at = time.perf_counter()
        pool = self._pool_of.get(link.number)
        if pool is None:
            return
        if room_for(job.extranonce2_size) is None:
            link.end(
                f"gives {job.extranonce2_size} bytes of extranonce2, too few to be divided among machines"
            )
            return
        before = self._work(link.number)
        try:
            work = UpstreamWork(
                job,
                upstream_id=pool.id,
                link=link.number,
                source=pool.settings.name,
                network=self._network,
                version_mask=self._settings.version_mask,
                now=self._clock.time(),
            )
        except DecodeError as error:
            link.end(f"sent a job that cannot be worked on: {error}")
            return
        link.last_job_at = self._clock.time()
        clean = self._book.use_work(link.number, work, clean=job.clean)
        if clean:
            self._seats.next_block(link.number)
        if before is None:
            self._begins(pool, now)
        elif (
            before.version_mask != work.version_mask
            or before.job.extranonce2_size != work.job.extranonce2_size
        ):
            self._crew.adapt(link.number)
        task = asyncio.get_running_loop().create_task(
            self._dispatcher.broadcast(link.number, started_at, new_block=clean), name="upstream job"
        )
        self._broadcasts.add(task)
        task.add_done_callback(self._broadcasts.discard)

    def on_answer(self, link: Link, share: Waiting, refused: Rejected | None) -> None:
        """Record what a pool made of a share."""
        pool = self._pool_of.get(link.number)
        if pool is None:
            return
        self.forwarding.answered(pool, share, refused)
        if self._closing:
            self._note_answered()

    def on_message(self, link: Link, text: str) -> None:
        """Show people what a pool says."""
        pool, now = self._pool_of.get(link.number), asyncio.get_running_loop().time()
        if pool is None or now < pool.quiet_until:
            return
        pool.quiet_until = now + _MESSAGE_EVERY_S
        log.info("%s says: %s", pool.settings.name, text)
        self._ledger.event("upstream", f"{pool.settings.name} says: {text}")

    def on_ended(self, link: Link, reason: str, unanswered: list[Waiting]) -> None:
        """A connection is over: its shares without an answer are lost, its machines go elsewhere at once."""
        pool = self._pool_of.get(link.number)
        if pool is None:
            return
        for share in unanswered:
            self.forwarding.lose(pool, share, reason)
        worked = link.job is not None
        if link in pool.links:
            pool.links[pool.links.index(link)] = None
        if self._closing:
            return
        if not pool.open_links:
            if worked:
                pool.trust.on_failure(asyncio.get_running_loop().time())
            if pool.failed_because != reason or worked:
                pool.failed_because = reason
                self._switched(pool, f"failed: {reason}")
        elif worked:
            log.warning("%s: a connection ended: %s", pool.settings.name, reason)
        self._crew.lost(link.number)

    # --- what others ask -------------------------------------------------------------------------------------------

    def room(self, own: Room) -> Room:
        """Return the extranonce of a new session: one that fits every pool we know, and our own jobs."""
        sizes = [work.job.extranonce2_size for work in self._works()]
        wanted = room_for(min(sizes, default=8)) or own
        return Room(
            min(own.extranonce1_size, wanted.extranonce1_size),
            min(own.extranonce2_size, wanted.extranonce2_size),
        )

    def is_usable(self, pool: Pool) -> bool:
        """Return whether machines may work for a pool now."""
        return bool(pool.open_links) and pool.trust.is_usable(asyncio.get_running_loop().time())

    def views(self) -> list[UpstreamView]:
        """Return all pools as they are now."""
        now, monotonic = self._clock.time(), self._clock.monotonic()
        sessions = self._crew.sessions()
        found = []
        for pool in self.pools:
            links = pool.open_links
            work = self._work(links[0].number) if links else None
            found.append(view_of(pool, work, sessions.get(pool.id, 0), now=now, monotonic=monotonic))
        return found

    # --- inside ----------------------------------------------------------------------------------------------------

    def _note_answered(self) -> None:
        if not any(link.waiting for link in self._links()):
            self._all_answered.set()

    def _links(self) -> list[Link]:
        return [link for pool in self.pools for link in pool.links if link is not None]

    def _work(self, number: int) -> UpstreamWork | None:
        work = self._book.work(number)
        return work if isinstance(work, UpstreamWork) else None

    def _works(self) -> list[UpstreamWork]:
        return [work for link in self._links() if (work := self._work(link.number)) is not None]

    def _begins(self, pool: Pool, now: float) -> None:
        """A connection has its first work."""
        pool.trust.on_working(now)
        if pool.trust.is_usable(now):
            pool.failed_because = None
            self._switched(pool, "gives work")
        else:
            wait_s = pool.trust.usable_in_s(now)
            self._switched(
                pool, f"gives work again; it is used once it has been faultless for {wait_s:.0f} s"
            )
        self._crew.wake()

    def _switched(self, pool: Pool, what: str) -> None:
        log.info("%s %s", pool.settings.name, what)
        self.switches.append(Switch(at=self._clock.time(), pool=pool.settings.name, what=what))
        self._ledger.event("upstream", f"{pool.settings.name} {what}", pool=pool.settings.name)
