"""What the API answers, as typed models. Times are Unix seconds, UTC; a missing value is null, never 0."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict, Field


class Model(BaseModel):
    """Base: built from the attributes of our own messages."""

    model_config = ConfigDict(from_attributes=True, frozen=True)


class Interval(Model):
    """The 95 % interval of a measured hash rate, in hashes per second, and the shares it rests on."""

    low: float
    high: float | None = Field(description="null where no share came at all: nothing bounds it.")
    shares: int


class Shares(Model):
    """What became of the shares handed in."""

    accepted: int
    rejected: int
    rejected_by_reason: dict[str, int]
    accepted_work_hashes: int = Field(
        description="Work credited: the sum of 2**work_log2 over accepted shares."
    )


class Blocks(Model):
    """How many blocks were found, by what became of them."""

    accepted: int = Field(description="In the active chain, mature or not.")
    mature: int
    submitted: int
    rejected: int
    orphaned: int


class Node(Model):
    """The node that gives templates and takes blocks."""

    kind: str
    network: str
    height: int
    tip: str
    healthy: bool
    private: bool = Field(description="A chain of our own: its coins are worth nothing.")
    message: str | None
    url: str | None
    difficulty: float | None
    expected_block_s: float | None


class Latency(Model):
    """How fast the server answers, in milliseconds, over the last minute."""

    submit_p50: float | None
    submit_p99: float | None
    commit_p99: float | None
    template_to_job: float | None = Field(description="New template until the last machine had its job.")


class Upstream(Model):
    """A pool that machines work for."""

    name: str
    url: str
    user: str
    priority: int
    share: float
    state: str = Field(
        description="working, proving (it failed and must show that it is well), connecting or failed"
    )
    role: str = Field(description="in use, standby or out")
    reason: str | None = Field(description="Why it failed last, while it is not trusted again.")
    usable_in_s: float | None
    sessions: int = Field(description="Machines that work for it now.")
    connections: int
    difficulty: float | None
    height: int | None
    last_job_at: float | None
    seen_hs: dict[str, float | None] = Field(
        description="Hash rate from the shares of its jobs, as counted here."
    )
    credited_hs: dict[str, float | None] = Field(description="Hash rate from the shares it said it accepted.")
    forwarded: int
    accepted: int
    rejected: dict[str, int]
    lost: int = Field(description="Shares that got no answer, or could not be handed in.")
    waiting: int
    accepted_difficulty: str
    latency_ms_p50: float | None
    latency_ms_p99: float | None


class Switch(Model):
    """A pool came into use or went out of it."""

    at: float
    pool: str
    what: str


class Upstreams(Model):
    """The upstream pools, and what happened between them, the newest first."""

    upstreams: list[Upstream]
    switches: list[Switch]


class Status(Model):
    """The mine as a whole."""

    at: float
    age_s: float = Field(description="How long ago the server reported this.")
    stale: bool = Field(description="The server no longer reports: these are the last known values.")
    serving: bool
    not_serving_because: str | None
    version: str
    uptime_s: float
    simulation: bool
    stratum_url: str
    hashrate_hs: dict[str, float | None]
    hashrate_95_hs: dict[str, Interval | None]
    shares: Shares
    blocks: Blocks
    node: Node
    latency_ms: Latency
    sessions: int
    workers: int
    jobs: int
    warnings: list[str]
    upstreams: list[Upstream]


class UpstreamSums(Model):
    """What upstream pools made of a machine's shares since the ledger began."""

    accepted: int
    rejected: int
    lost: int = Field(description="Without an answer, or not handed in.")
    latency_ms_mean: float | None


class Worker(Model):
    """One machine as its shares show it."""

    id: int
    name: str
    account: str
    machine: str
    sessions: int
    user_agent: str
    remote: str
    work_log2: int | None
    difficulty: float | None
    hashrate_hs: dict[str, float | None]
    hashrate_95_hs: dict[str, Interval | None]
    accepted: int
    rejected: int
    rejected_by_reason: dict[str, int]
    last_share_at: float | None
    upstream: UpstreamSums | None = Field(description="None: it never worked for an upstream pool.")


class Workers(Model):
    """The most active machines; ``total`` counts all."""

    total: int
    workers: list[Worker]


class AccountModel(Model):
    """One account as the shares of its machines show it."""

    name: str
    sessions: int
    hashrate_hs: dict[str, float | None]
    hashrate_95_hs: dict[str, Interval | None]


class Accounts(Model):
    """Accounts with machines connected, most first, then others; ``total`` counts all."""

    total: int
    accounts: list[AccountModel]


class Block(Model):
    """A block this mine found."""

    hash: str
    height: int
    found_at: float
    worker: str | None
    reward_sat: int
    state: str
    reason: str | None
    confirmations: int


class BlockList(Model):
    """Blocks found, the newest first."""

    blocks: list[Block]


class Event(Model):
    """A change of state, as the page *Log* shows it."""

    id: int
    time: float
    kind: str
    message: str
    details: dict[str, object]


class EventList(Model):
    """Events, the newest first; ask for the next page with ``before``."""

    events: list[Event]
    next_before: int | None


class SeriesPoint(Model):
    """What the shares of one step show. A step of which nothing is known is left out."""

    start: float
    hashrate_hs: float | None
    low_hs: float | None
    high_hs: float | None
    accepted: int
    rejected: int


class Series(Model):
    """Hash rate, shares and rejects over time; each point covers [start, start + step_s)."""

    step_s: int
    since: float
    until: float
    points: list[SeriesPoint]


class TemplateModel(Model):
    """The template being worked on."""

    height: int
    prev_hash: str
    nbits: str
    transactions: int
    coinbase_value_sat: int
    received_at: float
    template_to_job_ms: float | None


class Health(Model):
    """Whether work is being served, and if not, why."""

    serving: bool
    reason: str | None
