"""Carries out orders: stores what is to happen, lets it happen, stores what came of it.

What comes next is decided by `hashwerk.fleet.conduct`; here are the store, the machines and the clock. An event is on disk before
anything it speaks of is sent, so that after `kill -9` the next process knows everything that may have been sent.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Sequence
from typing import Final

import msgspec

from hashwerk.clock import Clock
from hashwerk.errors import DeviceError, FleetError, StoreError
from hashwerk.fleet.commands import Command, SetPools, Sleep, Wake
from hashwerk.fleet.conduct import next_events
from hashwerk.fleet.identity import MachineKey
from hashwerk.fleet.lease import Refused
from hashwerk.fleet.machine import OutcomeKind
from hashwerk.fleet.orders import (
    Aborted,
    Answered,
    Continued,
    Ended,
    Missed,
    Opened,
    Order,
    OrderEvent,
    OrderSpec,
    OrderState,
    Phase,
    Planned,
    RestoreAsked,
    Sent,
    Stopped,
    Tell,
    Verified,
    is_repeatable,
    without_secrets,
)
from hashwerk.fleet.record import Deed
from hashwerk.site.fleet.deeds import done_to_order, taken_over
from hashwerk.site.fleet.roster import Roster
from hashwerk.site.fleet.watcher import Watcher
from hashwerk.site.fleet.wire import Wire
from hashwerk.store.fleet import FleetStore

log = logging.getLogger(__name__)

#: How often an order is looked at while nothing calls for it.
TICK_S: Final = 1.0
#: Ended orders that are kept in memory for the pages; the others are in the store.
_KEEP_ENDED: Final = 50


class Commander:
    """All orders of a site.

    Resource handling: one task for each command under way. `run` must be running for anything to be sent.

    Cancellation: `run` ends at once; what was under way counts as unanswered and is found again by the next process.
    """

    def __init__(
        self,
        roster: Roster,
        wire: Wire,
        watcher: Watcher,
        store: FleetStore,
        clock: Clock,
        *,
        pace: float = 1.0,
    ) -> None:
        self._roster = roster
        self._wire = wire
        self._watcher = watcher
        self._store = store
        self._clock = clock
        self._tick_s = TICK_S * max(0.1, pace)
        self.orders: dict[str, Order] = {}
        self._secrets: dict[str, SetPools] = {}  # by order: the command with its passwords, in memory only
        self._locks: dict[str, asyncio.Lock] = {}
        self._sending: dict[tuple[str, MachineKey], asyncio.Task[None]] = {}
        self._wake = asyncio.Event()
        self._hold: list[str] = []  # orders that wait for somebody to let them go on
        self.on_event: Callable[[Order, OrderEvent], object] | None = None

    def restore(self, orders: Sequence[Order], *, hold: bool) -> None:
        """Take up the orders that were open when the last process ended.

        ``hold`` waits for somebody to let them go on.
        """
        for order in orders:
            self.orders[order.spec.id] = order
            log.warning(
                "order %s of %s is taken up again: %s", order.spec.id, order.spec.who, order.state.value
            )
            self._remember_wishes(order)
            if hold and order.state in (OrderState.NEW, OrderState.REDUCING):
                self._hold.append(order.spec.id)

    async def give(self, spec: OrderSpec) -> Order:
        """Open an order; return it once it is on disk.

        Raises:
            FleetError: If there is already an order with this id.
            StoreError: If it cannot be stored: then there is none.
        """
        if spec.id in self.orders:
            raise FleetError(f"there is already an order {spec.id}")
        if isinstance(spec.task, Tell) and isinstance(spec.task.command, SetPools):
            self._secrets[spec.id] = spec.task.command
            spec = msgspec.structs.replace(spec, task=Tell(command=without_secrets(spec.task.command)))
        order = Order(spec=spec)
        async with self._lock(spec.id):
            await self._note(order, [Opened(at=self._clock.time(), spec=spec)])
            self.orders[spec.id] = order
        self._wake.set()
        return order

    async def restore_order(self, order_id: str, who: str, why: str) -> Order:
        """Put everything back that an order changed.

        Raises:
            FleetError: If there is no such open order.
        """
        order = self._open(order_id)
        async with self._lock(order_id):
            if order.state is not OrderState.RESTORING:
                now = self._clock.time()
                deed = done_to_order(order, "put back what the order changed", who=who, why=why, at=now)
                await self._note(order, [RestoreAsked(at=now, who=who, why=why)], [deed])
        self._wake.set()
        return order

    async def go_on(self, order_id: str, who: str, why: str) -> Order:
        """Let an order go on that was stopped.

        Raises:
            FleetError: If there is no such order, or it is not stopped.
        """
        order = self._open(order_id)
        async with self._lock(order_id):
            if order.state is not OrderState.STOPPED:
                raise FleetError(f"order {order_id} is not stopped, it is {order.state.value}")
            now = self._clock.time()
            deed = done_to_order(order, "let the order go on", who=who, why=why, at=now)
            await self._note(order, [Continued(at=now, who=who)], [deed])
        self._wake.set()
        return order

    async def abort(self, order_id: str, who: str, why: str) -> Order:
        """End an order at once, whoever asks and whatever it is doing. Machines stay as they are.

        It works without the store too: sending ends first.

        Raises:
            FleetError: If there is no such open order.
        """
        order = self._open(order_id)
        event = Aborted(at=self._clock.time(), who=who, why=why)
        deed = done_to_order(order, "abort the order", who=who, why=why, at=event.at)
        was_open = order.is_open
        order.apply(event)  # from here on nothing more is sent
        self._roster.leases.abort(order_id)
        for (of, _), task in list(self._sending.items()):
            if of == order_id:
                task.cancel()
        if was_open:
            await self._store_events(order, [event], [deed])
        return order

    def command_of(self, order: Order, command: Command) -> Command:
        """Return a command with the passwords that are not stored."""
        secret = self._secrets.get(order.spec.id)
        return secret if secret is not None and isinstance(command, SetPools) else command

    async def run(self) -> None:
        """Carry out orders until cancelled."""
        try:
            for order_id in list(self._hold):
                order = self.orders[order_id]
                reason = "the process died in the middle; somebody has to let it go on"
                await self._note(order, [Stopped(at=self._clock.time(), reason=reason)])
            self._hold.clear()
            await self._look_round()
            while True:
                for order in [order for order in self.orders.values() if order.is_open]:
                    await self._advance(order)
                self._forget()
                self._wake.clear()
                try:
                    async with asyncio.timeout(self._tick_s):
                        await self._wake.wait()
                except TimeoutError:
                    continue
        finally:
            for task in self._sending.values():
                task.cancel()
            await asyncio.gather(*self._sending.values(), return_exceptions=True)

    # Inside

    async def _look_round(self) -> None:
        """Wait until every machine was looked at once: an order taken up again must not judge by what it has not seen.

        What was sent without an answer before the process died is told again: nobody knows whether it was taken.
        """
        settings = self._roster.settings
        deadline = self._clock.monotonic() + settings.poll_s + 2 * settings.timeout_s + 1.0
        while any(unit.tried_at is None for unit in self._roster.units.values()):
            if self._clock.monotonic() >= deadline:
                break
            await asyncio.sleep(0.1 * min(1.0, settings.poll_s))
        now = self._clock.time()
        for order in [order for order in self.orders.values() if order.is_open]:
            lost: list[OrderEvent] = [
                Missed(
                    at=now,
                    key=key,
                    attempt=max(0, progress.attempts - 1),
                    reason="the process died before it heard an answer",
                )
                for key, progress in order.machines.items()
                if progress.phase is Phase.SENT
                and progress.outcome is None
                and is_repeatable(progress.command)
            ]
            if lost:
                await self._note(order, lost)

    async def _advance(self, order: Order) -> None:
        async with self._lock(order.spec.id):
            if not order.is_open:
                return
            busy = {key for of, key in self._sending if of == order.spec.id}  # still waiting for its answer
            events = next_events(order, self._roster, self._roster.conduct, self._clock.time())
            events = [event for event in events if getattr(event, "key", None) not in busy]
            events, deeds = self._with_leases(order, events)
            if not events:
                return
            try:
                await self._note(order, events, deeds)
            except StoreError as error:
                log.error("order %s waits, because nothing can be recorded: %s", order.spec.id, error)
                return
            for event in events:
                if isinstance(event, Sent):
                    self._send(order, event)
            self._let_go(order)

    def _let_go(self, order: Order) -> None:
        """Give machines back when an order is done with; what a person wanted of them stays so for a while."""
        if order.is_open:
            return
        spec, now, leases = order.spec, self._clock.time(), self._roster.leases
        for key, progress in order.machines.items() if spec.keeps_s else ():
            if progress.phase is Phase.DONE and order.state is OrderState.ENDED:
                leases.wish(key, spec.holder, spec.id, now, now + spec.keeps_s)
        leases.abort(spec.id)

    def _with_leases(self, order: Order, events: Sequence[OrderEvent]) -> tuple[list[OrderEvent], list[Deed]]:
        """Take a lease for whoever is about to be told; who cannot be had is not told, and from whom one is taken is noted."""
        now = self._clock.time()
        found: list[OrderEvent] = []
        deeds: list[Deed] = []
        for event in events:
            if isinstance(event, Sent):
                spec = order.spec
                before = self._roster.leases.of(event.key, now)
                taken = self._roster.leases.take(event.key, spec.holder, spec.id, now, None)
                if isinstance(taken, Refused):
                    found.append(
                        Missed(
                            at=now,
                            key=event.key,
                            attempt=event.attempt,
                            reason=taken.text,
                            unsent=event.command,
                        )
                    )
                    continue
                if before is not None and before.name != spec.id and spec.holder is not before.holder:
                    deeds.append(
                        taken_over(before, spec.holder, who=spec.who, why=spec.why, at=now, order_id=spec.id)
                    )
            found.append(event)
        return found, deeds

    def _send(self, order: Order, sent: Sent) -> None:
        key = (order.spec.id, sent.key)
        task = asyncio.get_running_loop().create_task(self._carry_out(order, sent))
        self._sending[key] = task
        task.add_done_callback(lambda _: self._sending.pop(key, None))

    async def _carry_out(self, order: Order, sent: Sent) -> None:
        unit = self._roster.units.get(sent.key)
        event: OrderEvent
        if unit is None or unit.member.address is None:
            reason = "nobody knows where it is"
            event = Missed(at=self._clock.time(), key=sent.key, attempt=sent.attempt, reason=reason)
        else:
            command = self.command_of(order, sent.command)
            identity = unit.member.identity
            try:
                outcome = await self._wire.execute(
                    unit.member.address, unit.member.driver, identity.make, command
                )
            except (DeviceError, FleetError) as error:
                event = Missed(at=self._clock.time(), key=sent.key, attempt=sent.attempt, reason=str(error))
            else:
                outcome = msgspec.structs.replace(outcome, message=_short(outcome.message))
                event = Answered(at=self._clock.time(), key=sent.key, outcome=outcome)
                if outcome.kind in (OutcomeKind.ACCEPTED, OutcomeKind.UNANSWERED):
                    self._roster.told(unit, sent.command)
                    self._watcher.hurry(unit.key)
                elif outcome.kind is OutcomeKind.REFUSED:
                    self._roster.wanted(unit, sent.command)  # it was told, whatever it said to that
        async with self._lock(order.spec.id):
            if order.is_open:
                await self._note(order, [event])
            else:
                await self._store_events(order, [event])  # the record tells the truth, also after an abort
        self._wake.set()

    async def _note(self, order: Order, events: Sequence[OrderEvent], deeds: Sequence[Deed] = ()) -> None:
        """Store events, then apply them."""
        is_open = not any(isinstance(event, Ended | Aborted) for event in events)
        is_open = is_open and order.is_open
        await asyncio.to_thread(self._store.append, order.spec, events, is_open=is_open, deeds=deeds)
        for event in events:
            order.apply(event)
            if isinstance(event, Verified) and order.machines[event.key].sent_at is None:
                self._note_wish(order, event.key)  # it was so already: nobody had to tell it
            if isinstance(event, Planned):
                self._note_who_is_so(order)
            if self.on_event is not None:
                self.on_event(order, event)

    def _remember_wishes(self, order: Order) -> None:
        """Take in what machines were told just before the process died: an order's events are kept at once, machines later."""
        for key, progress in order.machines.items():
            unit, sent_at = self._roster.units.get(key), progress.sent_at
            if unit is None or sent_at is None or not progress.attempts:
                continue
            if progress.outcome is not None and progress.outcome.kind is OutcomeKind.UNSUPPORTED:
                continue  # nothing was sent
            if unit.commanded_at is None or unit.commanded_at < sent_at:
                self._roster.wanted(unit, progress.command, sent_at)

    def _note_wish(self, order: Order, key: MachineKey) -> None:
        unit = self._roster.units.get(key)
        if unit is not None:
            self._roster.wanted(unit, order.machines[key].command)

    def _note_who_is_so(self, order: Order) -> None:
        """Take in what is wanted of machines that were left out because they do so already."""
        task = order.spec.task
        if order.spec.dry_run or not isinstance(task, Tell) or not isinstance(task.command, Sleep | Wake):
            return
        for key, reason in order.skips.items():
            unit = self._roster.units.get(key)
            if unit is not None and reason.endswith(" already"):
                self._roster.wanted(unit, task.command)

    async def _store_events(
        self, order: Order, events: Sequence[OrderEvent], deeds: Sequence[Deed] = ()
    ) -> None:
        try:
            await asyncio.to_thread(
                self._store.append, order.spec, events, is_open=order.is_open, deeds=deeds
            )
        except StoreError as error:
            log.error("order %s: what happened cannot be recorded: %s", order.spec.id, error)
        if self.on_event is not None:
            for event in events:
                self.on_event(order, event)

    def _open(self, order_id: str) -> Order:
        order = self.orders.get(order_id)
        if order is None or not order.is_open:
            raise FleetError(f"there is no open order {order_id}")
        return order

    def _lock(self, order_id: str) -> asyncio.Lock:
        return self._locks.setdefault(order_id, asyncio.Lock())

    def _forget(self) -> None:
        ended = [order_id for order_id, order in self.orders.items() if not order.is_open]
        for order_id in ended[:-_KEEP_ENDED]:
            del self.orders[order_id]
            self._locks.pop(order_id, None)
        for order_id in ended:
            self._secrets.pop(order_id, None)


def _short(message: str | None) -> str | None:
    """Return a machine's words, not longer than anybody reads and without what breaks a line."""
    if message is None:
        return None
    return "".join(character if character.isprintable() else " " for character in message)[:200]
