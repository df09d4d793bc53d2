import math

import pytest

from hashwerk.config.web_settings import WebSettings
from hashwerk.web.app import create_api
from hashwerk.web.state import MineView


@pytest.fixture
def live(view, clock, web_site):
    view.receive(web_site.sample(clock.now))
    return view


@pytest.fixture
def ledger(clock, web_site):
    return web_site.SampleLedger(clock.now)


@pytest.fixture
def app_with_ledger(ledger, clock, web_site):
    view = MineView(ledger, clock)
    view.receive(web_site.sample(clock.now))
    return create_api(view, WebSettings(), clock)


async def test_status_has_what_others_script_against(live, app_of, client_of, web_site):
    async with client_of(app_of()) as client:
        status = (await client.get("/api/v1/status")).json()
    assert status["hashrate_hs"]["1m"] == pytest.approx(98.2e6, rel=0.01)
    assert set(status["hashrate_hs"]) == {"1m", "10m", "1h", "24h"}
    assert (
        status["hashrate_95_hs"]["10m"]["low"]
        < status["hashrate_hs"]["10m"]
        < status["hashrate_95_hs"]["10m"]["high"]
    )
    assert status["shares"]["accepted"] == 41_207
    assert status["shares"]["rejected"] == 67
    assert status["shares"]["rejected_by_reason"] == {"stale": 58, "low_difficulty": 9, "duplicate": 0}
    assert status["shares"]["accepted_work_hashes"] == 41_207 << 28
    assert status["blocks"] == {"accepted": 411, "mature": 311, "submitted": 0, "rejected": 0, "orphaned": 1}
    node = status["node"]
    assert (node["kind"], node["network"], node["height"], node["tip"]) == (
        "kernel",
        "testnet4",
        412,
        web_site.TIP,
    )
    assert (status["serving"], status["stale"], status["simulation"]) == (True, False, False)
    assert status["uptime_s"] == 93_000


async def test_before_the_first_report_the_answer_says_so(app_of, client_of):
    async with client_of(app_of()) as client:
        response = await client.get("/api/v1/status")
    assert response.status_code == 503
    assert "has not reported yet" in response.json()["detail"]


async def test_an_unbounded_interval_is_null_and_not_a_number(view, clock, app_of, client_of, web_site):
    nothing = web_site.Rate(0.0, 0.0, math.inf, 0)
    view.receive(web_site.sample(clock.now, hashrate={"1m": nothing, "10m": None}))
    async with client_of(app_of()) as client:
        status = (await client.get("/api/v1/status")).json()
    assert status["hashrate_95_hs"] == {"1m": {"low": 0.0, "high": None, "shares": 0}, "10m": None}
    assert status["hashrate_hs"] == {"1m": 0.0, "10m": None}


async def test_work_beyond_64_bits_stays_exact(view, clock, app_of, client_of, web_site):
    view.receive(web_site.sample(clock.now, accepted_work=str(2**80 + 1)))
    async with client_of(app_of()) as client:
        status = (await client.get("/api/v1/status")).json()
    assert status["shares"]["accepted_work_hashes"] == 2**80 + 1


async def test_an_old_report_is_marked(live, app_of, client_of, clock):
    clock.advance(30)
    async with client_of(app_of()) as client:
        status = (await client.get("/api/v1/status")).json()
        health = await client.get("/healthz")
    assert (status["stale"], status["serving"], status["age_s"]) == (True, False, 30)
    assert health.status_code == 503
    assert health.json() == {"serving": False, "reason": "the server has not reported for 30 s"}


async def test_health_is_good_while_work_is_served(live, app_of, client_of):
    async with client_of(app_of()) as client:
        health = await client.get("/healthz")
    assert health.status_code == 200
    assert health.json() == {"serving": True, "reason": None}


async def test_workers(live, app_of, client_of):
    async with client_of(app_of()) as client:
        answer = (await client.get("/api/v1/workers")).json()
    assert answer["total"] == 4
    first, *_, away = answer["workers"]
    assert first["name"] == "demo.cpu"
    assert first["difficulty"] == 2.0**-8
    assert (away["sessions"], away["difficulty"], away["hashrate_hs"]) == (0, None, {})


async def test_accounts(live, app_of, client_of):
    async with client_of(app_of()) as client:
        answer = (await client.get("/api/v1/accounts")).json()
    assert answer["total"] == 1
    (account,) = answer["accounts"]
    assert (account["name"], account["sessions"], account["hashrate_hs"]["1h"]) == ("home", 3, 98e6)
    assert account["hashrate_95_hs"]["24h"]["low"] == 70e6


async def test_template(live, app_of, client_of, view, clock, web_site):
    async with client_of(app_of()) as client:
        template = (await client.get("/api/v1/template")).json()
        view.receive(web_site.sample(clock.now, template=None))
        missing = await client.get("/api/v1/template")
    assert template["height"] == 413
    assert missing.status_code == 404


async def test_blocks_from_the_report_without_a_ledger(live, app_of, client_of):
    async with client_of(app_of()) as client:
        blocks = (await client.get("/api/v1/blocks", params={"limit": 3})).json()["blocks"]
    assert [block["height"] for block in blocks] == [412, 411, 410]


async def test_blocks_from_the_ledger(app_with_ledger, client_of, web_site):
    async with client_of(app_with_ledger) as client:
        blocks = (await client.get("/api/v1/blocks", params={"limit": 2})).json()["blocks"]
    assert [block["hash"] for block in blocks] == [web_site.block_hash(412), web_site.block_hash(411)]
    assert blocks[0]["worker"] == "demo.cpu"


async def test_events_page_by_page(app_with_ledger, client_of):
    async with client_of(app_with_ledger) as client:
        first = (await client.get("/api/v1/events", params={"limit": 200})).json()
        second = (
            await client.get("/api/v1/events", params={"limit": 200, "before": first["next_before"]})
        ).json()
    ids = [event["id"] for event in first["events"] + second["events"]]
    assert ids == list(range(240, 0, -1))
    assert second["next_before"] is None


async def test_series_leaves_gaps_out(app_with_ledger, client_of, clock):
    async with client_of(app_with_ledger) as client:
        series = (
            await client.get("/api/v1/series", params={"step_s": 60, "since": clock.now - 3_600})
        ).json()
    starts = [point["start"] for point in series["points"]]
    assert starts == sorted(starts)
    assert all(start % 60 == 0 for start in starts)
    assert 50 <= len(starts) < 60  # five minutes in the middle are a gap
    assert all(point["low_hs"] <= point["hashrate_hs"] <= point["high_hs"] for point in series["points"])


@pytest.mark.parametrize(
    "params",
    [
        {"step_s": 61},
        {"step_s": 60, "since": 10, "until": 5},
        {"step_s": 60, "since": 0},
        {"since": "nan"},
        {"until": "inf"},
        {"since": -1},
    ],
)
async def test_series_refuses_what_it_cannot_draw(app_with_ledger, client_of, params):
    async with client_of(app_with_ledger) as client:
        assert (await client.get("/api/v1/series", params=params)).status_code == 422


@pytest.mark.parametrize("path", ["/api/v1/series", "/api/v1/events", "/api/v1/blocks"])
async def test_an_unreadable_ledger_is_said_in_words(app_with_ledger, ledger, client_of, path):
    ledger.fails = True
    async with client_of(app_with_ledger) as client:
        response = await client.get(path)
    assert response.status_code == 503
    assert response.json()["detail"] == "the ledger is locked"


async def test_every_call_is_described(live, app_of, client_of):
    async with client_of(app_of()) as client:
        schema = (await client.get("/openapi.json")).json()
        page = (await client.get("/api")).text
        elsewhere = [(await client.get(path)).status_code for path in ("/docs", "/redoc")]
    for path in ("status", "workers", "blocks", "events", "series", "template"):
        call = schema["paths"][f"/api/v1/{path}"]["get"]
        assert call["summary"]
        assert call["responses"]["200"]["content"]["application/json"]["schema"]["$ref"]
        assert f"/api/v1/{path}" in page
    assert 'src="http' not in page
    assert 'href="http' not in page
    assert elsewhere == [404, 404]  # their assets would come from other sites
