"""A real MQTT broker: mosquitto on a free port of loopback."""

from __future__ import annotations

import asyncio
import contextlib
import shutil
import socket
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

MOSQUITTO = shutil.which(
    "mosquitto", path="/usr/sbin:/usr/local/sbin:/opt/homebrew/sbin:/usr/bin:/usr/local/bin"
)


@contextlib.asynccontextmanager
async def broker(folder: Path, port: int | None = None) -> AsyncIterator[int]:
    """Run a broker, on a free port if none is given, and give its port.

    Skips loudly where mosquitto is not installed.
    """
    if MOSQUITTO is None:
        pytest.skip("MOSQUITTO IS NOT INSTALLED: nothing that speaks MQTT is tried")
    if port is None:
        with socket.create_server(("127.0.0.1", 0)) as probe:
            port = probe.getsockname()[1]
    config = folder / "mosquitto.conf"
    config.write_text(f"listener {port} 127.0.0.1\nallow_anonymous true\npersistence false\n")
    process = await asyncio.create_subprocess_exec(
        MOSQUITTO, "-c", str(config), stdout=asyncio.subprocess.DEVNULL, stderr=asyncio.subprocess.DEVNULL
    )
    try:
        async with asyncio.timeout(10):
            while True:
                try:
                    _, writer = await asyncio.open_connection("127.0.0.1", port)
                except ConnectionError:
                    await asyncio.sleep(0.02)
                    continue
                writer.close()
                break
        yield port
    finally:
        process.terminate()
        await process.wait()
