"""The control port: faults in, the hidden truth out."""

from __future__ import annotations

from collections.abc import AsyncIterator

import httpx
import pytest

from hashwerk.clock import VirtualClock
from hashwerk.twin import FaultKind, Hall
from hashwerk.twin.control import ControlServer
from support.twin import running_hall


@pytest.fixture
async def controlled() -> AsyncIterator[tuple[Hall, VirtualClock, httpx.AsyncClient]]:
    """A hall with a control port, and a client of it."""
    async with running_hall(machines=4, per_breaker=2) as (hall, clock):
        server = ControlServer(hall)
        await server.start(0)
        async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{server.port}", timeout=5) as client:
            try:
                yield hall, clock, client
            finally:
                await server.stop()


Controlled = tuple[Hall, VirtualClock, httpx.AsyncClient]


async def test_it_tells_the_truth(controlled: Controlled) -> None:
    hall, clock, client = controlled
    clock.advance(3600)
    view = (await client.get("/hall")).json()
    assert view["simulation"] is True
    assert view["power_w"] == pytest.approx(hall.power_w())
    machines = (await client.get("/machines")).json()["machines"]
    assert [machine["name"] for machine in machines] == [f"twin-000{n}" for n in range(1, 5)]
    power = (await client.get("/power")).json()
    assert sum(power["breakers_w"].values()) == pytest.approx(power["power_w"])
    assert power["energy_wh"] == pytest.approx(power["power_w"])
    assert list(power["feeders_w"]) == ["F1"]


async def test_it_injects_and_clears(controlled: Controlled) -> None:
    hall, _clock, client = controlled
    order = {"machine": "twin-0002", "kind": "lie", "factor": 0.2}
    assert (await client.post("/faults", json=order)).json()["kind"] == "lie"
    assert hall.machines[1].faults[FaultKind.LIE].factor == 0.2
    assert (await client.delete("/faults", params={"machine": "twin-0002"})).json()["faults"] == []
    assert not hall.machines[1].faults


async def test_it_switches_mains_and_heats_the_air(controlled: Controlled) -> None:
    hall, _clock, client = controlled
    assert (await client.post("/mains", json={"on": False, "breaker": "B2"})).json() == {"machines": 2}
    assert hall.power_by_breaker_w()["B2"] == 0
    assert (await client.post("/ambient", json={"ambient_c": 33})).json() == {"ambient_c": 33}
    assert hall.machines[0].plant.inlet_c == 33


@pytest.mark.parametrize(
    ("path", "body", "status"),
    [
        ("/faults", b'{"machine":"twin-0001","kind":"fire"}', 400),
        ("/faults", b'{"machine":"nobody","kind":"hang"}', 400),
        ("/faults", b'{"machine":"twin-0001","kind":"slow","delay_s":-1}', 400),
        ("/faults", b"not json", 400),
        ("/ambient", b'{"ambient_c":500}', 400),
        ("/nowhere", b"{}", 404),
    ],
)
async def test_what_it_refuses(controlled: Controlled, path: str, body: bytes, status: int) -> None:
    _hall, _clock, client = controlled
    response = await client.post(path, content=body, headers={"Content-Type": "application/json"})
    assert response.status_code == status


async def test_a_page_of_somebody_else_cannot_post(controlled: Controlled) -> None:
    hall, _clock, client = controlled
    body = b'{"machine":"twin-0001","kind":"hang"}'
    assert (
        await client.post("/faults", content=body, headers={"Content-Type": "text/plain"})
    ).status_code == 415
    assert not hall.machines[0].faults
