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

Kind = Literal["float32", "float64", "int16", "uint16", "int32", "uint32", "int64", "uint64", "text"]

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
    length: int = 1  # of text, in registers
    function: Literal["input", "holding"] | None = None  # None: the map's

    @property
    def count(self) -> int:
        """How many registers it takes."""
        return self.length if self.kind == "text" else _KINDS[self.kind][0]


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
    unknown: Literal["greatest"] | None = None  # "greatest": the greatest whole number stands for: not known

    def __post_init__(self) -> None:
        """Refuse text where a number is wanted."""
        for name, field in self.fields().items():
            if field.kind == "text" and name != "serial":
                raise ValueError(f"{name} is a number and cannot be text")

    def fields(self) -> dict[str, Field]:
        """Return what the map has, by name."""
        named = {
            "power_w": self.power_w,
            "import_wh": self.import_wh,
            "export_wh": self.export_wh,
            "serial": self.serial,
        }
        return {name: field for name, field in named.items() if field is not None}

    def decode(self, field: Field, registers: Sequence[int]) -> Decimal | None:
        """Return a value in W or Wh; None where the meter says that it does not know it.

        Raises:
            DeviceError: If the registers are too few.
        """
        size, layout = _KINDS[field.kind]
        ordered = self._ordered(field, registers)
        value = struct.unpack(layout, struct.pack(f">{size}H", *ordered))[0]
        if isinstance(value, float):
            if not math.isfinite(value):
                return None
            # The shortest decimal that is this float is what the meter counted: 0.077 kWh, not 0.07699999958.
            shortest = str(np.float32(value)) if field.kind == "float32" else repr(value)
            return Decimal(shortest) * field.scale
        return None if self.is_unknown(field, value) else Decimal(value) * field.scale

    def decode_serial(self, registers: Sequence[int]) -> str | None:
        """Return the serial number, a number or text; None where there is none.

        Raises:
            DeviceError: If the registers are too few.
        """
        assert self.serial is not None
        if self.serial.kind != "text":
            number = self.decode(self.serial, registers)
            return None if number is None else str(int(number))
        ordered = self._ordered(self.serial, registers)
        raw = struct.pack(f">{len(ordered)}H", *ordered)
        text = raw.partition(b"\0")[0].decode("ascii", errors="replace").strip()
        return text if text.isprintable() and text else None

    def is_unknown(self, field: Field, value: int) -> bool:
        """Whether a whole number stands for a value that the meter does not have."""
        if self.unknown is None:
            return False
        bits = 16 * field.count - (1 if field.kind.startswith("int") else 0)
        return value == (1 << bits) - 1

    def encode(self, field: Field, value: Decimal | str) -> list[int]:
        """Return the registers of a value: what a twin answers. A register that is full begins again."""
        size = field.count
        if field.kind == "text":
            written = str(value).encode("ascii").ljust(2 * size, b"\0")[: 2 * size]
            return list(struct.unpack(f">{size}H", written))
        raw = Decimal(value) / field.scale
        if field.kind.startswith("float"):
            packed = struct.pack(_KINDS[field.kind][1], float(raw))
        else:
            packed = (int(raw) % (1 << 16 * size)).to_bytes(2 * size, "big")
        registers = list(struct.unpack(f">{size}H", packed))
        return registers if self.word_order == "big" else registers[::-1]

    def _ordered(self, field: Field, registers: Sequence[int]) -> Sequence[int]:
        """Return registers with the high word first; text is never turned round."""
        if len(registers) != field.count:
            raise DeviceError(
                f"{self.name} gives {len(registers)} registers at {field.address} instead of {field.count}"
            )
        return registers if self.word_order == "big" or field.kind == "text" else registers[::-1]


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
