"""The month on *Energy*: its bill so far, and how clean the hours were that are over."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from hashwerk.units import format_duration
from hashwerk.web.energy_words import NO_VALUE, as_sentence, format_energy, format_money, format_percent
from hashwerk.web.fleet_frames import format_power

if TYPE_CHECKING:
    from hashwerk.site.energy.view import BillView, CleanView, HourView, RuleView

Frame = dict[str, Any]
Row = dict[str, Any]

_HOUR_S: Final = 3_600


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
        "energy.clean": format_percent(clean.hourly_matched),
        "energy.clean.free": f"{format_percent(clean.carbon_free)} carbon-free, with the grid's own clean part",
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
