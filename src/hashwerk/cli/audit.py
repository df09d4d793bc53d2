"""`hashwerk audit`: what a customer or an auditor asks of a running mine, and checks by himself."""

from __future__ import annotations

import secrets
import time
from pathlib import Path
from typing import Any, Final

import click
import msgspec

from hashwerk.cli.output import json_option, print_json
from hashwerk.errors import ConfigError, EvidenceError

_TIMEOUT_S: Final = 60.0
_LOOK_S: Final = 5.0
_OUTPUT = click.option(
    "-o", "--output", required=True, type=click.Path(path_type=Path, dir_okay=False), help="File to write."
)
_OWNER = click.option(
    "--owner",
    "owner_file",
    required=True,
    type=click.Path(path_type=Path, dir_okay=False, exists=True),
    help="JSON file with account and salt, as the operator gave it to you (of hashwerk prove --salts).",
)
_NAME = click.option("--name", help="Which account of that file.  [default: the only one]")
_EPOCH = click.option("--epoch", required=True, type=click.IntRange(1), help="A closed epoch.")


class Owner(msgspec.Struct, frozen=True):
    """An account and its secret, as the operator hands them out."""

    account: str
    salt: str
    name: str = ""


@click.group()
def audit() -> None:
    """Receipts, proofs and sampled openings from a running mine, and what they show.

    \b
    Example:
        hashwerk audit receipts http://mine:8080 --owner ada.json -o ada.receipts --follow
        hashwerk verify hour.hwe --receipts ada.receipts
    """


@audit.command()
@click.argument("url")
@_OWNER
@_NAME
@_OUTPUT
@click.option("--follow", is_flag=True, help="Go on collecting until interrupted.")
@json_option
def receipts(
    *, url: str, owner_file: Path, name: str | None, output: Path, follow: bool, as_json: bool
) -> None:
    """Collect the receipts for your shares: what the mine signs now it cannot deny later.

    The file is added to; what is in it is not asked for again.

    \b
    Example:
        hashwerk audit receipts http://mine:8080 --owner ada.json -o ada.receipts
    """
    collected = _Receipts(url, read_owner(owner_file, name), output)
    added = collected.collect()
    try:
        while follow:
            time.sleep(_LOOK_S)
            added += collected.collect()
    except KeyboardInterrupt:
        click.echo("", err=True)
    data = {"file": str(output), "added": added, "receipts": collected.count}
    if as_json:
        print_json(data)
    else:
        click.echo(f"{output}: {added:,} added, {collected.count:,} in all")


@audit.command("sum")
@click.argument("url")
@_OWNER
@_NAME
@_EPOCH
@_OUTPUT
@json_option
def sum_(*, url: str, owner_file: Path, name: str | None, epoch: int, output: Path, as_json: bool) -> None:
    """Get the proof of what your work adds up to in an epoch.

    \b
    Example:
        hashwerk audit sum http://mine:8080 --owner ada.json --epoch 7 -o ada-7.proof
    """
    owner = read_owner(owner_file, name)
    data = _ask(url, f"customer/{owner.account}/sum", owner.salt, epoch=epoch)[0]
    _keep(data, output, as_json=as_json)


@audit.command()
@click.argument("url")
@_OWNER
@_NAME
@_EPOCH
@click.option(
    "--position", required=True, type=click.IntRange(0), help="The share's, as its receipt names it."
)
@_OUTPUT
@json_option
def share(
    *, url: str, owner_file: Path, name: str | None, epoch: int, position: int, output: Path, as_json: bool
) -> None:
    """Get the proof that one of your shares is in an epoch.

    \b
    Example:
        hashwerk audit share http://mine:8080 --owner ada.json --epoch 7 --position 12 -o share.proof
    """
    owner = read_owner(owner_file, name)
    data = _ask(url, f"customer/{owner.account}/share", owner.salt, epoch=epoch, position=position)[0]
    _keep(data, output, as_json=as_json)


@audit.command()
@click.argument("url")
@_EPOCH
@click.option(
    "--draws",
    type=click.IntRange(1, 1_000),
    default=300,
    show_default=True,
    help="So many shares are opened.",
)
@click.option(
    "--token-file",
    type=click.Path(path_type=Path, dir_okay=False, exists=True),
    help="A file with an access token.",
)
@_OUTPUT
@json_option
def openings(
    *, url: str, epoch: int, draws: int, token_file: Path | None, output: Path, as_json: bool
) -> None:
    """Draw shares of an epoch by your own chance, have them opened, and check each.

    First the epoch's root is taken down, then the draw is made, so nobody can prepare for it. 300 draws find one per
    cent of invented work with 95 %.

    \b
    Example:
        hashwerk audit openings http://mine:8080 --epoch 7 -o epoch-7.proof
    """
    from hashwerk.evidence.proof_file import check_proof

    token = None if token_file is None else token_file.read_text(encoding="utf-8").strip()
    listed = msgspec.json.decode(_ask(url, "evidence/epochs", token, limit=1, before=epoch + 1)[0])["epochs"]
    if not listed or listed[0]["number"] != epoch:
        raise EvidenceError(f"epoch {epoch} is not closed")
    chance = secrets.token_bytes(32)
    data = _ask(url, "evidence/openings", token, epoch=epoch, randomness=chance.hex(), count=draws)[0]
    shown = check_proof(data, randomness=chance, drawn_from=bytes.fromhex(listed[0]["root"]))
    output.write_bytes(data)
    _show(output, shown, as_json=as_json)


@audit.command()
@click.argument("file", type=click.Path(path_type=Path, dir_okay=False, exists=True))
@click.option("--key", help="Fingerprint of the operator's key, or the site's hash: pins who signed.")
@json_option
def check(file: Path, key: str | None, as_json: bool) -> None:
    """Check a proof offline and say what it shows.

    \b
    Example:
        hashwerk audit check ada-7.proof --key FINGERPRINT
    """
    from hashwerk.evidence.proof_file import MAX_FILE_BYTES, check_proof

    if file.stat().st_size > MAX_FILE_BYTES:
        raise EvidenceError(f"{file}: no proof is as large as this")
    shown = check_proof(file.read_bytes())
    if key is not None and key.lower() not in (shown.key, shown.site):
        raise EvidenceError(f"{file}: it is not by the key {key[:16]}…")
    _show(file, shown, as_json=as_json)


def read_owner(path: Path, name: str | None) -> Owner:
    """Return account and salt of a file.

    Raises:
        ConfigError: If it holds none, or several and no name is given.
    """
    try:
        raw = path.read_bytes()
        found = (
            msgspec.json.decode(raw, type=list[Owner])
            if raw.lstrip()[:1] == b"["
            else [msgspec.json.decode(raw, type=Owner)]
        )
    except (OSError, msgspec.DecodeError) as error:
        raise ConfigError(f"{path}: not a file with account and salt: {error}") from error
    chosen = [owner for owner in found if name in (None, owner.name)]
    if len(chosen) != 1:
        names = ", ".join(owner.name for owner in found)
        raise ConfigError(f"{path}: choose one with --name: {names}")
    return chosen[0]


class _Receipts:
    """A file of receipts that grows."""

    def __init__(self, url: str, owner: Owner, output: Path) -> None:
        from hashwerk.evidence.receipt import read_receipts

        self._url, self._owner, self._output = url, owner, output
        held = read_receipts(output.read_bytes()) if output.exists() else ()
        self._last: dict[int, int] = {}
        self.count = 0
        for receipt in held:
            self._note(receipt)

    def collect(self) -> int:
        """Ask for what is new; return how many there were. Epochs that were closed meanwhile are completed."""
        newest = max(self._last, default=None)
        added, now = self._of(None)
        for epoch in range(now if newest is None else newest, now):
            added += self._of(epoch)[0]
        return added

    def _of(self, epoch: int | None) -> tuple[int, int]:
        """Return how many receipts of an epoch there were (None: of the open one), and its number."""
        added, asked = 0, epoch
        while True:
            options = {} if asked is None else {"epoch": asked, "after": self._last.get(asked, -1)}
            path = f"customer/{self._owner.account}/receipts"
            data, headers = _ask(self._url, path, self._owner.salt, **options)
            asked = int(headers["x-hashwerk-epoch"])
            added += self._keep(data)
            if headers["x-hashwerk-whole"] == "1":
                return added, asked

    def _keep(self, data: bytes) -> int:
        from hashwerk.evidence.receipt import is_genuine, read_receipts, write_receipts

        found = read_receipts(data)
        if not all(is_genuine(receipt) for receipt in found):
            raise EvidenceError("the mine gave a receipt that nobody signed")
        new = [one for one in found if one.body.position > self._last.get(one.body.epoch, -1)]
        whole = write_receipts(new)
        with self._output.open("ab") as file:
            file.write(whole if file.tell() == 0 else whole[len(write_receipts([])) :])
        for receipt in new:
            self._note(receipt)
        return len(new)

    def _note(self, receipt: Any) -> None:
        body = receipt.body
        self._last[body.epoch] = max(self._last.get(body.epoch, -1), body.position)
        self.count += 1


def _ask(url: str, path: str, secret: str | None, **options: Any) -> tuple[bytes, Any]:
    """Return an answer of the mine, and its headers.

    Raises:
        EvidenceError: If it does not answer, or refuses; the message says why.
    """
    import httpx

    headers = {} if secret is None else {"authorization": f"Bearer {secret}"}
    try:
        with httpx.Client(timeout=_TIMEOUT_S) as http:
            answer = http.get(f"{url.rstrip('/')}/api/v1/{path}", params=options, headers=headers)
    except (httpx.HTTPError, httpx.InvalidURL) as error:
        raise EvidenceError(f"the mine at {url} does not answer: {error}") from error
    if answer.status_code != 200:
        try:
            detail = str(answer.json()["detail"])
        except (ValueError, KeyError, TypeError):
            detail = str(answer.status_code)
        raise EvidenceError(f"the mine refuses: {detail}")
    return answer.content, answer.headers


def _keep(data: bytes, output: Path, *, as_json: bool) -> None:
    from hashwerk.evidence.proof_file import check_proof

    shown = check_proof(data)
    output.write_bytes(data)
    _show(output, shown, as_json=as_json)


def _show(file: Path, shown: Any, *, as_json: bool) -> None:
    data = {"file": str(file), "bytes": file.stat().st_size, **msgspec.to_builtins(shown)}
    if as_json:
        print_json(data)
        return
    figures = ", ".join(f"{name} {value}" for name, value in shown.figures.items())
    click.echo(f"{file}: holds. {shown.kind} of epoch {shown.epoch}: {figures}")
    click.echo(f"signed by {shown.key} for site {shown.site}")
