"""A meter on a serial line: a pseudo-terminal that answers Modbus RTU, checksums and all."""

from __future__ import annotations

import asyncio
import contextlib
import os
import struct
import tty
from collections.abc import Iterator, Mapping


def checksum(frame: bytes) -> bytes:
    """Return the CRC-16 of Modbus, low byte first."""
    crc = 0xFFFF
    for byte in frame:
        crc ^= byte
        for _ in range(8):
            crc = (crc >> 1) ^ 0xA001 if crc & 1 else crc >> 1
    return struct.pack("<H", crc)


@contextlib.contextmanager
def serial_meter(units: Mapping[int, Mapping[int, list[int]]]) -> Iterator[str]:
    """Answer for some units, each with registers by address, and give the path of the line. Other units are silent."""
    master, slave = os.openpty()
    tty.setraw(master)
    tty.setraw(slave)
    waiting = bytearray()

    def receive() -> None:
        waiting.extend(os.read(master, 256))
        while len(waiting) >= 8:
            frame, waiting[:] = bytes(waiting[:8]), waiting[8:]
            assert frame[6:] == checksum(frame[:6])
            unit, function, address, count = struct.unpack(">BBHH", frame[:6])
            registers = units.get(unit, {}).get(address)
            if registers is not None and len(registers) == count:
                body = struct.pack(f">BBB{count}H", unit, function, 2 * count, *registers)
                os.write(master, body + checksum(body))
            elif unit in units:
                body = struct.pack(">BBB", unit, function | 0x80, 2)  # illegal data address
                os.write(master, body + checksum(body))

    loop = asyncio.get_running_loop()
    loop.add_reader(master, receive)
    try:
        yield os.ttyname(slave)
    finally:
        loop.remove_reader(master)
        os.close(slave)
        os.close(master)
