"""`hashwerk fleet mode|locate|reboot|pools|places|forget`: tell machines something, and where they stand."""

from __future__ import annotations

from pathlib import Path
from typing import Any
from urllib.parse import quote

import click

from hashwerk.cli.fleet_api import FleetApi, Function, api_options, who
from hashwerk.cli.fleet_orders import (
    dry_option,
    group_option,
    tell_machines,
    tell_orders,
    tell_plan,
    until_order,
    why_option,
)
from hashwerk.cli.output import json_option, print_json
from hashwerk.errors import FleetError


def _tell_options(function: Function) -> Function:
    """Add what every command to machines takes."""
    for option in (
        json_option,
        api_options,
        dry_option,
        click.option(
            "--wait", is_flag=True, help="Wait until it is done, and say what became of each machine."
        ),
        why_option,
        group_option,
        click.argument("machines", nargs=-1),
    ):
        function = option(function)
    return function


def _tell(
    command: dict[str, Any],
    machines: tuple[str, ...],
    *,
    group: str | None,
    why: str,
    wait: bool,
    dry_run: bool,
    as_json: bool,
    **options: Any,
) -> None:
    if bool(machines) == (group is not None):
        raise click.UsageError("name either machines or --group")
    api = FleetApi(options)
    body = command | {"machines": list(machines) or None, "group": group, "who": who(), "why": why}
    if dry_run:
        tell_plan(api.post("/fleet/commands", body | {"preview": True}), as_json=as_json)
        return
    order = api.post("/fleet/commands", body)
    if wait:
        order = until_order(api, order["id"], ("ended", "aborted"))
    tell_orders([order], as_json=as_json)
    if wait and not as_json:
        tell_machines(order)


@click.command()
@click.argument("mode")
@_tell_options
def mode(mode: str, machines: tuple[str, ...], **given: Any) -> None:
    """Switch machines to another mode, named as the make names it.

    \b
    Example:
        hashwerk fleet mode Eco --group night
    """
    _tell({"command": "mode", "mode": mode}, machines, **given)


@click.command()
@_tell_options
@click.option("--off", is_flag=True, help="Turn the light off again.")
def locate(machines: tuple[str, ...], *, off: bool, **given: Any) -> None:
    """Turn on the light by which a machine is found in the hall.

    \b
    Example:
        hashwerk fleet locate 10.0.0.17
    """
    _tell({"command": "locate", "on": not off}, machines, **given)


@click.command()
@_tell_options
def reboot(machines: tuple[str, ...], **given: Any) -> None:
    """Start machines again, a few at a time.

    \b
    Example:
        hashwerk fleet reboot aa:bb:cc:dd:ee:ff --why "hangs since noon" --wait
    """
    _tell({"command": "reboot"}, machines, **given)


@click.command()
@_tell_options
@click.option(
    "--pool",
    "pool_list",
    multiple=True,
    required=True,
    metavar="URL,USER",
    help="A pool and the name to mine under; up to three times, the first one first.",
)
def pools(machines: tuple[str, ...], *, pool_list: tuple[str, ...], **given: Any) -> None:
    """Write pools into machines: Hashwerk first, its standby second, the pool itself third.

    \b
    Example:
        hashwerk fleet pools --group night --pool stratum+tcp://10.0.0.2:3333,site.rig
    """
    entries = []
    for text in pool_list:
        url, comma, user = text.partition(",")
        if not comma or not url or not user:
            raise click.BadParameter(f"{text!r}: write it as URL,USER", param_hint="--pool")
        entries.append({"url": url, "user": user})
    _tell({"command": "pools", "pools": entries}, machines, **given)


@click.command()
@click.argument("machines", nargs=-1, required=True)
@why_option
@api_options
@json_option
def forget(machines: tuple[str, ...], *, why: str, as_json: bool, **options: Any) -> None:
    """Let go of machines that were sold or scrapped, so that nobody misses them. Who still answers stays.

    What they were told stays on record; one that answers again is met as a new machine.

    \b
    Example:
        hashwerk fleet forget aa:bb:cc:dd:ee:ff --why sold
    """
    api = FleetApi(options)
    for machine in machines:
        api.post(f"/machines/{quote(machine, safe='')}/forget", {"who": who(), "why": why})
    if as_json:
        print_json({"forgotten": list(machines)})
    else:
        click.echo(f"{len(machines)} machine{'' if len(machines) == 1 else 's'} forgotten")


@click.command()
@click.argument("file", required=False, type=click.Path(path_type=Path, dir_okay=False, exists=True))
@why_option
@api_options
@json_option
def places(file: Path | None, *, why: str, as_json: bool, **options: Any) -> None:
    """Take in a CSV of places, or without a file write all places as CSV to standard output.

    Columns: address, mac, serial, hall, row, shelf, breaker, feeder, owner, group; one of the first three is needed.

    \b
    Example:
        hashwerk fleet places > places.csv
        hashwerk fleet places places.csv
    """
    api = FleetApi(options)
    if file is None:
        text = api.text("/fleet/places.csv")
        if as_json:
            print_json({"csv": text})
        else:
            click.echo(text, nl=False)
        return
    try:
        text = file.read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        raise FleetError(f"{file}: not UTF-8 (byte {error.start + 1}); save it as CSV UTF-8") from error
    answer = api.post("/fleet/places", text, who=who(), why=why)
    if as_json:
        print_json(answer)
    else:
        click.echo(f"{answer['placed']} machines placed, {answer['waiting']} not met yet")
