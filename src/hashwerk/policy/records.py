"""Where the records of rules come from: those that come with Hashwerk, and an operator's own."""

from __future__ import annotations

import importlib.resources
import tomllib
from decimal import Decimal
from pathlib import Path

import msgspec

from hashwerk.policy.rule import PolicyError, Rule, check_rule


def shipped_rules() -> tuple[Rule, ...]:
    """Return the records that come with Hashwerk.

    Raises:
        PolicyError: If one cannot be read.
    """
    folder = importlib.resources.files("hashwerk.policy") / "rules"
    names = sorted(one.name for one in folder.iterdir() if one.name.endswith(".toml"))
    return tuple(
        rule for name in names for rule in read_rules((folder / name).read_text(encoding="utf-8"), name)
    )


def load_rules(path: Path) -> tuple[Rule, ...]:
    """Return the records of an operator's own file.

    Raises:
        PolicyError: If it cannot be read.
    """
    try:
        return read_rules(path.read_text(encoding="utf-8"), path.name)
    except (OSError, UnicodeDecodeError) as error:
        raise PolicyError(f"no rules in {path}: {error}") from error


def read_rules(text: str, name: str) -> tuple[Rule, ...]:
    """Return the records of a TOML text with sections [[rules]], checked.

    Raises:
        PolicyError: If one cannot be used.
    """

    class File(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
        rules: tuple[Rule, ...]

    try:
        rules = msgspec.convert(tomllib.loads(text, parse_float=Decimal), type=File).rules
    except (tomllib.TOMLDecodeError, msgspec.ValidationError) as error:
        raise PolicyError(f"the rules in {name} cannot be read: {error}") from error
    for rule in rules:
        check_rule(rule)
    return rules
