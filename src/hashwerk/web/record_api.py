"""The fleet's record in the API: who told which machine what, why, what it answered, and what was measured of it.

The same conditions hold for JSON, page by page, and for CSV, which is sent as it is read, however long it is.
"""

from __future__ import annotations

import csv
import datetime
import io
from collections.abc import AsyncIterator, Sequence
from typing import Annotated, Any, Final, Literal

import msgspec
from fastapi import APIRouter, Depends, HTTPException, Query, Response
from fastapi.responses import StreamingResponse

from hashwerk.fleet.record import CommandQuery, CommandRecord
from hashwerk.site.fleet.service import FleetService, order_summary
from hashwerk.web.fleet_answers import json_answer, known, order_answer, stored

Result = Literal["confirmed", "claimed", "contradicted", "open", "unmeasured", "refused"]

#: Rows read at once for a file: the record is not held from its writer for longer.
_CHUNK: Final = 1_000
_TIMES: Final = ("at", "settled_at")
#: A cell that begins so is a formula for some spreadsheets; OWASP's remedy is a quote before it.
_FORMULA: Final = ("=", "+", "-", "@", "\t", "\r")


def add_record(router: APIRouter, service: FleetService) -> None:
    """Add the routes that read the record."""
    _add_machine_record(router, service)

    def asked(  # noqa: PLR0917 - called by name
        machine: Annotated[
            str | None, Query(description="Key, MAC address, serial number or address.")
        ] = None,
        order: Annotated[str | None, Query(description="Id of the order it belongs to.")] = None,
        who: Annotated[str | None, Query(description="Part of who gave it, or why.")] = None,
        command: Annotated[
            str | None, Query(description="How it begins: sleep, wake, change to mode …")
        ] = None,
        result: Annotated[Result | None, Query(description="What came of it.")] = None,
        since: Annotated[float | None, Query(description="Unix seconds.")] = None,
        until: Annotated[float | None, Query(description="Unix seconds.")] = None,
    ) -> CommandQuery:
        return CommandQuery(
            keys=None if machine is None else (known(service, machine).id,),
            order_id=order,
            who=who,
            command=command,
            result=result,
            since=since,
            until=until,
        )

    @router.get("/fleet/commands", summary="The record of commands, the newest first, as JSON or CSV")
    async def commands(
        query: CommandQuery = Depends(asked),  # noqa: B008 - how FastAPI is told
        limit: Annotated[int, Query(ge=1, le=1_000, description="Of JSON; CSV has all.")] = 100,
        before: Annotated[int | None, Query(description="Id of the oldest that is known already.")] = None,
        form: Annotated[str, Query(pattern="^(json|csv)$", alias="format")] = "json",
    ) -> Response:
        if form == "json":
            return json_answer({"commands": await stored(service.commands(limit, before, query=query))})
        first = await stored(service.commands(_CHUNK, before, query=query))
        return StreamingResponse(
            _csv(service, query, first),
            media_type="text/csv; charset=utf-8",
            headers={"content-disposition": 'attachment; filename="commands.csv"'},
        )

    @router.get(
        "/fleet/commands/counts", summary="How many commands fit, by who gave them and what came of them"
    )
    async def counts(query: CommandQuery = Depends(asked)) -> Response:  # noqa: B008 - how FastAPI is told
        found = await stored(service.command_counts(query))
        return json_answer(
            {
                "total": sum(found.values()),
                "counts": [
                    {"who": who, "result": result, "commands": count}
                    for (who, result), count in sorted(found.items())
                ],
            }
        )

    @router.get("/fleet/commands/{command}", summary="One command")
    async def command(command: int) -> Response:
        found = await stored(service.commands(1, command + 1))
        if not found or found[0].id != command:
            raise HTTPException(404, f"there is no command {command}")
        return json_answer(found[0])

    @router.get("/fleet/orders", summary="Orders, the newest first")
    async def orders(limit: Annotated[int, Query(ge=1, le=200)] = 50) -> Response:
        return json_answer(
            {"orders": [order_summary(order) for order in await stored(service.orders(limit))]}
        )

    @router.get("/fleet/orders/{order}", summary="One order, machine by machine")
    async def order(order: str) -> Response:
        return json_answer(order_answer(await stored(service.order(order))))


def _add_machine_record(router: APIRouter, service: FleetService) -> None:
    @router.get("/machines/{machine}/commands", summary="What a machine was told, and what came of it")
    async def machine_commands(
        machine: str, limit: Annotated[int, Query(ge=1, le=1_000)] = 100, before: int | None = None
    ) -> Response:
        key = known(service, machine).id
        return json_answer({"commands": await stored(service.commands(limit, before, key))})

    @router.get("/machines/{machine}/transitions", summary="How a machine's state changed, and why")
    async def machine_transitions(
        machine: str, limit: Annotated[int, Query(ge=1, le=1_000)] = 100
    ) -> Response:
        key = known(service, machine).id
        return json_answer({"transitions": await stored(service.transitions(key, limit))})

    @router.get("/machines/{machine}/history", summary="A machine's power and temperature over the last day")
    async def machine_history(machine: str) -> Response:
        return json_answer({"points": await stored(service.history(known(service, machine).id))})


async def _csv(service: FleetService, query: CommandQuery, first: list[CommandRecord]) -> AsyncIterator[str]:
    """Yield the file: a line of names, then all commands that fit; a record that fails midway cuts the answer off."""
    yield _lines([CommandRecord.__struct_fields__])
    chunk = first
    while chunk:
        yield _lines([_cells(record) for record in chunk])
        if len(chunk) < _CHUNK:
            return
        chunk = await service.commands(_CHUNK, chunk[-1].id, query=query)


def _cells(record: CommandRecord) -> list[Any]:
    values = msgspec.structs.asdict(record)
    for name in _TIMES:
        if values[name] is not None:
            values[name] = datetime.datetime.fromtimestamp(values[name], datetime.UTC).isoformat()
    return [
        f"'{value}" if isinstance(value, str) and value.startswith(_FORMULA) else value
        for value in values.values()
    ]


def _lines(rows: Sequence[Sequence[Any]]) -> str:
    text = io.StringIO()
    csv.writer(text).writerows(rows)
    return text.getvalue()
