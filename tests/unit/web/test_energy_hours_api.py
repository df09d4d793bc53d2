"""Each hour's energy by source over the API: the month of the site's own time zone, as JSON and as CSV."""

from __future__ import annotations

import csv
import io
from collections.abc import Callable
from pathlib import Path

import httpx
import msgspec

from hashwerk.clock import VirtualClock
from hashwerk.config.web_settings import WebSettings
from hashwerk.site.energy import EnergyParts
from hashwerk.site.energy.record import Moment, Quarter
from hashwerk.web.app import create_api
from hashwerk.web.energy_api import energy_router
from hashwerk.web.state import MineView
from support.virtual_hall import VirtualHall, open_service

NIGHT_S = 1_751_320_800  # 1 July 2025, 00:00 in Berlin, 22:00 UTC the day before
PARTS = msgspec.convert(
    {
        "energy": {
            "tariff": {"name": "germany-day-ahead-2025"},
            "sources": [{"name": "Roof", "kind": "own", "fuel": "solar"}],
            "grid": {"g_per_kwh": "380"},
        }
    },
    EnergyParts,
)


async def test_hours_are_given_out_by_the_local_month_with_their_rule(
    tmp_path: Path, view: MineView, client_of: Callable[..., httpx.AsyncClient]
) -> None:
    clock = VirtualClock(float(NIGHT_S - 2 * 3_600))
    service = open_service(VirtualHall(clock, "avalon-q", machines=2), clock, tmp_path, PARTS)
    quarters = [
        Quarter(start_s=NIGHT_S - 3_600 + 900 * n, covered_s=900.0, import_wh=250.0, sources={"Roof": 100.4})
        for n in range(12)
    ]
    service.record.add([], quarters)
    clock.advance(4 * 3_600 + 90)
    await service.account_once()
    router = energy_router(service, clock, is_guarded=False, local_token="t")
    app = create_api(view, WebSettings(), clock, session_key=bytes(32), routers=[router])
    async with client_of(app) as client:
        june = (await client.get("/api/v1/energy/hours?month=2025-06")).json()
        july = (await client.get("/api/v1/energy/hours")).json()
        table = await client.get("/api/v1/energy/hours?month=2025-07&format=csv")
        rules = (await client.get("/api/v1/energy/rules")).json()["rules"]
        refused = [
            (await client.get(f"/api/v1/energy/hours?month={month}")).status_code
            for month in ("2025-13", "0000-01", "july", "9999-12")
        ]
    assert [hour["start_s"] for hour in june["hours"]] == [NIGHT_S - 3_600]
    assert [hour["start_s"] for hour in july["hours"]] == [NIGHT_S, NIGHT_S + 3_600]
    assert july["month"] == "2025-07"
    assert july["rules"] == rules
    assert (rules[0]["declared_s"], rules[0]["since_s"]) == (NIGHT_S - 7_200, NIGHT_S - 3_600)
    assert july["hours"][0]["by_source"] == {"Roof": 400, "grid": 1_000}
    assert table.headers["content-disposition"] == 'attachment; filename="energy-hours-2025-07.csv"'
    rows = list(csv.DictReader(io.StringIO(table.text)))
    assert [(row["hour_utc"], row["source"], row["energy_wh"]) for row in rows[:2]] == [
        ("2025-06-30T22:00:00Z", "Roof", "400"),
        ("2025-06-30T22:00:00Z", "grid", "1000"),
    ]
    assert rows[0]["rule_since_utc"] == "2025-06-30T21:00:00Z"
    assert (rows[0]["factors"], rows[0]["hour_location_g"]) == ("IPCC 2014, life cycle", "380.000")
    assert refused == [422, 422, 422, 422]
    await service.close()


async def test_a_quarter_of_an_hour_outlives_the_process_that_began_it(tmp_path: Path) -> None:
    clock = VirtualClock(float(NIGHT_S))
    hall = VirtualHall(clock, "avalon-q", machines=2)
    service = open_service(hall, clock, tmp_path, PARTS)
    for at_s in range(NIGHT_S, NIGHT_S + 900, 10):
        service.record.add(
            [Moment(at_s=at_s, measured_w=4_000.0, setpoint_w=None, price_per_mwh=None, hashrate_hs=None)]
        )
    await service.close()  # with the quarter of an hour still in memory, as a kill would
    clock.advance(905)
    again = open_service(hall, clock, tmp_path, PARTS)
    await again.record_once()
    (quarter,) = again.record.quarters(NIGHT_S, NIGHT_S + 900)
    assert quarter.covered_s > 880
    assert abs(quarter.import_wh - 1_000.0) < 20
    await again.close()
    # A third start writes nothing anew.
    third = open_service(hall, clock, tmp_path, PARTS)
    assert third.record.quarters(NIGHT_S, NIGHT_S + 900) == [quarter]
    await third.close()
