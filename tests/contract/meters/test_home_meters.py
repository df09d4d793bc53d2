"""Home meters as they behave: devices that answer when asked over a real broker, go offline, lose a phase, say they are ill."""

from __future__ import annotations

import asyncio
import contextlib
import json
import socket
from collections.abc import AsyncIterator, Callable
from decimal import Decimal
from typing import ClassVar

import aiomqtt
import pytest

from hashwerk.clock import VirtualClock
from hashwerk.errors import DeviceError, end_if_cancelled
from hashwerk.meters.dialects import DIALECTS, summed
from hashwerk.meters.mqtt import Mqtt
from hashwerk.meters.settings import MqttMeter, ShellyMeter
from hashwerk.meters.shelly import Shelly
from support.broker import broker
from support.feed_server import Answer, Asked, serve_feed

NOW = 1_773_144_000.0

Says = Callable[[str, str], list[tuple[str, str]]]


def tasmota(topic: str, payload: str) -> list[tuple[str, str]]:
    """Answer `Status 5` and `Status 10` as Tasmota's documentation shows."""
    assert topic == "cmnd/plug/STATUS"
    if payload == "5":
        return [
            ("stat/plug/STATUS5", json.dumps({"StatusNET": {"Hostname": "plug", "Mac": "DC:4F:22:00:00:01"}}))
        ]
    energy = {"Total": [3.185, 0.015], "ExportActive": 0.25, "Power": [1500, 25.5], "Current": [6.5, 0.1]}
    return [
        ("stat/plug/STATUS10", json.dumps({"StatusSNS": {"Time": "2026-03-10T12:00:00", "ENERGY": energy}}))
    ]


def gen1(topic: str, payload: str) -> list[tuple[str, str]]:
    """Publish everything at `update`, each value on a topic of its own."""
    assert (topic, payload) == ("shellies/plug/command", "update")
    shown = {"power": "500.00", "total": "1000.4", "total_returned": "10.2", "voltage": "230.10"}
    return [(f"shellies/plug/emeter/{n}/{kind}", value) for n in range(3) for kind, value in shown.items()]


def gen2(topic: str, payload: str) -> list[tuple[str, str]]:
    """Answer calls at the topic of who asks."""
    frame = json.loads(payload)
    assert topic == "plug/rpc"
    assert frame["params"] == {"id": 0}
    results = {
        "EM.GetStatus": {
            "id": 0,
            "total_act_power": 1525.5,
            "b_errors": ["out_of_range:current"],
            "errors": [],
        },
        "EMData.GetStatus": {"id": 0, "total_act": 3200.7, "total_act_ret": 250.2},
    }
    answer = {"id": frame["id"], "src": "plug", "dst": frame["src"], "result": results[frame["method"]]}
    return [(f"{frame['src']}/rpc", json.dumps(answer))]


@contextlib.asynccontextmanager
async def device(port: int, says: Says, *topics: str) -> AsyncIterator[aiomqtt.Client]:
    """Run a device that speaks only when it is asked."""

    async def answer(client: aiomqtt.Client) -> None:
        async for message in client.messages:
            for topic, payload in says(str(message.topic), bytes(message.payload).decode()):
                await client.publish(topic, payload)
            end_if_cancelled()

    async with aiomqtt.Client("127.0.0.1", port) as client:
        for topic in topics:
            await client.subscribe(topic)
        task = asyncio.create_task(answer(client))
        try:
            yield client
        finally:
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await task


@contextlib.asynccontextmanager
async def listening(port: int, **settings: object) -> AsyncIterator[Mqtt]:
    meter = Mqtt(
        MqttMeter(name="m", max_power_w=1e5, host="127.0.0.1", port=port, device="plug", **settings),
        VirtualClock(NOW),
        retry_s=0.05,
    )
    task = asyncio.create_task(meter.run())
    try:
        yield meter
    finally:
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task


async def until(meter: Mqtt, is_there: Callable[[Mqtt], bool]) -> None:
    async with asyncio.timeout(10):
        while not is_there(meter):
            meter.arrived.clear()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(0.05):
                    await meter.arrived.wait()


async def reads(meter: Mqtt) -> object:
    try:
        return await meter.read(NOW)
    except DeviceError:
        return None


@pytest.mark.parametrize(
    ("dialect", "says", "asked_at", "shows", "serial"),
    [
        ("tasmota", tasmota, "cmnd/plug/STATUS", (1525.5, 3_200, 250), "DC:4F:22:00:00:01"),
        ("shelly-gen1-em", gen1, "shellies/plug/command", (1500.0, 3_001, 30), "plug"),
        ("shelly", gen2, "plug/rpc", (1525.5, 3_200, 250), "plug"),
    ],
)
async def test_a_device_that_says_nothing_by_itself_is_asked(
    tmp_path, dialect, says, asked_at, shows, serial
):
    async with (
        broker(tmp_path) as port,
        device(port, says, asked_at),
        listening(port, dialect=dialect, ask_every_s=0.05) as meter,
        asyncio.timeout(10),
    ):
        while True:
            found = await reads(meter)
            if found is not None and None not in (found.power_w, found.export_wh, found.serial):
                break
            meter.arrived.clear()
            await meter.arrived.wait()
    assert (found.power_w, found.import_wh, found.export_wh) == shows
    assert found.serial == serial
    assert found.doubts == (("phase b: out_of_range:current",) if dialect == "shelly" else ())


async def test_what_went_offline_is_no_reading_any_more(tmp_path):
    async with (
        broker(tmp_path) as port,
        aiomqtt.Client("127.0.0.1", port) as client,
        listening(port, dialect="tasmota", ask_every_s=0) as meter,
    ):
        sensor = json.dumps({"ENERGY": {"Total": 1.5, "Power": 20}})
        await client.publish("tele/plug/SENSOR", sensor, retain=True)
        await until(meter, lambda one: bool(one._latest))
        assert (await meter.read(NOW)).import_wh == 1_500
        await client.publish("tele/plug/LWT", "Offline", retain=True)
        await until(meter, lambda one: not one._latest)
        with pytest.raises(DeviceError, match="m is offline"):
            await meter.read(NOW)


async def test_a_broker_that_comes_later_is_found(tmp_path):
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
    async with listening(port, dialect="tasmota", ask_every_s=0.05) as meter:
        await until(meter, lambda one: "cannot be reached" in one._problem)
        async with broker(tmp_path, port), device(port, tasmota, "cmnd/plug/STATUS"):
            await until(meter, lambda one: "import_wh" in one._latest)


def test_a_sum_needs_all_of_its_phases():
    one = MqttMeter(name="m", max_power_w=1, host="h", device="plug", dialect="shelly-gen1-em", phases=(0, 2))
    decode, phases = DIALECTS["shelly-gen1-em"].decode, DIALECTS["shelly-gen1-em"].phases(one)
    told = {}
    for phase in (0, 1):
        told |= decode(one, f"shellies/plug/emeter/{phase}/total", b"100.5").values
    assert summed(told, phases) == {}
    told |= decode(one, "shellies/plug/emeter/2/total", b"1").values
    assert summed(told, phases) == {"import_wh": Decimal("101.5")}


async def test_a_phase_that_fell_silent_spoils_the_sum_instead_of_shrinking_it():
    clock = VirtualClock(NOW)
    meter = Mqtt(
        MqttMeter(name="m", max_power_w=1, host="h", device="plug", dialect="shelly-gen1-em", max_age_s=60),
        clock,
    )
    for phase in range(3):
        meter._take(f"shellies/plug/emeter/{phase}/total", b"100")
    assert (await meter.read(NOW)).import_wh == 300
    clock.advance(61)
    for phase in (0, 2):
        meter._take(f"shellies/plug/emeter/{phase}/total", b"101")
    with pytest.raises(DeviceError, match="does not tell of all its phases"):
        await meter.read(clock.time())


@pytest.mark.parametrize(
    "payload", [b"", b"\xff\xfe", b"nan", b"{}", b"[1]", b'{"ENERGY":{}}', b"x" * 70_000]
)
@pytest.mark.parametrize("dialect", sorted(DIALECTS))
def test_what_is_no_reading_is_no_reading(dialect, payload):
    one = MqttMeter(name="m", max_power_w=1, host="h", device="plug", dialect=dialect)
    meter = Mqtt(one, VirtualClock(NOW))
    for topic in DIALECTS[dialect].topics(one):
        if not topic.endswith(("/LWT", "/online")):
            meter._take(topic.replace("+/+", "0/total").replace("+", "energy"), payload)
    assert meter._latest == {}


class TestFirstGenerationOverHttp:
    STATUS: ClassVar[dict[str, object]] = {
        "mac": "98CDAC000001",
        "relays": [{"ison": True}],
        "emeters": [
            {
                "power": 500.25,
                "pf": 0.98,
                "voltage": 230.1,
                "is_valid": True,
                "total": 1000.4,
                "total_returned": 10.2,
            }
            for _ in range(3)
        ],
        "meters": [
            {"power": 1500.5, "is_valid": True, "timestamp": 1, "counters": [1, 2, 3], "total": 192_042}
        ],
    }

    async def read(self, component: str, status: object = None) -> object:
        asked: list[Asked] = []

        def handle(one: Asked) -> Answer:
            asked.append(one)
            return Answer(status or self.STATUS)

        async with serve_feed(handle) as server:
            host = server.url.removeprefix("http://")
            meter = Shelly(ShellyMeter(name="m", max_power_w=1e5, host=host, component=component))
            try:
                return await meter.read(NOW)
            finally:
                await meter.close()

    async def test_all_clamps_one_clamp_and_a_relay(self):
        found = await self.read("emeters")
        assert (found.power_w, found.import_wh, found.export_wh) == (1500.75, 3_001, 30)
        assert found.serial == "98CDAC000001"
        found = await self.read("emeter:1")
        assert (found.power_w, found.import_wh, found.export_wh) == (500.25, 1_000, 10)
        found = await self.read("meter:0")
        assert (found.power_w, found.import_wh, found.export_wh) == (1500.5, 3_200, None)

    async def test_a_clamp_that_is_not_there_or_does_not_work_is_said(self):
        with pytest.raises(DeviceError, match="m has no emeter:3"):
            await self.read("emeter:3")
        ill = {**self.STATUS, "emeters": [{**self.STATUS["emeters"][0], "is_valid": False}]}
        with pytest.raises(DeviceError, match="says that its emeters does not work"):
            await self.read("emeters", ill)
