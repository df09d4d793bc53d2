"""`hashwerk fleet curtail|resume|abort|orders`: less power, and back."""

from __future__ import annotations

import time
from typing import Any

import click

from hashwerk.cli.fleet_api import FleetApi, api_options, who
from hashwerk.cli.fleet_orders import (
    Finite,
    dry_option,
    group_option,
    tell_machines,
    tell_orders,
    tell_plan,
    until_order,
    why_option,
)
from hashwerk.cli.output import json_option, print_json


@click.command()
@click.option(
    "--to",
    "to_kw",
    type=Finite(0.0, is_open=False),
    metavar="KW",
    help="Draw no more than so much altogether.",
)
@click.option(
    "--by", "by_kw", type=Finite(0.0, is_open=False), metavar="KW", help="Draw so much less than now."
)
@click.option("--all", "everything", is_flag=True, help="Put every machine to sleep.")
@group_option
@click.option("--sleep-only", is_flag=True, help="Put machines to sleep only; no lower modes.")
@click.option("--must", is_flag=True, help="Before minimum times and the budget of starts.")
@click.option("--minutes", type=Finite(0.0), help="Put everything back after so long.")
@click.option("--wait", is_flag=True, help="Wait until it is done, and say what was measured.")
@why_option
@dry_option
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
        tell_plan(plan, as_json=as_json)
        return
    if minutes is not None:
        body["until"] = time.time() + 60 * minutes
    order = api.post("/fleet/curtail", body)
    if wait:
        order = until_order(api, order["id"], ("held", "stopped", "ended", "aborted"))
    tell_orders([order], as_json=as_json)


@click.command()
@click.option("--order", "order_id", help="Only what this order changed.")
@group_option
@click.option("--wait", is_flag=True, help="Wait until it is done, and say what was measured.")
@why_option
@dry_option
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
        orders = [until_order(api, order["id"], ("ended", "aborted")) for order in orders]
    tell_orders(orders, as_json=as_json)


@click.command()
@click.argument("order_id", metavar="ORDER")
@why_option
@api_options
@json_option
def abort(order_id: str, why: str, as_json: bool, **options: Any) -> None:
    """End an order at once. Machines stay as they are.

    \b
    Example:
        hashwerk fleet abort o1750000000-1a2b3c --why "wrong group"
    """
    body = {"action": "abort", "who": who(), "why": why}
    tell_orders([FleetApi(options).post(f"/fleet/orders/{order_id}", body)], as_json=as_json)


@click.command()
@click.argument("order_id", metavar="[ORDER]", required=False)
@click.option("--limit", type=click.IntRange(1, 200), default=20, show_default=True, help="How many.")
@api_options
@json_option
def orders(order_id: str | None, limit: int, as_json: bool, **options: Any) -> None:
    """List the newest orders and what became of them; or one order, machine by machine.

    \b
    Example:
        hashwerk fleet orders --limit 5
        hashwerk fleet orders o1750000000-1a2b3c
    """
    if order_id is not None:
        order = FleetApi(options).get(f"/fleet/orders/{order_id}")
        tell_orders([order], as_json=as_json)
        if not as_json:
            tell_machines(order)
        return
    found = FleetApi(options).get("/fleet/orders", limit=limit)["orders"]
    if as_json:
        print_json(found)
    else:
        tell_orders(found, as_json=False)
