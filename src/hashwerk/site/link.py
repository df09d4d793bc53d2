"""The local socket over which `serve` tells the other processes what it is doing.

Frames are a 4-byte big-endian length and a msgpack message. A subscriber that does not read loses old snapshots, never
delays the sender: each has a queue of one, and a newer snapshot replaces an unsent one.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Final

import msgspec

from hashwerk.site.messages import Snapshot

log = logging.getLogger(__name__)

MAX_FRAME_BYTES: Final = 16 * 1024 * 1024
_encoder = msgspec.msgpack.Encoder()
_decoder = msgspec.msgpack.Decoder(Snapshot)


class LinkServer:
    """Publishes snapshots to whoever connects to the socket.

    Resource handling:
        One task per subscriber, each with at most one unsent frame. `close` ends them and removes the socket.

    Cancellation:
        Cancelling `close` leaves the socket closed and the tasks cancelled.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._server: asyncio.Server | None = None
        self._latest: bytes | None = None
        self._changed = asyncio.Condition()
        self._sequence = 0
        self._tasks: set[asyncio.Task[None]] = set()

    async def start(self) -> None:
        """Listen; an old socket file of a process that is gone is removed first."""
        self._path.unlink(missing_ok=True)
        self._server = await asyncio.start_unix_server(self._serve, path=str(self._path))
        self._path.chmod(0o600)

    async def publish(self, snapshot: Snapshot) -> None:
        """Send a snapshot to every subscriber that is ready for one."""
        body = _encoder.encode(snapshot)
        async with self._changed:
            self._latest = len(body).to_bytes(4, "big") + body
            self._sequence += 1
            self._changed.notify_all()

    async def close(self) -> None:
        """Stop listening and let go of the subscribers."""
        if self._server is not None:
            self._server.close()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        self._path.unlink(missing_ok=True)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        seen = 0
        try:
            while not reader.at_eof():
                async with self._changed:
                    await self._changed.wait_for(lambda seen=seen: self._sequence > seen)  # type: ignore[misc]
                    seen, frame = self._sequence, self._latest
                if frame is not None:
                    writer.write(frame)
                    await writer.drain()
        except (ConnectionError, asyncio.CancelledError):
            pass  # the subscriber is gone, or we are closing: either way this task ends here
        finally:
            self._tasks.discard(task)
            writer.close()


async def snapshots(path: Path, *, on_lost: Callable[[], None] | None = None) -> AsyncIterator[Snapshot]:
    """Yield snapshots from the socket at ``path``, connecting again for as long as it takes.

    ``on_lost`` is called each time the connection is lost.
    """
    delay_s = 0.05
    while True:
        try:
            reader, writer = await asyncio.open_unix_connection(str(path))
        except OSError:
            await asyncio.sleep(delay_s)
            delay_s = min(delay_s * 2, 1.0)
            continue
        try:
            while True:
                size = int.from_bytes(await reader.readexactly(4), "big")
                if size > MAX_FRAME_BYTES:
                    log.error("a frame of %d bytes on the local link is not ours; connecting again", size)
                    break
                yield _decoder.decode(await reader.readexactly(size))
                delay_s = 0.05
        except (asyncio.IncompleteReadError, ConnectionError):
            log.debug("the link to serve was lost")
        except msgspec.DecodeError as error:  # another version writes there
            log.error("what serve says cannot be read: %s", error)
            delay_s = 1.0
        finally:
            writer.close()
            with contextlib.suppress(ConnectionError):
                await writer.wait_closed()
        if on_lost is not None:
            on_lost()
        await asyncio.sleep(delay_s)
