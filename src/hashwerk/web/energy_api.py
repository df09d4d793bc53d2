"""The energy's part of the API: what is planned and measured, and orders to reduce power.

Everybody who may see the page may read. Orders need a token always, as every command does.
"""

from __future__ import annotations

import hmac
import secrets
from collections.abc import Iterator
from typing import Annotated, Any, Final, Literal

import msgspec
from fastapi import APIRouter, Depends, HTTPException, Query, Request, Response
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector
from pydantic import Field

from hashwerk.clock import Clock
from hashwerk.dispatch.baselines import BaselineKind
from hashwerk.dispatch.orders import Order, OrderKind
from hashwerk.errors import StoreError
from hashwerk.site.energy.service import EnergyService
from hashwerk.web.energy_hours_api import add_hours
from hashwerk.web.fleet_models import Body, Words

#: More history than this is not given out at once.
_MOST_S: Final = 400 * 86_400.0


class OrderBody(Body):
    """An order to reduce power, as a grid operator gives it."""

    kind: Literal["reduce to", "reduce by", "all"] = Field(description="all: every machine sleeps.")
    amount_kw: float | None = Field(None, ge=0, description="Of the site's import; none for 'all'.")
    id: Words | None = Field(None, description="One's own name for it; the same again replaces the first.")
    who: Words = "operator"
    start: float | None = Field(None, description="Unix seconds; none: now.")
    stop: float | None = Field(None, description="Unix seconds; none: until it is cancelled.")
    baseline: Literal["meter before", "high 4 of 5"] = "meter before"
    restore_s: float = Field(300.0, ge=0, le=7_200, description="Over which power is given back afterwards.")


def energy_router(service: EnergyService, clock: Clock, *, is_guarded: bool, local_token: str) -> APIRouter:
    """Return the routes of energy.

    Args:
        service: The running energy.
        clock: Where the time comes from.
        is_guarded: Whether whoever comes here has shown a password or token already.
        local_token: What a program on this computer shows where the page asks for nothing.
    """

    async def may_command(request: Request) -> None:
        scheme, _, token = request.headers.get("authorization", "").partition(" ")
        shown = scheme.lower() == "bearer" and hmac.compare_digest(
            token.strip().encode(), local_token.encode()
        )
        if not is_guarded and not shown:
            raise HTTPException(
                401,
                "an order needs a token; the one of this computer is in the data folder, fleet.token",
                {"www-authenticate": 'Bearer realm="hashwerk"'},
            )

    router = APIRouter(prefix="/api/v1", tags=["energy"])

    @router.get("/energy", summary="Everything about the site's energy now: price, plan, groups and why")
    async def energy() -> Response:
        return _json(service.view())

    @router.get("/energy/history", summary="What was measured, wanted and known, in columns")
    async def history(
        start: Annotated[float | None, Query(description="Unix seconds; none: a day ago.")] = None,
        stop: Annotated[float | None, Query(description="Unix seconds; none: now.")] = None,
        step: Annotated[float, Query(ge=1, le=86_400, description="Seconds of a mean.")] = 60.0,
    ) -> Response:
        until = clock.time() if stop is None else stop
        since = until - 86_400 if start is None else start
        if not 0 < until - since <= _MOST_S:
            raise HTTPException(422, "stop comes after start, and no more than 400 days after it")
        try:
            return _json(await service.history(since, until, step))
        except StoreError as error:
            raise HTTPException(503, str(error)) from error

    add_hours(router, service, clock)

    @router.get("/energy/orders", summary="Orders to reduce power, the newest first, and what became of them")
    async def orders() -> Response:
        return _json({"orders": service.orders()})

    @router.get("/energy/orders/{order}", summary="One order to reduce power")
    async def order(order: str) -> Response:
        found = service.order(order)
        if found is None:
            raise HTTPException(404, f"there is no order {order}")
        return _json(found)

    commands = APIRouter(dependencies=[Depends(may_command)])

    @commands.post("/energy/orders", summary="Order power to be reduced", status_code=202)
    async def give(body: OrderBody) -> Response:
        try:
            taken = service.receive(_order(body, clock.time()))
        except ValueError as error:
            raise HTTPException(422, str(error)) from error
        except StoreError as error:
            raise HTTPException(503, f"the order is not taken, it cannot be kept: {error}") from error
        return _json(taken, 202)

    @commands.delete("/energy/orders/{order}", summary="End an order before its time")
    async def cancel(order: str) -> Response:
        try:
            ended = service.cancel(order)
        except StoreError as error:
            raise HTTPException(503, f"the order stands, its end cannot be kept: {error}") from error
        if ended is None:
            raise HTTPException(404, f"there is no order {order}")
        return _json(ended)

    router.include_router(commands)
    return router


def _order(body: OrderBody, now: float) -> Order:
    """Return the order of a request.

    Raises:
        ValueError: If its parts contradict each other.
    """
    return Order(
        id=body.id or f"api{int(now)}-{secrets.token_hex(2)}",
        source=f"api:{body.who}",
        kind=OrderKind(body.kind),
        received_s=now,
        start_s=now if body.start is None else body.start,
        stop_s=body.stop,
        amount_w=None if body.amount_kw is None else body.amount_kw * 1e3,
        baseline=BaselineKind(body.baseline),
        restore_s=body.restore_s,
    )


class EnergyCollector(Collector):
    """Turns the present into metric families, each time it is asked. What is not known is left out."""

    def __init__(self, service: EnergyService) -> None:
        self._service = service

    def collect(self) -> Iterator[Metric]:
        """Yield every family."""
        view = self._service.view()
        plan_age_s = None if view.plan is None else view.at_s - view.plan.made_s
        for name, words, value in (
            ("price_per_mwh", "Price of a MWh more, in the site's currency.", view.price_per_mwh),
            ("hashprice_per_ph_day", "What a PH/s earns in a day.", view.hashprice_per_ph_day),
            ("setpoint_watts", "What the plan wants the site to draw.", view.setpoint_w),
            ("measured_watts", "What the site is measured to draw.", view.measured_w),
            ("plan_age_seconds", "How long ago the plan was made.", plan_age_s),
            ("plan_seconds", "How long it took to make.", None if view.plan is None else view.plan.took_s),
            (
                "orders_active",
                "Orders of grid operators in force.",
                sum(1.0 for order in view.orders if order.state == "active"),
            ),
            ("controls", "1 where plans are carried out.", float(view.controls)),
        ):
            family = GaugeMetricFamily(f"hashwerk_energy_{name}", words)
            if value is not None:
                family.add_metric([], float(value))
            yield family
        stance = GaugeMetricFamily("hashwerk_energy_stance", "1 for the stance in force.", labels=["stance"])
        stance.add_metric([view.stance], 1.0)
        yield stance
        groups = GaugeMetricFamily(
            "hashwerk_energy_group_machines",
            "Machines of a group, by what is planned.",
            labels=["group", "planned"],
        )
        for group in view.groups:
            if group.action != "not ours":
                groups.add_metric([group.name, "running"], group.running)
                groups.add_metric([group.name, "asleep"], group.machines - group.running)
        yield groups


def _json(value: Any, status: int = 200) -> Response:
    return Response(msgspec.json.encode(value), status, media_type="application/json")
