"""The life of one child process: its orders come on standard input, its news go to standard output.

The supervisor writes one line of JSON (the orders) and keeps the pipe open. When the pipe ends, the supervisor is gone, and the
child ends cleanly by itself: no orphan keeps a port. Standard output carries one JSON line a message.
"""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import sys
import threading
from collections.abc import Awaitable, Callable
from typing import Any, TypeVar

import msgspec

log = logging.getLogger(__name__)

T = TypeVar("T")


class Ready(msgspec.Struct, frozen=True, tag="ready"):
    """The child does its work now. ``urls`` are where it listens."""

    urls: dict[str, str] = {}


class Failed(msgspec.Struct, frozen=True, tag="failed"):
    """The child cannot go on. ``retry`` says whether starting it again can help."""

    message: str
    retry: bool
    exit_code: int


class Progress(msgspec.Struct, frozen=True, tag="progress"):
    """What the child is busy with before it is ready, in words."""

    message: str


News = Ready | Failed | Progress
news_decoder = msgspec.json.Decoder(News)
_news_lock = threading.Lock()


def tell(news: News) -> None:
    """Send one message to the supervisor; if it is gone there is nobody to tell."""
    with _news_lock:
        try:
            sys.stdout.buffer.write(msgspec.json.encode(news) + b"\n")
            sys.stdout.buffer.flush()
        except BrokenPipeError:
            log.debug("the supervisor no longer listens")


def read_orders(kind: type[T]) -> T:
    """Return the orders from standard input, read byte by byte so that nothing after them is lost."""
    line = bytearray()
    while not line.endswith(b"\n"):
        byte = os.read(0, 1)
        if not byte:
            raise SystemExit("started without orders; this command is for the supervisor of `hashwerk run`")
        line += byte
    return msgspec.json.decode(bytes(line), type=kind)


def watch_supervisor(stop: Callable[[], Any]) -> None:
    """Call ``stop`` (from a thread of its own) once standard input ends."""

    def wait() -> None:
        while True:
            try:
                if not os.read(0, 4096):
                    break
            except OSError:
                break
        stop()

    threading.Thread(target=wait, name="supervisor-watch", daemon=True).start()


async def run_until_stopped(body: Callable[[asyncio.Event], Awaitable[None]]) -> None:
    """Run ``body`` with an event that is set by SIGTERM, SIGINT, or the end of the supervisor."""
    loop = asyncio.get_running_loop()
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    watch_supervisor(lambda: _set_from_thread(loop, stop))
    await body(stop)


def _set_from_thread(loop: asyncio.AbstractEventLoop, stop: asyncio.Event) -> None:
    try:
        loop.call_soon_threadsafe(stop.set)
    except RuntimeError:
        log.debug("the loop has ended before its supervisor")
