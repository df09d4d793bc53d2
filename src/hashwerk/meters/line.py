"""One Modbus connection, shared by all meters behind it: a serial line, or a gateway's socket."""

from __future__ import annotations

import asyncio
import logging
from typing import Final

import msgspec
from pymodbus.client import AsyncModbusSerialClient, AsyncModbusTcpClient
from pymodbus.constants import ExcCodes
from pymodbus.exceptions import ModbusException

from hashwerk.errors import DeviceError

Client = AsyncModbusTcpClient | AsyncModbusSerialClient

#: What Modbus allows in one request.
MAX_REGISTERS: Final = 125
#: Answers that will not change: no such function, no such register, no such value.
_FOREVER: Final = (ExcCodes.ILLEGAL_FUNCTION, ExcCodes.ILLEGAL_ADDRESS, ExcCodes.ILLEGAL_VALUE)

# What goes wrong is told by our own errors; the library would write each of them into the log besides.
logging.getLogger("pymodbus.logging").setLevel(logging.CRITICAL)


class RefusedError(DeviceError):
    """The meter answers that it has no such register."""

    retry = False


class SerialLine(msgspec.Struct, frozen=True, kw_only=True):
    """How a serial port is set."""

    device: str
    baud: int
    parity: str
    stop_bits: int


class ModbusLine:
    """A connection that is opened when it is needed and thrown away when it fails.

    Resource handling:
        One request at a time: a serial line bears no more, and gateways mix up answers. The library's own reconnecting is
        switched off, because its rules have changed often: whoever asks again connects again.

    Cancellation:
        A cancelled request closes the connection, so that a late answer is never taken for that of the next request.
    """

    def __init__(
        self, name: str, *, timeout_s: float, tcp: tuple[str, int] | None, serial: SerialLine | None
    ) -> None:
        if (tcp is None) is (serial is None):
            raise ValueError("a line is a socket or a serial port")
        self.name = name
        self._timeout_s = timeout_s
        self._tcp = tcp
        self._serial = serial
        self._client: Client | None = None
        self._lock = asyncio.Lock()

    async def read(self, unit: int, function: str, address: int, count: int) -> list[int]:
        """Return registers.

        Raises:
            RefusedError: If the meter has no such register.
            DeviceError: If the line is dead, or the meter does not answer or is busy.
        """
        async with self._lock:
            is_done = False
            try:
                async with asyncio.timeout(self._timeout_s):
                    client = await self._connected()
                    ask = (
                        client.read_input_registers if function == "input" else client.read_holding_registers
                    )
                    reply = await ask(address, count=count, device_id=unit)
                if reply.isError():
                    is_done = True
                    code = getattr(reply, "exception_code", None)
                    kind = RefusedError if code in _FOREVER else DeviceError
                    raise kind(f"{self.name} unit {unit} refuses register {address}: {_words(code)}")
                if len(reply.registers) != count:
                    raise DeviceError(
                        f"{self.name} unit {unit} gives {len(reply.registers)} of {count} registers at {address}"
                    )
                is_done = True
                return list(reply.registers)
            except TimeoutError as error:
                raise DeviceError(
                    f"{self.name} unit {unit} does not answer within {self._timeout_s:g} s"
                ) from error
            except (ModbusException, OSError) as error:
                raise DeviceError(f"{self.name} unit {unit} cannot be read: {error}") from error
            finally:
                if not is_done:
                    self._drop()

    async def close(self) -> None:
        """Close the connection."""
        async with self._lock:
            self._drop()

    async def _connected(self) -> Client:
        if self._client is None or not self._client.connected:
            self._drop()
            self._client = self._make()
            if not await self._client.connect():
                raise DeviceError(f"{self.name} cannot be reached")
        return self._client

    def _make(self) -> Client:
        if self._tcp is not None:
            host, port = self._tcp
            return AsyncModbusTcpClient(
                host, port=port, timeout=self._timeout_s, retries=0, reconnect_delay=0
            )
        assert self._serial is not None
        return AsyncModbusSerialClient(
            self._serial.device,
            baudrate=self._serial.baud,
            parity=self._serial.parity,
            stopbits=self._serial.stop_bits,
            timeout=self._timeout_s,
            retries=0,
            reconnect_delay=0,
        )

    def _drop(self) -> None:
        if self._client is not None:
            self._client.close()
            self._client = None


def _words(code: int | None) -> str:
    """Return what an exception code means, in words."""
    known = {int(one): one.name.lower().replace("_", " ") for one in ExcCodes}
    return known.get(code or 0, f"code {code}")
