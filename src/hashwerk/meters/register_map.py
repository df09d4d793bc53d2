"""Register maps of meters, in TOML: where power, energy and the serial number stand, and how they are written."""

from __future__ import annotations

import importlib.resources
import math
import struct
import tomllib
from collections.abc import Sequence
from decimal import Decimal
from pathlib import Path
from typing import Final, Literal

import msgspec
import numpy as np

from hashwerk.errors import ConfigError, DeviceError

Kind = Literal["float32", "float64", "int16", "uint16", "int32", "uint32", "int64", "uint64"]

#: Registers of 16 bits and the format of `struct`, big-endian.
_KINDS: Final[dict[str, tuple[int, str]]] = {
    "float32": (2, ">f"),
    "float64": (4, ">d"),
    "int16": (1, ">h"),
    "uint16": (1, ">H"),
    "int32": (2, ">i"),
    "uint32": (2, ">I"),
    "int64": (4, ">q"),
    "uint64": (4, ">Q"),
}


class Field(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One value: its address on the wire (counted from 0), how it is written, and the factor to W or Wh."""

    address: int
    kind: Kind
    scale: Decimal = Decimal(1)
    function: Literal["input", "holding"] | None = None  # None: the map's

    @property
    def count(self) -> int:
        """How many registers it takes."""
        return _KINDS[self.kind][0]


class RegisterMap(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The registers of one model."""

    name: str
    source: str
    function: Literal["input", "holding"]
    import_wh: Field
    power_w: Field | None = None
    export_wh: Field | None = None
    serial: Field | None = None
    word_order: Literal["big", "little"] = "big"  # of the registers of one value
    wraps_at_wh: int | None = None

    def fields(self) -> dict[str, Field]:
        """Return what the map has, by name."""
        named = {
            "power_w": self.power_w,
            "import_wh": self.import_wh,
            "export_wh": self.export_wh,
            "serial": self.serial,
        }
        return {name: field for name, field in named.items() if field is not None}

    def decode(self, field: Field, registers: Sequence[int]) -> Decimal:
        """Return a value in W or Wh, or the serial number.

        Raises:
            DeviceError: If the registers are too few or hold no number.
        """
        size, layout = _KINDS[field.kind]
        if len(registers) != size:
            raise DeviceError(
                f"{self.name} gives {len(registers)} registers at {field.address} instead of {size}"
            )
        ordered = registers if self.word_order == "big" else tuple(reversed(registers))
        value = struct.unpack(layout, struct.pack(f">{size}H", *ordered))[0]
        if isinstance(value, float):
            if not math.isfinite(value):
                raise DeviceError(f"{self.name} says {value} at {field.address}")
            # The shortest decimal that is this float is what the meter counted: 0.077 kWh, not 0.07699999958.
            shortest = str(np.float32(value)) if field.kind == "float32" else repr(value)
            return Decimal(shortest) * field.scale
        return Decimal(value) * field.scale

    def encode(self, field: Field, value: Decimal) -> list[int]:
        """Return the registers of a value: what a twin answers. A register that is full begins again."""
        size, layout = _KINDS[field.kind]
        raw = value / field.scale
        if field.kind.startswith("float"):
            packed = struct.pack(layout, float(raw))
        else:
            bits = 16 * size
            packed = (int(raw) % (1 << bits)).to_bytes(2 * size, "big")
        registers = list(struct.unpack(f">{size}H", packed))
        return registers if self.word_order == "big" else registers[::-1]


def load_map(name: str) -> RegisterMap:
    """Return a map that comes with Hashwerk, by its name, or that of a file.

    Raises:
        ConfigError: If there is none, or it cannot be read.
    """
    try:
        if name in shipped_maps():
            folder = importlib.resources.files("hashwerk.meters") / "maps"
            text = (folder / f"{name}.toml").read_text(encoding="utf-8")
        else:
            text = Path(name).expanduser().read_text(encoding="utf-8")
        return msgspec.convert(tomllib.loads(text, parse_float=Decimal), type=RegisterMap)
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(
            f"no register map {name}: {error}; shipped ones are {', '.join(shipped_maps())}"
        ) from error
    except (tomllib.TOMLDecodeError, msgspec.ValidationError) as error:
        raise ConfigError(f"the register map {name} cannot be read: {error}") from error


def shipped_maps() -> tuple[str, ...]:
    """Return the names of the maps that come with Hashwerk."""
    folder = importlib.resources.files("hashwerk.meters") / "maps"
    return tuple(
        sorted(one.name.removesuffix(".toml") for one in folder.iterdir() if one.name.endswith(".toml"))
    )
