"""`hashwerk twin`: a simulated hall of virtual machines."""

from __future__ import annotations

import asyncio
import signal
import sys
import time
from contextlib import AsyncExitStack
from typing import Final

import click
import msgspec
import uvloop
from rich.console import Console

from hashwerk.cli.output import json_option
from hashwerk.cli.twin_view import JsonView, LiveView, PlainView, View
from hashwerk.errors import ConfigError
from hashwerk.twin import MODELS, FaultKind, Hall, HallSettings
from hashwerk.twin.control import ControlServer
from hashwerk.twin.faults import parse_fault_counts

_INTERVAL_S: Final = 1.0
_DEFAULTS: Final = {field.name: field.default for field in msgspec.structs.fields(HallSettings)}
_EPILOG: Final = f"""
\b
Models:
{chr(10).join(f"  {key:22} {model.product}, {model.firmware}" for key, model in MODELS.items())}

\b
Faults:
  {", ".join(kind.value for kind in FaultKind)}

\b
Exit codes:
  0  ended by Ctrl-C or SIGTERM
  2  the command line, an address or a port cannot be used
"""


@click.command(epilog=_EPILOG)
@click.option("--machines", type=click.IntRange(1, 20_000), default=24, show_default=True, help="How many.")
@click.option(
    "--model", "models", default="avalon-q", show_default=True, help="Their models, taken in turn: A,B,…"
)
@click.option(
    "--base", default=_DEFAULTS["base"], show_default=True, help="Address of the first; the others follow."
)
@click.option(
    "--port", type=click.IntRange(0, 65_535), default=4028, show_default=True, help="Miner API's port."
)
@click.option(
    "--http-port", type=click.IntRange(0, 65_535), default=80, show_default=True, help="Web servers' port."
)
@click.option(
    "--control-port",
    type=click.IntRange(0, 65_535),
    default=None,
    help="Port on 127.0.0.1 to inject faults and read the truth.  [default: none]",
)
@click.option("--fault", "faults", multiple=True, metavar="KIND=COUNT", help="Give so many machines a fault.")
@click.option(
    "--pool", default=None, help="Stratum server they hash for.  [default: none, they only draw power]"
)
@click.option("--user", default=_DEFAULTS["user"], show_default=True, help="Account they hash for.")
@click.option(
    "--scale",
    type=click.FloatRange(min=1e3),
    default=_DEFAULTS["scale"],
    show_default=True,
    help="A real machine's hash rate over its twin's.",
)
@click.option("--threads", type=click.IntRange(1, 256), default=1, show_default=True, help="Hashing threads.")
@click.option(
    "--haste",
    type=click.FloatRange(0, min_open=True),
    default=1.0,
    show_default=True,
    help="How much faster than real ones they start, sleep and heat up.",
)
@click.option(
    "--ambient", type=click.FloatRange(-40, 60), default=25.0, show_default=True, help="Mean °C of the hall."
)
@click.option(
    "--swing", type=click.FloatRange(0, 30), default=0.0, show_default=True, help="°C from mean to warmest."
)
@click.option("--cold", is_flag=True, help="Begin with machines that have just been given mains.")
@click.option(
    "--seed", type=click.IntRange(0), default=1, show_default=True, help="Of the machines' differences."
)
@json_option
def twin(
    *,
    machines: int,
    models: str,
    base: str,
    port: int,
    http_port: int,
    control_port: int | None,
    faults: tuple[str, ...],
    pool: str | None,
    user: str,
    scale: float,
    threads: int,
    haste: float,
    ambient: float,
    swing: float,
    cold: bool,
    seed: int,
    as_json: bool,
) -> None:
    """Run a simulated hall: virtual machines that real tools cannot tell from real ones.

    Each listens on a loopback address of its own and speaks as its model and firmware does. Power, heat and the time to
    wake are full size; hashing is real, at the stated scale. With --json one line is printed a second.

    \b
    Example:
        hashwerk twin --machines 200 --model avalon-q,luxos-s19kpro --pool stratum+tcp://127.0.0.1:3333
        hashwerk twin --machines 24 --fault hang=1 --fault lie=2 --control-port 8027
    """
    settings = HallSettings(
        machines=machines,
        models=tuple(key.strip() for key in models.split(",") if key.strip()),
        base=base,
        port=port,
        http_port=http_port,
        control_port=control_port,
        pool=pool,
        user=user,
        scale=scale,
        threads=threads,
        haste=haste,
        ambient_c=ambient,
        ambient_swing_c=swing,
        started=not cold,
        seed=seed,
    )
    counts = parse_fault_counts(faults)
    if sum(counts.values()) > machines:
        raise ConfigError(f"{sum(counts.values())} faults are too many for {machines} machines")
    console = Console(file=sys.stdout)
    view: View = (
        JsonView(console) if as_json else LiveView(console) if console.is_terminal else PlainView(console)
    )
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(_run(settings, counts, view))


async def _run(settings: HallSettings, counts: dict[FaultKind, int], view: View) -> None:
    """Run a hall until Ctrl-C or SIGTERM."""
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for signal_number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(signal_number, stop.set)
    hall = Hall(settings)
    async with AsyncExitStack() as stack:
        stack.push_async_callback(hall.stop)
        await hall.start()
        control = ControlServer(hall)
        if settings.control_port is not None:
            stack.push_async_callback(control.stop)
            await control.start(settings.control_port)
        faults = await hall.inject_counts(counts)
        with view:
            view.begin(hall, control.port, {name: kind.value for name, kind in faults.items()})
            started_at = time.monotonic()
            while not stop.is_set():
                view.update(hall.view(), time.monotonic() - started_at)
                try:
                    async with asyncio.timeout(_INTERVAL_S):
                        await stop.wait()
                except TimeoutError:
                    continue
            view.update(hall.view(), time.monotonic() - started_at)
