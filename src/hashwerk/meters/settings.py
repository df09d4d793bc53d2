"""What an operator may set about meters. One struct a kind; ``kind`` says which."""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec
from msgspec import Meta


class MeterBase(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, tag_field="kind"):
    """What all meters have."""

    name: Annotated[str, Meta(description="Shown on pages and in evidence.", min_length=1, max_length=64)]
    max_power_w: Annotated[
        float,
        Meta(
            description="What its connection can carry: a register that rises faster is not believed.", gt=0
        ),
    ]
    scope: Annotated[
        str,
        Meta(
            description="What it measures: site, feeder:F1, breaker:B1, machine:<key>, or source:<name> of a plant.",
            pattern=r"^(site|(feeder|breaker|machine|source):.+)$",
        ),
    ] = "site"
    interval_s: Annotated[int, Meta(description="Length of its settlement intervals.", ge=5, le=3_600)] = 900
    gap_s: Annotated[float, Meta(description="Silence longer than this is a gap.", gt=0)] = 120.0
    timeout_s: Annotated[float, Meta(description="Seconds it has for an answer.", gt=0, le=60)] = 3.0
    wraps_at_wh: Annotated[
        Annotated[int, Meta(gt=0)] | None,
        Meta(description="Where its registers begin again; none: as its register map says, or never."),
    ] = None
    invert: Annotated[
        bool, Meta(description="It is built in the other way round: import and export change places.")
    ] = False


class ModbusTcpMeter(MeterBase, frozen=True, kw_only=True, tag="modbus-tcp"):
    """A meter that speaks Modbus TCP, or stands behind a gateway that does."""

    host: Annotated[str, Meta(description="Its address.")]
    map: Annotated[str, Meta(description="A register map that comes with Hashwerk, or a TOML file.")]
    port: Annotated[int, Meta(description="Its port.", ge=1, le=65_535)] = 502
    unit: Annotated[int, Meta(description="Its number on the line.", ge=0, le=247)] = 1
    ratio: Annotated[
        int, Meta(description="Of current transformers, where the meter does not know it itself.", ge=1)
    ] = 1


class ModbusRtuMeter(MeterBase, frozen=True, kw_only=True, tag="modbus-rtu"):
    """A meter on a serial line. Meters on the same line are asked one after another."""

    device: Annotated[str, Meta(description="The serial port: /dev/ttyUSB0.")]
    map: Annotated[str, Meta(description="A register map that comes with Hashwerk, or a TOML file.")]
    unit: Annotated[int, Meta(description="Its number on the line.", ge=0, le=247)] = 1
    baud: Annotated[int, Meta(description="Bits a second.", ge=300)] = 9_600
    parity: Annotated[Literal["N", "E", "O"], Meta(description="Parity.")] = "N"
    stop_bits: Annotated[int, Meta(description="Stop bits.", ge=1, le=2)] = 1
    ratio: Annotated[
        int, Meta(description="Of current transformers, where the meter does not know it itself.", ge=1)
    ] = 1


class SunSpecMeter(MeterBase, frozen=True, kw_only=True, tag="sunspec"):
    """A meter by the SunSpec standard over Modbus TCP: models 201 to 204 and 211 to 214."""

    host: Annotated[str, Meta(description="Its address.")]
    port: Annotated[int, Meta(description="Its port.", ge=1, le=65_535)] = 502
    unit: Annotated[int, Meta(description="Its number on the line.", ge=0, le=247)] = 1


class ShellyMeter(MeterBase, frozen=True, kw_only=True, tag="shelly"):
    """A Shelly over HTTP: Pro 3EM, EM, Plus Plug …, and the first generation's 3EM, EM, Plug."""

    host: Annotated[str, Meta(description="Its address, with a port where it is not 80.")]
    component: Annotated[
        str,
        Meta(
            description="em:0, em1:0, switch:0 or pm1:0. First generation: emeters (all clamps), emeter:0, meter:0 (a relay's).",
            pattern=r"^((em|em1|switch|pm1|emeter|meter):[0-9]+|emeters)$",
        ),
    ] = "em:0"
    user: Annotated[str, Meta(description="The user, first generation only.")] = "admin"
    password_file: Annotated[
        str | None, Meta(description="File with its password; none: it asks for none.")
    ] = None


class MqttMeter(MeterBase, frozen=True, kw_only=True, tag="mqtt"):
    """A Shelly or a Tasmota device that speaks MQTT."""

    host: Annotated[str, Meta(description="The broker.")]
    device: Annotated[str, Meta(description="The device in the topic: shellypro3em-…, or Tasmota's topic.")]
    dialect: Annotated[
        Literal["shelly-gen1-em", "shelly-gen1-relay", "shelly", "tasmota"],
        Meta(description="What it speaks. 'shelly' is the second generation or later."),
    ]
    component: Annotated[
        str,
        Meta(
            description="For 'shelly': em:0, em1:0, switch:0 or pm1:0.",
            pattern=r"^(em|em1|switch|pm1):[0-9]+$",
        ),
    ] = "em:0"
    phases: Annotated[
        tuple[int, ...], Meta(description="For 'shelly-gen1-em': the clamps that are summed.", min_length=1)
    ] = (0, 1, 2)
    ask_every_s: Annotated[
        float, Meta(description="It is asked to speak this often; 0: it speaks when it likes.", ge=0)
    ] = 5.0
    port: Annotated[int, Meta(description="The broker's port.", ge=1, le=65_535)] = 1883
    user: Annotated[str | None, Meta(description="The user, where the broker asks for one.")] = None
    password_file: Annotated[str | None, Meta(description="File with the password.")] = None
    max_age_s: Annotated[float, Meta(description="An older value is no reading.", gt=0)] = 90.0

    def __repr__(self) -> str:
        """Leave the user out."""
        return f"MqttMeter({self.name!r}, {self.host!r}, {self.device!r})"


class ReplayMeter(MeterBase, frozen=True, kw_only=True, tag="replay"):
    """Readings from a CSV file: time, import_wh, export_wh, power_w, serial."""

    path: Annotated[str, Meta(description="The file.")]
    max_age_s: Annotated[float, Meta(description="An older row is no reading.", gt=0)] = 900.0


MeterSettings = ModbusTcpMeter | ModbusRtuMeter | SunSpecMeter | ShellyMeter | MqttMeter | ReplayMeter
