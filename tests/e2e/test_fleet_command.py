"""`hashwerk fleet`: machines found on their own, and the running mine asked and commanded over its API."""

from __future__ import annotations

import asyncio
import json
import os
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx

from hashwerk.clock import SystemClock
from hashwerk.config.web_settings import WebSettings
from hashwerk.site.fleet.token import local_token
from hashwerk.twin import Fault, FaultKind, Hall
from hashwerk.web.app import create_api
from hashwerk.web.fleet_api import fleet_router
from hashwerk.web.server import serve_web
from hashwerk.web.state import MineView
from support.fleet_hall import running_hall, running_service


async def hashwerk(*arguments: str, **environment: str) -> tuple[int, str, str]:
    """Run a command to its end."""
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "hashwerk",
        *arguments,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        env=os.environ | environment,
    )
    out, err = await asyncio.wait_for(process.communicate(), 40)
    assert process.returncode is not None
    return process.returncode, out.decode(), err.decode()


@asynccontextmanager
async def served(hall: Hall, folder: Path) -> AsyncIterator[tuple[str, Any]]:
    """Run a fleet with its API; yield the URL and the fleet."""
    async with running_service(hall, folder) as fleet:
        settings, clock, stop = WebSettings(port=0), SystemClock(), asyncio.Event()
        router = fleet_router(fleet, is_guarded=False, local_token=local_token(folder))
        app = create_api(MineView(None, clock), settings, clock, routers=[router])
        ready: asyncio.Future[str] = asyncio.get_running_loop().create_future()
        serving = asyncio.create_task(serve_web(app, settings, stop, ready.set_result))
        try:
            yield (await ready).rstrip("/"), fleet
        finally:
            stop.set()
            await serving


async def test_machines_are_found_and_told_from_each_other() -> None:
    async with running_hall("127.63.0.1", "avalon-q", "luxos-s19kpro", machines=4) as hall:
        await hall.inject("twin-0004", Fault(kind=FaultKind.GARBAGE))
        code, out, _ = await hashwerk("fleet", "scan", "127.63.0.1-127.63.0.6", "--json", "--timeout", "2")
        assert code == 0
        found = {machine["ip"]: machine for machine in json.loads(out)}
        assert {"127.63.0.1", "127.63.0.2", "127.63.0.3"} <= set(found)
        assert found["127.63.0.1"]["mac"] == "02:00:01:00:00:00"
        assert [found[ip]["make"] for ip in ("127.63.0.1", "127.63.0.2")] == ["avalon", "antminer"]
        assert found["127.63.0.2"]["firmware"] == "luxos"
        assert found["127.63.0.1"]["reported"]["state"] == "hashing"
        code, out, err = await hashwerk("fleet", "show", "127.63.0.1", "--direct")
        assert code == 0
        assert "Avalon Q" in out
        code, _, err = await hashwerk("fleet", "scan", "10.0.0.0/99")
        assert code == 7
        assert "not an address range" in err


async def test_the_mine_is_asked_and_commanded(tmp_path: Path) -> None:
    async with (
        running_hall("127.63.1.1", "luxos-s19kpro", machines=4) as hall,
        served(hall, tmp_path) as (url, fleet),
    ):
        token = {"HASHWERK_TOKEN": local_token(tmp_path)}
        code, out, _ = await hashwerk("fleet", "list", "--url", url, "--json")
        listed = json.loads(out)
        assert (code, listed["total"]) == (0, 4)
        assert {"ip", "mac", "make", "model", "firmware", "reported"} <= set(listed["machines"][0])
        assert listed["machines"][0]["reported"]["state"] == "hashing"

        code, _, err = await hashwerk("fleet", "list", "--state", "sleeping", "--url", url)
        assert (code, "'sleeping' is none of unknown, hashing" in err) == (2, True)

        code, out, err = await hashwerk("fleet", "curtail", "--by", "3", "--dry-run", "--url", url, **token)
        assert code == 0
        assert out.count("sleep") == 2
        assert "would save" in err
        assert not any(machine.asleep for machine in hall.machines)

        code, _, err = await hashwerk(
            "fleet",
            "curtail",
            "--all",
            "--url",
            url,
            "--data-dir",
            str(tmp_path / "nowhere"),
            HASHWERK_TOKEN="",
        )
        assert code == 7
        assert "needs a token" in err
        assert not any(machine.asleep for machine in hall.machines)

        code, out, _ = await hashwerk(
            "fleet", "curtail", "--all", "--why", "a test", "--wait", "--json", "--url", url, **token
        )
        order = json.loads(out)
        assert (code, order["state"]) == (0, "held")
        assert all(machine.asleep for machine in hall.machines)
        code, out, _ = await hashwerk("fleet", "orders", order["id"], "--url", url)
        assert code == 0
        assert out.count("  done: sleep: the machine says yes") == 4
        code, out, _ = await hashwerk("fleet", "show", "127.63.1.1", "--url", url)
        seen = next(line for line in out.splitlines() if line.startswith("seen_at"))
        assert seen.endswith("UTC"), "a moment as people read it"
        code, out, _ = await hashwerk("fleet", "resume", "--dry-run", "--url", url, **token)
        assert f"order {order['id']} would be put back: 4 machines" in out
        code, out, _ = await hashwerk("fleet", "resume", "--wait", "--url", url, **token)
        assert code == 0
        assert "4 of 4 machines did as told" in out
        assert not any(machine.asleep for machine in hall.machines)

        locate = ("fleet", "locate", "127.63.1.1", "--url", url)
        code, out, err = await hashwerk(*locate, "--dry-run", **token)
        assert (code, "turn its light on" in out, err.strip()) == (0, True, "1 machine would be told")
        assert len(fleet.commander.orders) == 1, "only said, nothing was given"
        code, out, _ = await hashwerk(*locate, "--wait", **token)
        assert code == 0
        assert "done: turn its light on: the machine says yes" in out
        assert hall.machines[0].led
        assert fleet.machine("127.63.1.1").commanded == "wake"


async def test_the_api_refuses_what_it_does_not_know(tmp_path: Path) -> None:
    async with running_hall("127.63.2.1", machines=2) as hall, served(hall, tmp_path) as (url, fleet):
        headers = {"authorization": f"Bearer {local_token(tmp_path)}"}
        async with httpx.AsyncClient(base_url=f"{url}/api/v1", timeout=10) as api:
            for path in (
                "/fleet/curtail",
                "/fleet/resume",
                "/fleet/commands",
                "/fleet/scan",
                "/fleet/places",
            ):
                assert (await api.post(path, json={})).status_code == 401, path
                wrong = {"authorization": "Bearer hwk_wrong"}
                assert (await api.post(path, json={}, headers=wrong)).status_code == 401, path
            for body, status in (
                ({"to_kw": 1, "all": True}, 422),
                ({}, 422),
                ({"all": True, "colour": "red"}, 422),
                ({"to_kw": -1}, 422),
                ({"all": True, "group": "nobody"}, 409),
            ):
                answer = await api.post("/fleet/curtail", json=body, headers=headers)
                assert answer.status_code == status, (body, answer.text)
            for body in (
                {"command": "sleep"},
                {"command": "mode", "machines": ["127.63.2.1"]},
                {"command": "dance", "machines": ["127.63.2.1"]},
                {"command": "pools", "machines": ["127.63.2.1"], "pools": [{"url": "foo", "user": "bar"}]},
            ):
                assert (await api.post("/fleet/commands", json=body, headers=headers)).status_code == 422
            unknown = {"command": "sleep", "machines": ["10.1.1.1"]}
            assert (await api.post("/fleet/commands", json=unknown, headers=headers)).status_code == 404
            assert (await api.get("/machines/10.1.1.1")).status_code == 404
            assert (await api.get("/fleet/orders/o-none")).status_code == 404
            columns = (await api.get("/machines", params={"format": "columns"})).json()
            assert {
                len(columns[name])
                for name in columns
                if name not in ("at", "simulation", "states", "models", "bases")
            } == {2}
            key = columns["key"][0]
            hold = await api.post(f"/machines/{key}/hold", json={"who": "bob"}, headers=headers)
            assert hold.json()["lease"]["name"] == "bob"
            assert (await api.get(f"/machines/{key}")).json()["lease"] == "maintenance bob"
            outside = await api.post("/fleet/scan", json={"host": "10.1.1.1"}, headers=headers)
            assert outside.status_code == 409
            assert "outside the configured ranges" in outside.json()["detail"]
            csv = await api.post("/fleet/places", content="mac,hall\nxx,A\n", headers=headers)
            assert csv.status_code == 422
            latin = tmp_path / "latin.csv"
            latin.write_bytes("mac,hall\n02:00:01:00:00:00,Süd\n".encode("latin-1"))
            token = {"HASHWERK_TOKEN": local_token(tmp_path)}
            code, _, err = await hashwerk("fleet", "places", str(latin), "--url", url, **token)
            assert (code, "save it as CSV UTF-8" in err) == (7, True)
            latin.write_text("mac,hall\n02:00:01:00:00:00,Süd\n", encoding="utf-8")
            code, out, _ = await hashwerk(
                "fleet", "places", str(latin), "--why", "moved", "--url", url, **token
            )
            assert (code, out.strip()) == (0, "1 machines placed, 0 not met yet")
        assert not any(machine.asleep for machine in hall.machines)
        assert [(row.command, row.why) for row in await fleet.commands()] == [
            ("take in 1 places", "moved"),
            ("take for maintenance", "no reason given"),
        ]
