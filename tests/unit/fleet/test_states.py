"""What moves a machine from state to state, how long it may take, and what it may not be asked."""

from __future__ import annotations

import pytest

from hashwerk.fleet.commands import Reboot, SetFan, SetPowerLimit, Sleep, Wake
from hashwerk.fleet.lease import Holder, Lease, Leases, Refused
from hashwerk.fleet.limits import Limits, Wear, why_not
from hashwerk.fleet.machine import Capability, WorkState
from hashwerk.fleet.states import CHANGE_OF, TRANSITIONS, Condition, State, Transition, Trigger
from hashwerk.fleet.timing import Change, Timings, prior_s
from support.fleet import ALL, identity


def test_every_state_is_in_the_table_and_every_transition_has_a_cause() -> None:
    assert set(TRANSITIONS) == set(State)
    for state, row in TRANSITIONS.items():
        for trigger, (following, cause) in row.items():
            assert cause, (state, trigger)
            assert following is not state or trigger in (
                Trigger.TOLD_SLEEP,
                Trigger.TOLD_WAKE,
                Trigger.TOLD_MODE,
                Trigger.TOLD_REBOOT,
            )
    for state in CHANGE_OF:
        assert Trigger.OVERDUE in TRANSITIONS[state], "whatever is under way has an end"


def test_falling_asleep_takes_its_time_and_is_learned() -> None:
    condition = Condition(State.HASHING, since=0.0)
    assert condition.tell(Trigger.TOLD_SLEEP, 100.0, deadline_s=60.0).now is State.FALLING_ASLEEP
    assert condition.see(WorkState.HASHING, None, 105.0, 300.0) is None
    arrived = condition.see(WorkState.ASLEEP, None, 112.0, 300.0)
    assert (arrived.now, arrived.took_s, arrived.change) == (State.ASLEEP, 12.0, Change.SLEEP)
    assert arrived.cause == "fell asleep as told"


def test_who_accepts_and_does_nothing_is_overdue() -> None:
    condition = Condition(State.HASHING, since=0.0)
    condition.tell(Trigger.TOLD_SLEEP, 100.0, deadline_s=60.0)
    late = condition.see(WorkState.HASHING, None, 161.0, 300.0)
    assert (late.now, late.cause, late.took_s) == (State.UNKNOWN, "did not fall asleep in time", None)
    assert condition.see(WorkState.HASHING, None, 162.0, 300.0).now is State.HASHING


def test_a_mode_counts_only_when_it_is_the_wanted_one() -> None:
    condition = Condition(State.HASHING, since=0.0)
    condition.tell(Trigger.TOLD_MODE, 0.0, deadline_s=60.0, mode="Eco")
    assert condition.see(WorkState.HASHING, "Standard", 5.0, 300.0) is None
    assert condition.see(WorkState.HASHING, "eco", 9.0, 300.0).cause == "changed mode as told"


def test_silence_is_told_only_after_several_polls_and_not_while_it_reboots() -> None:
    condition = Condition(State.HASHING, since=0.0)
    assert condition.miss(1.0, 3) is None
    assert condition.miss(2.0, 3) is None
    assert condition.miss(3.0, 3).now is State.UNREACHABLE
    assert condition.see(WorkState.ASLEEP, None, 4.0, 300.0).cause == "answers again, asleep"
    condition.tell(Trigger.TOLD_REBOOT, 10.0, deadline_s=100.0)
    for at in range(11, 110, 10):
        assert condition.miss(float(at), 3) is None
    assert condition.miss(111.0, 3).cause == "went silent and did not come back in time"


def test_unasked_changes_say_so() -> None:
    condition = Condition(State.ASLEEP, since=0.0)
    assert condition.see(WorkState.STARTING, None, 1.0, 300.0).cause == "wakes unasked"
    assert condition.see(WorkState.HASHING, None, 2.0, 300.0).took_s is None
    assert condition.see(WorkState.ASLEEP, None, 3.0, 300.0).cause == "fell asleep unasked"


def test_times_are_learned_from_what_was_seen() -> None:
    timings = Timings()
    machine = identity()
    before_s = timings.deadline_s(machine, Change.REBOOT)
    assert prior_s(machine, Change.REBOOT) == 230.0
    assert before_s > 2 * 230.0
    for took_s in (40.0, 44.0, 38.0, 41.0, 43.0, 39.0, 42.0, 40.0, 41.0, 40.0) * 3:
        timings.of(machine, Change.REBOOT).observe(took_s)
    assert timings.of(machine, Change.REBOOT).expected_s() == pytest.approx(45.0, rel=0.1)
    assert 60.0 < timings.deadline_s(machine, Change.REBOOT) < 0.5 * before_s
    restored = Timings(timings.rows())
    assert restored.deadline_s(machine, Change.REBOOT) == timings.deadline_s(machine, Change.REBOOT)
    hasty = Timings(pace=0.01)
    assert hasty.deadline_s(machine, Change.MODE) == pytest.approx(
        0.01 * Timings().deadline_s(machine, Change.MODE)
    )
    assert hasty.deadline_s(machine, Change.SLEEP) == 10.0, (
        "an Avalon's command carries five seconds all the same"
    )


def ask(command, **changes) -> str | None:
    values = {
        "state": State.HASHING,
        "capabilities": ALL,
        "wear": Wear(),
        "limits": Limits(),
        "now": 10_000.0,
    }
    return why_not(command, **(values | changes))


def test_every_refusal_has_its_reason() -> None:
    assert ask(Sleep()) is None
    assert ask(Sleep(), is_ambiguous=True) == "two machines share its identity"
    assert ask(SetPowerLimit(900)) == "its firmware cannot be told to draw no more than 900 W"
    assert (
        ask(SetFan(40), capabilities=Capability.SLEEP)
        == "its firmware cannot be told to run its fans at 40 %"
    )
    assert ask(Sleep(), state=State.UNREACHABLE) == "it does not answer"
    assert ask(Sleep(), state=State.ASLEEP) == "it is asleep already"
    assert ask(Wake()) == "it is hashing already"
    assert ask(Sleep(), state=State.REBOOTING) == "it is rebooting"
    young = Wear(started_at=9_900.0)
    assert "stays on for another 500 s" in ask(Sleep(), wear=young)
    assert ask(Sleep(), wear=young, must=True) is None, "the grid comes before wear"
    assert "stays off for another 200 s" in ask(Wake(), state=State.ASLEEP, wear=Wear(slept_at=9_900.0))
    worn = Wear()
    for at in range(12):
        worn.note(Transition(at=5_000.0 + at, was=State.WAKING, now=State.HASHING, cause="hashes again"))
    assert "it has started 12 times within a day" in ask(Sleep(), wear=worn)
    assert ask(Reboot(), wear=worn, now=5_000.0 + 2 * 86_400) is None


def test_who_is_found_asleep_by_a_new_process_has_slept_since_it_fell_asleep() -> None:
    wear = Wear(started_at=1_000.0, slept_at=2_000.0)
    wear.note(Transition(at=3_000.0, was=State.UNKNOWN, now=State.ASLEEP, cause="was found asleep"))
    assert wear.slept_at == 2_000.0
    wear.note(Transition(at=4_000.0, was=State.ASLEEP, now=State.HASHING, cause="woke unasked"))
    wear.note(Transition(at=5_000.0, was=State.UNKNOWN, now=State.ASLEEP, cause="was found asleep"))
    assert wear.slept_at == 5_000.0, "it hashed in between; since when it sleeps nobody knows"


def test_waiting_doubles_up_to_a_limit() -> None:
    limits = Limits(first_retry_s=10.0, max_retry_s=35.0)
    assert [limits.retry_s(failures) for failures in (1, 2, 3, 4)] == [10.0, 20.0, 35.0, 35.0]


def test_one_writer_at_a_time_and_the_higher_one_wins() -> None:
    leases = Leases()
    assert isinstance(leases.take("m", Holder.DISPATCHER, "plan", 0.0, 100.0), Lease)
    refused = leases.take("m", Holder.DISPATCHER, "other", 1.0, None)
    assert isinstance(refused, Refused)
    assert refused.text == "held by dispatcher plan"
    assert isinstance(leases.take("m", Holder.CURTAILMENT, "grid", 2.0, None), Lease)
    assert isinstance(leases.take("m", Holder.OPERATOR, "ann", 3.0, None), Refused)
    leases.give_back("m", "plan")
    assert leases.of("m", 4.0).name == "grid", "what was taken away cannot be given back"
    assert isinstance(leases.take("m", Holder.MAINTENANCE, "bob", 5.0, 10.0), Lease)
    assert leases.of("m", 10.0) is None, "a lease ends by itself"
    leases.take("m", Holder.MAINTENANCE, "bob", 11.0, None)
    assert leases.abort("bob") == ["m"]
    assert leases.all(12.0) == []


def test_what_a_person_wished_keeps_the_dispatcher_away_for_a_while_and_nobody_else() -> None:
    leases = Leases()
    leases.take("m", Holder.OPERATOR, "o-1", 0.0, None)
    assert isinstance(leases.take("m", Holder.OPERATOR, "o-2", 1.0, None), Refused), "it is being told"
    leases.wish("m", Holder.OPERATOR, "o-9", 2.0, 100.0)
    assert leases.of("m", 2.0).until is None, "only who commands it may wish"
    leases.wish("m", Holder.OPERATOR, "o-1", 2.0, 100.0)
    assert leases.abort("o-1") == [], "a wish outlives its order"
    again = Leases(leases.all(3.0))
    assert isinstance(again.take("m", Holder.DISPATCHER, "plan", 4.0, None), Refused)
    assert isinstance(again.take("m", Holder.DISPATCHER, "plan", 100.0, None), Lease), "it ends by itself"
    assert isinstance(leases.take("m", Holder.OPERATOR, "o-2", 5.0, None), Lease)
