"""How an Avalon is asked: one joined request where it can be, and never twice what failed before."""

from __future__ import annotations

import asyncio

import pytest

from hashwerk.devices.avalon import AvalonDriver
from hashwerk.devices.avalon.driver import POLLS_BEFORE_ASKING_ANEW
from hashwerk.devices.neighbours import Neighbours
from hashwerk.errors import DeviceError
from hashwerk.fleet.machine import WorkState
from hashwerk.fleet.ports import Address
from support import avalon_replies
from support.cgminer_machine import Answer, serving


async def test_a_q_is_asked_once_and_then_for_the_shorter_reply() -> None:
    machine, driver = avalon_replies.q_running(), AvalonDriver()
    async with serving(machine) as port:
        address = Address(host="127.0.0.1", port=port)
        for _ in range(3):
            assert (await driver.read(address, timeout_s=5)).power_w == 1674
    assert machine.asked == ["version+estats+pools", "version+litestats+pools", "version+litestats+pools"]


async def test_a_machine_without_litestats_is_not_asked_for_it_twice() -> None:
    machine, driver = avalon_replies.mini_3(), AvalonDriver()
    del machine.answers["litestats"]
    async with serving(machine) as port:
        address = Address(host="127.0.0.1", port=port)
        for _ in range(3):
            assert (await driver.read(address, timeout_s=5)).power_w == 812
    assert machine.asked == [
        "version+estats+pools",
        "version+litestats+pools",
        "version+estats+pools",
        "version+estats+pools",
    ]


async def test_a_machine_without_joined_commands_is_asked_one_by_one() -> None:
    machine, driver = avalon_replies.a1566(), AvalonDriver()
    machine.knows_joined = False
    async with serving(machine) as port:
        address = Address(host="127.0.0.1", port=port)
        for _ in range(2):
            reading = await driver.read(address, timeout_s=5)
            assert (reading.power_w, len(reading.pools)) == (3420, 2)
    assert machine.asked.count("version+estats+pools") == 1
    assert machine.overlaps == 0


async def test_older_firmware_is_asked_for_what_its_stats_leave_out() -> None:
    machine, driver = avalon_replies.a1246(), AvalonDriver()
    fields = machine.answers["estats"]
    assert isinstance(fields, Answer)
    text = str(fields.entries[0]["MM ID0"])
    fields.entries[0]["MM ID0"] = text.replace("PS[0 1214 1316 242 3189 1320 3504] ", "")
    async with serving(machine) as port:
        reading = await driver.read(Address(host="127.0.0.1", port=port), timeout_s=5)
    assert (reading.power_w, reading.mode) == (3504, "High")


async def test_a_question_that_is_refused_once_is_not_put_again() -> None:
    machine, driver = avalon_replies.a1246(), AvalonDriver()
    del machine.answers["ascset 0,workmode,255"]
    async with serving(machine) as port:
        address = Address(host="127.0.0.1", port=port)
        for _ in range(3):
            assert (await driver.read(address, timeout_s=5)).mode is None
    assert machine.asked.count("ascset|0,workmode,255") == 1


async def test_stats_that_cannot_be_read_leave_the_identity() -> None:
    machine, driver = avalon_replies.q_running(), AvalonDriver()
    machine.answers["estats"] = machine.answers["litestats"] = Answer(
        letter="E", code=14, message="Invalid command"
    )
    async with serving(machine) as port:
        reading = await driver.read(Address(host="127.0.0.1", port=port), timeout_s=5)
    assert reading.identity.mac == "aa:bb:cc:dd:ee:01"
    assert (reading.state, reading.hashrate_hs, reading.power_w) == (WorkState.UNKNOWN, None, None)


async def test_whoever_closes_without_a_word_has_answered_nothing() -> None:
    server = await asyncio.start_server(lambda _, writer: writer.close(), "127.0.0.1", 0)
    async with server:
        address = Address(host="127.0.0.1", port=server.sockets[0].getsockname()[1])
        with pytest.raises(DeviceError) as failure:
            await AvalonDriver().read(address, timeout_s=5)
    assert "broke the connection" in str(failure.value) or "closed without a reply" in str(failure.value)


async def test_another_makes_machine_is_neither_identified_nor_read() -> None:
    machine = avalon_replies.a1246()
    machine.answers["version"] = Answer(
        "VERSION", [{"BMMiner": "1.0.0", "Type": "Antminer S19 Pro"}], code=22
    )
    machine.answers["estats"] = Answer("STATS", [{"Type": "Antminer S19 Pro"}], code=70)
    async with serving(machine) as port:
        address = Address(host="127.0.0.1", port=port)
        assert await AvalonDriver().identify(address, timeout_s=5) is None
        assert machine.asked == ['{"command":"version"}']
        with pytest.raises(DeviceError):
            await AvalonDriver().read(address, timeout_s=5)


async def test_a_machine_that_tells_no_address_gets_the_one_the_system_saw(
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    table = tmp_path_factory.mktemp("arp") / "arp"
    table.write_text(
        "IP address HW type Flags HW address Mask Device\n127.0.0.1 0x1 0x2 02:00:00:00:00:07 * eth0\n",
        encoding="ascii",
    )
    machine = avalon_replies.q_running()
    version = machine.answers["version"]
    assert isinstance(version, Answer)
    version.entries[0] = {key: value for key, value in version.entries[0].items() if key != "MAC"}
    async with serving(machine) as port:
        driver = AvalonDriver(neighbours=Neighbours(table))
        reading = await driver.read(Address(host="127.0.0.1", port=port), timeout_s=5)
    assert reading.identity.mac == "02:00:00:00:00:07"


async def test_the_quickest_way_is_tried_anew_after_a_while() -> None:
    machine, driver = avalon_replies.a1566(), AvalonDriver()
    machine.knows_joined = False
    async with serving(machine) as port:
        address = Address(host="127.0.0.1", port=port)
        for _ in range(POLLS_BEFORE_ASKING_ANEW):
            await driver.read(address, timeout_s=5)
        assert machine.asked.count("version+estats+pools") == 1
        machine.knows_joined = True
        machine.asked.clear()
        for _ in range(2):
            await driver.read(address, timeout_s=5)
    assert machine.asked == ["version+estats+pools"] * 2
