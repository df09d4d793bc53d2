"""Every fault is seen from outside, through the machine's own API, and nowhere else but in the hidden truth."""

from __future__ import annotations

import asyncio
import json

import pytest

from hashwerk.errors import ConfigError, FleetError
from hashwerk.twin import Fault, FaultKind
from hashwerk.twin.faults import GARBAGE, parse_fault_counts
from support.twin import ask, ask_raw, fields, running_hall, status

_SUMMARY = b'{"command":"summary"}'
_NAME = "twin-0001"


async def test_a_hung_machine_takes_the_connection_and_never_answers() -> None:
    async with running_hall(machines=2) as (hall, _clock):
        hung, sound = hall.machines
        before_w = hall.power_w()
        await hall.inject(_NAME, Fault(kind=FaultKind.HANG))
        with pytest.raises(TimeoutError):
            await ask_raw(hung.host, hung.port, _SUMMARY, timeout_s=0.3)
        assert (await ask(sound, "summary"))["STATUS"][0]["STATUS"] == "S"  # nobody else is delayed
        assert hall.power_w() == before_w  # and it still draws its kilowatts
        hall.clear(_NAME)
        assert (await ask(hung, "summary"))["STATUS"][0]["STATUS"] == "S"


async def test_a_liar_reports_another_power_than_it_draws() -> None:
    async with running_hall() as (hall, clock):
        machine = hall.machines[0]
        honest_w = int((await fields(machine))["PS"].split()[-1])
        await hall.inject(_NAME, Fault(kind=FaultKind.LIE, factor=0.1))
        lied_w = int((await fields(machine))["PS"].split()[-1])
        assert lied_w == pytest.approx(0.1 * honest_w, abs=1)
        assert hall.power_w(clock.time()) == pytest.approx(honest_w, rel=0.05)


async def test_one_that_ignores_accepts_and_does_nothing() -> None:
    async with running_hall() as (hall, clock):
        machine = hall.machines[0]
        await hall.inject(_NAME, Fault(kind=FaultKind.IGNORE))
        at = int(clock.time()) + 5
        letter, code, message = await status(machine, f"0,softoff,1:{at}")
        assert (letter, code) == ("I", 118)
        assert message == f"ASC 0 set info: success softoff:{at}"
        clock.advance(60)
        assert (await fields(machine))["SYSTEMSTATU"].startswith("Work: In Work")
        assert hall.power_w() > 1000


async def test_one_that_refuses_says_so_and_still_reads() -> None:
    async with running_hall() as (hall, clock):
        machine = hall.machines[0]
        await hall.inject(_NAME, Fault(kind=FaultKind.REFUSE))
        assert (await status(machine, f"0,softoff,1:{int(clock.time())}"))[:2] == ("E", 120)
        assert (await status(machine, "0,workmode,set,0"))[:2] == ("E", 120)
        assert (await status(machine, "0,workmode,get"))[2] == "ASC 0 set info: workmode 1"
        clock.advance(60)
        assert hall.power_w() > 1000


async def test_one_that_reboots_in_the_middle_is_away_and_comes_back_awake() -> None:
    async with running_hall() as (hall, clock):
        machine = hall.machines[0]
        await hall.inject(_NAME, Fault(kind=FaultKind.REBOOT))
        await status(machine, f"0,softoff,1:{int(clock.time()) + 5}")
        clock.advance(6)
        assert (await fields(machine))["SYSTEMSTATU"].startswith("Work: In Idle")
        clock.advance(3)
        with pytest.raises(ConnectionError):
            await ask_raw(machine.host, machine.port, _SUMMARY)
        clock.advance(machine.model.timing.boot_s + 1)
        found = await fields(machine)
        assert found["SYSTEMSTATU"].startswith("Work: In Init")
        assert int(found["Elapsed"]) < 300
        clock.advance(200)
        assert hall.power_w() > 1000
        assert not machine.faults  # it happens once


async def test_a_power_cut_wakes_an_avalon_and_leaves_luxos_asleep() -> None:
    async with running_hall(machines=2, models=("avalon-q", "luxos-s19kpro")) as (hall, clock):
        avalon, luxos = hall.machines
        await status(avalon, f"0,softoff,1:{int(clock.time())}")
        session = (await ask(luxos, "logon"))["SESSION"][0]["SessionID"]
        await ask(luxos, "curtail", f"{session},sleep")
        clock.advance(30)
        assert (await fields(avalon))["SYSTEMSTATU"].startswith("Work: In Idle")
        assert (await ask(luxos, "config"))["CONFIG"][0]["CurtailMode"] == "Sleep"
        assert hall.power_w() == pytest.approx(146 + 25)
        for machine in hall.machines:
            await hall.inject(machine.identity.name, Fault(kind=FaultKind.POWER_CUT, duration_s=60))
        assert hall.power_w() == 0
        with pytest.raises(ConnectionError):
            await ask_raw(avalon.host, avalon.port, _SUMMARY)
        clock.advance(1000)
        assert (await fields(avalon))["SYSTEMSTATU"].startswith("Work: In Work")
        config = (await ask(luxos, "config"))["CONFIG"][0]
        assert (config["CurtailMode"], config["IsPowerSupplyOn"]) == ("Sleep", False)


async def test_one_that_moves_answers_elsewhere_with_the_same_mac() -> None:
    async with running_hall() as (hall, _clock):
        machine = hall.machines[0]
        host, port = machine.host, machine.port
        mac = (await ask(machine, "version"))["VERSION"][0]["MAC"]
        await hall.inject(_NAME, Fault(kind=FaultKind.CHANGE_IP))
        assert machine.host != host
        with pytest.raises(ConnectionRefusedError):
            await ask_raw(host, port, _SUMMARY)
        assert (await ask(machine, "version"))["VERSION"][0]["MAC"] == mac
        assert hall.machine(machine.host) is machine


async def test_garbage_is_garbage_in_every_turn() -> None:
    async with running_hall() as (hall, _clock):
        machine = hall.machines[0]
        await hall.inject(_NAME, Fault(kind=FaultKind.GARBAGE))
        for _ in GARBAGE:
            reply = await ask_raw(machine.host, machine.port, _SUMMARY)
            with pytest.raises(ValueError, match=r".*"):
                json.loads(reply.rstrip(b"\0"))
        hall.clear(_NAME, FaultKind.GARBAGE)
        assert (await ask(machine, "summary"))["id"] == 1


async def test_a_slow_machine_takes_its_time_and_delays_nobody_else() -> None:
    async with running_hall(machines=2) as (hall, _clock):
        slow, sound = hall.machines
        await hall.inject(_NAME, Fault(kind=FaultKind.SLOW, delay_s=0.5))
        loop = asyncio.get_running_loop()
        started_at = loop.time()
        waiting = asyncio.create_task(ask(slow, "summary"))
        await ask(sound, "summary")
        assert not waiting.done()
        await waiting
        assert loop.time() - started_at >= 0.5


@pytest.mark.parametrize("model", ["avalon-a1246", "luxos-s19kpro", "whatsminer-m50s"])
async def test_a_lost_board_takes_its_share_of_power_and_hash_rate(model: str) -> None:
    async with running_hall(models=(model,)) as (hall, clock):
        before_w, before_hs = hall.power_w(), hall.hashrate_hs()
        await hall.inject(_NAME, Fault(kind=FaultKind.LOSE_BOARD, board=1))
        clock.advance(600)
        assert hall.power_w() == pytest.approx(before_w * 2 / 3, rel=0.01)
        assert hall.hashrate_hs() == pytest.approx(before_hs * 2 / 3, rel=0.01)
        machine = hall.machines[0]
        if model == "avalon-a1246":
            found = await fields(machine)
            assert found["SYSTEMSTATU"] == "Work: In Work, Hash Board: 2 "
            assert found["MGHS"].split()[1] == "0.00"
            assert found["ECHU"].split()[1] != "0"
        else:
            boards = (await ask(machine, "devs"))["DEVS"]
            assert [board["Status"] for board in boards] == ["Alive", "Dead", "Alive"]
        hall.clear(_NAME)
        clock.advance(600)
        assert hall.power_w() == pytest.approx(before_w)


async def test_identities_can_be_doubled_and_exchanged() -> None:
    async with running_hall(machines=3) as (hall, _clock):

        async def shown() -> list[tuple[str, str]]:
            rows = [(await ask(machine, "version"))["VERSION"][0] for machine in hall.machines]
            return [(row["MAC"], row["DNA"]) for row in rows]

        before = await shown()
        await hall.inject("twin-0002", Fault(kind=FaultKind.CLONE_MAC))
        assert [mac for mac, _ in await shown()] == [before[0][0], before[0][0], before[2][0]]
        hall.clear("twin-0002")
        assert await shown() == before
        await hall.inject("twin-0003", Fault(kind=FaultKind.SWAP_CONTROLLER))
        after = await shown()
        assert after[:2] == before[:2]
        assert after[2][0] not in {mac for mac, _ in before}
        assert after[2][1] != before[2][1]


async def test_a_hall_runs_out_of_spare_addresses_and_says_so() -> None:
    async with running_hall(machines=70, base="127.79.2.1") as (hall, _clock):
        for machine in hall.machines[:64]:
            await hall.inject(machine.identity.name, Fault(kind=FaultKind.CHANGE_IP))
        last = hall.machines[64]
        host = last.host
        with pytest.raises(FleetError, match="no spare address is left"):
            await hall.inject(last.identity.name, Fault(kind=FaultKind.CHANGE_IP))
        assert (await ask(last, "version"))["VERSION"][0]["MAC"] == last.identity.mac
        assert last.host == host


async def test_faults_are_dealt_out_by_the_seed() -> None:
    counts = parse_fault_counts(("hang=2", "lie=1", "slow=1"))
    dealt = []
    for seed in (5, 5, 6):
        async with running_hall(machines=20, seed=seed) as (hall, _clock):
            dealt.append(await hall.inject_counts(counts))
            assert hall.view().faults == {"hang": 2, "lie": 1, "slow": 1}
    assert dealt[0] == dealt[1] != dealt[2]


async def test_what_cannot_be_injected_is_said() -> None:
    with pytest.raises(ConfigError, match=r"no fault 'fire'; there are: hang, lie"):
        parse_fault_counts(("fire=1",))
    with pytest.raises(ConfigError, match="KIND=COUNT"):
        parse_fault_counts(("hang",))
    async with running_hall() as (hall, _clock):
        with pytest.raises(FleetError, match="no machine 'nobody'"):
            await hall.inject("nobody", Fault(kind=FaultKind.HANG))
        with pytest.raises(FleetError, match="2 faults are too many for 1"):
            await hall.inject_counts({FaultKind.HANG: 2})
