"""`hashwerk prove`: one file with all evidence of a period."""

from __future__ import annotations

import os
import re
import sqlite3
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

import click
import msgspec

from hashwerk.cli.output import json_option, print_json
from hashwerk.errors import ConfigError

_UNITS_S: Final = {"s": 1, "m": 60, "h": 3600, "d": 86_400, "w": 604_800}


@click.command()
@click.option(
    "--data-dir", type=click.Path(path_type=Path), help="Folder of the mine.  [default: the user's own]"
)
@click.option("--network", help="Which of the folder's chains.  [default: the only one]")
@click.option(
    "--from", "start", required=True, help="Begin: 2026-11-23T00:00Z, Unix seconds, or -1h before now."
)
@click.option("--to", "end", default="now", show_default=True, help="End, in the same forms, or now.")
@click.option(
    "-o", "--output", required=True, type=click.Path(path_type=Path, dir_okay=False), help="File to write."
)
@click.option("--fixed", is_flag=True, help="The period was fixed beforehand, so its intervals hold.")
@click.option("--note", default="", help="A line for the reader.")
@click.option(
    "--stamp",
    "stamps",
    multiple=True,
    type=click.Path(path_type=Path, dir_okay=False, exists=True),
    help="External stamp of one of the epochs: OpenTimestamps, RFC 3161 or a witness's statement; can be repeated.",
)
@click.option(
    "--document",
    type=click.Path(path_type=Path, dir_okay=False),
    help="Also write the document of the last epoch that external services are to stamp.",
)
@click.option(
    "--salts",
    type=click.Path(path_type=Path, dir_okay=False),
    help="Also write the accounts' names with the salts of their public hashes, each for its owner only.",
)
@json_option
def prove(
    *,
    data_dir: Path | None,
    network: str | None,
    start: str,
    end: str,
    output: Path,
    fixed: bool,
    note: str,
    stamps: tuple[Path, ...],
    document: Path | None,
    salts: Path | None,
    as_json: bool,
) -> None:
    """Write the evidence of a period into one file that anybody can verify offline.

    Works beside a running mine: all closed epochs that touch the period are in it. Of a mine that does not run, the
    open epoch is closed first.

    \b
    Example:
        hashwerk prove --from -1h --to now -o hour.hwe
        hashwerk verify hour.hwe
    """
    import time

    from hashwerk import __version__
    from hashwerk.errors import EvidenceError, StoreError
    from hashwerk.evidence.key_files import open_keys
    from hashwerk.evidence.records import Scale, Site
    from hashwerk.evidence.stamps import stamped_document
    from hashwerk.store.bundles import Period, close_stopped, write_bundle
    from hashwerk.store.connection import connect_reader
    from hashwerk.store.epochs import read_epochs

    now_us = int(time.time() * 1e6)
    period = Period(
        start_us=parse_time(start, now_us), end_us=parse_time(end, now_us), fixed_beforehand=fixed, note=note
    )
    if period.end_us <= period.start_us:
        raise ConfigError("the period ends before it starts")
    folder = ledger_folder(data_dir, network)
    ledger = folder / "ledger.sqlite"
    keys = open_keys(folder.parent)
    declared = [
        Site(name=folder.parent.name, network=folder.name, private=int(folder.name != "main")),
        Scale(factor=1, basis="one hash is one hash"),
    ]
    try:
        close_stopped(ledger, keys, declared, now_us, key_folder=folder.parent)
    except StoreError as error:
        if "locked by process" not in str(error):
            raise
    keys = open_keys(folder.parent)  # a change may just have been finished
    connection = connect_reader(ledger)
    temporary = output.with_name(output.name + ".part")
    try:
        with temporary.open("wb") as stream:
            manifest = write_bundle(
                connection,
                stream,
                keys.current,
                period,
                now_us=now_us,
                software=f"hashwerk {__version__}",
                stamps=[path.read_bytes() for path in stamps],
            )
        temporary.replace(output)
        if document is not None:
            (last,) = read_epochs(connection, manifest.last_epoch, manifest.last_epoch)
            document.write_bytes(stamped_document(last.signed.header))
        if salts is not None:
            write_salts(connection, salts)
    except OSError as error:
        raise EvidenceError(f"{output}: cannot be written: {error.strerror}") from error
    finally:
        connection.close()
        temporary.unlink(missing_ok=True)
    size = output.stat().st_size
    if as_json:
        print_json(
            {
                "file": str(output),
                "bytes": size,
                "site": manifest.site.hex(),
                "epochs": [manifest.first_epoch, manifest.last_epoch],
                "from": manifest.start_us / 1e6,
                "to": manifest.end_us / 1e6,
            }
        )
    else:
        click.echo(
            f"{output}: {size:,} bytes, epochs {manifest.first_epoch} to {manifest.last_epoch},"
            f" {_text(manifest.start_us)} to {_text(manifest.end_us)}; site {manifest.site.hex()}"
        )


def write_salts(connection: sqlite3.Connection, path: Path) -> None:
    """Write name, salt and commitment of every account into a file that only its owner can read."""
    rows = connection.execute("SELECT name, salt, commitment FROM accounts ORDER BY name").fetchall()
    listed = [{"name": name, "salt": salt.hex(), "account": account.hex()} for name, salt, account in rows]
    handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(handle, "wb") as file:
        file.write(msgspec.json.format(msgspec.json.encode(listed), indent=2) + b"\n")


def parse_time(text: str, now_us: int) -> int:
    """Return a time in microseconds: ISO 8601 (UTC unless it says otherwise), Unix seconds, ``-1h`` or ``now``.

    Raises:
        ConfigError: If it is none of these.
    """
    if text == "now":
        return now_us
    relative = re.fullmatch(r"-(\d+(?:\.\d+)?)([smhdw])", text)
    if relative:
        return now_us - int(float(relative[1]) * _UNITS_S[relative[2]] * 1e6)
    if re.fullmatch(r"\d+(\.\d+)?", text):
        return int(float(text) * 1e6)
    try:
        moment = datetime.fromisoformat(text)
    except ValueError as error:
        raise ConfigError(f"not a time: {text!r}; write 2026-11-23T12:00Z, -1h or now") from error
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=UTC)
    return round(moment.timestamp() * 1e6)


def ledger_folder(data_dir: Path | None, network: str | None) -> Path:
    """Return the folder of a mine's chain.

    Raises:
        ConfigError: If there is no ledger, or several to choose from.
    """
    from hashwerk.site.folder import default_data_dir

    root = (data_dir or default_data_dir()).expanduser().absolute()
    if network is not None:
        return root / network
    found = sorted(path.parent for path in root.glob("*/ledger.sqlite"))
    if not found:
        raise ConfigError(f"{root}: there is no ledger here; give --data-dir")
    if len(found) > 1:
        raise ConfigError(
            f"{root} holds several chains; choose with --network: {', '.join(p.name for p in found)}"
        )
    return found[0]


def _text(time_us: int) -> str:
    return datetime.fromtimestamp(time_us / 1e6, UTC).strftime("%Y-%m-%d %H:%M:%SZ")
