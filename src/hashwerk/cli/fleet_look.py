"""`hashwerk fleet scan|list|show`: find machines and look at them."""

from __future__ import annotations

import asyncio
import datetime
import sys
import time
from typing import TYPE_CHECKING, Any

import click

from hashwerk.cli.fleet_api import FleetApi, api_options
from hashwerk.cli.fleet_orders import Finite, group_option
from hashwerk.cli.output import json_option, print_json
from hashwerk.errors import FleetError
from hashwerk.units import format_hashrate, format_si

if TYPE_CHECKING:
    from hashwerk.devices import Found
    from hashwerk.fleet.machine import Reading


#: Names of moments that do not end in ``_at``; a machine's own clock is one too.
_MOMENTS = ("at", "since", "deadline", "clock_s")


@click.command()
@click.argument("ranges", metavar="CIDR [CIDR …]", nargs=-1, required=True)
@click.option(
    "--timeout", "timeout_s", type=Finite(0.0), default=3.0, show_default=True, help="Seconds for an answer."
)
@click.option(
    "--concurrency", type=click.IntRange(1, 4096), default=256, show_default=True, help="Addresses at a time."
)
@json_option
def scan(ranges: tuple[str, ...], timeout_s: float, concurrency: int, as_json: bool) -> None:
    """Look for machines in address ranges, and in these only. It needs no running mine and changes nothing.

    A range is 10.0.0.0/22, one address, or 10.0.0.5-10.0.0.90. Machines are shown as they are found; with --json one list
    at the end.

    \b
    Example:
        hashwerk fleet scan 10.0.0.0/22 --json
    """
    found = asyncio.run(_scan(ranges, timeout_s, concurrency, as_json=as_json))
    if as_json:
        print_json(found)
    else:
        click.echo(f"{len(found)} machines", err=True)


async def _scan(
    ranges: tuple[str, ...], timeout_s: float, concurrency: int, *, as_json: bool
) -> list[dict[str, Any]]:
    from hashwerk.devices import Confinement, open_drivers
    from hashwerk.devices import scan as scan_ranges

    shown = time.monotonic()

    def progress(done: int, total: int) -> None:
        nonlocal shown
        if sys.stderr.isatty() and time.monotonic() - shown > 0.2:
            shown = time.monotonic()
            click.echo(f"\r{done} of {total} addresses", nl=False, err=True)

    rows: list[dict[str, Any]] = []
    with Confinement(ranges):
        async for found in scan_ranges(
            ranges, open_drivers(), timeout_s=timeout_s, concurrency=concurrency, on_progress=progress
        ):
            rows.append(_row(found))
            if not as_json:
                click.echo(("\r" if sys.stderr.isatty() else "") + _line(rows[-1]))
    return rows


def _row(found: Found) -> dict[str, Any]:
    identity = found.reading.identity
    return {
        "ip": found.address.host,
        "mac": identity.mac,
        "serial": identity.serial,
        "make": identity.make,
        "model": identity.model,
        "firmware": identity.firmware,
        "firmware_version": identity.firmware_version,
        "driver": found.driver,
        "reported": _reported(found.reading),
    }


def _reported(reading: Reading) -> dict[str, Any]:
    import msgspec

    values = msgspec.structs.asdict(reading)
    values.pop("identity")
    values["capabilities"] = [flag.name.lower() for flag in reading.capabilities if flag.name is not None]
    return values


def _line(row: dict[str, Any]) -> str:
    reported = row["reported"]
    state = reported["state"]
    return (
        f"{row['ip']:15}  {row['mac'] or row['serial'] or '–':17}  {row['model'][:22]:22}  {row['firmware'][:8]:8}"
        f"  {getattr(state, 'value', state):9}  {format_hashrate(reported['hashrate_hs']):>10}"
        f"  {format_si(reported['power_w'], 'W'):>8}"
    )


@click.command("list")
@group_option
@click.option("--state", help="Only machines in this state: hashing, asleep, unreachable, …")
@api_options
@json_option
def list_machines(group: str | None, state: str | None, as_json: bool, **options: Any) -> None:
    """List the machines of the running mine, each with what it says and what was measured.

    \b
    Example:
        hashwerk fleet list --state unreachable
    """
    from hashwerk.fleet.states import State

    states = [one.value for one in State]
    if state is not None and state not in states:
        raise click.BadParameter(f"{state!r} is none of {', '.join(states)}", param_hint="--state")
    answer = FleetApi(options).get("/machines", group=group, state=state)
    if as_json:
        print_json(answer)
        return
    for machine in answer["machines"]:
        click.echo(_machine_line(machine))
    click.echo(f"{answer['total']} machines", err=True)


def _machine_line(machine: dict[str, Any]) -> str:
    reported = machine["reported"] or {}
    measured = machine["measured_hs"]
    doubt = " !" if machine["power_doubt"] or machine["hashrate_doubt"] else ""
    age = machine["age_s"]
    low, high = machine["measured_low_hs"], machine["measured_high_hs"]
    band = "" if measured is None else f" ({format_hashrate(low)} to {format_hashrate(high)})"
    stale = f"  last heard of {age:.0f} s ago" if age is not None and age > 60 else ""
    return (
        f"{machine['ip'] or '–':15}  {machine['id'][-17:]:17}  {machine['model'][:20]:20}  {machine['state'][:14]:14}"
        f"  {format_si(machine['power_w'], 'W'):>8} ({machine['power_basis']})"
        f"  {format_hashrate(reported.get('hashrate_hs')):>10} said"
        f"  {format_hashrate(measured):>10} measured{band}{doubt}{stale}"
    )


@click.command()
@click.argument("machine")
@click.option("--direct", is_flag=True, help="Ask the machine at this address itself; needs no running mine.")
@click.option(
    "--timeout", "timeout_s", type=Finite(0.0), default=5.0, show_default=True, help="Seconds for an answer."
)
@api_options
@json_option
def show(machine: str, direct: bool, timeout_s: float, as_json: bool, **options: Any) -> None:
    """Show everything about one machine: what it was told, what it says, what was measured.

    MACHINE is an id, a MAC address, a serial number or an IP address.

    \b
    Example:
        hashwerk fleet show 10.0.0.17 --direct
    """
    if direct:
        found = asyncio.run(_ask(machine, timeout_s))
        if found is None:
            raise FleetError(f"nothing known answers at {machine}")
        row = _row(found)
        if as_json:
            print_json(row)
        else:
            _print_tree(_plain(row))
        return
    answer = FleetApi(options).get(f"/machines/{machine}")
    if as_json:
        print_json(answer)
    else:
        _print_tree(answer)


async def _ask(host: str, timeout_s: float) -> Found | None:
    from hashwerk.devices import Confinement, Found, identify, open_drivers
    from hashwerk.fleet.ports import Address

    address = Address(host=host)
    with Confinement([host]):
        identified = await identify(address, open_drivers(), timeout_s=timeout_s)
    if identified is None:
        return None
    driver, reading = identified
    return Found(address=address, driver=driver.name, reading=reading)


def _plain(value: Any) -> Any:
    import msgspec

    return msgspec.json.decode(msgspec.json.encode(value))


def _print_tree(value: dict[str, Any], indent: int = 0) -> None:
    for name, item in value.items():
        if item is None or item in ([], {}):
            continue
        if isinstance(item, dict):
            click.echo(f"{' ' * indent}{name}")
            _print_tree(item, indent + 2)
        elif isinstance(item, list):
            click.echo(f"{' ' * indent}{name}")
            for entry in item:
                text = (
                    ", ".join(f"{k} {v}" for k, v in entry.items() if v is not None)
                    if isinstance(entry, dict)
                    else entry
                )
                click.echo(f"{' ' * (indent + 2)}{text}")
        else:
            click.echo(f"{' ' * indent}{name:18} {_in_words(name, item)}")


def _in_words(name: str, item: Any) -> str:
    """Return a value as people read it, by the unit at the end of its name."""
    if isinstance(item, bool) or not isinstance(item, int | float):
        return str(item)
    if name in _MOMENTS or name.endswith("_at"):
        return datetime.datetime.fromtimestamp(item, datetime.UTC).strftime("%Y-%m-%d %H:%M:%S UTC")
    if name.endswith("_hs"):
        return format_hashrate(item)
    if name.endswith("_w"):
        return format_si(item, "W")
    return f"{item:,.0f} s" if name.endswith("_s") else f"{item:g}"
