"""A SunSpec meter: a real Modbus server with the common model and one of a meter."""

from __future__ import annotations

import asyncio
import contextlib
import struct
from collections.abc import AsyncIterator

from pymodbus.server import ModbusTcpServer
from pymodbus.simulator import DataType, SimData, SimDevice

BASE = 40_000


def text(value: str, registers: int) -> list[int]:
    return list(struct.unpack(f">{registers}H", value.encode().ljust(2 * registers, b"\0")))


def common(serial: str) -> list[int]:
    """Model 1: manufacturer, model, options, version, serial number, address."""
    body = [
        *text("Test", 16),
        *text("Meter", 16),
        *text("", 8),
        *text("1.0", 8),
        *text(serial, 16),
        1,
        0x8000,
    ]
    return [1, len(body), *body]


def integers(model: int, power_w: int, export_wh: int, import_wh: int) -> list[int]:
    """Models 201 to 204: W at offset 18 with its factor, TotWhExp at 38, TotWhImp at 46, factor at 54 (from the header)."""
    body = [0x8000] * 105
    at = {
        18: [power_w // 10 & 0xFFFF],
        22: [1],
        38: wide(export_wh // 10),
        46: wide(import_wh // 10),
        54: [1],
    }
    for offset, registers in at.items():
        body[offset - 2 : offset - 2 + len(registers)] = registers
    return [model, len(body), *body]


def floats(model: int, power_w: float, export_wh: float, import_wh: float) -> list[int]:
    """Models 211 to 214: floats; W at offset 28, TotWhExp at 60, TotWhImp at 68."""
    body = [0x7FC0, 0] * 62
    for offset, value in ((28, power_w), (60, export_wh), (68, import_wh)):
        body[offset - 2 : offset] = struct.unpack(">2H", struct.pack(">f", value))
    return [model, len(body), *body]


def wide(value: int) -> list[int]:
    return [value >> 16, value & 0xFFFF]


@contextlib.asynccontextmanager
async def sunspec_meter(*models: list[int]) -> AsyncIterator[int]:
    """Run a meter with these models and give its port."""
    registers = [0x5375, 0x6E53, *(one for model in models for one in model), 0xFFFF, 0]
    data = [SimData(BASE, values=registers, datatype=DataType.REGISTERS)]
    server = ModbusTcpServer(SimDevice(1, simdata=data), address=("127.0.0.1", 0))
    await server.serve_forever(background=True)
    assert isinstance(server.transport, asyncio.Server)
    try:
        yield server.transport.sockets[0].getsockname()[1]
    finally:
        await server.shutdown()
