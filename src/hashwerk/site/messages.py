"""What the processes of a mine tell each other, as typed messages (msgpack) over a local socket.

`serve` sends a `Snapshot` every second; `site` keeps the last one for the pages and the API.
"""

from __future__ import annotations

import msgspec

from hashwerk.pool.upstream.views import Switch, UpstreamView
from hashwerk.work.poisson import Rate

__all__ = [
    "AccountView",
    "BlockView",
    "NodeView",
    "Rate",
    "Snapshot",
    "Switch",
    "TemplateView",
    "UpstreamSums",
    "UpstreamView",
    "WorkerView",
]


class NodeView(msgspec.Struct, frozen=True, kw_only=True):
    """The node as pages show it."""

    kind: str
    network: str
    height: int
    tip: str  # hex, display order
    healthy: bool
    private: bool  # a chain of our own: its coins are worth nothing
    message: str | None = None
    url: str | None = None
    difficulty: float | None = None
    expected_block_s: float | None = None  # at the hash rate of the last 10 minutes


class TemplateView(msgspec.Struct, frozen=True, kw_only=True):
    """The template being worked on."""

    height: int
    prev_hash: str
    nbits: str
    transactions: int
    coinbase_value_sat: int
    received_at: float
    template_to_job_ms: float | None  # until the last machine had it


class UpstreamSums(msgspec.Struct, frozen=True, kw_only=True):
    """What upstream pools made of one machine's shares since the ledger began."""

    accepted: int
    rejected: int
    lost: int
    latency_ms_mean: float | None  # until they answered; None: no answer yet


class WorkerView(msgspec.Struct, frozen=True, kw_only=True):
    """One machine as the shares show it."""

    id: int
    account: str
    machine: str
    sessions: int  # connected now
    user_agent: str
    remote: str
    work_log2: int | None
    hashrate: dict[str, Rate | None]  # "1m", "10m", "1h", "24h"
    accepted: int
    rejected: dict[str, int]  # by reason
    last_share_at: float | None
    upstream: UpstreamSums | None = None  # None: it never worked for one


class AccountView(msgspec.Struct, frozen=True, kw_only=True):
    """One account as the shares of its machines show it."""

    name: str
    sessions: int  # connected now
    hashrate: dict[str, Rate | None]  # "1m", "10m", "1h", "24h"


class BlockView(msgspec.Struct, frozen=True, kw_only=True):
    """A block we found, as pages show it."""

    hash: str
    height: int
    found_at: float
    worker: str | None
    reward_sat: int
    state: str
    reason: str | None
    confirmations: int


class Snapshot(msgspec.Struct, frozen=True, kw_only=True, tag="snapshot"):
    """The state of `serve`, once a second."""

    at: float
    started_at: float
    version: str
    node: NodeView
    template: TemplateView | None
    serving: bool  # work is being served
    hashrate: dict[str, Rate | None]
    accepted: int
    rejected: dict[str, int]
    accepted_work: str  # sum of 2**work_log2, hashes, as a decimal number: exact, of any size
    blocks: dict[str, int]  # by state
    recent_blocks: list[BlockView]
    sessions: int
    workers: list[WorkerView]  # at most 200, the most active first
    workers_total: int
    accounts: list[AccountView]  # at most 50: those with machines connected, then the first known
    accounts_total: int
    submit_ms_p50: float | None
    submit_ms_p99: float | None
    commit_ms_p99: float | None
    jobs: int
    stratum_url: str
    simulation: bool
    warnings: list[str]
    upstreams: list[UpstreamView] = []
    switches: list[Switch] = []  # oldest first
