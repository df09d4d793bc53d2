"""Upstream pools as pages and the API see them."""

from __future__ import annotations

import msgspec


class Switch(msgspec.Struct, frozen=True, kw_only=True):
    """A pool came into use or went out of it."""

    at: float
    pool: str
    what: str  # in words


class UpstreamView(msgspec.Struct, frozen=True, kw_only=True):
    """One pool as pages and the API show it. No credentials."""

    name: str
    url: str
    user: str
    priority: int
    share: float
    state: str  # "working" | "proving" | "connecting" | "failed"
    role: str  # "in use" | "standby" | "out"
    reason: str | None  # of the last failure
    usable_in_s: float | None  # until it has proven itself
    sessions: int
    connections: int
    difficulty: float | None
    height: int | None
    last_job_at: float | None
    seen_hs: dict[str, float | None]  # from the shares of its jobs, here
    credited_hs: dict[str, float | None]  # from the shares it said it accepted
    forwarded: int
    accepted: int
    rejected: dict[str, int]
    lost: int
    waiting: int
    accepted_difficulty: str  # exact sum
    latency_ms_p50: float | None
    latency_ms_p99: float | None
