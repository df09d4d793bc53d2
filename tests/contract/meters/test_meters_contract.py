"""One contract for every meter: real Modbus servers, a real broker, HTTP as Shelly speaks it, a file."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import json
import re
from collections.abc import AsyncIterator, Awaitable, Callable
from decimal import Decimal
from pathlib import Path

import aiomqtt
import pytest

from hashwerk.clock import VirtualClock
from hashwerk.energy.ports import Meter
from hashwerk.errors import ConfigError, DeviceError
from hashwerk.meters.mqtt import Mqtt
from hashwerk.meters.register_map import load_map, shipped_maps
from hashwerk.meters.settings import (
    MeterSettings,
    ModbusTcpMeter,
    MqttMeter,
    ReplayMeter,
    ShellyMeter,
    SunSpecMeter,
)
from hashwerk.meters.table import open_meters
from hashwerk.meters.twin import MeterTwin, Trouble, TwinState
from support.broker import broker
from support.feed_server import Answer, Asked, serve_feed
from support.sunspec import common, floats, integers, sunspec_meter

NOW = 1_773_144_000.0
#: What every meter of this contract shows: 12.34 kW, 5,000.5 kWh in, 120 kWh out.
POWER_W, IMPORT_WH, EXPORT_WH = 12_340.0, 5_000_500, 120_000

Opened = Callable[..., AsyncIterator[Meter]]


def opened(settings: MeterSettings) -> Meter:
    return open_meters([settings], VirtualClock(NOW))[0]


@contextlib.asynccontextmanager
async def modbus(name: str, folder: Path) -> AsyncIterator[Meter]:
    twin = MeterTwin(load_map(name), lambda: POWER_W, VirtualClock(NOW))
    twin.state = TwinState(import_wh=Decimal(IMPORT_WH), export_wh=Decimal(EXPORT_WH))
    await twin.start()
    meter = opened(ModbusTcpMeter(name="m", max_power_w=1e6, host="127.0.0.1", port=twin.port, map=name))
    try:
        yield meter
    finally:
        await meter.close()
        await twin.stop()


@contextlib.asynccontextmanager
async def sunspec(model: list[int], folder: Path) -> AsyncIterator[Meter]:
    async with sunspec_meter(common("SN-4711"), model) as port:
        meter = opened(SunSpecMeter(name="m", max_power_w=1e6, host="127.0.0.1", port=port))
        try:
            yield meter
        finally:
            await meter.close()


RESULTS = {
    "EM.GetStatus": {"id": 0, "a_act_power": 4_000.0, "total_act_power": POWER_W, "total_current": 53.0},
    "EMData.GetStatus": {"id": 0, "total_act": IMPORT_WH + 0.31, "total_act_ret": EXPORT_WH + 0.5},
    "EM1.GetStatus": {"id": 0, "voltage": 230.1, "act_power": POWER_W, "calibration": "factory"},
    "EM1Data.GetStatus": {
        "id": 0,
        "total_act_energy": IMPORT_WH + 0.9,
        "total_act_ret_energy": EXPORT_WH + 0.1,
    },
    "Switch.GetStatus": {
        "id": 0,
        "output": True,
        "apower": POWER_W,
        "aenergy": {"total": IMPORT_WH + 0.123, "by_minute": [0.1, 0.2, 0.3], "minute_ts": int(NOW)},
        "ret_aenergy": {"total": EXPORT_WH + 0.0},
    },
}


@contextlib.asynccontextmanager
async def loopback(
    serve: Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]],
) -> AsyncIterator[int]:
    """Run a server on a free port; at the end every connection is closed before it returns."""
    tasks: set[asyncio.Task[None]] = set()

    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        tasks.add(asyncio.current_task())
        with contextlib.suppress(ConnectionError):
            try:
                await serve(reader, writer)
            finally:
                writer.close()
                await writer.wait_closed()

    server = await asyncio.start_server(handle, "127.0.0.1", 0)
    try:
        yield server.sockets[0].getsockname()[1]
    finally:
        server.close()
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


class ShellyDevice:
    """A Shelly's RPC; with a password it asks for digest authentication by SHA-256."""

    def __init__(self, password: str | None = None) -> None:
        self._password = password

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(asyncio.IncompleteReadError, ConnectionError):
            while True:
                head = (await reader.readuntil(b"\r\n\r\n")).decode()
                length = int(re.search(r"content-length: (\d+)", head, re.I)[1])
                frame = json.loads(await reader.readexactly(length))
                status, extra, body = self._answer(head, frame)
                data = json.dumps(body).encode()
                writer.write(
                    f"HTTP/1.1 {status} X\r\nContent-Type: application/json\r\n{extra}"
                    f"Content-Length: {len(data)}\r\n\r\n".encode()
                    + data
                )
                await writer.drain()

    def _answer(self, head: str, frame: dict) -> tuple[int, str, dict]:
        if self._password is not None and not self._is_allowed(head):
            ask = 'Digest qop="auth", realm="shellypro3em-aabbcc", nonce="60dc2c69", algorithm=SHA-256'
            return 401, f"WWW-Authenticate: {ask}\r\n", {}
        assert frame["params"] == {"id": 0}
        reply = {"id": frame["id"], "src": "shellypro3em-aabbccddeeff"}
        if frame["method"] not in RESULTS:
            return 200, "", {**reply, "error": {"code": 404, "message": f"No handler for {frame['method']}"}}
        return 200, "", {**reply, "result": RESULTS[frame["method"]]}

    def _is_allowed(self, head: str) -> bool:
        found = re.search(r"authorization: Digest (.*)\r\n", head, re.I)
        if found is None:
            return False
        parts = dict(re.findall(r'(\w+)="?([^",]+)"?', found[1]))

        def digest(value: str) -> str:
            return hashlib.sha256(value.encode()).hexdigest()

        first = digest(f"admin:shellypro3em-aabbcc:{self._password}")
        second = digest(f"POST:{parts['uri']}")
        expected = digest(f"{first}:60dc2c69:{parts['nc']}:{parts['cnonce']}:auth:{second}")
        return parts["response"] == expected


@contextlib.asynccontextmanager
async def shelly_device(password: str | None = None) -> AsyncIterator[int]:
    async with loopback(ShellyDevice(password).serve) as port:
        yield port


@contextlib.asynccontextmanager
async def shelly(component: str, folder: Path) -> AsyncIterator[Meter]:
    (folder / "secret").write_text("pass word\n")
    async with shelly_device("pass word") as port:
        meter = opened(
            ShellyMeter(
                name="m",
                max_power_w=1e6,
                host=f"127.0.0.1:{port}",
                component=component,
                password_file=str(folder / "secret"),
            )
        )
        try:
            yield meter
        finally:
            await meter.close()


MESSAGES = {
    "shelly-gen1-em": [
        *(
            (f"shellies/dev/emeter/{phase}/power", str(POWER_W - 40 if phase == 0 else 20.0))
            for phase in range(3)
        ),
        *((f"shellies/dev/emeter/{phase}/voltage", "230.10") for phase in range(3)),
        *(
            (f"shellies/dev/emeter/{phase}/total", f"{IMPORT_WH / 5 * (1, 2, 2)[phase]:.1f}")
            for phase in range(3)
        ),
        *((f"shellies/dev/emeter/{phase}/total_returned", f"{EXPORT_WH / 3:.1f}") for phase in range(3)),
    ],
    "shelly-gen1-relay": [
        ("shellies/dev/relay/0", "on"),
        ("shellies/dev/relay/0/power", str(POWER_W)),
        ("shellies/dev/relay/0/energy", str(IMPORT_WH * 60)),
    ],
    "shelly": [
        ("dev/status/em:0", json.dumps(RESULTS["EM.GetStatus"])),
        ("dev/status/emdata:0", json.dumps(RESULTS["EMData.GetStatus"])),
    ],
    "tasmota": [
        (
            "tele/dev/SENSOR",
            json.dumps(
                {
                    "Time": "2026-03-10T13:00:00",
                    "ENERGY": {
                        "TotalStartTime": "2024-01-01T00:00:00",
                        "Total": IMPORT_WH / 1_000,
                        "Yesterday": 1.5,
                        "Today": 0.8,
                        "ExportTotal": EXPORT_WH / 1_000,
                        "Power": [12_000, 300, 40],
                        "Voltage": 231,
                    },
                }
            ),
        )
    ],
}


@contextlib.asynccontextmanager
async def mqtt(dialect: str, folder: Path) -> AsyncIterator[Meter]:
    async with broker(folder) as port:
        settings = MqttMeter(
            name="m", max_power_w=1e6, host="127.0.0.1", port=port, device="dev", dialect=dialect
        )
        meter = opened(settings)
        assert isinstance(meter, Mqtt)
        task = asyncio.create_task(meter.run())
        try:
            async with asyncio.timeout(10), aiomqtt.Client("127.0.0.1", port) as client:
                # Devices retain their status, so it does not matter who comes first.
                for topic, payload in MESSAGES[dialect]:
                    await client.publish(topic, payload, retain=True)
                while True:
                    try:
                        found = await meter.read(NOW)
                        has_export = dialect in ONE_WAY or (found.export_wh or 0) >= EXPORT_WH - 1
                        if (
                            (found.import_wh or 0) >= IMPORT_WH - 1
                            and has_export
                            and found.power_w == POWER_W
                        ):
                            break
                    except DeviceError:
                        pass
                    meter.arrived.clear()
                    await meter.arrived.wait()
            yield meter
        finally:
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await task


@contextlib.asynccontextmanager
async def replay(_: str, folder: Path) -> AsyncIterator[Meter]:
    path = folder / "meter.csv"
    path.write_text(
        "time,import_wh,export_wh,power_w,serial\n"
        f"2026-03-10T11:59:00Z,1,2,3,SN-1\n2026-03-10T12:00:00Z,{IMPORT_WH},{EXPORT_WH},{POWER_W},SN-1\n"
    )
    yield opened(ReplayMeter(name="m", max_power_w=1e6, path=str(path)))


CASES: dict[str, Callable[[Path], contextlib.AbstractAsyncContextManager[Meter]]] = {
    **{name: lambda folder, name=name: modbus(name, folder) for name in shipped_maps()},
    **{
        f"sunspec {model}": lambda folder, model=model: sunspec(
            integers(model, round(POWER_W), EXPORT_WH, IMPORT_WH), folder
        )
        for model in (201, 202, 203, 204)
    },
    **{
        f"sunspec {model}": lambda folder, model=model: sunspec(
            floats(model, POWER_W, EXPORT_WH, IMPORT_WH), folder
        )
        for model in (211, 213)
    },
    **{f"shelly {one}": lambda folder, one=one: shelly(one, folder) for one in ("em:0", "em1:0", "switch:0")},
    **{dialect: lambda folder, dialect=dialect: mqtt(dialect, folder) for dialect in MESSAGES},
    "replay": lambda folder: replay("", folder),
}
ONE_WAY = {"shelly-gen1-relay"}
NO_SERIAL = {"janitza-umg96rm", "tasmota"}


@pytest.mark.parametrize("name", sorted(CASES))
async def test_power_registers_and_serial_are_read(name, tmp_path):
    async with CASES[name](tmp_path) as meter:
        found = await meter.read(NOW)
    assert found.meter == "m"
    assert found.at_s == NOW
    assert found.power_w == pytest.approx(POWER_W, rel=1e-6)
    assert found.import_wh is not None
    assert abs(found.import_wh - IMPORT_WH) <= 1
    assert (found.export_wh is None) is (name in ONE_WAY)
    if found.export_wh is not None:
        assert abs(found.export_wh - EXPORT_WH) <= 1
    assert (found.serial is None) is (name in NO_SERIAL)


GONE: dict[str, Callable[[int], MeterSettings]] = {
    "modbus": lambda port: ModbusTcpMeter(
        name="m", max_power_w=1, host="127.0.0.1", port=port, map="eastron-sdm630", timeout_s=0.5
    ),
    "sunspec": lambda port: SunSpecMeter(name="m", max_power_w=1, host="127.0.0.1", port=port, timeout_s=0.5),
    "shelly": lambda port: ShellyMeter(name="m", max_power_w=1, host=f"127.0.0.1:{port}", timeout_s=0.5),
}


@contextlib.asynccontextmanager
async def nobody() -> AsyncIterator[int]:
    server = await asyncio.start_server(lambda _, writer: writer.close(), "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    server.close()
    await server.wait_closed()
    yield port


def mute() -> contextlib.AbstractAsyncContextManager[int]:
    async def listen(reader: asyncio.StreamReader, _: asyncio.StreamWriter) -> None:
        await reader.read()

    return loopback(listen)


def garbage() -> contextlib.AbstractAsyncContextManager[int]:
    async def chatter(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(1)
        writer.write(b"\xff\x00garbage\r\n\r\n" * 8)
        await writer.drain()

    return loopback(chatter)


@pytest.mark.parametrize("kind", sorted(GONE))
@pytest.mark.parametrize("trouble", [nobody, mute, garbage], ids=["gone", "mute", "garbage"])
async def test_a_meter_in_trouble_is_one_clear_error(kind, trouble):
    async with trouble() as port:
        meter = opened(GONE[kind](port))
        async with asyncio.timeout(10):
            with pytest.raises(DeviceError) as caught:
                await meter.read(NOW)
        await meter.close()
    assert caught.value.retry
    assert str(caught.value).startswith("m")


class TestModbus:
    async def start(self, clock: VirtualClock, power: dict[str, float]) -> tuple[MeterTwin, Meter]:
        twin = MeterTwin(load_map("eastron-sdm630"), lambda: power["w"], clock)
        await twin.start()
        meter = opened(
            ModbusTcpMeter(
                name="m",
                max_power_w=1e6,
                host="127.0.0.1",
                port=twin.port,
                map="eastron-sdm630",
                timeout_s=0.5,
            )
        )
        return twin, meter

    async def test_the_twin_counts_the_energy_of_the_power_it_is_given(self):
        clock, power = VirtualClock(NOW), {"w": 6_000.0}
        twin, meter = await self.start(clock, power)
        try:
            clock.advance(600)
            assert (await meter.read(clock.time())).import_wh == 1_000
            power["w"] = -3_000.0
            twin.count()
            clock.advance(1_200)
            found = await meter.read(clock.time())
            assert (found.import_wh, found.export_wh, found.power_w) == (1_000, 1_000, -3_000.0)
        finally:
            await meter.close()
            await twin.stop()

    async def test_a_meter_that_was_away_is_read_again_when_it_is_back(self):
        clock, power = VirtualClock(NOW), {"w": 1_000.0}
        twin, meter = await self.start(clock, power)
        port = twin.port
        try:
            await meter.read(NOW)
            await twin.stop()
            with pytest.raises(DeviceError):
                await meter.read(NOW + 1)
            twin.port = port
            await twin.start()
            assert (await meter.read(NOW + 2)).power_w == 1_000.0
        finally:
            await meter.close()
            await twin.stop()

    async def test_a_busy_meter_refuses_and_the_line_stays_open(self):
        twin, meter = await self.start(VirtualClock(NOW), {"w": 1.0})
        try:
            twin.state.trouble = Trouble.BUSY
            with pytest.raises(DeviceError, match="refuses register 52"):
                await meter.read(NOW)
            twin.state.trouble = None
            await meter.read(NOW + 1)
        finally:
            await meter.close()
            await twin.stop()

    async def test_meters_behind_one_gateway_are_asked_one_after_another(self):
        twin, _ = await self.start(VirtualClock(NOW), {"w": 7.0})
        settings = [
            ModbusTcpMeter(
                name=f"m{n}", max_power_w=1e6, host="127.0.0.1", port=twin.port, map="eastron-sdm630", ratio=n
            )
            for n in (1, 40)
        ]
        one, other = open_meters(settings, VirtualClock(NOW))
        try:
            found = await asyncio.gather(*(meter.read(NOW) for meter in (one, other) * 10))
            assert {reading.power_w for reading in found} == {7.0, 280.0}
            assert found[1].multiplier_ppm == 40_000_000
        finally:
            await one.close()
            await twin.stop()

    async def test_a_meter_built_in_the_other_way_round(self):
        twin, _ = await self.start(VirtualClock(NOW), {"w": 5.0})
        twin.state.import_wh = Decimal(77)
        meter = opened(
            ModbusTcpMeter(
                name="m", max_power_w=1e6, host="127.0.0.1", port=twin.port, map="eastron-sdm630", invert=True
            )
        )
        try:
            found = await meter.read(NOW)
            assert (found.power_w, found.import_wh, found.export_wh) == (-5.0, 0, 77)
        finally:
            await meter.close()
            await twin.stop()

    def test_a_map_that_is_not_there_is_named_with_those_that_are(self):
        with pytest.raises(ConfigError, match="janitza-umg96rm"):
            load_map("nonsense")

    def test_an_operators_own_map_is_read(self, tmp_path):
        path = tmp_path / "own.toml"
        path.write_text(
            'name="x"\nsource="manual"\nfunction="holding"\nimport_wh={address=1,kind="uint64",scale="0.1"}'
        )
        assert load_map(str(path)).decode(load_map(str(path)).import_wh, [0, 0, 0, 25]) == Decimal("2.5")
        path.write_text('name="x"\nfunction="holding"')
        with pytest.raises(ConfigError, match="cannot be read"):
            load_map(str(path))


class TestShelly:
    async def test_a_wrong_password_is_said(self, tmp_path):
        (tmp_path / "secret").write_text("wrong")
        async with shelly_device("right") as port:
            meter = opened(
                ShellyMeter(
                    name="m", max_power_w=1, host=f"127.0.0.1:{port}", password_file=str(tmp_path / "secret")
                )
            )
            with pytest.raises(DeviceError, match="refuses the password") as caught:
                await meter.read(NOW)
            await meter.close()
        assert "wrong" not in str(caught.value)

    async def test_a_component_that_it_lacks_is_said(self):
        async with shelly_device() as port:
            meter = opened(ShellyMeter(name="m", max_power_w=1, host=f"127.0.0.1:{port}", component="pm1:0"))
            with pytest.raises(DeviceError, match=r"error 404: No handler for PM1.GetStatus"):
                await meter.read(NOW)
            await meter.close()

    @pytest.mark.parametrize("body", [b"<html>", b"", b"{}", {"result": {}}, b"x" * 70_000])
    async def test_what_is_no_answer_is_one_clear_error(self, body):
        def handle(_: Asked) -> Answer:
            return Answer(body)

        async with serve_feed(handle) as server:
            meter = opened(ShellyMeter(name="m", max_power_w=1, host=server.url.removeprefix("http://")))
            with pytest.raises(DeviceError):
                await meter.read(NOW)
            await meter.close()


async def test_sunspec_without_a_meter_says_what_there_is():
    async with sunspec_meter(common("SN")) as port:
        meter = opened(SunSpecMeter(name="m", max_power_w=1, host="127.0.0.1", port=port))
        with pytest.raises(DeviceError, match="no meter by SunSpec; it has the models 1"):
            await meter.read(NOW)
        await meter.close()


class TestMqtt:
    async def test_an_old_value_is_no_reading(self, tmp_path):
        async with mqtt("tasmota", tmp_path) as meter:
            with pytest.raises(DeviceError, match="silent for 91 s"):
                await meter.read(NOW + 91)

    async def test_without_a_broker_the_reason_is_said(self):
        async with nobody() as port:
            settings = MqttMeter(
                name="m", max_power_w=1, host="127.0.0.1", port=port, device="dev", dialect="tasmota"
            )
            meter = opened(settings)
            with pytest.raises(DeviceError, match="not been connected"):
                await meter.read(NOW)


@pytest.mark.parametrize(
    "text",
    [
        "time,import_wh\n",
        "time,import_wh\n2026-03-10T12:00:00,1\n",
        "time,import_wh\n2026-03-10T12:00:00Z,much\n",
        "time,import_wh\n2026-03-10T12:00:00Z,-1\n",
        "time,import_wh\n2026-03-10T12:00:00Z,1\n2026-03-10T12:00:00Z,2\n",
        "moment,import_wh\n2026-03-10T12:00:00Z,1\n",
    ],
)
def test_a_file_that_cannot_be_replayed_is_refused(tmp_path, text):
    path = tmp_path / "meter.csv"
    path.write_text(text)
    with pytest.raises(ConfigError):
        opened(ReplayMeter(name="m", max_power_w=1, path=str(path)))
