"""What home meters say over MQTT, as pure functions of topic and payload: Shelly of both generations, and Tasmota.

Topics and fields are those of the makers' documents: "Shelly Family Overview (Gen1) MQTT", "Shelly Gen2+ API: MQTT, RPC over
MQTT, EM, EMData, EM1, EM1Data, Switch, PM1", and "Tasmota: MQTT, Status responses, Energy monitoring".
"""

from __future__ import annotations

from collections.abc import Callable
from decimal import Decimal
from typing import Final

import msgspec

from hashwerk.meters.settings import MqttMeter
from hashwerk.meters.shelly import METHODS, shelly_doubts, shelly_values


class Told(msgspec.Struct, frozen=True, kw_only=True):
    """What one message tells. Values of phases that are summed have the phase after a slash: ``import_wh/0``."""

    values: dict[str, Decimal] = {}
    serial: str | None = None
    doubts: tuple[str, ...] | None = None  # None: the message does not speak of them
    is_online: bool | None = None  # False: the broker says that the device is gone


class Dialect(msgspec.Struct, frozen=True, kw_only=True):
    """How devices of one kind speak.

    Args:
        topics: What to subscribe to.
        asks: Messages that make the device tell its state at once.
        decode: What a message tells.
        phases: Which phases are summed; none: the device sums by itself.
    """

    topics: Callable[[MqttMeter], list[str]]
    asks: Callable[[MqttMeter], list[tuple[str, str]]]
    decode: Callable[[MqttMeter, str, bytes], Told]
    phases: Callable[[MqttMeter], tuple[int, ...]] = lambda _: ()


def summed(values: dict[str, Decimal], phases: tuple[int, ...]) -> dict[str, Decimal]:
    """Add up the phases of each value; a value with a phase missing is left out."""
    if not phases:
        return dict(values)
    totals = {}
    for kind in {name.partition("/")[0] for name in values}:
        parts = [values.get(f"{kind}/{phase}") for phase in phases]
        known = [part for part in parts if part is not None]
        if len(known) == len(parts):
            totals[kind] = sum(known, Decimal(0))
    return totals


# --- Shelly, first generation ---


def _gen1_em(settings: MqttMeter, topic: str, payload: bytes) -> Told:
    """``shellies/<device>/emeter/<phase>/power`` in W, ``total`` and ``total_returned`` in Wh."""
    if topic.endswith("/online"):
        return _online(payload)
    phase, _, kind = topic.partition(f"{settings.device}/emeter/")[2].partition("/")
    names = {"power": "power_w", "total": "import_wh", "total_returned": "export_wh"}
    if kind not in names:
        return Told()
    return Told(values={f"{names[kind]}/{phase}": Decimal(payload.decode())}, serial=settings.device)


def _gen1_relay(settings: MqttMeter, topic: str, payload: bytes) -> Told:
    """``shellies/<device>/relay/0/power`` in W, and ``energy`` in watt-minutes: not in Wh."""
    kind = topic.rpartition("/")[2]
    if kind == "online":
        return _online(payload)
    if kind == "power":
        return Told(values={"power_w": Decimal(payload.decode())}, serial=settings.device)
    if kind == "energy":
        return Told(values={"import_wh": Decimal(payload.decode()) / 60}, serial=settings.device)
    return Told()


def _gen1_asks(settings: MqttMeter) -> list[tuple[str, str]]:
    return [(f"shellies/{settings.device}/command", "update")]


# --- Shelly, second generation and later ---


def _gen2(settings: MqttMeter, topic: str, payload: bytes) -> Told:
    """``<device>/status/em:0`` and ``emdata:0``, and answers to calls: the status of a component, as over HTTP."""
    if topic.endswith("/online"):
        return _online(payload)
    document = msgspec.json.decode(payload, type=dict[str, object])
    if topic.endswith("/rpc"):
        result = document.get("result")
        document = result if isinstance(result, dict) else {}
    kind = settings.component.partition(":")[0]
    values = shelly_values(kind, document)
    doubts = shelly_doubts(document) if "power_w" in values else None
    return Told(values=values, serial=settings.device, doubts=doubts)


def _gen2_topics(settings: MqttMeter) -> list[str]:
    kind, _, number = settings.component.partition(":")
    topics = [
        f"{settings.device}/status/{settings.component}",
        f"{settings.device}/online",
        f"{_asker(settings)}/rpc",
    ]
    return [*topics, f"{settings.device}/status/{kind}data:{number}"] if kind in {"em", "em1"} else topics


def _gen2_asks(settings: MqttMeter) -> list[tuple[str, str]]:
    kind, _, number = settings.component.partition(":")
    asks = []
    for method in METHODS[kind]:
        frame = {"id": 1, "src": _asker(settings), "method": method, "params": {"id": int(number)}}
        asks.append((f"{settings.device}/rpc", msgspec.json.encode(frame).decode()))
    return asks


def _asker(settings: MqttMeter) -> str:
    """Whom the device answers: it publishes under this name."""
    return f"hashwerk/{settings.device}"


# --- Tasmota ---


class _Energy(msgspec.Struct, rename="pascal"):
    """ENERGY. Lists where the device has several channels; the names of export differ between drivers."""

    total: Decimal | list[Decimal]  # kWh
    power: float | list[float] | None = None
    export_active: Decimal | list[Decimal] | None = None  # kWh
    export_total: Decimal | list[Decimal] | None = None  # kWh


class _Sensor(msgspec.Struct, rename={"energy": "ENERGY"}):
    energy: _Energy | None = None


class _Net(msgspec.Struct, rename="pascal"):
    mac: str | None = None


class _Status(msgspec.Struct, rename={"sensor": "StatusSNS", "net": "StatusNET"}):
    sensor: _Sensor | None = None
    net: _Net | None = None


def _tasmota(settings: MqttMeter, topic: str, payload: bytes) -> Told:
    """``tele/<device>/SENSOR`` and ``stat/<device>/STATUS10``: ENERGY with Total in kWh, Power in W; ``STATUS5``: who it is."""
    kind = topic.rpartition("/")[2]
    if kind == "LWT":
        return _online(payload)
    if kind == "SENSOR":
        sensor, net = msgspec.json.decode(payload, type=_Sensor), None
    else:
        status = msgspec.json.decode(payload, type=_Status)
        sensor, net = status.sensor or _Sensor(), status.net
    values: dict[str, Decimal] = {}
    energy = sensor.energy
    if energy is not None:
        values["import_wh"] = _sum(energy.total) * 1_000
        if energy.power is not None:
            powers = energy.power if isinstance(energy.power, list) else [energy.power]
            values["power_w"] = Decimal(repr(float(sum(powers))))
        export = energy.export_active if energy.export_active is not None else energy.export_total
        if export is not None:
            values["export_wh"] = _sum(export) * 1_000
    return Told(values=values, serial=None if net is None else net.mac)


def _tasmota_asks(settings: MqttMeter) -> list[tuple[str, str]]:
    return [(f"cmnd/{settings.device}/STATUS", "5"), (f"cmnd/{settings.device}/STATUS", "10")]


def _tasmota_topics(settings: MqttMeter) -> list[str]:
    return [
        f"tele/{settings.device}/SENSOR",
        f"tele/{settings.device}/LWT",
        f"stat/{settings.device}/STATUS5",
        f"stat/{settings.device}/STATUS10",
    ]


def _sum(value: Decimal | list[Decimal]) -> Decimal:
    return sum(value, Decimal(0)) if isinstance(value, list) else value


def _online(payload: bytes) -> Told:
    return Told(is_online=payload.strip().lower() in {b"true", b"online"})


DIALECTS: Final[dict[str, Dialect]] = {
    "shelly-gen1-em": Dialect(
        topics=lambda one: [f"shellies/{one.device}/emeter/+/+", f"shellies/{one.device}/online"],
        asks=_gen1_asks,
        decode=_gen1_em,
        phases=lambda one: one.phases,
    ),
    "shelly-gen1-relay": Dialect(
        topics=lambda one: [f"shellies/{one.device}/relay/0/+", f"shellies/{one.device}/online"],
        asks=_gen1_asks,
        decode=_gen1_relay,
    ),
    "shelly": Dialect(topics=_gen2_topics, asks=_gen2_asks, decode=_gen2),
    "tasmota": Dialect(topics=_tasmota_topics, asks=_tasmota_asks, decode=_tasmota),
}
