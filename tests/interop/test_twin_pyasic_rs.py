"""Unmodified `pyasic_rs` finds, reads and commands the twin, with the errors that it makes with real machines."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator
from datetime import timedelta
from typing import Any

import pytest

from hashwerk.twin import Hall, Machine
from support.twin_tools import (
    API_MODELS,
    DEADLINE_S,
    NETWORK,
    WEB_MODELS,
    hall_at_real_ports,
    machine_of,
    until,
)

if "HASHWERK_ALONE" not in os.environ:
    pytest.skip("run in a process of its own by test_alone.py (HASHWERK_ALONE=1)", allow_module_level=True)

pyasic_rs = pytest.importorskip(
    "pyasic_rs", reason="pyasic_rs is not installed: interoperation is not tested"
)

_MAKES = {
    "avalon": "Avalonminer",
    "antminer": "Antminer",
    "whatsminer": "Whatsminer",
    "bitaxe": "Bitaxe",
    "nerdaxe": "Nerdaxe",
}


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


async def _miner(hall: Hall, key: str) -> tuple[Machine, Any]:
    machine = machine_of(hall, key)
    async with asyncio.timeout(DEADLINE_S):
        return machine, await pyasic_rs.MinerFactory().get_miner(machine.host)


async def _is_read_rightly(hall: Hall, key: str) -> None:
    machine, miner = await _miner(hall, key)
    assert miner is not None
    data = await miner.get_data()
    now = hall.clock.time()
    assert data.device_info.make == _MAKES[machine.model.make]
    assert data.mac.replace(":", "").lower() == machine.identity.mac
    assert data.hashrate.value == pytest.approx(machine.hashrate_hs(now) / 1e12, rel=0.06)
    assert data.is_mining is True
    assert data.pools[0].pools[0].user == f"twin.{machine.identity.name}"


@pytest.mark.parametrize("key", API_MODELS)
async def test_it_recognises_and_reads_every_model(hall: Hall, key: str) -> None:
    await _is_read_rightly(hall, key)


@pytest.mark.parametrize("key", WEB_MODELS)
async def test_it_recognises_and_reads_every_model_with_a_web_server(web_hall: Hall, key: str) -> None:
    await _is_read_rightly(web_hall, key)


async def test_it_finds_a_whole_hall_by_scanning(hall: Hall) -> None:
    factory = pyasic_rs.MinerFactory.from_range(f"{NETWORK}.1-20")
    async with asyncio.timeout(60):
        found = await factory.scan()
    assert {str(miner.ip) for miner in found} == {machine.host for machine in hall.machines}


async def test_an_avalon_q_told_to_sleep_sleeps_though_the_library_says_it_failed(hall: Hall) -> None:
    machine, miner = await _miner(hall, "avalon-q")
    data = await miner.get_data()
    # PS[4], the DC side: 4 to 9 % below the wall.
    assert 0.90 < data.wattage / machine.power_w(hall.clock.time()) < 0.99
    awake_w = hall.power_w()
    # The machine says I/118 "success softoff:…": the library takes only S/119 for a success.
    assert await miner.pause(timedelta(seconds=1)) is False
    await until(lambda: machine.phase(hall.clock.time()).value == "asleep")
    assert hall.power_w() < awake_w - 1_000
    data = await miner.get_data()
    # And what it reads of a sleeping one is the set-point PS[5], 22.5 V, taken for watts.
    assert data.wattage == pytest.approx(2250, rel=0.02)
    assert data.is_mining is True
    await miner.resume(timedelta(seconds=1))
    await until(lambda: machine.hashrate_hs(hall.clock.time()) > 70e12)


@pytest.mark.parametrize("key", ["luxos-s19kpro", "whatsminer-m50s"])
async def test_it_puts_others_to_sleep_and_wakes_them(hall: Hall, key: str) -> None:
    machine, miner = await _miner(hall, key)
    awake_hs = machine.hashrate_hs(hall.clock.time())
    assert await miner.pause() is True
    await until(lambda: machine.power_w(hall.clock.time()) == machine.model.idle_w)
    assert await miner.resume() is True
    await until(lambda: machine.hashrate_hs(hall.clock.time()) > 0.9 * awake_hs)


async def test_it_puts_a_stock_antminer_to_sleep(web_hall: Hall) -> None:
    machine, miner = await _miner(web_hall, "antminer-s19jpro")
    assert await miner.pause() is True
    await until(lambda: machine.power_w(web_hall.clock.time()) == machine.model.idle_w)
    assert (await miner.get_data()).is_mining is False
    assert machine.slots, "the library keeps the pools when it rewrites the configuration"
