"""The web server on a loopback socket: it announces its port, and it ends at once whoever is connected."""

import asyncio
import contextlib
import socket
import time

import httpx
import pytest

from hashwerk.config.web_settings import WebSettings
from hashwerk.web.server import PageUnavailableError, page_url, serve_web


@contextlib.asynccontextmanager
async def serving(app, **settings):
    shutdown = asyncio.Event()
    ready = asyncio.get_running_loop().create_future()
    task = asyncio.create_task(serve_web(app, WebSettings(port=0, **settings), shutdown, ready.set_result))
    try:
        async with asyncio.timeout(10):
            yield await ready, shutdown, task
    finally:
        shutdown.set()
        async with asyncio.timeout(10):
            await task


async def test_announces_the_port_it_was_given(app_of):
    async with serving(app_of()) as (url, _, _):
        assert url.startswith("http://127.0.0.1:")
        async with httpx.AsyncClient() as client:
            assert (await client.get(url + "healthz")).status_code == 503


async def test_ends_at_once_with_connections_open(app_of):
    async with serving(app_of()) as (url, shutdown, task):
        port = int(url.rsplit(":", 1)[1].strip("/"))
        half, idle = [await asyncio.open_connection("127.0.0.1", port) for _ in range(2)]
        half[1].write(b"POST /login HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: 100\r\n\r\npass")
        idle[1].write(b"GET /api HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n")
        assert (await idle[0].readline()).startswith(b"HTTP/1.1 200")
        begun = time.monotonic()
        shutdown.set()
        await task
        assert time.monotonic() - begun < 1.5
        for _, writer in (half, idle):
            writer.close()
            with contextlib.suppress(ConnectionError):
                await writer.wait_closed()
        with pytest.raises(ConnectionRefusedError):
            await asyncio.open_connection("127.0.0.1", port)


async def test_leaves_the_signals_alone(app_of):
    import signal

    before = signal.getsignal(signal.SIGTERM), signal.getsignal(signal.SIGINT)
    async with serving(app_of()):
        assert (signal.getsignal(signal.SIGTERM), signal.getsignal(signal.SIGINT)) == before


async def test_a_port_in_use_is_named(app_of):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(PageUnavailableError, match=rf"127\.0\.0\.1 port {port}: .*--web HOST:PORT"):
            await serve_web(app_of(), WebSettings(port=port), asyncio.Event())


async def test_cancelling_lets_go_of_the_port(app_of):
    ready = asyncio.get_running_loop().create_future()
    task = asyncio.create_task(serve_web(app_of(), WebSettings(port=0), asyncio.Event(), ready.set_result))
    async with asyncio.timeout(10):
        port = int((await ready).rsplit(":", 1)[1].strip("/"))
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
    with pytest.raises(ConnectionRefusedError):
        await asyncio.open_connection("127.0.0.1", port)


@pytest.mark.parametrize(
    ("host", "url"),
    [("127.0.0.1", "http://127.0.0.1:{}/"), ("0.0.0.0", "http://127.0.0.1:{}/"), ("::1", "http://[::1]:{}/")],
)
def test_the_url_is_one_that_this_computer_can_open(host, url):
    with socket.create_server(("127.0.0.1", 0)) as listener:
        assert page_url(WebSettings(host=host), listener) == url.format(listener.getsockname()[1])
