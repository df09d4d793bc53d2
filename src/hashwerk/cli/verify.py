"""`hashwerk verify`: recompute everything a bundle claims, offline."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from hashwerk.cli.output import json_option, print_json
from hashwerk.errors import ConfigError

if TYPE_CHECKING:
    from hashwerk.evidence.verify import Options, Report

_EXIT_CODES = """
\b
Exit codes:
  0  valid: every claim of every bundle holds
  2  the command line cannot be used
  9  invalid, incomplete, or not readable
"""


@click.command(epilog=_EXIT_CODES)
@click.argument(
    "files",
    metavar="FILE…",
    nargs=-1,
    required=True,
    type=click.Path(path_type=Path, dir_okay=False, exists=True),
)
@click.option(
    "--headers",
    type=click.Path(path_type=Path, dir_okay=False, exists=True),
    help="Block headers, 80 bytes each, from a known block on.",
)
@click.option("--node", help="URL of a Bitcoin Core node's RPC to take block headers from.")
@click.option(
    "--checkpoint", help="A block you know, HEIGHT:HASH, instead of those that come with the program."
)
@click.option(
    "--key", help="Fingerprint of the operator's key, or the site's hash: pins who made the bundle."
)
@click.option(
    "--witness", "witnesses", multiple=True, help="Fingerprint of a witness you trust; can be repeated."
)
@click.option(
    "--tsa-roots",
    type=click.Path(path_type=Path, dir_okay=False, exists=True),
    help="PEM file with roots of time-stamping authorities you trust.",
)
@click.option(
    "--receipts",
    type=click.Path(path_type=Path, dir_okay=False, exists=True),
    help="File with receipts to hold against the bundle.",
)
@click.option(
    "--countersign",
    type=click.Path(path_type=Path, dir_okay=False, exists=True),
    help="Serve as a witness: sign with this key file that the last epoch of a valid bundle exists now.",
)
@click.option(
    "--statement",
    "statement_file",
    type=click.Path(path_type=Path, dir_okay=False),
    help="Where --countersign writes; for hashwerk prove --stamp.",
)
@click.option(
    "--report",
    "report_file",
    type=click.Path(path_type=Path, dir_okay=False),
    help="Write the statement for people: a file ending in .html or .pdf.",
)
@json_option
def verify(
    *,
    files: tuple[Path, ...],
    headers: Path | None,
    node: str | None,
    checkpoint: str | None,
    key: str | None,
    witnesses: tuple[str, ...],
    tsa_roots: Path | None,
    receipts: Path | None,
    countersign: Path | None,
    statement_file: Path | None,
    report_file: Path | None,
    as_json: bool,
) -> None:
    """Check bundles of evidence and say what each check is worth. Needs no network.

    Several bundles are also held against each other.

    \b
    Example:
        hashwerk verify hour.hwe
        hashwerk verify --headers headers.bin --key FINGERPRINT month.hwe other.hwe
    """
    from hashwerk.evidence.verify import verify_bundles

    options = _options(
        headers,
        node,
        checkpoint=checkpoint,
        key=key,
        witnesses=witnesses,
        tsa_roots=tsa_roots,
        receipts=receipts,
    )
    reports = verify_bundles(files, options)
    if countersign is not None:
        _countersign(files, reports, countersign, statement_file)
    if report_file is not None:
        from hashwerk.evidence.report import write_report

        write_report(reports[0], report_file)
    if as_json:
        print_json(reports[0].as_data() if len(reports) == 1 else _several(files, reports))
    else:
        from rich.console import Console

        for file, report in zip(files, reports, strict=True):
            show(Console(), str(file), report)
        if len(reports) > 1:
            _show_together(Console(), reports)
    if not all(report.ok for report in reports):
        raise SystemExit(9)


def _countersign(files: tuple[Path, ...], reports: list[Report], key_file: Path, out: Path | None) -> None:
    """Witness the last epoch of one valid bundle."""
    import time

    from hashwerk.evidence.key_files import read_key
    from hashwerk.evidence.stamps import countersign

    if out is None or len(files) != 1:
        raise ConfigError("--countersign takes one bundle, and --statement FILE to write to")
    if not reports[0].ok:
        return  # a witness signs nothing that does not hold; the report says why
    period, site = reports[0].statement["period"], reports[0].statement["site"]
    key, number = read_key(key_file), period["epochs"][1]
    out.write_bytes(
        countersign(
            bytes.fromhex(site["id"]),
            number,
            bytes.fromhex(period["last_epoch"]),
            key,
            int(time.time() * 1e6),
        )
    )


def show(console: Any, title: str, report: Report) -> None:
    """Print a report as a table."""
    from rich.table import Table
    from rich.text import Text

    colour = {"valid": "green", "incomplete": "yellow", "invalid": "red"}[str(report.verdict)]
    console.print(
        Text(f"{report.verdict} ({report.subject}): {title}", style=f"bold {colour}"), soft_wrap=True
    )
    table = Table(show_edge=False, pad_edge=False)
    for name in ("", "check", "worth", "what was found"):
        table.add_column(name)
    for check in report.checks:
        detail = check.detail if check.ok else f"{check.detail}\n{check.meaning}"
        mark = Text("✓", style="green") if check.ok else Text("✗", style="red")
        table.add_row(mark, check.name, Text(check.label), Text(detail))
    console.print(table)
    for line in report.statement.get("not_shown", []):
        console.print(Text(f"not shown: {line}", style="dim"))


def _show_together(console: Any, reports: list[Report]) -> None:
    """Print what several bundles show as one, or why they cannot be added up."""
    from rich.table import Table
    from rich.text import Text

    from hashwerk.evidence.verify import together

    whole = together(reports)
    console.print(Text(f"together ({whole['subject']}): {len(reports)} bundles", style="bold"))
    table = Table(show_edge=False, pad_edge=False)
    for name in ("figure", "value", "95 % interval", "worth"):
        table.add_column(name)
    for name, one in whole["figures"].items():
        low, high = one.get("low"), one.get("high")
        interval = "" if low is None or high is None else f"{low:.6g} – {high:.6g}"
        value = f"{one['value']:.6g}" if isinstance(one["value"], float) else f"{int(one['value']):,}"
        table.add_row(name.replace("_", " "), f"{value} {one['unit']}", interval, Text(one["label"]))
    console.print(table if whole["figures"] else Text(f"not shown: {whole['not_shown'][0]}", style="dim"))


def _several(files: tuple[Path, ...], reports: list[Report]) -> dict[str, Any]:
    from hashwerk.evidence.verify import together

    order = ["valid", "incomplete", "invalid"]
    worst = max((str(report.verdict) for report in reports), key=order.index)
    subjects = {report.subject for report in reports}
    return {
        "verdict": worst,
        "subject": subjects.pop() if len(subjects) == 1 else "simulation",
        "checks": [
            {**check, "file": str(file)}
            for file, report in zip(files, reports, strict=True)
            for check in report.as_data()["checks"]
        ],
        "statement": {str(file): report.statement for file, report in zip(files, reports, strict=True)},
        "together": together(reports),
        "bundles": [{"file": str(f), **r.as_data()} for f, r in zip(files, reports, strict=True)],
    }


def _options(
    headers: Path | None,
    node: str | None,
    *,
    checkpoint: str | None,
    key: str | None,
    witnesses: tuple[str, ...],
    tsa_roots: Path | None,
    receipts: Path | None,
) -> Options:
    from cryptography import x509

    from hashwerk.evidence.receipt import read_receipts
    from hashwerk.evidence.verify import Options

    if headers is not None and node is not None:
        raise ConfigError("give --headers or --node, not both")
    data = None if headers is None else headers.read_bytes()
    roots: tuple[x509.Certificate, ...] = ()
    if tsa_roots is not None:
        try:
            roots = tuple(x509.load_pem_x509_certificates(tsa_roots.read_bytes()))
        except ValueError as error:
            raise ConfigError(f"{tsa_roots}: not a PEM file of certificates: {error}") from error
    point = None if checkpoint is None else parse_checkpoint(checkpoint)
    if node is not None:
        if point is None:
            raise ConfigError("with --node give --checkpoint HEIGHT:HASH, the block to begin at")
        data = _headers_of(node, point.height)
    return Options(
        headers=data,
        checkpoints=None if point is None else (point,),
        key=key,
        tsa_roots=roots,
        witnesses=frozenset(name.lower() for name in witnesses),
        receipts=() if receipts is None else read_receipts(receipts.read_bytes()),
    )


def parse_checkpoint(text: str) -> Any:
    """Return the block that ``HEIGHT:HASH`` names.

    Raises:
        ConfigError: If it does not name one.
    """
    from hashwerk.chain.header import hash_from_hex
    from hashwerk.errors import DecodeError
    from hashwerk.evidence.blockchain import Checkpoint

    height, _, hash_ = text.partition(":")
    try:
        return Checkpoint(int(height), hash_from_hex(hash_))
    except (ValueError, DecodeError) as error:
        raise ConfigError(f"not a block: {text!r}; write HEIGHT:HASH") from error


def _headers_of(url: str, first: int) -> bytes:
    """Return the headers of a node's chain from a height on.

    Raises:
        ConfigError: If the node does not answer as Bitcoin Core does.
    """
    import httpx

    with httpx.Client(timeout=30) as http:

        def call(method: str, *params: Any) -> Any:
            answer = http.post(url, json={"id": 1, "method": method, "params": params})
            answer.raise_for_status()
            return answer.json()["result"]

        try:
            last = int(call("getblockcount"))
            return b"".join(
                bytes.fromhex(call("getblockheader", call("getblockhash", height), False))
                for height in range(first, last + 1)
            )
        except (httpx.HTTPError, KeyError, TypeError, ValueError) as error:
            raise ConfigError(f"the node gives no headers: {error}") from error
