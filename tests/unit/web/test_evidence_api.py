"""Evidence over the API: what there is, a file to take away, strangers' files checked within limits."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from pathlib import Path

import httpx
import pytest
from cryptography.hazmat.primitives import serialization

from hashwerk.chain.network import NETWORKS
from hashwerk.clock import VirtualClock
from hashwerk.config.web_settings import WebSettings
from hashwerk.errors import EvidenceError
from hashwerk.evidence.bundle import Claim
from hashwerk.evidence.key_files import open_keys
from hashwerk.evidence.keys import fingerprint, public_bytes
from hashwerk.evidence.proof import EpochProver
from hashwerk.evidence.proof_file import write_proof
from hashwerk.evidence.receipt import give_receipts, write_receipts
from hashwerk.evidence.records import Scale, Site
from hashwerk.evidence.verify.result import CHECKS
from hashwerk.site import evidence_desk
from hashwerk.site.evidence_desk import EpochLine, EvidenceDesk, ServiceLine, Statement
from hashwerk.site.evidence_worker import Task, do
from hashwerk.store import SqliteLedger
from hashwerk.store.keeper import EpochKeeper
from hashwerk.web import evidence_api
from hashwerk.web.app import create_api
from hashwerk.web.auth import hash_password
from hashwerk.web.evidence_frames import CHECK_WORDS, evidence_frame, worth
from hashwerk.web.state import MineView
from support.evidence import ALL_CLAIMS, EvidenceSite, resign, write_bundle
from support.timestamping import TestAuthority

NOW = 1_790_000_140.0  # forty seconds into a minute
DECLARED = (
    Site(name="site", network="testnet4", private=1),
    Scale(factor=1, basis="one hash is one hash"),
)


@dataclass
class Here:
    """A mine with three closed epochs, and what its page asks."""

    desk: EvidenceDesk
    client: httpx.AsyncClient
    clock: VirtualClock
    spool: Path
    key: str


@pytest.fixture
async def here(tmp_path: Path, client_of: Callable[..., httpx.AsyncClient]) -> AsyncIterator[Here]:
    path = tmp_path / "testnet4" / "ledger.sqlite"
    path.parent.mkdir()
    ledger = SqliteLedger(path, asyncio.get_running_loop())
    ledger.open()
    keys = open_keys(tmp_path)
    kept = EpochKeeper(path, keys, ledger.put, declarations=DECLARED, interval_s=60.0)
    await asyncio.to_thread(kept.open, NOW)
    for later in (60, 120):
        await asyncio.to_thread(kept.close_epoch, NOW + later)
    kept.close()
    ledger.close()
    clock = VirtualClock(NOW + 130)
    desk = EvidenceDesk(path, tmp_path, tmp_path / "spool", clock)
    app = create_api(
        MineView(None, clock), WebSettings(), clock, routers=[evidence_api.evidence_router(desk, clock)]
    )
    async with client_of(app) as client:
        yield Here(desk, client, clock, tmp_path / "spool", fingerprint(public_bytes(keys.current)))


def is_empty(folder: Path) -> bool:
    return not folder.exists() or not list(folder.iterdir())


async def test_epochs_and_key_are_told_and_the_last_hour_is_made_once(here: Here) -> None:
    first = (await here.client.get("/api/v1/evidence")).json()
    assert (first["key"], first["statement"]) == (here.key, None)
    assert [line["number"] for line in first["epochs"]] == [2, 1, 0]
    assert first["epochs"][0]["stamps"] == []
    page = (await here.client.get("/api/v1/evidence/epochs", params={"limit": 2})).json()
    assert ([line["number"] for line in page["epochs"]], page["next_before"]) == ([2, 1], 1)
    rest = (await here.client.get("/api/v1/evidence/epochs", params={"before": 1})).json()
    assert ([line["number"] for line in rest["epochs"]], rest["next_before"]) == ([0], None)
    assert evidence_frame(here.desk, here.clock.time())["evidence.sentence"].startswith("The evidence of")
    await here.desk.refresh()
    made = (await here.client.get("/api/v1/evidence")).json()["statement"]
    assert (made["report"]["verdict"], made["report"]["subject"]) == ("valid", "simulation")
    assert made["last_epoch"] == 2
    frame = evidence_frame(here.desk, here.clock.time())
    assert frame["evidence.sentence"].startswith("Yes, as a simulation: no share yet, in 2 epochs")
    assert "the operator's word" in frame["evidence.sentence"]
    assert len(frame["rows.epochs"]) == 3
    # No epoch was closed since, so none is made anew, however long ago it was.
    here.clock.advance(3_600)
    await here.desk.refresh()
    assert here.desk.view().statement is not None
    assert here.desk.view().statement.at == NOW + 130
    assert is_empty(here.spool)


async def test_a_bundle_is_taken_away_and_checked_against_the_key(here: Here) -> None:
    period = {"from": NOW, "to": NOW + 130}
    taken = await here.client.get("/api/v1/evidence/bundle", params=period)
    assert taken.headers["content-disposition"].endswith('Z.hwe"')
    assert int(taken.headers["content-length"]) == len(taken.content) > 500
    checked = await here.client.post(
        "/api/v1/evidence/verify", content=taken.content, params={"key": here.key}
    )
    report = checked.json()
    assert report["verdict"] == "valid"
    pinned = next(check for check in report["checks"] if check["name"] == "pinned key")
    assert (pinned["label"], pinned["about"]) == ("proven", "Who made it")
    assert {row["name"] for row in report["figures"]} >= {"Shares", "Hashes"}
    assert is_empty(here.spool)
    long_ago = await here.client.get("/api/v1/evidence/bundle", params={"from": 0, "to": 1})
    assert long_ago.status_code == 422
    assert "no epoch of this period is closed yet" in long_ago.json()["detail"]


@pytest.mark.parametrize(
    ("path", "params", "status"),
    [
        ("bundle", {"from": 10, "to": 5}, 422),
        ("bundle", {"from": "nan"}, 422),
        ("bundle", {"to": 1e300}, 422),
        ("epochs", {"limit": 0}, 422),
        ("epochs", {"before": -1}, 422),
    ],
)
async def test_what_cannot_be_meant_is_refused(here: Here, path: str, params: dict, status: int) -> None:
    assert (await here.client.get(f"/api/v1/evidence/{path}", params=params)).status_code == status


async def test_files_have_limits(here: Here, monkeypatch: pytest.MonkeyPatch) -> None:
    url = "/api/v1/evidence/verify"
    assert (await here.client.post(url, content=b"")).status_code == 422
    assert (await here.client.post(url, content=b"x", params={"key": "../.."})).status_code == 422
    elsewhere = await here.client.post(url, content=b"x", headers={"origin": "http://elsewhere.example"})
    assert elsewhere.status_code == 403
    monkeypatch.setattr(evidence_api, "MAX_FILE_BYTES", 1_000)
    announced = await here.client.post(url, content=bytes(1_001))
    assert announced.status_code == 413

    async def unannounced() -> AsyncIterator[bytes]:
        for _ in range(11):
            yield bytes(100)

    assert (await here.client.post(url, content=unannounced())).status_code == 413
    async with here.desk.check_slot(), here.desk.check_slot():
        busy = await here.client.post(url, content=b"x")
    assert (busy.status_code, busy.headers["retry-after"]) == (429, "10")
    monkeypatch.setattr(evidence_desk, "TIME_LIMIT_S", 0.0)
    late = await here.client.post(url, content=b"x")
    assert late.status_code == 422
    assert "takes longer" in late.json()["detail"]
    assert is_empty(here.spool)


async def test_several_files_are_held_against_each_other(here: Here) -> None:
    """Two histories of one site, receipts, a proof and roots, in one request: what each is, and what they say together."""
    site = EvidenceSite(shares=6).run(2)
    group = site.last.groups[0]
    receipts = give_receipts(
        site.key, site=site.id, epoch=2, accounts=[group.account], leaves=group.leaves[:1], deadline_us=0
    )
    other = resign(site.last, site.key, end_us=site.last.header.end_us + 1)
    files = {
        "one.hwe": site.bundle(),
        "two.hwe": write_bundle(site, [*site.epochs[:2], other]),
        "mine.receipts": write_receipts(receipts),
        "sum.proof": write_proof(EpochProver(site.last, site.standings[2]).account(group.account)),
        "roots.pem": TestAuthority().root.public_bytes(serialization.Encoding.PEM),
        "headers.bin": NETWORKS["main"].genesis.serialize(),
        "broken.proof": b"HASHWERK-PROOF\x00\x00\x01\x01",
    }
    asked = {"size": [len(data) for data in files.values()], "name": list(files)}
    url = "/api/v1/evidence/verify/together"
    said = await here.client.post(url, params=asked, content=b"".join(files.values()))
    assert said.status_code == 200, said.text
    found = {one["name"]: one for one in said.json()}
    assert [one["kind"] for one in found.values()] == [
        "bundle", "bundle", "receipts", "proof", "roots", "headers", "proof", "together",
    ]  # fmt: skip
    for name in ("one.hwe", "two.hwe"):
        report = found[name]["report"]
        failed = {check["name"]: check["detail"] for check in report["checks"] if not check["ok"]}
        assert report["verdict"] == "invalid"
        assert "equivocation" in failed["other bundles"]
    kept = next(check for check in found["one.hwe"]["report"]["checks"] if check["name"] == "receipts")
    assert (kept["ok"], kept["detail"]) == (True, "1 receipt kept")
    assert found["mine.receipts"]["words"] == "1 receipt"
    assert found["sum.proof"]["words"].startswith("holds: sum of an account of epoch 2")
    assert found["headers.bin"]["words"] == "1 block header"
    assert "Test root" in found["roots.pem"]["words"]
    assert "0 left" in found["broken.proof"]["problem"]
    assert found["2 bundles"]["problem"] == "any sum over these bundles: one of them is invalid"
    north, south = EvidenceSite(name="north").run(1).bundle(), EvidenceSite(name="south").run(1).bundle()
    asked = {"size": [len(north), len(south)], "name": ["north.hwe", "south.hwe"]}
    said = await here.client.post(url, params=asked, content=north + south)
    whole = said.json()[-1]
    assert whole["words"].startswith("120 shares, 1.92 EH, 10.0 kWh, ")
    assert whole["words"].endswith("each share counted once, all of it simulation")
    assert whole["statement"]["figures"]["shares"]["value"] == 120
    for wrong in (
        {"size": [1, 2], "name": ["a"]},
        {"size": [0], "name": ["a"]},
        {"size": [9], "name": ["a"]},
    ):
        assert (await here.client.post(url, params=wrong, content=b"12345")).status_code == 422
    assert is_empty(here.spool)


async def test_who_is_not_known_gets_nothing(here: Here, client_of: Callable[..., httpx.AsyncClient]) -> None:
    settings = WebSettings(password_hash=hash_password("a long password"))
    app = create_api(
        MineView(None, here.clock),
        settings,
        here.clock,
        routers=[evidence_api.evidence_router(here.desk, here.clock)],
    )
    async with client_of(app) as stranger:
        for path in ("", "/epochs", "/bundle"):
            assert (await stranger.get(f"/api/v1/evidence{path}")).status_code == 401
        assert (await stranger.post("/api/v1/evidence/verify", content=b"x")).status_code == 401


async def test_without_a_ledger_it_says_so(tmp_path: Path, clock: VirtualClock) -> None:
    desk = EvidenceDesk(tmp_path / "none.sqlite", tmp_path, tmp_path / "spool", clock)
    await desk.refresh()
    frame = evidence_frame(desk, clock.time())
    assert "there is no ledger yet" in frame["evidence.problem"]
    assert frame["evidence.sentence"].startswith("Nothing can be proven yet")
    with pytest.raises(EvidenceError, match="no ledger here yet"):
        await desk.bundle(0, clock.time())


def test_every_check_has_plain_words() -> None:
    assert set(CHECK_WORDS) == set(CHECKS)


@pytest.mark.parametrize(
    ("label", "shown", "looks"),
    [
        ("proven", "◆ proven", "worth proven"),
        ("attested by Bitcoin block 9", "◈ attested by Bitcoin block 9", "worth attested"),
        ("proven; its state asserted", "◆◇ proven; its state asserted", "worth asserted"),
        ("not shown: the check of sums fails", "✕ not shown: the check of sums fails", "worth not"),
        ("not shown: what was asserted", "✕ not shown: what was asserted", "worth not"),
    ],
)
def test_a_label_never_looks_like_more_than_the_least_in_it(label: str, shown: str, looks: str) -> None:
    cell = worth(label)
    assert (cell["t"], cell["c"]) == (shown, looks)


@pytest.mark.parametrize(
    ("damage", "claims", "state", "sentence", "refused"),
    [
        (True, ALL_CLAIMS, "act", "No: the evidence of the last hour contradicts itself.", True),
        (False, ALL_CLAIMS | Claim.TIME, "attention", "In part: 6 shares in 2 epochs", False),
    ],
)
def test_the_sentence_says_what_does_not_hold(
    tmp_path: Path, damage: bool, claims: Claim, state: str, sentence: str, refused: bool
) -> None:
    bundle = bytearray(EvidenceSite(shares=6).run(1).bundle(claims=claims))
    if damage:
        bundle[-200] ^= 1
    file = tmp_path / "bundle.hwe"
    file.write_bytes(bundle)
    report = do(Task(file=str(file), verify=True)).report
    assert report is not None
    desk = EvidenceDesk(tmp_path / "ledger.sqlite", tmp_path, tmp_path / "spool", VirtualClock(NOW))
    desk._change(statement=Statement(at=NOW, last_epoch=1, size=len(bundle), report=report))
    frame = evidence_frame(desk, NOW)
    assert frame["evidence.state"] == state
    assert frame["evidence.sentence"].startswith(sentence)
    values = [row["c"][1] for row in frame["rows.evidence_figures"]]
    assert any(isinstance(value, dict) for value in values) == refused


def test_a_stamp_dates_every_epoch_before_it(tmp_path: Path) -> None:
    desk = EvidenceDesk(tmp_path / "ledger.sqlite", tmp_path, tmp_path / "spool", VirtualClock(NOW))
    stamps = {4: ("opentimestamps (waits for its block)",), 2: ("witness", "rfc3161")}
    lines = tuple(
        EpochLine(
            number=number, start=NOW, end=NOW + 60, root="ab" * 32, shares=0, work="0", key="cd" * 32,
            stamps=stamps.get(number, ()),
        )
        for number in range(4, -1, -1)
    )  # fmt: skip
    problem = ServiceLine(name="witness north", epoch=2, at=NOW, waiting=0, problem="does not answer")
    waiting = ServiceLine(name="OpenTimestamps a", epoch=4, at=NOW, waiting=1, problem="")
    desk._change(epochs=lines, services=(problem, waiting), witness="ef" * 32)
    frame = evidence_frame(desk, NOW)
    assert [row["c"][5]["t"] for row in frame["rows.epochs"]] == [
        "OpenTimestamps (waits for its block)", "none: the operator's clock", "a witness, RFC 3161",
        "dated with epoch 2", "dated with epoch 2",
    ]  # fmt: skip
    rows = {row["k"]: row["c"] for row in frame["rows.evidence_services"]}
    assert rows["witness north"][2] == {"t": "▲ does not answer", "c": "attention"}
    assert rows["OpenTimestamps a"][1].endswith("1 proof waits for a block")
    assert (frame["evidence.witness"], frame["evidence.is_witness"]) == ("ef" * 32, "")
