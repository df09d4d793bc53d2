"""From the fleet to what stands on *Hall*: sums of the three truths, orders and alerts in plain words."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from hashwerk.fleet.batch import IDLE_W, ReduceAll, ReduceBy, ReduceTo
from hashwerk.fleet.commands import SetMode, Sleep, Wake
from hashwerk.fleet.limits import words as command_words
from hashwerk.fleet.modes import point_of
from hashwerk.fleet.orders import OrderState, Reduce
from hashwerk.fleet.states import State
from hashwerk.site.fleet.view import DIFFERS_FROM_COMMAND, DIFFERS_IN_HASHRATE, DIFFERS_IN_POWER
from hashwerk.units import format_hashrate
from hashwerk.web.words import format_age

if TYPE_CHECKING:
    from hashwerk.fleet.alerts import Alert
    from hashwerk.fleet.orders import Order
    from hashwerk.site.fleet import FleetService
    from hashwerk.site.fleet.roster import Unit
    from hashwerk.site.fleet.view import FleetColumns, FleetView

Frame = dict[str, Any]
Row = dict[str, Any]

ALERTS_SHOWN: Final = 100
#: Why, in the record, where somebody pressed a button.
_BY_HAND: Final = "by hand on the page"
#: A silence from the page lasts so long; others can be had over the API.
SILENCE_S: Final = 3_600.0
#: So long it stands on the page that a button was pressed.
_BUTTON_S: Final = 600.0
_DIFFERS: Final = DIFFERS_FROM_COMMAND | DIFFERS_IN_POWER | DIFFERS_IN_HASHRATE
#: State → what is said of one such machine, and of several.
_HAND_WORDS: Final = {
    State.FAULTY.value: ("reports a fault", "report a fault"),
    State.UNREACHABLE.value: ("does not answer", "do not answer"),
    State.UNKNOWN.value: ("does not tell what it does", "do not tell what they do"),
}
_DIFFERS_WORDS: Final = (
    "says or does other than was told or measured",
    "say or do other than was told or measured",
)
_ALERT_WORDS: Final = ("has an open alert", "have an open alert")


def fleet_frame(service: FleetService | None) -> Frame:
    """Return everything that *Hall* shows beside its map; without a fleet, what to do next."""
    if service is None:
        return {
            "fleet.sentence": "No fleet is configured: no machine is watched or commanded.",
            "fleet.glyph": "○",
            "fleet.state": "",
            "fleet.shown": "none",
            "fleet.side": "alone",
        }
    view, columns = service.view(), service.columns()
    alerts = service.alerts()
    return (
        _sentence_frame(view, columns)
        | _power_frame(view, columns, service)
        | _rate_frame(view)
        | {
            "fleet.shown": "" if view.machines else "none",
            "fleet.side": "" if view.machines else "alone",
            "fleet.count": f"{view.machines:,}",
            "fleet.count.states": state_words(view.by_state),
            "fleet.count.more": _scan_words(view),
            "fleet.button": _button_words(service, view.at),
            "fleet.hand.alerts": _alert_words(alerts, view.at),
            "fleet.alerts.more": ""
            if len(alerts) <= ALERTS_SHOWN
            else f"The {ALERTS_SHOWN} oldest of {len(alerts):,} alerts.",
            "rows.fleet_alerts": [_alert_row(alert, service) for alert in alerts[:ALERTS_SHOWN]],
            "rows.fleet_orders": [
                _order_row(order) for order in reversed(service.commander.orders.values()) if order.is_open
            ],
        }
    )


def state_words(by_state: dict[str, int]) -> str:
    """Return how many machines do what, the most first."""
    ordered = sorted(by_state.items(), key=lambda item: -item[1])
    return ", ".join(f"{count:,} {state}" for state, count in ordered)


def _sentence_frame(view: FleetView, columns: FleetColumns) -> Frame:
    hand, why = _needing_a_hand(columns)
    if not view.machines:
        sentence = "No machine is known yet." if not view.scanning else "Looking for machines."
        glyph, state = "○", ""
    elif hand:
        noun = "machine" if view.machines == 1 else "machines"
        verb = "needs" if hand == 1 else "need"
        sentence = f"{hand:,} of {view.machines:,} {noun} {verb} a hand: {why}."
        glyph, state = "▲", "attention"
    else:
        sentence = f"All {view.machines:,} machines do as they were told, and what they say is borne out."
        glyph, state = "●", ""
    return {
        "fleet.sentence": sentence,
        "fleet.glyph": glyph,
        "fleet.state": state,
        "fleet.calm": "" if view.alerts or not view.machines else "No open alerts.",
        "fleet.notice": ""
        if view.control
        else "Every command is a dry run: nothing is sent to machines until control = true stands in [fleet].",
        "fleet.hand": f"{hand:,}",
        "fleet.hand.stale": f"{view.stale:,} not heard of for three polls" if view.stale else "",
        "fleet.hand.state": "attention" if hand else "",
    }


def _needing_a_hand(columns: FleetColumns) -> tuple[int, str]:
    counts = dict.fromkeys(_HAND_WORDS, 0)
    hand = differing = alerting = 0
    for state_index, differs, alerts in zip(columns.state, columns.differs, columns.alerts, strict=True):
        state = columns.states[state_index]
        if state in counts:
            counts[state] += 1
        elif differs & _DIFFERS:
            differing += 1
        elif alerts:
            alerting += 1
        else:
            continue
        hand += 1
    found = [(count, _HAND_WORDS[state]) for state, count in counts.items()]
    found += [(differing, _DIFFERS_WORDS), (alerting, _ALERT_WORDS)]
    return hand, ", ".join(f"{count:,} {words[count > 1]}" for count, words in found if count)


def _power_frame(view: FleetView, columns: FleetColumns, service: FleetService) -> Frame:
    reported = [power_w for power_w in columns.reported_w if power_w is not None]
    commanded = [
        power_w for unit in service.roster.units.values() if (power_w := commanded_w(unit)) is not None
    ]
    unknown = f"; {view.power_unknown:,} unknown" if view.power_unknown else ""
    says_nothing = len(columns.reported_w) - len(reported)
    by_whom = f" by {len(reported):,} of {len(columns.reported_w):,}" if reported and says_nothing else ""
    basis = "measured by the site's meter" if view.power_is_metered else "no meter: believed of each machine"
    return {
        "fleet.power": format_power(view.power_w),
        "fleet.power.basis": basis + unknown,
        "fleet.power.reported": f"reported {format_power(sum(reported) if reported else None)}{by_whom}",
        "fleet.power.commanded": f"commanded {format_power(sum(commanded) if commanded else None)}",
    }


def commanded_w(unit: Unit) -> float | None:
    """Return what a machine would draw if it did what it was last told; what was told nothing counts as it is."""
    match unit.commanded:
        case Sleep():
            return IDLE_W if unit.idle_w is None else unit.idle_w
        case SetMode(mode) | Wake(mode) if mode is not None:
            point = point_of(unit.points, mode)
            return unit.believed().power_w if point is None else point.power_w
        case _:
            return unit.believed().power_w


def _rate_frame(view: FleetView) -> Frame:
    share = None
    if view.measured_hs is not None and view.reported_hs > 0:
        share = f"shares show {100 * view.measured_hs / view.reported_hs:.0f} % of what they say"
    basis = "no share measures them yet"
    if view.measured_hs is not None:
        low, high = format_hashrate(view.measured_low_hs), format_hashrate(view.measured_high_hs)
        basis = f"measured from shares, {low} to {high}"
    return {
        "fleet.rate": format_hashrate(view.measured_hs),
        "fleet.rate.basis": basis,
        "fleet.rate.reported": f"reported {format_hashrate(view.reported_hs)}",
        "fleet.rate.share": share or "",
    }


def _alert_words(alerts: list[Alert], now: float) -> str:
    if not alerts:
        return "no open alert"
    noun = "open alert" if len(alerts) == 1 else "open alerts, the oldest"
    return f"{len(alerts):,} {noun} {format_age(alerts[0].since, now)}"


def _button_words(service: FleetService, now: float) -> str:
    """Return whose button was pressed last, for whoever walks through the hall; empty once that is long ago."""
    pressed = next(iter(service.buttons()), None)
    if pressed is None or now - pressed.at > _BUTTON_S:
        return ""
    member = service.roster.registry.find(pressed.mac or pressed.host)
    name = pressed.host if member is None else machine_name(service, member.key)
    return f"The report button of {name} was pressed {format_age(pressed.at, now)}."


def _scan_words(view: FleetView) -> str:
    if not view.scanning:
        return ""
    return f"looking for machines: {view.scan_done:,} of {view.scan_total:,} addresses"


def format_power(power_w: float | None) -> str:
    """Return a power with the prefix that fits; an en dash where it is not known."""
    if power_w is None:
        return "–"
    for scale, unit in ((1e6, "MW"), (1e3, "kW")):
        if abs(power_w) >= scale:
            return f"{power_w / scale:,.4g} {unit}"
    return f"{power_w:,.0f} W"


def _alert_row(alert: Alert, service: FleetService) -> Row:
    one = alert.machines[0] if len(alert.machines) == 1 else None
    notes = [f"{len(alert.machines):,} machines"] if len(alert.machines) > 1 else []
    notes += [f"came back {alert.times - 1} times"] if alert.times > 1 else []
    notes += [f"known to {alert.acknowledged_by}"] if alert.acknowledged_by else []
    notes += ["silenced"] if alert.is_silenced else []
    actions: list[Row] = []
    if alert.acknowledged_by is None:
        actions.append(
            {
                "t": "Acknowledge",
                "path": f"fleet/alerts/{alert.id}/acknowledge",
                "body": {"why": _BY_HAND},
                "done": "Noted: somebody knows of it.",
            }
        )
    if not alert.is_silenced:
        actions.append(
            {
                "t": "Silence 1 h",
                "path": "fleet/silences",
                "body": {"kind": alert.kind.value, "subject": alert.subject, "why": _BY_HAND},
                "for_s": SILENCE_S,
                "done": "Nobody is told of it for an hour; it stays in this list.",
            }
        )
    return {
        "k": alert.id,
        "c": "quiet" if alert.acknowledged_by or alert.is_silenced else "",
        "glyph": "▲",
        "title": alert.subject if one is None else machine_name(service, one),
        "text": alert.text,
        "since": alert.since,
        "note": ", ".join(notes),
        "machines": list(alert.machines),
        "href": None if one is None else f"/machine/{one}",
        "actions": actions,
    }


def machine_name(service: FleetService, key: str) -> str:
    """Return how people find a machine: its address, its place, what it is."""
    unit = service.roster.units.get(key)
    if unit is None:
        return key
    member = unit.member
    host = key if member.address is None else member.address.host
    return ", ".join(part for part in (host, member.place.words(), member.identity.model) if part)


def _order_row(order: Order) -> Row:
    spec = order.spec
    counts = ", ".join(f"{count:,} {phase}" for phase, count in order.counts().items() if count)
    notes = [f"{spec.who}: {spec.why}", f"{counts or 'no machine yet'}; {len(order.skips):,} left out"]
    notes += ["dry run: nothing is sent"] if spec.dry_run else []
    return {
        "k": spec.id,
        "c": "attention" if order.state is OrderState.STOPPED else "",
        "glyph": "▲" if order.state is OrderState.STOPPED else "●",
        "title": f"{task_words(order)}:",
        "text": f"{order.state.value}. {order.text}".strip(),
        "since": spec.at,
        "note": " · ".join(notes),
        "machines": [],
        "href": None,
        "actions": _order_actions(order),
    }


def task_words(order: Order) -> str:
    """Return what an order wants, as people say it."""
    spec = order.spec
    of = f"group {spec.group}" if spec.group else "the fleet"
    if spec.keys is not None:
        of = "1 machine" if len(spec.keys) == 1 else f"{len(spec.keys):,} machines"
    if not isinstance(spec.task, Reduce):
        told = command_words(spec.task.command)
        return f"{told[:1].upper()}{told[1:]}, {of}"
    match spec.task.goal:
        case ReduceTo(power_w):
            return f"Curtail {of} to {format_power(power_w)}"
        case ReduceBy(power_w):
            return f"Curtail {of} by {format_power(power_w)}"
        case ReduceAll():
            return f"Put {of} to sleep"


def _order_actions(order: Order) -> list[Row]:
    path, why = f"fleet/orders/{order.spec.id}", _BY_HAND
    found = []
    if order.state is OrderState.STOPPED:
        found.append(("Go on", "continue", "It goes on."))
    if isinstance(order.spec.task, Reduce) and order.state is not OrderState.RESTORING:
        found.append(("Put back", "restore", "It is being put back, in the reverse order."))
    found.append(("Abort", "abort", "Aborted: nothing more is sent, machines stay as they are."))
    return [
        {"t": label, "path": path, "body": {"action": action, "why": why}, "done": done}
        for label, action, done in found
    ]
