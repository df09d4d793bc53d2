"""The whole fleet: opened, run and closed in one place, and everything that pages, API and dispatcher may ask of it."""

from __future__ import annotations

import asyncio
import logging
import secrets
from collections.abc import Sequence
from pathlib import Path
from typing import Final

import msgspec

from hashwerk.clock import Clock
from hashwerk.devices import Confinement
from hashwerk.errors import FleetError, StoreError
from hashwerk.fleet.alerts import Alert, Silence
from hashwerk.fleet.batch import Goal, Plan
from hashwerk.fleet.causes import CauseKind
from hashwerk.fleet.commands import Command, Reboot, SetMode, SetPowerLimit, Sleep, Wake
from hashwerk.fleet.conduct import make_plan
from hashwerk.fleet.identity import MachineKey
from hashwerk.fleet.lease import Holder, Lease, Leases, Refused
from hashwerk.fleet.orders import Order, OrderEvent, OrderSpec, OrderState, Reduce, Tell, Verified
from hashwerk.fleet.place import Placement, read_places
from hashwerk.fleet.ports import Driver
from hashwerk.fleet.ramp import Ramp
from hashwerk.fleet.record import CommandQuery, CommandRecord, Deed, HistoryPoint, TransitionRecord
from hashwerk.fleet.settings import FleetSettings
from hashwerk.fleet.states import State
from hashwerk.fleet.timing import Timings
from hashwerk.site.fleet.alarms import Alarms
from hashwerk.site.fleet.channels import Channel
from hashwerk.site.fleet.commander import Commander
from hashwerk.site.fleet.deeds import taken_over, utc
from hashwerk.site.fleet.discovery import Discovery, join_command
from hashwerk.site.fleet.effects import EffectBook
from hashwerk.site.fleet.meters import MeterBook, PowerSource
from hashwerk.site.fleet.reports import Report
from hashwerk.site.fleet.roster import Roster, Unit
from hashwerk.site.fleet.shares import ShareLedger, ShareMeter
from hashwerk.site.fleet.view import (
    FleetColumns,
    FleetView,
    MachineView,
    columns_of,
    fleet_view,
    machine_view,
)
from hashwerk.site.fleet.watcher import Watcher
from hashwerk.site.fleet.wire import Wire
from hashwerk.store.fleet import FleetStore

log = logging.getLogger(__name__)

#: What stands in the record where nobody said why.
NO_REASON: Final = "no reason given"
#: Columns are made anew at most this often, whoever asks.
_COLUMNS_S: Final = 1.0
_SAVE_S: Final = 5.0
#: Who gives new machines their pools.
_ZERO_TOUCH: Final = "zero-touch"
#: What a person tells a machine with these is to stay so for a while.
_LASTING: Final = (Sleep, Wake, SetMode, SetPowerLimit)
#: Of every machine's power and temperature a moment is kept so often.
HISTORY_STEP_S: Final = 600.0


class FleetService:
    """Watches and commands the machines of a site. Owned by one loop.

    Resource handling:
        The record's file is opened by `open` and closed by `close`; everything else lives in `run`.

    Cancellation:
        `run` ends at once; what was under way is found again by the next process.
    """

    def __init__(
        self,
        settings: FleetSettings,
        record: Path,
        clock: Clock,
        *,
        drivers: Sequence[Driver],
        site: str = "mine",
        ledger: ShareLedger | None = None,
        meters: Sequence[PowerSource] = (),
        channels: Sequence[Channel] | None = None,
    ) -> None:
        """Put the parts together.

        Args:
            settings: The section ``[fleet]``.
            record: The file of the fleet's record.
            clock: Where the time comes from.
            drivers: Who speaks to machines, in the order in which new ones are asked.
            site: The mine's name, for notices.
            ledger: Whose shares measure machines; None: nothing is measured by shares.
            meters: Whatever can tell a power.
            channels: Where notices go; None: where the settings say.
        """
        self.settings = settings
        self._clock = clock
        self.store = FleetStore(record)
        self.shares = ShareMeter(ledger, clock, scale=settings.share_scale, interval_s=2.0 * settings.pace)
        self.meters = MeterBook(meters, clock, interval_s=max(0.1, 2.0 * settings.pace))
        self._site = site
        self._channels = channels
        self.wire = Wire(drivers, settings)
        self._build(Timings(pace=settings.pace))
        self._columns: FleetColumns | None = None
        self._kept_leases: list[Lease] = []
        self._history_slot: int | None = None
        self._to_restart: set[MachineKey] = set()  # new machines whose pools come into force so

    def _build(self, timings: Timings) -> None:
        settings, clock = self.settings, self._clock
        self.roster = Roster(settings, clock, self.shares, self.meters, timings)
        self.watcher = Watcher(self.roster, self.wire, clock)
        self.commander = Commander(
            self.roster, self.wire, self.watcher, self.store, clock, pace=settings.pace
        )
        self.effects = EffectBook(self.roster, self.store, clock)
        self.commander.on_event = self._happened
        self.discovery = Discovery(self.roster, self.wire, self.watcher, settings, self._joined)
        self.alarms = Alarms(self.roster, self.store, settings, clock, self._site, channels=self._channels)
        self.alarms.orders = self.commander.orders

    def open(self) -> None:
        """Open the record and take up what is in it.

        Raises:
            StoreError: If it cannot be used.
            FleetError: If the file of places cannot be read.
        """
        state = self.store.open()
        try:
            self._build(Timings(state.timings, pace=self.settings.pace))
            self.roster.restore(state.machines)
            open_orders = {order.spec.id for order in state.orders}
            self.roster.leases = Leases(
                # An order's end is on disk at once, leases follow: one that is over must hold nobody for ever.
                lease
                for lease in state.leases
                if lease.is_wish or lease.holder is Holder.MAINTENANCE or lease.name in open_orders
            )
            self.roster.registry.place(state.waiting)
            if self.settings.places is not None:
                self.roster.registry.place(self._read_places(Path(self.settings.places)))
            self.alarms.restore(state.alerts, state.last_alert, state.silences)
            self.commander.restore(state.orders, hold=self.settings.on_start == "hold")
            self.effects.restore()
        except BaseException:
            self.store.close()
            raise

    @staticmethod
    def _read_places(path: Path) -> list[Placement]:
        try:
            return read_places(path.read_text(encoding="utf-8"))
        except (OSError, UnicodeDecodeError) as error:
            raise FleetError(f"{path}: places cannot be read: {error}") from error

    async def run(self) -> None:
        """Watch and command until cancelled."""
        with Confinement(self.settings.ranges):
            await self._run()

    async def _run(self) -> None:
        async with asyncio.TaskGroup() as group:
            group.create_task(self.meters.run(), name="fleet-meters")
            group.create_task(self.shares.run(), name="fleet-shares")
            group.create_task(self.watcher.run(), name="fleet-watcher")
            group.create_task(self.commander.run(), name="fleet-commander")
            group.create_task(self.effects.run(), name="fleet-effects")
            group.create_task(self.alarms.run(), name="fleet-alarms")
            if self.settings.scan_s is not None or self.settings.report_buttons:
                group.create_task(self.discovery.run(), name="fleet-discovery")
            group.create_task(self._measure(), name="fleet-measure")
            group.create_task(self._save(), name="fleet-save")

    async def close(self) -> None:
        """Keep what is known, and give the record back."""
        try:
            await self.save()
        except StoreError as error:
            log.error("the fleet's last state is not recorded: %s", error)
        await asyncio.to_thread(self.store.close)

    # --- seeing ---

    def view(self) -> FleetView:
        """Return the fleet in a few numbers."""
        return fleet_view(
            self.roster,
            alerts=len(self.alarms.book.alerts()),
            orders=list(self.commander.orders.values()),
            scanning=(self.discovery.is_scanning, self.discovery.done, self.discovery.total),
            lateness_s=self.watcher.lateness_s,
        )

    def columns(self) -> FleetColumns:
        """Return all machines as columns; at most a second old."""
        now = self._clock.time()
        if self._columns is None or not 0 <= now - self._columns.at < _COLUMNS_S:
            counts: dict[str, int] = {}
            for alert in self.alarms.book.alerts():
                for machine in alert.machines:
                    counts[machine] = counts.get(machine, 0) + 1
            self._columns = columns_of(self.roster, counts)
        return self._columns

    def machines(self, *, group: str | None = None, state: str | None = None) -> list[MachineView]:
        """Return every detail of many machines."""
        return [
            machine_view(self.roster, unit)
            for unit in self.roster.units.values()
            if group in (None, unit.member.group) and state in (None, unit.condition.state.value)
        ]

    def machine(self, name: str) -> MachineView:
        """Return everything about one machine, named by key, MAC address, serial number or present IP address.

        Raises:
            FleetError: If there is no such machine.
        """
        return machine_view(self.roster, self._unit(name))

    def alerts(self) -> list[Alert]:
        """Return the open alerts, the oldest first."""
        return self.alarms.book.alerts()

    async def commands(
        self,
        limit: int = 100,
        before: int | None = None,
        key: MachineKey | None = None,
        *,
        query: CommandQuery | None = None,
    ) -> list[CommandRecord]:
        """Return the newest commands, of one machine or those that fit, the newest first."""
        return await asyncio.to_thread(self.store.commands, limit, before=before, key=key, query=query)

    async def command_counts(self, query: CommandQuery) -> dict[tuple[str, str], int]:
        """Return how many commands fit, by who gave them and what came of them."""
        return await asyncio.to_thread(self.store.command_counts, query)

    async def transitions(self, key: MachineKey | None = None, limit: int = 100) -> list[TransitionRecord]:
        """Return the newest changes of state, the newest first."""
        return await asyncio.to_thread(self.store.transitions, limit, key)

    async def history(self, key: MachineKey) -> list[HistoryPoint]:
        """Return a machine's power and temperature over the last day, the oldest first."""
        return await asyncio.to_thread(self.store.history, key)

    async def orders(self, limit: int = 50) -> list[Order]:
        """Return the newest orders, the newest first."""
        return await asyncio.to_thread(self.store.orders, limit)

    async def order(self, order_id: str) -> Order:
        """Return one order with everything that happened to it.

        Raises:
            FleetError: If there is none.
        """
        order = self.commander.orders.get(order_id)
        if order is None:
            order = await asyncio.to_thread(self.store.order, order_id)
        if order is None:
            raise FleetError(f"there is no order {order_id}")
        return order

    # --- commanding ---

    def is_dry(self, dry_run: bool | None) -> bool:
        """Say whether a command will send nothing: because that was asked for, or because control is not allowed."""
        return not self.settings.control or bool(dry_run)

    def spec(
        self,
        task: Reduce | Tell,
        *,
        who: str,
        why: str,
        holder: Holder = Holder.OPERATOR,
        group: str | None = None,
        machines: Sequence[str] | None = None,
        dry_run: bool | None = None,
        must: bool = False,
        until: float | None = None,
        waits: bool = False,
        keeps_s: float = 0.0,
    ) -> OrderSpec:
        """Return an order as it would be given.

        Raises:
            FleetError: If a machine or the group is not known.
        """
        keys = None if machines is None else tuple(dict.fromkeys(self._unit(name).key for name in machines))
        self._check_group(group)
        limits, now = self.settings.limits, self._clock.time()
        return OrderSpec(
            id=f"o{int(now)}-{secrets.token_hex(3)}",
            at=now,
            who=who,
            why=why,
            holder=holder,
            task=task,
            group=group,
            keys=keys,
            dry_run=self.is_dry(dry_run),
            must=must,
            until=until,
            waits=waits,
            keeps_s=keeps_s,
            ramp=Ramp(
                wave_s=limits.wave_s * max(0.05, self.settings.pace),
                max_w_per_minute=None if limits.kw_per_minute is None else limits.kw_per_minute * 1e3,
                per_breaker=limits.per_breaker,
                per_feeder=limits.per_feeder,
            ),
        )

    def preview(self, spec: OrderSpec) -> Plan:
        """Return who would be told what now, and who would not and why."""
        return make_plan(spec, self.roster, self._clock.time())

    async def give(self, spec: OrderSpec) -> Order:
        """Give an order; return it once it is on disk.

        Raises:
            StoreError: If it cannot be stored: then nothing is done.
        """
        return await self.commander.give(spec)

    async def curtail(
        self,
        goal: Goal,
        *,
        who: str,
        why: str,
        group: str | None = None,
        machines: Sequence[str] | None = None,
        dry_run: bool | None = None,
        partial: bool | None = None,
        must: bool = False,
        until: float | None = None,
    ) -> Order:
        """Bring power down; return the order once it is on disk.

        ``machines`` or ``group`` say whose power it is; without them the whole site's.

        Raises:
            FleetError: If the group or a machine is not known.
            StoreError: If it cannot be stored: then nothing is done.
        """
        partial = self.settings.partial if partial is None else partial
        spec = self.spec(
            Reduce(goal=goal, partial=partial),
            who=who,
            why=why,
            holder=Holder.CURTAILMENT,
            group=group,
            machines=machines,
            dry_run=dry_run,
            must=must,
            until=until,
        )
        return await self.give(spec)

    def resumable(self, order_id: str | None = None, group: str | None = None) -> list[Order]:
        """Return the open orders that `resume` would put back."""
        return [
            order
            for order in self.commander.orders.values()
            if order.is_open
            and isinstance(order.spec.task, Reduce)
            and (order_id is None or order.spec.id == order_id)
            and (group is None or order.spec.group == group)
            and order.state is not OrderState.RESTORING
        ]

    def told_to_sleep(self, group: str | None = None) -> list[MachineKey]:
        """Return the machines whose last command was to sleep, of a group or all."""
        return [
            unit.key
            for unit in self.roster.units.values()
            if isinstance(unit.commanded, Sleep) and group in (None, unit.member.group)
        ]

    async def resume(
        self, *, who: str, why: str, order_id: str | None = None, group: str | None = None
    ) -> list[Order]:
        """Put back what orders changed; where there is no such order wake whoever was told to sleep.

        Raises:
            FleetError: If there is no such order or group, or nothing to resume.
            StoreError: If it cannot be stored: then nothing is done.
        """
        self._check_group(group)
        orders = self.resumable(order_id, group)
        if orders:
            return [await self.commander.restore_order(order.spec.id, who, why) for order in orders]
        if order_id is not None:
            raise FleetError(f"there is no open order {order_id}")
        asleep = self.told_to_sleep(group)
        if not asleep:
            raise FleetError("nothing is curtailed, and no machine was told to sleep")
        return [
            await self.give(self.spec(Tell(command=Wake()), who=who, why=why, machines=asleep, waits=True))
        ]

    async def tell(
        self,
        command: Command,
        *,
        who: str,
        why: str,
        machines: Sequence[str] | None = None,
        group: str | None = None,
        dry_run: bool | None = None,
        holder: Holder = Holder.OPERATOR,
    ) -> Order:
        """Tell machines something; return the order once it is on disk.

        Raises:
            FleetError: If a machine or the group is not known.
            StoreError: If it cannot be stored: then nothing is done.
        """
        spec = self.spec(
            Tell(command=command),
            who=who,
            why=why,
            holder=holder,
            group=group,
            machines=machines,
            dry_run=dry_run,
            keeps_s=self.settings.wish_s if holder is Holder.OPERATOR and type(command) in _LASTING else 0.0,
        )
        return await self.give(spec)

    async def abort(self, order_id: str, *, who: str, why: str) -> Order:
        """End an order at once; machines stay as they are.

        Raises:
            FleetError: If there is no such open order.
        """
        return await self.commander.abort(order_id, who, why)

    async def go_on(self, order_id: str, *, who: str, why: str = NO_REASON) -> Order:
        """Let an order go on that was stopped.

        Raises:
            FleetError: If there is no such order, or it is not stopped.
        """
        return await self.commander.go_on(order_id, who, why)

    async def hold(
        self, machine: str, *, who: str, why: str = NO_REASON, until: float | None = None
    ) -> Lease:
        """Take a machine for maintenance: nobody else tells it anything until it is released.

        Raises:
            FleetError: If there is no such machine, or somebody else has it.
            StoreError: If it could not be recorded; the machine is held all the same, until the process ends.
        """
        key, now, leases = self._unit(machine).key, self._clock.time(), self.roster.leases
        before = leases.of(key, now)
        taken = leases.take(key, Holder.MAINTENANCE, who, now, until)
        if isinstance(taken, Refused):
            raise FleetError(f"{machine} is {taken.text}")
        deeds = (
            []
            if before is None or before.name == who
            else [taken_over(before, taken.holder, who=who, why=why, at=now)]
        )
        effect = "nobody else tells it anything" + ("" if until is None else f" until {utc(until)}")
        deeds.append(Deed(at=now, subject=key, who=who, why=why, what="take for maintenance", effect=effect))
        await self._record(deeds)
        await self._save_leases()
        return taken

    async def release(self, machine: str, *, who: str, why: str = NO_REASON) -> None:
        """Give a machine back that was taken for maintenance, or is to run as a person told it, whoever that was.

        Raises:
            FleetError: If there is no such machine, or it is neither.
            StoreError: If it could not be recorded; the machine is free all the same.
        """
        key, now = self._unit(machine).key, self._clock.time()
        lease = self.roster.leases.of(key, now)
        if lease is None or not (lease.is_wish or lease.holder is Holder.MAINTENANCE):
            raise FleetError(f"{machine} is not taken for maintenance")
        self.roster.leases.give_back(key, lease.name)
        effect = f"{lease.name} had it since {utc(lease.since)}"
        await self._record(
            [
                Deed(
                    at=now,
                    subject=key,
                    who=who,
                    why=why,
                    what=f"give back from {lease.holder.name.lower()}",
                    effect=effect,
                )
            ]
        )
        await self._save_leases()

    async def forget(self, machine: str, *, who: str, why: str = NO_REASON) -> None:
        """Let go of a machine that was sold or scrapped; what it was told stays on record.

        Raises:
            FleetError: If there is no such machine, or it still answers.
            StoreError: If it could not be recorded; it is forgotten all the same, until the process ends.
        """
        unit, now = self._unit(machine), self._clock.time()
        if unit.condition.state is not State.UNREACHABLE:
            raise FleetError(f"{machine} still answers: it would be found again at once")
        if (lease := self.roster.leases.of(unit.key, now)) is not None:
            self.roster.leases.give_back(unit.key, lease.name)
        self.roster.forget(unit.key)
        effect = "it is no longer watched" + (
            "" if unit.read_at is None else f"; it was last heard of {utc(unit.read_at)}"
        )
        await self._record(
            [Deed(at=now, subject=unit.key, who=who, why=why, what="forget it", effect=effect)]
        )
        await asyncio.to_thread(self.store.save_machines, [], [unit.key])
        await self._save_leases()

    # --- the rest ---

    async def place(
        self, placements: Sequence[Placement], *, who: str = "api", why: str = NO_REASON
    ) -> tuple[int, int]:
        """Take in places; return how many machines were placed, and how many are not known yet.

        Raises:
            StoreError: If they cannot be stored.
        """
        placed, waiting = self.roster.registry.place(placements)
        for unit in self.roster.units.values():
            unit.changed = True
        await asyncio.to_thread(self.store.keep, "waiting", self.roster.registry.waiting)
        what, effect = f"take in {len(placements)} places", f"{placed} machines placed, {waiting} not met yet"
        deed = Deed(at=self._clock.time(), subject="all machines", who=who, why=why, what=what, effect=effect)
        await self._record([deed])
        await self.save()
        return placed, waiting

    def placements(self) -> list[Placement]:
        """Return the places of all machines."""
        return self.roster.registry.placements()

    async def acknowledge(self, alert_id: str, *, who: str, why: str = NO_REASON) -> Alert:
        """Note that somebody knows of an alert.

        Raises:
            FleetError: If there is no such open alert.
            StoreError: If it could not be recorded.
        """
        alert = self.alarms.book.acknowledge(alert_id, who)
        if alert is None:
            raise FleetError(f"there is no open alert {alert_id}")
        what = f"acknowledge alert {alert_id}"
        await self._record(
            [
                Deed(
                    at=self._clock.time(),
                    subject=alert.subject,
                    who=who,
                    why=why,
                    what=what,
                    effect=alert.text,
                )
            ]
        )
        await self.alarms.store()
        return alert

    async def silence(
        self,
        *,
        who: str,
        until: float,
        why: str = NO_REASON,
        kind: CauseKind | None = None,
        subject: str | None = None,
    ) -> None:
        """Tell nobody of what fits until a moment, over a restart too; a moment that is past ends such a silence.

        Raises:
            StoreError: If it could not be recorded; it holds all the same, until the process ends.
        """
        now, book = self._clock.time(), self.alarms.book
        book.silence(Silence(until=until, who=who, kind=kind, subject=subject))
        about = "every alert" if kind is None else f"alerts of {kind.value}"
        what = f"silence {about}" if until > now else f"end the silence on {about}"
        effect = f"nobody is told until {utc(until)}" if until > now else "it is told again"
        await self._record(
            [Deed(at=now, subject=subject or "all machines", who=who, why=why, what=what, effect=effect)]
        )
        await asyncio.to_thread(self.store.keep, "silences", book.silences(now))

    def buttons(self) -> list[Report]:
        """Return whose report button was pressed lately, the newest first."""
        return self.discovery.reports[::-1]

    def silences(self) -> list[Silence]:
        """Return the silences in force."""
        return self.alarms.book.silences(self._clock.time())

    async def save(self) -> None:
        """Keep what changed.

        Raises:
            StoreError: If it could not be written; it is tried again.
        """
        records = self.roster.records()
        transitions, self.roster.transitions = self.roster.transitions, []
        try:
            if records:
                await asyncio.to_thread(self.store.save_machines, records)
            if transitions:
                await asyncio.to_thread(self.store.save_transitions, transitions)
                await asyncio.to_thread(self.store.keep, "timings", self.roster.timings.rows())
            await self._save_leases()
        except StoreError:
            for record in records:
                self.roster.units[record.key].changed = True
            raise

    # --- inside ---

    async def _record(self, deeds: Sequence[Deed]) -> None:
        await asyncio.to_thread(self.store.note_deeds, deeds)

    async def _save_leases(self) -> None:
        leases = self.roster.leases.all(self._clock.time())
        if leases != self._kept_leases:
            await asyncio.to_thread(self.store.save_leases, leases)
            self._kept_leases = leases

    async def _measure(self) -> None:
        lost: set[MachineKey] = set()
        while True:
            self.roster.measure()
            silent = {
                unit.key for unit in self.roster.units.values() if unit.condition.state is State.UNREACHABLE
            }
            if silent - lost:
                self.discovery.ask()  # whoever fell silent may have moved
            lost = silent
            await self._restart()
            await asyncio.sleep(max(0.2, min(5.0, self.settings.poll_s)))

    async def _save(self) -> None:
        failure = ""
        while True:
            await asyncio.sleep(max(0.5, _SAVE_S * self.settings.pace))
            try:
                await self.save()
                await self._keep_history()
                failure = ""
            except StoreError as error:
                if str(error) != failure:
                    log.error("the fleet's state is not recorded: %s", error)
                failure = str(error)

    async def _keep_history(self) -> None:
        """Keep a moment of every machine, once a step; in a simulated hall that lives faster the steps are as much shorter."""
        slot = int(self._clock.time() // max(5.0, HISTORY_STEP_S * min(1.0, self.settings.pace)))
        if slot != self._history_slot:
            await asyncio.to_thread(self.store.save_history, slot, self.roster.moment())
            self._history_slot = slot

    async def _joined(self, unit: Unit) -> None:
        """Give a new machine its pools, where the configuration says so."""
        command = join_command(unit, self.settings.join)
        if command is None:
            return
        try:
            await self.tell(
                command,
                who=_ZERO_TOUCH,
                why="a new machine joins",
                machines=[unit.key],
                holder=Holder.DISPATCHER,
            )
        except (FleetError, StoreError) as error:
            log.warning("%s joins without its pools: %s", unit.key, error)

    def _check_group(self, group: str | None) -> None:
        if group is not None and not any(unit.member.group == group for unit in self.roster.units.values()):
            raise FleetError(f"no machine is in group {group!r}")

    def _happened(self, order: Order, event: OrderEvent) -> None:
        self.effects.note(order, event)
        if not isinstance(event, Verified) or order.spec.who != _ZERO_TOUCH:
            return
        if order.machines[event.key].awaits_restart:
            self._to_restart.add(event.key)

    async def _restart(self) -> None:
        """Start new machines again that took their pools for then."""
        keys, self._to_restart = sorted(self._to_restart), set()
        why = "its pools come into force when it starts again"
        try:
            if keys:
                await self.tell(Reboot(), who=_ZERO_TOUCH, why=why, machines=keys, holder=Holder.DISPATCHER)
        except (FleetError, StoreError) as error:
            log.warning("%d new machines do not use their pools yet: %s", len(keys), error)

    def _unit(self, name: str) -> Unit:
        member = self.roster.registry.find(name)
        unit = None if member is None else self.roster.units.get(member.key)
        if unit is None:
            raise FleetError(f"there is no machine {name!r}")
        return unit


def order_summary(order: Order) -> dict[str, object]:
    """Return an order as lists show it."""
    spec = order.spec
    return {
        "id": spec.id,
        "at": spec.at,
        "who": spec.who,
        "why": spec.why,
        "holder": spec.holder.name.lower(),
        "task": msgspec.to_builtins(spec.task),
        "group": spec.group,
        "dry_run": spec.dry_run,
        "until": spec.until,
        "state": order.state.value,
        "text": order.text,
        "machines": len(order.machines),
        "skipped": len(order.skips),
        "counts": order.counts(),
        "baseline_w": order.baseline_w,
        "target_w": order.target_w,
        "measured_w": order.measured_w,
        "ended_at": order.ended_at,
    }
