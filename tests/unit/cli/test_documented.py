"""Nothing that a user can set, type or scrape goes without words."""

import typing

import click
import msgspec
import pytest

from hashwerk.cli import COMMANDS, cli
from hashwerk.config.decode import describe
from hashwerk.config.site import SiteConfig


def _commands() -> list[tuple[str, click.Command]]:
    found: list[tuple[str, click.Command]] = []
    with click.Context(cli) as context:
        for name in COMMANDS:
            command = cli.get_command(context, name)
            assert command is not None
            found.append((name, command))
            if isinstance(command, click.Group):
                for sub in command.list_commands(context):
                    inner = command.get_command(context, sub)
                    assert inner is not None
                    found.append((f"{name} {sub}", inner))
    return found


def _plain(kind: object) -> object:
    while typing.get_origin(kind) is typing.Annotated:
        kind = typing.get_args(kind)[0]
    return kind


def _settings(kind: type[msgspec.Struct], path: str) -> list[tuple[str, msgspec.structs.FieldInfo]]:
    found = []
    for field in msgspec.structs.fields(kind):
        inner = _plain(field.type)
        found.append((f"{path}{field.name}", field))
        if isinstance(inner, type) and issubclass(inner, msgspec.Struct):
            found += _settings(inner, f"{path}{field.name}.")
    return found


@pytest.mark.parametrize(
    ("name", "command"), _commands(), ids=lambda value: value if isinstance(value, str) else ""
)
def test_every_command_has_help_example_and_json(name: str, command: click.Command) -> None:
    assert command.help
    if isinstance(command, click.Group):
        return
    assert f"hashwerk {name}" in command.help, "an example"
    options = {option for parameter in command.params for option in parameter.opts}
    assert "--json" in options
    for parameter in command.params:
        if isinstance(parameter, click.Option):
            assert parameter.help, f"{name} {parameter.opts}"


@pytest.mark.parametrize(
    ("path", "field"), _settings(SiteConfig, ""), ids=lambda v: v if isinstance(v, str) else ""
)
def test_every_setting_is_described(path: str, field: msgspec.structs.FieldInfo) -> None:
    text = describe(field)
    assert text, path
    assert text.endswith("."), path
