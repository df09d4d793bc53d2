"""The other side of every adapter for orders: an operator's own tools, real ones, on loopback."""

from __future__ import annotations

import asyncio
import contextlib
import datetime
import socket
import warnings
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any, Protocol

import aiomqtt
import msgspec
from openleadr import OpenADRServer, objects
from pymodbus.client import AsyncModbusTcpClient

from hashwerk.clock import Clock, SystemClock
from hashwerk.dispatch.orders import Cancel, Order, OrderSource
from hashwerk.grid_orders.dry_contact import DryContact
from hashwerk.grid_orders.file import File
from hashwerk.grid_orders.modbus_map import ModbusMap
from hashwerk.grid_orders.mqtt import Mqtt
from hashwerk.grid_orders.openadr import OpenAdr
from hashwerk.grid_orders.settings import (
    DryContactOrders,
    FileOrders,
    ModbusMapOrders,
    MqttOrders,
    OpenAdrOrders,
)
from support.broker import broker

WITHIN_S = 20.0


class Listening:
    """An adapter at work, and what it handed over."""

    def __init__(self, source: Any) -> None:
        self.source: Any = source
        self.heard: list[Order | Cancel] = []
        self._news = asyncio.Event()
        self._task: asyncio.Task[None] | None = None

    def receive(self, message: Order | Cancel) -> None:
        self.heard.append(message)
        self._news.set()

    def start(self) -> None:
        self._task = asyncio.create_task(self.source.listen(self.receive))

    async def stop(self) -> None:
        assert self._task is not None
        self._task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await self._task

    async def count(self, number: int) -> Order | Cancel:
        """Wait until so many messages were handed over; return the newest."""
        async with asyncio.timeout(WITHIN_S):
            while len(self.heard) < number:
                self._news.clear()
                assert self._task is not None
                waiting = asyncio.ensure_future(self._news.wait())
                await asyncio.wait({waiting, self._task}, return_when=asyncio.FIRST_COMPLETED)
                waiting.cancel()
                if self._task.done():
                    self._task.result()
        assert len(self.heard) == number, self.heard
        return self.heard[-1]


async def until(holds: Callable[[], Awaitable[bool]]) -> None:
    """Wait for a condition."""
    async with asyncio.timeout(WITHIN_S):
        while not await holds():  # noqa: ASYNC110 - it stands outside this process, or counts
            await asyncio.sleep(0.02)


class Operator(Protocol):
    """What every operator can do."""

    kinds: tuple[str, ...]  # of orders that it can give

    def source(self) -> OrderSource: ...
    async def ready(self, source: Any) -> None: ...
    async def order(self, kind: str, kw: float | None, minutes: int | None) -> None: ...
    async def change(self, kw: float) -> None: ...
    async def repeat(self) -> None: ...
    async def garbage(self, source: Any) -> None: ...
    async def cancel(self) -> None: ...
    async def is_told(self, watts: float) -> bool: ...


class FileOperator:
    kinds = ("reduce to", "reduce by", "all")

    def __init__(self, folder: Path, clock: Clock) -> None:
        self._path, self._memory, self._clock = folder / "orders.toml", folder / "memory.json", clock
        self._text, self._number = "", 0

    def source(self) -> OrderSource:
        return File(FileOrders(name="file", path=str(self._path), every_s=0.02), self._clock, self._memory)

    async def ready(self, source: Any) -> None:
        """A file is there or not."""

    def _say(self, text: str) -> None:
        self._text = text
        self._path.write_text(text)

    async def order(self, kind: str, kw: float | None, minutes: int | None) -> None:
        self._number += 1
        self._say(
            f'id = "{self._number}"\nkind = "{kind}"\n'
            + (f"amount_kw = {kw}\n" if kw is not None else "")
            + (f"minutes = {minutes}\n" if minutes else "")
        )

    async def change(self, kw: float) -> None:
        lines = self._text.splitlines()
        self._say("\n".join(f"amount_kw = {kw}" if line.startswith("amount") else line for line in lines))

    async def repeat(self) -> None:
        self._say(self._text + "\n# the same again\n")

    async def garbage(self, source: Any) -> None:
        self._path.write_text('id = "x"\nkind = "do something"\n')

    async def cancel(self) -> None:
        self._path.unlink()

    async def is_told(self, watts: float) -> bool:
        answer = self._path.with_name("orders.toml.answer")
        return answer.exists() and msgspec.json.decode(answer.read_bytes())["import_w"] == watts


class MqttOperator:
    kinds = ("reduce to", "reduce by", "all")

    def __init__(self, folder: Path, clock: Clock, port: int, client: aiomqtt.Client) -> None:
        self._memory, self._clock, self._port, self._client = folder / "memory.json", clock, port, client
        self._body: dict[str, Any] = {}
        self._number = 0
        self.telemetry: list[Any] = []
        self.acks: list[Any] = []

    async def listen(self) -> None:
        await self._client.subscribe("grid/orders/#")
        async for message in self._client.messages:
            if str(message.topic).endswith("/telemetry"):
                self.telemetry.append(msgspec.json.decode(message.payload))
            elif str(message.topic).endswith("/ack"):
                self.acks.append(msgspec.json.decode(message.payload))

    def source(self) -> OrderSource:
        settings = MqttOrders(
            name="mqtt", host="127.0.0.1", port=self._port, topic="grid/orders", retry_s=0.1
        )
        return Mqtt(settings, self._clock, self._memory)

    async def ready(self, source: Any) -> None:
        """The broker keeps what is said."""

    async def _say(self, payload: bytes) -> None:
        await self._client.publish("grid/orders", payload, qos=1, retain=True)

    async def order(self, kind: str, kw: float | None, minutes: int | None) -> None:
        self._number += 1
        body = {"id": str(self._number), "kind": kind, "amount_kw": kw, "minutes": minutes}
        self._body = {key: value for key, value in body.items() if value is not None}
        await self.repeat()

    async def change(self, kw: float) -> None:
        self._body["amount_kw"] = kw
        await self.repeat()

    async def repeat(self) -> None:
        await self._say(msgspec.json.encode(self._body))

    async def garbage(self, source: Any) -> None:
        for payload in (
            b"\xff\x00",
            b"[" * 5_000,
            b'{"id":"x","kind":"reduce to","amount_kw":-1}',
            b"x" * 20_000,
        ):
            await self._say(payload)

    async def cancel(self) -> None:
        await self._say(msgspec.json.encode({"id": str(self._number), "kind": "cancel"}))

    async def is_told(self, watts: float) -> bool:
        return any(one["import_w"] == watts for one in self.telemetry)


class RtuOperator:
    kinds = ("reduce to", "reduce by", "all")

    def __init__(self, folder: Path, clock: Clock) -> None:
        self._memory, self._clock = folder / "memory.json", clock
        self.client: AsyncModbusTcpClient | None = None

    def source(self) -> OrderSource:
        return ModbusMap(ModbusMapOrders(name="rtu", port=0), self._clock, self._memory)

    async def ready(self, source: Any) -> None:
        await asyncio.wait_for(source.listening.wait(), WITHIN_S)
        if self.client is not None:
            self.client.close()
        self.client = AsyncModbusTcpClient("127.0.0.1", port=source.port, reconnect_delay=0)
        assert await self.client.connect()

    async def write(self, address: int, values: list[int]) -> bool:
        assert self.client is not None
        reply = await self.client.write_registers(address, values)
        return not reply.isError()

    async def order(self, kind: str, kw: float | None, minutes: int | None) -> None:
        mode = {"reduce to": 1, "reduce by": 2, "all": 3}[kind]
        assert await self.write(100, [0, int(kw or 0), mode, minutes or 0])
        assert await self.write(105, [1])

    async def change(self, kw: float) -> None:
        assert await self.write(101, [int(kw)])
        assert await self.write(105, [1])

    async def repeat(self) -> None:
        assert await self.write(105, [1])

    async def garbage(self, source: Any) -> None:
        assert self.client is not None
        before = list((await self.client.read_holding_registers(100, count=6)).registers)
        assert not await self.write(100, [0x7FFF, 0xFFFF, 1, 0, 0, 1])  # far too much
        assert not await self.write(100, [0, 5, 77, 0, 0, 1])  # no such mode
        assert not await self.write(4_000, [1])
        assert not await self.write(105, [9])
        reader, writer = await asyncio.open_connection("127.0.0.1", source.port)
        writer.write(b"GET / HTTP/1.1\r\n\r\n")
        assert await reader.read() == b""
        writer.close()
        await writer.wait_closed()
        assert await self.write(100, before[:5])

    async def cancel(self) -> None:
        assert await self.write(105, [0])

    async def is_told(self, watts: float) -> bool:
        assert self.client is not None
        high, low = (await self.client.read_input_registers(0, count=2)).registers
        return bool((high << 16 | low) == watts)


class IoModule:
    """A Modbus module with one input and one coil."""

    def __init__(self) -> None:
        self.closed = False
        self.coil = False
        self.is_broken = False
        self.reads = 0

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while True:
                head = await reader.readexactly(7)
                body = await reader.readexactly(int.from_bytes(head[4:6]) - 1)
                if self.is_broken:
                    return
                self.reads += 1
                answer = bytes((body[0], 1, self.closed))
                if body[0] == 5:
                    self.coil, answer = body[3] == 0xFF, body
                writer.write(head[:4] + (len(answer) + 1).to_bytes(2) + head[6:7] + answer)
                await writer.drain()
        except (asyncio.IncompleteReadError, ConnectionError):
            return
        finally:
            writer.close()


class ContactOperator:
    kinds = ("reduce to",)

    def __init__(self, folder: Path, clock: Clock, module: IoModule, port: int) -> None:
        self._memory, self._clock, self._port = folder / "memory.json", clock, port
        self.module = module

    def source(self, **more: Any) -> OrderSource:
        settings = DryContactOrders(
            name="contact",
            host="127.0.0.1",
            port=self._port,
            address=3,
            every_s=0.01,
            debounce_s=0.05,
            answer_coil=7,
            **({"reduce_to_kw": 500.0} | more),
        )
        return DryContact(settings, self._clock, self._memory)

    async def ready(self, source: Any) -> None:
        """The module is always there."""

    async def order(self, kind: str, kw: float | None, minutes: int | None) -> None:
        self.module.closed = True

    async def change(self, kw: float) -> None:
        """A contact has nothing to say besides."""

    async def repeat(self) -> None:
        before = self.module.reads
        await until(lambda: _true(self.module.reads > before + 10))

    async def garbage(self, source: Any) -> None:
        self.module.is_broken = True
        await self.repeat_broken()
        self.module.is_broken = False

    async def repeat_broken(self) -> None:
        await asyncio.sleep(0)

    async def cancel(self) -> None:
        self.module.closed = False

    async def is_told(self, watts: float) -> bool:
        return self.module.coil


async def _true(value: bool) -> bool:
    return value


def _vtn(**settings: Any) -> Any:
    with warnings.catch_warnings():  # openleadr's server keys its application by strings
        warnings.simplefilter("ignore")
        return OpenADRServer(**settings)


class VtnOperator:
    """A VTN of openleadr."""

    kinds = ("reduce to", "reduce by", "all")

    def __init__(self, folder: Path, clock: Clock, port: int, *, tls: dict[str, str] | None = None) -> None:
        self._memory, self._clock, self._port = folder / "memory.json", clock, port
        self._number = 0
        self.reports: list[float] = []
        self.answers: list[tuple[str, str]] = []
        self._tls = tls
        keys: dict[str, Any] = {}
        if tls is not None:  # messages are signed with the server's own certificate
            keys = {
                "http_cert": tls["server"], "http_key": tls["server_key"], "http_ca_file": tls["ca"],
                "cert": tls["server"], "key": tls["server_key"],
            }  # fmt: skip
        fingerprint = None if tls is None else tls["client_fingerprint"]
        self.vtn: Any = _vtn(
            vtn_id="VTN1", http_port=port, show_fingerprint=False, requested_poll_freq=datetime.timedelta(seconds=1),
            ven_lookup=lambda ven_id: {
                "ven_id": ven_id, "ven_name": "mine", "registration_id": "reg-1", "fingerprint": fingerprint
            },
            verify_message_signatures=tls is not None, **keys,
        )  # fmt: skip
        self.vtn.add_handler("on_create_party_registration", self._register)
        self.vtn.add_handler("on_register_report", self._offered)

    async def _register(self, info: Any) -> tuple[str, str]:
        return "ven-1", "reg-1"

    async def _offered(
        self,
        ven_id: str,
        resource_id: str,
        measurement: str,
        unit: str,
        scale: str,
        min_sampling_interval: datetime.timedelta,
        max_sampling_interval: datetime.timedelta,
    ) -> Any:
        assert (resource_id, unit) == ("mine", "W")

        async def take(data: Any) -> None:
            self.reports += [value for _, value in data]

        return take, datetime.timedelta(seconds=1)

    def source(self, **other: Any) -> OrderSource:
        more: dict[str, Any] = {"url": f"http://127.0.0.1:{self._port}/OpenADR2/Simple/2.0b"}
        if self._tls is not None:
            more = {
                "url": f"https://localhost:{self._port}/OpenADR2/Simple/2.0b",
                "certificate": self._tls["client"], "key": self._tls["client_key"], "ca_file": self._tls["ca"],
                "vtn_fingerprint": self._tls["server_fingerprint"],
            }  # fmt: skip
        settings = OpenAdrOrders(
            name="openadr", ven_name="mine", poll_s=0.05, levels_kw={"1": 300.0}, **(more | other)
        )
        return OpenAdr(settings, self._clock, self._memory, retry_s=0.2)

    async def ready(self, source: Any) -> None:
        """A VEN asks when it is there."""

    def add(
        self, name: str, kind: str, value: float, minutes: int, *, is_test: bool = False, **more: Any
    ) -> str:
        self._number += 1
        event_id = f"event-{self._number}"
        start = datetime.datetime.now(datetime.UTC).replace(microsecond=0)

        def answered(ven_id: str, event_id: str, opt_type: str) -> None:
            self.answers.append((event_id, opt_type))

        signal = objects.EventSignal(
            signal_name=name, signal_type=kind, signal_id="s1",
            intervals=[objects.Interval(dtstart=start, duration=datetime.timedelta(minutes=minutes), signal_payload=value)],
            **more,
        )  # fmt: skip
        event = objects.Event(
            event_descriptor=objects.EventDescriptor(
                event_id=event_id, modification_number=0, market_context="oadr://grid.example",
                event_status="far", created_date_time=start, test_event=is_test,
            ),
            event_signals=[signal],
            targets=[objects.Target(ven_id="ven-1")],
        )  # fmt: skip
        self.vtn.add_raw_event("ven-1", event, callback=answered)
        return event_id

    async def order(self, kind: str, kw: float | None, minutes: int | None) -> None:
        if kind == "all":
            self.add("SIMPLE", "level", 3, minutes or 60)
        elif kind == "reduce to":
            self.add("LOAD_DISPATCH", "setpoint", kw or 0.0, minutes or 60)
        else:
            self.add("LOAD_DISPATCH", "delta", -(kw or 0.0), minutes or 60)

    def _event(self) -> Any:
        return self.vtn.events["ven-1"][-1]

    async def change(self, kw: float) -> None:
        event = self._event()
        event.event_signals[0].intervals[0].signal_payload = kw
        event.event_descriptor.modification_number += 1
        self.vtn.events_updated["ven-1"] = True

    async def repeat(self) -> None:
        self.vtn.events_updated["ven-1"] = True

    async def garbage(self, source: Any) -> None:
        self.add("ELECTRICITY_PRICE", "price", 9.0, 60)
        refused = (f"event-{self._number}", "optOut")
        await until(lambda: _true(refused in self.answers))
        self.vtn.events["ven-1"].pop()
        self._number -= 1

    async def cancel(self) -> None:
        self.vtn.cancel_event("ven-1", f"event-{self._number}")

    async def is_told(self, watts: float) -> bool:
        return watts in self.reports


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as probe:
        return int(probe.getsockname()[1])


@contextlib.asynccontextmanager
async def vtn(folder: Path, tls: dict[str, str] | None = None) -> AsyncIterator[VtnOperator]:
    operator = VtnOperator(folder, SystemClock(), free_port(), tls=tls)
    await operator.vtn.run()
    try:
        yield operator
    finally:
        await operator.vtn.stop()


@contextlib.asynccontextmanager
async def contact(folder: Path) -> AsyncIterator[ContactOperator]:
    module = IoModule()
    server = await asyncio.start_server(module.serve, "127.0.0.1", 0)
    try:
        yield ContactOperator(folder, SystemClock(), module, server.sockets[0].getsockname()[1])
    finally:
        server.close()


@contextlib.asynccontextmanager
async def operator_of(kind: str, folder: Path) -> AsyncIterator[Any]:
    """Give an operator of a kind."""
    clock = SystemClock()
    if kind == "file":
        yield FileOperator(folder, clock)
    elif kind == "modbus":
        rtu = RtuOperator(folder, clock)
        yield rtu
        if rtu.client is not None:
            rtu.client.close()
    elif kind == "dry-contact":
        async with contact(folder) as one:
            yield one
    elif kind == "openadr":
        async with vtn(folder) as one:
            yield one
    else:
        async with broker(folder) as port, aiomqtt.Client("127.0.0.1", port) as client:
            operator = MqttOperator(folder, clock, port, client)
            task = asyncio.create_task(operator.listen())
            yield operator
            task.cancel()
            await asyncio.wait([task])
