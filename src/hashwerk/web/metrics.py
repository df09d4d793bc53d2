"""The mine's state for Prometheus. A value that is not known is left out, never written as 0."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Final

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, InfoMetricFamily
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector

from hashwerk.clock import Clock
from hashwerk.web.words import worker_name

if TYPE_CHECKING:
    from hashwerk.site.messages import Rate, Snapshot
    from hashwerk.web.state import MineView

CONTENT_TYPE: Final = "text/plain; version=0.0.4; charset=utf-8"
_BLOCK_STATES: Final = ("submitted", "accepted", "mature", "rejected", "orphaned")


class MineCollector(Collector):
    """Turns the last snapshot into metric families, each time it is asked."""

    def __init__(self, view: MineView, clock: Clock) -> None:
        self._view = view
        self._clock = clock

    def collect(self) -> Iterator[Metric]:
        """Yield every family; only what is about the report itself before the first report."""
        yield _gauge(
            "hashwerk_serving", "1 while work is being served.", self._view.not_serving_because() is None
        )
        yield _gauge(
            "hashwerk_snapshot_age_seconds", "How long ago the server last reported.", self._view.age_s()
        )
        snapshot = self._view.latest()
        if snapshot is None:
            return
        yield InfoMetricFamily(
            "hashwerk_build", "The program that runs.", value={"version": snapshot.version}
        )
        yield from _work_families(snapshot)
        yield from _node_families(snapshot, self._clock.time())
        yield from _latency_families(snapshot)
        yield from _worker_families(snapshot)
        yield from _upstream_families(snapshot, self._clock.time())


def render_metrics(view: MineView, clock: Clock) -> bytes:
    """Return the exposition text."""
    registry = CollectorRegistry(auto_describe=False)
    registry.register(MineCollector(view, clock))
    for collector in view.collectors:
        registry.register(collector)
    return generate_latest(registry)


def _work_families(snapshot: Snapshot) -> Iterator[Metric]:
    yield from _rate_families(snapshot.hashrate)
    shares = CounterMetricFamily("hashwerk_shares", "Shares handed in, by verdict.", labels=["verdict"])
    for verdict, count in {"accepted": snapshot.accepted, **snapshot.rejected}.items():
        shares.add_metric([verdict], count)
    yield shares
    work = CounterMetricFamily("hashwerk_accepted_work_hashes", "Work credited, in hashes.")
    work.add_metric([], int(snapshot.accepted_work))
    yield work
    blocks = GaugeMetricFamily("hashwerk_blocks", "Blocks found, by state.", labels=["state"])
    for state in dict.fromkeys((*_BLOCK_STATES, *snapshot.blocks)):
        blocks.add_metric([state], snapshot.blocks.get(state, 0))
    yield blocks
    yield _gauge("hashwerk_sessions", "Machines connected now.", snapshot.sessions)
    yield _gauge("hashwerk_workers", "Machines known.", snapshot.workers_total)
    yield _gauge("hashwerk_jobs", "Jobs for which shares are taken.", snapshot.jobs)
    yield _gauge("hashwerk_warnings", "Open warnings.", len(snapshot.warnings))
    yield _gauge("hashwerk_simulation", "1 where machines are simulated.", snapshot.simulation)
    yield _gauge("hashwerk_uptime_seconds", "Since the server started.", snapshot.at - snapshot.started_at)


def _node_families(snapshot: Snapshot, now: float) -> Iterator[Metric]:
    node, template = snapshot.node, snapshot.template
    info = {"kind": node.kind, "network": node.network, "private": str(node.private).lower()}
    yield InfoMetricFamily("hashwerk_node", "The node in use.", value=info)
    yield _gauge("hashwerk_node_height", "Height of the node's tip.", node.height)
    yield _gauge("hashwerk_node_healthy", "1 while the node gives work.", node.healthy)
    yield _gauge("hashwerk_network_difficulty", "Difficulty of the next block.", node.difficulty)
    yield _gauge(
        "hashwerk_expected_block_seconds", "Expected time to a block of ours.", node.expected_block_s
    )
    if template is not None:
        age_s = max(0.0, now - template.received_at)
        yield _gauge("hashwerk_template_age_seconds", "Age of the template being worked on.", age_s)
        yield _gauge("hashwerk_template_transactions", "Transactions in the template.", template.transactions)


def _latency_families(snapshot: Snapshot) -> Iterator[Metric]:
    submit = GaugeMetricFamily(
        "hashwerk_submit_latency_seconds", "Share received until answered, last minute.", labels=["quantile"]
    )
    for quantile, latency_ms in (("0.5", snapshot.submit_ms_p50), ("0.99", snapshot.submit_ms_p99)):
        if latency_ms is not None:
            submit.add_metric([quantile], latency_ms / 1000)
    yield submit
    commit = GaugeMetricFamily(
        "hashwerk_commit_latency_seconds", "Shares handed to the ledger until on disk.", labels=["quantile"]
    )
    if snapshot.commit_ms_p99 is not None:
        commit.add_metric(["0.99"], snapshot.commit_ms_p99 / 1000)
    yield commit
    template = snapshot.template
    to_job_ms = None if template is None else template.template_to_job_ms
    yield _gauge(
        "hashwerk_template_to_job_seconds",
        "New template until the last machine had its job.",
        None if to_job_ms is None else to_job_ms / 1000,
    )


def _worker_families(snapshot: Snapshot) -> Iterator[Metric]:
    rates = GaugeMetricFamily(
        "hashwerk_worker_hashrate_hashes_per_second", "Hash rate of a machine over 10 min.", labels=["worker"]
    )
    shares = CounterMetricFamily(
        "hashwerk_worker_shares", "Shares of a machine, by verdict.", labels=["worker", "verdict"]
    )
    for worker in snapshot.workers:
        name = worker_name(worker)
        if (rate := worker.hashrate.get("10m")) is not None:
            rates.add_metric([name], rate.hs)
        for verdict, count in {"accepted": worker.accepted, **worker.rejected}.items():
            shares.add_metric([name, verdict], count)
    yield rates
    yield shares


def _upstream_families(snapshot: Snapshot, now: float) -> Iterator[Metric]:
    working = GaugeMetricFamily(
        "hashwerk_upstream_working", "1 while a pool gives work.", labels=["upstream"]
    )
    sessions = GaugeMetricFamily(
        "hashwerk_upstream_sessions", "Machines that work for a pool.", labels=["upstream"]
    )
    shares = CounterMetricFamily(
        "hashwerk_upstream_shares", "Shares handed in to a pool, by their fate.", labels=["upstream", "fate"]
    )
    seen = GaugeMetricFamily(
        "hashwerk_upstream_hashrate_hashes_per_second",
        "Hash rate over 10 min: seen here, and credited by the pool's own answers.",
        labels=["upstream", "side"],
    )
    age = GaugeMetricFamily(
        "hashwerk_upstream_job_age_seconds", "Age of a pool's last job.", labels=["upstream"]
    )
    latency = GaugeMetricFamily(
        "hashwerk_upstream_answer_latency_seconds",
        "Share handed in until the pool answered, last minute.",
        labels=["upstream", "quantile"],
    )
    for each in snapshot.upstreams:
        working.add_metric([each.name], float(each.connections > 0))
        sessions.add_metric([each.name], each.sessions)
        for fate, count in (
            ("accepted", each.accepted),
            ("rejected", sum(each.rejected.values())),
            ("lost", each.lost),
        ):
            shares.add_metric([each.name, fate], count)
        for side, rate_hs in (("seen", each.seen_hs["10m"]), ("credited", each.credited_hs["10m"])):
            if rate_hs is not None:
                seen.add_metric([each.name, side], rate_hs)
        if each.last_job_at is not None:
            age.add_metric([each.name], max(0.0, now - each.last_job_at))
        for quantile, latency_ms in (("0.5", each.latency_ms_p50), ("0.99", each.latency_ms_p99)):
            if latency_ms is not None:
                latency.add_metric([each.name, quantile], latency_ms / 1000)
    if snapshot.upstreams:
        yield from (working, sessions, shares, seen, age, latency)


def _rate_families(rates: dict[str, Rate | None]) -> Iterator[Metric]:
    families = [
        GaugeMetricFamily(
            f"hashwerk_hashrate{suffix}_hashes_per_second",
            f"Hash rate measured from shares{meaning}.",
            labels=["window"],
        )
        for suffix, meaning in (("", ""), ("_low", ", lower 95 % bound"), ("_high", ", upper 95 % bound"))
    ]
    for window, rate in rates.items():
        if rate is not None:
            for family, value in zip(families, (rate.hs, rate.low_hs, rate.high_hs), strict=True):
                family.add_metric([window], value)  # an infinite bound is +Inf, as Prometheus writes it
    yield from families


def _gauge(name: str, words: str, value: float | bool | None) -> Metric:
    family = GaugeMetricFamily(name, words)
    if value is not None:
        family.add_metric([], float(value))
    return family
