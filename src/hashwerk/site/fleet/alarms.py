"""Looks for trouble in everything that is known, keeps the book of alerts, and tells whoever wants to know."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence
from typing import Any, Final

import msgspec

from hashwerk.clock import Clock
from hashwerk.errors import StoreError
from hashwerk.fleet.alerts import Alert, AlertBook, AlertSettings, Notice, Silence
from hashwerk.fleet.causes import Cause, CauseKind, Thresholds, causes_of
from hashwerk.fleet.orders import Order, OrderState, Phase
from hashwerk.fleet.settings import FleetSettings
from hashwerk.fleet.states import State
from hashwerk.site.fleet.channels import Channel, LogChannel, MqttChannel, WebhookChannel, slug
from hashwerk.site.fleet.roster import Roster, Unit
from hashwerk.store.fleet import FleetStore

log = logging.getLogger(__name__)

#: What is said of a machine that does not do as it was told.
_ABOUT_ORDERS: Final = (CauseKind.AWAKE_UNASKED, CauseKind.ASLEEP_UNASKED)


class Alarms:
    """The alerts of a site.

    Resource handling: one task for each channel. Cancellation: `run` ends at once.
    """

    def __init__(
        self,
        roster: Roster,
        store: FleetStore,
        settings: FleetSettings,
        clock: Clock,
        site: str,
        *,
        channels: Sequence[Channel] | None = None,
    ) -> None:
        alarms = settings.alarms
        self._roster = roster
        self._store = store
        self._clock = clock
        self._pace = settings.pace
        self._thresholds = Thresholds(
            chip_max_c=alarms.chip_max_c,
            inlet_max_c=alarms.inlet_max_c,
            own_pools=tuple(name.lower() for name in alarms.own_pools),
            worker_names=alarms.accounts,
        )
        self.book = AlertBook(
            AlertSettings(
                pace=settings.pace,
                notices_per_minute=alarms.notices_per_minute,
                look_s=roster.patience_s,
            )
        )
        self.mqtt = MqttChannel(alarms.mqtt, site) if alarms.mqtt.host is not None else None
        self._machines_on_mqtt = alarms.mqtt.machines
        if channels is None:
            found: list[Channel] = [LogChannel()]
            if alarms.webhook is not None:
                found.append(WebhookChannel(alarms.webhook, site))
            channels = found
        self._channels = [*channels, *([self.mqtt] if self.mqtt is not None else [])]
        self._stored: dict[str, Alert] = {}
        self.orders: dict[str, Order] = {}

    def restore(
        self, alerts: Sequence[Alert], last_number: int = 0, silences: Sequence[Silence] = ()
    ) -> None:
        """Take up what was open when the last process ended."""
        self.book.restore(alerts, last_number, silences)
        self._stored = {alert.id: alert for alert in alerts}

    async def run(self) -> None:
        """Look again and again."""
        async with asyncio.TaskGroup() as group:
            for channel in self._channels:
                group.create_task(channel.run())
            group.create_task(self._watch())

    async def _watch(self) -> None:
        while True:
            self.look()
            await self.store()
            await asyncio.sleep(max(0.2, 5.0 * self._pace))

    def look(self) -> list[Notice]:
        """Judge everything that is known now; return what was told."""
        notices = [
            self._named(one) for one in self.book.update(self._causes(), self._roster, self._clock.time())
        ]
        for notice in notices:
            for channel in self._channels:
                channel.tell(notice)
        if self.mqtt is not None:
            self._show(self.mqtt)
        return notices

    def _named(self, notice: Notice) -> Notice:
        """Return a notice that says of a machine where it is: nobody finds it by its MAC address."""
        unit = None if notice.alert is None else self._roster.units.get(notice.alert.subject)
        if unit is None:
            return notice
        text = notice.text.removeprefix(f"{unit.key}: ")
        return msgspec.structs.replace(notice, text=f"{_where(unit)} ({unit.key}): {text}")

    async def store(self) -> None:
        """Keep what changed."""
        now = {alert.id: alert for alert in (*self.book.alerts(), *self.book.past())}
        changed = [alert for alert in now.values() if self._stored.get(alert.id) != alert]
        if not changed:
            return
        try:
            await asyncio.to_thread(self._store.save_alerts, changed)
        except StoreError as error:
            log.error("alerts are not recorded: %s", error)
            return
        self._stored = now

    def _causes(self) -> list[Cause]:
        found = [
            cause for subject in self._roster.subjects() for cause in causes_of(subject, self._thresholds)
        ]
        found = self._with_reasons(found)
        shared = self._roster.shared_names()
        if shared:
            found += [
                Cause(
                    kind=CauseKind.WRONG_WORKER,
                    subject=unit.key,
                    text=f"it mines under the name {unit.worker!r}, and so does another machine",
                )
                for unit in self._roster.units.values()
                if unit.worker in shared and not unit.is_displaced
            ]
        for order in self.orders.values():
            fell_short = order.state is OrderState.HOLDING and "short of what was wanted" in order.text
            if order.state is OrderState.STOPPED or fell_short:
                found.append(Cause(kind=CauseKind.ORDER, subject=f"order {order.spec.id}", text=order.text))
        return found

    def _with_reasons(self, causes: Sequence[Cause]) -> list[Cause]:
        """Return causes with what open orders found out: of whoever they gave up it is said why, once."""
        found = list(causes)
        said = {cause.subject: at for at, cause in enumerate(found) if cause.kind in _ABOUT_ORDERS}
        silent = {cause.subject for cause in found if cause.kind is CauseKind.UNREACHABLE}
        for order in self.orders.values():
            for key, progress in order.machines.items() if order.is_open else ():
                if progress.phase is not Phase.GAVE_UP or key in silent:
                    continue
                if (at := said.get(key)) is not None:
                    found[at] = msgspec.structs.replace(
                        found[at], text=f"{found[at].text}: {progress.reason}"
                    )
                else:
                    text = f"it does not do as told: {progress.reason}"
                    found.append(Cause(kind=CauseKind.ORDER, subject=key, text=text, part=order.spec.id))
        return found

    def _show(self, mqtt: MqttChannel) -> None:
        alerts = self.book.alerts()
        units = list(self._roster.units.values())
        states = [unit.condition.state for unit in units]
        powers = [power_w for unit in units if (power_w := unit.believed().power_w) is not None]
        meter = self._roster.meter()
        site: dict[str, Any] = {
            "power_w": round(meter.power_w if meter is not None else sum(powers)),
            "hashrate_ths": round(sum(_hashrate_hs(unit) or 0.0 for unit in units) / 1e12, 1),
            "hashing": states.count(State.HASHING),
            "asleep": states.count(State.ASLEEP),
            "unreachable": states.count(State.UNREACHABLE),
            "alerts": len(alerts),
            "problem": "ON" if any(alert.acknowledged_by is None for alert in alerts) else "OFF",
        }
        troubled = {machine for alert in alerts for machine in alert.machines}
        machines = {}
        if len(units) <= self._machines_on_mqtt:
            machines = {slug(unit.key): _machine(unit, troubled) for unit in units}
        mqtt.show(site, machines, alerts)


def _where(unit: Unit) -> str:
    member = unit.member
    host = "no address" if member.address is None else member.address.host
    return ", ".join(part for part in (host, member.place.words(), member.identity.model) if part)


def _hashrate_hs(unit: Unit) -> float | None:
    if unit.measured is not None and unit.measured.hashrate is not None:
        return unit.measured.hashrate.hs
    reading = unit.heard
    return None if reading is None else reading.hashrate_hs


def _machine(unit: Unit, troubled: set[str]) -> tuple[str, dict[str, Any]]:
    power_w, rate_hs = unit.believed().power_w, _hashrate_hs(unit)
    identity = unit.member.identity
    return f"{identity.model} {(identity.mac or identity.serial or '')[-5:]}", {
        "power_w": None if power_w is None else round(power_w),
        "hashrate_ths": None if rate_hs is None else round(rate_hs / 1e12, 2),
        "state": unit.condition.state.value,
        "problem": "ON" if unit.key in troubled else "OFF",
    }
