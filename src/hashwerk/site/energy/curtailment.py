"""The life of a grid operator's order: kept, measured against a baseline fixed before it, answered, settled.

What an order means for a plan is decided by `hashwerk.dispatch.orders`. Here are its record, its baseline and its end.
"""

from __future__ import annotations

import datetime
import logging
from collections.abc import Iterable, Mapping, Sequence
from typing import Final, Protocol

import msgspec
import numpy as np

from hashwerk.clock import Clock
from hashwerk.dispatch.baselines import (
    BaselineKind,
    Settlement,
    meter_before,
    settle_order,
)
from hashwerk.dispatch.orders import Cancel, Order, OrderBook, OrderKind, OrderSource, laggards
from hashwerk.errors import DispatchError, HashwerkError
from hashwerk.fleet.identity import MachineKey
from hashwerk.fleet.states import State
from hashwerk.site.energy.as_seen import drawn_w
from hashwerk.site.energy.order_baseline import REACH_BACK_DAYS, like_days_w
from hashwerk.site.energy.order_figures import meter_series, settlement_words, words
from hashwerk.site.energy.ports import MachineNow
from hashwerk.site.energy.present import HELD
from hashwerk.site.energy.record import EnergyRecord, Moment, OrderRecord
from hashwerk.site.energy.view import OrderView

log = logging.getLogger(__name__)

_BASELINE_S: Final = 900.0
#: Import so near to the target counts as there, as a share of what was to be reduced.
_TOLERANCE: Final = 0.05
_PATIENCE_S: Final = 60.0
_LAGGARDS: Final = 20
_SHOWN: Final = 50
#: Orders whose days are no days like any other.
_RECALLED: Final = 1_000
_DAY_S: Final = 86_400


class Curtailment:
    """All orders of a site. Owned by one loop; what it keeps is on disk before it counts."""

    def __init__(self, record: EnergyRecord, clock: Clock, *, record_every_s: float) -> None:
        self._record = record
        self._clock = clock
        self._every_s = record_every_s
        self._known: dict[tuple[str, str], OrderRecord] = {}
        self._slow: tuple[str, ...] = ()
        self.book = OrderBook()

    def restore(self) -> int:
        """Take up the orders in the record; return how many still bear on what is done."""
        now, found = self._clock.time(), 0
        for record in reversed(self._record.orders(_SHOWN)):
            order = record.order
            self._known[order.source, order.id] = record
            if record.settlement is None and self._state(record, now) not in {"over", "cancelled"}:
                self.book.receive(order)
                found += 1
                if record.baseline_w is not None:
                    self.book.set_baseline(order, record.baseline_w)
        return found

    def receive(self, message: Order | Cancel) -> OrderRecord | None:
        """Take in an order or its end; it is on disk when this returns. None: the end of an order nobody knows.

        Raises:
            StoreError: If it cannot be kept: then it is not taken.
        """
        key = (message.source, message.id)
        known = self._known.get(key)
        if isinstance(message, Cancel):
            if known is None:
                return None
            return self._cancel(known, message)
        if known is not None and known.order == message:
            return known
        kept = OrderRecord(
            order=message,
            baseline_w=None if known is None else known.baseline_w,
            baseline_text="" if known is None else known.baseline_text,
            reached_s=None if known is None else known.reached_s,
        )
        self._put(kept)
        self.book.receive(message)
        log.warning("order %s of %s: %s", message.id, message.source, words(message))
        return kept

    def _cancel(self, known: OrderRecord, message: Cancel) -> OrderRecord:
        order = known.order
        if order.stop_s is not None and message.received_s >= order.stop_s:
            return known
        if message.received_s > order.start_s:
            order = msgspec.structs.replace(order, stop_s=message.received_s)
        kept = msgspec.structs.replace(known, order=order, cancelled_s=message.received_s)
        self._put(kept)
        self.book.receive(message)
        log.warning("order %s of %s is cancelled", message.id, message.source)
        return kept

    def find(self, order_id: str) -> OrderRecord | None:
        """Return an order by its id, whoever gave it; None if there is none."""
        return next((record for (_, own), record in self._known.items() if own == order_id), None)

    def active(self) -> tuple[Order, ...]:
        """Return the orders that are in force now."""
        return self.book.active(self._clock.time())

    def emergency(self) -> str | None:
        """Return in words the order that puts every machine to sleep now; None if there is none."""
        order = next((order for order in self.active() if order.kind is OrderKind.ALL), None)
        return None if order is None else f"order {order.id} of {order.source}: {words(order)}"

    def limit_w(self) -> float | None:
        """Return the lowest import that the orders in force ask for; None if there is none, or its baseline is not known."""
        targets = [self._target_w(self._known[order.source, order.id]) for order in self.active()]
        return min((target for target in targets if target is not None), default=None)

    def for_plan(self, start_s: float, stop_s: float, import_w: float | None) -> OrderBook:
        """Return the orders that bear on a span, each with a baseline: its own, else what is measured now.

        A later measurement of the baseline changes the plan, never the record.
        """
        book = OrderBook()
        for order in self.book.ahead(start_s, stop_s):
            book.receive(order)
            baseline_w = self.book.baseline_w(order)
            if baseline_w is None:
                baseline_w = import_w
            if baseline_w is not None:
                book.set_baseline(order, baseline_w)
            elif order.kind is OrderKind.REDUCE_BY:  # nothing to take it from: as if nothing had been drawn
                book.set_baseline(order, 0.0)
        return book

    def fix_baselines(
        self,
        now: float,
        moments: Sequence[Moment],
        import_w: float | None,
        ahead_s: float,
        zone: datetime.tzinfo = datetime.UTC,
    ) -> None:
        """Measure the baselines of orders that begin to bear on plans, once and for all; like days are those of ``zone``."""
        for record in list(self._known.values()):
            order = record.order
            is_due = (
                record.cancelled_s is None and record.baseline_w is None and now >= order.start_s - ahead_s
            )
            if not is_due or (order.stop_s is not None and now >= order.stop_s):
                continue
            baseline_w, text = self._baseline(order, moments, min(now, order.start_s), import_w, zone=zone)
            if baseline_w is None:
                continue
            self._put(msgspec.structs.replace(record, baseline_w=baseline_w, baseline_text=text))
            self.book.set_baseline(order, baseline_w)

    def _baseline(
        self,
        order: Order,
        moments: Sequence[Moment],
        at_s: float,
        import_w: float | None,
        *,
        zone: datetime.tzinfo,
    ) -> tuple[float | None, str]:
        if order.baseline is BaselineKind.HIGH_4_OF_5:
            try:
                return self._like_days_w(order, zone), "the four highest of the five last days like it"
            except DispatchError as error:
                log.warning("order %s: %s; the meter before it is taken", order.id, error)
        seen = [moment for moment in moments if moment.at_s <= at_s]
        if seen and at_s - seen[0].at_s >= 2 * self._every_s:
            first_s, last_s = max(at_s - _BASELINE_S, seen[0].at_s), seen[-1].at_s
            try:
                meter = meter_series(seen, first_s, last_s, every_s=self._every_s)
                baseline_w = meter_before(meter, last_s, window_s=last_s - first_s)
            except DispatchError as error:
                log.warning("order %s: %s", order.id, error)
            else:
                return baseline_w, f"mean of the {last_s - first_s:,.0f} s before"
        return import_w, "one reading: the meter was not watched before"

    def _like_days_w(self, order: Order, zone: datetime.tzinfo) -> float:
        since_s = order.start_s - (REACH_BACK_DAYS + 1) * _DAY_S
        quarters = self._record.quarters(since_s, order.start_s)
        others = [one.order for one in self._record.orders(_RECALLED) if one.order.id != order.id]
        return like_days_w(order, quarters, others, zone)

    def follow(
        self,
        now: float,
        import_w: float | None,
        machines: Iterable[MachineNow],
        told: Mapping[MachineKey, float],
    ) -> None:
        """Note when targets are reached and who does not sleep.

        Args:
            now: Unix seconds.
            import_w: Measured; None: not known.
            machines: All of them.
            told: Since when each machine that should sleep was told to.
        """
        active = [record for record in self._known.values() if self._state(record, now) == "active"]
        self._slow = self._laggards(now, machines, told) if active else ()
        for record in active:
            target_w = self._target_w(record)
            if record.reached_s is None and import_w is not None and target_w is not None:
                room_w = _TOLERANCE * max((record.baseline_w or target_w) - target_w, 0.0)
                house_w = self._house_w(record, machines)
                if import_w <= max(target_w, house_w) + max(room_w, 1.0):
                    self._put(msgspec.structs.replace(record, reached_s=now))

    @staticmethod
    def _house_w(record: OrderRecord, machines: Iterable[MachineNow]) -> float:
        """Return what sleeping machines draw: of an order to put all to sleep nothing less can be asked."""
        if record.order.kind is not OrderKind.ALL:
            return 0.0
        return 1.25 * sum(machine.idle_w for machine in machines)

    @staticmethod
    def _laggards(
        now: float, machines: Iterable[MachineNow], told: Mapping[MachineKey, float]
    ) -> tuple[str, ...]:
        found = []
        for machine in machines:
            since = told.get(machine.key)
            if since is None:
                continue
            patience_s = max(_PATIENCE_S, machine.sleep_s)
            is_silent = machine.power_w is None and machine.state is not State.ASLEEP
            one = (machine.key, None if is_silent else drawn_w(machine), machine.idle_w)
            slow = laggards([one], now - since, patience_s=patience_s)
            found += [f"{each.machine}: {each.what_to_do}" for each in slow]
        if len(found) > _LAGGARDS:
            return (*found[:_LAGGARDS], f"and {len(found) - _LAGGARDS} more")
        return tuple(found)

    def settle(self, now: float, moments_of: Settler) -> list[Settlement]:
        """Make the records of orders that are over; return the new ones."""
        made = []
        for record in list(self._known.values()):
            order = record.order
            if record.settlement is not None or order.stop_s is None or order.stop_s <= order.start_s:
                continue
            if now < order.stop_s + 2 * self._every_s or (record.cancelled_s or np.inf) <= order.start_s:
                continue
            around_s = HELD * self._every_s
            moments = moments_of(order.start_s - around_s, order.stop_s + around_s)
            meter = meter_series(moments, order.start_s, order.stop_s, every_s=self._every_s)
            settlement = settle_order(
                order_id=order.id,
                source=order.source,
                baseline=order.baseline,
                baseline_w=record.baseline_w or 0.0,
                meter=meter,
                start_s=order.start_s,
                stop_s=order.stop_s,
                target_w=self._target_w(record) or 0.0,
            )
            self._put(msgspec.structs.replace(record, settlement=settlement))
            made.append(settlement)
            log.info("order %s is over: %.1f kWh delivered", order.id, settlement.delivered_wh / 1e3)
        return made

    async def answer(self, sources: Mapping[str, OrderSource], import_w: float | None) -> None:
        """Tell whoever gave an order that is in force what is being delivered."""
        for order in self.active():
            source = sources.get(order.source.partition(":")[0])
            record = self._known.get((order.source, order.id))
            if source is None or record is None or record.baseline_w is None:
                continue
            try:
                await source.tell(order.id, record.baseline_w, import_w, self._target_w(record) or 0.0)
            except (HashwerkError, OSError) as error:
                log.warning("%s is not told about order %s: %s", order.source, order.id, error)

    def views(self, import_w: float | None) -> tuple[OrderView, ...]:
        """Return the orders as pages show them, the newest first."""
        now = self._clock.time()
        records = sorted(self._known.values(), key=lambda record: -record.order.received_s)
        return tuple(self._view(record, now, import_w) for record in records[:_SHOWN])

    def _view(self, record: OrderRecord, now: float, import_w: float | None) -> OrderView:
        order, state = record.order, self._state(record, now)
        is_now = state == "active" and import_w is not None and record.baseline_w is not None
        return OrderView(
            id=order.id,
            source=order.source,
            kind=order.kind.value,
            received_s=order.received_s,
            start_s=order.start_s,
            stop_s=order.stop_s,
            amount_w=order.amount_w,
            baseline=f"{order.baseline.value}: {record.baseline_text}"
            if record.baseline_text
            else order.baseline.value,
            baseline_w=record.baseline_w,
            target_w=self._target_w(record),
            import_w=import_w if state == "active" else None,
            delivered_w=max(0.0, (record.baseline_w or 0.0) - (import_w or 0.0)) if is_now else None,
            state=state,
            reached_s=record.reached_s,
            laggards=self._slow if state == "active" else (),
            settlement=None if record.settlement is None else settlement_words(record.settlement),
        )

    def _state(self, record: OrderRecord, now: float) -> str:
        order = record.order
        if record.cancelled_s is not None and record.cancelled_s <= order.start_s:
            return "cancelled"
        if now < order.start_s:
            return "ahead"
        if order.stop_s is None or now < order.stop_s:
            return "active"
        return "restoring" if now < order.stop_s + order.restore_s else "over"

    def _target_w(self, record: OrderRecord) -> float | None:
        order = record.order
        if order.kind is OrderKind.ALL:
            return 0.0
        if order.kind is OrderKind.REDUCE_TO:
            return order.amount_w
        if record.baseline_w is None or order.amount_w is None:
            return None
        return max(0.0, record.baseline_w - order.amount_w)

    def _put(self, record: OrderRecord) -> None:
        self._record.put_order(record)
        self._known[record.order.source, record.order.id] = record


class Settler(Protocol):
    """Reads the history of a span."""

    def __call__(self, start_s: float, stop_s: float) -> Sequence[Moment]:
        """Return the moments in [start_s, stop_s)."""
        ...
