"""Unmodified `pyasic` and Canaan's own `fms_core` find, read and command the twin."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest

from hashwerk.twin import Hall
from support.twin_tools import API_MODELS, DEADLINE_S, WEB_MODELS, hall_at_real_ports, machine_of, until

#: pyasic has no NerdAxe, and no class for a 1366: it reads the latter as an unknown Avalon, with a warning.
_READ = ("avalon-q", "avalon-nano3s", "avalon-a1246", "avalon-a1566", "luxos-s19kpro", "whatsminer-m50s")
_READ_BY_WEB = ("antminer-s19jpro", "bitaxe-gamma")


@pytest.fixture
async def hall() -> AsyncIterator[Hall]:
    """One machine of every model that speaks the miner API."""
    async with hall_at_real_ports(API_MODELS, first=1) as hall:
        yield hall


@pytest.fixture
async def web_hall() -> AsyncIterator[Hall]:
    """One machine of every model that needs its web server."""
    async with hall_at_real_ports(WEB_MODELS, first=101) as hall:
        yield hall


async def _is_read(hall: Hall, key: str) -> None:
    pyasic = pytest.importorskip("pyasic", reason="pyasic is not installed: interoperation is not tested")
    machine = machine_of(hall, key)
    async with asyncio.timeout(DEADLINE_S):
        miner = await pyasic.get_miner(machine.host)
        assert miner is not None
        data = await miner.get_data()
    assert float(data.hashrate) == pytest.approx(machine.hashrate_hs(hall.clock.time()) / 1e12, rel=0.06)
    if key != "bitaxe-gamma":  # whose pools it does not read
        assert data.pools[0].user == f"twin.{machine.identity.name}"


@pytest.mark.parametrize("key", _READ)
async def test_pyasic_reads_every_model_that_it_knows(hall: Hall, key: str) -> None:
    await _is_read(hall, key)


@pytest.mark.parametrize("key", _READ_BY_WEB)
async def test_pyasic_reads_those_with_a_web_server(web_hall: Hall, key: str) -> None:
    await _is_read(web_hall, key)


async def test_pyasic_stops_an_avalon_q(hall: Hall) -> None:
    pyasic = pytest.importorskip("pyasic", reason="pyasic is not installed: interoperation is not tested")
    machine = machine_of(hall, "avalon-q")
    miner = await pyasic.get_miner(machine.host)
    assert await miner.stop_mining() is True
    await until(lambda: machine.power_w(hall.clock.time()) == machine.model.idle_w)
    assert float((await miner.get_data()).hashrate) < 80  # an average that goes stale


async def test_fms_core_reads_and_commands_an_avalon(hall: Hall) -> None:
    api = pytest.importorskip(
        "fmsc.cgminerapi", reason="fms_core is not installed: interoperation is not tested"
    )
    machine = machine_of(hall, "avalon-a1566")

    async def request(command: str, parameter: str | None = None) -> object:
        # Without total_timeout it tries a refused port for half an hour.
        return await asyncio.to_thread(
            api.request_cgminer_api_by_sock, machine.host, command, parameter, total_timeout=DEADLINE_S
        )

    version = await request("version")
    assert version.mm3_model() == "15-194"  # type: ignore[attr-defined]
    assert version.mm3_mac() == machine.identity.mac  # type: ignore[attr-defined]
    assert version.mm3_software_version() == machine.model.version  # type: ignore[attr-defined]
    assert version.mm3_upgrade_api_version() == 2  # type: ignore[attr-defined]
    summary = await request("summary")
    assert summary.summary()[0]["MHS av"] > 1e8  # type: ignore[attr-defined]
    led = await request("ascset", "0,led,1-1")
    assert led.is_request_success()  # type: ignore[attr-defined]
    assert machine.led
    refused = await request("ascset", "0,workmode,9")
    assert not refused.is_request_success()  # type: ignore[attr-defined]
    assert refused.status_code() == api.CGMinerStatusCode.AscsetErr  # type: ignore[attr-defined]
    off = await request("ascset", "0,hashpower,0")
    assert off.is_request_success()  # type: ignore[attr-defined]
    await until(lambda: machine.power_w(hall.clock.time()) == machine.model.idle_w)
