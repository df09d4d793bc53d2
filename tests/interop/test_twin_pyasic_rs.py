"""Unmodified `pyasic_rs` finds, reads and commands the twin, with the errors that it makes with real machines."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from datetime import timedelta
from typing import Any

import pytest

from hashwerk.twin import MODELS, Hall, HallSettings

pyasic_rs = pytest.importorskip(
    "pyasic_rs", reason="pyasic_rs is not installed: interoperation is not tested"
)

_DEADLINE_S = 10.0
#: It knows only the real ports; so the hall needs addresses of its own.
_BASE = "127.77.1.1"


@pytest.fixture
async def hall() -> AsyncIterator[Hall]:
    """A hall with one machine of every model that is a twin's."""
    settings = HallSettings(
        machines=len(MODELS), models=tuple(MODELS), base=_BASE, haste=100, pool="stratum+tcp://127.0.0.1:9"
    )
    hall = Hall(settings)
    await hall.start()
    try:
        yield hall
    finally:
        await hall.stop()


async def _miner(hall: Hall, key: str) -> Any:
    machine = next(machine for machine in hall.machines if machine.model.key == key)
    async with asyncio.timeout(_DEADLINE_S):
        return machine, await pyasic_rs.MinerFactory().get_miner(machine.host)


async def _until(condition: Any) -> None:
    async with asyncio.timeout(_DEADLINE_S):
        while not condition():  # noqa: ASYNC110 - physics has no event to wait for
            await asyncio.sleep(0.05)


async def test_a_running_avalon_q_is_read_rightly(hall: Hall) -> None:
    machine, miner = await _miner(hall, "avalon-q")
    data = await miner.get_data()
    assert data.device_info.model == "AvalonHomeQ"
    assert data.mac == "02:00:01:00:00:00"
    assert data.hashrate.value == pytest.approx(machine.hashrate_hs(hall.clock.time()) / 1e12, rel=0.05)
    # PS[4], the DC side: 4 to 9 % below the wall.
    assert 0.90 < data.wattage / machine.power_w(hall.clock.time()) < 0.99
    assert data.is_mining is True
    assert len(data.fans) == 4
    assert data.hashboards[0].working_chips == 160


async def test_an_avalon_q_told_to_sleep_sleeps_though_the_library_says_it_failed(hall: Hall) -> None:
    machine, miner = await _miner(hall, "avalon-q")
    awake_w = hall.power_w()
    # The machine says I/118 "success softoff:…": the library takes only S/119 for a success.
    assert await miner.pause(timedelta(seconds=1)) is False
    await _until(lambda: machine.phase(hall.clock.time()).value == "asleep")
    assert hall.power_w() < awake_w - 1_000
    data = await miner.get_data()
    # And what it reads of a sleeping one is the set-point PS[5], 22.5 V, taken for watts.
    assert data.wattage == pytest.approx(2250, rel=0.02)
    assert data.is_mining is True


async def test_it_wakes_again(hall: Hall) -> None:
    machine, miner = await _miner(hall, "avalon-q")
    await miner.pause(timedelta(seconds=1))
    await _until(lambda: machine.phase(hall.clock.time()).value == "asleep")
    await miner.resume(timedelta(seconds=1))
    await _until(lambda: machine.hashrate_hs(hall.clock.time()) > 70e12)


@pytest.mark.parametrize(
    "key", ["avalon-nano3s", "avalon-mini3", "avalon-a1246", "avalon-a1366", "avalon-a1566"]
)
async def test_every_avalon_is_recognised_and_read(hall: Hall, key: str) -> None:
    machine, miner = await _miner(hall, key)
    assert miner is not None
    data = await miner.get_data()
    assert data.device_info.make == "Avalonminer"
    assert data.hashrate.value == pytest.approx(machine.hashrate_hs(hall.clock.time()) / 1e12, rel=0.05)
    assert data.pools[0].pools[0].user == f"twin.{machine.identity.name}"
