"""A Shelly Pro 3EM as it answers over HTTP: JSON-RPC at ``/rpc``, power and registers of a house of one's own."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from typing import Any

SRC = "shellypro3em-c8f09e000001"


@dataclass
class HouseShelly:
    """Shows the power that a function gives; its registers count it, over the loop's time."""

    power_w: Callable[[], float]
    port: int = 0
    import_wh: float = 1_000.0
    export_wh: float = 500.0
    _counted_s: float | None = None

    @property
    def host(self) -> str:
        """Address and port, as a site file has it."""
        return f"127.0.0.1:{self.port}"

    def result(self, method: str) -> dict[str, Any] | None:
        """Return what a method answers; None: there is no such method."""
        self._count()
        if method == "EM.GetStatus":
            phases = {f"{phase}_act_power": round(self.power_w() / 3, 1) for phase in "abc"}
            return {
                "id": 0,
                **phases,
                "total_act_power": round(self.power_w(), 1),
                "user_calibrated_phase": [],
            }
        if method == "EMData.GetStatus":
            return {"id": 0, "total_act": round(self.import_wh, 2), "total_act_ret": round(self.export_wh, 2)}
        return None

    def _count(self) -> None:
        now = asyncio.get_running_loop().time()
        if self._counted_s is not None:
            taken_wh = self.power_w() * (now - self._counted_s) / 3_600
            self.import_wh += max(0.0, taken_wh)
            self.export_wh += max(0.0, -taken_wh)
        self._counted_s = now

    async def handle(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Answer the requests of one connection."""
        try:
            while head := (await reader.readuntil(b"\r\n\r\n")).decode():
                length = next(
                    int(line.split(":")[1])
                    for line in head.split("\r\n")
                    if line.lower().startswith("content-length:")
                )
                frame = json.loads(await reader.readexactly(length))
                answer: dict[str, Any] = {"id": frame["id"], "src": SRC}
                result = self.result(frame["method"])
                if result is None:
                    answer["error"] = {"code": 404, "message": f"No handler for {frame['method']}"}
                else:
                    answer["result"] = result
                body = json.dumps(answer).encode()
                writer.write(
                    b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nServer: ShellyHTTP/1.0.0\r\n"
                    + f"Content-Length: {len(body)}\r\n\r\n".encode()
                    + body
                )
                await writer.drain()
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            writer.close()
            with contextlib.suppress(ConnectionError):
                await writer.wait_closed()


@contextlib.asynccontextmanager
async def running_shelly(power_w: Callable[[], float]) -> AsyncIterator[HouseShelly]:
    """Serve a Shelly on loopback."""
    shelly = HouseShelly(power_w)
    tasks: set[asyncio.Task[None]] = set()
    writers: set[asyncio.StreamWriter] = set()

    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        tasks.add(task)
        writers.add(writer)
        try:
            await shelly.handle(reader, writer)
        finally:
            tasks.discard(task)
            writers.discard(writer)

    server = await asyncio.start_server(handle, "127.0.0.1", 0)
    shelly.port = server.sockets[0].getsockname()[1]
    try:
        yield shelly
    finally:
        server.close()
        for writer in tuple(writers):  # connections that are kept open end so, and their tasks with them
            writer.close()
        await asyncio.gather(*tasks, return_exceptions=True)
        await server.wait_closed()
