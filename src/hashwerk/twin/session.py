"""One machine's connection to a Stratum server. The protocol is `ClientSession`; here are socket, work and counting.

Resource handling:
    No task and no timer a machine: `MiningSession.overdue` is asked from time to time. A machine that sleeps keeps its
    connection and hashes nothing.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Final, assert_never, cast

from hashwerk.chain.target import DIFFICULTY_1_TARGET
from hashwerk.client.work import NONCES_PER_HEADER, ExtranonceCounter, HeaderStream, HeaderWork, JobWork
from hashwerk.stratum.v1.client import (
    Accepted,
    Authorized,
    ClientEvent,
    ClientJob,
    ClientSession,
    Failed,
    JobReceived,
    MessageShown,
    ReconnectRequested,
    Rejected,
    Subscribed,
)
from hashwerk.twin.hashing import Chunk, Find
from hashwerk.twin.machine import Machine, Slot
from hashwerk.work.kernel.scanner import header_hash

HANDSHAKE_S: Final = 20.0
SILENCE_S: Final = 180.0
REPLY_S: Final = 30.0


class MiningSession(asyncio.Protocol):
    """A machine at work for one pool slot."""

    __slots__ = (
        "_client",
        "_header",
        "_in_flight",
        "_last_at",
        "_nonce",
        "_now",
        "_on_end",
        "_stream",
        "_transport",
        "_work",
        "extranonces",
        "failed",
        "machine",
        "slot",
    )

    def __init__(
        self,
        machine: Machine,
        slot: Slot,
        *,
        user_agent: str,
        difficulty: float,
        extranonces: ExtranonceCounter,
        now: Callable[[], float],
        on_end: Callable[[MiningSession], None],
    ) -> None:
        """Prepare; the first requests are sent when the connection stands.

        Args:
            machine: Whose session this is.
            slot: The pool it is for; its counters are kept up to date.
            user_agent: Says that this is a twin, and its scale.
            difficulty: What the machine would like to be given.
            extranonces: The machine's own, over all its sessions.
            now: Seconds of a clock that does not go backwards.
            on_end: Called once, when the connection is over.
        """
        self.machine = machine
        self.slot = slot
        self.extranonces = extranonces
        self.failed: str | None = None
        self._client = ClientSession(
            user=slot.user, password=slot.password, user_agent=user_agent, suggest_difficulty=difficulty
        )
        self._now = now
        self._on_end = on_end
        self._transport: asyncio.Transport | None = None
        self._last_at = now()
        self._work: JobWork | None = None
        self._stream: HeaderStream | None = None
        self._header: HeaderWork | None = None
        self._nonce = 0
        self._in_flight: dict[int, tuple[float, float]] = {}  # by request: difficulty, when sent

    # --- the socket ---

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Introduce the machine."""
        self._transport = cast("asyncio.Transport", transport)
        self._flush()

    def data_received(self, data: bytes) -> None:
        """Do what the server says."""
        for event in self._client.receive_data(data, self._now()):
            self._handle(event)
        self._flush()

    def connection_lost(self, exc: Exception | None) -> None:
        """Leave the pool."""
        self._transport = None
        self.slot.connected = False
        self._on_end(self)

    def close(self) -> None:
        """End the connection."""
        if self._transport is not None:
            self._transport.abort()

    def overdue(self) -> str | None:
        """Return why the connection is to be given up, if it is."""
        now = self._now()
        if self._work is None:
            return "no job" if now - self._last_at > HANDSHAKE_S else None
        if now - self._last_at > SILENCE_S:
            return "no new job"
        oldest = next(iter(self._in_flight.values()), None)
        return "a share was not answered" if oldest is not None and now - oldest[1] > REPLY_S else None

    # --- work ---

    @property
    def has_work(self) -> bool:
        """Whether there is something to hash."""
        return self._work is not None

    def take(self, seat: int, count: int) -> Chunk | None:
        """Return the next nonces of this machine's work, at most ``count``."""
        if self._work is None:
            return None
        if self._header is None or self._nonce >= NONCES_PER_HEADER:
            if self._stream is None:
                self._stream = self._work.stream()
            self._header, self._nonce = self._stream.next(self._now()), 0
            if self._header is None:
                return None
        start = self._nonce
        taken = min(count, NONCES_PER_HEADER - start)
        self._nonce += taken
        return Chunk(seat, self._work, self._header, start, taken)

    def hand_in(self, find: Find) -> None:
        """Send the shares of a chunk, unless their job belongs to an earlier connection."""
        chunk = find.chunk
        if (
            self._transport is None
            or self._work is None
            or chunk.work.job.extranonce1 != self._work.job.extranonce1
        ):
            return
        job, header = chunk.work.job, chunk.header
        for nonce in find.nonces:
            request = self._client.submit(
                job,
                extranonce2=header.extranonce2,
                ntime=header.ntime,
                nonce=nonce,
                version_bits=header.version_bits,
            )
            self._in_flight[request] = float(job.difficulty), self._now()
            reached = DIFFICULTY_1_TARGET / max(1, header_hash(header.header76, nonce))
            self.machine.best_difficulty = max(self.machine.best_difficulty, reached)
        self._flush()

    # --- inside ---

    def _handle(self, event: ClientEvent) -> None:
        match event:
            case JobReceived(job):
                self._take_job(job)
            case Accepted(request):
                self._answered(request, accepted=True)
            case Rejected(request):
                self._answered(request, accepted=False)
            case Failed(reason):
                self.failed = reason
                self.close()
            case ReconnectRequested():
                self.close()
            case Subscribed() | Authorized() | MessageShown():
                pass
            case _:
                assert_never(event)

    def _take_job(self, job: ClientJob) -> None:
        now = self._now()
        self._work = JobWork(job, self.extranonces, received_at=now)
        self._stream = self._header = None
        self._last_at = now
        self.slot.connected = True
        self.slot.difficulty = float(job.difficulty)

    def _answered(self, request: int, *, accepted: bool) -> None:
        sent = self._in_flight.pop(request, None)
        if sent is None:
            return
        slot = self.slot
        if accepted:
            slot.accepted += 1
            slot.accepted_difficulty += sent[0]
            slot.last_share_at = sent[1]
        else:
            slot.rejected += 1
            slot.rejected_difficulty += sent[0]

    def _flush(self) -> None:
        if self._transport is not None and (data := self._client.data_to_send()):
            self._transport.write(data)
