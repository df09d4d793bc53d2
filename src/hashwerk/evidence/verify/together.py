"""One statement for several bundles: of any set of sites, or of one site's periods after each other.

Only what may be added up is: a mine and a simulation never are, nor a bundle that is invalid, nor one epoch twice. A share
that two of them hold, as one's work for a pool that is the other, counts once. Clean energy of one site or hour serves no other.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import Any, Final

from hashwerk.evidence.verify.figures import figure
from hashwerk.evidence.verify.result import Report, Verdict

Statement = dict[str, Any]
#: From the worth least to the worth most.
_ORDER: Final = ("not shown", "asserted", "attested", "proven")


def together(reports: Sequence[Report]) -> Statement:
    """Return the statement of several bundles; without figures, and why, where they cannot be added up."""
    statements = [report.statement for report in reports if report.statement]
    found: Statement = {
        "subject": _subject(reports),
        "sites": sorted(
            {(s["site"]["id"], s["site"]["name"]) for s in statements if isinstance(s.get("site"), dict)}
        ),
        "figures": {},
        "not_shown": sorted({line for s in statements for line in s["not_shown"]}),
    }
    reason = _why_not(reports)
    if reason is not None:
        found["not_shown"].insert(0, f"any sum over these bundles: {reason}")
        return found
    found["period"] = {
        "start": min(s["period"]["start"] for s in statements),
        "end": max(s["period"]["end"] for s in statements),
    }
    found["figures"] = {name: made for name, made in _figures(statements).items() if made is not None}
    return found


def _subject(reports: Sequence[Report]) -> str:
    subjects = {report.subject for report in reports}
    return subjects.pop() if len(subjects) == 1 else "mixed"


def _why_not(reports: Sequence[Report]) -> str | None:
    if any(report.verdict == Verdict.INVALID or not report.statement for report in reports):
        return "one of them is invalid"
    if _subject(reports) == "mixed":
        return "mines and simulations are not added up"
    periods: dict[str, list[tuple[int, int]]] = {}
    for report in reports:
        first, last = report.statement["period"]["epochs"]
        periods.setdefault(report.statement["site"]["id"], []).append((first, last))
    for site, spans in periods.items():
        for (_, last), (first, _) in pairwise(sorted(spans)):
            if first <= last:
                return f"two hold the same epochs of site {site[:16]}…"
    return None


def _figures(statements: Sequence[Statement]) -> dict[str, Statement | None]:
    matching = [
        (s["matching"], sum(hour["load_wh"] for hour in s["energy"]["hours"]))
        for s in statements
        if s["matching"] is not None and s["energy"] is not None
    ]
    whole = len(matching) == len(statements)
    works = [s["work"].get("counted_once", s["work"]) for s in statements]
    hashes = [work.get("hashes_at_scale", work["hashes"]) for work in works]
    energy = [s["energy"]["metered"] for s in statements if s["energy"]]
    return {
        "shares": _sum([work["shares"] for work in works]),
        "hashes": _hashes(hashes),
        "energy": _sum(energy) if len(energy) == len(statements) else None,
        "efficiency": _efficiency(hashes, energy)
        if all(s["energy"] and s["energy"]["whole_period"] for s in statements)
        else None,
        "hourly_matching": _weighted(matching, "hourly_matching") if whole else None,
        "carbon_free": _weighted(matching, "carbon_free") if whole else None,
        "surplus_negative_price": _sum([part["surplus_negative_price"] for part, _ in matching])
        if whole and all("surplus_negative_price" in part for part, _ in matching)
        else None,
        "location_based": _all(statements, "emissions", "location_based"),
        "market_based": _all(statements, "emissions", "market_based"),
        "certificates": _any(statements, lambda s: s["certificates"] and s["certificates"]["cancelled"]),
        "curtailed": _any(statements, lambda s: s["curtailment"] and s["curtailment"]["energy"]),
        "rewards_mature": _any(statements, lambda s: s["payouts"] and s["payouts"]["rewards"]["mature"]),
        "rewards_pending": _any(statements, lambda s: s["payouts"] and s["payouts"]["rewards"]["pending"]),
    }


def weakest(labels: Sequence[str]) -> str:
    """Return the label that is worth least; several of one worth are named together."""

    def rank(label: str) -> int:
        return next((number for number, word in enumerate(_ORDER) if label.startswith(word)), 0)

    least = min(map(rank, labels))
    return "; ".join(dict.fromkeys(label for label in labels if rank(label) == least))


def _sum(parts: Sequence[Statement]) -> Statement:
    labels = [part["label"] for part in parts]
    more = (
        {"factors": sorted({f for part in parts for f in part["factors"]})} if "factors" in parts[0] else {}
    )
    return figure(sum(part["value"] for part in parts), parts[0]["unit"], weakest(labels), **more)


def _hashes(parts: Sequence[Statement]) -> Statement:
    """Add hashes up; the ends of their intervals added up are never too narrow."""
    low = [part["low"] for part in parts if part["low"] is not None]
    high = [part["high"] for part in parts if part["high"] is not None]
    return figure(
        str(sum(int(part["value"]) for part in parts)),
        "hashes",
        weakest([part["label"] for part in parts]),
        low=sum(low) if len(low) == len(parts) else None,
        high=sum(high) if len(high) == len(parts) else None,
    )


def _efficiency(hashes: Sequence[Statement], energy: Sequence[Statement]) -> Statement | None:
    work, joules = _hashes(hashes), 3600 * sum(part["value"] for part in energy)
    if not int(work["value"]):
        return None
    labels = [part["label"] for part in (*hashes, *energy)]
    return figure(
        joules / (int(work["value"]) / 1e12),
        "J/TH",
        weakest(labels),
        low=joules / (work["high"] / 1e12) if work["high"] else None,
        high=joules / (work["low"] / 1e12) if work["low"] else None,
    )


def _weighted(parts: Sequence[tuple[Statement, int]], name: str) -> Statement | None:
    """Return a share of load over all sites: each one's weighs as much as its load."""
    total = sum(load for _, load in parts)
    if not total or any(name not in part for part, _ in parts):
        return None
    value = sum(part[name]["value"] * load for part, load in parts) / total
    return figure(value, "share of load", weakest([part[name]["label"] for part, _ in parts]))


def _all(statements: Sequence[Statement], part: str, name: str) -> Statement | None:
    """Add up a figure that every bundle must have."""
    found = [s[part][name] for s in statements if s[part]]
    return _sum(found) if len(found) == len(statements) else None


def _any(statements: Sequence[Statement], pick: Callable[[Statement], Statement | None]) -> Statement | None:
    """Add up a figure of those bundles that have it: the others have none of it."""
    found = [part for part in map(pick, statements) if part]
    return _sum(found) if found else None
