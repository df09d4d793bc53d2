"""Notices reach a webhook and a real broker, with discovery by Home Assistant, and find both again when they were gone."""

from __future__ import annotations

import asyncio
import contextlib
import json
import shutil
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiomqtt
import pytest

from hashwerk.fleet.alerts import Alert, Notice, NoticeKind
from hashwerk.fleet.causes import CauseKind
from hashwerk.fleet.settings import MqttSettings
from hashwerk.site.fleet.channels import MqttChannel, WebhookChannel, slug
from support.fleet_hall import until

MOSQUITTO = shutil.which("mosquitto") or shutil.which("mosquitto", path="/usr/sbin:/usr/local/sbin")
ALERT = Alert(
    id="a-1",
    kind=CauseKind.HEAT,
    subject="mac:aa",
    part="",
    title="too hot",
    text="its hottest chip has 99 °C",
    machines=("mac:aa",),
    since=100.0,
    told_at=120.0,
)
NOTICE = Notice(kind=NoticeKind.RAISED, at=120.0, text="mac:aa: its hottest chip has 99 °C", alert=ALERT)
SUMS: dict[str, Any] = {
    "power_w": 4_200,
    "hashrate_ths": 240.5,
    "hashing": 3,
    "asleep": 0,
    "unreachable": 0,
    "alerts": 1,
    "problem": "ON",
}
MACHINE = {
    "mac_aa": ("Avalon Q aa", {"power_w": 1_400, "hashrate_ths": 80.7, "state": "hashing", "problem": "ON"})
}


def free_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        port: int = found.getsockname()[1]
        return port


@asynccontextmanager
async def broker(folder: Path, port: int) -> AsyncIterator[None]:
    """Run a real mosquitto."""
    if MOSQUITTO is None:
        pytest.skip("mosquitto is not installed")
    config = folder / "mosquitto.conf"
    config.write_text(f"listener {port} 127.0.0.1\nallow_anonymous true\npersistence false\n")
    process = await asyncio.create_subprocess_exec(
        MOSQUITTO, "-c", str(config), stdout=asyncio.subprocess.DEVNULL, stderr=asyncio.subprocess.DEVNULL
    )
    try:
        async with asyncio.timeout(10):
            while True:
                with contextlib.suppress(OSError):
                    _, writer = await asyncio.open_connection("127.0.0.1", port)
                    writer.close()
                    break
                await asyncio.sleep(0.02)
        yield
    finally:
        process.terminate()
        await process.wait()


class Listener:
    """Keeps the last message of every topic."""

    def __init__(self, port: int) -> None:
        self.port = port
        self.last: dict[str, Any] = {}
        self.seen: list[tuple[str, Any]] = []

    async def run(self) -> None:
        async with aiomqtt.Client("127.0.0.1", self.port) as client:
            await client.subscribe("#", qos=1)
            async for message in client.messages:
                payload = bytes(message.payload)  # type: ignore[arg-type]
                try:
                    value = json.loads(payload) if payload else None
                except ValueError:
                    value = payload.decode()
                self.last[str(message.topic)] = value
                self.seen.append((str(message.topic), value))


async def test_home_assistant_learns_of_the_mine_and_of_every_alert(tmp_path: Path) -> None:
    port = free_port()
    channel = MqttChannel(MqttSettings(host="127.0.0.1", port=port), "Test Mine")
    channel.show(SUMS, MACHINE, [ALERT])  # before there is a broker
    channel.tell(NOTICE)
    running = asyncio.create_task(channel.run())
    try:
        async with broker(tmp_path, port):
            listener = Listener(port)
            hearing = asyncio.create_task(listener.run())
            last = listener.last
            base = "hashwerk/test_mine"
            await until(lambda: f"{base}/notice" in last, "the notice arrives")
            assert last[f"{base}/availability"] == "online"
            assert last[f"{base}/state"] == SUMS
            assert last[f"{base}/machines/mac_aa/state"]["power_w"] == 1_400
            assert last[f"{base}/alerts/a-1"]["title"] == "too hot"
            assert last[f"{base}/notice"]["text"] == NOTICE.text
            power = last["homeassistant/sensor/hashwerk_test_mine_site_power_w/config"]
            assert power["state_topic"] == f"{base}/state"
            assert power["value_template"] == "{{ value_json.power_w }}"
            assert (power["unit_of_measurement"], power["device_class"]) == ("W", "power")
            problem = last["homeassistant/binary_sensor/hashwerk_test_mine_mac_aa_problem/config"]
            assert problem["device"]["via_device"] == "hashwerk_test_mine"
            assert (problem["payload_on"], problem["payload_off"]) == ("ON", "OFF")
            unique = [
                value["unique_id"] for topic, value in last.items() if topic.startswith("homeassistant/")
            ]
            assert len(unique) == len(set(unique)) == 11
            channel.show(SUMS | {"alerts": 0, "problem": "OFF"}, MACHINE, [])
            await until(lambda: last[f"{base}/alerts/a-1"] is None, "an alert that is over is taken back")
            assert last[f"{base}/state"]["problem"] == "OFF"
            sent = len(listener.seen)
            channel.show(SUMS | {"alerts": 0, "problem": "OFF"}, MACHINE, [])
            channel.tell(NOTICE)
            await until(lambda: len(listener.seen) == sent + 1, "the second notice")
            assert listener.seen[-1][0] == f"{base}/notice", "what did not change is not sent again"
            channel.show(
                SUMS | {"alerts": 0, "problem": "OFF"}, {}, []
            )  # more machines than are shown singly
            config = "homeassistant/binary_sensor/hashwerk_test_mine_mac_aa_problem/config"
            await until(lambda: last[config] is None, "nobody takes an old state for the present one")
            await until(lambda: last[f"{base}/machines/mac_aa/state"] is None, "nor is it kept")
            channel.show(SUMS | {"alerts": 0, "problem": "OFF"}, MACHINE, [])
            await until(lambda: last[config] is not None, "it is shown again")
            running.cancel()
            await asyncio.gather(running, return_exceptions=True)
            await until(lambda: last[f"{base}/availability"] == "offline", "it says good-bye")
            hearing.cancel()
            await asyncio.gather(hearing, return_exceptions=True)
    finally:
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)


async def test_a_webhook_is_tried_again_and_gets_json() -> None:
    bodies: list[Any] = []
    answers = ["503 Service Unavailable", "204 No Content"]

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = await reader.readuntil(b"\r\n\r\n")
        size = int(
            next(line for line in head.split(b"\r\n") if line.lower().startswith(b"content-length"))[15:]
        )
        bodies.append(json.loads(await reader.readexactly(size)))
        writer.write(
            f"HTTP/1.1 {answers[len(bodies) - 1]}\r\ncontent-length: 0\r\nconnection: close\r\n\r\n".encode()
        )
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    channel = WebhookChannel(f"http://127.0.0.1:{port}/alerts", "Test Mine")
    running = asyncio.create_task(channel.run())
    channel.tell(NOTICE)
    await until(lambda: len(bodies) == 2, "the second attempt")
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)
    server.close()
    assert bodies[0] == bodies[1]
    assert bodies[0]["site"] == "Test Mine"
    assert bodies[0]["alert"]["kind"] == "heat"
    assert bodies[0]["kind"] == "raised"


def test_names_are_fit_for_topics() -> None:
    assert slug("Halle A / Süd #3") == "halle_a_s_d_3"
    assert slug("+/#") == "mine"
