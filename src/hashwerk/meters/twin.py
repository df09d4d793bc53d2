"""A meter that is none: a real Modbus server on loopback, its registers driven by whatever power it is given.

For tests, and for the demonstration mine, whose machines' power it measures.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field
from decimal import Decimal

from pymodbus.constants import ExcCodes
from pymodbus.server import ModbusTcpServer
from pymodbus.simulator import DataType, SimData, SimDevice

from hashwerk.clock import Clock
from hashwerk.meters.register_map import RegisterMap


@dataclass(slots=True)
class TwinState:
    """What the twin shows. Tests change it; owned by the task of the server."""

    import_wh: Decimal = Decimal(0)
    export_wh: Decimal = Decimal(0)
    power_w: float = 0.0
    serial: int = 1_000_001
    silent: bool = False  # it refuses every request, as a meter that is starting does


@dataclass(slots=True)
class MeterTwin:
    """A meter with the registers of a real model.

    Args:
        registers: The model's map.
        power_w: Gives the power at any moment; negative is export.
        clock: Time that energy is counted over.
        unit: Its number on the line.

    Resource handling:
        Listens on loopback only, on a port that the system chooses.
    """

    registers: RegisterMap
    power_w: Callable[[], float]
    clock: Clock
    unit: int = 1
    state: TwinState = field(default_factory=TwinState)
    port: int = 0
    _counted_s: float = 0.0
    _server: ModbusTcpServer | None = None

    async def start(self) -> None:
        """Listen; `port` then says where."""
        self._counted_s = self.clock.time()
        self.state.power_w = self.power_w()
        self._server = ModbusTcpServer(self._device(), address=("127.0.0.1", self.port))
        await self._server.serve_forever(background=True)
        listener = self._server.transport
        assert isinstance(listener, asyncio.Server)
        self.port = listener.sockets[0].getsockname()[1]

    async def stop(self) -> None:
        """Close the server and its connections."""
        if self._server is not None:
            await self._server.shutdown()  # type: ignore[no-untyped-call]
            self._server = None

    def count(self) -> None:
        """Count the energy since the last time, at the power that was shown until now."""
        now_s = self.clock.time()
        energy_wh = Decimal(repr(self.state.power_w)) * Decimal(repr(now_s - self._counted_s)) / 3_600
        if energy_wh > 0:
            self.state.import_wh += energy_wh
        else:
            self.state.export_wh -= energy_wh
        self._counted_s = now_s
        self.state.power_w = self.power_w()

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
        if self.state.silent:
            return ExcCodes.DEVICE_BUSY
        if values is not None:
            return ExcCodes.ILLEGAL_FUNCTION
        self.count()
        table = "input" if function_code == 4 else "holding"
        for name, one in self.registers.fields().items():
            if (one.function or self.registers.function) == table:
                first = one.address - start_address
                shown = (
                    Decimal(repr(getattr(self.state, name)))
                    if name == "power_w"
                    else Decimal(getattr(self.state, name))
                )
                registers[first : first + one.count] = self.registers.encode(one, shown)
        return None
