"""What pages say of upstream pools."""

from __future__ import annotations

from types import ModuleType
from typing import Any

import msgspec

from hashwerk.pool.upstream.views import Switch, UpstreamView
from hashwerk.web.upstream_frames import upstream_frame
from hashwerk.web.words import mining_sentence

NOW = 1_750_000_000.0


def view(name: str, **changes: Any) -> UpstreamView:
    return UpstreamView(
        **{
            "name": name,
            "url": "stratum+tcp://pool.example:3333",
            "user": "acct",
            "priority": 1,
            "share": 1.0,
            "state": "working",
            "role": "in use",
            "reason": None,
            "usable_in_s": None,
            "sessions": 40,
            "connections": 1,
            "difficulty": 65_536.0,
            "height": 900_000,
            "last_job_at": NOW - 12,
            "seen_hs": {"1m": 4e15, "10m": 4e15, "1h": 4e15},
            "credited_hs": {"1m": 4e15, "10m": 3.9e15, "1h": 4e15},
            "forwarded": 1_000,
            "accepted": 990,
            "rejected": {"stale": 8, "above target": 2},
            "lost": 3,
            "waiting": 1,
            "accepted_difficulty": "64880640",
            "latency_ms_p50": 21.5,
            "latency_ms_p99": 80.0,
        }
        | changes
    )


def cells(row: dict[str, Any]) -> list[str]:
    return [cell["t"] if isinstance(cell, dict) else cell for cell in row["c"]]


def test_the_row_of_a_pool(web_site: ModuleType) -> None:
    snapshot = msgspec.structs.replace(web_site.sample(NOW), upstreams=[view("first")])
    (row,) = upstream_frame(snapshot, NOW)["rows.upstreams"]
    assert cells(row) == [
        "first", "● in use", "40", "4.00 PH/s", "3.90 PH/s", "990", "10 (1 %)", "3", "21.5 ms", "65,536", "12 s ago",
        "stale 8, above target 2",
    ]  # fmt: skip


def test_a_pool_that_failed_says_why_and_when_it_is_used_again(web_site: ModuleType) -> None:
    pools = [
        view("first", state="failed", role="out", reason="no job within 10 s", sessions=0, difficulty=None),
        view(
            "second",
            state="proving",
            role="standby",
            sessions=0,
            usable_in_s=41.7,
            reason="closed",
            rejected={},
        ),
    ]
    snapshot = msgspec.structs.replace(web_site.sample(NOW), upstreams=pools)
    first, second = upstream_frame(snapshot, NOW)["rows.upstreams"]
    assert cells(first)[1] == "✕ failed"
    assert cells(first)[-1] == "no job within 10 s"
    assert cells(second)[1] == "◐ back; has to prove itself"
    assert cells(second)[-1] == "used again in 42 s; closed"


def test_what_happened_stands_newest_first(web_site: ModuleType) -> None:
    switches = [
        Switch(at=NOW - 90, pool="first", what="gives work"),
        Switch(at=NOW - 5, pool="first", what="failed: x"),
    ]
    snapshot = msgspec.structs.replace(web_site.sample(NOW), switches=switches)
    rows = upstream_frame(snapshot, NOW)["rows.switches"]
    assert [cells(row)[2] for row in rows] == ["failed: x", "gives work"]


def test_the_sentence_names_the_pools(web_site: ModuleType) -> None:
    snapshot = web_site.sample(NOW)
    all_of_them = msgspec.structs.replace(snapshot, upstreams=[view("first"), view("second", sessions=500)])
    assert mining_sentence(all_of_them, NOW).endswith("for first and second.")
    broken = msgspec.structs.replace(
        snapshot,
        upstreams=[view("first", sessions=500), view("second", state="failed", role="out", sessions=0)],
    )
    assert mining_sentence(broken, NOW).endswith("for first; second does not work.")
    some = msgspec.structs.replace(snapshot, upstreams=[view("first", sessions=1)])
    assert "and for first; a block is expected" in mining_sentence(some, NOW)
