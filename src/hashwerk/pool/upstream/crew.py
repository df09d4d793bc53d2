"""Which machine works for which pool, and the moves between them. A move is a job: the connection stays.

A machine's account decides which pools may have it; among those that can be used the ones of the best priority do, and
equals split the accepted work by their shares (`hashwerk.pool.upstream.split`). Without any pool that can be used the
setting `when_upstreams_fail` decides.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from hashwerk.clock import Clock
from hashwerk.pool.connection import Connection
from hashwerk.pool.dispatch import Dispatcher
from hashwerk.pool.jobs import OWN, JobBook
from hashwerk.pool.seats import Seats
from hashwerk.pool.settings import PoolSettings
from hashwerk.pool.upstream.split import Seated, Split
from hashwerk.pool.upstream.work import UpstreamWork, room_for
from hashwerk.stratum.ports import Ledger
from hashwerk.stratum.v1.server import Extranonce

if TYPE_CHECKING:
    from hashwerk.pool.upstream.pool import Pool
    from hashwerk.pool.upstream.pools import Upstreams

log = logging.getLogger(__name__)

#: No work at all: the machine is to rest, or to go to its standby.
NOWHERE: Final = -2
BALANCE_S: Final = 5.0
_MOVED_AT_ONCE: Final = 100

Tier = tuple[int, ...]  # ids of pools of one priority that can be used


@dataclass(slots=True)
class _Wish:
    """What an account's machines should work for now."""

    pools: list[Pool] = field(default_factory=list)
    source: int | None = None  # `OWN` or `NOWHERE` where there is no pool; None: stay where you are


class Crew:
    """All machines, seen as workers of pools."""

    def __init__(
        self,
        settings: PoolSettings,
        *,
        book: JobBook,
        seats: Seats,
        dispatcher: Dispatcher,
        ledger: Ledger,
        clock: Clock,
        on_mask: Callable[[Connection], None],
        drop: Callable[[Connection, str], None],
    ) -> None:
        """Prepare.

        Args:
            settings: The operator's settings.
            book: Knows what each source gives now.
            seats: All machines.
            dispatcher: Sends jobs.
            ledger: Records sessions whose extranonce changed, and events.
            clock: Where the time comes from.
            on_mask: Called when a machine's version bits changed.
            drop: Closes a machine's connection with a reason.
        """
        self._settings = settings
        self._book = book
        self._seats = seats
        self._dispatcher = dispatcher
        self._ledger = ledger
        self._clock = clock
        self._on_mask = on_mask
        self._drop = drop
        self._upstreams: Upstreams | None = None
        self._splits: dict[Tier, Split] = {}
        self._tier_of: dict[int, Tier] = {}  # by account id, as last used
        self._wake = asyncio.Event()
        self._all_gone = False

    def attach(self, upstreams: Upstreams) -> None:
        """Take the pools."""
        self._upstreams = upstreams

    # --- what the server asks --------------------------------------------------------------------------------------

    def place(self, connection: Connection) -> bool:
        """Choose what a machine that begins works for; return False if it was sent away."""
        source = self._choose(connection)
        if source == NOWHERE:
            self._drop(connection, "No upstream pool can be reached; go to your standby")
            return False
        return self._set(connection, source)

    def wake(self) -> None:
        """Something changed: look at all machines now."""
        self._wake.set()

    def lost(self, number: int) -> None:
        """A connection to a pool is gone: its machines go elsewhere, now."""
        if self._upstreams is None:
            return
        keep = self._settings.when_upstreams_fail == "last" and not any(
            pool.open_links for pool in self._upstreams.pools
        )
        if not keep:
            self._book.drop_source(number)
        self._wake.set()

    def adapt(self, number: int) -> None:
        """A pool changed version bits or the room for extranonces: tell its machines before their next job."""
        for connection in list(self._seats):
            if connection.source == number:
                self._set(connection, number)

    def count(self, account_id: int, pool: Pool, work: int) -> None:
        """Count accepted work of an account's machines for a pool."""
        tier = self._tier_of.get(account_id)
        if tier is not None and len(tier) > 1 and pool.id in tier:
            self._split(tier).add(pool.id, float(work))

    def sessions(self) -> dict[int, int]:
        """Return how many machines work for each pool, by its id."""
        of_link = self._links()
        found: dict[int, int] = {}
        for connection in self._seats:
            pool = of_link.get(connection.source)
            if pool is not None:
                found[pool.id] = found.get(pool.id, 0) + 1
        return found

    # --- what runs -------------------------------------------------------------------------------------------------

    async def run(self) -> None:
        """Keep machines where they belong, until cancelled."""
        loop = asyncio.get_running_loop()
        balanced_at = loop.time()
        while True:
            try:
                async with asyncio.timeout(BALANCE_S):
                    await self._wake.wait()
            except TimeoutError:
                pass
            self._wake.clear()
            await self._settle()
            now = loop.time()
            if now - balanced_at >= BALANCE_S:
                await self._balance(now - balanced_at)
                balanced_at = now

    async def _settle(self) -> None:
        """Move every machine whose pool cannot be used any more, or that a better one wants back."""
        wishes: dict[int, _Wish] = {}
        of_link = self._links()
        moved = 0
        for connection in list(self._seats):
            account = connection.account
            if account is None or not connection.session.is_active or not connection.is_open:
                continue
            wish = wishes.get(account.id)
            if wish is None:
                wish = wishes[account.id] = self._wish(account.name)
                self._tier_of[account.id] = tuple(sorted(pool.id for pool in wish.pools))
            pool = of_link.get(connection.source)
            if wish.pools:
                if pool is not None and pool in wish.pools and self._is_open(connection.source, pool):
                    continue
            elif wish.source is None or wish.source == connection.source:
                continue
            if self._move(connection):
                moved += 1
                if moved % _MOVED_AT_ONCE == 0:
                    await asyncio.sleep(0)
        self._tell(wishes)
        if moved:
            log.info("%d machines have work from elsewhere", moved)

    async def _balance(self, seconds: float) -> None:
        """Move a few machines between equals, so that each pool gets its share of the work."""
        for split in self._splits.values():
            split.age(seconds)
        of_link = self._links()
        crews: dict[Tier, list[Seated]] = {}
        by_number: dict[int, Connection] = {}
        for connection in list(self._seats):
            account, pool = connection.account, of_link.get(connection.source)
            if account is None or pool is None:
                continue
            tier = self._tier_of.get(account.id, ())
            if len(tier) > 1 and pool.id in tier:
                by_number[connection.seat] = connection
                rate_hs = self._rate_hs(connection)
                crews.setdefault(tier, []).append(Seated(connection.seat, pool.id, rate_hs))
        for tier, machines in crews.items():
            for count, move in enumerate(self._split(tier).moves(tier, machines), start=1):
                connection = by_number[move.number]
                link = self._link(self._pool(move.pool), connection)
                if link is not None and connection.is_open:
                    self._go(connection, link)
                if count % _MOVED_AT_ONCE == 0:
                    await asyncio.sleep(0)

    # --- inside ----------------------------------------------------------------------------------------------------

    def _wish(self, account: str) -> _Wish:
        """Return which pools an account's machines should work for now."""
        assert self._upstreams is not None
        serving = [pool for pool in self._upstreams.pools if pool.settings.serves(account)]
        if not serving:
            return _Wish(source=OWN)
        usable = [pool for pool in serving if self._upstreams.is_usable(pool)]
        if not usable:
            # One that is still proving itself is better than none.
            usable = [pool for pool in serving if pool.open_links]
        if usable:
            best = min(pool.settings.priority for pool in usable)
            return _Wish(pools=[pool for pool in usable if pool.settings.priority == best])
        match self._settings.when_upstreams_fail:
            case "own":
                return _Wish(source=OWN)
            case "idle":
                return _Wish(source=NOWHERE)
            case "last":
                return _Wish(source=None)

    def _choose(self, connection: Connection) -> int:
        """Return the source a machine is to work for."""
        assert connection.account is not None
        wish = self._wish(connection.account.name)
        if not wish.pools:
            return connection.source if wish.source is None else wish.source
        tier = tuple(sorted(pool.id for pool in wish.pools))
        self._tier_of[connection.account.id] = tier
        chosen = wish.pools[0]
        if len(tier) > 1:
            rates: dict[int, float] = {}
            of_link = self._links()
            for other in self._seats:
                pool = of_link.get(other.source)
                if other is not connection and pool is not None and pool.id in tier:
                    rates[pool.id] = rates.get(pool.id, 0.0) + self._rate_hs(other)
            chosen = self._pool(self._split(tier).next_pool(tier, rates, self._rate_hs(connection)))
        link = self._link(chosen, connection)
        return connection.source if link is None else link

    def _move(self, connection: Connection) -> bool:
        """Let a machine work for what it should; return whether that is something else than before."""
        source = self._choose(connection)
        if source == NOWHERE:
            self._drop(connection, "No upstream pool can be reached; go to your standby")
            return True
        if source == connection.source:
            return False
        self._go(connection, source)
        return True

    def _go(self, connection: Connection, source: int) -> None:
        if self._set(connection, source):
            self._dispatcher.send(connection, clean=True)

    def _set(self, connection: Connection, source: int) -> bool:
        """Make a machine one of this source: its version bits and extranonce fit; return False if they cannot."""
        connection.source = source
        work = self._book.work(source)
        if work is None:
            return True
        session, now = connection.session, self._clock.monotonic()
        session.set_version_mask(work.version_mask & self._settings.version_mask, now)
        self._on_mask(connection)
        if isinstance(work, UpstreamWork) and not work.fits(connection.room):
            return self._shrink(connection, work)
        connection.flush()
        return True

    def _shrink(self, connection: Connection, work: UpstreamWork) -> bool:
        """Give a machine a shorter extranonce, or send it away to come back for one."""
        room, record = room_for(work.job.extranonce2_size), connection.record
        mine = connection.session.extranonce
        if (
            room is None
            or record is None
            or mine is None
            or room.extranonce1_size != mine.extranonce1_size
            or not connection.session.extranonce_subscribed
        ):
            self._drop(connection, "The work has another shape now; connect again")
            return False
        connection.session.set_extranonce(
            Extranonce(mine.extranonce1, mine.extranonce1_size, room.extranonce2_size)
        )
        connection.resize(room)
        self._ledger.put_session(connection.record or record)
        return True

    def _rate_hs(self, connection: Connection) -> float:
        """Return a machine's hash rate as its share target has it; from its shares where a bound holds the target down.

        A pool's low difficulty is such a bound: by their targets all of its machines would look slow.
        """
        vardiff = connection.vardiff
        if vardiff is not None and vardiff.is_held_down:
            measured = vardiff.hashrate_hs(self._clock.monotonic())
            if measured is not None:
                return measured
        return 2.0**connection.work_log2 * self._settings.shares_per_minute / 60.0

    def _link(self, pool: Pool, connection: Connection) -> int | None:
        """Return the connection to a pool that a machine's work goes over."""
        links = pool.open_links
        if not links:
            return None
        if connection.plane:
            link = pool.links[connection.plane] if connection.plane < len(pool.links) else None
            return link.number if link is not None and link.is_open else None
        return links[connection.seat % len(links)].number

    def _is_open(self, number: int, pool: Pool) -> bool:
        return any(link.number == number for link in pool.open_links)

    def _links(self) -> dict[int, Pool]:
        assert self._upstreams is not None
        return {link.number: pool for pool in self._upstreams.pools for link in pool.open_links}

    def _pool(self, pool_id: int) -> Pool:
        assert self._upstreams is not None
        return next(pool for pool in self._upstreams.pools if pool.id == pool_id)

    def _split(self, tier: Tier) -> Split:
        found = self._splits.get(tier)
        if found is None:
            found = self._splits[tier] = Split({id_: self._pool(id_).settings.share for id_ in tier})
        return found

    def _tell(self, wishes: dict[int, _Wish]) -> None:
        """Say once when no pool is left, and once when one is back."""
        gone = any(not wish.pools and wish.source != OWN for wish in wishes.values())
        own = self._settings.when_upstreams_fail == "own" and self._upstreams is not None
        gone = gone or (own and bool(wishes) and not any(pool.open_links for pool in self._upstreams.pools))  # type: ignore[union-attr]
        if gone == self._all_gone:
            return
        self._all_gone = gone
        words = {
            "own": "machines work on our own templates",
            "idle": "machines are sent away, to their standby or to rest",
            "last": "machines keep their last work, whose shares nobody takes",
        }
        text = (
            f"no upstream pool is left: {words[self._settings.when_upstreams_fail]}"
            if gone
            else "a pool is back"
        )
        log.warning(text)
        self._ledger.event("upstream", text)
