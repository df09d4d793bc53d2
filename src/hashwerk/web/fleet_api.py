"""The fleet's part of the API: machines as they are, and commands.

Everybody who may see the page may read. Commands need a token always, also on a page that only this computer can reach: one of
the site file's, a signed-in session, or the token in the data folder that only the owner of the mine can read.
"""

from __future__ import annotations

import gzip
import hmac
from collections.abc import Awaitable
from typing import Annotated, Any, Final, TypeVar

import msgspec
from fastapi import APIRouter, Depends, HTTPException, Query, Request, Response
from fastapi.responses import PlainTextResponse

from hashwerk.errors import FleetError, StoreError
from hashwerk.fleet.batch import Goal, Plan, ReduceAll, ReduceBy, ReduceTo
from hashwerk.fleet.causes import CauseKind
from hashwerk.fleet.commands import (
    Command,
    Locate,
    PoolTarget,
    Reboot,
    SetFan,
    SetMode,
    SetPools,
    SetPowerLimit,
    Sleep,
    Wake,
)
from hashwerk.fleet.lease import Holder
from hashwerk.fleet.limits import words
from hashwerk.fleet.orders import Order, Reduce, Tell
from hashwerk.fleet.place import read_places, write_places
from hashwerk.site.fleet.service import FleetService, order_summary
from hashwerk.site.fleet.view import FleetColumns, MachineView
from hashwerk.web import fleet_models as models

#: A list of places for 200,000 machines.
_MAX_CSV_BYTES: Final = 32 * 1024 * 1024
_T = TypeVar("_T")


def fleet_router(service: FleetService, *, is_guarded: bool, local_token: str) -> APIRouter:
    """Return the routes of the fleet.

    Args:
        service: The running fleet.
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
                "a command needs a token; the one of this computer is in the data folder, fleet.token",
                {"www-authenticate": 'Bearer realm="hashwerk"'},
            )

    router = APIRouter(prefix="/api/v1", tags=["fleet"])
    _add_reads(router, service)
    commands = APIRouter(dependencies=[Depends(may_command)])
    _add_commands(commands, service)
    router.include_router(commands)
    return router


class _PackedColumns:
    """The columns as they go over the wire, encoded once however many look: 5,000 machines are 700 kB, packed a tenth of it."""

    def __init__(self, service: FleetService) -> None:
        self._service = service
        self._of: FleetColumns | None = None
        self._plain = self._packed = b""

    def answer(self, encodings: str) -> Response:
        """Return them, packed for whoever takes that."""
        columns = self._service.columns()
        if columns is not self._of:
            self._of, self._plain, self._packed = columns, msgspec.json.encode(columns), b""
        headers = {"vary": "accept-encoding"}
        if "gzip" not in encodings:
            return Response(self._plain, media_type="application/json", headers=headers)
        self._packed = self._packed or gzip.compress(self._plain, 1)
        return Response(
            self._packed, media_type="application/json", headers=headers | {"content-encoding": "gzip"}
        )


def _add_reads(router: APIRouter, service: FleetService) -> None:
    packed = _PackedColumns(service)

    @router.get("/fleet", summary="The fleet in a few numbers")
    async def fleet() -> Response:
        return _json(service.view())

    @router.get("/machines", summary="All machines: each with its three truths, or as columns")
    async def machines(  # noqa: PLR0917 - called by name
        request: Request,
        group: str | None = None,
        state: str | None = None,
        form: Annotated[str, Query(pattern="^(list|columns)$", alias="format")] = "list",
        limit: Annotated[int, Query(ge=1, le=100_000)] = 100_000,
        offset: Annotated[int, Query(ge=0)] = 0,
    ) -> Response:
        if form == "columns":
            return packed.answer(request.headers.get("accept-encoding", ""))
        found = service.machines(group=group, state=state)
        return _json(
            {
                "at": service.view().at,
                "total": len(found),
                "machines": [_machine(view) for view in found[offset : offset + limit]],
            }
        )

    @router.get("/machines/{machine}", summary="Everything about one machine")
    async def machine(machine: str) -> Response:
        return _json(_machine(_known(service, machine)))

    @router.get("/machines/{machine}/commands", summary="What a machine was told, and what came of it")
    async def machine_commands(
        machine: str, limit: Annotated[int, Query(ge=1, le=1_000)] = 100, before: int | None = None
    ) -> Response:
        key = _known(service, machine).id
        return _json({"commands": await _stored(service.commands(limit, before, key))})

    @router.get("/machines/{machine}/transitions", summary="How a machine's state changed, and why")
    async def machine_transitions(
        machine: str, limit: Annotated[int, Query(ge=1, le=1_000)] = 100
    ) -> Response:
        key = _known(service, machine).id
        return _json({"transitions": await _stored(service.transitions(key, limit))})

    @router.get("/machines/{machine}/history", summary="A machine's power and temperature over the last day")
    async def machine_history(machine: str) -> Response:
        return _json({"points": await _stored(service.history(_known(service, machine).id))})

    @router.get("/fleet/commands", summary="The record of commands, the newest first")
    async def commands(
        limit: Annotated[int, Query(ge=1, le=1_000)] = 100, before: int | None = None
    ) -> Response:
        return _json({"commands": await _stored(service.commands(limit, before))})

    @router.get("/fleet/orders", summary="Orders, the newest first")
    async def orders(limit: Annotated[int, Query(ge=1, le=200)] = 50) -> Response:
        return _json({"orders": [order_summary(order) for order in await _stored(service.orders(limit))]})

    @router.get("/fleet/orders/{order}", summary="One order, machine by machine")
    async def order(order: str) -> Response:
        return _json(_order(await _stored(service.order(order))))

    @router.get("/fleet/alerts", summary="Open alerts, the oldest first")
    async def alerts() -> Response:
        return _json({"alerts": service.alerts()})

    @router.get("/fleet/places.csv", summary="Where machines stand", response_class=PlainTextResponse)
    async def places() -> PlainTextResponse:
        return PlainTextResponse(write_places(service.placements()), media_type="text/csv")


def _add_commands(router: APIRouter, service: FleetService) -> None:
    @router.post("/fleet/curtail", summary="Bring power down")
    async def curtail(body: models.CurtailBody) -> Response:
        goal = _goal(body)
        if body.machines is not None and body.group is not None:
            raise HTTPException(422, "name either machines or a group")
        try:
            if body.preview:
                partial = service.settings.partial if body.partial is None else body.partial
                spec = service.spec(
                    Reduce(goal=goal, partial=partial),
                    who=body.who,
                    why=body.why,
                    holder=Holder.CURTAILMENT,
                    group=body.group,
                    machines=body.machines,
                    dry_run=True,
                    must=body.must,
                )
                return _json(_plan(service.preview(spec)))
        except FleetError as error:
            raise HTTPException(404, str(error)) from error
        given = service.curtail(
            goal,
            who=body.who,
            why=body.why,
            group=body.group,
            machines=body.machines,
            dry_run=body.dry_run,
            partial=body.partial,
            must=body.must,
            until=body.until,
        )
        return _json(_given(service, await _stored(given)), 202)

    @router.post("/fleet/resume", summary="Put back what orders changed")
    async def resume(body: models.ResumeBody) -> Response:
        if body.dry_run:
            would = service.resumable(body.order, body.group)
            wake = [] if would or body.order is not None else service.told_to_sleep(body.group)
            return _json({"orders": [order_summary(order) for order in would], "would_wake": wake})
        resumed = await _stored(
            service.resume(who=body.who, why=body.why, order_id=body.order, group=body.group)
        )
        return _json({"orders": [_given(service, order) for order in resumed]}, 202)

    @router.post("/fleet/commands", summary="Tell machines something")
    async def command(body: models.CommandBody) -> Response:
        if (body.machines is None) == (body.group is None):
            raise HTTPException(422, "name either machines or a group")
        told_what = _command(body)
        if body.preview:
            return _json(_plan(_preview(service, told_what, body)))
        told = service.tell(
            told_what,
            who=body.who,
            why=body.why,
            machines=body.machines,
            group=body.group,
            dry_run=body.dry_run,
        )
        return _json(_given(service, await _stored(told)), 202)

    @router.post("/fleet/orders/{order}", summary="Abort an order, let it go on, or put back what it changed")
    async def change(order: str, body: models.OrderBody) -> Response:
        if body.action == "abort":
            changed = service.abort(order, who=body.who, why=body.why)
        elif body.action == "continue":
            changed = service.go_on(order, who=body.who)
        else:
            changed = service.commander.restore_order(order, body.who, body.why)
        return _json(_given(service, await _stored(changed)), 202)

    @router.post("/machines/{machine}/hold", summary="Take a machine for maintenance, or give it back")
    async def hold(machine: str, body: models.HoldBody) -> Response:
        if body.release:
            await _stored(service.release(machine, who=body.who))
            return _json({"lease": None})
        return _json({"lease": await _stored(service.hold(machine, who=body.who, until=body.until))})

    @router.post("/fleet/alerts/{alert}/acknowledge", summary="Say that somebody knows of an alert")
    async def acknowledge(alert: str, body: models.Because) -> Response:
        return _json(await _stored(service.acknowledge(alert, who=body.who)))

    @router.post("/fleet/silences", summary="Tell nobody of what fits for a while")
    async def silence(body: models.SilenceBody) -> Response:
        kinds = {kind.value: kind for kind in CauseKind}
        if body.kind is not None and body.kind not in kinds:
            raise HTTPException(422, f"kind is one of {', '.join(kinds)}")
        kind = None if body.kind is None else kinds[body.kind]
        service.silence(who=body.who, until=body.until, kind=kind, subject=body.subject)
        return _json({"silent_until": body.until})

    @router.post("/fleet/scan", summary="Look for machines")
    async def scan(body: models.ScanBody) -> Response:
        if body.host is None:
            service.discovery.ask()
            return _json({"asked": True}, 202)
        unit = await _stored(service.discovery.look_at(body.host))
        return _json({"machine": None if unit is None else unit.key})

    @router.post("/fleet/places", summary="Take in a CSV of places")
    async def places(request: Request) -> Response:
        text = bytearray()
        async for chunk in request.stream():
            text += chunk
            if len(text) > _MAX_CSV_BYTES:
                raise HTTPException(413, f"more than {_MAX_CSV_BYTES} bytes")
        try:
            entries = read_places(text.decode("utf-8"))
        except (FleetError, UnicodeDecodeError) as error:
            raise HTTPException(422, str(error)) from error
        placed, waiting = await _stored(service.place(entries))
        return _json({"placed": placed, "waiting": waiting})


async def _stored(result: Awaitable[_T]) -> _T:
    """Wait for an answer of the fleet, with its refusals as answers of the API."""
    try:
        return await result
    except FleetError as error:
        raise HTTPException(404 if "there is no" in str(error) else 409, str(error)) from error
    except StoreError as error:
        raise HTTPException(503, str(error)) from error


def _known(service: FleetService, machine: str) -> MachineView:
    try:
        return service.machine(machine)
    except FleetError as error:
        raise HTTPException(404, str(error)) from error


def _goal(body: models.CurtailBody) -> Goal:
    given = [body.to_kw is not None, body.by_kw is not None, body.all]
    if sum(given) != 1:
        raise HTTPException(422, "give exactly one of to_kw, by_kw and all")
    if body.to_kw is not None:
        return ReduceTo(body.to_kw * 1e3)
    return ReduceAll() if body.by_kw is None else ReduceBy(body.by_kw * 1e3)


def _command(body: models.CommandBody) -> Command:
    match body.command:
        case "sleep":
            return Sleep()
        case "wake":
            return Wake(body.mode)
        case "mode":
            return SetMode(_needed(body.mode, "mode"))
        case "power-limit":
            return SetPowerLimit(_needed(body.power_limit_w, "power_limit_w"))
        case "reboot":
            return Reboot()
        case "locate":
            return Locate(body.on)
        case "pools":
            pools = _needed(body.pools, "pools")
            return SetPools(
                tuple(PoolTarget(url=pool.url, user=pool.user, password=pool.password) for pool in pools)
            )
        case "fan":
            return SetFan(body.percent)


def _preview(service: FleetService, command: Command, body: models.CommandBody) -> Plan:
    try:
        spec = service.spec(
            Tell(command=command),
            who=body.who,
            why=body.why,
            group=body.group,
            machines=body.machines,
            dry_run=True,
        )
    except FleetError as error:
        raise HTTPException(404, str(error)) from error
    return service.preview(spec)


def _needed(value: _T | None, name: str) -> _T:
    if value is None or value == []:
        raise HTTPException(422, f"{name} is needed for this command")
    return value


def _given(service: FleetService, order: Order) -> dict[str, Any]:
    summary = order_summary(order)
    if order.spec.dry_run and not service.settings.control:
        summary["note"] = "nothing is sent: set control = true in [fleet] to allow commands"
    return summary


def _order(order: Order) -> dict[str, Any]:
    return order_summary(order) | {
        "machines_detail": [
            {
                "machine": key,
                "command": words(progress.command),
                "phase": progress.phase.value,
                "attempts": progress.attempts,
                "sent_at": progress.sent_at,
                "outcome": None if progress.outcome is None else progress.outcome.kind.value,
                "message": None if progress.outcome is None else progress.outcome.message,
                "verdict": None if progress.effect is None else progress.effect.verdict.value,
                "effect": None if progress.effect is None else progress.effect.text,
                "before_w": progress.step.before_w,
                "expected_w": progress.step.after_w,
                "reason": progress.reason,
            }
            for key, progress in order.machines.items()
        ],
        "skips": [{"machine": key, "reason": reason} for key, reason in order.skips.items()],
    }


def _plan(plan: Plan) -> dict[str, Any]:
    return {
        "total_w": plan.total_w,
        "is_metered": plan.total_basis.value == "meter",
        "unknown": plan.unknown,
        "wanted_w": plan.wanted_w,
        "expected_w": plan.expected_w,
        "short_w": plan.short_w,
        "steps": [
            {
                "machine": step.key,
                "command": words(step.command),
                "before_w": step.before_w,
                "after_w": step.after_w,
                "marginal_j_per_th": step.marginal_j_per_th,
            }
            for step in plan.steps
        ],
        "skips": [{"machine": skip.key, "reason": skip.reason} for skip in plan.skips],
    }


def _machine(view: MachineView) -> dict[str, Any]:
    values: dict[str, Any] = {name: getattr(view, name) for name in view.__struct_fields__}
    if view.reported is not None:
        reported = msgspec.structs.asdict(view.reported)
        reported.pop("identity")
        reported.pop("capabilities")  # a word each, beside
        values["reported"] = reported
    return values


def _json(value: object, status: int = 200) -> Response:
    return Response(msgspec.json.encode(value), status, media_type="application/json")
