"""Proofs about one epoch: Hashwerk's own reading and the small one in contrib/ accept and refuse the same."""

import json
import subprocess
import sys
from pathlib import Path

import msgspec
import pytest

from contract.evidence.test_second_verifier import PROGRAM, VECTORS, second
from hashwerk.errors import DecodeError, EvidenceError
from hashwerk.evidence import records
from hashwerk.evidence.epoch import Epoch, EpochFrame, Group, close_epoch
from hashwerk.evidence.job_record import expected_tag
from hashwerk.evidence.openings import draw, open_draw
from hashwerk.evidence.proof import EpochProver
from hashwerk.evidence.proof_file import check_proof, openings_of, write_proof
from hashwerk.evidence.standing import Standing
from support.evidence import EvidenceSite, decoded

SITE = EvidenceSite(pool=True).run(2)
EPOCH = SITE.last
DRAWN_BY = b"r" * 32


def ours(data: bytes) -> dict | None:
    """Return what Hashwerk's own verifier reads from a proof; None: refused."""
    try:
        shown = check_proof(data)
    except (EvidenceError, DecodeError):
        return None
    same = ("account", "shares", "position", "hashes", "draws")
    return {"site": shown.site, "epoch": shown.epoch} | {
        name: value
        for name, value in shown.figures.items()
        if name in same and not ("draws" in shown.figures and name != "draws")
    }


def theirs(data: bytes) -> dict | None:
    """Return what the second verifier reads from a proof; None: refused."""
    try:
        shown = second.check_proof(data)
    except second.RefusedError:
        return None
    return {name: value for name, value in shown.items() if name not in ("key", "own_randomness")}


def proofs(epoch: Epoch = EPOCH, site: EvidenceSite = SITE) -> dict[str, bytes]:
    """Return a proof of each kind; of shares, one bound and one of a pool's work."""
    prover = EpochProver(epoch, site.standings[2])
    found = {}
    for group in epoch.groups:
        name = "unbound" if group.account == records.UNBOUND else "bound"
        found[f"sum, {name}"] = write_proof(prover.account(group.account))
        found[f"share, {name}"] = write_proof(prover.share(group.account, int(group.leaves["position"][-1])))
    drawn = draw(epoch.signed, DRAWN_BY, 20)
    found["openings"] = write_proof(openings_of(epoch.signed, DRAWN_BY, 20, open_draw(drawn, epoch, prover)))
    return found


@pytest.mark.parametrize("name", list(proofs()))
def test_both_accept_it_and_read_the_same(name: str) -> None:
    shown = ours(proofs()[name])
    assert shown is not None
    assert theirs(proofs()[name]) == shown


@pytest.mark.parametrize("name", ["sum, bound", "share, bound", "share, unbound"])
def test_both_refuse_every_changed_byte(name: str) -> None:
    data = proofs()[name]
    for at in range(len(data)):
        changed = data[:at] + bytes([data[at] ^ 1]) + data[at + 1 :]
        assert ours(changed) is theirs(changed) is None, f"byte {at}"
    for cut in (data[:-1], data + b"\x00", data[:40], b""):
        assert ours(cut) is theirs(cut) is None


def test_openings_of_another_draw_or_epoch() -> None:
    data = proofs()["openings"]
    right = {"randomness": DRAWN_BY, "epoch": EPOCH.signed.hash()}
    assert second.check_proof(data, **right)["own_randomness"]
    for wrong in ({"randomness": b"s" * 32}, {"epoch": bytes(32)}):
        with pytest.raises(second.RefusedError, match="another draw"):
            second.check_proof(data, **(right | wrong))
    prover = EpochProver(EPOCH, SITE.standings[2])
    convenient = [prover.share(EPOCH.groups[1].account, int(EPOCH.groups[1].leaves["position"][0]))] * 20
    forged = write_proof(openings_of(EPOCH.signed, DRAWN_BY, 20, convenient))
    assert ours(forged) is theirs(forged) is None
    fewer = write_proof(openings_of(EPOCH.signed, DRAWN_BY, 21, convenient))
    assert ours(fewer) is theirs(fewer) is None


def closed_with(**changes: object) -> Epoch:
    """Let the owner of the key sign an epoch whose jobs say something else; their tags agree with them."""
    logged: list[records.Record] = []
    for record in decoded(EPOCH):
        if isinstance(record, records.Job) and not record.upstream:
            changed = msgspec.structs.replace(record, **changes)
            end = changed.coinbase2.replace(expected_tag(record), expected_tag(changed))
            logged.append(msgspec.structs.replace(changed, coinbase2=end))
        else:
            logged.append(record)
    return signed(logged, EPOCH.groups, SITE.standings[2])


def signed(logged: list[records.Record], groups: tuple[Group, ...], standing: Standing) -> Epoch:
    """Close epoch 2 anew."""
    header = EPOCH.header
    frame = EpochFrame(
        site=SITE.id, number=2, start_us=header.start_us, end_us=header.end_us, previous=header.previous,
        key_events=header.key_events, standing=standing,
    )  # fmt: skip
    return close_epoch(frame, SITE.key, logged, groups)


@pytest.mark.parametrize(
    "changes",
    [{"coinbase_value_sat": 1}, {"height": 701}, {"upstream": 2}, {"nbits": 0}, {"min_time": 2**32 - 1}],
    ids=str,
)
def test_a_signed_job_that_breaks_its_terms_shows_nothing(changes: dict[str, int]) -> None:
    forged = proofs(closed_with(**changes))
    assert ours(forged["share, bound"]) is theirs(forged["share, bound"]) is None
    assert ours(forged["sum, bound"]) == theirs(forged["sum, bound"]) is not None


def test_a_share_that_was_received_outside_its_epoch_shows_nothing() -> None:
    groups = []
    for group in EPOCH.groups:
        leaves = group.leaves.copy()
        leaves["time_us"] = EPOCH.header.end_us + 11_000_000
        groups.append(Group(group.account, leaves))
    forged = proofs(signed(decoded(EPOCH), tuple(groups), SITE.standings[2]))
    for name in ("share, bound", "share, unbound", "openings"):
        assert ours(forged[name]) is theirs(forged[name]) is None


def test_the_program_on_the_published_proofs(tmp_path: Path) -> None:
    for case in json.loads((VECTORS / "proofs.json").read_text()):
        file = tmp_path / "one.proof"
        file.write_bytes(bytes.fromhex(case["file"]))
        asked = ["--epoch", case["epoch_hash"]]
        if case["randomness"]:
            asked += ["--randomness", case["randomness"]]
        run = subprocess.run(
            [sys.executable, str(PROGRAM), "--json", *asked, str(file)],
            capture_output=True,
            check=False,
            timeout=30,
        )
        said = json.loads(run.stdout)
        assert (run.returncode, said.pop("holds")) == (0, True), said
        assert {
            k: v for k, v in case["shows"].items() if k in said and k != "own_randomness"
        }.items() <= said.items()
    file.write_bytes(b"HASHWERK-PROOF of nothing")
    assert subprocess.run([sys.executable, str(PROGRAM), str(file)], check=False, timeout=30).returncode == 1
