"""From the site's energy to what stands on *Now* and *Energy*: every figure as text, every table as rows.

Orders, bill, feeds and alerts have modules of their own beside this one.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from hashwerk.units import format_duration
from hashwerk.web.bill_frames import bill_frame, clean_frame
from hashwerk.web.energy_words import (
    NO_VALUE,
    as_sentence,
    decimal_of,
    format_hours,
    format_money,
    format_price,
    true_minus,
)
from hashwerk.web.feed_frames import WELL, feed_row
from hashwerk.web.fleet_frames import format_power
from hashwerk.web.order_frames import orders_frame

if TYPE_CHECKING:
    from hashwerk.site.energy.view import EnergyView, GroupView, PlanView, SeriesView, SourcePower

Frame = dict[str, Any]
Row = dict[str, Any]

HOURS_SHOWN: Final = 36
_HOUR_S: Final = 3_600
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
        | orders_frame(view)
        | bill_frame(view.bill)
        | clean_frame(view.clean)
        | {
            "energy.shown": "",
            "energy.empty": "none",
            "rows.energy.groups": [_group_row(group, view.currency) for group in view.groups],
            "rows.energy.feeds": [feed_row(feed) for feed in view.feeds],
            "rows.energy.meters": [feed_row(meter) for meter in view.meters],
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
    silent = any(feed.state not in WELL for feed in view.feeds)
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
    lowest = f"lowest {format_price(low)} in {format_hours(low_at - now)}"
    return f"ahead: {lowest}, highest {format_price(high)} in {format_hours(high_at - now)}"


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
    margin = decimal_of(view.margin_per_h)
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
    span = format_hours(plan.ends_s[-1] - plan.starts_s[0]) if plan.starts_s else "0 h"
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
