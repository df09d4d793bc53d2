"""The REST API under /api/v1: typed, documented by OpenAPI, read-only."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Annotated, Final

import msgspec
from fastapi import APIRouter, HTTPException, Query, Response

from hashwerk.clock import Clock
from hashwerk.errors import StoreError
from hashwerk.stratum.ports import BlockRecord
from hashwerk.web import models
from hashwerk.web.history import MAX_EVENTS, MAX_POINTS, History, Point
from hashwerk.web.metrics import CONTENT_TYPE, render_metrics
from hashwerk.web.words import worker_name
from hashwerk.work.target import difficulty_from_work_log2

if TYPE_CHECKING:
    from hashwerk.site.messages import BlockView, Rate, Snapshot, WorkerView
    from hashwerk.web.state import MineView

STEPS_S: Final = (60, 300, 900, 3_600, 7_200, 86_400)


def api_router(view: MineView, history: History, clock: Clock) -> APIRouter:
    """Return the routes of the API, of /metrics and of /healthz."""
    router = APIRouter()

    def snapshot() -> Snapshot:
        if (latest := view.latest()) is None:
            raise HTTPException(503, "the server has not reported yet; try again in a moment")
        return latest

    @router.get("/api/v1/status", tags=["mine"], summary="The mine as a whole")
    async def status() -> models.Status:
        return status_model(snapshot(), view)

    @router.get("/api/v1/workers", tags=["mine"], summary="Machines as their shares show them")
    async def workers() -> models.Workers:
        latest = snapshot()
        return models.Workers(
            total=latest.workers_total, workers=[worker_model(worker) for worker in latest.workers]
        )

    @router.get(
        "/api/v1/accounts", tags=["mine"], summary="Accounts as the shares of their machines show them"
    )
    async def accounts() -> models.Accounts:
        latest = snapshot()
        return models.Accounts(
            total=latest.accounts_total,
            accounts=[
                models.AccountModel(
                    name=account.name,
                    sessions=account.sessions,
                    hashrate_hs=_rates(account.hashrate),
                    hashrate_95_hs=_intervals(account.hashrate),
                )
                for account in latest.accounts
            ],
        )

    @router.get("/api/v1/blocks", tags=["mine"], summary="Blocks found, the newest first")
    async def blocks(limit: Annotated[int, Query(ge=1, le=1_000)] = 50) -> models.BlockList:
        if history.is_known:
            try:
                found = await history.blocks(limit)
            except StoreError as error:
                raise HTTPException(503, str(error)) from error
            return models.BlockList(blocks=[stored_block_model(block, worker) for block, worker in found])
        newest = sorted(snapshot().recent_blocks, key=lambda block: block.found_at, reverse=True)
        return models.BlockList(blocks=[block_model(block) for block in newest[:limit]])

    @router.get("/api/v1/template", tags=["mine"], summary="The template being worked on")
    async def template() -> models.TemplateModel:
        latest = snapshot().template
        if latest is None:
            raise HTTPException(404, "there is no template yet; /healthz says why")
        return models.TemplateModel.model_validate(latest)

    @router.get("/api/v1/upstreams", tags=["mine"], summary="Upstream pools, and what happened between them")
    async def upstreams() -> models.Upstreams:
        latest = snapshot()
        return models.Upstreams(
            upstreams=[models.Upstream.model_validate(each) for each in latest.upstreams],
            switches=[models.Switch.model_validate(each) for each in reversed(latest.switches)],
        )

    @router.get("/api/v1/events", tags=["history"], summary="Changes of state, the newest first")
    async def events(
        limit: Annotated[int, Query(ge=1, le=MAX_EVENTS)] = 100,
        before: Annotated[int | None, Query(ge=0, description="Only events older than this one.")] = None,
    ) -> models.EventList:
        try:
            found = await history.events(limit, before)
        except StoreError as error:
            raise HTTPException(503, str(error)) from error
        rows = [
            models.Event(
                id=event.id,
                time=event.time,
                kind=event.kind,
                message=event.message,
                details=dict(event.details),
            )
            for event in found
        ]
        return models.EventList(events=rows, next_before=rows[-1].id if len(rows) == limit else None)

    @router.get("/api/v1/series", tags=["history"], summary="Hash rate, shares and rejects over time")
    async def series(
        step_s: Annotated[int, Query(description=f"One of {', '.join(map(str, STEPS_S))}.")] = 60,
        since: Annotated[float | None, Query(description="Unix seconds; default: 60 steps back.")] = None,
        until: Annotated[float | None, Query(description="Unix seconds; default: now.")] = None,
    ) -> models.Series:
        end = clock.time() if until is None else until
        start = end - 60 * step_s if since is None else since
        if step_s not in STEPS_S:
            raise HTTPException(422, f"step_s must be one of {', '.join(map(str, STEPS_S))}")
        if not 0 <= start < end <= 1e11 or (end - start) / step_s > MAX_POINTS:
            raise HTTPException(422, f"since must lie before until, by at most {MAX_POINTS:,} steps")
        try:
            points = await history.series(step_s, start, end)
        except StoreError as error:
            raise HTTPException(503, str(error)) from error
        known = [point_model(point) for point in points if point.hashrate_hs is not None or point.rejected]
        return models.Series(step_s=step_s, since=start, until=end, points=known)

    @router.get("/healthz", tags=["health"], summary="200 when work is being served", responses={503: {}})
    async def healthz(response: Response) -> models.Health:
        reason = view.not_serving_because()
        if reason is not None:
            response.status_code = 503
        return models.Health(serving=reason is None, reason=reason)

    @router.get("/metrics", tags=["health"], summary="For Prometheus", response_class=Response)
    async def metrics() -> Response:
        return Response(render_metrics(view, clock), media_type=CONTENT_TYPE)

    return router


def status_model(snapshot: Snapshot, view: MineView) -> models.Status:
    """Return the answer of /api/v1/status."""
    template = snapshot.template
    blocks = snapshot.blocks
    mature = blocks.get("mature", 0)
    return models.Status(
        at=snapshot.at,
        age_s=view.age_s() or 0.0,
        stale=view.is_stale(),
        serving=view.not_serving_because() is None,
        not_serving_because=view.not_serving_because(),
        version=snapshot.version,
        uptime_s=max(0.0, snapshot.at - snapshot.started_at),
        simulation=snapshot.simulation,
        stratum_url=snapshot.stratum_url,
        hashrate_hs=_rates(snapshot.hashrate),
        hashrate_95_hs=_intervals(snapshot.hashrate),
        shares=models.Shares(
            accepted=snapshot.accepted,
            rejected=sum(snapshot.rejected.values()),
            rejected_by_reason=snapshot.rejected,
            accepted_work_hashes=int(snapshot.accepted_work),
        ),
        blocks=models.Blocks(
            accepted=blocks.get("accepted", 0) + mature,
            mature=mature,
            submitted=blocks.get("submitted", 0),
            rejected=blocks.get("rejected", 0),
            orphaned=blocks.get("orphaned", 0),
        ),
        node=models.Node.model_validate(snapshot.node),
        latency_ms=models.Latency(
            submit_p50=snapshot.submit_ms_p50,
            submit_p99=snapshot.submit_ms_p99,
            commit_p99=snapshot.commit_ms_p99,
            template_to_job=None if template is None else template.template_to_job_ms,
        ),
        sessions=snapshot.sessions,
        workers=snapshot.workers_total,
        jobs=snapshot.jobs,
        warnings=snapshot.warnings,
        upstreams=[models.Upstream.model_validate(each) for each in snapshot.upstreams],
    )


def worker_model(worker: WorkerView) -> models.Worker:
    """Return one machine of /api/v1/workers."""
    return models.Worker(
        id=worker.id,
        name=worker_name(worker),
        account=worker.account,
        machine=worker.machine,
        sessions=worker.sessions,
        user_agent=worker.user_agent,
        remote=worker.remote,
        work_log2=worker.work_log2,
        difficulty=None if worker.work_log2 is None else difficulty_from_work_log2(worker.work_log2),
        hashrate_hs=_rates(worker.hashrate),
        hashrate_95_hs=_intervals(worker.hashrate),
        accepted=worker.accepted,
        rejected=sum(worker.rejected.values()),
        rejected_by_reason=worker.rejected,
        last_share_at=worker.last_share_at,
        upstream=None if worker.upstream is None else models.UpstreamSums.model_validate(worker.upstream),
    )


def block_model(block: BlockView) -> models.Block:
    """Return one block of /api/v1/blocks."""
    return models.Block(**msgspec.structs.asdict(block))


def stored_block_model(block: BlockRecord, worker: str | None) -> models.Block:
    """Return one block of /api/v1/blocks as the ledger keeps it."""
    return models.Block(
        hash=block.hash[::-1].hex(),
        height=block.height,
        found_at=block.found_at,
        worker=worker,
        reward_sat=block.reward_sat,
        state=block.state,
        reason=block.reason,
        confirmations=block.confirmations,
    )


def point_model(point: Point) -> models.SeriesPoint:
    """Return one point of /api/v1/series."""
    return models.SeriesPoint(
        start=point.start,
        hashrate_hs=point.hashrate_hs,
        low_hs=point.low_hs,
        high_hs=point.high_hs,
        accepted=point.accepted,
        rejected=point.rejected,
    )


def _rates(rates: dict[str, Rate | None]) -> dict[str, float | None]:
    return {window: None if rate is None else rate.hs for window, rate in rates.items()}


def _intervals(rates: dict[str, Rate | None]) -> dict[str, models.Interval | None]:
    return {
        window: None
        if rate is None
        else models.Interval(
            low=rate.low_hs, high=rate.high_hs if math.isfinite(rate.high_hs) else None, shares=rate.shares
        )
        for window, rate in rates.items()
    }
