"""The processes of a mine, as the supervisor starts them. Not for people: they take their orders on standard input."""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import sys
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Final

import click

from hashwerk.errors import HashwerkError
from hashwerk.site.child import Failed, read_orders, run_until_stopped, tell

if TYPE_CHECKING:
    from hashwerk.site.orders import Orders

log = logging.getLogger(__name__)

#: Libraries that tell at INFO what they do all day; their warnings are heard.
_CHATTY: Final = (
    "httpx",
    "uvicorn.error",
    "pymodbus.logging",
    "openleadr",
    "apscheduler",
    "aiohttp.access",
    "mqtt",
)


@click.command(hidden=True)
def serve() -> None:
    """Hold the node, the Stratum server and the ledger."""
    orders = _orders()
    from hashwerk.site.serve import serve_mine

    _run(orders, serve_mine)


@click.command(hidden=True)
def site() -> None:
    """Serve pages and API."""
    orders = _orders()
    from hashwerk.web.process import serve_site

    _run(orders, serve_site)


@click.command(hidden=True)
def mine() -> None:
    """Hash with this computer's CPU."""
    orders = _orders()
    from hashwerk.site.hashing import hash_for_mine

    _run(orders, hash_for_mine)


@click.command(hidden=True)
def hall() -> None:
    """Run the simulated hall."""
    orders = _orders()
    from hashwerk.site.hall import run_hall

    _run(orders, run_hall)


def _orders() -> Orders:
    from hashwerk.site.orders import Orders

    orders = read_orders(Orders)
    logging.basicConfig(
        level=orders.config.log.level.upper(),
        format="%(levelname).1s %(name)s: %(message)s",
        stream=sys.stderr,
    )
    hush_libraries()
    return orders


def hush_libraries() -> None:
    """Let libraries that tell at INFO what they do all day be heard only when something is wrong."""
    for chatty in _CHATTY:
        logging.getLogger(chatty).setLevel(logging.WARNING)


def _run(orders: Orders, body: Callable[[Orders, asyncio.Event], Awaitable[None]]) -> None:
    """Run a process to its end, and tell the supervisor in words if it could not do its work."""
    try:
        with asyncio.Runner(loop_factory=_new_loop) as runner:
            runner.run(run_until_stopped(lambda stop: body(orders, stop)))
    except HashwerkError as error:
        tell(Failed(str(error), error.retry, error.exit_code))
        _leave(error.exit_code)
    _leave(0)


def _leave(code: int) -> None:
    """End now: everything is closed, and libraries' threads that still linger have nothing left to do."""
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    logging.shutdown()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)


def _new_loop() -> asyncio.AbstractEventLoop:
    if sys.platform == "win32":
        return asyncio.new_event_loop()
    import uvloop

    return uvloop.new_event_loop()
