"""From a snapshot to what stands on the pages: every figure as text, every table as rows."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import urlsplit

from hashwerk.units import format_duration, format_hashrate
from hashwerk.web import words
from hashwerk.web.guard import is_loopback
from hashwerk.web.upstream_frames import upstream_frame

if TYPE_CHECKING:
    from hashwerk.site.messages import AccountView, BlockView, Rate, Snapshot, WorkerView
    from hashwerk.web.state import MineView

Frame = dict[str, Any]
Row = dict[str, Any]

WINDOWS: Final = ("1m", "10m", "1h", "24h")
WINDOWS_S: Final = {"1m": 60, "10m": 600, "1h": 3_600, "24h": 86_400}
WINDOW_WORDS: Final = {"1m": "1 min", "10m": "10 min", "1h": "1 h", "24h": "24 h"}
_RECENT: Final = 6
#: Until then the chart begins with the last minutes: an hour would be nearly empty.
YOUNG_S: Final = 1_200


def mine_frame(view: MineView, now: float) -> Frame:
    """Return everything that one snapshot shows; ``now`` in Unix seconds, for ages."""
    snapshot = view.latest()
    frame = _state_frame(view, snapshot, now)
    if snapshot is not None:
        frame |= _rate_frame(snapshot)
        frame |= _share_frame(snapshot)
        frame |= _block_frame(snapshot, now)
        frame |= _node_frame(snapshot, now)
        frame |= _machine_frame(snapshot, now)
        frame |= upstream_frame(snapshot, now)
    return frame


def _state_frame(view: MineView, snapshot: Snapshot | None, now: float) -> Frame:
    stale, age_s = view.is_stale(), view.age_s()
    says = words.verdict(snapshot, view.not_serving_because(), now, stale=stale)
    lost = snapshot is not None and stale and age_s is not None
    alerts = view.alerts()
    return {
        "state": says.state,
        "glyph": says.glyph,
        "sentence": words.keep_units(says.sentence),
        "stale": "stale" if lost else "",
        "live": _live_words(snapshot, age_s, stale=stale),
        "live.state": "act" if lost else "attention" if snapshot is None else "good",
        "lost": f"Values below are {format_duration(age_s)} old and shown in grey. Machines keep hashing on"
        " the work they have; shares that were acknowledged are safe on disk. This page recovers by itself."
        if lost
        else "",
        "private": "" if snapshot is None else words.private_notice(snapshot.node),
        "simulation": "Simulation: machines are a scale model."
        if snapshot is not None and snapshot.simulation
        else "",
        "alerts.none": "" if alerts or stale else "No open alerts.",
        "alerts.state": "" if alerts else "none",
        "rows.alerts": [
            {"k": text, "c": [{"t": "▲", "c": "attention"}, {"e": since}, text]} for since, text in alerts
        ],
    }


def _live_words(snapshot: Snapshot | None, age_s: float | None, *, stale: bool) -> str:
    if snapshot is None or age_s is None:
        return "starting"
    return f"{format_duration(age_s)} old" if stale else "live"


def _rate_frame(snapshot: Snapshot) -> Frame:
    window = "10m" if snapshot.hashrate.get("10m") is not None else "1m"
    rate = snapshot.hashrate.get(window)
    figure, unit = words.split_unit(format_hashrate(None if rate is None else rate.hs))
    frame: Frame = {
        "young": "young" if snapshot.at - snapshot.started_at < YOUNG_S else "",
        "rate.figure": figure,
        "rate.unit": unit,
        "rate.window": "" if rate is None else _window_words(window, snapshot.at - snapshot.started_at),
        "rate.band": "No share has come yet."
        if rate is None or rate.shares == 0
        else f"95 % sure: {words.format_rate_interval(rate)}, from {rate.shares:,} shares",
    }
    bounds = [known.high_hs for known in snapshot.hashrate.values() if known is not None]
    top = max((bound for bound in bounds if math.isfinite(bound)), default=0.0)
    for name in WINDOWS:
        known = snapshot.hashrate.get(name)
        frame[f"rate.{name}.figure"] = format_hashrate(None if known is None else known.hs)
        frame[f"rate.{name}.band"] = words.format_rate_interval(known)
        frame[f"rate.{name}.shares"] = "–" if known is None else f"{known.shares:,}"
        frame[f"rate.{name}.bar"] = _bar_style(known, top)
    return frame


def _window_words(window: str, uptime_s: float) -> str:
    # A young mine has been measured for less than the window; an older ledger may reach back before this start.
    young = uptime_s < WINDOWS_S[window]
    return f"measured over {WINDOW_WORDS[window]}" + (", or since the mine began" if young else "")


def _bar_style(rate: Rate | None, top: float) -> str:
    if rate is None or top <= 0 or not math.isfinite(rate.high_hs):
        return "display: none"
    low, at, high = (100 * value / top for value in (rate.low_hs, rate.hs, rate.high_hs))
    point = 100 * (at - low) / (high - low) if high > low else 50.0
    return f"--low: {low:.1f}%; --high: {high:.1f}%; --point: {point:.1f}%"


def _share_frame(snapshot: Snapshot) -> Frame:
    rejected = sum(snapshot.rejected.values())
    total = snapshot.accepted + rejected
    minute = snapshot.hashrate.get("1m")
    reasons = sorted(snapshot.rejected.items(), key=lambda item: -item[1])
    reasons = [(reason, count) for reason, count in reasons if count]
    return {
        "shares.accepted": f"{snapshot.accepted:,}",
        "shares.rejected": f"{rejected:,} rejected, {words.format_share_of(rejected, total)}"
        if total
        else "none handed in yet",
        "shares.state": "attention" if total and rejected / total > 0.02 else "",
        "shares.minute": "none in the last minute"
        if minute is None or minute.shares == 0
        else f"{minute.shares:,} in the last minute",
        "shares.reasons": ", ".join(f"{reason.replace('_', ' ')} {count:,}" for reason, count in reasons[:3]),
        "latency.p50": words.format_ms(snapshot.submit_ms_p50),
        "latency.p99": words.format_ms(snapshot.submit_ms_p99),
        "latency.commit": words.format_ms(snapshot.commit_ms_p99),
        "rows.rejects": [
            {
                "k": reason,
                "c": [
                    reason.replace("_", " "),
                    {"t": f"{count:,}", "s": count},
                    {"t": words.format_share_of(count, total), "s": count},
                    words.REJECT_WORDS.get(reason, ""),
                ],
            }
            for reason, count in reasons
        ],
    }


def _block_frame(snapshot: Snapshot, now: float) -> Frame:
    found = sorted(snapshot.recent_blocks, key=lambda block: block.found_at, reverse=True)
    counts = snapshot.blocks
    good = counts.get("accepted", 0) + counts.get("mature", 0)
    bad = counts.get("rejected", 0) + counts.get("orphaned", 0)
    details = [f"{counts.get('mature', 0):,} mature"]
    if counts.get("submitted"):
        details.append(f"{counts['submitted']:,} waiting")
    details.append(f"{bad:,} lost" if bad else "none lost")
    rows = [_block_row(block, snapshot, now) for block in found]
    return {
        "blocks.count": f"{good:,}",
        "blocks.detail": ", ".join(details),
        "blocks.last": f"last {words.format_age(found[0].found_at, now)}" if found else "none found yet",
        "blocks.expected": f"one expected every {format_duration(snapshot.node.expected_block_s)}"
        if snapshot.node.expected_block_s is not None
        else "no hash rate yet to expect one from",
        "rows.blocks": rows,
        "rows.recent_blocks": [
            {"k": row["k"], "c": [row["c"][index] for index in (0, 1, 2, 4, 5)]} for row in rows[:_RECENT]
        ],
    }


def _block_row(block: BlockView, snapshot: Snapshot, now: float) -> Row:
    glyph, meaning = words.block_state(block.state)
    state = "act" if block.state in ("rejected", "orphaned") else "violet"
    confirmed = f"{block.confirmations:,}" if block.confirmations else "–"
    return {
        "k": block.hash,
        "c": [
            {"t": f"{block.height:,}", "s": block.height},
            {"e": block.found_at, "h": words.format_age(block.found_at, now)},
            {
                "t": f"{glyph} {block.state}" + (f": {block.reason}" if block.reason else ""),
                "c": state,
                "h": meaning,
            },
            {"t": confirmed, "s": block.confirmations},
            {"t": words.format_coins(block.reward_sat, snapshot.node), "s": block.reward_sat},
            block.worker or "–",
            {"t": words.short_hash(block.hash), "y": block.hash, "h": block.hash, "c": "mono"},
        ],
    }


def _node_frame(snapshot: Snapshot, now: float) -> Frame:
    node, template = snapshot.node, snapshot.template
    frame: Frame = {
        "node.height": f"{node.height:,}",
        "node.kind": {"kernel": "Bitcoin Core's engine", "core": "Bitcoin Core"}.get(node.kind, node.kind)
        + f", {node.network}",
        "node.tip": words.short_hash(node.tip),
        "node.tip.full": node.tip,
        "node.health": "● healthy" if node.healthy else f"■ {node.message or 'does not answer'}",
        "node.state": "" if node.healthy else "act",
        "node.difficulty": f"difficulty {words.format_difficulty(node.difficulty)}",
        "jobs": f"{snapshot.jobs:,}",
    }
    if template is None:
        return frame | {"template.age": "–", "template.brief": "no template yet"}
    age = words.format_age(template.received_at, now)
    return frame | {
        "template.age": age,
        "template.brief": f"work for block {template.height:,}, {age}",
        "template.height": f"{template.height:,}",
        "template.prev": words.short_hash(template.prev_hash),
        "template.nbits": template.nbits,
        "template.transactions": f"{template.transactions:,}",
        "template.value": words.format_coins(template.coinbase_value_sat, node),
        "template.latency": words.format_ms(template.template_to_job_ms),
    }


def _machine_frame(snapshot: Snapshot, now: float) -> Frame:
    host = urlsplit(snapshot.stratum_url).hostname or ""
    away = snapshot.workers_total - words.hashing_machines(snapshot)
    last_share = max((at for worker in snapshot.workers if (at := worker.last_share_at)), default=None)
    sessions = "1 connection" if snapshot.sessions == 1 else f"{snapshot.sessions:,} connections"
    return {
        "machines.count": f"{words.hashing_machines(snapshot):,}",
        "machines.detail": f"{sessions}, {away:,} away" if away > 0 else sessions,
        "machines.share": "" if last_share is None else f"last share {words.format_age(last_share, now)}",
        "machines.none": "" if snapshot.workers_total else "empty",
        "machines.more": ""
        if snapshot.workers_total <= len(snapshot.workers)
        else f"The {len(snapshot.workers):,} most active of {snapshot.workers_total:,} machines.",
        "stratum.url": snapshot.stratum_url,
        "stratum.reach": "" if is_loopback(host) else "none",
        "rows.workers": [_worker_row(worker, now) for worker in snapshot.workers],
        "rows.accounts": [_account_row(account) for account in snapshot.accounts],
        "rows.machines": [_machine_row(worker, now) for worker in snapshot.workers[:_RECENT]],
    }


def _worker_row(worker: WorkerView, now: float) -> Row:
    rate = worker.hashrate.get("10m") or worker.hashrate.get("1m")
    hour = worker.hashrate.get("1h")
    rejected = sum(worker.rejected.values())
    total = worker.accepted + rejected
    pace = None if rate is None or worker.work_log2 is None else 60 * rate.hs / 2.0**worker.work_log2
    reasons = ", ".join(
        f"{reason.replace('_', ' ')} {count}" for reason, count in worker.rejected.items() if count
    )
    return {
        "k": worker.id,
        "c": [
            {"t": words.worker_name(worker), "h": f"{worker.user_agent} at {worker.remote}"},
            _presence(worker),
            {"t": format_hashrate(None if rate is None else rate.hs), "s": 0 if rate is None else rate.hs},
            {"t": words.format_rate_interval(rate), "s": 0 if rate is None else rate.low_hs},
            {"t": format_hashrate(None if hour is None else hour.hs), "s": 0 if hour is None else hour.hs},
            {"t": words.format_work(worker.work_log2), "s": worker.work_log2 or 0},
            {"t": "–" if pace is None else f"{pace:.3g}", "s": pace or 0},
            {"t": f"{worker.accepted:,}", "s": worker.accepted},
            {
                "t": f"{rejected:,} ({words.format_share_of(rejected, total)})" if rejected else "0",
                "s": rejected,
                "h": reasons,
                "c": "attention" if total and rejected / total > 0.02 else "",
            },
            {"t": words.format_age(worker.last_share_at, now), "s": worker.last_share_at or 0},
            {"t": worker.user_agent or "–", "h": f"{worker.user_agent} at {worker.remote}"},
        ],
    }


def _account_row(account: AccountView) -> Row:
    cells: list[Row] = [
        {"t": account.name},
        {"t": f"{account.sessions:,}" if account.sessions else "–", "s": account.sessions},
    ]
    for window in ("10m", "1h", "24h"):
        rate = account.hashrate.get(window)
        cells.append(
            {
                "t": format_hashrate(None if rate is None else rate.hs),
                "s": 0 if rate is None else rate.hs,
                "h": f"95 % interval {words.format_rate_interval(rate)}",
            }
        )
    return {"k": account.name, "c": cells}


def _machine_row(worker: WorkerView, now: float) -> Row:
    row = _worker_row(worker, now)
    return {"k": worker.id, "c": [row["c"][index] for index in (0, 1, 2, 9)]}


def _presence(worker: WorkerView) -> Row:
    if worker.sessions > 0:
        several = f" ×{worker.sessions}" if worker.sessions > 1 else ""
        return {"t": f"● connected{several}", "s": worker.sessions, "c": "violet"}
    return {"t": "○ away", "s": 0, "c": "muted"}
