"""One alert a cause, joined where many share it, told once, with its end; words for everything that is wrong."""

from __future__ import annotations

import pytest

from hashwerk.fleet.alerts import AlertBook, AlertSettings, NoticeKind, Silence
from hashwerk.fleet.causes import TITLES, Cause, CauseKind, Subject, Thresholds, causes_of
from hashwerk.fleet.commands import Sleep, Wake
from hashwerk.fleet.machine import Board, PoolSlot, WorkState
from hashwerk.fleet.measure import Basis, Believed, Measured
from hashwerk.fleet.place import Place
from hashwerk.fleet.ports import Address
from hashwerk.fleet.registry import Finding, FindingKind
from hashwerk.fleet.states import State
from hashwerk.work.poisson import rate_interval
from support.fleet import TH, reading


class Hall:
    """Twenty machines on each of five breakers, of two feeders."""

    def place(self, subject: str) -> Place | None:
        if not subject.startswith("m"):
            return None
        number = int(subject[1:])
        return Place(breaker=f"B{number // 20}", feeder=f"F{number // 60}")

    def population(self, name: str) -> int:
        if name == "site":
            return 100
        return 20 if name.startswith("breaker") else 60 if name == "feeder F0" else 40


def cause(number: int, kind: CauseKind = CauseKind.HEAT) -> Cause:
    return Cause(kind=kind, subject=f"m{number}", text=f"m{number} is wrong")


def book(**settings: object) -> AlertBook:
    return AlertBook(AlertSettings(**settings))  # type: ignore[arg-type]


def told(alerts: AlertBook, causes: list[Cause], start: float, end: float) -> list[tuple[NoticeKind, str]]:
    found = []
    at = start
    while at < end:
        found += [(notice.kind, notice.text) for notice in alerts.update(causes, Hall(), at)]
        at += 10.0
    return found


def test_a_cause_is_told_once_and_once_when_it_is_over() -> None:
    alerts = book()
    assert told(alerts, [cause(1)], 0.0, 20.0) == []
    assert told(alerts, [cause(1)], 20.0, 600.0) == [(NoticeKind.RAISED, "m1: m1 is wrong")]
    assert [alert.title for alert in alerts.alerts()] == ["too hot"]
    assert told(alerts, [], 600.0, 700.0) == []
    assert told(alerts, [], 700.0, 900.0) == [(NoticeKind.OVER, "m1: m1 is wrong (over)")]
    assert alerts.alerts() == []
    assert alerts.past()[0].over_at == 590.0


def test_what_passes_by_itself_wakes_nobody() -> None:
    alerts = book()
    assert told(alerts, [cause(1)], 0.0, 15.0) + told(alerts, [], 15.0, 500.0) == []


def test_what_flickers_is_one_alert() -> None:
    alerts = book()
    found = []
    for at in range(0, 1_200, 20):
        found += told(alerts, [cause(1)] if at % 40 else [], float(at), at + 20.0)
    assert [kind for kind, _ in found] == [NoticeKind.RAISED]


def test_a_breaker_is_one_alert_and_so_is_the_feeder_and_the_site() -> None:
    for numbers, text in (
        (range(15), "breaker B0: 15 of 20 machines: too hot"),
        (range(45), "feeder F0: 45 of 60 machines: too hot"),
        (range(80), "site: 80 of 100 machines: too hot"),
    ):
        alerts = book()
        assert told(alerts, [cause(n) for n in numbers], 0.0, 100.0) == [(NoticeKind.RAISED, text)]
        assert len(alerts.alerts()[0].machines) == len(numbers)


def test_scattered_trouble_never_becomes_a_storm() -> None:
    alerts = book(kind_limit=5)
    scattered = [cause(n) for n in range(0, 100, 10)]
    assert told(alerts, scattered, 0.0, 100.0) == [(NoticeKind.RAISED, "site: 10 machines: too hot")]
    alerts = book(kind_limit=1_000, notices_per_minute=3, joint_share=2.0)
    found = told(alerts, scattered, 0.0, 200.0)
    assert [kind for kind, _ in found] == [NoticeKind.RAISED] * 3 + [NoticeKind.DIGEST]
    assert found[3][1].startswith("7 further notices")


def test_one_that_becomes_part_of_a_joint_alert_is_not_told_as_over() -> None:
    alerts = book()
    told(alerts, [cause(1)], 0.0, 100.0)
    found = told(alerts, [cause(n) for n in range(15)], 100.0, 600.0)
    assert found == [(NoticeKind.RAISED, "breaker B0: 15 of 20 machines: too hot")]


def test_who_knows_and_who_wants_silence() -> None:
    alerts = book()
    told(alerts, [cause(1)], 0.0, 100.0)
    known = alerts.acknowledge(alerts.alerts()[0].id, "ann")
    assert known.acknowledged_by == "ann"
    assert alerts.acknowledge("a-999", "ann") is None
    alerts.silence(Silence(until=500.0, who="ann", kind=CauseKind.FAN))
    assert told(alerts, [cause(1), cause(2, CauseKind.FAN)], 100.0, 400.0) == []
    assert [alert.is_silenced for alert in alerts.alerts()] == [False, True]
    again = book()
    again.restore(alerts.alerts(), silences=alerts.silences(400.0))
    assert told(again, [cause(1), cause(2, CauseKind.FAN)], 400.0, 500.0) == [], (
        "a restart tells nobody twice"
    )


def test_what_begins_in_silence_is_told_when_the_silence_ends_if_it_still_lasts() -> None:
    alerts = book()
    alerts.silence(Silence(until=500.0, who="ann"))
    assert told(alerts, [cause(1), cause(2)], 0.0, 300.0) == []
    assert told(alerts, [cause(1)], 300.0, 490.0) == [], "nobody heard of m2, so nobody hears that it is over"
    again = book()
    again.restore(alerts.alerts(), silences=alerts.silences(490.0))
    for after in (alerts, again):
        assert told(after, [cause(1)], 490.0, 900.0) == [(NoticeKind.RAISED, "m1: m1 is wrong")]


def test_after_a_restart_nothing_is_over_before_machines_were_looked_at() -> None:
    alerts = book()
    told(alerts, [cause(1)], 0.0, 600.0)
    again = book()
    again.restore(alerts.alerts())
    assert told(again, [], 600.0, 620.0) == [], "nobody has answered yet"
    assert told(again, [cause(1)], 620.0, 900.0) == []
    assert told(again, [], 900.0, 1_100.0) == [(NoticeKind.OVER, "m1: m1 is wrong (over)")]


def subject(**changes: object) -> Subject:
    values: dict[str, object] = {
        "key": "mac:1",
        "state": State.HASHING,
        "since": 0.0,
        "reading": reading(),
        "measured": None,
        "believed": Believed(power_w=1_400.0, basis=Basis.REPORTED),
        "commanded": None,
    }
    return Subject(**(values | changes))  # type: ignore[arg-type]


BOARDS = tuple(Board(slot=n, hashrate_hs=27 * TH if n else 0.0) for n in range(3))
GONE = tuple(Board(slot=n, hashrate_hs=27 * TH if n else None, chips=126 * (n > 0)) for n in range(3))
OURS = PoolSlot(url="stratum+tcp://10.0.0.2:3333", user="site.m1", active=True)
SHARES = Measured(at=0.0, hashrate=rate_interval({42: 200}, 200 * 2.0**42 / (20 * TH)))


@pytest.mark.parametrize(
    ("kind", "wrong", "words"),
    [
        (CauseKind.DEAD_BOARD, {"reading": reading(boards=BOARDS)}, "board 0 of 3 does not hash"),
        (CauseKind.DEAD_BOARD, {"reading": reading(boards=GONE)}, "board 0 of 3 does not hash"),
        (
            CauseKind.ASLEEP_UNASKED,
            {"state": State.ASLEEP, "commanded": Wake()},
            "it was told to wake, and it sleeps",
        ),
        (CauseKind.FAN, {"reading": reading(fans_rpm=(3000, 0))}, "fan 2 of 2 stands still"),
        (CauseKind.HEAT, {"reading": reading(chip_max_c=99.0)}, "its hottest chip has 99 °C"),
        (CauseKind.HEAT, {"reading": reading(inlet_c=45.0)}, "it breathes air of 45 °C"),
        (CauseKind.CHIP_ERRORS, {"error_share": 0.2}, "20% of what its chips find is wrong"),
        (
            CauseKind.FOREIGN_POOL,
            {
                "reading": reading(
                    pools=(PoolSlot(url="stratum+tcp://evil.example:1", user="x", active=True),)
                )
            },
            "it mines for evil.example:1",
        ),
        (
            CauseKind.WRONG_WORKER,
            {"reading": reading(pools=(PoolSlot(url=OURS.url, user="thief.m1", active=True),))},
            "it mines under the name 'thief.m1'",
        ),
        (
            CauseKind.ASLEEP_UNASKED,
            {"state": State.ASLEEP, "reading": reading(state=WorkState.ASLEEP)},
            "nobody told it to",
        ),
        (CauseKind.AWAKE_UNASKED, {"commanded": Sleep()}, "it was told to sleep, and it hashes"),
        (
            CauseKind.POWER_LIE,
            {"believed": Believed(power_w=1.0, basis=Basis.CURVE, doubt="says it draws 1 W")},
            "says it draws 1 W",
        ),
        (CauseKind.HASHRATE_LIE, {"measured": SHARES}, "its shares show 20.0"),
        (CauseKind.UNREACHABLE, {"state": State.UNREACHABLE}, "what it draws now is not known"),
        (
            CauseKind.NONSENSE,
            {"state": State.UNREACHABLE, "is_unreadable": True},
            "it answers, but with nothing that can be read",
        ),
        (
            CauseKind.FAULT,
            {"state": State.FAULTY, "reading": reading(complaints=("PSU 3",), state=WorkState.FAULT)},
            "PSU 3",
        ),
        (CauseKind.IDENTITY, {"is_ambiguous": True}, "two machines have its MAC address"),
    ],
)
def test_each_trouble_has_its_words(kind: CauseKind, wrong: dict, words: str) -> None:
    thresholds = Thresholds(own_pools=("10.0.0.2",), worker_names=("site",))
    found = list(causes_of(subject(**wrong), thresholds))
    assert [(c.kind, words in c.text) for c in found] == [(kind, True)]
    assert TITLES[kind]


def test_a_healthy_machine_has_no_trouble() -> None:
    healthy = subject(
        reading=reading(pools=(OURS,), fans_rpm=(3000, 3100), chip_max_c=70.0), commanded=Wake()
    )
    assert list(causes_of(healthy, Thresholds(own_pools=("10.0.0.2",), worker_names=("site",)))) == []


def test_no_number_is_given_twice() -> None:
    alerts = book()
    alerts.restore([], last_number=41)
    told(alerts, [cause(1)], 0.0, 60.0)
    assert [alert.id for alert in alerts.alerts()] == ["a-42"], "41 are on record, all of them over"


def test_a_machine_that_is_not_who_it_was_is_named_once_a_kind() -> None:
    def found(text: str, at: float) -> Finding:
        return Finding(
            kind=FindingKind.CONTROL_BOARD, key="m", address=Address(host="10.0.0.1"), text=text, at=at
        )

    changed = (found("MAC a → b", 1.0), found("MAC b → c", 2.0))
    (cause,) = causes_of(subject(changed=changed), Thresholds())
    assert (cause.kind, cause.text, cause.part) == (CauseKind.IDENTITY, "MAC b → c", "control-board")
