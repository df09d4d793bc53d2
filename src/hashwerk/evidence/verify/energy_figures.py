"""What a statement says of energy: how much, from where and when, how clean, and what was curtailed."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import Any, Final

from hashwerk.energy.scores import cfe_score, matching_score
from hashwerk.evidence.records import Certificate, Command, Source, SourceInterval
from hashwerk.evidence.verify.energy import BEST_MACHINE_MJ_PER_TH, common_intervals
from hashwerk.evidence.verify.figures import ENERGY_CHECKS, WORK_CHECKS, Shown, figure
from hashwerk.evidence.verify.hours import Hour, time_text
from hashwerk.evidence.verify.result import Label
from hashwerk.evidence.verify.weighed import BIN_US, MinuteWork, Weighed, hashes_of, interval_of_hashes
from hashwerk.evidence.verify.work_figures import MAX_ROWS

_WORTH: Final = {
    "certificate": "attested by its registry, where signed",
    "plant meter": str(Label.ASSERTED),
    "none": str(Label.ASSERTED),
}


def energy_figures(shown: Shown, hours: Sequence[Hour]) -> dict[str, Any] | None:
    """Return energy by source and hour, and joules a terahash against what is declared; None: nothing was metered."""
    intervals = common_intervals(shown.facts.meters)
    if not intervals:
        return None
    total_wh = sum(row.wh for row in intervals)
    meters = shown.checks.labels().get("meters", str(Label.ASSERTED))
    label = shown.worth(meters, *ENERGY_CHECKS)
    start_us, end_us = intervals[0].start_us, intervals[-1].end_us
    found: dict[str, Any] = {
        "metered": figure(total_wh, "Wh", label),
        "metered_from": time_text(start_us),
        "metered_to": time_text(end_us),
        "whole_period": is_whole(shown, start_us, end_us),
        "filled": figure(
            sum(row.filled_wh for row in intervals),
            "Wh",
            shown.worth(Label.ASSERTED, *ENERGY_CHECKS),
            method="the registers' difference over intervals that were missed, at residual mix",
        ),
        "by_source": _by_source(shown),
        "hours": [
            {
                **hour.as_data(),
                "sources": {_source_name(key): hour.sources[key] for key in sorted(hour.sources)},
            }
            for hour in hours[:MAX_ROWS]
        ],
        "inventory_best": None
        if shown.efficiency_mj_per_th is None
        else figure(shown.efficiency_mj_per_th / 1000, "J/TH", Label.ASSERTED),
        "best_machine": figure(BEST_MACHINE_MJ_PER_TH / 1000, "J/TH", Label.ASSERTED),
    }
    counts = _work_within(shown, start_us, end_us)
    hashes = hashes_of(counts)
    if hashes and all(row.known for row in intervals):
        joules = total_wh * 3600
        low, high = interval_of_hashes(counts)
        found["efficiency"] = figure(
            joules / (hashes / 1e12),
            "J/TH",
            shown.worth(Label.ASSERTED if shown.work.is_scaled else meters, *ENERGY_CHECKS, *WORK_CHECKS),
            low=None if high is None else joules / (high / 1e12),
            high=joules / (low / 1e12) if low else None,
        )
    return found


def is_whole(shown: Shown, start_us: int, end_us: int) -> bool:
    """Say whether what was metered covers the period."""
    return start_us <= shown.headers[0].start_us and end_us >= shown.headers[-1].end_us


def _work_within(shown: Shown, start_us: int, end_us: int) -> Weighed:
    """Return the shares that were made with the energy between two readings; none where the minutes do not tell."""
    if (start_us, end_us) == (shown.headers[0].start_us, shown.headers[-1].end_us):
        return shown.work.weighed()
    if start_us % BIN_US or end_us % BIN_US:
        return {}
    return MinuteWork(shown.work.minutes).within(start_us, end_us)


def matching_figures(shown: Shown, hours: Sequence[Hour]) -> dict[str, Any] | None:
    """Return hourly matching, carbon-free score and surplus served; None: there was no load."""
    loaded = [hour.matched() for hour in hours if hour.load_wh]
    score = matching_score(loaded)
    if score is None:
        return None
    text = str(Label.ASSERTED) if shown.timed else f"{Label.ASSERTED}: not shown, for lack of external time"
    label = shown.worth(text, *ENERGY_CHECKS, "sources", "attribution", "external time")
    found = {"hourly_matching": figure(float(score), "share of load", label)}
    # An hour whose grid mix nobody named would count as fossil; the score is left out instead.
    carbon_free = cfe_score(loaded) if all(hour.grid_clean_ppm is not None for hour in loaded) else None
    if carbon_free is not None:
        found["carbon_free"] = figure(float(carbon_free), "share of load", label)
    priced = [hour for hour in hours if hour.load_wh and hour.price_micro is not None]
    if priced:  # where no price is named nothing is known of it
        negative = [hour.load_wh for hour in priced if (hour.price_micro or 0) < 0]
        found["surplus_negative_price"] = figure(
            sum(negative), "Wh in hours of negative price", shown.worth(Label.ASSERTED, *ENERGY_CHECKS)
        )
    return found


def emission_figures(shown: Shown, hours: Sequence[Hour]) -> dict[str, Any] | None:
    """Return scope 2 told twice, with the sets of factors; None: an hour with load has none."""
    loaded = [hour for hour in hours if hour.load_wh]
    if not loaded or any(hour.location_mg is None or hour.residual_mg is None for hour in loaded):
        return None
    factors = sorted({hour.factors for hour in loaded})
    location = sum(hour.load_wh * (hour.location_mg or 0) for hour in loaded) / 1e6
    residual = sum((hour.load_wh - hour.matched_wh) * (hour.residual_mg or 0) for hour in loaded) / 1e6
    text = {"factors": factors, "method": "instruments at 0 g/kWh, the rest at the residual mix"}
    label = shown.worth(Label.ASSERTED, *ENERGY_CHECKS)
    market = shown.worth(Label.ASSERTED, *ENERGY_CHECKS, "sources", "attribution")
    return {
        "location_based": figure(location, "g CO2e", label, factors=factors),
        "market_based": figure(residual, "g CO2e", market, **text),
    }


def certificate_figures(shown: Shown) -> dict[str, Any] | None:
    """Return the certificates that were cancelled, by registry and source; None: there are none."""
    certificates = shown.facts.certificates
    if not certificates:
        return None
    groups: dict[tuple[str, int, str, bool], list[Certificate]] = {}
    for row in certificates:
        groups.setdefault((row.registry, row.source, row.beneficiary, bool(row.signature)), []).append(row)
    return {
        "cancelled": figure(
            sum(row.wh for row in certificates),
            "Wh",
            shown.worth(shown.checks.labels().get("sources", str(Label.ASSERTED)), "sources"),
            count=len(certificates),
        ),
        "groups": [
            {
                "registry": registry,
                "source": _source_name(source),
                "beneficiary": beneficiary,
                "certificates": len(rows),
                **figure(
                    sum(row.wh for row in rows),
                    "Wh",
                    shown.worth(
                        f"{Label.ATTESTED} by registry {registry}" if signed else Label.ASSERTED, "sources"
                    ),
                ),
            }
            for (registry, source, beneficiary, signed), rows in sorted(groups.items())[:MAX_ROWS]
        ],
    }


def curtailment_figures(shown: Shown) -> dict[str, Any] | None:
    """Return what reductions that were ordered brought at the meter; None: none was ordered."""
    commands = sorted(shown.facts.commands, key=lambda row: (row.at_us, row.id))
    cuts = [row for row in commands if row.ordered_w is not None and _delivered_w(row) is not None]
    ordered = [row for row in cuts if (row.before_w or 0) > (row.ordered_w or 0)]
    if not ordered:
        return None
    label = shown.worth(Label.ASSERTED, "meters")
    seconds = sorted((row.effect_us - row.at_us) / 1e6 for row in ordered if row.effect_us is not None)
    return {
        "orders": figure(len(ordered), "orders to draw less", label),
        "ordered": figure(sum((row.before_w or 0) - (row.ordered_w or 0) for row in ordered), "W", label),
        "delivered": figure(sum(_delivered_w(row) or 0 for row in ordered), "W", label),
        "energy": figure(
            _curtailed_wh(shown, commands),
            "Wh",
            label,
            method="the fall at the meter, until the group's next command or the period's end",
        ),
        "median_time_to_effect": figure(seconds[len(seconds) // 2] if seconds else None, "s", label),
    }


def command_figures(shown: Shown) -> list[dict[str, Any]]:
    """Return commands and what the meter saw of them."""
    return [
        {
            "at": time_text(row.at_us),
            "command": row.command,
            "group": row.group,
            "machines": row.machines,
            "reason": row.reason,
            "ordered_w": row.ordered_w,
            "before_w": row.before_w,
            "after_w": row.after_w,
            "delivered_w": _delivered_w(row),
            "effect": time_text(row.effect_us),
            "label": shown.worth(Label.ASSERTED),
        }
        for row in shown.facts.commands[:MAX_ROWS]
    ]


def _by_source(shown: Shown) -> list[dict[str, Any]]:
    totals: dict[tuple[int, str], int] = {}
    for row in shown.facts.sources:
        name = row.source, _evidence(row)
        totals[name] = totals.get(name, 0) + row.wh
    return [
        {
            "source": _source_name(source),
            "evidence": evidence,
            **figure(wh, "Wh", shown.worth(_WORTH[evidence], "sources")),
        }
        for (source, evidence), wh in sorted(totals.items())
    ]


def _evidence(row: SourceInterval) -> str:
    return "certificate" if row.certificate else "plant meter" if row.meter else "none"


def _source_name(source: int) -> str:
    return Source(source).name.lower() if source in set(Source) else "unknown"


def _delivered_w(row: Command) -> int | None:
    if row.before_w is None or row.after_w is None:
        return None
    return max(0, row.before_w - row.after_w)


def _curtailed_wh(shown: Shown, commands: Sequence[Command]) -> int:
    """Return Σ of the fall at the meter times how long it lasted, rounded down."""
    groups: dict[str, list[Command]] = {}
    for row in commands:
        groups.setdefault(row.group, []).append(row)
    end_us = shown.headers[-1].end_us
    total = 0
    for rows in groups.values():
        ends = [after.at_us for _, after in pairwise(rows)] + [end_us]
        for row, until in zip(rows, ends, strict=True):
            since = row.effect_us if row.effect_us is not None else row.at_us
            if row.ordered_w is not None and (row.before_w or 0) > row.ordered_w:
                total += (_delivered_w(row) or 0) * max(0, until - since)
    return total // 3_600_000_000
