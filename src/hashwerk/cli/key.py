"""`hashwerk key`: the keys that sign a site's evidence."""

from __future__ import annotations

import os
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from hashwerk.cli.output import json_option, print_json
from hashwerk.cli.prove import ledger_folder
from hashwerk.errors import ConfigError, StoreError

if TYPE_CHECKING:
    from collections.abc import Callable

    from hashwerk.evidence.keys import KeyEvent

_KINDS = ("genesis", "rotation", "revocation")


def _where(function: Callable[..., Any]) -> Callable[..., Any]:
    """Add the options that name a mine."""
    function = click.option("--network", help="Which of the folder's chains.  [default: the only one]")(
        function
    )
    return click.option(
        "--data-dir", type=click.Path(path_type=Path), help="Folder of the mine.  [default: the user's own]"
    )(function)


@click.group()
def key() -> None:
    """Show and change the keys that sign the site's evidence.

    \b
    Example:
        hashwerk key show
        hashwerk key backup -o keys.backup
        hashwerk key rotate
    """


@key.command()
@_where
@json_option
def show(*, data_dir: Path | None, network: str | None, as_json: bool) -> None:
    """Show the fingerprint to pin, and every change of the key since the beginning.

    \b
    Example:
        hashwerk key show --json
    """
    from hashwerk.store.connection import connect_reader
    from hashwerk.store.epochs import read_key_events

    folder = ledger_folder(data_dir, network)
    connection = connect_reader(folder / "ledger.sqlite")
    try:
        events = read_key_events(connection)
    finally:
        connection.close()
    data = _describe(folder.parent, events)
    if as_json:
        print_json(data)
        return
    if not events:
        click.echo("Nothing is signed yet: the site begins when the mine first starts.")
        return
    click.echo(f"site         {data['site']}\nkey          {data['key']}\nnext key     {data['next']}")
    if data["rotation_asked"]:
        click.echo("A rotation is asked for: it happens with the next epoch.")
    if data["recovery_here"]:
        click.echo("The recovery key still lies in the data folder: take it off this machine.")
    for event in data["events"]:
        click.echo(f"{event['kind']:<12} {event['key']} from epoch {event['from_epoch']}")


@key.command()
@_where
@json_option
def rotate(*, data_dir: Path | None, network: str | None, as_json: bool) -> None:
    """Let the next key, committed before, take over. Works beside a running mine: with its next epoch.

    \b
    Example:
        hashwerk key rotate
    """
    from hashwerk.store.key_changes import ask_rotation, rotate_stopped

    folder = ledger_folder(data_dir, network)
    try:
        event = rotate_stopped(folder / "ledger.sqlite", folder.parent, int(time.time() * 1e6))
    except StoreError as error:
        if "locked by process" not in str(error):
            raise
        ask_rotation(folder / "ledger.sqlite", folder.parent)
        _say(
            {"rotated": False, "asked": True}, "The mine runs: the key changes with its next epoch.", as_json
        )
    else:
        _changed(event, as_json)


@key.command()
@_where
@click.option(
    "--recovery",
    type=click.Path(path_type=Path, dir_okay=False, exists=True),
    required=True,
    help="File with the recovery key.",
)
@json_option
def revoke(*, data_dir: Path | None, network: str | None, recovery: Path, as_json: bool) -> None:
    """Take the right to sign from the present key, and give it to a new one. The mine must not run.

    Evidence that others stamped before stands; what the lost key signs from now on does not.

    \b
    Example:
        hashwerk key revoke --recovery /media/stick/site-recovery.key
    """
    from hashwerk.evidence.key_files import read_key
    from hashwerk.store.key_changes import revoke_stopped

    folder = ledger_folder(data_dir, network)
    event = revoke_stopped(
        folder / "ledger.sqlite", folder.parent, read_key(recovery), int(time.time() * 1e6)
    )
    _changed(event, as_json)


@key.command()
@click.option(
    "--data-dir", type=click.Path(path_type=Path), help="Folder of the mine.  [default: the user's own]"
)
@click.option(
    "-o", "--output", type=click.Path(path_type=Path, dir_okay=False), required=True, help="File to write."
)
@json_option
def backup(*, data_dir: Path | None, output: Path, as_json: bool) -> None:
    """Write all keys into one file that a passphrase opens.

    The passphrase is asked for, or read from standard input when that is not a terminal.

    \b
    Example:
        hashwerk key backup -o keys.backup
    """
    from hashwerk.evidence.key_files import CURRENT, open_keys, seal_keys

    root = _root(data_dir)
    if not (root / CURRENT).exists():
        raise ConfigError(f"{root}: there are no keys here; give --data-dir")
    sealed = seal_keys(open_keys(root), _passphrase(confirm=True))
    try:
        handle = os.open(output, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except OSError as error:
        raise ConfigError(f"{output}: cannot be written: {error.strerror}") from error
    with os.fdopen(handle, "wb") as file:
        file.write(sealed)
    _say({"file": str(output), "bytes": len(sealed)}, f"{output}: {len(sealed)} bytes", as_json)


@key.command()
@click.argument("file", metavar="FILE", type=click.Path(path_type=Path, dir_okay=False, exists=True))
@click.option(
    "--data-dir", type=click.Path(path_type=Path), help="Folder of the mine.  [default: the user's own]"
)
@json_option
def restore(*, file: Path, data_dir: Path | None, as_json: bool) -> None:
    """Put the keys of a backup into a data folder that has none.

    \b
    Example:
        hashwerk key restore keys.backup
    """
    from hashwerk.evidence.key_files import CURRENT, NEXT, RECOVERY, unseal_keys, write_key
    from hashwerk.evidence.keys import fingerprint, public_bytes

    root = _root(data_dir)
    for name in (CURRENT, NEXT, RECOVERY):
        if (root / name).exists():
            raise ConfigError(f"{root / name} exists; keys are never overwritten, move it away first")
    keys = unseal_keys(file.read_bytes(), _passphrase(confirm=False))
    root.mkdir(parents=True, exist_ok=True, mode=0o700)
    for name, secret in ((RECOVERY, keys.recovery), (NEXT, keys.next), (CURRENT, keys.current)):
        if secret is not None:
            write_key(root / name, secret)
    name = fingerprint(public_bytes(keys.current))
    _say({"key": name, "folder": str(root)}, f"{root}: the keys are back; the key is {name}", as_json)


def _describe(root: Path, events: tuple[KeyEvent, ...]) -> dict[str, Any]:
    from hashwerk.evidence.key_files import RECOVERY
    from hashwerk.evidence.keys import event_hash, fingerprint
    from hashwerk.store.key_changes import is_asked

    return {
        "site": event_hash(events[0].body).hex() if events else None,
        "key": fingerprint(events[-1].body.key) if events else None,
        "next": events[-1].body.next_hash.hex() if events else None,
        "rotation_asked": bool(events) and is_asked(root, len(events)),
        "recovery_here": (root / RECOVERY).exists(),
        "events": [
            {
                "kind": _KINDS[event.body.kind],
                "key": fingerprint(event.body.key),
                "from_epoch": event.body.from_epoch,
                "at": event.body.at_us / 1e6,
            }
            for event in events
        ],
    }


def _changed(event: KeyEvent, as_json: bool) -> None:
    from hashwerk.evidence.keys import fingerprint

    name, number = fingerprint(event.body.key), event.body.from_epoch
    _say(
        {"rotated": True, "asked": False, "key": name, "from_epoch": number},
        f"The key is now {name}, from epoch {number} on. Make a new backup.",
        as_json,
    )


def _say(data: dict[str, Any], text: str, as_json: bool) -> None:
    if as_json:
        print_json(data)
    else:
        click.echo(text)


def _root(data_dir: Path | None) -> Path:
    from hashwerk.site.folder import default_data_dir

    return (data_dir or default_data_dir()).expanduser().absolute()


def _passphrase(*, confirm: bool) -> str:
    if sys.stdin.isatty():
        return str(click.prompt("Passphrase", hide_input=True, confirmation_prompt=confirm, err=True))
    return sys.stdin.readline().rstrip("\n")
