"""The other makes: commands, sessions, tokens and traps of each."""

from __future__ import annotations

import base64
import hashlib
import json
from typing import Any

import httpx
import pytest
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes

from hashwerk.twin import Fault, FaultKind, Machine
from hashwerk.twin.dialects.md5crypt import md5crypt
from support.twin import ask, ask_raw, running_hall


async def test_luxos_obeys_whoever_has_the_session() -> None:
    async with running_hall(models=("luxos-s19kpro",)) as (hall, clock):
        machine = hall.machines[0]
        assert (await ask(machine, "curtail", "nobody,sleep"))["STATUS"][0]["STATUS"] == "E"
        name = (await ask(machine, "logon"))["SESSION"][0]["SessionID"]
        assert (await ask(machine, "session"))["SESSION"][0]["SessionID"] == name
        assert (await ask(machine, "logon"))["STATUS"][0]["STATUS"] == "E"  # one at a time
        assert (await ask(machine, "curtail", f"{name},sleep"))["STATUS"][0]["STATUS"] == "S"
        clock.advance(5)
        assert hall.power_w() == 25
        config = (await ask(machine, "config"))["CONFIG"][0]
        assert (config["CurtailMode"], config["IsPowerSupplyOn"]) == ("Sleep", False)
        await ask(machine, "curtail", f"{name},wakeup")
        await ask(machine, "profileset", f"{name},265MHz")
        clock.advance(400)
        assert hall.power_w() == pytest.approx(1080, rel=0.06)
        assert (await ask(machine, "power"))["POWER"][0] == {
            "PSU": False,
            "Watts": pytest.approx(hall.power_w(), rel=0.05),
        }
        clock.advance(100)  # the session has expired
        assert (await ask(machine, "profileset", f"{name},590MHz"))["STATUS"][0]["STATUS"] == "E"


async def test_a_stock_antminer_asks_for_its_password_and_obeys_miner_mode_only() -> None:
    async with running_hall(models=("antminer-s19jpro",), pool="stratum+tcp://127.0.0.1:9", scale=1e15) as (
        hall,
        clock,
    ):
        machine = hall.machines[0]
        base = f"http://{machine.host}:{machine.http_port}/cgi-bin"
        async with httpx.AsyncClient(timeout=5) as stranger:
            refused = await stranger.get(f"{base}/get_miner_conf.cgi")
            assert refused.status_code == 401
            assert 'realm="antMiner Configuration"' in refused.headers["www-authenticate"]
        async with httpx.AsyncClient(timeout=5, auth=httpx.DigestAuth("root", "wrong")) as wrong:
            assert (await wrong.get(f"{base}/get_miner_conf.cgi")).status_code == 401
        async with httpx.AsyncClient(timeout=5, auth=httpx.DigestAuth("root", "root")) as client:
            found = (await client.get(f"{base}/get_miner_conf.cgi")).json()
            assert found["bitmain-work-mode"] == "0"
            # Only the second name of the mode: success, and nothing happens.
            assert (
                await client.post(f"{base}/set_miner_conf.cgi", json={**found, "bitmain-work-mode": "1"})
            ).json()["stats"] == "success"
            clock.advance(1000)
            assert hall.power_w() > 2800
            await client.post(f"{base}/set_miner_conf.cgi", json={**found, "miner-mode": "1"})
            clock.advance(60)
            assert hall.power_w() == 40
            assert (await client.get(f"{base}/get_miner_conf.cgi")).json()["bitmain-work-mode"] == "1"
            # A configuration without pools wipes them.
            await client.post(f"{base}/set_miner_conf.cgi", json={"miner-mode": "3"})
            clock.advance(1000)
            assert hall.power_w() == pytest.approx(2250, rel=0.06)
            assert (await ask(machine, "pools"))["POOLS"] == []
            await client.post(f"{base}/blink.cgi", json={"blink": "true"})
            assert (await client.get(f"{base}/get_blink_status.cgi")).json() == {"blink": True}
        assert (await ask(machine, "stats"))["STATS"][0]["Type"] == "Antminer S19j Pro"
        assert (await ask(machine, "version+stats"))["STATUS"][0]["Code"] == 14  # it cannot join commands


class _Whatsminer:
    """A client of the encrypted API, written from its description."""

    def __init__(self, machine: Machine, password: str = "admin") -> None:
        self._machine = machine
        self._password = password

    async def command(self, command: str, **parameters: Any) -> dict[str, Any]:
        token = (await ask(self._machine, "get_token"))["Msg"]
        key = md5crypt(self._password.encode(), token["salt"].encode())
        sign = md5crypt((key + token["time"]).encode(), token["newsalt"].encode())
        cipher = Cipher(algorithms.AES256(hashlib.sha256(key.encode()).digest()), modes.ECB())
        plain = json.dumps({"command": command, "token": sign, **parameters}).encode()
        closer = cipher.encryptor()
        sealed = base64.b64encode(
            closer.update(plain + b"\0" * (-len(plain) % 16)) + closer.finalize()
        ).decode()
        request = json.dumps({"enc": 1, "data": sealed}).encode()
        reply = json.loads(await ask_raw(self._machine.host, self._machine.port, request))
        if "enc" not in reply:
            return dict(reply)
        opener = cipher.decryptor()
        opened = opener.update(base64.b64decode(reply["enc"])) + opener.finalize()
        return dict(json.loads(opened.rstrip(b"\0")))


async def test_a_whatsminer_opens_to_its_password_only() -> None:
    async with running_hall(models=("whatsminer-m50s",)) as (hall, clock):
        machine = hall.machines[0]
        wrong = await _Whatsminer(machine, "guess").command("power_off", respbefore="true")
        assert wrong["STATUS"] == "E"
        client = _Whatsminer(machine)
        assert (await client.command("power_off", respbefore="true"))["STATUS"] == "S"
        clock.advance(30)
        assert hall.power_w() == 20
        assert (await ask(machine, "status"))["Msg"]["mineroff"] == "true"
        await client.command("power_on")
        clock.advance(1000)
        assert hall.power_w() == pytest.approx(3276, rel=0.06)
        await client.command("adjust_power_limit", power_limit="2938")
        clock.advance(1000)
        assert hall.power_w() == pytest.approx(2938, rel=0.06)
        assert 104e12 < hall.hashrate_hs() < 126e12
        await client.command("set_low_power")
        clock.advance(1000)
        assert hall.power_w() == pytest.approx(2600, rel=0.06)
        assert (await ask(machine, "summary"))["SUMMARY"][0]["Upfreq Complete"] == 1
        await hall.inject(machine.identity.name, Fault(kind=FaultKind.REFUSE))
        assert (await client.command("power_off"))["STATUS"] == "E"


async def test_a_bitaxe_has_a_web_server_only() -> None:
    async with running_hall(models=("bitaxe-gamma", "nerdqaxe"), machines=2) as (hall, _clock):
        bitaxe, nerdaxe = hall.machines
        assert bitaxe.port == 0
        async with httpx.AsyncClient(timeout=5) as client:
            for machine, marker in ((bitaxe, "AxeOS"), (nerdaxe, "Nerd")):
                base = f"http://{machine.host}:{machine.http_port}"
                assert marker in (await client.get(base)).text
                found = (await client.get(f"{base}/api/system/info")).json()
                assert found["power"] == pytest.approx(machine.model.points[0].power_w, rel=0.1)
                assert found["macAddr"].startswith("02:")
            changed = await client.patch(
                f"http://{bitaxe.host}:{bitaxe.http_port}/api/system", json={"stratumURL": "127.0.0.1"}
            )
            assert changed.status_code == 200
            assert bitaxe.next_slots is not None
            assert bitaxe.next_slots[0].url == "stratum+tcp://127.0.0.1:3333"


async def test_vnish_wakes_by_the_verb_that_goes_with_the_one_that_stopped_it() -> None:
    async with running_hall(models=("vnish-s19jpro",)) as (hall, clock):
        machine = hall.machines[0]
        base = f"http://{machine.host}:{machine.http_port}/api/v1"
        async with httpx.AsyncClient(timeout=5) as client:
            assert (await client.post(f"{base}/mining/stop")).status_code == 401
            assert (await client.post(f"{base}/unlock", json={"pw": "guess"})).status_code == 403
            token = (await client.post(f"{base}/unlock", json={"pw": "admin"})).json()["token"]
            client.headers["Authorization"] = f"Bearer {token}"
            await client.post(f"{base}/mining/pause")
            clock.advance(60)
            assert hall.power_w() == 60
            assert (await client.get(f"{base}/status")).json()["miner_state"] == "stopped"
            assert (await client.post(f"{base}/mining/start")).status_code == 409
            await client.post(f"{base}/mining/resume")
            clock.advance(300)
            assert hall.power_w() == pytest.approx(2970, rel=0.06)
            body = {"miner": {"overclock": {"preset": "2000"}}}
            assert (await client.post(f"{base}/settings", json=body)).json()["restart_required"] is True
            clock.advance(300)
            assert hall.power_w() > 2700
            await client.post(f"{base}/mining/restart")
            clock.advance(300)
            assert hall.power_w() == pytest.approx(2000, rel=0.06)
            found = (await client.get(f"{base}/summary")).json()["miner"]
            assert found["power_consumption"] == pytest.approx(hall.power_w(), rel=0.05)
            assert (
                await client.post(f"{base}/settings", json={"miner": {"overclock": {"preset": "1"}}})
            ).status_code == 400
