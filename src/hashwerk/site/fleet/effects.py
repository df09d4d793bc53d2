"""Follows what commands do until it is on record: the orders go on meanwhile, or are over."""

from __future__ import annotations

import asyncio
import logging
from dataclasses import dataclass, field
from typing import Final

import msgspec

from hashwerk.clock import Clock
from hashwerk.errors import StoreError
from hashwerk.fleet.effects import Seen, Steadiness, Told, effect_seen, told
from hashwerk.fleet.identity import MachineKey
from hashwerk.fleet.limits import words
from hashwerk.fleet.machine import OutcomeKind
from hashwerk.fleet.measure import Effect, Verdict, Vote
from hashwerk.fleet.orders import Answered, GaveUp, Missed, Order, OrderEvent, Sent, Verified
from hashwerk.fleet.record import Unsettled
from hashwerk.site.fleet.roster import Roster
from hashwerk.store.fleet import FleetStore
from hashwerk.work.poisson import Rate

log = logging.getLogger(__name__)

#: Hash rates before a command are taken over so long.
_BEFORE_S: Final = 600.0
#: What was told longer ago has no effect that could still be seen, whatever happened to the process.
_FORGET_S: Final = 6 * 3_600.0
#: So many are looked at without letting anybody else go on.
_AT_ONCE: Final = 50
_NOTHING: Final = {"machine": Vote.CANNOT_SAY, "shares": Vote.CANNOT_SAY, "meter": Vote.CANNOT_SAY}


@dataclass(slots=True)
class _Watched:
    one: Told
    verified: Effect | None = None
    shown: Effect | None = None  # what is on record of it already
    steady: Steadiness = field(default_factory=Steadiness)
    next_at: float = 0.0
    was_asked: bool = False  # whether the ledger was asked of its hash rate before


class EffectBook:
    """The commands whose effect is still to be seen, one a machine. Owned by the fleet's loop.

    Cancellation: `run` ends at once; what is not settled is found in the record by the next process.
    """

    def __init__(self, roster: Roster, store: FleetStore, clock: Clock) -> None:
        self._roster = roster
        self._store = store
        self._clock = clock
        self._watched: dict[MachineKey, _Watched] = {}
        self._ready: list[tuple[Unsettled, Effect, float | None]] = []  # to be written

    def restore(self) -> None:
        """Take up what the last process had not settled.

        Raises:
            StoreError: If the record cannot be read.
        """
        now = self._clock.time()
        orders: dict[str, Order | None] = {}
        for command in self._store.unsettled(0.0):
            is_recent = now - command.at <= _FORGET_S
            if is_recent and command.order_id not in orders:
                orders[command.order_id] = self._store.order(command.order_id)
            order = orders.get(command.order_id)
            progress = None if order is None else order.machines.get(command.key)
            if not is_recent or progress is None or progress.sent_at != command.at:
                self._close(command, "the process ended before its effect could be measured", now)
                continue
            one = told(command.order_id, progress, self._before(command.key, command.at))
            if one is not None:
                self._watch(one, progress.effect)

    def note(self, order: Order, event: OrderEvent) -> None:
        """Take in what happened in an order, once it is on record."""
        match event:
            case Sent():
                one = told(order.spec.id, order.machines[event.key], self._before(event.key, event.at))
                if one is not None:
                    self._watch(one)
            case Answered() if event.outcome.kind in (OutcomeKind.REFUSED, OutcomeKind.UNSUPPORTED):
                self._drop(order, event.key)
            case Verified() if (watched := self._of(order, event.key)) is not None:
                watched.verified = event.effect
                if event.effect.verdict is Verdict.CONTRADICTED:
                    self._drop(order, event.key)
            case Missed() | GaveUp():
                self._drop(order, event.key)
            case _:
                return

    async def run(self) -> None:
        """Look again and again."""
        while True:
            await self.look()
            await asyncio.sleep(max(0.2, min(5.0, self._roster.settings.poll_s)))

    async def look(self) -> None:
        """Put on record what can be seen by now."""
        for number, (key, watched) in enumerate(list(self._watched.items())):
            if number % _AT_ONCE == _AT_ONCE - 1:
                await asyncio.sleep(0)  # the shares of 5,000 machines take most of a second to look through
            now = self._clock.time()
            if watched.next_at > now or self._watched.get(key) is not watched:
                continue
            watched.next_at = now + self._roster.settings.poll_s  # nothing new is known of it before
            if (seen := self._seen(watched, now)) is None:
                continue
            if watched.shown is not None and not seen.is_final:
                continue
            watched.shown = seen.effect
            self._ready.append((_name(watched.one), seen.effect, now if seen.is_final else None))
            if seen.is_final:
                del self._watched[key]
        await self._write()

    def _seen(self, watched: _Watched, now: float) -> Seen | None:
        one = watched.one
        if one.before is None and not watched.was_asked and self._roster.shares.is_fresh:
            # A new process reads the ledger a moment after it has begun.
            watched.was_asked = True
            watched.one = one = msgspec.structs.replace(one, before=self._before(one.key, one.at))
        conduct = self._roster.conduct
        return effect_seen(one, self._roster, conduct, now, watched.verified, steady=watched.steady)

    async def _write(self) -> None:
        ready, self._ready = self._ready, []
        if not ready:
            return
        try:
            await asyncio.to_thread(self._store.note_effects, ready)
        except StoreError as error:
            log.error("the effect of %d commands is not recorded yet: %s", len(ready), error)
            self._ready = ready + self._ready

    def _watch(self, one: Told, verified: Effect | None = None) -> None:
        earlier = self._watched.get(one.key)
        if earlier is not None:
            now = self._clock.time()
            text = f"{words(earlier.one.command)}: it was told something else before the effect could be measured"
            self._close(_name(earlier.one), text, now, earlier)
        self._watched[one.key] = _Watched(one, verified)

    def _close(self, command: Unsettled, text: str, now: float, watched: _Watched | None = None) -> None:
        """Say the last word on a command whose effect nobody will see any more."""
        found = None if watched is None else watched.shown or watched.verified
        effect = Effect(**_NOTHING, text=text)  # type: ignore[arg-type]
        if found is not None:
            effect = msgspec.structs.replace(found, text=f"{found.text}; {text.partition(': ')[2] or text}")
        self._ready.append((command, effect, now))

    def _drop(self, order: Order, key: MachineKey) -> None:
        if self._of(order, key) is not None:
            del self._watched[key]

    def _of(self, order: Order, key: MachineKey) -> _Watched | None:
        watched = self._watched.get(key)
        return watched if watched is not None and watched.one.order_id == order.spec.id else None

    def _before(self, key: MachineKey, at: float) -> Rate | None:
        return self._roster.rate(key, at - _BEFORE_S, at)


def _name(one: Told) -> Unsettled:
    return Unsettled(one.order_id, one.key, one.at)
