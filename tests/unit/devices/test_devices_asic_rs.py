"""What the library's data become: its defaults are not measurements, its averages are not rates."""

from __future__ import annotations

import datetime
import logging
import os
from collections.abc import Callable
from typing import Any

import pytest
from pyasic_rs.asic_rs import MinerData

from hashwerk.devices.asic_rs import AsicRsDriver
from hashwerk.devices.asic_rs.firmwares import FIRMWARES, LIBRARY_SUPPORT, UNKNOWN, firmware_of
from hashwerk.devices.asic_rs.reading import is_answer, reading_of
from hashwerk.devices.plausible import MAX_POOLS
from hashwerk.errors import DeviceError
from hashwerk.fleet.commands import NEEDS, PoolTarget, Reboot, SetMode, SetPools, Sleep, Wake
from hashwerk.fleet.machine import Capability, OutcomeKind, Reading, WorkState
from hashwerk.fleet.ports import Address, Credentials
from support import asic_replies
from support.asic_replies import may_listen
from support.cgminer_machine import CgminerMachine

if "HASHWERK_ALONE" not in os.environ:
    pytest.skip(
        "run in a process of its own by tests/interop/test_alone.py (HASHWERK_ALONE=1)",
        allow_module_level=True,
    )


def data(**fields: Any) -> Any:
    """Return the library's own data of a machine of which it knows only these fields."""
    empty: dict[str, Any] = {
        "schema_version": "0.8.6", "timestamp": 1, "ip": "10.0.0.9", "mac": None,
        "device_info": {"make": "Antminer", "model": "S19", "hardware": {"fans": 4, "boards": [1]}, "firmware": "x",
                        "algo": "SHA256"},
        "serial_number": None, "hostname": None, "api_version": None, "firmware_version": None,
        "control_board_version": None, "expected_hashboards": 1, "hashboards": [], "hashrate": None,
        "expected_hashrate": None, "expected_chips": 1, "total_chips": None, "expected_fans": 4, "fans": [], "psu_fans": [],
        "average_temperature": None, "fluid_temperature": None, "outlet_fluid_temperature": None, "wattage": None,
        "tuning_percent": None, "tuning_target": None, "scaled_tuning_target": None, "tuning_capabilities": None,
        "efficiency": None, "light_flashing": None, "messages": [], "uptime": None, "is_mining": True,
        "operating_state": None, "devfee_connected": None, "pools": [], "best_share": None, "session_best_share": None,
    }  # fmt: skip
    return MinerData.model_validate({**empty, **fields})


def rate(ths: float) -> dict[str, Any]:
    """Return a hash rate as the library has it."""
    return {"value": ths, "unit": "TH/s", "algo": "SHA256"}


def read(firmware: str, *, asleep: bool | None = None, **fields: Any) -> Reading:
    """Return the reading of a machine with this firmware."""
    return reading_of(
        data(**fields), firmware_of(firmware), at=1.0, capabilities=Capability.NONE, mac=None, asleep=asleep
    )


def test_of_a_dead_machine_the_library_still_knows_everything_by_default() -> None:
    assert data().is_mining
    assert not is_answer(data())
    assert not is_answer(data(hashrate=rate(0.0)))
    assert is_answer(data(mac="02:00:00:00:00:01"))
    assert is_answer(data(uptime=datetime.timedelta(seconds=3)))


@pytest.mark.parametrize(
    ("firmware", "fields", "state"),
    [
        ("AntMiner Stock", {"hashrate": rate(110)}, WorkState.HASHING),
        ("AntMiner Stock", {"hashrate": rate(0), "is_mining": False}, WorkState.ASLEEP),
        ("AntMiner Stock", {"is_mining": False}, WorkState.ASLEEP),
        ("AntMiner Stock", {"hashrate": rate(110), "is_mining": False}, WorkState.UNKNOWN),
        ("AntMiner Stock", {"hashrate": rate(0)}, WorkState.UNKNOWN),
        ("AntMiner Stock", {}, WorkState.UNKNOWN),
        ("LuxOS", {"hashrate": rate(0), "is_mining": False}, WorkState.UNKNOWN),  # a default, not an answer
        ("Auradine Stock", {"hashrate": rate(0), "is_mining": False}, WorkState.UNKNOWN),  # perhaps inverted
        ("Braiins", {"is_mining": False}, WorkState.UNKNOWN),  # what it says where nothing came
        ("Braiins", {"hashrate": rate(0), "is_mining": False}, WorkState.ASLEEP),
        ("Bitaxe Stock", {"hashrate": rate(0)}, WorkState.UNKNOWN),
        ("never heard of", {"hashrate": rate(0), "is_mining": False}, WorkState.UNKNOWN),
    ],
)
def test_asleep_needs_a_firmware_that_says_so(
    firmware: str, fields: dict[str, Any], state: WorkState
) -> None:
    assert read(firmware, **fields).state is state


def test_our_own_question_decides_for_luxos() -> None:
    assert read("LuxOS", asleep=True, hashrate=rate(0)).state is WorkState.ASLEEP
    assert read("LuxOS", asleep=False, hashrate=rate(54)).state is WorkState.HASHING
    doubtful = read("LuxOS", asleep=True, hashrate=rate(54))
    assert doubtful.state is WorkState.UNKNOWN
    assert doubtful.doubts


def test_an_average_is_no_rate() -> None:
    reading = read("SealMiner Stock", hashrate=rate(226))
    assert reading.hashrate_hs is None
    assert any("average" in doubt for doubt in reading.doubts)


def test_whether_power_is_measured_is_said() -> None:
    assert read("LuxOS", wattage=1080.0).power_is_measured is False
    assert read("UMC OS", wattage=2200.0).power_is_measured is True
    assert read("WhatsMiner Stock", wattage=3306.0).power_is_measured is None
    nothing = read("VNish", wattage=0.0)
    assert nothing.power_w is None
    assert nothing.doubts


def test_placeholders_are_none() -> None:
    unknown = ("accepted_shares", "rejected_shares", "last_share_time", "alive", "user")
    url = {"scheme": "stratum+tcp", "host": "", "port": 0, "pubkey": None}
    pool = {"position": 0, "url": url, "active": True, **dict.fromkeys(unknown)}
    pools = [{"name": "", "quota": 1, "pools": [pool]}]
    reading = read("Bitaxe Stock", expected_hashrate=rate(0), pools=pools)
    assert reading.pools == ()
    assert reading.nominal_hashrate_hs is None


def test_what_no_machine_can_have_costs_its_own_field_only() -> None:
    url = {"scheme": "stratum+tcp", "host": "pool.example", "port": 3333, "pubkey": None}
    shares = {"accepted_shares": 7, "rejected_shares": 2**63, "last_share_time": None, "alive": None}
    pool = {"position": 0, "url": url, "user": "a" * 100_000, "active": True, **shares}
    reading = read(
        "VNish",
        wattage=1e300,
        hashrate=rate(1e290),
        serial_number="\x00\x1b[31mA1" + "B" * 100_000,
        pools=[{"name": "", "quota": 1, "pools": [pool] * 500}],
    )
    assert (reading.power_w, reading.hashrate_hs) == (None, None)
    assert len(reading.doubts) == 2
    assert len(reading.pools) == MAX_POOLS
    slot = reading.pools[0]
    assert (slot.url, slot.accepted, slot.rejected) == ("stratum+tcp://pool.example:3333", 7, None)
    assert len(slot.user) == len(reading.identity.serial or "") + 2 == 512


def test_every_row_names_its_library_firmware_once_and_every_capability_has_a_command() -> None:
    names = [firmware.library_name for firmware in FIRMWARES]
    assert len(set(names)) == len(names)
    assert all(bool(firmware.modes) == (Capability.MODE in firmware.capabilities) for firmware in FIRMWARES)
    assert set(LIBRARY_SUPPORT) == set(NEEDS)
    assert firmware_of("never heard of") is UNKNOWN


@pytest.fixture
def usual_ports() -> str:
    """An address whose usual ports this user may listen on."""
    host = "127.9.30.1"
    if not may_listen(host, 80):
        pytest.skip(f"this user may not listen on {host}:80, and pyasic_rs asks nowhere else")
    return host


async def test_a_stock_antminer_is_put_to_sleep_with_both_of_its_modes(usual_ports: str) -> None:
    machine = asic_replies.antminer()
    async with asic_replies.serving(machine, usual_ports):
        outcome = await AsicRsDriver().execute(Address(host=usual_ports), Sleep(), timeout_s=5)
        assert outcome.kind is OutcomeKind.ACCEPTED
        (written,) = [body for name, body in _web(machine) if name == "POST /cgi-bin/set_miner_conf.cgi"]
    assert '"miner-mode":"1"' in written.replace(" ", "") or '"miner-mode":1' in written.replace(" ", "")
    assert '"bitmain-work-mode":' in written


async def test_a_stock_antminer_wakes_in_the_mode_that_was_asked_for(usual_ports: str) -> None:
    machine = asic_replies.antminer(work_mode="1")
    async with asic_replies.serving(machine, usual_ports):
        outcome = await AsicRsDriver().execute(Address(host=usual_ports), Wake(mode="Low"), timeout_s=5)
        assert (
            outcome.kind is OutcomeKind.UNANSWERED
        )  # the library does not read what the machine says to this
        written = [body for name, body in _web(machine) if name == "POST /cgi-bin/set_miner_conf.cgi"]
    assert len(written) == 1  # not Normal first and Low after: each write restarts it
    assert any(word in written[0].replace(" ", "") for word in ('"miner-mode":"3"', '"miner-mode":3'))


async def test_a_bitaxe_is_restarted_by_ourselves_and_put_to_sleep_by_nobody(usual_ports: str) -> None:
    machine = asic_replies.bitaxe()
    address, driver = Address(host=usual_ports), AsicRsDriver()
    async with asic_replies.serving(machine, usual_ports):
        assert (await driver.execute(address, Reboot(), timeout_s=5)).kind is OutcomeKind.ACCEPTED
        assert ("POST /api/system/restart", "") in _web(machine)
        assert (await driver.execute(address, Sleep(), timeout_s=5)).kind is OutcomeKind.UNSUPPORTED
        assert machine.web is not None
        del machine.web.pages["POST /api/system/restart"]
        assert (await driver.execute(address, Reboot(), timeout_s=5)).kind is OutcomeKind.REFUSED


@pytest.mark.parametrize("uptime_s", [2**63, 10**12])
async def test_an_uptime_that_no_duration_holds_costs_its_own_field_only(
    usual_ports: str, uptime_s: int
) -> None:
    """Looking at it raises a ValueError in the library, which ended the scan and the watch of all machines."""
    machine = asic_replies.bitaxe()
    assert machine.web is not None
    info = machine.web.pages["GET /api/system/info"].body
    assert isinstance(info, dict)
    info["uptimeSeconds"] = uptime_s
    async with asic_replies.serving(machine, usual_ports):
        reading = await AsicRsDriver().identify(Address(host=usual_ports), timeout_s=5)
    assert reading is not None
    assert (reading.uptime_s, reading.power_w) == (None, 14.9)


async def test_what_whatsminer_never_answers_is_not_called_accepted(usual_ports: str) -> None:
    async with asic_replies.serving(asic_replies.whatsminer(), usual_ports):
        driver = AsicRsDriver()
        for command in (Sleep(), Reboot()):
            outcome = await driver.execute(Address(host=usual_ports), command, timeout_s=5)
            assert outcome.kind is OutcomeKind.UNANSWERED


async def test_another_machine_at_the_same_address_is_asked_anew(usual_ports: str) -> None:
    driver, address = AsicRsDriver(), Address(host=usual_ports)
    async with asic_replies.serving(asic_replies.luxos(), usual_ports):
        assert (await driver.read(address, timeout_s=5)).identity.firmware == "luxos"
    async with asic_replies.serving(asic_replies.vnish(), usual_ports):
        with pytest.raises(DeviceError):  # the old handle understands nothing, and is dropped
            await driver.read(address, timeout_s=5)
        assert (await driver.read(address, timeout_s=5)).identity.firmware == "vnish"


async def test_a_command_goes_to_the_machine_that_is_there_now(usual_ports: str) -> None:
    driver, address = AsicRsDriver(), Address(host=usual_ports)
    async with asic_replies.serving(asic_replies.luxos(), usual_ports):
        await driver.read(address, timeout_s=5)
    machine = asic_replies.vnish()
    async with asic_replies.serving(machine, usual_ports):
        outcome = await driver.execute(address, SetMode(mode="Low"), timeout_s=5)
        assert outcome.kind is OutcomeKind.UNSUPPORTED
        assert (await driver.execute(address, Sleep(), timeout_s=5)).kind is OutcomeKind.ACCEPTED
    assert ("POST /api/v1/mining/stop", "") in _web(machine)


@pytest.mark.parametrize(
    "make", [asic_replies.vnish, asic_replies.antminer, asic_replies.epic, asic_replies.luxos]
)
async def test_a_password_is_in_no_outcome_and_no_log(
    usual_ports: str, make: Callable[[], asic_replies.Machine], caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    secret = "hunter2-of-the-site"
    pools = SetPools(pools=(PoolTarget(url="stratum+tcp://one.test:3333", user="a.b", password=secret),))
    async with asic_replies.serving(make(), usual_ports):
        credentials = Credentials(user="root", password=secret)
        reading = await AsicRsDriver().read(Address(host=usual_ports), timeout_s=5, credentials=credentials)
        outcome = await AsicRsDriver().execute(
            Address(host=usual_ports), pools, timeout_s=5, credentials=credentials
        )
    assert secret not in caplog.text
    assert secret not in repr(reading)
    assert secret not in repr(outcome)


async def test_an_antminer_with_another_password_is_shown_and_said_to_be_locked(usual_ports: str) -> None:
    machine = asic_replies.antminer()
    assert machine.web is not None
    machine.web.pages = {}  # the page lets nobody in
    address = Address(host=usual_ports)
    async with asic_replies.serving(machine, usual_ports):
        reading = await AsicRsDriver().identify(address, timeout_s=5)
        assert reading is not None
        assert (reading.identity.make, reading.identity.model) == ("antminer", "S19 Pro")
        assert (reading.state, reading.capabilities) == (WorkState.UNKNOWN, Capability.NONE)
        assert "password" in reading.doubts[0]
        with pytest.raises(DeviceError):
            await AsicRsDriver().execute(address, Sleep(), timeout_s=5)
    machine = asic_replies.antminer()
    machine.web = None  # it is starting: its page is not up yet, and nothing is said of passwords
    async with asic_replies.serving(machine, usual_ports):
        with pytest.raises(DeviceError):
            await AsicRsDriver().read(address, timeout_s=5)


async def test_other_ports_are_not_this_drivers() -> None:
    with pytest.raises(DeviceError, match="usual ports"):
        await AsicRsDriver().read(Address(host="127.0.0.1", port=5555), timeout_s=1)


def _web(machine: asic_replies.Machine) -> list[tuple[str, str]]:
    assert machine.web is not None
    assert not isinstance(machine.web, CgminerMachine)
    return machine.web.asked
