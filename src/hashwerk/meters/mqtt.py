"""Meters that speak MQTT: Shelly of both generations, Tasmota. They speak when they like; a reading is the last of each."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from decimal import Decimal, InvalidOperation
from typing import Final

import aiomqtt
import msgspec

from hashwerk.clock import Clock
from hashwerk.energy.ports import RegisterReading
from hashwerk.errors import DeviceError
from hashwerk.meters.modbus import reading
from hashwerk.meters.secret import read_secret
from hashwerk.meters.settings import MqttMeter
from hashwerk.meters.shelly import shelly_values

log = logging.getLogger(__name__)

_MAX_PAYLOAD_BYTES: Final = 64 * 1024
#: What a topic's payload tells: values by name, a phase added to those that are summed.
Dialect = Callable[[MqttMeter, str, bytes], dict[str, Decimal]]


class Mqtt:
    """One device.

    Resource handling:
        `run` holds one connection and opens it again after a pause. Only the newest value of each kind is kept.

    Cancellation:
        `run` ends at once and disconnects.
    """

    def __init__(self, settings: MqttMeter, clock: Clock, *, retry_s: float = 5.0) -> None:
        self.name = settings.name
        self._settings = settings
        self._clock = clock
        self._retry_s = retry_s
        self._password = (
            None if settings.password_file is None else read_secret(settings.name, settings.password_file)
        )
        self._dialect, self._topics = _DIALECTS[settings.dialect]
        self._latest: dict[str, tuple[float, Decimal]] = {}
        self._problem = "has not been connected yet"
        self.arrived = asyncio.Event()  # set at every value; whoever waits clears it

    async def run(self) -> None:
        """Listen until cancelled."""
        while True:
            try:
                async with aiomqtt.Client(
                    self._settings.host,
                    self._settings.port,
                    username=self._settings.user,
                    password=self._password,
                ) as client:
                    for topic in self._topics(self._settings):
                        await client.subscribe(topic)
                    self._problem = "has said nothing yet"
                    async for message in client.messages:
                        self._take(str(message.topic), message.payload)
            except aiomqtt.MqttError as error:
                self._problem = f"cannot be reached: {error}"
                log.warning("meter %s %s", self.name, self._problem)
            await asyncio.sleep(self._retry_s)

    async def read(self, now_s: float) -> RegisterReading:
        """Return the newest power and registers.

        Raises:
            DeviceError: If no register has arrived, or the newest is too old.
        """
        fresh = {
            name: (moment, value)
            for name, (moment, value) in self._latest.items()
            if now_s - moment <= self._settings.max_age_s
        }
        values = _summed({name: value for name, (_, value) in fresh.items()})
        if "import_wh" not in values:
            raise DeviceError(f"{self.name} {self._why_not(now_s)}")
        moment = max(moment for name, (moment, _) in fresh.items() if name.startswith("import_wh"))
        return reading(self.name, moment, values, serial=self._settings.device, invert=self._settings.invert)

    async def close(self) -> None:
        """Nothing is held outside `run`."""

    def _why_not(self, now_s: float) -> str:
        ages = [now_s - moment for name, (moment, _) in self._latest.items() if name.startswith("import_wh")]
        if not ages:
            return self._problem
        if min(ages) > self._settings.max_age_s:
            return f"has been silent for {min(ages):.0f} s"
        return "has not told of all its phases yet"

    def _take(self, topic: str, payload: object) -> None:
        if not isinstance(payload, bytes | bytearray) or len(payload) > _MAX_PAYLOAD_BYTES:
            return
        try:
            values = self._dialect(self._settings, topic, bytes(payload))
        except (msgspec.DecodeError, UnicodeDecodeError, InvalidOperation) as error:
            log.warning("meter %s says %r at %s: %s", self.name, bytes(payload[:60]), topic, error)
            return
        moment = self._clock.time()
        for name, value in values.items():
            if value.is_finite():
                self._latest[name] = (moment, value)
        if values:
            self.arrived.set()


def _summed(values: dict[str, Decimal]) -> dict[str, Decimal]:
    """Add up the phases of ``import_wh/0``, ``import_wh/1`` …; a kind with a phase missing is left out."""
    totals: dict[str, Decimal] = {}
    phases: dict[str, set[str]] = {}
    for name, value in values.items():
        kind, _, phase = name.partition("/")
        totals[kind] = totals.get(kind, Decimal(0)) + value
        phases.setdefault(kind, set()).add(phase)
    widest = max((len(found) for found in phases.values()), default=0)
    return {kind: total for kind, total in totals.items() if len(phases[kind]) == widest}


def _gen1_em(settings: MqttMeter, topic: str, payload: bytes) -> dict[str, Decimal]:
    """``shellies/<device>/emeter/<phase>/power`` in W, ``total`` and ``total_returned`` in Wh."""
    _, _, rest = topic.partition(f"{settings.device}/emeter/")
    phase, _, kind = rest.partition("/")
    names = {"power": "power_w", "total": "import_wh", "total_returned": "export_wh"}
    return {f"{names[kind]}/{phase}": Decimal(payload.decode())} if kind in names else {}


def _gen1_relay(settings: MqttMeter, topic: str, payload: bytes) -> dict[str, Decimal]:
    """``shellies/<device>/relay/0/power`` in W, and ``energy`` in watt-minutes: not in Wh."""
    kind = topic.rpartition("/")[2]
    if kind == "power":
        return {"power_w": Decimal(payload.decode())}
    return {"import_wh": Decimal(payload.decode()) / 60} if kind == "energy" else {}


def _gen2(settings: MqttMeter, topic: str, payload: bytes) -> dict[str, Decimal]:
    """``<device>/status/em:0`` and ``emdata:0``: the status of a component, as over HTTP."""
    document = msgspec.json.decode(payload, type=dict[str, object])
    return shelly_values(settings.component.partition(":")[0], document)


class _TasmotaEnergy(msgspec.Struct, rename="pascal"):
    total: Decimal  # kWh
    power: float | list[float] | None = None
    export_total: Decimal | None = None  # kWh


class _TasmotaSensor(msgspec.Struct, rename={"energy": "ENERGY"}):
    energy: _TasmotaEnergy | None = None


def _tasmota(settings: MqttMeter, topic: str, payload: bytes) -> dict[str, Decimal]:
    """``tele/<device>/SENSOR``: ENERGY with Total in kWh and Power in W, a list where there are phases."""
    energy = msgspec.json.decode(payload, type=_TasmotaSensor).energy
    if energy is None:
        return {}
    values = {"import_wh": energy.total * 1_000}
    if energy.power is not None:
        powers = energy.power if isinstance(energy.power, list) else [energy.power]
        values["power_w"] = Decimal(repr(float(sum(powers))))
    if energy.export_total is not None:
        values["export_wh"] = energy.export_total * 1_000
    return values


def _gen2_topics(settings: MqttMeter) -> list[str]:
    kind, _, number = settings.component.partition(":")
    topics = [f"{settings.device}/status/{settings.component}"]
    return [*topics, f"{settings.device}/status/{kind}data:{number}"] if kind in {"em", "em1"} else topics


_DIALECTS: Final[dict[str, tuple[Dialect, Callable[[MqttMeter], list[str]]]]] = {
    "shelly-gen1-em": (_gen1_em, lambda settings: [f"shellies/{settings.device}/emeter/+/+"]),
    "shelly-gen1-relay": (_gen1_relay, lambda settings: [f"shellies/{settings.device}/relay/0/+"]),
    "shelly": (_gen2, _gen2_topics),
    "tasmota": (_tasmota, lambda settings: [f"tele/{settings.device}/SENSOR"]),
}
