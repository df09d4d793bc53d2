"""What the fleet's commands have in common: their options, and how orders are told of."""

from __future__ import annotations

import datetime
import math
import time
from typing import Any

import click
import httpx

from hashwerk.cli.fleet_api import FleetApi
from hashwerk.cli.output import print_json
from hashwerk.errors import FleetError
from hashwerk.units import format_si

#: So long a mine that starts again is waited for.
_PATIENCE_S = 60.0

why_option = click.option("--why", default="no reason given", help="Why; it goes into the record.")
dry_option = click.option("--dry-run", is_flag=True, help="Say what would be done, and do nothing.")
group_option = click.option("--group", help="Only the machines of this group.")


class Finite(click.FloatRange):
    """A number from a least one on; ``nan`` and ``inf`` are none."""

    name = "number"

    def __init__(self, least: float, *, is_open: bool = True) -> None:
        super().__init__(least, min_open=is_open)

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """Return the number; refuse what is none."""
        number = super().convert(value, param, ctx)
        if not math.isfinite(number):
            self.fail(f"{value!r} is no number to reckon with", param, ctx)
        return number


def tell_machines(order: dict[str, Any]) -> None:
    """Print what became of each machine of an order, and who was left out and why."""
    for one in order["machines_detail"]:
        found = one["reason"] or one["effect"] or one["message"] or ""
        phase = one["phase"]
        if one.get("not_before") is not None:  # an older mine does not say
            until = datetime.datetime.fromtimestamp(one["not_before"], datetime.UTC)
            phase, found = f"{phase} until {until:%H:%M:%S} UTC", "it has to run or to sleep out its time"
        click.echo(
            f"  {one['machine']:22}  {one['command'][:28]:28}  {phase}" + (f": {found}" if found else "")
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


def tell_plan(plan: dict[str, Any], *, as_json: bool) -> None:
    """Print who would be told what, and who is left out and why."""
    if as_json:
        print_json(plan)
        return
    for step in plan["steps"]:
        marginal = step["marginal_j_per_th"]
        efficiency = f"  {marginal:5.1f} J/TH" if marginal is not None else ""
        power = format_si(step["before_w"], "W").rjust(8)
        if step["after_w"] is not None:
            power += f" → {format_si(step['after_w'], 'W'):>8}{efficiency}"
        click.echo(f"{step['machine']:24}  {step['command']:24}  {power}")
    for skip in plan["skips"]:
        if skip["reason"] != "not needed":
            click.echo(f"{skip['machine']:24}  left out: {skip['reason']}")
    if plan["wanted_w"] is None and not plan["expected_w"]:
        count = len(plan["steps"])
        click.echo(f"{count} machine{'' if count == 1 else 's'} would be told", err=True)
        return
    basis = "metered" if plan["is_metered"] else "as machines say"
    click.echo(
        f"now {format_si(plan['total_w'], 'W')} ({basis}); {len(plan['steps'])} machines would save"
        f" {format_si(plan['expected_w'], 'W')}"
        + (f", {format_si(plan['short_w'], 'W')} less than wanted" if plan["short_w"] else "")
        + (f"; the power of {plan['unknown']} is not known" if plan["unknown"] else ""),
        err=True,
    )


def until_order(api: FleetApi, order_id: str, states: tuple[str, ...]) -> Any:
    """Wait until an order is in one of some states, or waits for somebody; return it.

    The order goes on without the page, and outlives its process: one that starts again is waited for.

    Raises:
        FleetError: If the mine does not answer for long.
    """
    silent_since: float | None = None
    while True:
        try:
            order = api.get(f"/fleet/orders/{order_id}")
        except FleetError as error:
            if not isinstance(error.__cause__, httpx.HTTPError):
                raise
            now = time.monotonic()
            silent_since = now if silent_since is None else silent_since
            if now - silent_since >= _PATIENCE_S:
                raise FleetError(
                    f"{error}. Order {order_id} is on record: hashwerk fleet orders {order_id}"
                ) from error
        else:
            silent_since = None
            if order["state"] in (*states, "stopped"):
                return order
        time.sleep(1.0)
