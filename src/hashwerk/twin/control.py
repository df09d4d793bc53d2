"""The control port of a hall: inject faults and read the hidden truth, as JSON over HTTP on loopback.

It is for tests and demonstrations. What it tells is what no operator of a real hall can know; nothing that operates the
fleet may ask it, except a virtual meter.

    GET    /hall                        the hall in a few numbers
    GET    /machines                    the truth about every machine
    GET    /power                       true power: in all, by breaker, by feeder
    POST   /faults    {"machine", "kind", …}
    DELETE /faults?machine=NAME[&kind=KIND]
    POST   /mains     {"on": false, "breaker": "B1"} or {"on": …, "feeder": …}
    POST   /ambient   {"ambient_c": 38}

Resource handling:
    Requests are small and answered at once; only loopback can reach the port. A body has to be called JSON, which a web
    page of somebody else cannot do without being asked.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Annotated, Final

import msgspec
from msgspec import Meta

from hashwerk.errors import HashwerkError
from hashwerk.twin.faults import Fault, fault_kind
from hashwerk.twin.hall import Hall
from hashwerk.twin.http import NOT_FOUND, HttpProtocol, HttpRequest, HttpResponse, json_response
from hashwerk.twin.listener import bound_socket

_HOST: Final = "127.0.0.1"


class FaultOrder(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A fault for a machine; measures that are not given are the kind's usual ones."""

    machine: str
    kind: str
    factor: Annotated[float, Meta(ge=0)] | None = None
    delay_s: Annotated[float, Meta(ge=0, le=3600)] | None = None
    duration_s: Annotated[float, Meta(gt=0)] | None = None
    board: Annotated[int, Meta(ge=0)] | None = None
    controller: bool | None = None

    def fault(self) -> Fault:
        """Return the fault.

        Raises:
            ConfigError: If there is no such kind.
        """
        measures = {
            name: value
            for name, value in msgspec.structs.asdict(self).items()
            if name not in {"machine", "kind"} and value is not None
        }
        return Fault(kind=fault_kind(self.kind), **measures)


class MainsOrder(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Mains on or off behind a breaker, a feeder, or everywhere."""

    on: bool
    breaker: str | None = None
    feeder: str | None = None


class AmbientOrder(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Air of another temperature."""

    ambient_c: Annotated[float, Meta(ge=-40, le=80)]


class ControlServer:
    """The control port of one hall."""

    def __init__(self, hall: Hall) -> None:
        """Prepare; `start` begins to listen."""
        self._hall = hall
        self._server: asyncio.Server | None = None
        self._answers: set[asyncio.Task[None]] = set()
        self.port: int | None = None

    async def start(self, port: int) -> None:
        """Listen on a loopback port; 0 lets the system choose.

        Raises:
            ConfigError: If the port cannot be had.
        """
        listening = bound_socket(_HOST, port)
        self._server = await asyncio.get_running_loop().create_server(
            lambda: HttpProtocol(self._respond), sock=listening
        )
        self.port = int(listening.getsockname()[1])

    async def stop(self) -> None:
        """Stop listening."""
        if self._server is not None:
            self._server.close()
        for answer in list(self._answers):
            answer.cancel()
        await asyncio.gather(*self._answers, return_exceptions=True)

    def _respond(self, request: HttpRequest, connection: HttpProtocol) -> None:
        answer = asyncio.get_running_loop().create_task(self._answer(request, connection))
        self._answers.add(answer)
        answer.add_done_callback(self._answers.discard)

    async def _answer(self, request: HttpRequest, connection: HttpProtocol) -> None:
        handler = _HANDLERS.get((request.method, request.path))
        if handler is None:
            connection.send(NOT_FOUND)
            return
        if request.method == "POST" and not request.headers.get("content-type", "").startswith(
            "application/json"
        ):
            connection.send(json_response({"error": "the body has to be application/json"}, 415))
            return
        try:
            connection.send(await handler(self._hall, request))
        except (HashwerkError, msgspec.DecodeError) as error:
            connection.send(json_response({"error": str(error)}, 400))


async def _view(hall: Hall, request: HttpRequest) -> HttpResponse:
    return json_response(hall.view())


async def _machines(hall: Hall, request: HttpRequest) -> HttpResponse:
    return json_response({"simulation": True, "machines": hall.truth()})


async def _power(hall: Hall, request: HttpRequest) -> HttpResponse:
    now = hall.clock.time()
    return json_response(
        {
            "simulation": True,
            "at": now,
            "power_w": hall.power_w(now),
            "energy_wh": hall.energy_wh(now),
            "breakers_w": hall.power_by_breaker_w(now),
            "feeders_w": hall.power_by_feeder_w(now),
        }
    )


async def _inject(hall: Hall, request: HttpRequest) -> HttpResponse:
    order = msgspec.json.decode(request.body, type=FaultOrder)
    machine = await hall.inject(order.machine, order.fault())
    return json_response({"machine": machine.identity.name, "host": machine.host, "kind": order.kind})


async def _clear(hall: Hall, request: HttpRequest) -> HttpResponse:
    kind = request.query.get("kind")
    machine = hall.clear(request.query.get("machine", ""), None if kind is None else fault_kind(kind))
    return json_response(
        {"machine": machine.identity.name, "faults": [left.value for left in machine.faults]}
    )


async def _mains(hall: Hall, request: HttpRequest) -> HttpResponse:
    order = msgspec.json.decode(request.body, type=MainsOrder)
    touched = hall.switch_mains(on=order.on, breaker=order.breaker, feeder=order.feeder)
    return json_response({"machines": touched})


async def _ambient(hall: Hall, request: HttpRequest) -> HttpResponse:
    order = msgspec.json.decode(request.body, type=AmbientOrder)
    hall.set_ambient(order.ambient_c)
    return json_response({"ambient_c": hall.ambient_c})


_HANDLERS: Final[dict[tuple[str, str], Callable[[Hall, HttpRequest], Awaitable[HttpResponse]]]] = {
    ("GET", "/hall"): _view,
    ("GET", "/machines"): _machines,
    ("GET", "/power"): _power,
    ("POST", "/faults"): _inject,
    ("DELETE", "/faults"): _clear,
    ("POST", "/mains"): _mains,
    ("POST", "/ambient"): _ambient,
}
