"""`hashwerk fleet`: find machines, look at them, and command them through the running mine."""

from __future__ import annotations

import asyncio
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from hashwerk.cli.fleet_api import FleetApi, api_options, who
from hashwerk.cli.output import json_option, print_json
from hashwerk.errors import FleetError
from hashwerk.units import format_hashrate, format_si

if TYPE_CHECKING:
    from hashwerk.devices import Found
    from hashwerk.fleet.machine import Reading

_why = click.option("--why", default="no reason given", help="Why; it goes into the record.")
_dry = click.option("--dry-run", is_flag=True, help="Say what would be done, and do nothing.")
_group = click.option("--group", help="Only the machines of this group.")


@click.group()
def fleet() -> None:
    """Find, watch and command machines.

    \b
    Example:
        hashwerk fleet scan 10.0.0.0/22
    """


@fleet.command()
@click.argument("ranges", metavar="CIDR [CIDR …]", nargs=-1, required=True)
@click.option(
    "--timeout", "timeout_s", type=float, default=3.0, show_default=True, help="Seconds for an answer."
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


@fleet.command("list")
@_group
@click.option("--state", help="Only machines in this state: hashing, asleep, unreachable, …")
@api_options
@json_option
def list_machines(group: str | None, state: str | None, as_json: bool, **options: Any) -> None:
    """List the machines of the running mine, each with what it says and what was measured.

    \b
    Example:
        hashwerk fleet list --state unreachable
    """
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
    stale = f"  last heard of {age:.0f} s ago" if age is not None and age > 60 else ""
    return (
        f"{machine['ip'] or '–':15}  {machine['id'][-17:]:17}  {machine['model'][:20]:20}  {machine['state'][:14]:14}"
        f"  {format_si(machine['power_w'], 'W'):>8} ({machine['power_basis']})"
        f"  {format_hashrate(reported.get('hashrate_hs')):>10} said"
        f"  {format_hashrate(measured):>10} measured{doubt}{stale}"
    )


@fleet.command()
@click.argument("machine")
@click.option("--direct", is_flag=True, help="Ask the machine at this address itself; needs no running mine.")
@click.option(
    "--timeout", "timeout_s", type=float, default=5.0, show_default=True, help="Seconds for an answer."
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
            click.echo(f"{' ' * indent}{name:18} {item}")


@fleet.command()
@click.option(
    "--to", "to_kw", type=click.FloatRange(0), metavar="KW", help="Draw no more than so much altogether."
)
@click.option("--by", "by_kw", type=click.FloatRange(0), metavar="KW", help="Draw so much less than now.")
@click.option("--all", "everything", is_flag=True, help="Put every machine to sleep.")
@_group
@click.option("--sleep-only", is_flag=True, help="Put machines to sleep only; no lower modes.")
@click.option("--must", is_flag=True, help="Before minimum times and the budget of starts.")
@click.option("--minutes", type=click.FloatRange(0, min_open=True), help="Put everything back after so long.")
@click.option("--wait", is_flag=True, help="Wait until it is done, and say what was measured.")
@_why
@_dry
@api_options
@json_option
def curtail(
    *,
    to_kw: float | None,
    by_kw: float | None,
    everything: bool,
    group: str | None,
    sleep_only: bool,
    must: bool,
    minutes: float | None,
    wait: bool,
    why: str,
    dry_run: bool,
    as_json: bool,
    **options: Any,
) -> None:
    """Bring the site's power down; the least efficient watts go first.

    \b
    Example:
        hashwerk fleet curtail --to 1200 --why "grid order 17" --minutes 120
        hashwerk fleet curtail --by 300 --dry-run
    """
    if sum((to_kw is not None, by_kw is not None, everything)) != 1:
        raise click.UsageError("give exactly one of --to, --by and --all")
    api = FleetApi(options)
    body: dict[str, Any] = {
        "to_kw": to_kw,
        "by_kw": by_kw,
        "all": everything,
        "group": group,
        "partial": False if sleep_only else None,
        "must": must,
        "who": who(),
        "why": why,
    }
    if dry_run:
        plan = api.post("/fleet/curtail", body | {"preview": True})
        if as_json:
            print_json(plan)
        else:
            _print_plan(plan)
        return
    if minutes is not None:
        body["until"] = time.time() + 60 * minutes
    order = api.post("/fleet/curtail", body)
    if wait:
        order = _await(api, order["id"], ("held", "stopped", "ended", "aborted"))
    _tell_orders([order], as_json=as_json)


def _print_plan(plan: dict[str, Any]) -> None:
    for step in plan["steps"]:
        marginal = step["marginal_j_per_th"]
        efficiency = f"  {marginal:5.1f} J/TH" if marginal is not None else ""
        click.echo(
            f"{step['machine']:24}  {step['command']:24}  {format_si(step['before_w'], 'W'):>8} →"
            f" {format_si(step['after_w'], 'W'):>8}{efficiency}"
        )
    for skip in plan["skips"]:
        if skip["reason"] != "not needed":
            click.echo(f"{skip['machine']:24}  left out: {skip['reason']}")
    basis = "metered" if plan["is_metered"] else "as machines say"
    click.echo(
        f"now {format_si(plan['total_w'], 'W')} ({basis}); {len(plan['steps'])} machines would save"
        f" {format_si(plan['expected_w'], 'W')}"
        + (f", {format_si(plan['short_w'], 'W')} less than wanted" if plan["short_w"] else "")
        + (f"; the power of {plan['unknown']} is not known" if plan["unknown"] else ""),
        err=True,
    )


def _await(api: FleetApi, order_id: str, states: tuple[str, ...]) -> Any:
    while True:
        order = api.get(f"/fleet/orders/{order_id}")
        if order["state"] in states:
            return order
        time.sleep(1.0)


def _tell_orders(orders: list[Any], *, as_json: bool) -> None:
    if as_json:
        print_json(orders[0] if len(orders) == 1 else orders)
        return
    for order in orders:
        measured = order.get("measured_w")
        click.echo(
            f"order {order['id']}: {order['state']}"
            + (f", {order['text']}" if order["text"] else "")
            + (f"; the meter shows {format_si(measured, 'W')}" if measured is not None else "")
        )
        if order.get("note"):
            click.echo(order["note"], err=True)


@fleet.command()
@click.option("--order", "order_id", help="Only what this order changed.")
@_group
@click.option("--wait", is_flag=True, help="Wait until it is done, and say what was measured.")
@_why
@_dry
@api_options
@json_option
def resume(
    *,
    order_id: str | None,
    group: str | None,
    wait: bool,
    why: str,
    dry_run: bool,
    as_json: bool,
    **options: Any,
) -> None:
    """Put back what curtailment changed, the last machines first.

    \b
    Example:
        hashwerk fleet resume --wait
    """
    api = FleetApi(options)
    body = {"order": order_id, "group": group, "who": who(), "why": why, "dry_run": dry_run}
    answer = api.post("/fleet/resume", body)
    if dry_run:
        if as_json:
            print_json(answer)
            return
        for order in answer["orders"]:
            click.echo(f"order {order['id']} would be put back: {order['machines']} machines")
        click.echo(f"{len(answer['would_wake'])} further machines would be woken")
        return
    orders = answer["orders"]
    if wait:
        orders = [_await(api, order["id"], ("ended", "aborted")) for order in orders]
    _tell_orders(orders, as_json=as_json)


@fleet.command()
@click.argument("order_id", metavar="ORDER")
@_why
@api_options
@json_option
def abort(order_id: str, why: str, as_json: bool, **options: Any) -> None:
    """End an order at once. Machines stay as they are.

    \b
    Example:
        hashwerk fleet abort o1750000000-1a2b3c --why "wrong group"
    """
    body = {"action": "abort", "who": who(), "why": why}
    _tell_orders([FleetApi(options).post(f"/fleet/orders/{order_id}", body)], as_json=as_json)


@fleet.command()
@click.option("--limit", type=click.IntRange(1, 200), default=20, show_default=True, help="How many.")
@api_options
@json_option
def orders(limit: int, as_json: bool, **options: Any) -> None:
    """List the newest orders and what became of them.

    \b
    Example:
        hashwerk fleet orders --limit 5
    """
    found = FleetApi(options).get("/fleet/orders", limit=limit)["orders"]
    if as_json:
        print_json(found)
    else:
        _tell_orders(found, as_json=False)


def _tell(
    command: dict[str, Any],
    machines: tuple[str, ...],
    group: str | None,
    *,
    why: str,
    dry_run: bool,
    as_json: bool,
    options: dict[str, Any],
) -> None:
    if bool(machines) == (group is not None):
        raise click.UsageError("name either machines or --group")
    body = command | {
        "machines": list(machines) or None,
        "group": group,
        "who": who(),
        "why": why,
        "dry_run": dry_run,
    }
    _tell_orders([FleetApi(options).post("/fleet/commands", body)], as_json=as_json)


@fleet.command()
@click.argument("mode")
@click.argument("machines", nargs=-1)
@_group
@_why
@_dry
@api_options
@json_option
def mode(
    *,
    mode: str,
    machines: tuple[str, ...],
    group: str | None,
    why: str,
    dry_run: bool,
    as_json: bool,
    **options: Any,
) -> None:
    """Switch machines to another mode, named as the make names it.

    \b
    Example:
        hashwerk fleet mode Eco --group night
    """
    _tell(
        {"command": "mode", "mode": mode},
        machines,
        group,
        why=why,
        dry_run=dry_run,
        as_json=as_json,
        options=options,
    )


@fleet.command()
@click.argument("machines", nargs=-1)
@_group
@click.option("--off", is_flag=True, help="Turn the light off again.")
@_why
@_dry
@api_options
@json_option
def locate(
    *,
    machines: tuple[str, ...],
    group: str | None,
    off: bool,
    why: str,
    dry_run: bool,
    as_json: bool,
    **options: Any,
) -> None:
    """Turn on the light by which a machine is found in the hall.

    \b
    Example:
        hashwerk fleet locate 10.0.0.17
    """
    _tell(
        {"command": "locate", "on": not off},
        machines,
        group,
        why=why,
        dry_run=dry_run,
        as_json=as_json,
        options=options,
    )


@fleet.command()
@click.argument("machines", nargs=-1)
@_group
@_why
@_dry
@api_options
@json_option
def reboot(
    *, machines: tuple[str, ...], group: str | None, why: str, dry_run: bool, as_json: bool, **options: Any
) -> None:
    """Start machines again, a few at a time.

    \b
    Example:
        hashwerk fleet reboot aa:bb:cc:dd:ee:ff --why "hangs since noon"
    """
    _tell({"command": "reboot"}, machines, group, why=why, dry_run=dry_run, as_json=as_json, options=options)


@fleet.command()
@click.argument("machines", nargs=-1)
@_group
@click.option(
    "--pool",
    "pool_list",
    multiple=True,
    required=True,
    metavar="URL,USER",
    help="A pool and the name to mine under; up to three times, the first one first.",
)
@_why
@_dry
@api_options
@json_option
def pools(
    *,
    machines: tuple[str, ...],
    group: str | None,
    pool_list: tuple[str, ...],
    why: str,
    dry_run: bool,
    as_json: bool,
    **options: Any,
) -> None:
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
    _tell(
        {"command": "pools", "pools": entries},
        machines,
        group,
        why=why,
        dry_run=dry_run,
        as_json=as_json,
        options=options,
    )


@fleet.command()
@click.argument("file", required=False, type=click.Path(path_type=Path, dir_okay=False, exists=True))
@api_options
@json_option
def places(file: Path | None, as_json: bool, **options: Any) -> None:
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
    answer = api.post("/fleet/places", file.read_text(encoding="utf-8"))
    if as_json:
        print_json(answer)
    else:
        click.echo(f"{answer['placed']} machines placed, {answer['waiting']} not met yet")
