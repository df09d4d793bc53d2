"""The figures of a bundle, each with what it is worth, and the list of what cannot be shown."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

import msgspec
import numpy as np
from numpy.typing import NDArray

from hashwerk.energy.scores import cfe_score, matching_score
from hashwerk.evidence.bundle import Claim, Manifest
from hashwerk.evidence.epoch import Header, header_hash
from hashwerk.evidence.records import UNBOUND
from hashwerk.evidence.verify.blocks import STATES
from hashwerk.evidence.verify.energy import BEST_MACHINE_MJ_PER_TH, common_intervals
from hashwerk.evidence.verify.epochs import StandingWalk
from hashwerk.evidence.verify.facts import Facts
from hashwerk.evidence.verify.hours import Hour, hours_of, time_text
from hashwerk.evidence.verify.result import Checks, Label
from hashwerk.evidence.verify.shares import Work, total_work
from hashwerk.evidence.verify.time import Bounds
from hashwerk.work.poisson import rate_interval

ALWAYS_NOT_SHOWN: Final = (
    "which machine, site or meter made a hash: rented or remote hash rate fits under any meter with slack",
    "that no machine mined elsewhere: that leaves no trace but energy",
    "that there is one history only: the owner of a key can keep two, and only comparing bundles or a witness shows it",
    "that meters are honest: registers are as they were read",
)


class Shown(msgspec.Struct, frozen=True, kw_only=True):
    """All that a statement is made from."""

    manifest: Manifest
    headers: Sequence[Header]
    standing: StandingWalk
    facts: Facts
    work: Work
    checks: Checks
    bounds: Sequence[Bounds]
    efficiency_mj_per_th: int
    pinned: bool


def figure(value: Any, unit: str, label: str, **more: Any) -> dict[str, Any]:
    """Return one figure: value, unit, what it is worth."""
    return {"value": value, "unit": unit, "label": str(label), **more}


def make_statement(shown: Shown) -> dict[str, Any]:
    """Return the statement of a bundle."""
    headers, scale = shown.headers, shown.standing.scale
    counts = shown.work.counts()
    duration_s = (headers[-1].end_us - headers[0].start_us) / 1e6
    hours = hours_of(shown.facts, headers[0].start_us, headers[-1].end_us)
    timed = all(bound.before_us is not None for bound in shown.bounds if bound.epoch)
    site = shown.standing.site
    statement: dict[str, Any] = {
        "subject": "simulation" if shown.standing.simulation else "mine",
        "site": {
            "id": shown.manifest.site.hex(),
            "name": "" if site is None else site.name,
            "network": "" if site is None else site.network,
            "private_chain": site is None or bool(site.private),
            "label": str(Label.ASSERTED),
        },
        "period": {
            "start": time_text(headers[0].start_us),
            "end": time_text(headers[-1].end_us),
            "fixed_beforehand": bool(shown.manifest.period_fixed),
            "epochs": [headers[0].number, headers[-1].number],
            "last_epoch": header_hash(headers[-1]).hex(),
            "external_time": [
                {
                    "epoch": b.epoch,
                    "after": time_text(b.after_us),
                    "before": time_text(b.before_us),
                    "by": b.by,
                }
                for b in shown.bounds
            ],
        },
        "scale": figure(scale, "hashes a hash", Label.ASSERTED),
        "work": _work(shown, counts, duration_s, timed=timed),
        "energy": _energy(shown, counts, duration_s, hours),
        "matching": _matching(hours, timed=timed),
        "emissions": _emissions(hours),
        "commands": _commands(shown.facts),
        "blocks": _blocks(shown.facts),
        "rejected": figure(dict(sorted(shown.facts.rejected.items())), "shares by verdict", Label.ASSERTED),
        "local": [
            {"name": fact.name, "value": fact.value, "label": str(Label.ASSERTED)}
            for fact in shown.facts.local
        ],
        "upstream_pools": [
            {
                "pool": row.upstream,
                "shares": row.shares,
                "paid_sat": row.paid_sat,
                "document": row.document.hex(),
                "label": str(Label.ASSERTED),
            }
            for row in shown.facts.pool_statements
        ],
        "note": shown.manifest.note,
    }
    statement["not_shown"] = not_shown(shown, timed=timed, hours=hours)
    return statement


def not_shown(shown: Shown, *, timed: bool, hours: Sequence[Hour]) -> list[str]:
    """Return what this bundle does not show, in words."""
    found = list(ALWAYS_NOT_SHOWN)
    if not shown.pinned:
        found.append("who the operator is: no key was pinned")
    if not timed:
        found.append("when the work was done: no external time; hourly matching is not shown")
    if not shown.facts.anchored:
        found.append("that the history was not made afterwards: jobs carry no root of an earlier epoch")
    if not shown.manifest.period_fixed:
        found.append(
            "that the period was not chosen to look good: intervals hold for periods fixed beforehand"
        )
    if shown.facts.upstream:
        found.append(
            "for whom the upstream pool's shares were made, and that their target was fixed before: unbound work"
        )
    if not shown.facts.meters:
        found.append("how much energy was used: no meter was read")
    elif any(hour.load_wh and not hour.clean_wh for hour in hours):
        found.append(
            "the source of energy without a certificate or a plant's meter: it counts as residual mix"
        )
    if shown.manifest.claims & Claim.SOURCE:
        found.append(
            "that certificates were not cancelled elsewhere: once within these bundles is what was checked"
        )
    return found


def _work(shown: Shown, counts: NDArray[np.int64], duration_s: float, *, timed: bool) -> dict[str, Any]:
    accounts = [
        {
            "account": account.hex(),
            "shares": int(row.sum()),
            "hashes": str(total_work(row)),
            "label": str(Label.PROVEN),
        }
        for account, row in sorted(shown.work.accounts.items())
        if account != UNBOUND
    ]
    unbound = shown.work.accounts.get(UNBOUND)
    found: dict[str, Any] = {
        "shares": figure(int(counts.sum()), "shares", Label.PROVEN),
        "hashes": _hashes(counts, 1, Label.PROVEN),
        "interval": "95 %, the period was fixed beforehand"
        if shown.manifest.period_fixed
        else "95 % of a period fixed beforehand; this one was chosen afterwards",
        "accounts": accounts,
        "hashes_per_hour": _per_hour(shown.work),
    }
    if unbound is not None:
        found["unbound"] = _hashes(unbound, 1, f"{Label.PROVEN} as work; target and account {Label.ASSERTED}")
    if shown.standing.scale != 1:
        found["hashes_at_scale"] = _hashes(counts, shown.standing.scale, Label.ASSERTED)
    if duration_s > 0:
        total = found.get("hashes_at_scale", found["hashes"])
        found["hashrate"] = figure(
            int(total["value"]) / duration_s,
            "H/s",
            # Work over time: worth no more than the time is.
            "attested by those who name the time" if timed and shown.standing.scale == 1 else Label.ASSERTED,
            low=None if total["low"] is None else total["low"] / duration_s,
            high=None if total["high"] is None else total["high"] / duration_s,
        )
    return found


def _hashes(counts: NDArray[np.int64], scale: int, label: str) -> dict[str, Any]:
    """Return the hashes shown by shares and their 95 % interval."""
    low, high = _interval(counts)
    scaled = [None if bound is None else bound * scale for bound in (low, high)]
    return figure(str(total_work(counts) * scale), "hashes", label, low=scaled[0], high=scaled[1])


def _interval(counts: NDArray[np.int64]) -> tuple[float | None, float | None]:
    by_target = {work_log2: int(counts[work_log2]) for work_log2 in np.flatnonzero(counts).tolist()}
    if not by_target:
        return 0.0, None
    rate = rate_interval(by_target, 1.0)
    return rate.low_hs, rate.high_hs


def _per_hour(work: Work) -> list[dict[str, Any]]:
    hours: dict[int, NDArray[np.int64]] = {}
    for (minute, work_log2), count in work.minutes.items():
        hours.setdefault(minute // 60, np.zeros(129, np.int64))[work_log2] += count
    return [
        {"start": time_text(hour * 3_600_000_000), **_hashes(counts, 1, Label.ASSERTED)}
        for hour, counts in sorted(hours.items())[:10_000]
    ]


def _energy(
    shown: Shown, counts: NDArray[np.int64], duration_s: float, hours: Sequence[Hour]
) -> dict[str, Any] | None:
    intervals = common_intervals(shown.facts.meters)
    if not intervals:
        return None
    total_wh = sum(row.wh for row in intervals)
    label = shown.checks.labels().get("meters", str(Label.ASSERTED))
    low, high = _interval(counts)
    scale = shown.standing.scale
    hashes = total_work(counts) * scale
    joules = total_wh * 3600
    metered_s = sum(row.end_us - row.start_us for row in intervals if row.known) / 1e6
    found: dict[str, Any] = {
        "metered": figure(total_wh, "Wh", label),
        "filled": figure(
            sum(row.filled_wh for row in intervals),
            "Wh",
            Label.ASSERTED,
            method="the registers' difference over intervals that were missed, at residual mix",
        ),
        "by_source": _by_source(shown.facts),
        "hours": [hour.as_data() for hour in hours],
        "inventory_best": figure(shown.efficiency_mj_per_th / 1000, "J/TH", Label.ASSERTED),
        "best_machine": figure(BEST_MACHINE_MJ_PER_TH / 1000, "J/TH", Label.ASSERTED),
    }
    if hashes and abs(metered_s - duration_s) < 1:
        found["efficiency"] = figure(
            joules / (hashes / 1e12),
            "J/TH",
            label if scale == 1 else str(Label.ASSERTED),
            low=None if high is None else joules / (high * scale / 1e12),
            high=joules / (low * scale / 1e12) if low else None,
        )
    return found


def _by_source(facts: Facts) -> list[dict[str, Any]]:
    from hashwerk.evidence.records import Source

    totals: dict[tuple[int, str], int] = {}
    for row in facts.sources:
        worth = "certificate" if row.certificate else "plant meter" if row.meter else "none"
        totals[row.source, worth] = totals.get((row.source, worth), 0) + row.wh
    labels = {
        "certificate": "attested by its registry, where signed",
        "plant meter": "asserted",
        "none": "asserted",
    }
    return [
        {
            "source": Source(source).name.lower() if source in set(Source) else "unknown",
            "evidence": worth,
            **figure(wh, "Wh", labels[worth]),
        }
        for (source, worth), wh in sorted(totals.items())
    ]


def _matching(hours: Sequence[Hour], *, timed: bool) -> dict[str, Any] | None:
    loaded = [hour.matched() for hour in hours if hour.load_wh]
    score = matching_score(loaded)
    if score is None:
        return None
    label = str(Label.ASSERTED) if timed else f"{Label.ASSERTED}: not shown, for lack of external time"
    found = {"hourly_matching": figure(float(score), "share of load", label)}
    # An hour whose grid mix nobody named would count as fossil; the score is left out instead.
    carbon_free = cfe_score(loaded) if all(hour.grid_clean_ppm is not None for hour in loaded) else None
    if carbon_free is not None:
        found["carbon_free"] = figure(float(carbon_free), "share of load", label)
    negative = [hour.load_wh for hour in hours if hour.price_micro is not None and hour.price_micro < 0]
    found["surplus_negative_price"] = figure(sum(negative), "Wh in hours of negative price", Label.ASSERTED)
    return found


def _emissions(hours: Sequence[Hour]) -> dict[str, Any] | None:
    loaded = [hour for hour in hours if hour.load_wh]
    if not loaded or any(hour.location_mg is None or hour.residual_mg is None for hour in loaded):
        return None
    factors = sorted({hour.factors for hour in loaded})
    location = sum(hour.load_wh * (hour.location_mg or 0) for hour in loaded) / 1e6
    residual = sum((hour.load_wh - hour.matched_wh) * (hour.residual_mg or 0) for hour in loaded) / 1e6
    text = {"factors": factors, "method": "instruments at 0 g/kWh, the rest at the residual mix"}
    return {
        "location_based": figure(location, "g CO2e", Label.ASSERTED, factors=factors),
        "market_based": figure(residual, "g CO2e", Label.ASSERTED, **text),
    }


def _commands(facts: Facts) -> list[dict[str, Any]]:
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
            "delivered_w": None
            if row.before_w is None or row.after_w is None
            else max(0, row.before_w - row.after_w),
            "effect": time_text(row.effect_us),
            "label": str(Label.ASSERTED),
        }
        for row in facts.commands[:10_000]
    ]


def _blocks(facts: Facts) -> list[dict[str, Any]]:
    return [
        {
            "hash": block.hash[::-1].hex(),
            "height": block.height,
            "found": time_text(block.found_us),
            "reward_sat": block.reward_sat,
            "state": STATES[block.state] if block.state < len(STATES) else "unknown",
            "label": str(Label.ASSERTED),
        }
        for block in sorted(
            (logged[-1][1] for logged in facts.blocks.values()),
            key=lambda block: (block.found_us, block.hash),
        )
    ]
