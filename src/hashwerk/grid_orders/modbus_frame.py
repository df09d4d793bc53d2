"""Modbus TCP as a server speaks it, four functions of it (MODBUS Application Protocol V1.1b3, Messaging on TCP/IP V1.0b)."""

from __future__ import annotations

import asyncio
import logging
import struct
from collections.abc import Sequence
from typing import Final, Protocol

log = logging.getLogger(__name__)

_HEADER: Final = struct.Struct(">HHHB")  # transaction, protocol, length with the unit, unit
_READ_HOLDING, _READ_INPUT, _WRITE_ONE, _WRITE_MANY = 3, 4, 6, 16
_MAX_READ, _MAX_WRITE = 125, 123
#: A master that says nothing for so long is disconnected, so that a dead one does not hold a place.
_IDLE_S: Final = 600.0

ILLEGAL_FUNCTION, ILLEGAL_ADDRESS, ILLEGAL_VALUE, DEVICE_FAILURE = 1, 2, 3, 4


class RegisterError(Exception):
    """A request is refused, with Modbus' code of an exception."""

    def __init__(self, code: int) -> None:
        super().__init__(f"exception {code}")
        self.code = code


class Registers(Protocol):
    """What stands behind the server."""

    def read(self, address: int, count: int) -> Sequence[int]:
        """Return registers. Raises `RegisterError`."""
        ...

    def write(self, address: int, values: Sequence[int]) -> None:
        """Set registers, all or none. Raises `RegisterError`."""
        ...


async def serve_master(
    reader: asyncio.StreamReader, writer: asyncio.StreamWriter, registers: Registers, unit: int
) -> None:
    """Answer one master until it goes, or says what is no Modbus."""
    while True:
        try:
            async with asyncio.timeout(_IDLE_S):
                header = await reader.readexactly(_HEADER.size)
                transaction, protocol, length, asked = _HEADER.unpack(header)
                if protocol != 0 or not 2 <= length <= 254:
                    log.warning("a Modbus master says what is no Modbus TCP: it is disconnected")
                    return
                body = await reader.readexactly(length - 1)
        except (asyncio.IncompleteReadError, ConnectionError, TimeoutError):
            return
        if asked != unit:
            continue  # another device's; a gateway would pass it on
        answer = answer_to(body, registers)
        writer.write(_HEADER.pack(transaction, 0, len(answer) + 1, unit) + answer)
        try:
            await writer.drain()
        except ConnectionError:
            return


def answer_to(body: bytes, registers: Registers) -> bytes:
    """Return the answer to a request, both without the header."""
    function = body[0]
    try:
        if function in (_READ_HOLDING, _READ_INPUT):
            address, count = _two(body)
            if not 1 <= count <= _MAX_READ:
                raise RegisterError(ILLEGAL_VALUE)
            values = registers.read(address, count)
            return struct.pack(f">BB{count}H", function, 2 * count, *values)
        if function == _WRITE_ONE:
            address, value = _two(body)
            registers.write(address, [value])
            return body
        if function == _WRITE_MANY:
            address, values = _many(body)
            registers.write(address, values)
            return body[:5]
        raise RegisterError(ILLEGAL_FUNCTION)
    except RegisterError as error:
        return bytes((function & 0x7F | 0x80, error.code))


def _two(body: bytes) -> tuple[int, int]:
    if len(body) != 5:
        raise RegisterError(ILLEGAL_VALUE)
    first, second = struct.unpack(">HH", body[1:])
    return first, second


def _many(body: bytes) -> tuple[int, list[int]]:
    if len(body) < 6:
        raise RegisterError(ILLEGAL_VALUE)
    address, count, size = struct.unpack(">HHB", body[1:6])
    if not 1 <= count <= _MAX_WRITE or size != 2 * count or len(body) != 6 + size:
        raise RegisterError(ILLEGAL_VALUE)
    return address, list(struct.unpack(f">{count}H", body[6:]))
