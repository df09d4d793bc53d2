"""Upstream pools as they stand on the page *Work*."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from hashwerk.units import format_hashrate
from hashwerk.web import words

if TYPE_CHECKING:
    from hashwerk.pool.upstream.views import UpstreamView
    from hashwerk.site.messages import Snapshot

_STATES: Final = {
    ("working", "in use"): ("●", "in use"),
    ("working", "standby"): ("○", "standby, warm"),
    ("proving", "in use"): ("◐", "in use, though it failed lately"),
    ("proving", "standby"): ("◐", "back; has to prove itself"),
    ("connecting", "out"): ("◌", "connecting"),
    ("failed", "out"): ("✕", "failed"),
}


def upstream_frame(snapshot: Snapshot, now: float) -> dict[str, Any]:
    """Return the rows of pools and of what happened between them."""
    return {
        "rows.upstreams": [_row(each, now) for each in snapshot.upstreams],
        "rows.switches": [
            {
                "k": f"{each.at}{each.pool}",
                "c": [{"t": words.format_age(each.at, now), "s": -each.at}, each.pool, each.what],
            }
            for each in reversed(snapshot.switches)
        ],
    }


def _row(each: UpstreamView, now: float) -> dict[str, Any]:
    glyph, state = _STATES.get((each.state, each.role), ("●", each.state))
    refused = sum(each.rejected.values())
    answered = each.accepted + refused
    seen, credited = each.seen_hs["10m"], each.credited_hs["10m"]
    because = each.reason or ", ".join(
        f"{reason} {count:,}"
        for reason, count in sorted(each.rejected.items(), key=lambda item: -item[1])[:2]
    )
    if each.usable_in_s is not None:
        because = f"used again in {each.usable_in_s:.0f} s" + (f"; {because}" if because else "")
    return {
        "k": each.name,
        "c": [
            {"t": each.name, "h": f"{each.url}, as {each.user}"},
            {"t": f"{glyph} {state}", "s": state},
            {"t": f"{each.sessions:,}", "s": each.sessions},
            {"t": format_hashrate(seen), "s": seen or 0},
            {"t": format_hashrate(credited), "s": credited or 0},
            {"t": f"{each.accepted:,}", "s": each.accepted},
            {
                "t": f"{refused:,} ({words.format_share_of(refused, answered)})" if answered else "–",
                "s": refused,
            },
            {"t": f"{each.lost:,}", "s": each.lost},
            {"t": words.format_ms(each.latency_ms_p50), "s": each.latency_ms_p50 or 0},
            {"t": words.format_difficulty(each.difficulty), "s": each.difficulty or 0},
            {"t": words.format_age(each.last_job_at, now), "s": each.last_job_at or 0},
            because,
        ],
    }
