"""Listens for browsers, and lets go of them within a second when the mine ends.

uvicorn's own handling of signals is replaced: the process owns them and sets ``shutdown``.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import socket
from collections.abc import Callable, Iterator
from typing import Final

import uvicorn
from fastapi import FastAPI

from hashwerk.config.web_settings import WebSettings
from hashwerk.errors import HashwerkError

log = logging.getLogger(__name__)

#: A browser holds a handful of connections; beyond this the answer is 503, lest a flood take all memory.
MAX_CONNECTIONS: Final = 512
_GRACE_S: Final = 0.5
_LAST_S: Final = 2.0


class PageUnavailableError(HashwerkError):
    """The address of the page cannot be listened on."""

    exit_code = 5
    retry = True


class _Server(uvicorn.Server):
    """uvicorn without its hands on the signals."""

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Leave the signals to the process."""
        yield


async def serve_web(
    app: FastAPI,
    settings: WebSettings,
    shutdown: asyncio.Event,
    on_ready: Callable[[str], object] | None = None,
) -> None:
    """Serve pages and API until ``shutdown`` is set; ``on_ready`` is told the URL, with the bound port.

    Resource handling:
        The socket is bound here and closed on return. Open pages and WebSockets are closed: half a second
        after ``shutdown`` whoever has not finished is cut off.

    Cancellation:
        Cancelling ends it the same way, within the same time.

    Raises:
        PageUnavailableError: If the address cannot be listened on.
    """
    listener = await _listen(settings)
    server = _Server(
        uvicorn.Config(
            app,
            log_config=None,
            access_log=False,
            server_header=False,
            proxy_headers=False,
            lifespan="on",
            limit_concurrency=MAX_CONNECTIONS,
            timeout_graceful_shutdown=1,
        )
    )
    serving = asyncio.create_task(server.serve(sockets=[listener]), name="web")
    stopping = asyncio.create_task(shutdown.wait(), name="web-shutdown")
    try:
        while not (server.started or serving.done()):
            await asyncio.wait({serving}, timeout=0.02)
        if server.started and on_ready is not None:
            on_ready(page_url(settings, listener))
        await asyncio.wait({serving, stopping}, return_when=asyncio.FIRST_COMPLETED)
    finally:
        stopping.cancel()
        await _end(server, serving)
        listener.close()
    await serving


async def _end(server: _Server, serving: asyncio.Task[None]) -> None:
    server.should_exit = True
    done, _ = await asyncio.wait({serving}, timeout=_GRACE_S)
    if done:
        return
    for connection in list(server.server_state.connections):
        if (transport := getattr(connection, "transport", None)) is not None:
            transport.abort()
    await asyncio.wait({serving}, timeout=_LAST_S)
    serving.cancel()


def page_url(settings: WebSettings, listener: socket.socket) -> str:
    """Return the URL under which this computer's browser finds the page."""
    host = settings.host
    if host in ("0.0.0.0", "::", ""):  # noqa: S104 - compared, not bound
        host = "127.0.0.1"
    port = listener.getsockname()[1]
    return f"http://[{host}]:{port}/" if ":" in host else f"http://{host}:{port}/"


async def _listen(settings: WebSettings) -> socket.socket:
    where = f"{settings.host} port {settings.port}"
    try:
        found = await asyncio.get_running_loop().getaddrinfo(
            settings.host, settings.port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )
        family, _, _, _, address = min(found, key=lambda entry: entry[0] != socket.AF_INET)
        dual = family == socket.AF_INET6 and settings.host == "::" and socket.has_dualstack_ipv6()
        return socket.create_server(address, family=family, backlog=128, dualstack_ipv6=dual)
    except OSError as error:
        raise PageUnavailableError(
            f"the page cannot listen on {where}: {error.strerror}; choose another with --web HOST:PORT"
        ) from error
