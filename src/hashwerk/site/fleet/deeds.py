"""What people do beside commands, in the words of the record."""

from __future__ import annotations

import datetime

from hashwerk.fleet.lease import Holder, Lease
from hashwerk.fleet.orders import Order
from hashwerk.fleet.record import Deed


def done_to_order(order: Order, what: str, *, who: str, why: str, at: float) -> Deed:
    """Return that somebody did something to an order, and how it stood then."""
    stood = ", ".join(f"{count} {phase}" for phase, count in order.counts().items())
    return Deed(
        at=at,
        subject=f"order {order.spec.id}",
        who=who,
        why=why,
        what=what,
        effect=f"it was {order.state.value}, its machines: {stood or 'none yet'}",
        order_id=order.spec.id,
    )


def taken_over(lease: Lease, by: Holder, *, who: str, why: str, at: float, order_id: str = "") -> Deed:
    """Return that somebody took a machine from whoever commanded it until then."""
    was = f"{lease.holder.name.lower()} {lease.name}"
    return Deed(
        at=at,
        subject=lease.key,
        who=who,
        why=why,
        what=f"take over from {lease.holder.name.lower()}",
        effect=f"{was} does not command it any more",
        order_id=order_id,
        holder=by.name.lower(),
    )


def utc(at: float) -> str:
    """Return a moment as the record writes it."""
    return datetime.datetime.fromtimestamp(at, datetime.UTC).strftime("%Y-%m-%d %H:%M:%S UTC")
