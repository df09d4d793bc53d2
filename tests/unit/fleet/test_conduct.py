"""Orders carried out on a simulated fleet: liars found, waves kept, taken up after a crash at every point."""

from __future__ import annotations

import msgspec
import pytest

from hashwerk.fleet.batch import ReduceAll, ReduceBy, ReduceTo
from hashwerk.fleet.commands import Command, PoolTarget, SetMode, SetPools, Sleep, Wake
from hashwerk.fleet.conduct import Conduct, next_events
from hashwerk.fleet.lease import Holder
from hashwerk.fleet.measure import Verdict
from hashwerk.fleet.orders import (
    Aborted,
    Continued,
    Deferred,
    Missed,
    Opened,
    Order,
    OrderEvent,
    OrderSpec,
    OrderState,
    Phase,
    Reduce,
    RestoreAsked,
    Sent,
    Tell,
    fold,
    without_secrets,
)
from hashwerk.fleet.place import Place
from hashwerk.fleet.ramp import Ramp
from hashwerk.fleet.verify import Look
from support.fleet import TH, SimFleet, SimMachine

CONDUCT = Conduct(verify_s=60.0, settle_s=5.0)


def machines(count: int, **faults: int) -> list[SimMachine]:
    """Return machines of rising efficiency; the first ones have the faults."""
    found = [
        SimMachine(
            n,
            rate_hs=(70 + n) * TH,
            place=Place(breaker=f"B{n // 4}", feeder=f"F{n // 8}"),
        )
        for n in range(count)
    ]
    at = 0
    for fault, number in faults.items():
        for machine in found[at : at + number]:
            machine.fault = fault
        at += number
    return found


def spec(fleet: SimFleet, goal: object = None, **changes: object) -> OrderSpec:
    values: dict[str, object] = {
        "id": "o-1",
        "at": fleet.now,
        "who": "ann",
        "why": "a test",
        "holder": Holder.CURTAILMENT,
        "task": Reduce(goal=goal or ReduceTo(0.5 * fleet.true_w()), partial=False),
        "dry_run": False,
        "ramp": Ramp(wave_s=2.0, per_breaker=2, per_feeder=4),
    }
    return OrderSpec(**(values | changes))  # type: ignore[arg-type]


class Run:
    """An order under way; its log is what a store would hold."""

    def __init__(self, fleet: SimFleet, order_spec: OrderSpec, conduct: Conduct = CONDUCT) -> None:
        self.fleet, self.conduct = fleet, conduct
        self.log: list[OrderEvent] = [Opened(at=fleet.now, spec=order_spec)]
        self.order = fold(self.log)

    def until(self, *states: OrderState, within_s: float = 2_000.0, crash_every: int = 0) -> Order:
        end = self.fleet.now + within_s
        rounds = 0
        while self.order.state not in states:
            assert self.fleet.now < end, (self.order.state, self.order.counts(), self.order.text)
            rounds += 1
            events = next_events(self.order, self.fleet, self.conduct, self.fleet.now)
            if crash_every and rounds % crash_every == 0:
                self.log += events  # written; then the process dies before anything is sent
                self.order = fold(self.log)
            else:
                self.log += self.fleet.apply(self.order, events)
            self.fleet.advance(1.0)
        return self.order

    def note(self, event: OrderEvent) -> None:
        self.order.apply(event)
        self.log.append(event)


def test_half_power_is_reached_and_measured() -> None:
    fleet = SimFleet(machines(16))
    before_w = fleet.true_w()
    run = Run(fleet, spec(fleet))
    order = run.until(OrderState.HOLDING)
    assert fleet.true_w() <= 0.5 * before_w
    assert order.measured_w == fleet.true_w()
    assert [p.step.key for p in order.machines.values()] == [m.key for m in machines(16)[:9]]
    assert all(p.effect.verdict is Verdict.CONFIRMED for p in order.machines.values())
    sent = [event for event in run.log if isinstance(event, Sent)]
    for at in {event.at for event in sent}:
        breakers = [fleet.machines[event.key].place.breaker for event in sent if event.at == at]
        assert max(breakers.count(name) for name in breakers) <= 2
    assert fold(msgspec.msgpack.decode(msgspec.msgpack.encode(run.log), type=list[OrderEvent])) == order


def test_it_is_restored_in_the_reverse_order() -> None:
    fleet = SimFleet(machines(12))
    run = Run(fleet, spec(fleet))
    run.until(OrderState.HOLDING)
    down = [event.key for event in run.log if isinstance(event, Sent)]
    run.note(RestoreAsked(at=fleet.now, who="ann", why="over"))
    fleet.advance(400.0)
    order = run.until(OrderState.ENDED)
    up = [event.key for event in run.log if isinstance(event, Sent) and event.is_restore]
    assert up[0] == down[-1]
    assert sorted(up) == sorted(down)
    assert all(not machine.asleep for machine in fleet.machines.values())
    assert order.text == "7 of 7 machines did as told, 7 of them measured"


def test_who_has_to_sleep_out_its_time_is_woken_then_and_not_given_up() -> None:
    fleet = SimFleet(machines(6), min_off_s=300.0)
    run = Run(fleet, spec(fleet, ReduceAll()))
    run.until(OrderState.HOLDING)
    slept = {key: machine.slept_at for key, machine in fleet.machines.items()}
    run.note(RestoreAsked(at=fleet.now, who="ann", why="over"))
    run.until(OrderState.RESTORING)
    fleet.advance(20.0)
    run.log += fleet.apply(run.order, next_events(run.order, fleet, CONDUCT, fleet.now))
    assert any("stays off for another" in (p.reason or "") for p in run.order.machines.values())
    order = run.until(OrderState.ENDED, crash_every=5)
    assert order.text == "6 of 6 machines did as told, 6 of them measured"
    woken = {event.key: event.at for event in run.log if isinstance(event, Sent) and event.is_restore}
    assert all(woken[key] >= at + 300.0 for key, at in slept.items() if at is not None)
    assert sum(isinstance(event, Deferred) for event in run.log) == 6, "said once"
    assert not any(isinstance(event, Missed) for event in run.log)


def test_an_order_that_waits_wakes_whoever_is_not_ready_yet_later_and_another_leaves_it_out() -> None:
    fleet = SimFleet(machines(3, silent=1), min_off_s=300.0)
    for machine in fleet.machines.values():
        machine.asleep = machine.says_asleep = True
        machine.slept_at = fleet.now
    fleet.advance(1.0)
    wake = {"task": Tell(command=Wake()), "holder": Holder.OPERATOR}
    at_once = Run(fleet, spec(fleet, **wake)).until(OrderState.ENDED)
    assert len(at_once.skips) == 3
    patient = Run(fleet, spec(fleet, waits=True, **wake))
    order = patient.until(OrderState.ENDED)
    assert order.text.startswith("2 of 3 machines did as told")
    assert [machine.asleep for machine in fleet.machines.values()] == [True, False, False]
    assert fleet.now > 10_300.0


def test_liars_are_told_again_given_up_and_made_good_by_others() -> None:
    fleet = SimFleet(machines(20, ignore=1, refuse=1, lie=1))
    before_w = fleet.true_w()
    run = Run(fleet, spec(fleet))
    order = run.until(OrderState.HOLDING)
    assert fleet.true_w() <= 0.52 * before_w
    ignoring, refusing, lying = list(fleet.machines)[:3]
    assert order.machines[ignoring].phase is Phase.GAVE_UP
    assert len(fleet.machines[ignoring].told) == 3
    assert "it refused: not now (3 attempts)" in order.machines[refusing].reason
    assert order.machines[lying].phase is Phase.GAVE_UP, "it says asleep; its shares say no"
    assert "its shares say no" in order.machines[lying].reason
    assert order.plans > 1, "others made up for them"


@pytest.mark.parametrize("every", [2, 3, 7])
def test_a_crash_at_any_point_loses_nothing(every: int) -> None:
    fleet = SimFleet(machines(16, ignore=1))
    before_w = fleet.true_w()
    run = Run(fleet, spec(fleet))
    run.until(OrderState.HOLDING, crash_every=every, within_s=5_000.0)
    assert fleet.true_w() <= 0.52 * before_w


def test_who_was_not_heard_of_yet_by_a_new_process_is_waited_for_and_not_given_up() -> None:
    class Waking(SimFleet):
        """After the order was planned the process begins anew: some machines were not heard of yet, and would be refused."""

        heard_at = 10_060.0

        def look(self, key: str) -> Look | None:
            look = super().look(key)
            assert look is not None
            return (
                look if self._is_heard(key) else msgspec.structs.replace(look, reading=None, is_awaited=True)
            )

        def why_not(self, key: str, command: Command, spec: OrderSpec) -> str | None:
            return super().why_not(key, command, spec) if self._is_heard(key) else "it has not answered yet"

        def _is_heard(self, key: str) -> bool:
            return not 10_000.0 < self.now < self.heard_at or not int(key[-1], 16) % 2

    fleet = Waking(machines(16))
    run = Run(fleet, spec(fleet))
    order = run.until(OrderState.HOLDING)
    assert fleet.now >= fleet.heard_at
    assert all(progress.phase is Phase.DONE for progress in order.machines.values())
    assert not any(isinstance(event, Missed) for event in run.log)


def test_it_stops_when_the_meter_does_not_believe_it() -> None:
    fleet = SimFleet(machines(16, lie=8), shares=False)
    run = Run(fleet, spec(fleet))
    order = run.until(OrderState.STOPPED)
    assert "the site's meter shows" in order.text
    told = sum(len(machine.told) for machine in fleet.machines.values())
    fleet.advance(60.0)
    run.log += fleet.apply(order, next_events(order, fleet, CONDUCT, fleet.now))
    assert sum(len(machine.told) for machine in fleet.machines.values()) == told, "nothing more is sent"
    run.note(Continued(at=fleet.now, who="ann"))
    assert order.state is OrderState.REDUCING


def test_who_wakes_by_itself_is_told_again() -> None:
    fleet = SimFleet(machines(8))
    run = Run(fleet, spec(fleet, ReduceAll()))
    order = run.until(OrderState.HOLDING)
    sleeper = next(iter(fleet.machines.values()))
    sleeper.asleep = sleeper.says_asleep = False
    for _ in range(40):
        fleet.advance(1.0)
        run.log += fleet.apply(order, next_events(order, fleet, CONDUCT, fleet.now))
    assert sleeper.asleep
    assert order.machines[sleeper.key].drifts == 1


def test_a_word_without_measurement_stays_a_word_until_shares_tell() -> None:
    fleet = SimFleet(machines(4), metered=False, shares=False)
    run = Run(fleet, spec(fleet, ReduceAll()))
    order = run.until(OrderState.HOLDING)
    assert {p.effect.verdict for p in order.machines.values()} == {Verdict.CLAIMED}
    assert order.measured_w is None
    fleet.shares = True
    for _ in range(30):
        fleet.advance(1.0)
        run.log += fleet.apply(order, next_events(order, fleet, CONDUCT, fleet.now))
    assert {p.effect.verdict for p in order.machines.values()} == {Verdict.CONFIRMED}


def test_a_dry_run_plans_and_sends_nothing() -> None:
    fleet = SimFleet(machines(8))
    run = Run(fleet, spec(fleet, dry_run=True))
    order = run.until(OrderState.ENDED)
    assert order.text == "dry run: nothing was sent"
    assert len(order.machines) == 5
    assert not any(machine.told for machine in fleet.machines.values())


def test_abort_ends_at_once_and_leaves_machines_as_they_are() -> None:
    fleet = SimFleet(machines(8))
    run = Run(fleet, spec(fleet, ReduceAll()))
    for _ in range(2):
        run.log += fleet.apply(run.order, next_events(run.order, fleet, CONDUCT, fleet.now))
        fleet.advance(1.0)
    told = sum(len(machine.told) for machine in fleet.machines.values())
    run.note(Aborted(at=fleet.now, who="bob", why="smoke"))
    assert 0 < told < 8
    assert next_events(run.order, fleet, CONDUCT, fleet.now) == []
    assert run.order.text == "aborted by bob: smoke"


def test_its_time_ends_an_order() -> None:
    fleet = SimFleet(machines(4))
    run = Run(fleet, spec(fleet, ReduceBy(2_000), until=fleet.now + 300.0))
    run.until(OrderState.HOLDING)
    run.until(OrderState.ENDED)
    assert all(not machine.asleep for machine in fleet.machines.values())


def test_a_command_for_each_machine_is_an_order_too() -> None:
    fleet = SimFleet(machines(4, silent=1))
    run = Run(fleet, spec(fleet, task=Tell(command=SetMode("Eco"))))
    order = run.until(OrderState.ENDED)
    modes = {machine.key: machine.mode for machine in fleet.machines.values()}
    assert sorted(modes.values()) == ["Eco", "Eco", "Eco", "Standard"]
    assert set(order.skips.values()) == {"it does not answer"}


def test_what_is_stored_has_no_passwords() -> None:
    command = SetPools((PoolTarget(url="stratum+tcp://u:secret@h:3333", user="a.b", password="hunter2"),))
    stored = msgspec.json.encode(without_secrets(command)).decode()
    assert "hunter2" not in stored
    assert "secret" not in stored
    assert "a.b" in stored
    assert without_secrets(Sleep()) == Sleep()
    assert without_secrets(Wake("Eco")) == Wake("Eco")
