"""The exact words that each Avalon is told, and what its answers become."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from hashwerk.devices.avalon import AvalonDriver
from hashwerk.fleet.commands import (
    Command,
    Locate,
    PoolTarget,
    Reboot,
    SetFan,
    SetMode,
    SetPools,
    SetPowerLimit,
    Sleep,
    Wake,
)
from hashwerk.fleet.machine import Outcome, OutcomeKind
from hashwerk.fleet.ports import Address, Credentials
from support import avalon_replies
from support.avalon_replies import OK, UNIX_CLOCK
from support.cgminer_machine import Answer, CgminerMachine, serving

ONE = PoolTarget(url="stratum+tcp://one.test:3333", user="acct.rig7")
TWO = PoolTarget(url="stratum+tcp://two.test:3333", user="acct.rig7")
AT = UNIX_CLOCK + 5


async def tell(machine: CgminerMachine, command: Command) -> tuple[Outcome, list[str]]:
    """Tell a machine something; return its outcome and the ascset that it got."""
    async with serving(machine) as port:
        outcome = await AvalonDriver().execute(Address(host="127.0.0.1", port=port), command, timeout_s=5)
    questions = ("workmode,255", "hashpower")
    return outcome, [r for r in machine.asked if "ascset" in r and not any(q in r for q in questions)]


def _json(parameter: str) -> str:
    return f'{{"command":"ascset","parameter":"{parameter}"}}'


OLD = [
    (Sleep(), ["ascset|0,softoff"]),
    (Wake(), ["ascset|0,workmode,1", "ascset|0,reboot,0"]),
    (Wake(mode="Normal"), ["ascset|0,workmode,0", "ascset|0,reboot,0"]),
    (SetMode(mode="high"), ["ascset|0,workmode,1", "ascset|0,reboot,0"]),
    (Reboot(), ["ascset|0,reboot,0"]),
    (Locate(on=True), ["ascset|0,led,1-1"]),
    (Locate(on=False), ["ascset|0,led,1-0"]),
    (SetFan(percent=80), ["ascset|0,fan-spd,80"]),
    (
        SetPools(pools=(ONE, TWO)),
        [
            "ascset|0,setpool,root,root,0,stratum+tcp://one.test:3333,acct.rig7,x",
            "ascset|0,setpool,root,root,1,stratum+tcp://two.test:3333,acct.rig7,x",
        ],
    ),
]
NEW = [
    (Sleep(), [_json(f"0,softoff,1:{AT}")]),
    (Wake(), [_json(f"0,softon,1:{AT}")]),
    (Wake(mode="Standard"), [_json("0,workmode,set,1"), _json(f"0,softon,1:{AT}")]),
    (SetMode(mode="Super"), [_json("0,workmode,set,2")]),
    (SetFan(percent=80), [_json("0,fan-spd,80")]),
    (SetFan(percent=None), [_json("0,fan-spd,-1")]),
]


@pytest.mark.parametrize(("command", "wire"), OLD, ids=lambda value: type(value).__name__)
async def test_the_older_dialect_has_bare_values_and_reboots(command: Command, wire: list[str]) -> None:
    machine = avalon_replies.a1246_asleep() if isinstance(command, Wake) else avalon_replies.a1246()
    outcome, told = await tell(machine, command)
    assert outcome.kind is OutcomeKind.ACCEPTED, outcome
    assert told == wire


async def test_waking_by_a_reboot_is_not_done_to_a_machine_that_hashes() -> None:
    outcome, told = await tell(avalon_replies.a1246(), Wake())
    assert outcome.kind is OutcomeKind.ACCEPTED
    assert told == []
    _, told = await tell(avalon_replies.a1246(), Wake(mode="Normal"))  # it hashes in High
    assert told == ["ascset|0,workmode,0", "ascset|0,reboot,0"]


@pytest.mark.parametrize(("command", "wire"), NEW, ids=lambda value: type(value).__name__)
async def test_the_newer_dialect_has_verbs_and_the_machines_own_time(
    command: Command, wire: list[str]
) -> None:
    outcome, told = await tell(avalon_replies.q_running(), command)
    assert outcome.kind is OutcomeKind.ACCEPTED, outcome
    assert told == wire


async def test_a_mini_3_reboots_for_its_mode_and_only_for_another_one() -> None:
    outcome, told = await tell(avalon_replies.mini_3(), SetMode(mode="Night"))
    assert told == [_json("0,workmode,set,2"), _json("0,reboot,0")]
    assert outcome.kind is OutcomeKind.UNANSWERED  # it reboots without a word
    outcome, told = await tell(avalon_replies.mini_3(), Wake(mode="Heating"))
    assert told == [_json(f"0,softon,1:{AT}")]
    assert outcome.kind is OutcomeKind.ACCEPTED


async def test_information_is_success_and_its_words_are_kept() -> None:
    outcome, _ = await tell(avalon_replies.q_running(), Sleep())
    assert outcome == Outcome(kind=OutcomeKind.ACCEPTED, message=f"ASC 0 set info: success softoff:{AT}")


async def test_without_a_clock_no_time_is_sent() -> None:
    machine = avalon_replies.q_running()
    machine.when = 4321  # counts from boot
    machine.answers["ascset 0,softoff"] = OK
    outcome, told = await tell(machine, Sleep())
    assert outcome.kind is OutcomeKind.ACCEPTED
    assert told == [_json("0,softoff")]


async def test_a_refusal_is_told_with_the_machines_words() -> None:
    machine = avalon_replies.q_running()
    words = "ASC 0 set failed: current mode 0 is caling Don't permit switch mode"
    machine.answers["ascset 0,workmode,set,2"] = Answer(letter="E", code=120, message=words)
    outcome, _ = await tell(machine, SetMode(mode="Super"))
    assert outcome == Outcome(kind=OutcomeKind.REFUSED, message=words)


async def test_a_mode_that_is_refused_leaves_the_machine_asleep_and_says_so() -> None:
    machine = avalon_replies.q_standby()
    machine.answers["ascset 0,workmode,set,1"] = Answer(letter="E", code=120, message="no")
    outcome, told = await tell(machine, Wake(mode="Standard"))
    assert outcome.kind is OutcomeKind.REFUSED
    assert told == [_json("0,workmode,set,1")]


@pytest.mark.parametrize("answer", [None, b"\xff\xfe mumble", b""], ids=["closes", "garbage", "nothing"])
async def test_no_answer_to_a_command_is_not_a_refusal(answer: bytes | None) -> None:
    machine = avalon_replies.q_standby()
    machine.answers[f"ascset 0,softon,1:{AT}"] = answer
    outcome, told = await tell(machine, Wake())
    assert outcome.kind is OutcomeKind.UNANSWERED
    assert told == [_json(f"0,softon,1:{AT}")]


async def test_a_nano_3_changes_its_level_instead_of_its_mode() -> None:
    machine = avalon_replies.nano_3s()
    machine.answers["version"] = avalon_replies.version(
        "Avalon Nano3", "nano3", "24071801", "e0e1a9000001", "0201aabb0001"
    )
    machine.answers["ascset 0,worklevel,set,2"] = OK
    outcome, told = await tell(machine, SetMode(mode="High"))
    assert outcome.kind is OutcomeKind.ACCEPTED
    assert told == [_json("0,worklevel,set,2")]


@pytest.mark.parametrize(
    ("make", "command"),
    [
        (avalon_replies.q_running, SetMode(mode="Turbo")),
        (avalon_replies.q_running, SetFan(percent=5)),
        (avalon_replies.q_running, SetPowerLimit(power_limit_w=800)),
        (avalon_replies.q_running, Locate(on=True)),
        (avalon_replies.q_running, SetPools(pools=(ONE, TWO, ONE, TWO))),
        (avalon_replies.a1246, SetFan(percent=None)),
        (avalon_replies.a1246, SetFan(percent=101)),
        (avalon_replies.a1246, SetPools(pools=())),
        (avalon_replies.a1246, SetPools(pools=(PoolTarget(url="stratum+tcp://one.test:1,x", user="a"),))),
    ],
)  # fmt: skip
async def test_what_a_machine_cannot_do_is_not_sent(
    make: Callable[[], CgminerMachine], command: Command
) -> None:
    outcome, told = await tell(make(), command)
    assert outcome.kind is OutcomeKind.UNSUPPORTED
    assert outcome.message
    assert told == []


async def test_the_passwords_of_setpool_are_the_sites_and_are_in_no_outcome() -> None:
    machine = avalon_replies.a1246()
    secret = "hunter2"
    wire = f"ascset 0,setpool,admin,{secret},0,stratum+tcp://one.test:3333,acct.rig7,x"
    machine.answers[wire] = Answer(letter="E", code=120, message="ASC 0 set failed")
    async with serving(machine) as port:
        outcome = await AvalonDriver().execute(
            Address(host="127.0.0.1", port=port),
            SetPools(pools=(ONE,)),
            timeout_s=5,
            credentials=Credentials(user="admin", password=secret),
        )
    assert outcome.kind is OutcomeKind.REFUSED
    assert wire.replace("ascset ", "ascset|") in machine.asked
    assert secret not in repr(outcome)


@pytest.mark.parametrize("letter", ["S", "E"])
async def test_a_machine_that_repeats_what_it_was_told_shows_no_password(letter: str) -> None:
    machine = avalon_replies.a1246()
    pool = PoolTarget(url="stratum+tcp://one.test:3333", user="acct.rig7", password="of-the-pool")
    wire = "ascset 0,setpool,admin,hunter2,0,stratum+tcp://one.test:3333,acct.rig7,of-the-pool"
    machine.answers[wire] = Answer(
        letter=letter, code=118, message="ASC 0 set info: admin hunter2 acct.rig7 of-the-pool"
    )
    async with serving(machine) as port:
        outcome = await AvalonDriver().execute(
            Address(host="127.0.0.1", port=port),
            SetPools(pools=(pool,)),
            timeout_s=5,
            credentials=Credentials(user="admin", password="hunter2"),
        )
    assert outcome.message is not None
    assert "acct.rig7" in outcome.message
    assert "hunter2" not in outcome.message
    assert "of-the-pool" not in outcome.message
