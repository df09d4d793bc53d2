"""The hall at work: a Stratum session a machine, and hashing in proportion to what each machine does at this moment.

The scale is part of the name that each session gives itself, so that the server records it with the session and nobody
takes the simulation for a mine.

Resource handling:
    One task for the whole hall looks at every machine twice a second. Machines owe hashes by their hash rate over the
    scale; what they owe is hashed in chunks of some seconds' worth. What the threads cannot do in ten seconds is
    dropped and counted as shortfall. At most 64 connections are being opened at a time.

    A twin connects to loopback addresses and to the host of the hall's own pool, and to nothing else, whatever is
    written into its pool slots.

Cancellation:
    Cancelling `HallMiners.run` closes the sessions and ends the threads.
"""

from __future__ import annotations

import asyncio
import ipaddress
import random
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Final

from hashwerk import __version__
from hashwerk.client.hashing import NonceScanner
from hashwerk.client.settings import ServerUrl
from hashwerk.client.work import ExtranonceCounter
from hashwerk.clock import Clock
from hashwerk.errors import ConfigError
from hashwerk.twin.faults import FaultKind
from hashwerk.twin.hashing import Chunk, Find, HashPool
from hashwerk.twin.machine import Machine, Slot
from hashwerk.twin.physics import Phase
from hashwerk.twin.session import MiningSession
from hashwerk.twin.settings import HallSettings

TICK_S: Final = 0.5
_CHUNK_S: Final = 1.0
_CHUNK_MAX_S: Final = 10.0
#: Machines whose chunks of a second cost little; more make longer chunks.
_CHUNK_MACHINES: Final = 50
_DEBT_S: Final = 20.0
_CONNECT_S: Final = 10.0
_RETRY_S: Final = (1.0, 60.0)
_RETURN_S: Final = 60.0
_OPENING: Final = 64
_WORK_OF_DIFFICULTY_1: Final = 2.0**32
_AT_WORK: Final = (Phase.STARTING, Phase.HASHING)


def user_agent(scale: float) -> str:
    """Return the name of a twin's sessions, with its scale."""
    mantissa, _, exponent = f"{scale:.6g}".partition("e")
    written = f"{mantissa}e{int(exponent)}" if exponent else mantissa
    return f"hashwerk-twin/{__version__} scale={written}"


@dataclass(slots=True)
class _Seat:
    index: int
    machine: Machine
    session: MiningSession | None = None
    debt: float = 0.0
    connecting: bool = False
    first: int = 0  # the pool slot to begin with
    failures: int = 0
    try_at: float = 0.0
    extranonces: ExtranonceCounter = field(default_factory=ExtranonceCounter)


class HallMiners:
    """Lets machines hash. `run` does it until cancelled."""

    def __init__(
        self, machines: tuple[Machine, ...], settings: HallSettings, clock: Clock, scanner: NonceScanner
    ) -> None:
        """Prepare the seats; nothing is connected yet."""
        self._settings = settings
        self._clock = clock
        self._pool = HashPool(scanner, settings.threads)
        self._seats = [_Seat(index, machine) for index, machine in enumerate(machines)]
        self._rng = random.Random(settings.seed)  # noqa: S311 - jitter
        self._chunk_s = min(_CHUNK_MAX_S, max(_CHUNK_S, _CHUNK_S * len(machines) / _CHUNK_MACHINES))
        self._opening = asyncio.Semaphore(_OPENING)
        self._own_host = None if settings.pool is None else ServerUrl.parse(settings.pool).host
        self._agent = user_agent(settings.scale)
        self.owed = 0.0  # hashes that the machines should have done, so far
        self.dropped = 0.0  # of these, what the threads could not do, or not before their machine slept

    @property
    def hashes(self) -> int:
        """Hashes really done so far."""
        return self._pool.hashes

    @property
    def sessions(self) -> int:
        """Machines that have a job."""
        return sum(1 for seat in self._seats if seat.session is not None and seat.session.has_work)

    async def run(self) -> None:
        """Work until cancelled."""
        try:
            async with asyncio.TaskGroup() as group:
                before = self._clock.monotonic()
                while True:
                    await asyncio.sleep(TICK_S)
                    now = self._clock.monotonic()
                    self._tick(group, now, max(0.0, now - before))
                    before = now
        finally:
            for seat in self._seats:
                if seat.session is not None:
                    seat.session.close()
            await asyncio.to_thread(self._pool.stop)

    def _tick(self, group: asyncio.TaskGroup, now: float, elapsed_s: float) -> None:
        """Look at every machine: connect, owe, and hash what is owed."""
        wall, scale, idle = self._clock.time(), self._settings.scale, self._pool.idle
        chunks: list[Chunk] = []
        for seat in self._seats:
            machine, session = seat.machine, seat.session
            if machine.phase(wall) in (Phase.OFF, Phase.BOOTING):
                seat.debt = 0.0
                if session is not None:
                    session.close()
                continue
            self._look_after(group, seat, now)
            if session is None or not session.has_work or _controller_hangs(machine):
                continue
            rate_hs = machine.hashrate_hs(wall) / scale
            seat.debt += rate_hs * elapsed_s
            self.owed += rate_hs * elapsed_s
            if seat.debt > rate_hs * _DEBT_S:
                self.dropped += seat.debt - rate_hs * _DEBT_S
                seat.debt = rate_hs * _DEBT_S
            if idle and seat.debt >= max(1.0, rate_hs * self._chunk_s):
                chunk = session.take(seat.index, int(seat.debt))
                if chunk is not None:
                    seat.debt -= chunk.count
                    chunks.append(chunk)
        if chunks:
            self._pool.submit(chunks, self._found)

    def _found(self, finds: list[Find]) -> None:
        wall = self._clock.time()
        for find in finds:
            seat = self._seats[find.chunk.seat]
            if seat.machine.phase(wall) not in _AT_WORK:
                # Its hashes are done here some seconds late; a real machine would have handed them in before it slept.
                self.dropped += find.chunk.count
            elif seat.session is not None:
                seat.session.hand_in(find)

    # --- connections ---

    def _look_after(self, group: asyncio.TaskGroup, seat: _Seat, now: float) -> None:
        """Connect a machine that has no session, end a session that is of no use, and go back to a better pool."""
        session, slots = seat.session, seat.machine.slots
        if session is not None and (session.overdue() is not None or session.slot not in slots):
            session.close()
            return
        preferred = session is not None and session.slot is slots[0]
        if seat.connecting or preferred or not slots or now < seat.try_at:
            return
        seat.connecting = True
        group.create_task(self._connect(seat, list(slots)), name=f"twin-connect-{seat.index}")

    async def _connect(self, seat: _Seat, slots: list[Slot]) -> None:
        """Try the pools in order, from a stand-in only the better ones; the first that opens is taken."""
        try:
            before = seat.session
            places = range(len(slots)) if before is None else range(slots.index(before.slot))
            for place in places:
                index = (seat.first + place) % len(slots) if before is None else place
                session = await self._open(seat, slots[index])
                if session is not None:
                    seat.session = session
                    seat.first = 0 if before is not None else seat.first
                    if before is not None:
                        before.close()
                    break
            self._set_retry(seat)
        finally:
            seat.connecting = False

    def _set_retry(self, seat: _Seat) -> None:
        now = self._clock.monotonic()
        if seat.session is None:
            seat.failures += 1
            wait_s = min(_RETRY_S[1], _RETRY_S[0] * 2.0 ** min(10, seat.failures))
            seat.try_at = now + wait_s * self._rng.uniform(0.5, 1)
        else:
            seat.try_at = now + _RETURN_S

    async def _open(self, seat: _Seat, slot: Slot) -> MiningSession | None:
        url = self._allowed(slot.url)
        if url is None:
            return None
        machine, settings = seat.machine, self._settings
        rate_hs = machine.goal(machine.point).hashrate_hs / settings.scale

        def protocol() -> MiningSession:
            return MiningSession(
                machine,
                slot,
                user_agent=self._agent,
                difficulty=max(1e-9, rate_hs * settings.share_interval_s / _WORK_OF_DIFFICULTY_1),
                extranonces=seat.extranonces,
                now=self._clock.monotonic,
                on_end=lambda session: self._ended(seat, session),
            )

        with suppress(OSError, TimeoutError):
            async with self._opening, asyncio.timeout(_CONNECT_S):
                _, session = await asyncio.get_running_loop().create_connection(protocol, url.host, url.port)
                return session
        return None

    def _ended(self, seat: _Seat, session: MiningSession) -> None:
        if seat.session is not session:
            return
        seat.session = None
        if session.has_work:
            seat.first = seat.failures = 0
        else:
            seat.first = (seat.first + 1) % max(1, len(seat.machine.slots))
        self._set_retry(seat)

    def _allowed(self, url: str) -> ServerUrl | None:
        """Return where a pool is, if a twin may go there: its own server, or this machine."""
        try:
            server = ServerUrl.parse(url)
        except ConfigError:
            return None
        if server.tls:
            return None
        if server.host in (self._own_host, "localhost"):
            return server
        try:
            return server if ipaddress.ip_address(server.host).is_loopback else None
        except ValueError:
            return None


def _controller_hangs(machine: Machine) -> bool:
    hang = machine.faults.get(FaultKind.HANG)
    return hang is not None and hang.controller
