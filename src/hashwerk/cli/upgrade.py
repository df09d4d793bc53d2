"""`hashwerk upgrade`: replace the running server; its machines keep their connections."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import click

from hashwerk.cli.output import json_option, print_json
from hashwerk.errors import HashwerkError


@click.command()
@click.option("--data-dir", type=click.Path(path_type=Path), help="The data folder of the running mine.")
@click.option("--network", default="testnet4", show_default=True, help="The network of the running mine.")
@json_option
def upgrade(data_dir: Path | None, network: str, as_json: bool) -> None:
    """Replace the running server with the version that is installed now, without losing a connection.

    \b
    Example:
        hashwerk upgrade
    """
    from hashwerk.site.folder import DataFolder, default_data_dir

    folder = DataFolder(data_dir or default_data_dir(), network)
    pid = folder.running_pid()
    if pid is None:
        raise HashwerkError(f"no mine runs on {folder.here}")
    os.kill(pid, signal.SIGHUP)
    if as_json:
        print_json({"asked": pid})
    else:
        click.echo(
            f"Asked process {pid} to replace its server. The page and `hashwerk run` show when it is done."
        )
