"""The open alerts of all parts of the mine as one list: machines, feeds, meters, orders, the mine itself."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from hashwerk.web.feed_frames import WELL, feed_words
from hashwerk.web.fleet_frames import machine_name
from hashwerk.web.order_frames import OPEN_ORDERS

if TYPE_CHECKING:
    from hashwerk.fleet.alerts import Alert
    from hashwerk.site.energy.view import EnergyView
    from hashwerk.site.fleet import FleetService

Frame = dict[str, Any]

ALERTS_SHOWN: Final = 6


def alerts_frame(mine: list[tuple[float, str]], fleet: FleetService | None, view: EnergyView | None) -> Frame:
    """Return the open alerts of mine, machines, feeds, meters and orders as one list, oldest first."""
    found = list(mine)
    if fleet is not None:
        found += [
            (alert.since, _alert_words(alert, fleet)) for alert in fleet.alerts() if not alert.is_silenced
        ]
    if view is not None:
        for kind, feeds in (("Feed", view.feeds), ("Meter", view.meters)):
            found += [
                (feed.since_s or view.at_s, feed_words(kind, feed))
                for feed in feeds
                if feed.state not in WELL
            ]
        for order in view.orders:
            if order.state in OPEN_ORDERS:
                found += [(order.start_s, f"Order {order.id}: {text}") for text in order.laggards]
    found.sort()
    count = len(found)
    return {
        "rows.open_alerts": [
            {"k": f"{index}{text}", "c": [{"t": "▲", "c": "attention"}, {"e": since}, text]}
            for index, (since, text) in enumerate(found[:ALERTS_SHOWN])
        ],
        "open_alerts.state": "" if found else "none",
        "open_alerts.brief": f"▲ {count:,} open {'alert' if count == 1 else 'alerts'}"
        if found
        else "No open alerts",
        "open_alerts.brief.state": "some" if found else "",
        "open_alerts.more": f"The {ALERTS_SHOWN} oldest of {count:,}." if count > ALERTS_SHOWN else "",
    }


def _alert_words(alert: Alert, fleet: FleetService) -> str:
    name = machine_name(fleet, alert.machines[0]) if len(alert.machines) == 1 else alert.subject
    return f"{name}: {alert.text}"
