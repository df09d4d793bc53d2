"""All meters: one row a kind. A new one is a module, a struct in `settings` and a row here; a new Modbus meter is a map."""

from __future__ import annotations

from collections.abc import Sequence
from typing import assert_never

from hashwerk.clock import Clock
from hashwerk.energy.ports import Meter
from hashwerk.meters.line import ModbusLine, SerialLine
from hashwerk.meters.modbus import Modbus
from hashwerk.meters.mqtt import Mqtt
from hashwerk.meters.register_map import load_map
from hashwerk.meters.replay import Replay
from hashwerk.meters.settings import (
    MeterSettings,
    ModbusRtuMeter,
    ModbusTcpMeter,
    MqttMeter,
    ReplayMeter,
    ShellyMeter,
    SunSpecMeter,
)
from hashwerk.meters.shelly import Shelly
from hashwerk.meters.sunspec import SunSpec


def open_meters(settings: Sequence[MeterSettings], clock: Clock) -> tuple[Meter, ...]:
    """Return the meters that settings describe, in their order; those on one line share its connection.

    A meter that listens (`Mqtt`) has a method `run` besides.

    Raises:
        ConfigError: If a register map, a password or a file cannot be read.
    """
    lines: dict[str, ModbusLine] = {}
    return tuple(_open(one, clock, lines) for one in settings)


def _open(settings: MeterSettings, clock: Clock, lines: dict[str, ModbusLine]) -> Meter:
    match settings:
        case ModbusTcpMeter() | ModbusRtuMeter():
            return Modbus(
                settings.name,
                _line(settings, lines),
                settings.unit,
                load_map(settings.map),
                ratio=settings.ratio,
                invert=settings.invert,
            )
        case SunSpecMeter():
            return SunSpec(settings)
        case ShellyMeter():
            return Shelly(settings)
        case MqttMeter():
            return Mqtt(settings, clock)
        case ReplayMeter():
            return Replay(settings)
        case _:
            assert_never(settings)


def wraps_at_wh(settings: MeterSettings) -> int | None:
    """Return where a meter's registers begin again: as set, else as its register map says."""
    if settings.wraps_at_wh is not None:
        return settings.wraps_at_wh
    if isinstance(settings, ModbusTcpMeter | ModbusRtuMeter):
        return load_map(settings.map).wraps_at_wh
    return None


def _line(settings: ModbusTcpMeter | ModbusRtuMeter, lines: dict[str, ModbusLine]) -> ModbusLine:
    if isinstance(settings, ModbusTcpMeter):
        name = f"{settings.host}:{settings.port}"
        tcp, serial = (settings.host, settings.port), None
    else:
        name, tcp = settings.device, None
        serial = SerialLine(
            device=settings.device,
            baud=settings.baud,
            parity=settings.parity,
            stop_bits=settings.stop_bits,
        )
    if name not in lines:
        lines[name] = ModbusLine(name, timeout_s=settings.timeout_s, tcp=tcp, serial=serial)
    return lines[name]
