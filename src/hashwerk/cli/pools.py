"""`hashwerk pools`: what pools make of the work that was handed in to them."""

from __future__ import annotations

import asyncio
import datetime as dt
import os
import re
from decimal import Decimal, InvalidOperation
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import click

from hashwerk.cli.output import json_option, print_json
from hashwerk.errors import ConfigError

if TYPE_CHECKING:
    from hashwerk.economics.network_days import NetworkDay
    from hashwerk.economics.ports import PoolAccount
    from hashwerk.economics.reconcile import Reconciliation
    from hashwerk.economics.schemes import Terms

#: Where a key may stand that is not to be in a file. On the command line everybody on the machine could read it.
KEY_VARIABLE = "HASHWERK_POOL_KEY"
_POOLS = ("braiins", "luxor", "f2pool", "ocean")
_SCHEMES = ("PPS", "FPPS", "PPLNS", "TIDES", "solo")
_HUNDRED = Decimal(100)


def percent(text: str) -> Decimal:
    """Return a percentage as a share of one."""
    try:
        share = Decimal(text.removesuffix("%")) / _HUNDRED
    except InvalidOperation as error:
        raise click.BadParameter(f"{text!r} is no percentage") from error
    if not 0 <= share <= 1:
        raise click.BadParameter(f"{text!r} is not between 0 and 100 per cent")
    return share


def day(text: str) -> dt.date:
    """Return a day written as 2026-03-01."""
    try:
        return dt.date.fromisoformat(text)
    except ValueError as error:
        raise click.BadParameter(f"{text!r} is no day; write it as 2026-03-01") from error


def time_of_day(text: str) -> int:
    """Return a time of day written as 08:00 in seconds after midnight; 24:00 is the next day's begin."""
    match = re.fullmatch(r"(\d\d?):(\d\d)", text)
    seconds = int(match[1]) * 3600 + int(match[2]) * 60 if match and int(match[2]) < 60 else None
    if seconds is None or seconds > 86_400:
        raise click.BadParameter(f"{text!r} is no time of day; write it as 08:00")
    return seconds


@click.group()
def pools() -> None:
    """Compare what was proved here with what pools credit and pay."""


@pools.command()
@click.option("--pool", required=True, type=click.Choice(_POOLS), help="Whose books are read.")
@click.option("--upstream", help="The upstream's name in the ledger, where it is not the pool's.")
@click.option("--from", "first", required=True, type=day, metavar="DAY", help="The first day.")
@click.option("--to", "last", required=True, type=day, metavar="DAY", help="The last day, included.")
@click.option(
    "--csv",
    "files",
    multiple=True,
    type=click.Path(path_type=Path, exists=True, dir_okay=False),
    help="An export of the account, in place of its API; may be given several times (days, workers, payouts).",
)
@click.option("--account", help="The account, subaccount or payout address at the pool, for its API.")
@click.option(
    "--key-file",
    type=click.Path(path_type=Path, exists=True, dir_okay=False),
    help=f"A file with the API's read-only key; without it, the variable {KEY_VARIABLE}.",
)
@click.option(
    "--scheme", type=click.Choice(_SCHEMES), help="The payout scheme, where it is not the pool's usual one."
)
@click.option(
    "--fee",
    type=percent,
    metavar="PERCENT",
    help="The pool's fee in per cent, as agreed; needed with --chain.",
)
@click.option(
    "--fee-on-fees", type=percent, metavar="PERCENT", help="Its fee on transaction fees, where it differs."
)
@click.option(
    "--chain",
    "chain_file",
    type=click.Path(path_type=Path, exists=True, dir_okay=False),
    help="The network's days: CSV with day, difficulty, subsidy_sat, fees_low_sat, fees_high_sat. Without it pay is not judged.",
)
@click.option(
    "--pool-share",
    type=percent,
    metavar="PERCENT",
    help="This account's share of the pool's work, where luck decides.",
)
@click.option(
    "--day-start",
    type=time_of_day,
    metavar="HH:MM",
    default="00:00",
    show_default=True,
    help="When the pool's day begins, UTC.",
)
@click.option(
    "--tolerance-s",
    default=120,
    show_default=True,
    help="How far the pool's clock may be from ours, in seconds.",
)
@click.option("--url", help="Another address in place of the pool's API, for a mirror or a gateway.")
@click.option("--data-dir", type=click.Path(path_type=Path), help="The data folder of the mine.")
@click.option("--network", default="main", show_default=True, help="The network of the mine.")
@json_option
def reconcile(**options: Any) -> None:
    """Say day by day what was proved here, accepted, credited and paid there, and whether it agrees.

    Ends with 1 if the pool has less than it should.

    \b
    Example:
        hashwerk pools reconcile --pool braiins --from 2026-03-01 --to 2026-03-31 --csv rewards.csv
    """
    result = _reconcile(**{key: value for key, value in options.items() if key != "as_json"})
    if options["as_json"]:
        from hashwerk.economics.reconcile import as_builtins

        print_json(as_builtins(result))
    else:
        from rich.console import Console

        from hashwerk.cli.pools_view import show

        show(result, Console())
    if result.verdict.name == "SHORT":
        raise SystemExit(1)


def _reconcile(**options: Any) -> Reconciliation:
    from hashwerk.economics.judge import Allowance
    from hashwerk.feeds.pool_accounts.chain_days import read_chain
    from hashwerk.site.folder import DataFolder, default_data_dir
    from hashwerk.site.pool_books import compare

    first, last = options["first"], options["last"]
    if first > last:
        raise click.UsageError("--from lies after --to")
    if options["chain_file"] and options["fee"] is None:
        raise click.UsageError("--chain needs --fee: what is owed depends on it")
    terms = _terms(options)
    account = _account(options)
    network_of = read_chain(options["chain_file"]) if options["chain_file"] else None
    folder = DataFolder(options["data_dir"] or default_data_dir(), options["network"])
    return asyncio.run(
        compare(
            account,
            folder.ledger,
            options["upstream"] or options["pool"],
            first,
            last,
            terms=terms,
            network_of=network_of,
            allowance=Allowance(boundary_s=options["tolerance_s"]),
            pool_share=options["pool_share"] or None,
        )
    )


def _terms(options: dict[str, Any]) -> Terms:
    from hashwerk.economics.schemes import Scheme, Terms
    from hashwerk.feeds.pool_accounts import POOLS

    scheme = Scheme(options["scheme"]) if options["scheme"] else POOLS[options["pool"]].scheme
    try:
        return Terms(
            scheme=scheme, pool_fee=options["fee"] or Decimal(0), fees_pool_fee=options["fee_on_fees"]
        )
    except ValueError as error:
        raise click.UsageError(str(error)) from error


def _account(options: dict[str, Any]) -> PoolAccount:
    from hashwerk.feeds.pool_accounts import POOLS, open_files

    pool = options["pool"]
    if options["files"]:
        return open_files(pool, options["files"], options["day_start"])
    key = ""
    if POOLS[pool].needs_key:
        key = _key(options["key_file"])
    if not options["account"] and pool != "braiins":  # there the key alone names the account
        raise click.UsageError(f"--account says whose books {pool} is asked for; or give --csv")
    if options["url"]:
        _refuse_plain(options["url"])
    return POOLS[pool].open(key, options["account"] or "", options["day_start"], options["url"])


def _refuse_plain(url: str) -> None:
    """Refuse an address that would carry the key through a network in the clear."""
    parts = urlsplit(url)
    if parts.scheme != "https" and not (
        parts.scheme == "http" and parts.hostname in {"127.0.0.1", "::1", "localhost"}
    ):
        raise click.UsageError("--url must be https, or http on this machine: the key travels with it")


def _key(path: Path | None) -> str:
    try:
        key = path.read_text().strip() if path else os.environ.get(KEY_VARIABLE, "").strip()
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"the key file {path} cannot be read") from error
    if not key or not key.isascii() or not key.isprintable():
        raise click.UsageError(
            f"the API needs a key: --key-file or the variable {KEY_VARIABLE}; or give --csv"
        )
    return key


@pools.command()
@click.option("--from", "first", required=True, type=day, metavar="DAY", help="The first day.")
@click.option("--to", "last", required=True, type=day, metavar="DAY", help="The last day, included.")
@click.option(
    "--node",
    default="http://127.0.0.1:8332",
    show_default=True,
    help="Bitcoin Core's RPC, not pruned for these days.",
)
@click.option(
    "--cookie-file",
    type=click.Path(path_type=Path),
    default="~/.bitcoin/.cookie",
    show_default=True,
    help="Bitcoin Core's .cookie file.",
)
@json_option
def chain(first: dt.date, last: dt.date, node: str, cookie_file: Path, as_json: bool) -> None:
    """Write the network's days, difficulty, subsidy and fees, as `reconcile --chain` reads them, from a node's own blocks.

    \b
    Example:
        hashwerk pools chain --from 2026-03-01 --to 2026-03-31 > chain.csv
    """
    from rich.console import Console
    from rich.progress import Progress

    from hashwerk.cli.pools_chain import as_csv, read_days
    from hashwerk.node.core_rpc import Credentials, RpcClient

    if first > last:
        raise click.UsageError("--from lies after --to")
    progress = Progress(console=Console(stderr=True), transient=True, disable=as_json)

    credentials = Credentials(cookie_file=cookie_file.expanduser())

    async def read() -> list[NetworkDay]:
        client = RpcClient(node, credentials, default_port=8332, timeout_s=60.0)
        task = progress.add_task("blocks", total=None)
        try:
            return await read_days(
                client, first, last, lambda done, of: progress.update(task, completed=done, total=of)
            )
        finally:
            await client.close()

    with progress:
        days = asyncio.run(read())
    if as_json:
        print_json(days)
    else:
        click.echo(as_csv(days), nl=False)
