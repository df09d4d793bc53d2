"""Where notices go: the log, a webhook, MQTT with discovery by Home Assistant.

Each channel has a queue of its own; one that is slow or gone costs the others nothing, and loses its oldest notices first.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import re
import ssl
from collections import deque
from collections.abc import Mapping, Sequence
from typing import Any, Final, Protocol

import aiomqtt
import httpx
import msgspec

from hashwerk import __version__
from hashwerk.errors import end_if_cancelled
from hashwerk.fleet.alerts import Alert, Notice, NoticeKind
from hashwerk.fleet.settings import MqttSettings

log = logging.getLogger(__name__)

_QUEUE: Final = 200
_RETRY_S: Final = (1.0, 60.0)
_WEBHOOK_S: Final = 10.0
_ATTEMPTS: Final = 3


class Channel(Protocol):
    """Somewhere that notices go."""

    def tell(self, notice: Notice) -> None:
        """Take a notice; never waits."""
        ...

    async def run(self) -> None:
        """Deliver until cancelled."""
        ...


class LogChannel:
    """Writes notices to the log."""

    def tell(self, notice: Notice) -> None:
        """Write one line."""
        level = logging.INFO if notice.kind is NoticeKind.OVER else logging.WARNING
        log.log(level, "alert: %s", notice.text)

    async def run(self) -> None:
        """Nothing is left to do later."""


def notice_json(notice: Notice, site: str) -> dict[str, Any]:
    """Return a notice as programs get it."""
    alert = notice.alert
    found: dict[str, Any] = {
        "site": site,
        "at": notice.at,
        "kind": notice.kind.value,
        "text": notice.text,
    }
    if alert is not None:
        found["alert"] = alert_json(alert)
    return found


def alert_json(alert: Alert) -> dict[str, Any]:
    """Return an alert as programs get it."""
    values = msgspec.to_builtins(alert)
    assert isinstance(values, dict)
    return values


class WebhookChannel:
    """Posts each notice as JSON.

    Resource handling: one connection; a notice is tried three times, and dropped with a line in the log.
    """

    def __init__(self, url: str, site: str) -> None:
        self._url = url
        self._site = site
        self._queue: deque[Notice] = deque(maxlen=_QUEUE)
        self._news = asyncio.Event()

    def tell(self, notice: Notice) -> None:
        """Take a notice; never waits."""
        self._queue.append(notice)
        self._news.set()

    async def run(self) -> None:
        """Deliver until cancelled."""
        async with httpx.AsyncClient(timeout=_WEBHOOK_S, follow_redirects=False) as client:
            while True:
                await self._news.wait()
                self._news.clear()
                while self._queue:
                    await self._post(client, self._queue.popleft())

    async def _post(self, client: httpx.AsyncClient, notice: Notice) -> None:
        body = msgspec.json.encode(notice_json(notice, self._site))
        delay_s, reason = _RETRY_S[0], ""
        for attempt in range(_ATTEMPTS):
            try:
                answer = await client.post(
                    self._url, content=body, headers={"content-type": "application/json"}
                )
                if answer.is_success:
                    return
                reason = f"it answers {answer.status_code}"
            except httpx.HTTPError as error:
                reason = type(error).__name__
            if attempt + 1 < _ATTEMPTS:
                await asyncio.sleep(delay_s)
                delay_s *= 4
        log.warning("the webhook took no notice: %s", reason)


class Entity(msgspec.Struct, frozen=True, kw_only=True):
    """One thing that Home Assistant shows."""

    component: str  # "sensor" or "binary_sensor"
    key: str  # of the value in the state message
    name: str
    device: str  # "site", or a machine's slug
    unit: str | None = None
    device_class: str | None = None
    state_class: str | None = None


SITE_ENTITIES: Final = (
    Entity(component="sensor", key="power_w", name="Power", device="site", unit="W", device_class="power",
           state_class="measurement"),
    Entity(component="sensor", key="hashrate_ths", name="Hash rate", device="site", unit="TH/s",
           state_class="measurement"),
    Entity(component="sensor", key="hashing", name="Machines hashing", device="site", state_class="measurement"),
    Entity(component="sensor", key="asleep", name="Machines asleep", device="site", state_class="measurement"),
    Entity(component="sensor", key="unreachable", name="Machines unreachable", device="site",
           state_class="measurement"),
    Entity(component="sensor", key="alerts", name="Open alerts", device="site", state_class="measurement"),
    Entity(component="binary_sensor", key="problem", name="Problem", device="site", device_class="problem"),
)  # fmt: skip


def machine_entities(device: str) -> tuple[Entity, ...]:
    """Return what is shown of one machine."""
    return (
        Entity(component="sensor", key="power_w", name="Power", device=device, unit="W", device_class="power",
               state_class="measurement"),
        Entity(component="sensor", key="hashrate_ths", name="Hash rate", device=device, unit="TH/s",
               state_class="measurement"),
        Entity(component="sensor", key="state", name="State", device=device),
        Entity(component="binary_sensor", key="problem", name="Problem", device=device, device_class="problem"),
    )  # fmt: skip


class MqttChannel:
    """Publishes alerts and sums, and says how Home Assistant is to show them.

    Topics under ``<prefix>/<site>``: ``availability``, ``state`` (sums, retained), ``machines/<slug>/state`` (retained),
    ``alerts/<id>`` (an open alert, retained; empty when it is over), ``notice`` (each notice, not retained).

    Resource handling: one connection, opened again with growing pauses. While it is down the newest state is kept and
    at most 200 notices.
    """

    def __init__(self, settings: MqttSettings, site: str) -> None:
        self._settings = settings
        self._site = site
        self.base = f"{settings.prefix}/{slug(site)}"
        self._queue: deque[Notice] = deque(maxlen=_QUEUE)
        self._states: dict[str, bytes] = {}
        self._entities: dict[str, Entity] = {}
        self._names: dict[str, str] = {"site": site}
        self._open: dict[str, Alert] = {}
        self._news = asyncio.Event()
        self._dirty: set[str] = set()

    def tell(self, notice: Notice) -> None:
        """Take a notice; never waits."""
        self._queue.append(notice)
        self._news.set()

    def show(
        self,
        site: Mapping[str, Any],
        machines: Mapping[str, tuple[str, Mapping[str, Any]]],
        alerts: Sequence[Alert],
    ) -> None:
        """Take the sums of the site, and name and values of each machine that has entities of its own, by slug."""
        self._show("site", self._site, site, SITE_ENTITIES)
        for device, (name, values) in machines.items():
            self._show(device, name, values, machine_entities(device))
        for device in self._states.keys() - machines.keys() - {"site"}:
            self._take_back(device)
        opened = {alert.id: alert for alert in alerts}
        self._dirty |= {f"alert {id_}" for id_ in opened.keys() ^ self._open.keys()}
        self._dirty |= {
            f"alert {id_}" for id_ in opened.keys() & self._open.keys() if opened[id_] != self._open[id_]
        }
        self._open = opened
        if self._dirty:
            self._news.set()

    def _show(self, device: str, name: str, values: Mapping[str, Any], entities: Sequence[Entity]) -> None:
        self._names[device] = name
        body = msgspec.json.encode(values)
        if self._states.get(device) != body:
            self._states[device] = body
            self._dirty.add(f"state {device}")
        for entity in entities:
            key = f"{device}/{entity.key}"
            if key not in self._entities:
                self._entities[key] = entity
                self._dirty.add(f"entity {key}")

    def _take_back(self, device: str) -> None:
        """Show a machine no more: what stands retained would be taken for what it does now."""
        del self._states[device]
        self._dirty.add(f"state {device}")
        for entity in machine_entities(device):
            self._entities.pop(f"{device}/{entity.key}", None)
            self._dirty.add(f"entity {device}/{entity.key}")

    async def run(self) -> None:
        """Deliver until cancelled, connecting again for as long as it takes."""
        delay_s, told = _RETRY_S[0], False
        while True:
            try:
                async with self._client() as client:
                    log.info("MQTT: connected to %s", self._settings.host)
                    delay_s, told = _RETRY_S[0], False
                    await client.publish(f"{self.base}/availability", b"online", qos=1, retain=True)
                    self._all_dirty()
                    try:
                        await self._deliver(client)
                    finally:
                        with contextlib.suppress(aiomqtt.MqttError, TimeoutError):
                            await client.publish(
                                f"{self.base}/availability", b"offline", qos=1, retain=True, timeout=1
                            )
            except aiomqtt.MqttError as error:
                if not told:
                    log.warning("MQTT: %s", error)
                told = True
                end_if_cancelled()
            await asyncio.sleep(delay_s)
            delay_s = min(delay_s * 2, _RETRY_S[1])

    def _client(self) -> aiomqtt.Client:
        settings = self._settings
        assert settings.host is not None
        return aiomqtt.Client(
            settings.host,
            settings.port,
            username=settings.user,
            password=settings.password,
            tls_context=ssl.create_default_context() if settings.tls else None,
            will=aiomqtt.Will(f"{self.base}/availability", b"offline", qos=1, retain=True),
            timeout=10,
        )

    def _all_dirty(self) -> None:
        self._dirty |= {f"entity {key}" for key in self._entities}
        self._dirty |= {f"state {device}" for device in self._states}
        self._dirty |= {f"alert {id_}" for id_ in self._open}
        self._news.set()

    async def _deliver(self, client: aiomqtt.Client) -> None:
        while True:
            end_if_cancelled()
            await self._news.wait()
            self._news.clear()
            # Discovery before states, or Home Assistant would miss the first state.
            for item in sorted(
                self._dirty, key=lambda item: ("entity", "state", "alert").index(item.partition(" ")[0])
            ):
                await self._publish(client, item)
                self._dirty.discard(item)
            while self._queue:
                body = msgspec.json.encode(notice_json(self._queue[0], self._site))
                await client.publish(f"{self.base}/notice", body, qos=1)
                self._queue.popleft()

    async def _publish(self, client: aiomqtt.Client, item: str) -> None:
        kind, _, name = item.partition(" ")
        if kind == "state":
            await client.publish(self._state_topic(name), self._states.get(name, b""), qos=1, retain=True)
        elif kind == "alert":
            alert = self._open.get(name)
            body = b"" if alert is None else msgspec.json.encode(alert_json(alert))
            await client.publish(f"{self.base}/alerts/{name}", body, qos=1, retain=True)
        elif self._settings.discovery is not None:
            device, _, key = name.partition("/")
            shown = self._entities.get(name)
            entity = shown or next(one for one in machine_entities(device) if one.key == key)
            unique = f"{slug(self._settings.prefix)}_{slug(self._site)}_{device}_{key}"
            topic = f"{self._settings.discovery}/{entity.component}/{unique}/config"
            body = b"" if shown is None else msgspec.json.encode(self._discovery(entity, unique))
            await client.publish(topic, body, qos=1, retain=True)

    def _state_topic(self, device: str) -> str:
        return f"{self.base}/state" if device == "site" else f"{self.base}/machines/{device}/state"

    def _discovery(self, entity: Entity, unique: str) -> dict[str, Any]:
        """Return the message by which Home Assistant learns of an entity (its "MQTT discovery", version 2024.2)."""
        site = f"{slug(self._settings.prefix)}_{slug(self._site)}"
        device = site if entity.device == "site" else f"{site}_{entity.device}"
        found: dict[str, Any] = {
            "name": entity.name,
            "unique_id": unique,
            "object_id": unique,
            "state_topic": self._state_topic(entity.device),
            "value_template": f"{{{{ value_json.{entity.key} }}}}",
            "availability_topic": f"{self.base}/availability",
            "device": {
                "identifiers": [device],
                "name": self._names[entity.device],
                "manufacturer": "Hashwerk",
                "sw_version": __version__,
            }
            | ({} if entity.device == "site" else {"via_device": site}),
            "origin": {"name": "Hashwerk", "sw_version": __version__},
        }
        if entity.component == "binary_sensor":
            found |= {"payload_on": "ON", "payload_off": "OFF"}
        optional = {
            "unit_of_measurement": entity.unit,
            "device_class": entity.device_class,
            "state_class": entity.state_class,
        }
        return found | {name: value for name, value in optional.items() if value is not None}


def slug(text: str) -> str:
    """Return a text as it may stand in a topic and an entity's name."""
    return re.sub(r"[^a-z0-9]+", "_", text.lower()).strip("_") or "mine"
