"""What holds of the inbound Modbus server besides: who may connect, halves of a set-point, and the master's silence."""

from __future__ import annotations

import asyncio
import contextlib
from pathlib import Path

import pytest
from pymodbus.client import AsyncModbusTcpClient

from hashwerk.clock import SystemClock
from hashwerk.dispatch.orders import Cancel, Order, OrderKind
from hashwerk.grid_orders.modbus_map import ModbusMap
from hashwerk.grid_orders.modbus_registers import Status
from hashwerk.grid_orders.settings import ModbusMapOrders
from support.grid_operators import WITHIN_S, Listening, RtuOperator


async def test_nothing_takes_effect_before_the_activation(tmp_path: Path) -> None:
    operator = RtuOperator(tmp_path, SystemClock())
    listening = Listening(operator.source())
    listening.start()
    await operator.ready(listening.source)
    assert await operator.write(100, [1])  # half of a set-point
    assert await operator.write(101, [0x86A0])  # and the other: 100,000 kW
    assert await operator.write(102, [1])
    assert listening.heard == []
    assert await operator.write(105, [1])
    order = await listening.count(1)
    assert isinstance(order, Order)
    assert order.amount_w == 100_000_000.0
    assert operator.client is not None
    operator.client.close()
    await listening.stop()


async def test_a_stranger_is_not_answered(tmp_path: Path) -> None:
    settings = ModbusMapOrders(name="rtu", port=0, masters=("192.0.2.0/24",))
    listening = Listening(ModbusMap(settings, SystemClock(), None))
    listening.start()
    await asyncio.wait_for(listening.source.listening.wait(), WITHIN_S)
    reader, writer = await asyncio.open_connection("127.0.0.1", listening.source.port)
    with contextlib.suppress(ConnectionError):
        assert await asyncio.wait_for(reader.read(), WITHIN_S) == b""
    writer.close()
    with contextlib.suppress(ConnectionError):
        await writer.wait_closed()
    await listening.stop()


@pytest.mark.parametrize("on_silence", ["release", "reduce"])
async def test_a_silent_master_means_what_was_declared(on_silence: str, tmp_path: Path) -> None:
    settings = ModbusMapOrders(
        name="rtu", port=0, silent_after_s=0.5, on_silence=on_silence, silent_kw=20.0  # type: ignore[arg-type]
    )  # fmt: skip
    listening = Listening(ModbusMap(settings, SystemClock(), tmp_path / "memory.json"))
    listening.start()
    await asyncio.wait_for(listening.source.listening.wait(), WITHIN_S)
    client = AsyncModbusTcpClient("127.0.0.1", port=listening.source.port, reconnect_delay=0)
    assert await client.connect()
    if on_silence == "release":
        await client.write_registers(100, [0, 500, 1, 0, 7, 1])
        given = await listening.count(1)
        ended = await listening.count(2)
        assert isinstance(ended, Cancel)
        assert ended.id == given.id
    else:
        order = await listening.count(1)
        assert isinstance(order, Order)
        assert (order.kind, order.amount_w) == (OrderKind.REDUCE_TO, 20_000.0)
        status = (await client.read_input_registers(8, count=1)).registers[0]
        assert status == Status.MASTER_SILENT
        await client.write_registers(104, [8])
        assert isinstance(await listening.count(2), Cancel)
    client.close()
    await listening.stop()
