"""`hashwerk payout`: recompute what every account is due, from the bundle alone."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Final

import click
import msgspec

from hashwerk.cli.output import json_option, print_json
from hashwerk.errors import ConfigError, EvidenceError

#: So many blocks are told one by one, the last; JSON has all.
_SHOWN: Final = 10


@click.command()
@click.argument("file", metavar="FILE", type=click.Path(path_type=Path, dir_okay=False, exists=True))
@click.option(
    "--scheme",
    type=click.Choice(["declared", "solo", "proportional", "pplns", "tides", "fpps"]),
    default="declared",
    show_default=True,
    help="How rewards are shared; declared: by the rule in the bundle.",
)
@click.option("--fee", "fee_percent", type=click.FloatRange(0, 100), help="The operator's fee in per cent.")
@click.option(
    "--window",
    type=click.FloatRange(0, 1000, min_open=True),
    help="PPLNS: work in the window over the network's work for a block.",
)
@click.option(
    "--threshold", "threshold_sat", type=click.IntRange(0), help="Satoshi below which an amount stays owed."
)
@click.option("--account", help="Only this account: its commitment, 64 hexadecimal digits.")
@click.option(
    "--psbt",
    type=click.Path(path_type=Path, dir_okay=False),
    help="Write one unsigned transaction that pays all mature amounts out of the blocks' own rewards.",
)
@click.option(
    "--addresses",
    type=click.Path(path_type=Path, dir_okay=False, exists=True),
    help="JSON file for --psbt: account commitment to address; the key operator is who gets fees and what stays owed.",
)
@click.option(
    "--fee-rate",
    type=click.FloatRange(1, 10_000),
    default=5.0,
    show_default=True,
    help="Satoshi a virtual byte.",
)
@json_option
def payout(
    *,
    file: Path,
    scheme: str,
    fee_percent: float | None,
    window: float | None,
    threshold_sat: int | None,
    account: str | None,
    psbt: Path | None,
    addresses: Path | None,
    fee_rate: float,
    as_json: bool,
) -> None:
    """Recompute every account's payout from a bundle: by the declared rule, or by another to compare.

    Amounts are whole satoshi and sum to the rewards exactly. They are pending until their block is mature.

    \b
    Example:
        hashwerk payout month.hwe --scheme tides --json
    """
    from hashwerk.evidence.settlement import settle_bundle
    from hashwerk.evidence.verify.run import Options, inspect_bundle

    inspected = inspect_bundle(file, Options(keep_order=True))
    if inspected.report.verdict == "invalid":
        names = ", ".join(check.name for check in inspected.report.failures())
        raise EvidenceError(f"{file}: the bundle is invalid ({names}); see hashwerk verify {file}")
    settlement = settle_bundle(
        inspected,
        scheme=None if scheme == "declared" else scheme,
        fee_ppm=None if fee_percent is None else round(fee_percent * 10_000),
        window_ppm=None if window is None else round(window * 1_000_000),
        threshold_sat=threshold_sat,
    )
    data = settlement.as_data()
    if account is not None:
        data["accounts"] = [row for row in data["accounts"] if row["account"] == account.lower()]
        if not data["accounts"]:
            raise ConfigError(f"the bundle pays nothing to account {account}")
    if psbt is not None:
        if addresses is None:
            raise ConfigError("--psbt needs --addresses")
        data["psbt"] = _write_psbt(settlement, psbt, addresses, fee_rate)
    if as_json:
        print_json(data)
    else:
        _show(data)


def _write_psbt(settlement: Any, path: Path, addresses: Path, fee_rate: float) -> dict[str, Any]:
    from hashwerk.evidence.batch import build_batch

    try:
        known = msgspec.json.decode(addresses.read_bytes(), type=dict[str, str])
    except msgspec.DecodeError as error:
        raise ConfigError(f"{addresses}: not a JSON object of addresses: {error}") from error
    batch = build_batch(settlement, known, fee_rate)
    path.write_bytes(batch.psbt)
    return {
        "file": str(path),
        "txid": batch.txid,
        "inputs": batch.inputs,
        "outputs": batch.outputs,
        "fee_sat": batch.fee_sat,
    }


def _show(data: dict[str, Any]) -> None:
    from rich.console import Console
    from rich.table import Table

    from hashwerk.evidence.verify.result import counted

    console = Console()
    rule = data["rule"]
    console.print(
        f"{rule['scheme']}, fee {rule['fee_ppm'] / 10_000:g} %, {counted(len(data['blocks']), 'block')}"
    )
    table = Table(show_edge=False, pad_edge=False)
    for name in ("account", "mature sat", "pending sat", "owed sat"):
        is_name = name == "account"
        table.add_column(
            name,
            justify="left" if is_name else "right",
            overflow="fold" if is_name else "ellipsis",
            no_wrap=not is_name,
        )
    for row in data["accounts"]:
        table.add_row(
            row["account"], f"{row['mature_sat']:,}", f"{row['pending_sat']:,}", f"{row['owed_sat']:,}"
        )
    console.print(table)
    for block in data["blocks"][-_SHOWN:]:
        paid = ", ".join(f"{row['sat']:,} to {row['address'] or row['script']}" for row in block["coinbase"])
        console.print(f"block {block['height']} ({block['state']}): its coinbase pays {paid or 'nothing'}")
    console.print(
        f"rewards {data['reward_sat']:,} sat = payouts {data['paid_sat']:,} + fees {data['fee_sat']:,}"
    )
