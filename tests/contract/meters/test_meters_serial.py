"""Meters on a serial line: Modbus RTU over a pseudo-terminal, several on one line."""

from __future__ import annotations

import asyncio
from decimal import Decimal

import pytest

from hashwerk.clock import VirtualClock
from hashwerk.energy.ports import Meter
from hashwerk.errors import DeviceError
from hashwerk.meters.register_map import load_map
from hashwerk.meters.settings import ModbusRtuMeter
from hashwerk.meters.table import open_meters
from support.serial_meter import serial_meter

NOW = 1_773_144_000.0
POWER_W, IMPORT_WH, EXPORT_WH = 12_340.0, 5_000_500, 120_000


def registers(name: str) -> dict[int, list[int]]:
    registers = load_map(name)
    shown = {"power_w": POWER_W, "import_wh": IMPORT_WH, "export_wh": EXPORT_WH, "serial": 4711}
    return {
        field.address: registers.encode(
            field, str(shown[key]) if field.kind == "text" else Decimal(repr(shown[key]))
        )
        for key, field in registers.fields().items()
    }


def on_line(device: str, *models: tuple[int, str]) -> tuple[Meter, ...]:
    settings = [
        ModbusRtuMeter(name=f"m{unit}", max_power_w=1e6, device=device, unit=unit, map=name, timeout_s=0.5)
        for unit, name in models
    ]
    return open_meters(settings, VirtualClock(NOW))


async def test_two_models_on_one_line():
    names = {3: "eastron-sdm630", 7: "carlo-gavazzi-em24"}
    with serial_meter({unit: registers(name) for unit, name in names.items()}) as device:
        meters = on_line(device, *names.items())
        found = await asyncio.gather(*(meter.read(NOW) for meter in meters))
        await meters[0].close()
    assert [reading.power_w for reading in found] == [POWER_W, POWER_W]
    assert [reading.import_wh for reading in found] == [IMPORT_WH, IMPORT_WH]
    assert [reading.serial for reading in found] == ["4711", "4711"]


async def test_a_silent_unit_does_not_silence_its_neighbour():
    with serial_meter({3: registers("eastron-sdm630")}) as device:
        absent, present = on_line(device, (4, "eastron-sdm630"), (3, "eastron-sdm630"))
        with pytest.raises(DeviceError, match=r"m4: .* unit 4 does not answer"):
            await absent.read(NOW)
        assert (await present.read(NOW)).import_wh == IMPORT_WH
        await present.close()


async def test_a_meter_of_another_model_refuses():
    with serial_meter({3: registers("eastron-sdm630")}) as device:
        (meter,) = on_line(device, (3, "janitza-umg96rm"))
        with pytest.raises(DeviceError, match="refuses register 19068"):
            await meter.read(NOW)
        await meter.close()


async def test_a_line_that_is_not_there_is_one_clear_error(tmp_path):
    (meter,) = on_line(str(tmp_path / "ttyUSB9"), (1, "eastron-sdm630"))
    with pytest.raises(DeviceError, match="ttyUSB9"):
        await meter.read(NOW)
