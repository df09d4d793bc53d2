"""A meter on a Modbus line, read by its register map."""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal

from hashwerk.energy.ports import RegisterReading
from hashwerk.errors import DeviceError
from hashwerk.meters.line import ModbusLine, RefusedError
from hashwerk.meters.register_map import Field, RegisterMap


class Modbus:
    """One meter.

    Args:
        name: Shown on pages and in evidence.
        line: The connection it stands on.
        unit: Its number there.
        registers: Its map.
        ratio: Of current transformers that the meter does not know of.
        invert: Import and export change places.
    """

    def __init__(
        self,
        name: str,
        line: ModbusLine,
        unit: int,
        registers: RegisterMap,
        *,
        ratio: int = 1,
        invert: bool = False,
    ) -> None:
        self.name = name
        self._line = line
        self._unit = unit
        self._map = registers
        self._ratio = ratio
        self._invert = invert

    async def read(self, now_s: float) -> RegisterReading:
        """Return power and registers. What the meter refuses is missing, with a doubt; imported energy must be there.

        Raises:
            DeviceError: If the meter does not answer, is busy, or shows no imported energy.
        """
        values: dict[str, Decimal] = {}
        doubts: list[str] = []
        serial: str | None = None
        for name, field in self._map.fields().items():
            try:
                registers = await self._registers(field)
            except RefusedError as error:
                if name == "import_wh":
                    raise
                doubts.append(str(error))
                continue
            if name == "serial":
                serial = self._map.decode_serial(registers)
                continue
            value = self._map.decode(field, registers)
            if value is not None:
                values[name] = value * self._ratio
        if "import_wh" not in values:
            raise DeviceError(f"{self.name} does not know what it has imported")
        return reading(
            self.name,
            now_s,
            values,
            serial=serial,
            invert=self._invert,
            ratio=self._ratio,
            doubts=doubts,
        )

    async def close(self) -> None:
        """Close the line, if it is open."""
        await self._line.close()

    async def _registers(self, field: Field) -> list[int]:
        try:
            return await self._line.read(
                self._unit, field.function or self._map.function, field.address, field.count
            )
        except DeviceError as error:
            raise type(error)(f"{self.name}: {error}") from error


def reading(
    name: str,
    now_s: float,
    values: dict[str, Decimal],
    *,
    serial: str | None,
    invert: bool,
    ratio: int = 1,
    doubts: Sequence[str] = (),
) -> RegisterReading:
    """Return a reading of values in W and Wh; registers are whole Wh, rounded down.

    Raises:
        DeviceError: If a register is negative.
    """
    power_w = values.get("power_w")
    registers = {key: values[key] for key in ("import_wh", "export_wh") if key in values}
    for key, value in registers.items():
        if value < 0:
            raise DeviceError(f"{name} says {value} for {key}")
    import_wh, export_wh = (
        None if value is None else int(value)
        for value in (registers.get("import_wh"), registers.get("export_wh"))
    )
    if invert:
        import_wh, export_wh = export_wh, import_wh
        power_w = None if power_w is None else -power_w
    return RegisterReading(
        meter=name,
        at_s=now_s,
        import_wh=import_wh,
        export_wh=export_wh,
        power_w=None if power_w is None else float(power_w),
        serial=serial,
        multiplier_ppm=ratio * 1_000_000,
        doubts=tuple(doubts),
    )
