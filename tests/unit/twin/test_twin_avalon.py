"""The Avalon dialects: what each says, accepts and refuses, and what it then really does."""

from __future__ import annotations

import hashlib

import pytest

from hashwerk.twin.physics import Phase
from support.twin import ask, ask_raw, fields, running_hall, status


async def test_a_running_q_as_recorded() -> None:
    async with running_hall() as (hall, clock):
        machine = hall.machines[0]
        found = await fields(machine)
        assert found["Ver"] == "Q-25052801_14a19a2"
        assert found["SYSTEMSTATU"] == "Work: In Work, Hash Board: 1"
        error, control, board, amperes, direct_w, setpoint, wall_w = map(int, found["PS"].split())
        assert (error, control, setpoint) == (0, 1221, 2420)
        assert amperes * board / 100 == pytest.approx(direct_w, rel=0.02)
        assert wall_w == pytest.approx(machine.power_w(clock.time()), rel=0.05)
        assert direct_w / wall_w == pytest.approx(0.957, abs=0.002)
        assert float(found["GHSspd"]) == pytest.approx(machine.hashrate_hs(clock.time()) / 1e9, rel=0.02)
        assert int(found["MPO"]) == 1300
        assert len(await ask(machine, "stats")) == 3
        assert "HBinfo" not in (await ask(machine, "litestats"))["STATS"][0]
        assert "HBinfo" in (await ask(machine, "estats"))["STATS"][0]


async def test_a_sleeping_q_keeps_its_stale_average_and_its_target() -> None:
    async with running_hall() as (hall, clock):
        machine = hall.machines[0]
        await status(machine, f"0,softoff,1:{int(clock.time()) + 5}")
        assert (await fields(machine))["SYSTEMSTATU"].startswith("Work: In Work")  # not before its time
        clock.advance(20)
        found = await fields(machine)
        assert found["SYSTEMSTATU"].startswith("Work: In Idle")
        assert float(found["GHSspd"]) == 0
        assert float(found["GHSavg"]) > 50_000  # stale
        assert int(found["MPO"]) == 1300  # a target, no measurement
        assert found["PS"].split()[2:5] == ["4", "0", "0"]
        assert int(found["SoftOFF"]) == 4
        assert machine.hashrate_hs(clock.time()) == 0


async def test_modes_of_a_q_change_while_it_runs() -> None:
    async with running_hall() as (hall, clock):
        machine = hall.machines[0]
        assert await status(machine, "0,workmode,get") == ("I", 118, "ASC 0 set info: workmode 1")
        assert await status(machine, "0,workmode,set,0") == ("S", 119, "ASC 0 set OK")
        clock.advance(60)
        assert hall.power_w() == pytest.approx(843, rel=0.06)
        assert (await fields(machine))["WORKMODE"] == "0"
        assert (await status(machine, "0,workmode,1"))[2] == "ASC 0 set failed: workmode unknown argument"
        assert (await status(machine, "0,workmode,set,7"))[:2] == ("E", 120)


async def test_a_q_refuses_modes_while_it_calibrates() -> None:
    async with running_hall(started=False) as (hall, clock):
        machine = hall.machines[0]
        clock.advance(machine.model.timing.boot_s + 5)
        assert machine.phase(clock.time()) is Phase.STARTING
        assert (await status(machine, "0,workmode,set,0"))[:2] == ("E", 120)


@pytest.mark.parametrize(
    ("parameter", "expected"),
    [
        ("0,led,1-1", ("E", 120, "ASC 0 set failed: Unknown option: led")),
        (
            "0,setpool,root,root,0,stratum+tcp://x:1,w,p",
            ("E", 120, "ASC 0 set failed: Unknown option: setpool"),
        ),
        ("0,softoff,tomorrow", ("E", 120, "ASC 0 set failed: softoff unknown argument")),
        ("0,fan-spd,200", ("E", 120, "ASC 0 set failed: fan-spd unknown argument")),
        ("0,worklevel,get", ("I", 118, "ASC 0 set info: worklevel 0")),
        ("0,loop,get", ("I", 118, "ASC 0 set info: LOOP[160 ]")),
        ("0", ("E", 71, "Missing parameter")),
        ("1,help", ("E", 107, "Invalid ASC id 1 - range is 0 - 0")),
    ],
)
async def test_what_a_q_answers(parameter: str, expected: tuple[str, int, str]) -> None:
    async with running_hall() as (hall, _clock):
        assert await status(hall.machines[0], parameter) == expected


async def test_fans_by_hand_and_back() -> None:
    async with running_hall() as (hall, clock):
        machine = hall.machines[0]
        await status(machine, "0,fan-spd,100")
        clock.advance(3600)
        cold = await fields(machine)
        assert cold["FanR"] == "100%"
        await status(machine, "0,fan-spd,-1")
        clock.advance(3600)
        usual = await fields(machine)
        assert int(usual["TAvg"]) > int(cold["TAvg"])


async def test_pools_of_a_q_are_written_over_the_web_and_hold_after_a_reboot() -> None:
    async with running_hall(pool="stratum+tcp://127.0.0.1:9", scale=1e15) as (hall, clock):
        machine = hall.machines[0]

        async def post(path: str, body: str, cookie: str) -> bytes:
            head = f"POST {path} HTTP/1.1\r\nCookie: {cookie}\r\nContent-Length: {len(body)}\r\n\r\n{body}"
            return await ask_raw(machine.host, machine.http_port, head.encode())

        form = "pool1=stratum%2Btcp%3A%2F%2F127.0.0.1%3A8&worker1=me.new&passwd1=x"
        assert b"loginform" in await post("/cgpools.cgi", form, "auth=wrong")
        reply = await ask_raw(machine.host, machine.http_port, b"GET /get_auth.cgi?num=1 HTTP/1.1\r\n\r\n")
        salt = reply.split(b'"auth":"')[1].split(b'"')[0].decode()
        token = hashlib.sha256(b"admin").hexdigest()[:24]
        assert b"loginform" not in await post("/cgpools.cgi", form, f"auth={salt}{token}")
        assert (await ask(machine, "pools"))["POOLS"][0]["URL"].endswith(":9")
        await status(machine, "0,reboot,0")
        clock.advance(400)
        pool = (await ask(machine, "pools"))["POOLS"][0]
        assert (pool["URL"], pool["User"]) == ("stratum+tcp://127.0.0.1:8", "me.new")


async def test_an_a1246_counts_from_boot_and_never_reaches_a_unix_time() -> None:
    async with running_hall(models=("avalon-a1246",)) as (hall, clock):
        machine = hall.machines[0]
        reply = await ask(machine, "version")
        assert reply["STATUS"][0]["When"] < 1e9
        assert (await status(machine, f"0,softoff,1:{int(clock.time()) + 5}"))[:2] == ("S", 119)
        clock.advance(3600)
        assert hall.power_w() > 3000  # accepted, and nothing happened
        at = reply["STATUS"][0]["When"] + 4000
        await status(machine, f"0,softoff,1:{at}")
        clock.advance(4000)
        assert hall.power_w() == 60


async def test_an_a1246_sleeps_by_hashpower_and_wakes_by_reboot() -> None:
    async with running_hall(models=("avalon-a1246",)) as (hall, clock):
        machine = hall.machines[0]
        assert (await status(machine, "0,hashpower"))[2].startswith("ASC 0 set info: PS[0 1221 ")
        assert (await status(machine, "0,hashpower,0"))[2] == "ASC 0 set info: Power off hash now ..."
        clock.advance(30)
        assert hall.power_w() == 60
        assert (await status(machine, "0,softon"))[:2] == ("E", 120)
        await status(machine, "0,reboot,0")
        clock.advance(400)
        assert hall.power_w() > 3000


async def test_modes_of_an_a1566_hold_after_a_reboot() -> None:
    async with running_hall(models=("avalon-a1566",)) as (hall, clock):
        machine = hall.machines[0]
        before_w = hall.power_w()
        assert (await status(machine, "0,workmode,0"))[2] == "ASC 0 set info: WORKMODE[0]"
        clock.advance(600)
        assert hall.power_w() == before_w
        assert (await fields(machine))["WORKMODE"] == "1"
        await status(machine, "0,reboot,0")
        clock.advance(600)
        assert hall.power_w() == pytest.approx(2700, rel=0.06)
        assert (await fields(machine))["WORKMODE"] == "0"


async def test_a_nano_wakes_without_a_word() -> None:
    async with running_hall(models=("avalon-nano3s",)) as (hall, clock):
        machine = hall.machines[0]
        assert await status(machine, f"0,softoff,1:{int(clock.time())}") == ("S", 119, "ASC 0 set OK")
        clock.advance(10)
        request = f'{{"command":"ascset","parameter":"0,softon,1:{int(clock.time())}"}}'.encode()
        assert await ask_raw(machine.host, machine.port, request) == b""
        clock.advance(200)
        assert (await fields(machine))["SYSTEMSTATU"].startswith("Work: In Work")
        assert await status(machine, "0,led,1-1") == ("S", 119, "ASC 0 set OK")
        assert (await status(machine, "0,led,1-255"))[2] == "ASC 0 set info: LED[1]"


async def test_text_requests_are_answered_in_text() -> None:
    async with running_hall() as (hall, _clock):
        machine = hall.machines[0]
        reply = await ask_raw(machine.host, machine.port, b"version")
        assert reply.startswith(b"STATUS=S,When=")
        assert b"|VERSION,CGMiner=4.11.1,API=3.7,PROD=Avalon Q,MODEL=Q," in reply
        assert reply.endswith(b"|\0")
        joined = await ask(machine, "version+summary+estats")
        assert joined["estats"][0]["STATS"][0]["ID"] == "AVALON0"
        assert (await ask(machine, "nonsense"))["STATUS"][0]["Code"] == 14


async def test_requests_in_pieces_and_too_long_ones() -> None:
    async with running_hall() as (hall, _clock):
        machine = hall.machines[0]
        import asyncio

        reader, writer = await asyncio.open_connection(machine.host, machine.port)
        writer.write(b'{"command":')
        await writer.drain()
        writer.write(b'"version"}')
        async with asyncio.timeout(5):
            assert (await reader.read()).endswith(b"\0")
        writer.close()
        assert await ask_raw(machine.host, machine.port, b'{"command":"' + b"a" * 9000) == b""
