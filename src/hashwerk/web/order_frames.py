"""From orders of the grid to what stands on *Now* and *Energy*: what is asked, what is delivered, who does not do it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final
from urllib.parse import quote

from hashwerk.units import format_duration
from hashwerk.web.energy_words import NO_VALUE
from hashwerk.web.fleet_frames import format_power

if TYPE_CHECKING:
    from hashwerk.site.energy.view import EnergyView, OrderView

Frame = dict[str, Any]
Row = dict[str, Any]

ORDERS_SHOWN: Final = 20
OPEN_ORDERS: Final = frozenset({"ahead", "active", "restoring"})


def orders_frame(view: EnergyView) -> Frame:
    """Return the open orders, all of late, and how many machines do not do as ordered."""
    late = sum(len(order.laggards) for order in view.orders if order.state in OPEN_ORDERS)
    return {
        "rows.energy.open": [_open_row(order) for order in view.orders if order.state in OPEN_ORDERS],
        "rows.energy.orders": [_order_row(order) for order in view.orders[:ORDERS_SHOWN]],
        "energy.laggards": f"{late} do not do as ordered." if late else "",
    }


def order_words(order: OrderView) -> str:
    """Return what an order asks for."""
    return (
        "all machines sleep"
        if order.kind == "all" or order.amount_w is None
        else f"{order.kind} {format_power(order.amount_w)}"
    )


def _open_row(order: OrderView) -> Row:
    parts = [f"from {order.source}, {order.state}."]
    if order.target_w is not None:
        parts.append(f"Target {format_power(order.target_w)}, measured {format_power(order.import_w)}.")
    if order.delivered_w is not None:
        parts.append(f"Delivers {format_power(order.delivered_w)} against {order.baseline}.")
    if order.reached_s is not None:
        parts.append(f"Reached after {format_duration(max(0.0, order.reached_s - order.start_s))}.")
    return {
        "k": order.id,
        "c": "attention" if order.laggards else "",
        "glyph": "▲" if order.laggards else "▼",
        "title": f"{order_words(order)[:1].upper()}{order_words(order)[1:]}",
        "text": " ".join(parts),
        "since": order.start_s,
        "note": "; ".join(order.laggards),
        "actions": [
            {
                "t": "End it",
                "path": f"energy/orders/{quote(order.id, safe='')}",
                "method": "DELETE",
                "done": "Ended: power is given back in steps.",
            }
        ],
    }


def _order_row(order: OrderView) -> Row:
    settled = "; ".join(
        f"{name.replace('_', ' ')} {value}" for name, value in (order.settlement or {}).items()
    )
    return {
        "k": order.id,
        "c": [
            {"e": order.start_s},
            order.source,
            order_words(order),
            {"t": order.state, "c": "violet" if order.state == "active" else ""},
            {"t": format_power(order.target_w)},
            {"t": format_power(order.delivered_w)},
            {"t": NO_VALUE if order.stop_s is None else format_duration(order.stop_s - order.start_s)},
            settled or "; ".join(order.laggards),
        ],
    }
