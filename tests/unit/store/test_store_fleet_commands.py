"""The record of commands is narrowed by machine, giver, kind, result and time, and counted likewise."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest

from hashwerk.fleet.commands import Command, Sleep, Wake
from hashwerk.fleet.effects import NO_POWER
from hashwerk.fleet.lease import Holder
from hashwerk.fleet.machine import Outcome, OutcomeKind
from hashwerk.fleet.measure import Basis, Effect, Vote
from hashwerk.fleet.orders import Answered, Opened, OrderSpec, Sent, Tell, Verified
from hashwerk.fleet.record import CommandQuery, Deed, Unsettled
from hashwerk.store.fleet import FleetStore

NOW = 1_750_000_000.0
MANY = 20_000


def spec(number: int, who: str, why: str, command: Command) -> OrderSpec:
    return OrderSpec(
        id=f"o{number}", at=NOW + number, who=who, why=why, holder=Holder.OPERATOR, task=Tell(command=command)
    )


def effect(shares: Vote) -> Effect:
    return Effect(machine=Vote.YES, shares=shares, meter=Vote.CANNOT_SAY, before_w=1_400.0, after_w=25.0)


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Iterator[FleetStore]:
    store = FleetStore(tmp_path_factory.mktemp("record") / "fleet.sqlite")
    store.open()
    for number, (who, why, command, told) in enumerate(
        (
            ("dispatcher", "price is 92", Sleep(), [f"m{n}" for n in range(MANY)]),
            ("Anna", "a loud fan", Sleep(), ["m1", "m2", "m3"]),
            ("ben", "Price has fallen", Wake(), ["m1"]),
        )
    ):
        at, order = NOW + number, spec(number, who, why, command)
        sent: list[Any] = [Sent(at=at, key=key, command=command, attempt=1) for key in told]
        store.append(order, [Opened(at=at, spec=order), *sent], is_open=True)
    anna = spec(1, "Anna", "a loud fan", Sleep())
    store.append(
        anna,
        [
            Answered(at=NOW + 1, key="m1", outcome=Outcome(kind=OutcomeKind.ACCEPTED)),
            Answered(at=NOW + 1, key="m2", outcome=Outcome(kind=OutcomeKind.REFUSED, message="no")),
            Answered(at=NOW + 1, key="m3", outcome=Outcome(kind=OutcomeKind.ACCEPTED)),
            Verified(at=NOW + 1, key="m1", effect=effect(Vote.YES)),
            Verified(at=NOW + 1, key="m3", effect=effect(Vote.NO)),
        ],
        is_open=False,
    )
    yield store
    store.close()


@pytest.mark.parametrize(
    ("query", "keys"),
    [
        (CommandQuery(who="ANNA"), ["m3", "m2", "m1"]),
        (CommandQuery(who="has fallen"), ["m1"]),  # why, too
        (CommandQuery(who="100 %"), []),  # nothing in it is a pattern
        (CommandQuery(command="wake"), ["m1"]),
        (CommandQuery(keys=("m1",)), ["m1", "m1", "m1"]),
        (CommandQuery(keys=("m1", "m2"), who="anna"), ["m2", "m1"]),
        (CommandQuery(keys=()), []),
        (CommandQuery(keys=("m1", "m2"), order_id="o1"), ["m2", "m1"]),
        (CommandQuery(result="confirmed"), ["m1"]),
        (CommandQuery(result="contradicted"), ["m3"]),
        (CommandQuery(result="refused"), ["m2"]),
        (CommandQuery(since=NOW + 1, until=NOW + 2), ["m3", "m2", "m1"]),
    ],
)
def test_the_record_is_narrowed(store: FleetStore, query: CommandQuery, keys: list[str]) -> None:
    assert [record.key for record in store.commands(100, query=query)] == keys
    assert sum(store.command_counts(query).values()) == len(keys)


def test_it_is_read_page_by_page_without_gap_or_double(store: FleetStore) -> None:
    query, found, before = CommandQuery(who="dispatcher"), list[str](), None
    while page := store.commands(1_000, before=before, query=query):
        found += [record.key for record in page]
        before = page[-1].id
    assert found == [f"m{number}" for number in reversed(range(MANY))]


def test_it_is_counted_by_giver_and_result(store: FleetStore) -> None:
    assert store.command_counts(CommandQuery()) == {
        ("dispatcher", "open"): MANY,
        ("Anna", "confirmed"): 1,
        ("Anna", "refused"): 1,
        ("Anna", "contradicted"): 1,
        ("ben", "open"): 1,
    }


def test_an_effect_seen_later_and_a_deed_stand_in_the_record(tmp_path: Path) -> None:
    store = FleetStore(tmp_path / "fleet.sqlite")
    store.open()
    order = spec(1, "Anna", "a loud fan", Sleep())
    unanswered = Outcome(kind=OutcomeKind.UNANSWERED, message="it does not say whether it took it")
    claimed = Effect(machine=Vote.YES, shares=Vote.CANNOT_SAY, meter=Vote.CANNOT_SAY, text="it says yes")
    take_over = Deed(at=NOW, subject="m1", who="Anna", why="a loud fan", what="take over", order_id="o1")
    store.append(
        order,
        [
            Opened(at=NOW, spec=order),
            Sent(at=NOW, key="m1", command=Sleep(), attempt=1),
            Answered(at=NOW + 1, key="m1", outcome=unanswered),
            Verified(at=NOW + 9, key="m1", effect=claimed, awaits_power=True),
        ],
        is_open=False,
        deeds=[take_over],
    )
    (name,) = store.unsettled(0.0)
    assert name == Unsettled("o1", "m1", NOW)
    (told, deed) = store.commands()
    assert (told.settled_at, told.after_w, told.verdict) == (None, None, "claimed")
    assert (deed.command, deed.outcome, deed.settled_at) == ("take over", "done", NOW)
    seen = msgspec.structs.replace(claimed, before_w=1_400.0, after_w=25.0, basis=Basis.METER, meter=Vote.YES)
    store.note_effects([(name, seen, NOW + 30)])
    told = store.commands()[0]
    assert (told.before_w, told.after_w, told.basis) == (1_400.0, 25.0, "meter")
    assert (told.verdict, told.settled_at) == ("confirmed", NOW + 30)
    assert store.unsettled(0.0) == []
    assert store.command_counts(CommandQuery()) == {("Anna", "confirmed"): 1, ("Anna", "unmeasured"): 1}
    unseen = msgspec.structs.replace(claimed, text=f"it says yes; {NO_POWER}")
    store.note_effects([(name, unseen, NOW + 30)])
    confirmed = msgspec.structs.replace(claimed, shares=Vote.YES, text="its shares say yes")
    late = Verified(at=NOW + 90, key="m1", effect=confirmed, awaits_power=True)
    store.append(order, [late], is_open=False)
    told = store.commands()[0]
    assert (told.verdict, told.effect) == ("confirmed", f"its shares say yes; {NO_POWER}")
    store.close()
