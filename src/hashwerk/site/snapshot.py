"""Puts together what `serve` tells the others once a second."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import islice
from typing import Final

from hashwerk import __version__
from hashwerk.chain.header import hash_to_hex
from hashwerk.chain.target import difficulty_from_target, target_from_compact, work_from_target
from hashwerk.pool.connection import Connection
from hashwerk.pool.server import StratumServer
from hashwerk.site.messages import (
    AccountView,
    BlockView,
    NodeView,
    Rate,
    Snapshot,
    TemplateView,
    UpstreamSums,
    UpstreamView,
    WorkerView,
)
from hashwerk.store import SqliteLedger
from hashwerk.store.keeper import EpochKeeper
from hashwerk.stratum.ports import BlockRecord, Node
from hashwerk.work.fate import Fate

#: Workers that a snapshot carries; the API reads the others from the ledger.
MAX_WORKERS: Final = 200
MAX_ACCOUNTS: Final = 50
RECENT_BLOCKS: Final = 20


@dataclass(slots=True)
class Observed:
    """The parts of `serve` that are looked at."""

    node: Node
    ledger: SqliteLedger
    server: StratumServer
    keeper: EpochKeeper
    private: bool
    started_at: float
    stratum_url: str = ""


def take_snapshot(observed: Observed, now: float, monotonic: float) -> Snapshot:
    """Return the state of the mine at ``now``, Unix seconds; ``monotonic`` is the same moment of the steady clock."""
    ledger, server = observed.ledger, observed.server
    rates, ledger_status = ledger.rates, ledger.status()
    hashrate = rates.total(now)
    template = _template(observed)
    node = _node(observed, hashrate["10m"].hs if hashrate["10m"] else None)
    blocks = ledger.blocks()
    states: dict[str, int] = {}
    for block in blocks:
        states[block.state] = states.get(block.state, 0) + 1
    workers = _workers(observed, now)
    latency = server.statistics.submit_latency
    upstreams = server.upstreams.views() if server.upstreams is not None else []
    working = any(each.connections for each in upstreams)
    warnings = [text for text in (node.message if not node.healthy else None, ledger_status.message) if text]
    return Snapshot(
        at=now,
        started_at=observed.started_at,
        version=__version__,
        node=node,
        template=template,
        serving=(template is not None or working) and ledger_status.healthy,
        hashrate=hashrate,
        accepted=rates.accepted,
        rejected=rates.rejected,
        accepted_work=str(rates.accepted_work),
        blocks=states,
        recent_blocks=[_block(block, ledger.worker_names) for block in reversed(blocks[-RECENT_BLOCKS:])],
        sessions=server.sessions,
        workers=workers,
        workers_total=len(ledger.worker_names),
        accounts=_accounts(observed, now),
        accounts_total=len(ledger.account_names),
        submit_ms_p50=latency.quantile_ms(0.5, monotonic),
        submit_ms_p99=latency.quantile_ms(0.99, monotonic),
        commit_ms_p99=ledger_status.commit_ms_p99,
        jobs=len(server.book),
        stratum_url=observed.stratum_url,
        simulation=False,
        warnings=[*warnings, *upstream_warnings(upstreams)],
        upstreams=upstreams,
        switches=list(server.upstreams.switches) if server.upstreams is not None else [],
    )


def upstream_warnings(upstreams: list[UpstreamView]) -> list[str]:
    """Return what people should know of the pools: which do not work, and why."""
    return [f"{each.name} does not work: {each.reason}" for each in upstreams if each.state == "failed"]


def _node(observed: Observed, hashrate_hs: float | None) -> NodeView:
    status = observed.node.status()
    template = observed.server.book.template
    target = target_from_compact(template.nbits) if template is not None else None
    return NodeView(
        kind=status.kind,
        network=status.network,
        height=status.height,
        tip=hash_to_hex(status.tip),
        healthy=status.healthy,
        private=observed.private,
        message=status.message,
        url=status.url,
        difficulty=difficulty_from_target(target) if target is not None else None,
        expected_block_s=work_from_target(target) / hashrate_hs
        if target is not None and hashrate_hs
        else None,
    )


def _block_work(observed: Observed, target: int) -> int:
    """Return the hashes a block takes. On a private chain shares may be harder than blocks, and only they are handed in."""
    easiest_share = min((connection.work_log2 for connection in observed.server.connections), default=0)
    return max(work_from_target(target), 1 << easiest_share)


def _template(observed: Observed) -> TemplateView | None:
    template = observed.server.book.template
    if template is None:
        return None
    broadcast = observed.server.statistics.last_broadcast
    return TemplateView(
        height=template.height,
        prev_hash=hash_to_hex(template.prev_hash),
        nbits=f"{template.nbits:08x}",
        transactions=len(template.transactions),
        coinbase_value_sat=template.coinbase_value_sat,
        received_at=template.received_at,
        template_to_job_ms=broadcast.last_ms if broadcast is not None else None,
    )


def _block(block: BlockRecord, names: Mapping[int, tuple[str, str]]) -> BlockView:
    return BlockView(
        hash=hash_to_hex(block.hash),
        height=block.height,
        found_at=block.found_at,
        worker=".".join(names[block.worker_id]) if block.worker_id is not None else None,
        reward_sat=block.reward_sat,
        state=block.state,
        reason=block.reason,
        confirmations=block.confirmations,
    )


def _workers(observed: Observed, now: float) -> list[WorkerView]:
    """Return the busiest workers of the last ten minutes, and whoever is connected."""
    connected: dict[int, list[Connection]] = {}
    for connection in observed.server.connections:
        for worker in connection.session.users.values():
            connected.setdefault(worker, []).append(connection)
    rates = observed.ledger.rates
    ids = list(dict.fromkeys([*rates.busiest(MAX_WORKERS), *connected]))[:MAX_WORKERS]
    hashrates = rates.workers(ids, now)
    names = observed.ledger.worker_names
    return [
        _worker(observed, worker, names[worker], connected.get(worker, []), hashrates[worker])
        for worker in ids
    ]


def _accounts(observed: Observed, now: float) -> list[AccountView]:
    """Return the accounts that have machines connected, most first, then others in the order they became known."""
    connected: dict[int, int] = {}
    for connection in observed.server.connections:
        if connection.account is not None:
            connected[connection.account.id] = connected.get(connection.account.id, 0) + 1
    names = observed.ledger.account_names
    busiest = sorted(connected, key=lambda account: -connected[account])
    ids = list(dict.fromkeys([*busiest, *islice(names, MAX_ACCOUNTS)]))[:MAX_ACCOUNTS]
    return [
        AccountView(
            name=names[account],
            sessions=connected.get(account, 0),
            hashrate=observed.ledger.rates.account(account, now),
        )
        for account in ids
    ]


def _upstream_sums(ledger: SqliteLedger, worker: int) -> UpstreamSums | None:
    fates = ledger.fates_of_worker(worker)
    if not fates:
        return None
    shares = dict.fromkeys(Fate, 0)
    latency_us = 0
    for key, count in fates.items():
        shares[key.fate] += count.shares
        latency_us += count.latency_us_sum
    answered = shares[Fate.ACCEPTED] + shares[Fate.REJECTED]
    return UpstreamSums(
        accepted=shares[Fate.ACCEPTED],
        rejected=shares[Fate.REJECTED],
        lost=shares[Fate.LOST],
        latency_ms_mean=latency_us / answered / 1000 if answered else None,
    )


def _worker(
    observed: Observed,
    worker: int,
    name: tuple[str, str],
    connections: list[Connection],
    hashrate: dict[str, Rate | None],
) -> WorkerView:
    accepted, rejected = observed.ledger.rates.shares_of(worker)
    first = connections[0] if connections else None
    return WorkerView(
        id=worker,
        account=name[0],
        machine=name[1],
        sessions=len(connections),
        user_agent=first.session.user_agent if first else "",
        remote=first.remote if first else "",
        work_log2=first.work_log2 if first else None,
        hashrate=hashrate,
        accepted=accepted,
        rejected=rejected,
        last_share_at=observed.ledger.rates.last_share_at(worker),
        upstream=_upstream_sums(observed.ledger, worker),
    )
