"""A simulated meter: a real Modbus server on loopback, its registers driven by whatever power it is given.

For tests, and for the demonstration mine, whose machines' power it measures. It can be made to fail as real meters do.
"""

from __future__ import annotations

import enum
import ipaddress
from collections.abc import Callable
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any, Final

from pymodbus.constants import ExcCodes
from pymodbus.server import ModbusTcpServer
from pymodbus.simulator import DataType, SimData, SimDevice

from hashwerk.clock import Clock
from hashwerk.errors import ConfigError
from hashwerk.meters.register_map import Field, RegisterMap

#: Where it shows, this says what it is.
SIMULATION: Final = "simulation"


class Trouble(enum.Enum):
    """How a meter may fail to answer."""

    BUSY = "busy"  # it refuses every request for the moment, as a meter that is starting does
    FAILURE = "failure"  # it answers that it is broken
    SILENCE = "silence"  # it takes requests and never answers


_REFUSALS: Final = {Trouble.BUSY: ExcCodes.DEVICE_BUSY, Trouble.FAILURE: ExcCodes.DEVICE_FAILURE}


@dataclass(slots=True)
class TwinState:
    """What the twin shows. Tests change it; owned by the task of the server."""

    import_wh: Decimal = Decimal(0)
    export_wh: Decimal = Decimal(0)
    power_w: float = 0.0
    serial: int = 1_000_001
    trouble: Trouble | None = None
    lacks: set[str] = field(
        default_factory=set
    )  # of power_w, export_wh, serial: what this edition does not have


@dataclass(slots=True)
class MeterTwin:
    """A meter with the registers of a real model. Everything that it shows is simulation.

    Args:
        registers: The model's map.
        power_w: Gives the power at any moment; negative is export.
        clock: Time that energy is counted over.
        energy_wh: Gives the energy taken until now, where that is known better than by adding up power: a hall's own count.
        unit: Its number on the line.
        wraps_at_wh: Where its registers begin again; None: where their bits end.

    Resource handling:
        Listens on a loopback address only; with port 0 on a port that the system chooses.
    """

    registers: RegisterMap
    power_w: Callable[[], float]
    clock: Clock
    energy_wh: Callable[[], float] | None = None
    unit: int = 1
    wraps_at_wh: int | None = None
    state: TwinState = field(default_factory=TwinState)
    host: str = "127.0.0.1"
    port: int = 0
    _counted_s: float = 0.0
    _counted_wh: Decimal = Decimal(0)
    _server: ModbusTcpServer | None = None

    async def start(self) -> None:
        """Listen; `port` then says where.

        Raises:
            ConfigError: If the address is not this computer's own, or the port cannot be had.
        """
        if not ipaddress.ip_address(self.host).is_loopback:
            raise ConfigError(f"the meter's twin keeps to 127.0.0.0/8: {self.host}")
        self._counted_s = self.clock.time()
        if self.energy_wh is not None:
            self._counted_wh = _exactly(self.energy_wh())
        self.state.power_w = self.power_w()
        self._server = ModbusTcpServer(
            self._device(), address=(self.host, self.port), trace_packet=self._swallow
        )
        try:
            await self._server.serve_forever(background=True)
        except RuntimeError as error:
            self._server = None
            raise ConfigError(f"the meter's twin cannot listen on {self.host}:{self.port}") from error
        listener: Any = self._server.transport  # the loop's own kind of server
        self.port = listener.sockets[0].getsockname()[1]

    async def stop(self) -> None:
        """Close the server and its connections."""
        if self._server is not None:
            await self._server.shutdown()  # type: ignore[no-untyped-call]
            self._server = None

    # --- what happens to meters ---

    def reset(self) -> None:
        """Set the registers back to zero, as somebody with the password can."""
        self.count()
        self.state.import_wh = self.state.export_wh = Decimal(0)

    def swap(self, *, import_wh: int = 0) -> None:
        """Put another meter in its place: another serial number, other registers."""
        self.count()
        self.state.serial += 1
        self.state.import_wh, self.state.export_wh = Decimal(import_wh), Decimal(0)

    def count(self) -> None:
        """Count the energy since the last time, at the power that was shown until now."""
        now_s, state = self.clock.time(), self.state
        if self.energy_wh is not None:
            counted_wh = _exactly(self.energy_wh())
            taken_wh, self._counted_wh = counted_wh - self._counted_wh, counted_wh
        else:
            taken_wh = _exactly(state.power_w) * _exactly(now_s - self._counted_s) / 3_600
        if taken_wh > 0:
            state.import_wh += taken_wh
        else:
            state.export_wh -= taken_wh
        if self.wraps_at_wh is not None:
            state.import_wh %= self.wraps_at_wh
            state.export_wh %= self.wraps_at_wh
        self._counted_s = now_s
        state.power_w = self.power_w()

    # --- the server ---

    def _device(self) -> SimDevice:
        blocks = {
            "holding": [SimData(0, values=0, datatype=DataType.REGISTERS)],
            "input": [SimData(0, values=0, datatype=DataType.REGISTERS)],
        }
        for one in self.registers.fields().values():
            block = blocks[one.function or self.registers.function]
            block.append(SimData(one.address, values=[0] * one.count, datatype=DataType.REGISTERS))
        coils = [SimData(0, values=False, datatype=DataType.BITS)]
        for block in blocks.values():
            block.sort(key=lambda data: data.address)
        return SimDevice(
            self.unit, simdata=(coils, coils, blocks["holding"], blocks["input"]), action=self._answer
        )

    async def _answer(  # noqa: PLR0917 - the library's signature
        self,
        function_code: int,
        start_address: int,
        address: int,
        count: int,
        registers: list[int],
        values: list[int] | list[bool] | None,
    ) -> ExcCodes | None:
        """Put the present values into the block that is about to be read."""
        if self.state.trouble in _REFUSALS:
            return _REFUSALS[self.state.trouble]
        if values is not None:
            return ExcCodes.ILLEGAL_FUNCTION
        self.count()
        table = "input" if function_code == 4 else "holding"
        for name, one in self.registers.fields().items():
            if (one.function or self.registers.function) != table:
                continue
            if name in self.state.lacks and one.address <= address < one.address + one.count:
                return ExcCodes.ILLEGAL_ADDRESS
            first = one.address - start_address
            registers[first : first + one.count] = self.registers.encode(one, self._shown(name, one))
        return None

    def _shown(self, name: str, one: Field) -> Decimal | str:
        if one.kind == "text":
            return str(self.state.serial)
        value = getattr(self.state, name)
        return _exactly(value) if isinstance(value, float) else Decimal(value)

    def _swallow(self, sending: bool, packet: bytes) -> bytes:
        return b"" if sending and self.state.trouble is Trouble.SILENCE else packet


def _exactly(value: float) -> Decimal:
    return Decimal(repr(float(value)))
