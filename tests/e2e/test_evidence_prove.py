"""From a mine that really runs to a file that a stranger verifies: `hashwerk prove`, `verify` and `payout`."""

import asyncio
import hashlib
import json
import time
from pathlib import Path
from typing import Any

from click.testing import CliRunner

from hashwerk.cli import cli
from hashwerk.cli.prove import write_salts
from hashwerk.evidence.key_files import write_key
from hashwerk.evidence.keys import fingerprint, public_bytes
from hashwerk.evidence.receipt import read_receipts
from hashwerk.evidence.tag import account_commitment
from hashwerk.store.connection import connect_reader
from support.evidence import seeded_key
from support.mine import running_mine
from support.stratum import Peer

#: Every hash is a share; blocks of the private chain are out of reach.
SITE = "[stratum]\nstart_difficulty = 1e-10\nmin_difficulty = 1e-10\nvardiff = false\n[web]\nport = 0\n[evidence]\nepoch_s = 5\n"


def hashwerk(*arguments: str | Path, code: int = 0) -> Any:
    """Run a command in this process; its modules are slow to load."""
    done = CliRunner().invoke(cli, [*map(str, arguments), "--json"])
    assert done.exit_code == code or (code and done.exception), done.output
    return json.loads(done.stdout) if done.stdout else None


def the_customer_and_the_auditor_ask(url: str, folder: Path) -> None:
    """Of the running mine: receipts at once, proofs once the epoch is closed, openings by the auditor's own draw."""
    data = folder / "mine" / "data"
    salts, receipts, proof = folder / "owners.json", folder / "ada.receipts", folder / "ada.proof"
    connection = connect_reader(data / "testnet4" / "ledger.sqlite")
    write_salts(connection, salts)
    connection.close()
    ada = ("--owner", salts, "--name", "ada")
    deadline = time.monotonic() + 60
    collected = 0
    while collected < 30:  # those of the open epoch at once, the rest with the one after it
        collected = hashwerk("audit", "receipts", url, *ada, "-o", receipts)["receipts"]
        assert time.monotonic() < deadline, collected
    assert hashwerk("audit", "receipts", url, *ada, "-o", receipts) == {
        "file": str(receipts), "added": 0, "receipts": 30,
    }  # fmt: skip
    promised = read_receipts(receipts.read_bytes())
    epoch, position = promised[0].body.epoch, promised[0].body.position
    while (
        CliRunner()
        .invoke(cli, ["audit", "sum", url, *map(str, ada), "--epoch", str(epoch), "-o", str(proof)])
        .exit_code
    ):
        assert time.monotonic() < deadline, "the epoch is not closed"
    mine = sum(receipt.body.epoch == epoch for receipt in promised)
    shown = hashwerk("audit", "check", proof)
    assert (shown["kind"], shown["epoch"], shown["figures"]["shares"]) == ("sum of an account", epoch, mine)
    assert shown["bytes"] < 900
    hashwerk("audit", "share", url, *ada, "--epoch", epoch, "--position", position, "-o", proof)
    assert hashwerk("audit", "check", proof, "--key", shown["key"])["figures"]["position"] == position
    hashwerk("audit", "check", proof, "--key", "00" * 32, code=9)
    drawn = hashwerk("audit", "openings", url, "--epoch", epoch, "--draws", 300, "-o", proof)
    assert drawn["figures"]["own_randomness"]
    assert drawn["figures"]["finds_with_95_percent"] < 0.01
    # Nobody else's salt opens the account.
    thief = folder / "thief.json"
    thief.write_text(json.dumps({"account": promised[0].body.account.hex(), "salt": "00" * 32}))
    hashwerk("audit", "receipts", url, "--owner", thief, "-o", folder / "no", code=9)


async def test_the_evidence_of_a_mine_verifies_as_what_it_is(tmp_path: Path) -> None:
    site = tmp_path / "site.toml"
    site.write_text(SITE)
    # Two accounts hand in shares.
    async with running_mine(tmp_path / "mine", str(site), "--no-miner") as mine:
        for name, count in (("ada.rig", 30), ("bob.rig", 20)):
            peer = await Peer.connect(mine.urls["stratum"])
            await peer.begin(name, "peer/1")
            for nonce in range(count):
                assert await peer.submit(nonce) is True
            await peer.close()
        await asyncio.to_thread(the_customer_and_the_auditor_ask, mine.urls["web"], tmp_path)
    data = tmp_path / "mine" / "data"
    bundle = tmp_path / "hour.hwe"
    # The mine has ended, so the open epoch is closed and the last hour proven.
    salts = tmp_path / "salts.json"
    proven = hashwerk(
        "prove", "--data-dir", data, "--from", "-1h", "--to", "now", "-o", bundle, "--salts", salts
    )
    assert proven["bytes"] == bundle.stat().st_size
    report = hashwerk("verify", bundle)
    assert (report["verdict"], report["subject"]) == ("valid", "simulation")
    assert report["statement"]["work"]["shares"]["value"] == 50
    assert sorted(row["shares"] for row in report["statement"]["work"]["accounts"]) == [20, 30]
    assert all(check["ok"] for check in report["checks"])
    assert any("no external time" in line for line in report["statement"]["not_shown"])
    # The customer finds himself by his name and the salt he was given.
    names = {row["name"]: row for row in json.loads(salts.read_text())}
    assert account_commitment("ada", bytes.fromhex(names["ada"]["salt"])).hex() == names["ada"]["account"]
    own = next(
        row for row in report["statement"]["work"]["accounts"] if row["account"] == names["ada"]["account"]
    )
    assert own["shares"] == 30
    # What was promised by receipts while the mine ran is there; a receipt for another share would convict the operator.
    report = hashwerk("verify", bundle, "--receipts", tmp_path / "ada.receipts")
    assert (
        next(check["detail"] for check in report["checks"] if check["name"] == "receipts")
        == "30 receipts kept"
    )
    # With the operator's hash pinned it is the same, with another it is not.
    hashwerk("verify", bundle, "--key", proven["site"])
    assert hashwerk("verify", bundle, "--key", "00" * 32, code=9)["verdict"] == "invalid"
    # A second bundle of the same time agrees with the first.
    again = tmp_path / "again.hwe"
    hashwerk("prove", "--data-dir", data, "--from", "-2h", "--to", "now", "-o", again)
    both = hashwerk("verify", bundle, again)
    assert both["verdict"] == "valid"
    # The payout recomputes; no block was found, so nothing is due by block, and by share it is.
    assert hashwerk("payout", bundle, "--scheme", "proportional")["paid_sat"] == 0
    assert len(hashwerk("payout", bundle, "--scheme", "fpps", "--fee", "2")["accounts"]) <= 2
    # Another Hashwerk serves as witness of what it verified; who pins it has a time.
    witness, said = tmp_path / "witness.key", tmp_path / "said"
    write_key(witness, seeded_key("witness"))
    hashwerk("verify", bundle, "--countersign", witness, "--statement", said)
    document = tmp_path / "document"
    hashwerk(
        "prove", "--data-dir", data, "--from", "-1h", "-o", again, "--stamp", said, "--document", document
    )
    name = fingerprint(public_bytes(seeded_key("witness")))
    stamped = hashwerk("verify", again, "--witness", name)
    assert stamped["verdict"] == "valid"
    assert stamped["statement"]["period"]["external_time"][0]["by"].startswith("witness")
    assert hashwerk("verify", again, code=9)["verdict"] == "incomplete", (
        "a witness that nobody pinned shows no time"
    )
    assert hashlib.sha256(document.read_bytes()).hexdigest() == stamped["statement"]["period"]["last_epoch"]
    # A file cut short is refused.
    cut = tmp_path / "cut.hwe"
    cut.write_bytes(bundle.read_bytes()[:-1])
    assert hashwerk("verify", cut, code=9)["checks"][0]["name"] == "container"
