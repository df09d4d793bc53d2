"""Keys change beside a running mine, after a crash at any step, and by the recovery key; the evidence still verifies."""

from __future__ import annotations

import asyncio
import io
import json
from pathlib import Path

from click.testing import CliRunner
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from hashwerk.cli import cli
from hashwerk.errors import EvidenceError
from hashwerk.evidence import records
from hashwerk.evidence.key_files import CURRENT, NEXT, RECOVERY, open_keys, read_key, write_key
from hashwerk.evidence.keys import fingerprint, public_bytes
from hashwerk.evidence.verify import verify_bundle
from hashwerk.evidence.verify.run import Options
from hashwerk.store import SqliteLedger, epochs, key_changes
from hashwerk.store.bundles import Period, write_bundle
from hashwerk.store.connection import connect_reader
from hashwerk.store.keeper import EpochKeeper
from hashwerk.store.writes import Write

DECLARED = (
    records.Site(name="site", network="testnet4", private=1),
    records.Scale(factor=1, basis="one hash is one hash"),
)
NOW = 1_790_000_140.0


def keeper(path: Path, ledger: SqliteLedger) -> EpochKeeper:
    folder = path.parent.parent
    return EpochKeeper(
        path, open_keys(folder), ledger.put, declarations=DECLARED, interval_s=60.0, key_folder=folder
    )


def proven(path: Path) -> io.BytesIO:
    """Return the evidence of everything, sealed with the key at hand."""
    reader, out = connect_reader(path), io.BytesIO()
    period = Period(start_us=0, end_us=int((NOW + 9_999) * 1e6), fixed_beforehand=True)
    key = open_keys(path.parent.parent).current
    write_bundle(reader, out, key, period, now_us=int((NOW + 9_999) * 1e6), software="test")
    reader.close()
    return io.BytesIO(out.getvalue())


async def test_a_key_changes_beside_the_running_mine_and_after_crashes(tmp_path: Path) -> None:
    path = tmp_path / "regtest" / "ledger.sqlite"
    path.parent.mkdir()
    ledger = SqliteLedger(path, asyncio.get_running_loop())
    ledger.open()
    kept = keeper(path, ledger)
    await asyncio.to_thread(kept.open, NOW)
    await asyncio.to_thread(kept.close_epoch, NOW + 60)
    first, second = (public_bytes(read_key(tmp_path / name)) for name in (CURRENT, NEXT))
    asked = CliRunner().invoke(cli, ["key", "rotate", "--data-dir", str(tmp_path), "--json"])
    assert json.loads(asked.stdout) == {"rotated": False, "asked": True}
    assert public_bytes(read_key(tmp_path / CURRENT)) == first, "the files follow the log"
    await asyncio.to_thread(kept.close_epoch, NOW + 120)
    assert public_bytes(read_key(tmp_path / CURRENT)) == second
    assert not key_changes.is_asked(tmp_path, 1)
    assert not key_changes.is_asked(tmp_path, 2)
    assert (tmp_path / CURRENT).stat().st_mode & 0o777 == 0o600
    # The next change is logged, and the process dies before the files follow.
    third = public_bytes(read_key(tmp_path / NEXT))
    assert key_changes.ask_rotation(path, tmp_path) == 2
    reader = connect_reader(path)
    change = key_changes.asked_rotation(reader, tmp_path, int((NOW + 121) * 1e6))
    assert change is not None
    kept.close()
    ledger.close()
    ledger = SqliteLedger(path, asyncio.get_running_loop())
    ledger.open()
    ledger.put(Write(change.store))
    ledger.close()
    # Even if it died a second time, between the two files.
    write_key(tmp_path / CURRENT, read_key(tmp_path / NEXT))
    ledger.open()
    again = keeper(path, ledger)
    await asyncio.to_thread(again.open, NOW + 130)
    assert public_bytes(read_key(tmp_path / CURRENT)) == third
    assert key_changes.asked_rotation(reader, tmp_path, 0) is None
    await asyncio.to_thread(again.close_epoch, NOW + 200)
    again.close()
    ledger.close()
    signed_by = [row.signed.header.key for row in epochs.read_epochs(reader, 0, 9)]
    assert signed_by == [first, first, second, third]
    reader.close()
    report = verify_bundle(proven(path), Options(threads=1, key=fingerprint(first)))
    assert report.ok, report.failures()
    # Stopped, it changes at once; the recovery key takes the right to sign away.
    done = CliRunner().invoke(cli, ["key", "rotate", "--data-dir", str(tmp_path), "--json"])
    assert json.loads(done.stdout)["from_epoch"] == 4, done.output
    recovery = tmp_path / "stick.key"
    (tmp_path / RECOVERY).rename(recovery)
    lost = public_bytes(read_key(tmp_path / CURRENT))
    wrong = tmp_path / "wrong.key"
    write_key(wrong, Ed25519PrivateKey.generate())
    arguments = ["key", "revoke", "--data-dir", str(tmp_path), "--json", "--recovery"]
    refused = CliRunner().invoke(cli, [*arguments, str(wrong)])
    assert isinstance(refused.exception, EvidenceError)
    assert CliRunner().invoke(cli, [*arguments, str(recovery)]).exit_code == 0
    ledger.open()
    after = keeper(path, ledger)
    await asyncio.to_thread(after.open, NOW + 260)
    await asyncio.to_thread(after.close_epoch, NOW + 320)
    after.close()
    ledger.close()
    shown = json.loads(CliRunner().invoke(cli, ["key", "show", "--data-dir", str(tmp_path), "--json"]).stdout)
    kinds = [event["kind"] for event in shown["events"]]
    assert kinds == ["genesis", "rotation", "rotation", "rotation", "revocation"]
    assert shown["key"] == fingerprint(public_bytes(read_key(tmp_path / CURRENT))) != fingerprint(lost)
    report = verify_bundle(proven(path), Options(threads=1))
    assert report.ok, report.failures()


def test_a_backup_brings_the_keys_back_and_overwrites_none(tmp_path: Path) -> None:
    old, new, sealed = tmp_path / "old", tmp_path / "new", tmp_path / "keys.backup"
    old.mkdir()
    keys = open_keys(old)
    words = "correct horse battery\n"
    run = CliRunner().invoke
    made = run(cli, ["key", "backup", "--data-dir", str(old), "-o", str(sealed)], input=words)
    assert made.exit_code == 0, made.output
    assert sealed.stat().st_mode & 0o777 == 0o600
    assert keys.current.private_bytes_raw().hex().encode() not in sealed.read_bytes()
    refused = run(cli, ["key", "restore", str(sealed), "--data-dir", str(new)], input="another passphrase\n")
    assert "passphrase is wrong" in str(refused.exception)
    assert not new.exists()
    assert run(cli, ["key", "restore", str(sealed), "--data-dir", str(new)], input=words).exit_code == 0
    back = open_keys(new)
    assert back.current.private_bytes_raw() == keys.current.private_bytes_raw()
    assert (new / RECOVERY).stat().st_mode & 0o777 == 0o600
    over = run(cli, ["key", "restore", str(sealed), "--data-dir", str(new)], input=words)
    assert "never overwritten" in str(over.exception)
