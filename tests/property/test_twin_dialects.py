"""No bytes at all disturb a virtual machine: it answers, waits for more, or closes; it never raises."""

from __future__ import annotations

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hashwerk.clock import VirtualClock
from hashwerk.twin import MODELS, Hall, HallSettings
from hashwerk.twin.dialects import DIALECTS
from hashwerk.twin.http import HttpRequest, HttpResponse, parse_http

_COMMANDS = """
summary version stats estats litestats devs pools config devdetails coin check switchpool ascset restart session logon
logoff curtail profileset atmset fanset addpool removepool removegroup voltageget healthchipget get_token status get_psu
get_miner_info get_error_code get_version rebootdevice
"""
_WORDS = """
0,softoff,1: 0,softon,1: 0,workmode,set, 0,workmode, 0,fan-spd, 0,led,1- 0,setpool, 0,worklevel,set, 0,reboot,
0,hashpower, sleep wakeup speed=
"""
_PATHS = """
/ /cgpools.cgi /get_auth.cgi /reboot.cgi /api/system/info /api/system /cgi-bin/set_miner_conf.cgi
/cgi-bin/get_miner_conf.cgi /cgi-bin/blink.cgi /api/v1/settings /api/v1/unlock /api/v1/summary
"""
_TEXT = st.text(max_size=40) | st.from_regex(r"[0-9²³٣]{1,12}", fullmatch=True) | st.just("9" * 5000)


def _parameters() -> st.SearchStrategy[str]:
    return st.builds(lambda word, text: word + text, st.sampled_from(_WORDS.split()), _TEXT) | _TEXT


def _requests() -> st.SearchStrategy[bytes]:
    commands = st.lists(st.sampled_from(_COMMANDS.split()) | st.text(max_size=8), min_size=1, max_size=3).map(
        "+".join
    )
    as_json = st.builds(
        lambda command, parameter: json.dumps({"command": command, "parameter": parameter}).encode(),
        commands,
        _parameters() | st.integers() | st.none() | st.lists(st.integers(), max_size=2),
    )
    as_text = st.builds(lambda command, parameter: f"{command}|{parameter}".encode(), commands, _parameters())
    sealed = st.builds(lambda data: json.dumps({"enc": 1, "data": data}).encode(), st.text(max_size=80))
    return as_json | as_text | sealed | st.binary(max_size=200)


@pytest.mark.parametrize("key", sorted(MODELS))
@given(requests=st.lists(_requests(), max_size=12))
@settings(max_examples=12, deadline=None)
def test_the_miner_api_takes_anything(key: str, requests: list[bytes]) -> None:
    clock = VirtualClock()
    machine = Hall(HallSettings(models=(key,), machines=1), clock=clock).machines[0]
    dialect = DIALECTS[machine.model.dialect]
    for request in requests:
        machine.advance(clock.time())
        reply = dialect.api(machine, request, clock.time())
        assert reply is None or isinstance(reply, bytes)
        clock.advance(7)
    assert len(machine.plan) <= 32
    assert 0 <= machine.power_w(clock.time()) < 6000


@pytest.mark.parametrize(
    "key",
    ["avalon-q", "antminer-s19jpro", "bitaxe-gamma", "luxos-s19kpro", "whatsminer-m50s", "vnish-s19jpro"],
)
@given(
    method=st.sampled_from(("GET", "POST", "PATCH")),
    path=st.sampled_from(_PATHS.split()) | st.text(max_size=12),
    header=st.text(max_size=60) | st.just('Digest username="root", realm="antMiner Configuration"'),
    body=st.binary(max_size=80) | st.just(b'{"pools":[1,{"url":5}],"miner-mode":{},"bitmain-fan-ctrl":true}'),
)
@settings(max_examples=20, deadline=None)
def test_the_web_server_takes_anything(key: str, method: str, path: str, header: str, body: bytes) -> None:
    clock = VirtualClock()
    machine = Hall(HallSettings(models=(key,), machines=1), clock=clock).machines[0]
    request = HttpRequest(method, path, {}, {"authorization": header, "cookie": header}, body)
    response = DIALECTS[machine.model.dialect].http(machine, request, clock.time())
    assert response.encode().startswith(b"HTTP/1.1 ")
    clock.advance(60)
    assert machine.power_w(clock.time()) >= 0


@given(st.binary(max_size=300))
@settings(max_examples=60, deadline=None)
def test_http_takes_anything(data: bytes) -> None:
    found = parse_http(data)
    assert found is None or isinstance(found, HttpRequest | HttpResponse)
    parse_http(b"GET /" + data + b" HTTP/1.1\r\n\r\n")


@given(st.binary(max_size=200))
@settings(max_examples=25, deadline=None)
def test_a_configuration_of_an_antminer_may_be_anything(data: bytes) -> None:
    from hashwerk.twin.dialects.antminer import _apply

    clock = VirtualClock()
    machine = Hall(HallSettings(models=("antminer-s19jpro",), machines=1), clock=clock).machines[0]
    text = data.decode("latin-1")
    for wanted in (
        {"pools": text, "miner-mode": text, "bitmain-fan-ctrl": True, "bitmain-fan-pwm": text},
        {"pools": [{"url": text, "user": 5}], "miner-mode": None},
    ):
        _apply(wanted, machine, clock.time())
    assert machine.power_w(clock.time()) >= 0
