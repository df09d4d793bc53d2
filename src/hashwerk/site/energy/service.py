"""The site's energy: feeds, plans, set-points, orders and history, opened, run and closed in one place.

Everything decided here goes out through the fleet, which verifies it. What each loop does is a method of its own that takes the
time from the clock, so that a day can be driven in seconds.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path
from typing import Final

from hashwerk.clock import Clock
from hashwerk.dispatch.orders import Cancel, Order, OrderSource
from hashwerk.dispatch.safety import Stance
from hashwerk.energy.hours import EnergyHour
from hashwerk.energy.ports import Feed, Signal
from hashwerk.errors import FleetError, HashwerkError, StoreError
from hashwerk.fleet.states import State
from hashwerk.site.energy import showing
from hashwerk.site.energy.accounts import month_begin_s
from hashwerk.site.energy.cleanness import rule_views
from hashwerk.site.energy.curtailment import Curtailment
from hashwerk.site.energy.hours import GridTold
from hashwerk.site.energy.metered import SiteRegisters
from hashwerk.site.energy.month import Month
from hashwerk.site.energy.order_figures import told_asleep
from hashwerk.site.energy.planner import EnergyParts, Planner
from hashwerk.site.energy.planning import Plan
from hashwerk.site.energy.ports import FleetPort, MachineNow
from hashwerk.site.energy.present import Integrator
from hashwerk.site.energy.record import EnergyRecord, Moment, as_columns
from hashwerk.site.energy.steering import Steering, Steps
from hashwerk.site.energy.view import EnergyView, FeedView, Moments, OrderView, RuleView

log = logging.getLogger(__name__)

_ANSWER_S: Final = 5.0
_ACCOUNTS_S: Final = 300.0
#: Feeds have so long to answer for the first time before the first plan is made without them.
_FIRST_ANSWER_S: Final = 15.0
_RETRY_S: Final = 30.0
#: A plan is this old before it is made anew for machines that have come since.
_NEWCOMERS_S: Final = 15.0
#: Baselines are measured on what is kept in memory.
_RECENT_S: Final = 3_600.0


class EnergyService:
    """Plans and steers the machines of a site. Owned by the loop of the fleet.

    Resource handling:
        The record's file is opened by `open` and closed by `close`; everything else lives in `run`.

    Cancellation:
        `run` ends at once. Machines stay as they are; the next process plans anew from what it measures.
    """

    def __init__(
        self,
        parts: EnergyParts,
        fleet: FleetPort,
        clock: Clock,
        record: Path,
        *,
        sources: Sequence[OrderSource] = (),
        registers: SiteRegisters | None = None,
        own_feeds: Sequence[Feed] = (),
    ) -> None:
        """Put the parts together.

        Args:
            parts: The sections of the site file.
            fleet: The machines.
            clock: Where the time comes from.
            record: The file of the record.
            sources: Who brings orders of grid operators; an order's own source begins with the name of who brought it.
            registers: What meters at the border counted; None: energy is integrated power.
            own_feeds: What the mine itself tells, as its node of difficulty and fees.

        Raises:
            ConfigError: If a feed, a tariff or the rules cannot be used.
        """
        self.settings = parts.dispatch
        self._parts = parts
        self._fleet = fleet
        self._clock = clock
        self._sources = {source.name: source for source in sources}
        self.record = EnergyRecord(record)
        self.curtailment = Curtailment(self.record, clock, record_every_s=self.settings.record_every_s)
        self.planner = Planner(parts, fleet, clock, self.curtailment, own_feeds)
        self.gauge = self.planner.gauge
        self._month = Month(parts.energy, self.planner.tariff, self.planner.facts, self.record, registers)
        self._steering = Steering(self.settings, fleet)
        self._integrator = Integrator(self.settings.record_every_s)
        self._recent: list[Moment] = []
        self._replan = asyncio.Event()
        self._hurry = asyncio.Event()
        self._stance, self._reasons = Stance.FREE, tuple[str, ...]()
        self._steps: Steps | None = None
        self._failures: dict[str, str] = {}

    @property
    def controls(self) -> bool:
        """Whether anything is commanded: the site file says so in [dispatch] and in [fleet]."""
        return self.settings.controls and self._fleet.may_command

    @property
    def wants_plan(self) -> bool:
        """Whether something has happened that calls for a new plan at once."""
        return self._replan.is_set()

    @property
    def plan(self) -> Plan | None:
        """The plan in force."""
        return self.planner.plan

    def open(self) -> None:
        """Open the record and take up the orders in it.

        Raises:
            StoreError: If it cannot be used.
        """
        self.record.open()
        try:
            found = self.curtailment.restore()
            now = self._clock.time()
            self._month.hours.declare(now)
            self._recent = self.record.moments(now - _RECENT_S, now)
            self._take_up_quarter()
        except BaseException:
            self.record.close()
            raise
        if found:
            log.warning("%d orders of grid operators are taken up again", found)

    def _take_up_quarter(self) -> None:
        """Go on with the quarter of an hour in which the last process ended, and keep what it had no time to write."""
        newest = self.record.newest("quarters")
        for moment in self._recent:
            done = self._integrator.take(moment)
            self.record.add([], [one for one in done if newest is None or one.start_s > newest])

    async def run(self) -> None:
        """Watch, plan and steer until cancelled."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self.planner.signals.run(), name="energy-feeds")
            group.create_task(self._keep_planning(), name="energy-plans")
            group.create_task(self._keep_steering(), name="energy-steering")
            group.create_task(self._keep_recording(), name="energy-record")
            group.create_task(self._keep_accounts(), name="energy-accounts")
            group.create_task(self._keep_answering(), name="energy-answers")
            for source in self._sources.values():
                group.create_task(self._listen(source), name=f"energy-orders-{source.name}")

    async def close(self) -> None:
        """Give the record back."""
        await asyncio.to_thread(self.record.close)

    # --- orders ---

    def receive(self, message: Order | Cancel) -> OrderView | None:
        """Take in an order or its end; it is on disk when this returns. None: the end of an order nobody knows.

        Raises:
            StoreError: If it cannot be kept: then it is not taken.
        """
        record = self.curtailment.receive(message)
        self._replan.set()
        self._hurry.set()
        return None if record is None else self.order(record.order.id)

    def cancel(self, order_id: str) -> OrderView | None:
        """End an order before its time; None if there is none.

        Raises:
            StoreError: If it cannot be kept: then the order stands.
        """
        record = self.curtailment.find(order_id)
        if record is None:
            return None
        source = record.order.source
        return self.receive(Cancel(id=order_id, source=source, received_s=self._clock.time()))

    def orders(self) -> tuple[OrderView, ...]:
        """Return the orders, the newest first."""
        return self.curtailment.views(self.gauge.import_w)

    def order(self, order_id: str) -> OrderView | None:
        """Return one order; None if there is none."""
        return next((order for order in self.orders() if order.id == order_id), None)

    # --- what may be seen ---

    @property
    def import_w(self) -> float | None:
        """What the site was measured to import at the last look; None where that is not known."""
        return self.gauge.import_w

    def sheddable_w(self) -> float | None:
        """Return what would go if every machine slept that may be told to; None while no machine is known."""
        machines = self._fleet.machines()
        drawn = [max(0.0, (m.power_w or 0.0) - m.idle_w) for m in machines if m.reason_not_ours is None]
        return sum(drawn) if drawn else None

    async def history(self, start_s: float, stop_s: float, step_s: float) -> Moments:
        """Return what was measured, wanted and known in [start_s, stop_s), in means over steps.

        Raises:
            StoreError: If the record cannot be read.
        """
        moments = await asyncio.to_thread(self.record.moments, start_s, stop_s)
        return as_columns(moments, start_s, stop_s, max(1.0, step_s))

    def rules(self) -> tuple[RuleView, ...]:
        """Return every rule by which energy was attributed to sources, and that holds now or is to come."""
        return rule_views(self._month.hours.rules)

    async def hours(self, start_s: float, stop_s: float) -> list[EnergyHour]:
        """Return the hours that begin in [start_s, stop_s) and are over, with whose energy they were.

        Raises:
            StoreError: If the record cannot be read.
        """
        return await asyncio.to_thread(self.record.hours, start_s, stop_s)

    def view(self) -> EnergyView:
        """Return everything about the site's energy now."""
        now, machines = self._clock.time(), self._fleet.machines()
        planner, plan = self.planner, self.plan
        price, signals = planner.price_now(), planner.signals
        revenue, cost = self._money_per_h(machines, price)
        return EnergyView(
            at_s=now,
            is_simulation=self._parts.is_simulation or self._fleet.scale != 1.0,
            sentence=showing.site_sentence(
                plan,
                now,
                stance=self._stance,
                reasons=self._reasons,
                orders=self.curtailment.active(),
                trouble=planner.trouble,
                controls=self.controls,
                zone=planner.zone,
            ),
            policy=self.settings.policy,
            controls=self.controls,
            stance=self._stance.value,
            reasons=self._reasons,
            currency=self.settings.currency,
            price_per_mwh=price,
            hashprice_per_ph_day=planner.hashprice.per_ph_day,
            hashprice_from=planner.hashprice.text,
            setpoint_w=None if self._steps is None else self._steps.setpoint_w,
            measured_w=self.gauge.import_w,
            measured_by=self.gauge.by,
            revenue_per_h=None if revenue is None else showing.money(revenue),
            cost_per_h=None if cost is None else showing.money(cost),
            margin_per_h=None if revenue is None or cost is None else showing.money(revenue - cost),
            price=signals.plotted(planner.price),
            carbon=signals.plotted(planner.carbon),
            sources=showing.source_powers(self._parts.energy, self.gauge.import_w, self.gauge.own_w),
            groups=showing.group_views(plan, machines, now, planner.zone),
            plan=None if plan is None else showing.plan_view(plan),
            orders=self.orders(),
            bill=self._month.bill,
            clean=self._month.clean,
            feeds=signals.feeds(),
            meters=(*self._meters(now), *self._silent_sources()),
            assumptions=self._assumptions(),
        )

    def _money_per_h(
        self, machines: Sequence[MachineNow], price: float | None
    ) -> tuple[float | None, float | None]:
        hashprice, import_w = self.planner.hashprice.per_ph_day, self.gauge.import_w
        rate_hs = _hashrate_hs(machines)
        revenue = None if hashprice is None or rate_hs is None else rate_hs / 1e15 * hashprice / 24
        cost = None if price is None or import_w is None else import_w / 1e6 * price
        return revenue, cost

    def _meters(self, now: float) -> tuple[FeedView, ...]:
        names = [
            "site",
            *(f"feeder:{name}" for name in self.settings.limits.feeders_kw),
            *(f"source:{source.name}" for source in self._parts.energy.sources),
        ]
        found = []
        for name in names:
            reading = self._fleet.meter(name)
            if reading is not None:
                text = f"{reading.power_w / 1e3:,.1f} kW, {max(0.0, now - reading.at):,.0f} s ago"
                found.append(FeedView(name=name, state="good", text=text, since_s=reading.at))
            elif name == "site" and self.gauge.meter_signal(now) is not None:
                text = "it is silent: power is not known"
                found.append(FeedView(name=name, state="silent", text=text))
        return tuple(found)

    def _silent_sources(self) -> tuple[FeedView, ...]:
        """Return by which ways orders cannot be heard now; what is in force stays so."""
        return tuple(
            FeedView(name=f"orders from {name}", state="silent", text=source.trouble)
            for name, source in self._sources.items()
            if source.trouble is not None
        )

    def _assumptions(self) -> tuple[str, ...]:
        settings, found = self.settings, list(self._parts.assumptions)
        found += self.planner.hashprice.assumptions
        if self.planner.tariff is None:
            fees = f"{settings.fees_per_mwh:g} {settings.currency}" if settings.fees_per_mwh else "none"
            found.append(f"grid fees, taxes and levies on each MWh: {fees}")
            if self.planner.price is None and not self.planner.signals.expects(Signal.PRICE):
                found.append("no feed tells a price and there is no tariff: energy itself costs nothing")
        if self._fleet.scale != 1.0:
            found.append(
                "the machines are a scale model: power and economics are those of full-size machines"
            )
        return tuple(found)

    # --- what the loops do ---

    async def plan_once(self) -> Plan | None:
        """Make a plan from what is known now; None where that cannot be done, and the view says why."""
        self._replan.clear()
        now, machines = self._clock.time(), self._fleet.machines()
        self.gauge.look(machines, now)
        self.curtailment.fix_baselines(
            now, self._recent, self.gauge.import_w, self.settings.interval_s, self.planner.zone
        )
        plan = await self.planner.make(self._stance, self._reasons)
        if plan is not None:
            self._steering.new_plan(now, orders_active=bool(self.curtailment.active()))
        return plan

    async def steer_once(self) -> Steps:
        """Look at meters and machines, and tell whoever must do something else now."""
        now, machines = self._clock.time(), self._fleet.machines()
        self.gauge.look(machines, now)
        active, before = self.curtailment.active(), self._stance
        steps = self._steering.look(
            now,
            self.plan,
            machines,
            import_w=self.gauge.import_w,
            signals=self.planner.watched(),
            emergency=self.curtailment.emergency(),
            orders_active=bool(active),
            ordered_w=self.curtailment.limit_w(),
            is_shown_only=not self.controls,
        )
        self._steps, self._stance, self._reasons = steps, steps.decision.stance, steps.decision.reasons
        if self._stance is not before:
            level = logging.INFO if self._stance is Stance.FREE else logging.WARNING
            level = logging.DEBUG if self.plan is None else level  # it has only just begun
            reasons = "; ".join(self._reasons[:3]) or "all is well"
            log.log(level, "dispatch is now %r: %s", self._stance.value, reasons)
            self._replan.set()
        if self._has_newcomers(machines, now):
            self._replan.set()
        if self.controls:
            await self._steering.send(steps)
        self.curtailment.follow(
            now, self.gauge.import_w, machines, told_asleep(machines, self._steering.told)
        )
        return steps

    def _has_newcomers(self, machines: Sequence[MachineNow], now: float) -> bool:
        """Say whether machines are there that the plan does not count, and it is not quite new."""
        plan = self.plan
        if plan is None or now - plan.made_s < _NEWCOMERS_S:
            return False
        counted = {key for herd in plan.herds for key in herd.keys}
        return any(machine.key not in counted and machine.reason_not_ours is None for machine in machines)

    async def record_once(self) -> Moment:
        """Keep what is known now, and settle orders that are over."""
        now, machines = self._clock.time(), self._fleet.machines()
        self.gauge.look(machines, now)
        moment = Moment(
            at_s=now,
            measured_w=self.gauge.import_w,
            setpoint_w=None if self._steps is None else self._steps.setpoint_w,
            price_per_mwh=self.planner.price_now(),
            hashrate_hs=_hashrate_hs(machines),
            sources=dict(self.gauge.own_w),
        )
        self._recent = [one for one in self._recent if one.at_s > now - _RECENT_S]
        self._recent.append(moment)
        await asyncio.to_thread(self.record.add, [moment], self._integrator.take(moment))
        self.curtailment.settle(now, self.record.moments)
        return moment

    async def account_once(self) -> None:
        """Renew the month's bill and scores."""
        now = self._clock.time()
        await asyncio.to_thread(self._month.renew, now, self.planner.zone, await self._told_of_grid(now))
        self.planner.month_peaks_w = self._month.peaks_w
        self.planner.month_kwh = self._month.imported_kwh
        self.planner.facts = self._month.facts
        self.planner.taken_wh = self._month.taken_wh

    async def _told_of_grid(self, now: float) -> GridTold:
        """Return what feeds tell of the month's prices, and of the grid over the hours that are to be closed."""
        signals, begin_s = self.planner.signals, int(month_begin_s(now, self.planner.zone))
        price = await signals.series(Signal.PRICE, begin_s, int(now))
        since_s = await asyncio.to_thread(self._month.hours.open_since_s, now)
        if since_s is None:
            return GridTold(price=price)
        return GridTold(
            price=price,
            carbon=await signals.series(Signal.CARBON_AVERAGE, since_s, int(now)),
            clean_share=await signals.series(Signal.CLEAN_SHARE, since_s, int(now)),
        )

    # --- loops ---

    async def _keep_planning(self) -> None:
        await self._first_answers()
        while True:
            self.planner.signals.changed.clear()
            await self._safely(self.plan_once)
            self._hurry.set()
            every_s = self.settings.every_s if self.plan is not None else min(5.0, self.settings.every_s)
            await _first_of(self._replan, self.planner.signals.changed, within_s=every_s)

    async def _first_answers(self) -> None:
        """Wait until feeds have answered once and a machine is known, but not for ever."""
        deadline = self._clock.monotonic() + _FIRST_ANSWER_S
        while self._clock.monotonic() < deadline and not self._replan.is_set():
            if not self.planner.signals.is_waiting and self._fleet.machines():
                return
            await asyncio.sleep(0.1)

    async def _keep_steering(self) -> None:
        while True:
            self._hurry.clear()
            await self._safely(self.steer_once)
            await _first_of(self._hurry, within_s=self.settings.follow_every_s)

    async def _keep_recording(self) -> None:
        while True:
            every_s = self.settings.record_every_s
            await asyncio.sleep(every_s - self._clock.time() % every_s)
            await self._safely(self.record_once)

    async def _keep_accounts(self) -> None:
        while True:
            await self._safely(self.account_once)
            await asyncio.sleep(_ACCOUNTS_S)

    async def _safely(self, step: Callable[[], Awaitable[object]]) -> None:
        """Do a loop's work; what the disk or the fleet refuses is told once, and the loop goes on."""
        name = step.__name__
        try:
            await step()
            self._failures.pop(name, None)
        except (StoreError, FleetError) as error:
            if self._failures.get(name) != str(error):
                log.error("%s: %s", name.replace("_", " "), error)
            self._failures[name] = str(error)

    async def _keep_answering(self) -> None:
        while True:
            await asyncio.sleep(min(_ANSWER_S, self.settings.follow_every_s))
            await self.curtailment.answer(self._sources, self.gauge.import_w)

    async def _listen(self, source: OrderSource) -> None:
        """Take orders from a source; one that fails is listened to again after a while."""

        def take(message: Order | Cancel) -> None:
            self.receive(message)

        while True:
            try:
                await source.listen(take)
            except (HashwerkError, OSError) as error:
                log.error("orders from %s: %s; tried again in %.0f s", source.name, error, _RETRY_S)
            await asyncio.sleep(_RETRY_S)


async def _first_of(*events: asyncio.Event, within_s: float) -> None:
    """Wait for the first of several events, and no longer than so many seconds."""
    waits = [asyncio.ensure_future(event.wait()) for event in events]
    try:
        await asyncio.wait(waits, timeout=within_s, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for wait in waits:
            wait.cancel()
        await asyncio.gather(*waits, return_exceptions=True)


def _hashrate_hs(machines: Sequence[MachineNow]) -> float | None:
    known = [
        machine.hashrate_hs
        for machine in machines
        if machine.hashrate_hs is not None and machine.state is State.HASHING
    ]
    if known:
        return sum(known)
    is_all_asleep = bool(machines) and all(machine.state is State.ASLEEP for machine in machines)
    return 0.0 if is_all_asleep else None
