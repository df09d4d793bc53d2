"""The fleet's part of the API: machines as they are, and commands.

Everybody who may see the page may read. Commands need a token always, also on a page that only this computer can reach: one of
the site file's, a signed-in session, or the token in the data folder that only the owner of the mine can read.
"""

from __future__ import annotations

import gzip
import hmac
from typing import Annotated, Final, TypeVar

import msgspec
from fastapi import APIRouter, Depends, HTTPException, Query, Request, Response
from fastapi.responses import PlainTextResponse

from hashwerk.errors import FleetError
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
from hashwerk.fleet.orders import Reduce, Tell
from hashwerk.fleet.place import read_places, write_places
from hashwerk.site.fleet.service import NO_REASON, FleetService, order_summary
from hashwerk.site.fleet.view import FleetColumns
from hashwerk.web import fleet_models as models
from hashwerk.web.fleet_answers import given_answer, json_answer, known, machine_answer, plan_answer, stored
from hashwerk.web.record_api import add_record

#: A list of places for 200,000 machines.
_MAX_CSV_BYTES: Final = 32 * 1024 * 1024
_Name = Annotated[str, Query(min_length=1, max_length=200)]
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
    add_record(router, service)
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
        return json_answer(service.view())

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
        return json_answer(
            {
                "at": service.view().at,
                "total": len(found),
                "machines": [machine_answer(view) for view in found[offset : offset + limit]],
            }
        )

    @router.get("/machines/{machine}", summary="Everything about one machine")
    async def machine(machine: str) -> Response:
        return json_answer(machine_answer(known(service, machine)))

    @router.get("/fleet/silences", summary="Of what nobody is told, by whom and until when")
    async def silences() -> Response:
        return json_answer({"silences": service.silences()})

    @router.get("/fleet/buttons", summary="Whose report button was pressed lately, the newest first")
    async def buttons() -> Response:
        return json_answer({"buttons": service.buttons()})

    @router.get("/fleet/alerts", summary="Open alerts, the oldest first")
    async def alerts() -> Response:
        return json_answer({"alerts": service.alerts()})

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
                return json_answer(plan_answer(service.preview(spec)))
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
        return json_answer(given_answer(service, await stored(given)), 202)

    @router.post("/fleet/resume", summary="Put back what orders changed")
    async def resume(body: models.ResumeBody) -> Response:
        if body.dry_run:
            would = service.resumable(body.order, body.group)
            wake = [] if would or body.order is not None else service.told_to_sleep(body.group)
            return json_answer({"orders": [order_summary(order) for order in would], "would_wake": wake})
        resumed = await stored(
            service.resume(who=body.who, why=body.why, order_id=body.order, group=body.group)
        )
        return json_answer({"orders": [given_answer(service, order) for order in resumed]}, 202)

    @router.post("/fleet/commands", summary="Tell machines something")
    async def command(body: models.CommandBody) -> Response:
        if (body.machines is None) == (body.group is None):
            raise HTTPException(422, "name either machines or a group")
        told_what = _command(body)
        if body.preview:
            return json_answer(plan_answer(_preview(service, told_what, body)))
        told = service.tell(
            told_what,
            who=body.who,
            why=body.why,
            machines=body.machines,
            group=body.group,
            dry_run=body.dry_run,
        )
        return json_answer(given_answer(service, await stored(told)), 202)

    @router.post("/fleet/orders/{order}", summary="Abort an order, let it go on, or put back what it changed")
    async def change(order: str, body: models.OrderBody) -> Response:
        if body.action == "abort":
            changed = service.abort(order, who=body.who, why=body.why)
        elif body.action == "continue":
            changed = service.go_on(order, who=body.who, why=body.why)
        else:
            changed = service.commander.restore_order(order, body.who, body.why)
        return json_answer(given_answer(service, await stored(changed)), 202)

    @router.post("/machines/{machine}/hold", summary="Take a machine for maintenance, or give it back")
    async def hold(machine: str, body: models.HoldBody) -> Response:
        if body.release:
            await stored(service.release(machine, who=body.who, why=body.why))
            return json_answer({"lease": None})
        held = service.hold(machine, who=body.who, why=body.why, until=body.until)
        return json_answer({"lease": await stored(held)})

    @router.post("/machines/{machine}/forget", summary="Let go of a machine that was sold or scrapped")
    async def forget(machine: str, body: models.Because) -> Response:
        await stored(service.forget(machine, who=body.who, why=body.why))
        return json_answer({"forgotten": machine})

    @router.post("/fleet/alerts/{alert}/acknowledge", summary="Say that somebody knows of an alert")
    async def acknowledge(alert: str, body: models.Because) -> Response:
        return json_answer(await stored(service.acknowledge(alert, who=body.who, why=body.why)))

    @router.post(
        "/fleet/silences", summary="Tell nobody of what fits for a while; until a moment past: tell again"
    )
    async def silence(body: models.SilenceBody) -> Response:
        kinds = {kind.value: kind for kind in CauseKind}
        if body.kind is not None and body.kind not in kinds:
            raise HTTPException(422, f"kind is one of {', '.join(kinds)}")
        kind = None if body.kind is None else kinds[body.kind]
        await stored(
            service.silence(who=body.who, why=body.why, until=body.until, kind=kind, subject=body.subject)
        )
        return json_answer({"silent_until": body.until})

    @router.post("/fleet/scan", summary="Look for machines")
    async def scan(body: models.ScanBody) -> Response:
        if body.host is None:
            service.discovery.ask()
            return json_answer({"asked": True}, 202)
        unit = await stored(service.discovery.look_at(body.host))
        return json_answer({"machine": None if unit is None else unit.key})

    @router.post("/fleet/places", summary="Take in a CSV of places")
    async def places(request: Request, who: _Name = "api", why: _Name = NO_REASON) -> Response:
        text = bytearray()
        async for chunk in request.stream():
            text += chunk
            if len(text) > _MAX_CSV_BYTES:
                raise HTTPException(413, f"more than {_MAX_CSV_BYTES} bytes")
        try:
            entries = read_places(text.decode("utf-8"))
        except (FleetError, UnicodeDecodeError) as error:
            raise HTTPException(422, str(error)) from error
        placed, waiting = await stored(service.place(entries, who=who, why=why))
        return json_answer({"placed": placed, "waiting": waiting})


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
