"""The fleet's record: what was told is found again, by who comes after and in the same order, and without passwords."""

from __future__ import annotations

import sqlite3
from pathlib import Path

import pytest

from hashwerk.errors import StoreError
from hashwerk.fleet.alerts import Alert
from hashwerk.fleet.batch import ReduceTo, Step
from hashwerk.fleet.causes import CauseKind
from hashwerk.fleet.commands import Sleep
from hashwerk.fleet.learning import LearnedMode
from hashwerk.fleet.lease import Holder, Lease
from hashwerk.fleet.machine import Outcome, OutcomeKind
from hashwerk.fleet.measure import Effect, Vote
from hashwerk.fleet.orders import (
    Aborted,
    Answered,
    Missed,
    Opened,
    OrderSpec,
    OrderState,
    Phase,
    Planned,
    Reduce,
    Sent,
    Verified,
)
from hashwerk.fleet.place import Place, Placement
from hashwerk.fleet.ports import Address
from hashwerk.fleet.record import HistoryPoint, MachineRecord
from hashwerk.fleet.states import State, Transition
from hashwerk.fleet.timing import Change, Duration, TimingRow
from hashwerk.store.fleet import FLEET_SCRIPTS, HISTORY_SLOTS, FleetStore
from hashwerk.store.migrations import statements
from support.fleet import identity

KEY = "mac:02:00:00:00:00:01"
SPEC = OrderSpec(
    id="o1",
    at=100.0,
    who="ann",
    why="the grid asked",
    holder=Holder.CURTAILMENT,
    task=Reduce(goal=ReduceTo(5_000.0)),
    dry_run=False,
)
BEGINNING = [
    Opened(at=100.0, spec=SPEC),
    Planned(
        at=101.0,
        steps=(Step(key=KEY, command=Sleep(), before_w=1_400.0, after_w=60.0),),
        skips=(),
        total_w=9_000.0,
        is_metered=True,
        target_w=5_000.0,
    ),
    Sent(at=102.0, key=KEY, command=Sleep(), attempt=1),
]


def test_scripts_are_never_edited() -> None:
    frozen = sorted((Path(__file__).parent / "schemas").glob("fleet-*.sql"))
    assert [statements(path.read_text()) for path in frozen] == [
        statements(script) for script in FLEET_SCRIPTS
    ]


def test_an_order_under_way_is_found_again(tmp_path: Path) -> None:
    path = tmp_path / "fleet.sqlite"
    store = FleetStore(path)
    assert store.open().orders == ()
    store.append(SPEC, BEGINNING, is_open=True)
    store.close()
    again = FleetStore(path)
    (order,) = again.open().orders
    assert order.spec == SPEC
    assert order.state is OrderState.REDUCING
    assert order.machines[KEY].phase is Phase.SENT, "sent, and nobody knows what became of it"
    again.append(SPEC, [Aborted(at=200.0, who="bob", why="smoke")], is_open=False)
    assert again.order("o1").text == "aborted by bob: smoke"
    assert [order.spec.id for order in again.orders()] == ["o1"]
    assert again.order("o2") is None
    again.close()
    last = FleetStore(path)
    assert last.open().orders == (), "what is ended is not taken up again"
    last.close()


def test_every_command_leaves_a_record(tmp_path: Path) -> None:
    store = FleetStore(tmp_path / "fleet.sqlite")
    store.open()
    store.append(SPEC, BEGINNING, is_open=True)
    (record,) = store.commands()
    assert (record.who, record.why, record.holder, record.command) == (
        "ann",
        "the grid asked",
        "curtailment",
        "sleep",
    )
    assert record.outcome is record.verdict is None
    effect = Effect(
        machine=Vote.YES,
        shares=Vote.YES,
        meter=Vote.CANNOT_SAY,
        before_w=1_400.0,
        after_w=60.0,
        text="asleep",
    )
    accepted = Outcome(kind=OutcomeKind.ACCEPTED, message="ASC 0 set OK")
    store.append(
        SPEC,
        [Answered(at=103.0, key=KEY, outcome=accepted), Verified(at=120.0, key=KEY, effect=effect)],
        is_open=True,
    )
    (record,) = store.commands(key=KEY)
    assert (record.outcome, record.message, record.verdict, record.settled_at) == (
        "accepted",
        "ASC 0 set OK",
        "confirmed",
        120.0,
    )
    assert (record.before_w, record.after_w, record.effect) == (1_400.0, 60.0, "asleep")
    reason = "held by maintenance bob"
    missed = Missed(at=130.0, key=KEY, attempt=2, reason=reason, unsent=Sleep())
    store.append(SPEC, [missed], is_open=True)
    newest = store.commands(1)[0]
    assert (newest.outcome, newest.effect) == ("not sent", reason)
    assert store.commands(before=newest.id) == [record]
    store.close()


def test_machines_leases_alerts_and_what_was_learned_are_kept(tmp_path: Path) -> None:
    path = tmp_path / "fleet.sqlite"
    store = FleetStore(path)
    store.open()
    machine = MachineRecord(
        key=KEY,
        identity=identity(),
        address=Address(host="10.0.0.1"),
        first_seen_at=1.0,
        seen_at=2.0,
        driver="avalon",
        place=Place(hall="A", breaker="B1"),
        owner="ann",
        group="night",
        chips_by_slot={0: 160},
        commanded=Sleep(),
        commanded_at=3.0,
        started_at=4.0,
        starts=(4.0,),
        learned=(LearnedMode(mode="Eco", periods=2.0, sum_p=1_700.0),),
    )
    lease = Lease(key=KEY, holder=Holder.MAINTENANCE, name="bob", since=5.0, until=None)
    alert = Alert(
        id="a-3",
        kind=CauseKind.HEAT,
        subject=KEY,
        part="",
        title="too hot",
        text="95 °C",
        machines=(KEY,),
        since=9.0,
    )
    timing = TimingRow(
        make="avalon",
        model="Avalon Q",
        firmware="stock",
        change=Change.SLEEP,
        duration=Duration(prior_s=10.0, count=1.0),
    )
    waiting = Placement(mac="02:00:00:00:00:09", place=Place(row="7"))
    store.save_machines([machine])
    store.save_leases([lease])
    store.save_alerts([alert])
    store.keep("timings", [timing])
    store.keep("waiting", [waiting])
    moved = Transition(at=6.0, was=State.HASHING, now=State.ASLEEP, cause="fell asleep as told")
    store.save_transitions([(KEY, moved)])
    assert store.transitions(key=KEY)[0].cause == "fell asleep as told"
    store.close()
    again = FleetStore(path)
    state = again.open()
    again.close()
    assert state.machines == (machine,)
    assert state.machines[0].wear().starts_today(5.0) == 1
    assert state.leases == (lease,)
    assert state.alerts == (alert,)
    assert state.last_alert == 3
    assert state.timings == (timing,)
    assert state.waiting == (waiting,)


def test_one_process_commands_machines(tmp_path: Path) -> None:
    from hashwerk.store import StoreSettings

    first = FleetStore(tmp_path / "fleet.sqlite")
    first.open()
    with pytest.raises(StoreError, match="locked by process"):
        FleetStore(tmp_path / "fleet.sqlite", StoreSettings(lock_timeout_s=0.0)).open()
    first.close()
    with pytest.raises(StoreError, match="not open"):
        first.commands()


def test_a_file_of_another_kind_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "fleet.sqlite"
    with sqlite3.connect(path) as connection:
        connection.execute("PRAGMA application_id = 1")
        connection.execute("CREATE TABLE mine (x)")
    connection.close()
    with pytest.raises(StoreError, match="not a Hashwerk fleet record"):
        FleetStore(path).open()


def test_the_history_of_a_machine_is_a_ring(tmp_path: Path) -> None:
    store = FleetStore(tmp_path / "fleet.sqlite")
    store.open()
    for slot in range(HISTORY_SLOTS + 10):
        point = HistoryPoint(at=600.0 * slot, reported_w=1_400.4, inlet_c=24.6 if slot % 2 else None)
        store.save_history(slot, [("mac:a", point), ("mac:b", point)])
    points = store.history("mac:a")
    assert [point.at for point in points] == [600.0 * slot for slot in range(10, HISTORY_SLOTS + 10)]
    assert (points[1].reported_w, points[1].inlet_c, points[1].chip_c) == (1_400, 25, None)
    assert points[0].inlet_c is None
    assert store.history("mac:c") == []
    store.close()
