"""Arrays of tables: every problem of every table, each with its own line; tables that say their kind."""

from __future__ import annotations

from typing import Annotated

import msgspec
from msgspec import Meta

from hashwerk.config.decode import decode_struct, line_numbers, parse_toml


class Lamp(msgspec.Struct, tag="lamp", tag_field="kind", forbid_unknown_fields=True):
    watts: Annotated[int, Meta(ge=1, description="Power.")]


class Fan(msgspec.Struct, tag="fan", tag_field="kind", forbid_unknown_fields=True):
    rpm: int
    blades: int = 3


class House(msgspec.Struct, forbid_unknown_fields=True):
    thing: Annotated[tuple[Lamp | Fan, ...], Meta(max_length=3)] = ()


def problems(text: str) -> list[tuple[str, int | None]]:
    values, found = parse_toml(text)
    assert not found
    _, found = decode_struct(House, values, line_numbers(text))
    return [(problem.path, problem.line) for problem in found]


def test_each_table_is_decoded_as_its_kind_says() -> None:
    text = '[[thing]]\nkind = "lamp"\nwatts = 5\n[[thing]]\nkind = "fan"\nrpm = 900\n'
    house, found = decode_struct(House, parse_toml(text)[0], line_numbers(text))
    assert not found
    assert house == House(thing=(Lamp(watts=5), Fan(rpm=900)))


def test_all_problems_of_all_tables_have_their_own_lines() -> None:
    text = '[[thing]]\nkind = "lamp"\nwatts = 0\n\n[[thing]]\nkind = "fan"\nbladse = 4\n'
    assert problems(text) == [("thing[0].watts", 3), ("thing[1].bladse", 7), ("thing[1].rpm", 5)]


def test_a_table_of_no_known_kind_is_told_where_it_begins() -> None:
    assert problems("[[thing]]\nwatts = 1\n") == [("thing[0]", 1)]
    assert problems('\n[[thing]]\nkind = "cat"\n') == [("thing[0]", 2)]


def test_what_holds_for_the_array_is_checked_too() -> None:
    assert problems('[[thing]]\nkind = "lamp"\nwatts = 1\n' * 4) == [("thing", 1)]


def test_tables_in_tables_of_arrays_have_their_lines() -> None:
    text = "[[a]]\n[a.b]\nc = 1\n[[a]]\n[a.b]\nc = 2\n[[a.d]]\ne = 3\n[[a.d]]\ne = 4\n"
    lines = line_numbers(text)
    assert (lines["a[0].b.c"], lines["a[1].b.c"], lines["a[1].d[0].e"], lines["a[1].d[1].e"]) == (3, 6, 8, 10)
