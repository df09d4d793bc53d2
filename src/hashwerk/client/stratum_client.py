"""The asyncio Stratum client: one server, others in reserve, and back to the first when it is well.

Resource handling:
    Events wait in a bounded queue; when the consumer is slow, the socket is read no further. A job that was
    not yet taken is replaced by the next one. Shares are never dropped for lack of room:
    `StratumClient.submit` waits.

Cancellation:
    Cancelling `StratumClient.run` closes every connection. Wait for `StratumClient.settled` first, with a
    deadline, to hear of the shares in flight.
"""

from __future__ import annotations

import asyncio
import random
from collections import deque
from dataclasses import dataclass

from hashwerk.client.connection import Connection, ConnectionEvent
from hashwerk.client.events import (
    ClientEvent,
    Connected,
    ConnectFailed,
    Disconnected,
    Submission,
    WorkReceived,
)
from hashwerk.client.failover import Failover
from hashwerk.client.settings import ClientSettings
from hashwerk.errors import ClientError


class EventQueue:
    """A bounded queue in which a newer job takes the place of an older one that nobody has taken."""

    def __init__(self, limit: int) -> None:
        """Hold at most ``limit`` events; who puts one more waits."""
        self._limit = limit
        self._events: deque[ClientEvent] = deque()
        self._changed = asyncio.Condition()

    async def put(self, event: ClientEvent) -> None:
        """Add an event as soon as there is room."""
        async with self._changed:
            await self._changed.wait_for(lambda: len(self._events) < self._limit)
            if isinstance(event, WorkReceived):
                event = self._supersede(event)
            self._events.append(event)
            self._changed.notify_all()

    async def get(self) -> ClientEvent:
        """Return the oldest event, waiting for one."""
        async with self._changed:
            await self._changed.wait_for(lambda: bool(self._events))
            event = self._events.popleft()
            self._changed.notify_all()
        return event

    def _supersede(self, event: WorkReceived) -> WorkReceived:
        """Take out an untaken job of the same connection; that it made earlier work stale stays known."""
        for waiting in self._events:
            if isinstance(waiting, WorkReceived) and waiting.work.connection == event.work.connection:
                self._events.remove(waiting)
                return WorkReceived(event.work, clean=event.clean or waiting.clean)
        return event


@dataclass(slots=True, eq=False)
class _Open:
    """A connection and what it is to us."""

    index: int  # of its server
    connection: Connection
    task: asyncio.Task[None]
    adopted: bool = False  # it gave work, now or before
    retired: bool = False  # ended by us, for a more preferred one


class StratumClient:
    """Keeps one good connection to the most preferred server that works."""

    def __init__(self, settings: ClientSettings, *, rng: random.Random) -> None:
        """Prepare a client; `run` runs it.

        Args:
            settings: The servers, who we are, and how long to wait.
            rng: Where the jitter of retries comes from.
        """
        self.settings = settings
        self._failover = Failover(
            settings.servers, rng, retry_min_s=settings.retry_min_s, retry_max_s=settings.retry_max_s
        )
        self._events = EventQueue(settings.max_events)
        self._tokens: dict[int, str] = {}  # by server: the session to resume
        # By connection number: the current one, candidates, and those that wait for their last answers.
        self._open: dict[int, _Open] = {}
        self._current: _Open | None = None
        self._candidate: _Open | None = None  # a more preferred server under proof
        self._count = 0
        self._failures: dict[int, str] = {}  # servers that failed since one last served: the reasons

    @property
    def in_flight(self) -> int:
        """Shares sent and not yet answered."""
        return sum(entry.connection.in_flight for entry in self._open.values())

    async def next_event(self) -> ClientEvent:
        """Return the next event, waiting for one."""
        return await self._events.get()

    async def submit(self, share: Submission) -> bool:
        """Send a share on the connection its job came from, as soon as there is room.

        Returns:
            False if that connection is over, or no longer the one that gives work: the share was not sent.
            Whatever was sent is answered by exactly one event: accepted, rejected, or unknown in a
            `Disconnected`.
        """
        current = self._current
        if current is None or current.connection.number != share.work.connection:
            return False
        return await current.connection.submit(share)

    async def settled(self) -> None:
        """Wait until no share is in flight."""
        for entry in list(self._open.values()):
            await entry.connection.settled()

    async def run(self) -> None:
        """Serve until cancelled.

        Raises:
            ClientError: If ``settings.retry`` is False and every server failed since one last served.
        """
        try:
            async with asyncio.TaskGroup() as group:
                await self._serve(group)
        except BaseExceptionGroup as errors:
            gave_up = errors.subgroup(ClientError)
            if gave_up is None:
                raise
            raise ClientError(str(_first(gave_up))) from None

    async def _serve(self, group: asyncio.TaskGroup) -> None:
        loop = asyncio.get_running_loop()
        while True:
            index, wait_s = self._failover.next(loop.time())
            await asyncio.sleep(wait_s)
            entry: _Open | None = self._start(group, index)
            while entry is not None:
                await entry.connection.first_work()
                if entry.connection.over:
                    await entry.task
                    break
                await self._adopt(group, entry)
                entry = await self._replacement(group, entry)

    def _start(self, group: asyncio.TaskGroup, index: int) -> _Open:
        """Open a connection to a server; its task ends when the connection does."""
        self._count += 1
        connection = Connection(
            self._count,
            self._failover.server(index),
            self.settings,
            token=self._tokens.get(index),
            deliver=self._deliver,
        )
        task = group.create_task(self._watch(index, connection), name=f"connection {connection.number}")
        entry = _Open(index, connection, task)
        self._open[connection.number] = entry
        return entry

    async def _watch(self, index: int, connection: Connection) -> None:
        """Run a connection to its end, then draw the consequences."""
        try:
            await connection.run()
        finally:
            entry = self._open.pop(connection.number)
            if connection.token is not None:
                self._tokens[index] = connection.token
        reason = connection.end_reason or ""
        if entry is self._current:
            self._current = None
        if not entry.retired:
            self._record_failure(index, connection, reason)
        if entry.adopted:
            event = Disconnected(connection.server, connection.number, reason, connection.unknown)
            await self._events.put(event)
        else:
            await self._events.put(ConnectFailed(connection.server, reason))
        if not self.settings.retry and len(self._failures) == len(self.settings.servers):
            raise ClientError("no server gave work: " + "; ".join(self._failures.values()))

    def _record_failure(self, index: int, connection: Connection, reason: str) -> None:
        now = asyncio.get_running_loop().time()
        if connection.first_work_at is None:
            self._failures[index] = f"{connection.server}: {reason}"
        elif now - connection.first_work_at >= self.settings.return_proof_s:
            self._failover.proven(index)
        self._failover.failed(index, now, at_least_s=connection.retry_after_s)

    async def _deliver(self, connection: Connection, event: ConnectionEvent) -> None:
        """Pass on a connection's event; jobs only from the one that gives work."""
        is_current = self._current is not None and self._current.connection is connection
        if is_current or not isinstance(event, WorkReceived):
            await self._events.put(event)

    async def _adopt(self, group: asyncio.TaskGroup, entry: _Open) -> None:
        """Let a connection give work from now on; the one before may still answer what it was sent."""
        before, self._current = self._current, None
        self._failures.clear()
        entry.adopted = True
        await self._events.put(Connected(entry.connection.server, entry.connection.number))
        if not entry.connection.over:
            self._current = entry
            assert entry.connection.work is not None
            await self._events.put(WorkReceived(entry.connection.work, clean=True))
        if before is not None:
            before.retired = True
            group.create_task(self._retire(before.connection), name="retire")

    async def _retire(self, connection: Connection) -> None:
        try:
            async with asyncio.timeout(self.settings.reply_timeout_s):
                await connection.settled()
        except TimeoutError:
            pass
        connection.end("a more preferred server is back")

    async def _replacement(self, group: asyncio.TaskGroup, entry: _Open) -> _Open | None:
        """Wait until a connection is over or a more preferred server proved itself; return what follows."""
        if entry.index == 0:
            await entry.task
            return None
        proof = group.create_task(self._prove_preferred(group, entry.index), name="proof")
        await asyncio.wait({entry.task, proof}, return_when=asyncio.FIRST_COMPLETED)
        if not proof.done():
            proof.cancel()
        candidate, self._candidate = self._candidate, None
        if candidate is None or candidate.connection.over:
            return None
        if candidate.connection.work is None:
            candidate.retired = True
            candidate.connection.end("gave no job in time to stand in")
            return None
        return candidate  # perhaps only half proven, but better than none

    async def _prove_preferred(self, group: asyncio.TaskGroup, below: int) -> None:
        """Try the more preferred servers from time to time until one has served jobs for a while.

        The proof is a second connection beside the one that gives work, so nothing is lost if it fails.
        """
        settings = self.settings
        while True:
            await asyncio.sleep(settings.return_check_s)
            for index in range(below):
                candidate = self._candidate = self._start(group, index)
                await candidate.connection.first_work()
                if not candidate.connection.over:
                    await asyncio.wait({candidate.task}, timeout=settings.return_proof_s)
                if not candidate.connection.over:
                    return
                self._candidate = None


def _first(errors: BaseExceptionGroup[ClientError]) -> BaseException:
    """Return one of the errors of a group that may be nested."""
    error: BaseException = errors
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return error
