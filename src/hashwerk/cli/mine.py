"""`hashwerk mine`: the reference miner against any Stratum V1 server."""

from __future__ import annotations

import asyncio
import functools
import os
import signal
import sys
from collections.abc import Awaitable, Callable
from typing import Final

import click
from rich.console import Console

from hashwerk.cli.mine_view import JsonView, LiveView, PlainView
from hashwerk.cli.output import json_option
from hashwerk.client.miner import run_miner
from hashwerk.client.settings import ServerUrl
from hashwerk.client.statistics import MinerStats
from hashwerk.errors import ConfigError
from hashwerk.work.kernel import Scanner

_EXIT_CODES: Final = """
\b
Exit codes:
  0  ended by Ctrl-C or SIGTERM
  2  the command line cannot be used
  6  no server gave work (only with --once)
"""


def default_threads() -> int:
    """Return one thread for each core this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return max(1, len(os.sched_getaffinity(0)))
    return max(1, os.cpu_count() or 1)


@click.command(epilog=_EXIT_CODES)
@click.argument("urls", metavar="URL [URL …]", nargs=-1, required=True)
@click.option("-u", "--user", required=True, help="Account and machine, for example ADDRESS.rig.")
@click.option("-p", "--password", default="x", show_default=True, help="What the server asks for.")
@click.option(
    "--threads", type=click.IntRange(1, 1024), default=None, help="Hashing threads.  [default: one a core]"
)
@click.option(
    "--width",
    type=click.IntRange(1, 64),
    default=None,
    help="Hashes side by side in the kernel.  [default: the host's best]",
)
@click.option(
    "--duty",
    type=click.FloatRange(0, 1, min_open=True),
    default=1.0,
    show_default=True,
    help="Share of the time to hash; the rest is slept.",
)
@click.option(
    "--nice", type=click.IntRange(0, 19), default=10, show_default=True, help="Niceness of the threads."
)
@click.option("--once", is_flag=True, help="Give up when no server can be used, instead of trying again.")
@json_option
def mine(
    *,
    urls: tuple[str, ...],
    user: str,
    password: str,
    threads: int | None,
    width: int | None,
    duty: float,
    nice: int,
    once: bool,
    as_json: bool,
) -> None:
    """Mine for USER on the first URL that works; the others stand in for it.

    A URL is stratum+tcp://HOST:PORT, or stratum+ssl://HOST:PORT for TLS. With --json one line is printed a
    second.

    \b
    Example:
        hashwerk mine stratum+tcp://127.0.0.1:3333 -u me.laptop --threads 1
        hashwerk mine stratum+ssl://pool.example:4333 stratum+tcp://spare.example:3333 -u ADDRESS.rig
    """
    try:
        servers = tuple(ServerUrl.parse(url) for url in urls)
    except ConfigError as error:
        raise click.BadParameter(str(error), param_hint="URL") from error
    try:
        scanner = Scanner(width)
    except ValueError as error:
        raise click.BadParameter(str(error), param_hint="--width") from error
    console = Console(file=sys.stdout)
    view = JsonView(console) if as_json else LiveView(console) if console.is_terminal else PlainView(console)
    start = functools.partial(
        run_miner,
        servers,
        user,
        password,
        threads=threads or default_threads(),
        scanner=scanner,
        duty=duty,
        niceness=nice,
        retry=not once,
        on_stats=view.update,
    )
    if sys.platform != "linux":
        os.nice(nice)  # elsewhere a thread has no niceness of its own
    with view:
        stats = asyncio.run(_until_signal(start))
    view.finish(stats)


async def _until_signal(start: Callable[..., Awaitable[MinerStats]]) -> MinerStats:
    """Run the miner until Ctrl-C or SIGTERM."""
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for signal_number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(signal_number, stop.set)
    return await start(stop=stop)
