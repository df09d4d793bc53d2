"""Our drivers over the twin: virtual machines written by others after the same facts."""

from __future__ import annotations

import asyncio
import contextlib
import os
from collections.abc import AsyncIterator, Callable

import pytest

from hashwerk.devices import identify, open_drivers, scan
from hashwerk.devices.asic_rs import AsicRsDriver
from hashwerk.devices.avalon import AvalonDriver
from hashwerk.devices.neighbours import normal_mac
from hashwerk.errors import DeviceError
from hashwerk.fleet.commands import SetMode, Sleep, Wake
from hashwerk.fleet.machine import Capability, OutcomeKind, Reading, WorkState
from hashwerk.fleet.ports import Address, Driver
from hashwerk.twin import MODELS, Fault, FaultKind, Hall, HallSettings, Machine
from support.asic_replies import may_listen

if "HASHWERK_ALONE" not in os.environ:
    pytest.skip("run in a process of its own by test_alone.py (HASHWERK_ALONE=1)", allow_module_level=True)

#: One second instead of five: the machines keep their own time.
DRIVERS: tuple[Driver, ...] = (AvalonDriver(lead_s=1), AsicRsDriver())
DEADLINE_S = 15.0
TIMEOUT_S = 3.0
BASE = "127.78.1.1"
RANGE = "127.78.1.0/27"


@pytest.fixture
async def hall() -> AsyncIterator[Hall]:
    """A hall with one machine of every model, three hundred times faster than real ones."""
    if not may_listen(BASE, 80):
        pytest.skip(
            f"nobody may listen on {BASE}:80 now, where pyasic_rs asks: another program, or no right to"
        )
    keys = [model if isinstance(model, str) else model.key for model in MODELS]
    async with _running(HallSettings(machines=len(keys), models=tuple(keys), base=BASE, haste=300)) as hall:
        yield hall


@contextlib.asynccontextmanager
async def _running(settings: HallSettings) -> AsyncIterator[Hall]:
    hall = Hall(settings)
    await hall.start()
    try:
        yield hall
    finally:
        await hall.stop()


def _of(hall: Hall, key: str) -> Machine:
    return next(machine for machine in hall.machines if machine.model.key == key)


async def _until(driver: Driver, address: Address, is_so: Callable[[Reading], bool]) -> Reading:
    """Read until it is so: a machine falls asleep and wakes in its own time."""
    async with asyncio.timeout(DEADLINE_S):
        while True:
            with contextlib.suppress(DeviceError):  # while it reboots
                reading = await driver.read(address, timeout_s=TIMEOUT_S)
                if is_so(reading):
                    return reading
            await asyncio.sleep(0.05)


async def _driver_of(machine: Machine) -> tuple[Driver, Reading]:
    identified = await identify(Address(host=machine.host), DRIVERS, timeout_s=TIMEOUT_S)
    assert identified is not None, machine.model.key
    return identified


async def test_every_twin_is_found_read_and_told_apart(hall: Hall) -> None:
    found = {
        machine.address.host: machine async for machine in scan([RANGE], open_drivers(), timeout_s=TIMEOUT_S)
    }
    assert set(found) == {machine.host for machine in hall.machines}
    now = hall.clock.time()
    for machine in hall.machines:
        reading, key = found[machine.host].reading, machine.model.key
        assert found[machine.host].driver == ("avalon" if machine.model.make == "avalon" else "asic-rs"), key
        assert reading.identity.mac == normal_mac(machine.identity.mac), key
        assert reading.state is WorkState.HASHING, (key, reading)
        assert reading.hashrate_hs == pytest.approx(machine.hashrate_hs(now), rel=0.1), key
        if reading.power_w is not None:
            assert reading.power_w == pytest.approx(machine.power_w(now), rel=0.1), key


async def test_every_twin_that_can_sleep_sleeps_and_wakes(hall: Hall) -> None:
    async with asyncio.TaskGroup() as all_at_once:
        for machine in hall.machines:
            all_at_once.create_task(_sleep_and_wake(hall, machine))


async def _sleep_and_wake(hall: Hall, machine: Machine) -> None:
    driver, reading = await _driver_of(machine)
    if Capability.SLEEP not in reading.capabilities:
        return
    address, key = Address(host=machine.host), machine.model.key
    outcome = await driver.execute(address, Sleep(), timeout_s=TIMEOUT_S)
    assert outcome.kind in (OutcomeKind.ACCEPTED, OutcomeKind.UNANSWERED), (key, outcome)
    # Bitmain's rate is an average over seconds: for a minute it says asleep and still a rate, which is no state.
    down = {WorkState.ASLEEP} | ({WorkState.UNKNOWN} if reading.identity.make == "antminer" else set())

    def is_down(reading: Reading) -> bool:
        true_w = machine.power_w(hall.clock.time())
        return reading.state in down and (reading.power_w is None or reading.power_w < 2 * true_w + 20)

    asleep = await _until(driver, address, is_down)
    assert not asleep.hashrate_hs or asleep.doubts, key
    outcome = await driver.execute(address, Wake(), timeout_s=TIMEOUT_S)
    assert outcome.kind in (OutcomeKind.ACCEPTED, OutcomeKind.UNANSWERED), (key, outcome)
    await _until(driver, address, lambda reading: reading.state is WorkState.HASHING)


async def test_every_avalon_changes_its_mode(hall: Hall) -> None:
    async with asyncio.TaskGroup() as all_at_once:
        for machine in hall.machines:
            if machine.model.make == "avalon":
                all_at_once.create_task(_change_mode(machine))


async def _change_mode(machine: Machine) -> None:
    driver, reading = await _driver_of(machine)
    address, key = Address(host=machine.host), machine.model.key
    other = reading.modes[0] if reading.mode != reading.modes[0] else reading.modes[1]
    outcome = await driver.execute(address, SetMode(mode=other), timeout_s=TIMEOUT_S)
    assert outcome.kind in (OutcomeKind.ACCEPTED, OutcomeKind.UNANSWERED), (key, outcome)
    await _until(driver, address, lambda reading: (reading.mode, reading.state) == (other, WorkState.HASHING))


async def test_a_fault_costs_the_faulty_machine_and_no_other(hall: Hall) -> None:
    machine = _of(hall, "avalon-q")
    driver, _ = await _driver_of(machine)
    address = Address(host=machine.host)
    await hall.inject(machine.identity.name, Fault(kind=FaultKind.HANG))
    with pytest.raises(DeviceError):
        await driver.read(address, timeout_s=0.3)
    hall.clear(machine.identity.name)
    await hall.inject(machine.identity.name, Fault(kind=FaultKind.GARBAGE))
    for _ in range(6):
        with contextlib.suppress(DeviceError):
            reading = await driver.read(address, timeout_s=TIMEOUT_S)
            assert reading.identity.make == "avalon"
    hall.clear(machine.identity.name)
    await hall.inject(machine.identity.name, Fault(kind=FaultKind.REFUSE))
    outcome = await driver.execute(address, Sleep(), timeout_s=TIMEOUT_S)
    assert outcome.kind is OutcomeKind.REFUSED
    hall.clear(machine.identity.name)
    assert (await driver.read(address, timeout_s=TIMEOUT_S)).state is WorkState.HASHING
