"""`hashwerk bench`: measure, and print what was measured."""

from __future__ import annotations

from pathlib import Path

import click

from hashwerk.cli.output import json_option, print_json


@click.group()
def bench() -> None:
    """Measure this machine: hashing kernels, Stratum server."""


@bench.command("hash")
@click.option(
    "--threads", type=click.IntRange(1, 1024), help="Threads for the run on all of them; default: all cores."
)
@click.option(
    "--seconds", type=click.FloatRange(1, 600), default=6.0, show_default=True, help="How long to measure."
)
@click.option(
    "--width",
    "widths",
    type=int,
    multiple=True,
    help="Measure only kernels of this many lanes; can be repeated.",
)
@json_option
def hash_(threads: int | None, seconds: float, widths: tuple[int, ...], as_json: bool) -> None:
    """Measure the hashing kernels, in turns, with median and spread.

    \b
    Example:
        hashwerk bench hash --seconds 20
    """
    from rich.console import Console

    from hashwerk.bench.hash import render, run_hash_bench

    console = None if as_json else Console(stderr=True)
    try:
        result = run_hash_bench(threads=threads, seconds=seconds, widths=widths, console=console)
    except ValueError as error:
        raise click.UsageError(str(error)) from error
    if as_json:
        print_json(result)
    else:
        render(result, Console())


@bench.command("stratum")
@click.option(
    "--scenario",
    "scenarios",
    multiple=True,
    help="What to measure; can be repeated. Default: all but the long ones.",
)
@click.option(
    "--seconds",
    type=click.FloatRange(1, 4_000),
    default=4.0,
    show_default=True,
    help="How long each is measured.",
)
@click.option(
    "--folder",
    type=click.Path(path_type=Path, file_okay=False, exists=True),
    help="Where the ledger is written.",
)
@json_option
def stratum(scenarios: tuple[str, ...], seconds: float, folder: Path | None, as_json: bool) -> None:
    """Measure the Stratum server with a real ledger: shares a second, latency, connections, a new block for all.

    \b
    Scenarios: throughput, one_at_a_time, paced, storm, miners.
    Examples:
        hashwerk bench stratum
        hashwerk bench stratum --scenario miners --seconds 300
    """
    from rich.console import Console

    from hashwerk.bench.stratum import DEFAULT_SCENARIOS, render, run_stratum_bench

    console = None if as_json else Console(stderr=True)
    try:
        result = run_stratum_bench(
            scenarios=scenarios or DEFAULT_SCENARIOS, seconds=seconds, folder=folder, console=console
        )
    except ValueError as error:
        raise click.UsageError(str(error)) from error
    if as_json:
        print_json(result)
    else:
        render(result, Console())
