"""Pages that cannot rot: every formulation has its page, every setting of a backtest is in the guide."""

from __future__ import annotations

import importlib
import pkgutil
import re
import typing
from pathlib import Path

import msgspec
import pytest

from hashwerk.dispatch import formulation
from hashwerk.dispatch.backtest.settings import BacktestSettings, PolicyName

DOCS = Path(__file__).parents[3] / "docs"
#: Modules that build and hold the program but express no constraint.
WITHOUT_PAGE = {"build", "columns", "model", "program"}


def test_every_family_of_constraints_has_its_page_and_every_page_its_module() -> None:
    modules = {module.name for module in pkgutil.iter_modules(formulation.__path__)} - WITHOUT_PAGE
    pages = {path.stem for path in (DOCS / "formulations").glob("*.md")} - {"index"}
    assert modules == pages
    listed = set((DOCS / "formulations" / "index.md").read_text().split("```{toctree}")[1].split())
    assert pages <= listed
    for name in modules:
        module = importlib.import_module(f"hashwerk.dispatch.formulation.{name}")
        assert f"docs/formulations/{name}.md" in (module.__doc__ or "")


@pytest.mark.parametrize(
    "name",
    [
        "machines",
        "transitions",
        "balance",
        "limits",
        "battery",
        "demand",
        "coincident",
        "contracts",
        "carbon",
        "response",
    ],
)
def test_every_function_of_a_family_shows_its_inequality_and_its_dual(name: str) -> None:
    module = importlib.import_module(f"hashwerk.dispatch.formulation.{name}")
    functions = [
        value
        for key, value in vars(module).items()
        if key.startswith("add_") and value.__module__ == module.__name__
    ]
    assert functions
    text = " ".join(function.__doc__ or "" for function in functions)
    assert all(re.search(r"[≤≥=]|objective", function.__doc__ or "") for function in functions)
    assert "dual" in text.lower()


def structs(kind: object) -> set[type[msgspec.Struct]]:
    if isinstance(kind, type) and issubclass(kind, msgspec.Struct):
        found = {kind}
        for field in msgspec.structs.fields(kind):
            found |= structs(field.type)
        return found
    return {inner for part in typing.get_args(kind) for inner in structs(part)}


def test_every_setting_and_policy_is_in_the_guide() -> None:
    guide = (DOCS / "guide" / "backtest.md").read_text()
    # Contracts and places have pages of their own.
    for kind in {
        kind for kind in structs(BacktestSettings) if kind.__module__ == BacktestSettings.__module__
    }:
        for field in msgspec.structs.fields(kind):
            assert f"| `{field.encode_name}` |" in guide, f"{kind.__name__}.{field.encode_name}"
    for policy in typing.get_args(PolicyName):
        assert f"| `{policy}` |" in guide
