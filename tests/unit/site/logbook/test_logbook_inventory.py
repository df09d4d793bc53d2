"""Machines as they are declared: by what makers publish, by what was learned, and else by what machines say, with room below."""

from __future__ import annotations

from hashwerk.fleet.identity import MachineKey
from hashwerk.fleet.learning import LearnedMode, Period
from hashwerk.fleet.machine import Capability, Identity, Reading, WorkState
from hashwerk.fleet.registry import Member
from hashwerk.fleet.states import Condition, State
from hashwerk.site.fleet.roster import Unit
from hashwerk.site.logbook.inventory import inventory_records, is_news

NOW = 1_790_000_000.0


def unit(
    number: int, make: str, model: str, *, power_w: float | None = None, hs: float | None = None
) -> Unit:
    identity = Identity(mac=f"aa:bb:cc:00:00:{number:02x}", make=make, model=model, firmware="stock")
    reading = Reading(
        at=NOW, identity=identity, capabilities=Capability.NONE, state=WorkState.HASHING, power_w=power_w,
        hashrate_hs=hs, nominal_hashrate_hs=hs,
    )  # fmt: skip
    member = Member(key=MachineKey(f"mac:{number}"), identity=identity, address=None, first_seen_at=NOW)
    return Unit(member=member, condition=Condition(state=State.HASHING), reading=reading)


def learn(machine: Unit, mode: str, power_w: float, hs: float) -> None:
    learned = LearnedMode(mode=mode)
    for number in range(6):
        start = NOW - 7_200 + 900 * number
        learned.add(
            Period(
                mode=mode,
                start=start,
                end=start + 900,
                power_w=power_w,
                inlet_c=25.0,
                shares=2_000,
                work=hs * 900,
            )
        )
    machine.learned[mode] = learned


def test_groups_are_declared_at_the_best_that_is_published() -> None:
    machines = [unit(n, "avalon", "Avalon Q") for n in range(3)] + [unit(9, "antminer", "S21")]
    first, second = inventory_records(machines, NOW)
    assert (first.group, first.machines, first.nominal_hs) == ("Avalon Q", 3, 90 * 10**12)
    # Eco draws 843 W for 54.2 TH/s: the best machine of a batch in cold air needs somewhat less.
    assert 0.95 * 15_554 < first.declared_mj_per_th < 15_554
    assert first.learned_mj_per_th is first.learned_low_mj_per_th is None
    assert (second.group, second.declared_mj_per_th) == ("antminer S21", int(17_500 * 0.97))


def test_what_was_learned_never_makes_a_better_mode_impossible() -> None:
    machines = [unit(n, "avalon", "Avalon Q") for n in range(3)]
    learn(machines[1], "Super", 1_700.0, 90e12)
    (group,) = inventory_records(machines, NOW)
    assert group.learned_mj_per_th is not None
    assert abs(group.learned_mj_per_th - 18_889) < 100
    assert group.learned_high_mj_per_th is not None
    assert group.learned_high_mj_per_th > 18_889
    assert group.learned_low_mj_per_th == group.declared_mj_per_th, "Eco was not learned, and is better"


def test_machines_of_which_nothing_is_published_are_declared_by_what_they_say_and_never_worse_again() -> None:
    silent = unit(1, "noname", "X1")
    (group,) = inventory_records([silent], NOW)
    assert group.declared_mj_per_th == 9_500, "as good as the best there is"
    (told,) = inventory_records(
        [unit(1, "noname", "X1", power_w=3_000.0, hs=100e12)], NOW, {"noname X1": group}
    )
    assert told.declared_mj_per_th == 25_500
    assert is_news(told, group)
    (worse,) = inventory_records(
        [unit(1, "noname", "X1", power_w=3_600.0, hs=100e12)], NOW, {"noname X1": told}
    )
    assert worse.declared_mj_per_th == 25_500
    (better,) = inventory_records(
        [unit(1, "noname", "X1", power_w=2_000.0, hs=100e12)], NOW, {"noname X1": told}
    )
    assert better.declared_mj_per_th == 17_000
