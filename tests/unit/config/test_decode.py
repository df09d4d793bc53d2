"""Decoding reports every problem, each where it stands."""

from typing import Annotated

import msgspec
import pytest
from msgspec import Meta

from hashwerk.config.decode import decode_struct, line_numbers, parse_toml


class Inner(msgspec.Struct, frozen=True, kw_only=True):
    port: Annotated[int, Meta(description="Where it listens.", ge=1, le=65535)] = 1
    name: str = "x"


class Outer(msgspec.Struct, frozen=True, kw_only=True):
    inner: Annotated[Inner, Meta(description="A table.")] = Inner()
    title: Annotated[str, Meta(description="What it is called.")]


TEXT = """\
# a comment
colour = "red"

[inner]
prot = 3
port = 70000
name = 5
"""


def test_all_problems_with_their_lines() -> None:
    values, problems = parse_toml(TEXT)
    assert problems == []
    config, problems = decode_struct(Outer, values, line_numbers(TEXT))
    assert config is None
    found = {(problem.path, problem.line) for problem in problems}
    assert found == {("colour", 2), ("inner.prot", 5), ("inner.port", 6), ("inner.name", 7), ("title", None)}
    by_path = {problem.path: problem for problem in problems}
    assert by_path["inner.prot"].hint == "did you mean port?"
    assert by_path["inner.port"].hint == "Where it listens."
    assert "expected text" in by_path["inner.name"].message
    assert by_path["title"].message == "is required"


def test_a_syntax_error_names_its_line() -> None:
    _, (problem,) = parse_toml("a = 1\nb = = 2\n")
    assert problem.line == 2


def test_valid_values_make_the_struct() -> None:
    config, problems = decode_struct(Outer, {"title": "t", "inner": {"port": 80}}, {})
    assert problems == []
    assert config == Outer(title="t", inner=Inner(port=80))


@pytest.mark.parametrize("text", ["[a]\nb=1\n[c.d]\n e = 2", "[a]\r\nb = 1\r\n[c.d]\r\ne=2"])
def test_line_numbers(text: str) -> None:
    assert line_numbers(text) == {"a": 1, "a.b": 2, "c.d": 3, "c.d.e": 4}
