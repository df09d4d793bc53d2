"""What the fleet's commands have in common: their options, and how orders are told of."""

from __future__ import annotations

from typing import Any

import click

from hashwerk.cli.output import print_json
from hashwerk.units import format_si

why_option = click.option("--why", default="no reason given", help="Why; it goes into the record.")
dry_option = click.option("--dry-run", is_flag=True, help="Say what would be done, and do nothing.")
group_option = click.option("--group", help="Only the machines of this group.")


def tell_machines(order: dict[str, Any]) -> None:
    """Print what became of each machine of an order, and who was left out and why."""
    for one in order["machines_detail"]:
        found = one["reason"] or one["effect"] or one["message"] or ""
        click.echo(
            f"  {one['machine']:22}  {one['command'][:28]:28}  {one['phase']}"
            + (f": {found}" if found else "")
        )
    for skip in order["skips"]:
        click.echo(f"  {skip['machine']:22}  left out: {skip['reason']}")


def tell_orders(orders: list[Any], *, as_json: bool) -> None:
    """Print what became of orders."""
    if as_json:
        print_json(orders[0] if len(orders) == 1 else orders)
        return
    for order in orders:
        measured = order.get("measured_w")
        counts = order.get("counts") if order.get("ended_at") is None else None
        stands = ", ".join(f"{count} {phase}" for phase, count in (counts or {}).items())
        click.echo(
            f"order {order['id']}: {order['state']}"
            + (f" ({stands})" if stands else "")
            + (f", {order['text']}" if order["text"] else "")
            + (f"; the meter shows {format_si(measured, 'W')}" if measured is not None else "")
        )
        if order.get("note"):
            click.echo(order["note"], err=True)
