"""The record of commands over the API: narrowed, counted, and as a file of any length."""

from __future__ import annotations

import csv
import importlib.util
import io
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType

import httpx
import pytest
from fastapi import FastAPI

from hashwerk.clock import VirtualClock
from hashwerk.config.site import parse_site
from hashwerk.fleet.commands import Sleep
from hashwerk.fleet.lease import Holder
from hashwerk.fleet.orders import Opened, OrderSpec, Sent, Tell
from hashwerk.fleet.record import CommandRecord
from hashwerk.site.fleet import FleetService
from hashwerk.web.fleet_api import fleet_router
from hashwerk.web.record_frames import fitting_words, order_rows, told_frame

NOW = 1_750_000_000.0
MANY = 2_300  # more than two reads of a file


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[FleetService]:
    path = Path(__file__).parents[2] / "e2e" / "hall_site.py"
    spec = importlib.util.spec_from_file_location("hall_site", path)
    assert spec is not None
    assert spec.loader is not None
    hall_site: ModuleType = importlib.util.module_from_spec(spec)
    sys.modules["hall_site"] = hall_site
    spec.loader.exec_module(hall_site)
    config = parse_site(hall_site.SITE.format(scale=1, poll_s=10, last=0))
    hall, record = hall_site.Hall(10), tmp_path_factory.mktemp("record") / "fleet.sqlite"
    service = FleetService(config.fleet, record, VirtualClock(NOW), drivers=[hall], channels=())
    service.open()
    hall_site.furnish(service, hall)
    keys = list(service.roster.units)
    for number, (who, why, told) in enumerate(
        (("dispatcher", "plan", [keys[n % 10] for n in range(MANY)]), ("anna", "=cmd|'/C calc'!A0", keys[:1]))
    ):
        order = OrderSpec(
            id=f"o{number}", at=NOW, who=who, why=why, holder=Holder.OPERATOR, task=Tell(command=Sleep())
        )
        sent = [Sent(at=NOW, key=key, command=Sleep(), attempt=1) for key in told]
        service.store.append(order, [Opened(at=NOW, spec=order), *sent], is_open=False)
    looked = OrderSpec(
        id="o2", at=NOW + 1, who="ben", why="only looking", holder=Holder.OPERATOR, task=Tell(command=Sleep())
    )
    service.store.append(looked, [Opened(at=NOW + 1, spec=looked)], is_open=False)
    yield service
    service.store.close()


@pytest.fixture
def client(service: FleetService, client_of: Callable[[FastAPI], httpx.AsyncClient]) -> httpx.AsyncClient:
    app = FastAPI()
    app.include_router(fleet_router(service, is_guarded=False, local_token="t"))
    return client_of(app)


async def test_the_record_is_narrowed_and_counted(client: httpx.AsyncClient) -> None:
    path = "/api/v1/fleet/commands"
    (told,) = (await client.get(path, params={"who": "anna", "machine": "10.20.0.1"})).json()["commands"]
    assert (told["order_id"], told["command"]) == ("o1", "sleep")
    assert (await client.get(f"{path}/{told['id']}")).json() == told
    counts = (await client.get(f"{path}/counts")).json()
    assert counts["total"] == MANY + 1
    assert {"who": "dispatcher", "result": "open", "commands": MANY} in counts["counts"]
    assert (await client.get(path, params={"machine": "10.9.9.9"})).status_code == 404
    assert (await client.get(path, params={"result": "perhaps"})).status_code == 422
    assert (await client.get(f"{path}/{10**6}")).status_code == 404


async def test_a_file_has_all_that_fits_and_no_formula(client: httpx.AsyncClient) -> None:
    answer = await client.get("/api/v1/fleet/commands", params={"format": "csv"})
    assert answer.headers["content-disposition"] == 'attachment; filename="commands.csv"'
    rows = list(csv.DictReader(io.StringIO(answer.text)))
    assert len(rows) == MANY + 1
    assert tuple(rows[0]) == CommandRecord.__struct_fields__
    assert rows[0]["why"] == "'=cmd|'/C calc'!A0"
    assert rows[0]["at"] == "2025-06-15T15:06:40+00:00"
    assert [int(row["id"]) for row in rows] == sorted((int(row["id"]) for row in rows), reverse=True)


def test_orders_stand_in_the_record_as_well(service: FleetService) -> None:
    (row,) = order_rows(service.store.orders(1))
    assert row["c"][1:3] == ["Sleep, the fleet (dry run: nothing is sent)", "ben: only looking"]
    assert row["c"][4] == {"t": "0 told", "s": 0, "u": "/log?order=o2"}


def test_who_did_what_is_one_sentence() -> None:
    frame = told_frame(
        {("dispatcher", "claimed"): 1_200, ("anna", "confirmed"): 7, ("ben", "contradicted"): 1}
    )
    assert frame["log.sentence"] == "In the last 24 hours dispatcher gave 1,200 commands, anna 7 and ben 1."
    assert frame["log.results"] == (
        "Of these 1 contradicted by what was measured, 7 confirmed by measurement and 1,200 borne out by the machine's own"
        " word only."
    )
    assert frame["log.state"] == "attention"
    many = told_frame({(f"w{number}", "confirmed"): 10 - number for number in range(6)})
    assert many["log.sentence"].endswith("w0 gave 10 commands, w1 9, w2 8, w3 7 and 2 others 11.")
    assert told_frame({})["log.sentence"] == "No machine was told anything in the last 24 hours."
    assert fitting_words(12_345, 100, narrowed=True) == "100 of 12,345 commands that fit"
    assert fitting_words(1, 1, narrowed=True) == "1 command that fits"
