"""From the fleet to the words, sums and rows of *Hall* and *Machine*."""

from __future__ import annotations

import asyncio
import importlib.util
import json
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import msgspec
import pytest
from pydantic import ValidationError

from hashwerk.clock import VirtualClock
from hashwerk.config.site import parse_site
from hashwerk.errors import FleetError
from hashwerk.fleet.alerts import Alert
from hashwerk.fleet.batch import IDLE_W, ReduceAll, ReduceTo
from hashwerk.fleet.causes import CauseKind
from hashwerk.fleet.commands import Locate, SetMode, Sleep
from hashwerk.fleet.modes import ModePoint, PointSource
from hashwerk.fleet.orders import Tell
from hashwerk.fleet.record import CommandRecord, TransitionRecord
from hashwerk.fleet.states import State
from hashwerk.site.fleet import FleetService
from hashwerk.site.fleet.reports import Report
from hashwerk.web.board import Board
from hashwerk.web.fleet_frames import commanded_w, fleet_frame, format_power, state_words
from hashwerk.web.fleet_metrics import FleetCollector
from hashwerk.web.fleet_models import CurtailBody
from hashwerk.web.history import History
from hashwerk.web.machine_frames import machine_frame
from hashwerk.web.metrics import render_metrics
from hashwerk.web.record_frames import command_rows, history_frame
from hashwerk.web.state import MineView, Site

NOW = 1_750_000_000.0


@pytest.fixture(scope="module")
def hall_site() -> ModuleType:
    path = Path(__file__).parents[2] / "e2e" / "hall_site.py"
    spec = importlib.util.spec_from_file_location("hall_site", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["hall_site"] = module
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def service(hall_site: ModuleType, tmp_path: Path, clock: VirtualClock) -> Iterator[FleetService]:
    config = parse_site(hall_site.SITE.format(scale=1, poll_s=10, last=1))
    hall = hall_site.Hall(200)
    service = FleetService(config.fleet, tmp_path / "fleet.sqlite", clock, drivers=[hall], channels=())
    service.open()
    hall_site.furnish(service, hall)
    yield service
    service.store.close()


def test_metrics_tell_the_truths_apart_and_are_all_documented(service, clock):
    view = MineView(None, clock)
    view.collectors.append(FleetCollector(service))
    text = render_metrics(view, clock).decode()
    assert 'hashwerk_fleet_machines{state="hashing"}' in text
    assert 'hashwerk_fleet_power_watts{basis="believed"}' in text
    liar = service.machine("10.20.0.152").id
    assert f'hashwerk_machine_reported_power_watts{{machine="{liar}"}} 561.0' in text
    assert f'hashwerk_machine_power_watts{{basis="curve",machine="{liar}"}} 1403.0' in text
    silent = service.machine("10.20.0.95").id
    assert f'machine="{silent}"}}' not in "".join(
        line for line in text.splitlines() if "machine_power_watts" in line
    )
    guide = (Path(__file__).parents[3] / "docs" / "guide" / "fleet.md").read_text(encoding="utf-8")
    for family in FleetCollector(service).collect():
        assert f"`{family.name}`" in guide, family.name


def test_who_fell_silent_says_nothing_any_more(service, clock):
    unit = service.roster.units[service.machine("10.20.0.1").id]
    before_hs = service.view().reported_hs
    for _ in range(3):
        service.roster.missed(unit, "no answer", is_unreadable=False)
    assert unit.condition.state is State.UNREACHABLE
    assert service.view().reported_hs == before_hs - unit.reading.hashrate_hs
    at, columns = list(service.roster.units).index(unit.key), service.columns()
    assert (columns.reported_w[at], columns.reported_ths[at], columns.chip_c[at]) == (None, None, None)
    assert fleet_frame(service)["fleet.power.reported"].endswith(" by 198 of 200"), (
        "another one is silent too"
    )
    assert service.machine("10.20.0.1").reported is not None, (
        "its page keeps what it said last, and how long ago"
    )


def test_the_sentence_counts_each_machine_once(service):
    frame = fleet_frame(service)
    # 17 reports a fault, 94 is silent, 4 and 184 sleep unasked, 151 lies; of the dead board of 60 nobody was told yet.
    assert frame["fleet.sentence"].startswith(
        "5 of 200 machines need a hand: 1 reports a fault, 1 does not answer, 3 say or do"
    )
    assert frame["fleet.state"] == "attention"
    assert frame["fleet.count.states"] == "177 hashing, 21 asleep, 1 faulty, 1 unreachable"
    assert frame["fleet.hand"] == "5"


def test_what_is_pressed_says_why_for_the_record(service, clock):
    for _ in range(2):
        service.alarms.look()
        clock.advance(90.0)
    rows = fleet_frame(service)["rows.fleet_alerts"]
    buttons = [action for row in rows for action in row["actions"]]
    assert {action["t"] for action in buttons} == {"Acknowledge", "Silence 1 h"}
    assert {action["body"]["why"] for action in buttons} == {"by hand on the page"}


def test_without_a_fleet_or_machines_it_says_so(tmp_path, clock, hall_site):
    assert fleet_frame(None)["fleet.side"] == "alone"
    config = parse_site(hall_site.SITE.format(scale=1, poll_s=10, last=1))
    service = FleetService(
        config.fleet, tmp_path / "fleet.sqlite", clock, drivers=[hall_site.Hall(0)], channels=()
    )
    service.open()
    frame = fleet_frame(service)
    service.store.close()
    assert frame["fleet.sentence"] == "No machine is known yet."
    assert (frame["fleet.power"], frame["fleet.rate"]) == ("–", "–")


def test_what_is_commanded_is_not_what_is_believed(service):
    unit = next(unit for unit in service.roster.units.values() if unit.reading.mode == "Standard")
    unit.commanded = None
    assert commanded_w(unit) == unit.believed().power_w
    unit.commanded = Sleep()
    assert commanded_w(unit) == IDLE_W
    unit.idle_w = 25.0
    assert commanded_w(unit) == 25.0
    unit.commanded = SetMode("Eco")
    assert commanded_w(unit) == 843.0
    unit.commanded = SetMode("no such mode")
    assert commanded_w(unit) == unit.believed().power_w


async def test_orders_stand_with_what_can_be_done(service):
    await service.curtail(ReduceTo(100_000.0), who="grid", why="price")
    await service.tell(Locate(True), who="page", why="look", machines=[next(iter(service.roster.units))])
    locate, curtail = fleet_frame(service)["rows.fleet_orders"]
    assert locate["title"] == "Turn its light on, 1 machine:"
    assert [action["t"] for action in locate["actions"]] == ["Abort"]
    assert curtail["title"] == "Curtail the fleet to 100 kW:"
    assert curtail["note"].startswith("grid: price · no machine yet")
    assert [action["body"]["action"] for action in curtail["actions"]] == ["restore", "abort"]
    await service.curtail(ReduceAll(), who="grid", why="price", group="day")
    assert fleet_frame(service)["rows.fleet_orders"][0]["title"] == "Put group day to sleep:"


@pytest.mark.parametrize(
    ("power_w", "text"),
    [(None, "–"), (0.0, "0 W"), (999.4, "999 W"), (1_234.0, "1.234 kW"), (12.345e6, "12.35 MW")],
)
def test_powers_have_their_prefix(power_w, text):
    assert format_power(power_w) == text


def test_states_are_told_the_most_first():
    assert state_words({"asleep": 2, "hashing": 1_200}) == "1,200 hashing, 2 asleep"


def test_a_liar_is_told_apart(service):
    machine = service.machine("10.20.0.152")
    frame = machine_frame(machine, service.alerts(), NOW)
    assert frame["m.doubts"] == "It says it draws 561 W, but what it does takes about 1,403 W."
    assert frame["m.state"] == "attention"
    assert frame["m.says.power"] == "561 W, its firmware's estimate"
    assert frame["m.is.power"] == "1,403 W"
    assert frame["m.is.basis"] == "its curve's, at the rate of its shares"
    assert frame["m.sentence"].startswith("10.20.0.152 hashes, for")


def test_a_password_in_a_pool_is_not_shown(service):
    machine = service.machine("10.20.0.1")
    pool = msgspec.structs.replace(
        machine.reported.pools[0], url="stratum+tcp://home:hunter2@pool.example:3333"
    )
    reported = msgspec.structs.replace(machine.reported, pools=(pool,))
    frame = machine_frame(msgspec.structs.replace(machine, reported=reported), [], NOW)
    assert frame["rows.m.pools"][0]["c"][1]["t"] == "stratum+tcp://pool.example:3333"
    assert "hunter2" not in str(frame)


def test_a_machine_never_heard_of_shows_no_figures(service):
    machine = msgspec.structs.replace(
        service.machine("10.20.0.1"), reported=None, measured_hs=None, power_w=None
    )
    frame = machine_frame(machine, [], NOW)
    assert (frame["m.says"], frame["m.is"], frame["m.is.power"], frame["m.fans"]) == ("–", "–", "–", "–")
    assert frame["rows.m.boards"] == []


def test_a_learned_curve_stands_over_the_published_one(service):
    unit = service.roster.units[service.machine("10.20.0.1").id]
    learned = ModePoint(
        mode="Standard", power_w=1_450.0, hashrate_hs=80e12, source=PointSource.LEARNED, power_w_per_k=4.2
    )
    unit.points = (learned, *(point for point in unit.points if point.mode != "Standard"))
    frame = machine_frame(service.machine("10.20.0.1"), [], NOW)
    published, here, now = frame["m.chart"]["series"]
    assert [point[2] for point in published["data"]] == ["Eco", "Standard", "Super"]
    assert here["data"] == [[80e12, 1_450.0, "Standard"]]
    assert len(now["data"]) == 1
    row = next(row for row in frame["rows.m.curves"] if row["k"] == "Standard")
    assert "Standard: +3.3 % against 1,403 W published" in frame["m.learning"]
    assert row["c"][4] == "+4.2 W/K"


def test_every_state_has_words(service):
    machine = service.machine("10.20.0.1")
    for state in State:
        assert machine_frame(msgspec.structs.replace(machine, state=state.value), [], NOW)["m.glyph"]


def test_history_tells_what_was_measured():
    told = CommandRecord(
        id=7, at=NOW, order_id="o1", key="k", who="grid", why="price", holder="curtailment", command="sleep", attempt=2,
        outcome="accepted", verdict="contradicted", effect="its shares go on", before_w=1_400.0, after_w=1_390.0,
        settled_at=NOW + 72, basis="meter",
    )  # fmt: skip
    moved = TransitionRecord(
        id=3, at=NOW, key="k", was=State.HASHING, now=State.FALLING_ASLEEP, cause="told to sleep"
    )
    frame = history_frame([told], [moved])
    cells = frame["rows.m.commands"][0]["c"]
    assert cells[1] == "sleep (attempt 2)"
    assert cells[4]["t"] == "▲ contradicted"
    assert cells[5] == "1,400 → 1,390 W by its meter"
    assert cells[6] == "its shares go on, 1 min 12 s after it was told"
    no = msgspec.structs.replace(told, outcome="refused", verdict=None, settled_at=None)
    assert history_frame([no], [])["rows.m.commands"][0]["c"][4]["t"] == "✕ not accepted"
    assert frame["rows.m.transitions"][0]["c"][1:] == ["hashing → falling asleep", "told to sleep"]


async def test_the_board_carries_the_fleet(service, clock, view: MineView):
    board = Board(view, History(None, clock), clock, Site(fleet=service))
    changes: list[dict[str, object]] = []
    board.join(changes.append)
    assert board.frame["fleet.count"] == "200"
    clock.advance(3.0)
    changes.clear()
    unit = next(iter(service.roster.units.values()))
    unit.condition.state = State.FAULTY
    await board.refresh()
    assert any("fleet.sentence" in change for change in changes)


def test_what_was_done_to_an_order_has_no_machine_s_page():
    abort = CommandRecord(
        id=8, at=NOW, order_id="o1", key="order o1", who="ann", why="smoke", holder="operator", command="abort the order",
        attempt=1, outcome="done", effect="it was held", settled_at=NOW,
    )  # fmt: skip
    hold = msgspec.structs.replace(abort, id=9, key="mac:aa", order_id="", command="take for maintenance")
    rows = command_rows([abort, hold], {"mac:aa": "10.0.0.5"})
    assert rows[0]["c"][1] == "order o1"
    assert rows[1]["c"][1] == {"t": "10.0.0.5", "h": "mac:aa", "u": "/machine/mac%3Aaa"}
    assert rows[1]["c"][3] == {"t": "ann: smoke", "h": "as operator"}
    assert rows[0]["c"][4]["t"] == "done"
    assert rows[0]["c"][7] == "it was held"


def test_who_does_not_do_as_told_is_said_so_in_the_first_sentence(service):
    machine = service.machine("10.20.0.1")
    assert machine.state == "hashing"
    frame = machine_frame(machine, [], NOW)
    assert (frame["m.glyph"], frame["m.state"]) == ("●", "")
    told = msgspec.structs.replace(machine, commanded="sleep")
    assert "hashes although it was told to sleep, for" in machine_frame(told, [], NOW)["m.sentence"]
    gone = msgspec.structs.replace(machine, state="unreachable", cause="does not answer", since=NOW - 60.0)
    assert machine_frame(gone, [], NOW)["m.sentence"] == "10.20.0.1 does not answer, for 1 min."
    alert = Alert(
        id="a-1",
        kind=CauseKind.FAN,
        subject=machine.id,
        part="fan 1",
        title="a fan stands still",
        text="fan 1 of 2 stands still",
        machines=(machine.id,),
        since=NOW,
    )
    assert machine_frame(machine, [alert], NOW)["m.state"] == "attention"
    known = msgspec.structs.replace(alert, acknowledged_by="ann")
    assert machine_frame(machine, [known], NOW)["m.state"] == ""


def test_the_sum_of_measured_rates_has_its_interval(service):
    view = service.view()
    assert view.measured_low_hs < view.measured_hs < view.measured_high_hs
    one = service.machine("10.20.0.1")
    spread = (one.measured_high_hs - one.measured_low_hs) / one.measured_hs
    assert (view.measured_high_hs - view.measured_low_hs) / view.measured_hs < spread, (
        "many are known better than one"
    )
    assert " to " in fleet_frame(service)["fleet.rate.basis"]


def test_a_preview_leaves_out_who_has_no_such_mode(service):
    spec = service.spec(Tell(command=SetMode("Turbo")), who="ann", why="a try", machines=["10.20.0.1"])
    (skip,) = service.preview(spec).skips
    assert skip.reason == "it has no mode 'Turbo'; it has Eco, Standard, Super"
    spec = service.spec(Tell(command=SetMode("eco")), who="ann", why="a try", machines=["10.20.0.1"])
    assert len(service.preview(spec).steps) == 1
    with pytest.raises(FleetError, match="no machine is in group 'nowhere'"):
        asyncio.run(service.resume(who="ann", why="a try", group="nowhere"))


def test_a_notice_says_where_the_machine_is(service, clock):
    unit = service.roster.units[service.machine("10.20.0.1").id]
    for _ in range(3):
        service.roster.missed(unit, "no answer", is_unreadable=False)
    service.alarms.look()
    clock.advance(60.0)
    told = [
        notice.text for notice in service.alarms.look() if notice.alert and notice.alert.subject == unit.key
    ]
    assert told[0].startswith(
        f"10.20.0.1, {unit.member.place.words()}, Avalon Q ({unit.key}): it does not answer"
    )


def test_whose_button_was_pressed_is_said_to_whoever_walks_through_the_hall(service, clock):
    assert fleet_frame(service)["fleet.button"] == ""
    unit = service.roster.units[service.machine("10.20.0.1").id]
    service.discovery.reports.append(
        Report(host="10.20.0.1", mac=unit.member.identity.mac, make="antminer", at=clock.time())
    )
    words = fleet_frame(service)["fleet.button"]
    assert words.startswith(
        f"The report button of 10.20.0.1, {unit.member.place.words()}, Avalon Q was pressed"
    )
    clock.advance(700.0)
    assert fleet_frame(service)["fleet.button"] == ""


@pytest.mark.parametrize("number", ["NaN", "Infinity", "-Infinity"])
def test_an_order_until_no_moment_is_refused(number):
    with pytest.raises(ValidationError):
        CurtailBody.model_validate(json.loads(f'{{"all": true, "until": {number}}}'))
