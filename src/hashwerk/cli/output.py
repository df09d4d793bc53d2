"""How the command line speaks: text for people, one JSON object for programs."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any, TypeVar

import click
import msgspec

from hashwerk.errors import HashwerkError

Function = TypeVar("Function", bound=Callable[..., Any])


def json_option(function: Function) -> Function:
    """Add ``--json`` to a command."""
    return click.option(
        "--json", "as_json", is_flag=True, help="Print JSON for programs instead of text for people."
    )(function)


def print_json(value: Any, *, indent: bool = True) -> None:
    """Print a struct or plain data as JSON on standard output."""
    encoded = msgspec.json.encode(value)
    click.echo((msgspec.json.format(encoded, indent=2) if indent else encoded).decode())


def report_error(error: HashwerkError) -> None:
    """Print an error as one clear message; as JSON when the command was asked for JSON."""
    if "--json" in sys.argv:
        print_json(
            {"error": {"message": str(error), "kind": type(error).__name__, "retry": error.retry}},
            indent=False,
        )
    else:
        click.echo(f"hashwerk: {error}", err=True)
