"""`hashwerk check-config`: every problem of a site file, with its line and what to do."""

from __future__ import annotations

from pathlib import Path

import click

from hashwerk.cli.output import json_option, print_json


@click.command("check-config")
@click.argument("site_file", metavar="SITE.toml", type=click.Path(path_type=Path))
@json_option
def check_config(site_file: Path, as_json: bool) -> None:
    """Check a site file and report every problem, each with its line and a hint.

    \b
    Example:
        hashwerk check-config site.toml
    """
    from hashwerk.config.problems import InvalidConfigError
    from hashwerk.config.site import load_site

    try:
        load_site(site_file)
    except InvalidConfigError as error:
        if not as_json:
            raise
        print_json({"ok": False, "problems": error.problems})
        raise SystemExit(error.exit_code) from error
    if as_json:
        print_json({"ok": True, "problems": []})
    else:
        click.echo(f"{site_file}: no problem found")
