"""From the site's energy to what stands on *Now* and *Energy*: every figure as text, every table as rows."""

from __future__ import annotations

import re
from decimal import Decimal, InvalidOperation
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import quote

from hashwerk.units import format_duration
from hashwerk.web.fleet_frames import format_power, machine_name

if TYPE_CHECKING:
    from hashwerk.fleet.alerts import Alert
    from hashwerk.site.energy.view import (
        BillView,
        CleanView,
        EnergyView,
        FeedView,
        GroupView,
        HourView,
        OrderView,
        PlanView,
        RuleView,
        SeriesView,
        SourcePower,
    )
    from hashwerk.site.fleet import FleetService

Frame = dict[str, Any]
Row = dict[str, Any]

NO_VALUE: Final = "–"
ALERTS_SHOWN: Final = 6
ORDERS_SHOWN: Final = 20
HOURS_SHOWN: Final = 36
_HOUR_S: Final = 3_600
#: How Linux (glibc, musl) and macOS say that a name is not found.
_UNRESOLVED: Final = re.compile(
    r"\[Errno -?\d+\] (Name or service not known|Temporary failure in name resolution|No address associated with hostname"
    r"|Name does not resolve|nodename nor servname provided, or not known)"
)
_ERRNO: Final = re.compile(r"\[Errno -?\d+\] ")
#: States of feeds and meters that nobody has to look after.
_WELL: Final = frozenset({"good", "waiting"})
_OPEN: Final = frozenset({"ahead", "active", "restoring"})
#: Action of a group → its glyph.
_GLYPHS: Final = {"runs": "●", "runs in part": "◐", "sleeps": "○", "not ours": "–"}
_STANCES: Final = {
    "keep": "Machines stay as they are",
    "fall back": "The simpler policy decides",
    "curtail": "Power is brought down",
    "stop": "Every machine is stopped",
}


def energy_frame(view: EnergyView | None) -> Frame:
    """Return everything of energy that is shown beside the charts; without energy, that it is not there."""
    if view is None:
        return {"energy.shown": "none", "energy.empty": ""}
    return (
        _sentence_frame(view)
        | _price_frame(view)
        | _money_frame(view)
        | _power_frame(view)
        | _plan_frame(view.plan, view)
        | _orders_frame(view)
        | bill_frame(view.bill)
        | clean_frame(view.clean)
        | {
            "energy.shown": "",
            "energy.empty": "none",
            "rows.energy.groups": [_group_row(group, view.currency) for group in view.groups],
            "rows.energy.feeds": [_feed_row(feed) for feed in view.feeds],
            "rows.energy.meters": [_feed_row(meter) for meter in view.meters],
            "rows.energy.assumptions": [{"k": text, "c": [text]} for text in view.assumptions],
            "energy.assumptions.state": "" if view.assumptions else "none",
        }
    )


def _sentence_frame(view: EnergyView) -> Frame:
    urgent, uneasy = view.stance in {"stop", "curtail"}, view.stance in {"keep", "fall back"}
    because = "; ".join(view.reasons)
    stance = _STANCES.get(view.stance)
    typical = [series for series in (view.price, view.carbon) if series is not None and series.is_typical]
    names = " and ".join("prices" if series is view.price else "carbon" for series in typical)
    return {
        "energy.sentence": true_minus(view.sentence),
        "energy.glyph": "■" if urgent else "▲" if uneasy else "●",
        "energy.state": "attention" if urgent or uneasy else "",
        "energy.stance": f"{stance}: {because}." if stance and because else "",
        "energy.typical": f"Typical day: {names} are the means of the month, not today's." if typical else "",
        "energy.simulation": "Simulation: machines are a scale model; power and money are those of full-size machines."
        if view.is_simulation
        else "",
        "energy.hatch": "hatched-ground" if typical or view.is_simulation else "",
        "energy.dry": ""
        if view.controls
        else "Plans and orders are shown only. To carry them out, set controls = true in [dispatch] and control = true in"
        " [fleet].",
        "energy.controls": "none" if view.controls else "",
        "energy.order.state": "" if view.controls else "none",
    }


def _price_frame(view: EnergyView) -> Frame:
    price = view.price
    silent = any(feed.state not in _WELL for feed in view.feeds)
    unknown = [name for name, known in (("price", price), ("carbon", view.carbon)) if known is None]
    source, market = "" if price is None else price.source, value_at(price, view.at_s)
    return {
        "energy.price": format_price(view.price_per_mwh),
        "energy.price.unit": f"{view.currency}/MWh" if view.price_per_mwh is not None else "",
        "energy.price.fees": "what a MWh more costs now, taxes and fees included"
        if view.price_per_mwh is not None
        else "",
        "energy.price.next": "" if price is None else ahead_words(price, view.at_s),
        "energy.price.market": "" if market is None else f"market: {format_price(market)} now",
        "energy.price.source": (
            "" if price is None else "what was known last, from " if price.is_stale else "from "
        )
        + source.replace("typical day computed from: ", "a typical day, computed from "),
        "energy.price.state": "attention" if price is None or price.is_stale else "",
        "energy.price.none": "" if price is None and not silent else "none",
        "energy.carbon.none": "" if view.carbon is None and not silent else "none",
        "energy.unknown": _unknown_words(unknown) if silent else "",
        "energy.carbon": carbon_words(view.carbon, view.at_s),
        "energy.carbon.source": "" if view.carbon is None else f"from {view.carbon.source}",
    }


def _unknown_words(names: list[str]) -> str:
    if not names:
        return ""
    verb = "is" if len(names) == 1 else "are"
    return f"{' and '.join(names).capitalize()} {verb} not known now: feeds and meters below say why."


def ahead_words(price: SeriesView, now: float) -> str:
    """Return the lowest and the highest price of the next 24 hours and in how long they come."""
    ahead = [
        (value, start)
        for start, value in zip(price.starts_s, price.values, strict=True)
        if value is not None and now < start <= now + 24 * _HOUR_S
    ]
    if not ahead:
        return "nothing is known of the hours to come"
    (low, low_at), (high, high_at) = min(ahead), max(ahead)
    return f"ahead: lowest {format_price(low)} in {_hours(low_at - now)}, highest {format_price(high)} in {_hours(high_at - now)}"


def _hours(span_s: float) -> str:
    return format_duration(span_s) if span_s < _HOUR_S else f"{span_s / _HOUR_S:.0f} h"


def value_at(series: SeriesView | None, at_s: float) -> float | None:
    """Return the value of a series that holds at a time; None where there is none."""
    if series is None:
        return None
    for start, value in zip(series.starts_s, series.values, strict=True):
        if start <= at_s < start + series.resolution_s:
            return value
    return None


def carbon_words(carbon: SeriesView | None, now: float) -> str:
    """Return the grid's carbon intensity now."""
    value = value_at(carbon, now)
    return "" if carbon is None or value is None else f"the grid's mix: {value:,.0f} {carbon.unit}"


def _money_frame(view: EnergyView) -> Frame:
    margin = _decimal(view.margin_per_h)
    unit = f"{view.currency}/h"
    hashprice = view.hashprice_per_ph_day
    return {
        "energy.margin": format_money(view.margin_per_h, signed=True),
        "energy.margin.unit": unit if margin is not None else "",
        "energy.margin.revenue": f"earns {format_money(view.revenue_per_h)} {unit}"
        if view.revenue_per_h
        else "what it earns is not known",
        "energy.margin.cost": f"burns {format_money(view.cost_per_h)} {unit}"
        if view.cost_per_h
        else "what it burns is not known",
        "energy.margin.state": "attention" if margin is not None and margin < 0 else "",
        "energy.hashprice": NO_VALUE
        if hashprice is None
        else f"{hashprice:,.2f} {view.currency} per PH/s and day",
        "energy.hashprice.from": view.hashprice_from,
        "energy.hashprice.none": "" if hashprice is None else "none",
    }


def _power_frame(view: EnergyView) -> Frame:
    drawn_w = sum(one.power_w for one in view.sources) if view.sources else view.measured_w
    off = None
    if view.setpoint_w and view.measured_w is not None:
        off = 100 * (view.measured_w - view.setpoint_w) / view.setpoint_w
    return {
        "energy.power": format_power(drawn_w),
        "energy.power.by": "not measured"
        if view.measured_w is None
        else f"{format_power(view.measured_w)} from the grid by {view.measured_by}",
        "energy.power.setpoint": "no set-point"
        if view.setpoint_w is None
        else f"set-point {format_power(view.setpoint_w)}"
        + ("" if off is None else f", {_signed(off)} % off"),
        "bar.energy.power": power_bar(view.sources, view.setpoint_w),
    }


def _signed(value: float) -> str:
    return f"{value:+,.1f}".replace("-", "−")


def power_bar(sources: tuple[SourcePower, ...], setpoint_w: float | None) -> Frame:
    """Return the power now as parts of a bar, the cleanest first, in percent of its length, and where the set-point lies."""
    rank = {True: 0, None: 1, False: 2}
    drawn = sorted((one for one in sources if one.power_w > 0), key=lambda one: rank[one.is_clean])
    total_w = sum(one.power_w for one in drawn)
    # The set-point is one of the import: what own plants give comes on top.
    own_w = sum(one.power_w for one in drawn if one.fuel != "mix")
    wanted_w = None if setpoint_w is None else own_w + setpoint_w
    full_w = max(total_w, wanted_w or 0.0)
    parts = [
        {
            "name": one.name if one.name == one.fuel else f"{one.name}, {one.fuel}",
            "text": format_power(one.power_w),
            "share": f"{100 * one.power_w / total_w:.0f} %",
            "width": round(100 * one.power_w / full_w, 2),
            "c": {True: "clean", False: "fossil", None: "mix"}[one.is_clean],
            "kind": {True: "clean", False: "fossil", None: "grid mix"}[one.is_clean],
        }
        for one in drawn
    ]
    mark = round(100 * wanted_w / full_w, 2) if wanted_w is not None and full_w else None
    return {"parts": parts, "setpoint": mark}


def _plan_frame(plan: PlanView | None, view: EnergyView) -> Frame:
    if plan is None:
        return {"energy.plan": "", "energy.plan.remarks": "", "rows.energy.hours": [], "energy.plan.none": ""}
    span = _hours(plan.ends_s[-1] - plan.starts_s[0]) if plan.starts_s else "0 h"
    by = {"ladder": ", by the merit order", "safety": ", by the safety layer", "policy": "", "optimiser": ""}
    return {
        "energy.plan.none": "none",
        "energy.plan": f"Plan by policy “{plan.policy}”{by.get(plan.origin, f', by the {plan.origin}')}, made in"
        f" {format_duration(plan.took_s)}; expected margin over its {span}:"
        f" {format_money(plan.margin, signed=True)} {view.currency}.",
        "energy.plan.remarks": " ".join(as_sentence(text) for text in plan.remarks),
        "rows.energy.hours": _hour_rows(plan, view),
    }


def _hour_rows(plan: PlanView, view: EnergyView) -> list[Row]:
    """Return the plan's hours for those who read rather than look: what begins each of them."""
    rows: list[Row] = []
    following = 0.0
    for index, start in enumerate(plan.starts_s):
        if start < following or plan.ends_s[index] <= view.at_s:
            continue
        following = (start // _HOUR_S + 1) * _HOUR_S
        carbon = value_at(view.carbon, start)
        running = sum(group.running[index] for group in plan.groups)
        rows.append(
            {
                "k": start,
                "c": [
                    {"e": start},
                    {"t": format_price(value_at(view.price, start))},
                    {"t": format_price(plan.price_per_mwh[index])},
                    {"t": NO_VALUE if carbon is None else f"{carbon:,.0f}"},
                    {"t": f"{running:,.0f}"},
                    {"t": format_power(plan.import_w[index])},
                ],
            }
        )
        if len(rows) == HOURS_SHOWN:
            break
    return rows


def _group_row(group: GroupView, currency: str) -> Row:
    strike = group.strike_per_mwh
    return {
        "k": group.name,
        "c": [
            group.name,
            {
                "t": f"{_GLYPHS.get(group.action, '?')} {group.action}",
                "c": "violet" if group.action.startswith("runs") else "",
            },
            {"t": f"{group.running:,} of {group.machines:,}", "s": group.running},
            {"t": format_power(group.power_w), "s": group.power_w or 0.0},
            {"t": format_power(group.wanted_w), "s": group.wanted_w},
            {
                "t": NO_VALUE if strike is None else f"{format_price(strike)} {currency}/MWh",
                "s": strike or 0.0,
            },
            true_minus(group.sentence),
        ],
    }


def _orders_frame(view: EnergyView) -> Frame:
    late = sum(len(order.laggards) for order in view.orders if order.state in _OPEN)
    return {
        "rows.energy.open": [_open_row(order) for order in view.orders if order.state in _OPEN],
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


def bill_frame(bill: BillView | None) -> Frame:
    """Return the month's bill so far."""
    if bill is None:
        return {"energy.bill.none": "", "energy.bill.shown": "none", "rows.energy.bill": []}
    return {
        "energy.bill.none": "none",
        "energy.bill.shown": "",
        "energy.bill": format_money(bill.total),
        "energy.bill.unit": bill.currency,
        "energy.bill.tariff": f"{bill.tariff}, {format_energy(bill.import_wh)} in {format_duration(bill.until_s - bill.since_s)}",
        "energy.bill.peak": "no demand is charged"
        if bill.peak_w is None
        else f"demand peak of the month {format_power(bill.peak_w)}",
        "energy.bill.missing": " ".join(as_sentence(text) for text in bill.missing),
        "rows.energy.bill": [
            {"k": index, "c": [line.text, {"t": line.quantity}, {"t": format_money(line.amount)}]}
            for index, line in enumerate(bill.lines)
        ],
    }


def clean_frame(clean: CleanView | None) -> Frame:
    """Return how clean the hours that are over were, and by which rules they were attributed."""
    if clean is None:
        return _no_clean_hour() | {"rows.energy.clean.rules": [], "rows.energy.clean.hours": []}
    rules = {"rows.energy.clean.rules": [_rule_row(rule) for rule in reversed(clean.rules)]}
    if clean.until_s <= clean.since_s:
        return _no_clean_hour() | rules | {"rows.energy.clean.hours": []}
    intensity = clean.g_per_kwh
    return rules | {
        "rows.energy.clean.hours": [_hour_row(hour) for hour in clean.hours],
        "energy.clean.none": "none",
        "energy.clean.shown": "",
        "energy.clean": _percent(clean.hourly_matched),
        "energy.clean.free": f"{_percent(clean.carbon_free)} carbon-free, with the grid's own clean part",
        "energy.clean.intensity": NO_VALUE if intensity is None else f"{intensity:,.0f} g CO₂ a kWh",
        "energy.clean.rule": f"rule {clean.rule}, "
        + (
            "declared before the period"
            if clean.is_declared_before
            else "NOT declared before the period: no claim rests on it"
        ),
        "energy.clean.state": "" if clean.is_declared_before else "attention",
        "energy.clean.span": f"over {format_duration(clean.until_s - clean.since_s)} that are over",
    }


def _no_clean_hour() -> Frame:
    return {
        "energy.clean.none": "",
        "energy.clean.shown": "none",
        "energy.clean": NO_VALUE,
        "energy.clean.free": "no hour is over yet",
    }


def _rule_row(rule: RuleView) -> Row:
    sources = ", ".join(rule.sources) or "the grid alone"
    return {
        "k": f"{rule.since_s}",
        "c": [
            {"e": rule.since_s},
            {"e": rule.declared_s},
            rule.rule,
            f"{rule.words} Sources: {sources}.",
            rule.factors,
        ],
    }


def _hour_row(hour: HourView) -> Row:
    parts = sorted(hour.by_source.items(), key=lambda item: -item[1])
    texts = [", ".join(f"{name} {wh / 1e3:,.3f}" for name, wh in parts)]
    if hour.covered_s < _HOUR_S:
        texts.append(f"{format_duration(_HOUR_S - hour.covered_s)} were not measured")
    texts.append(hour.remark)
    return {
        "k": f"{hour.start_s}",
        "c": [
            {"e": hour.start_s},
            f"{hour.load_wh / 1e3:,.3f}",
            "; ".join(text for text in texts if text),
            NO_VALUE if hour.g_per_kwh is None else f"{hour.g_per_kwh:,.0f}",
            hour.rule,
        ],
    }


def _percent(share: float | None) -> str:
    return NO_VALUE if share is None else f"{100 * share:.1f} %"


def _feed_row(feed: FeedView) -> Row:
    is_well = feed.state in _WELL
    glyph = "●" if feed.state == "good" else "◌" if is_well else "▲"
    return {
        "k": feed.name,
        "c": [
            feed.name,
            {"t": f"{glyph} {feed.state}", "c": "" if is_well else "attention"},
            {"e": feed.since_s} if feed.since_s else NO_VALUE,
            without_errno(feed.text),
            _instead_words(feed) or ("" if is_well else "nothing"),
        ],
    }


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
                (feed.since_s or view.at_s, _feed_words(kind, feed))
                for feed in feeds
                if feed.state not in _WELL
            ]
        for order in view.orders:
            if order.state in _OPEN:
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


def _feed_words(kind: str, feed: FeedView) -> str:
    instead = _instead_words(feed)
    says = without_errno(feed.text.removeprefix(f"{feed.name} "))
    if instead:
        says += "; plans do without it" if instead == "nothing" else f"; plans use {instead}"
    return f"{kind} {feed.name} is {feed.state}: {says}"


def _instead_words(feed: FeedView) -> str:
    return feed.instead.removeprefix("plans use ").removesuffix(" in its place")


def without_errno(text: str) -> str:
    """Return what a system call said in words for people: a name that is not found mostly means no network."""
    return _ERRNO.sub("", _UNRESOLVED.sub("its host is not found (no network, or a wrong name)", text))


def true_minus(text: str) -> str:
    """Return words with the minus sign of the figures beside them before negative numbers."""
    return re.sub(r"(?<![\w.,-])-(?=\d)", "−", text)


def as_sentence(text: str) -> str:
    """Return words as a sentence of its own."""
    return f"{text[:1].upper()}{text[1:].rstrip('.')}."


def format_price(value: float | None) -> str:
    """Return a price of energy, exact where it is small: −500.00 and 9,000.00 are prices like others."""
    if value is None:
        return NO_VALUE
    return f"{value:,.2f}".replace("-", "−")


def format_money(text: str | None, *, signed: bool = False) -> str:
    """Return an amount of money with two digits; an en dash where it is not known, the text itself if it is no amount."""
    amount = _decimal(text)
    if amount is None:
        return text or NO_VALUE
    return (f"{amount:+,.2f}" if signed else f"{amount:,.2f}").replace("-", "−")


def format_energy(energy_wh: int) -> str:
    """Return an amount of energy with the prefix that fits."""
    for scale, unit in ((1e9, "GWh"), (1e6, "MWh"), (1e3, "kWh")):
        if abs(energy_wh) >= scale:
            return f"{energy_wh / scale:,.4g} {unit}"
    return f"{energy_wh:,} Wh"


def _decimal(text: str | None) -> Decimal | None:
    if text is None:
        return None
    try:
        return Decimal(text)
    except InvalidOperation:
        return None
