"""`hashwerk verify` and the report: what people and programs see, and nothing beyond what was shown."""

import json
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from hashwerk.chain.header import hash_to_hex
from hashwerk.cli import cli
from hashwerk.cli.prove import ledger_folder, parse_time
from hashwerk.cli.verify import parse_checkpoint
from hashwerk.errors import ConfigError
from hashwerk.evidence.bundle import Claim
from hashwerk.evidence.keys import fingerprint, public_bytes
from hashwerk.evidence.receipt import give_receipts, write_receipts
from hashwerk.evidence.report import figures, html_report, pdf_report
from hashwerk.evidence.verify import verify_bundle, verify_bundles
from hashwerk.evidence.verify.run import Options
from support.evidence import EvidenceSite

SITE = EvidenceSite().run(4)


@pytest.fixture
def bundle(tmp_path: Path) -> Path:
    path = tmp_path / "good.hwe"
    path.write_bytes(SITE.bundle())
    return path


def run(*arguments: str | Path) -> Result:
    return CliRunner().invoke(cli, ["verify", *map(str, arguments)])


def test_json_has_verdict_subject_checks_and_statement(bundle: Path) -> None:
    done = run(bundle, "--json")
    data = json.loads(done.stdout)
    assert done.exit_code == 0
    assert (data["verdict"], data["subject"]) == ("valid", "simulation")
    assert all(set(check) == {"name", "ok", "label", "detail"} for check in data["checks"])
    assert {check["label"].split()[0] for check in data["checks"]} == {"proven", "attested", "asserted"}
    assert data["statement"]["energy"]["metered"]["value"] == 20_000
    assert data["statement"]["matching"]["hourly_matching"]["value"] == pytest.approx(0.6)
    assert data["statement"]["matching"]["carbon_free"]["value"] == pytest.approx(0.76)
    assert data["statement"]["emissions"]["location_based"]["value"] == pytest.approx(7000)
    assert data["statement"]["emissions"]["market_based"]["value"] == pytest.approx(4800)
    assert data["statement"]["not_shown"]


def test_people_see_a_table_and_the_verdict_first(bundle: Path) -> None:
    done = run(bundle)
    assert done.exit_code == 0
    assert "valid (simulation)" in done.stdout
    assert "not shown" in done.stdout


def test_a_failure_says_what_where_and_what_it_means(bundle: Path, tmp_path: Path) -> None:
    bad = tmp_path / "bad.hwe"
    data = bytearray(bundle.read_bytes())
    data[-1] ^= 1
    bad.write_bytes(data)
    done = run(bad, "--json")
    assert done.exit_code == 9
    (failed,) = (check for check in json.loads(done.stdout)["checks"] if not check["ok"])
    assert (failed["name"], failed["consequence"]) == ("seal", "invalid")
    assert "changed after it was sealed" in failed["meaning"]
    assert "invalid" in run(bad).stdout
    # Beside a good one it is told which is which.
    both = json.loads(run(bundle, bad, "--json").stdout)
    assert both["verdict"] == "invalid"
    assert [one["verdict"] for one in both["bundles"]] == ["valid", "invalid"]


def test_the_operator_is_pinned_by_key_or_site(bundle: Path) -> None:
    for name in (fingerprint(public_bytes(SITE.key)), SITE.id.hex(), SITE.id.hex().upper()):
        data = json.loads(run(bundle, "--key", name, "--json").stdout)
        assert data["verdict"] == "valid"
        assert next(check for check in data["checks"] if check["name"] == "pinned key")["label"] == "proven"
    assert run(bundle, "--key", "ab" * 32).exit_code == 9


def test_receipts_are_held_against_the_bundle(bundle: Path, tmp_path: Path) -> None:
    group = SITE.last.groups[0]
    given = give_receipts(
        SITE.key, site=SITE.id, epoch=4, accounts=[group.account] * 3, leaves=group.leaves[:3], deadline_us=0
    )
    path = tmp_path / "receipts"
    path.write_bytes(write_receipts(given))
    data = json.loads(run(bundle, "--receipts", path, "--json").stdout)
    assert (
        next(check for check in data["checks"] if check["name"] == "receipts")["detail"] == "3 receipts kept"
    )


def test_options_that_cannot_be_used(bundle: Path, tmp_path: Path) -> None:
    noise = tmp_path / "noise"
    noise.write_bytes(b"noise")
    for options in (
        ["--headers", noise, "--node", "http://127.0.0.1:1"],
        ["--tsa-roots", noise],
        ["--checkpoint", "7"],
        ["--node", "http://127.0.0.1:1"],
        ["--node", "http://127.0.0.1:1", "--checkpoint", f"0:{hash_to_hex(bytes(32))}"],
        ["--report", tmp_path / "x.doc"],
    ):
        assert isinstance(run(bundle, *options).exception, ConfigError), options
    assert parse_checkpoint("7:" + "00" * 31 + "01").hash == b"\x01" + bytes(31)


@pytest.mark.parametrize(("suffix", "start"), [("html", b"<!doctype html>"), ("pdf", b"%PDF")])
def test_the_report_is_written(bundle: Path, tmp_path: Path, suffix: str, start: bytes) -> None:
    out = tmp_path / f"report.{suffix}"
    assert run(bundle, "--report", out).exit_code == 0
    assert out.read_bytes().startswith(start)


def test_the_report_says_simulation_first_and_needs_nothing_else() -> None:
    import io

    report = verify_bundle(io.BytesIO(SITE.bundle()))
    page = html_report(report)
    assert "SIMULATION: site: valid" in page[: page.index("<h2>")]
    assert "What is not shown" in page
    assert "<svg" in page
    for outside in ("<script", "<link", 'src="http', "@import"):
        assert outside not in page
    for title in (
        "Energy by source",
        "Certificates cancelled",
        "Work by account",
        "Payouts",
        "Blocks",
        "Checks",
    ):
        assert f"<h2>{title}</h2>" in page
    assert "not shown; 60.0 % by the operator" in page, "hourly matching without external time"
    assert "var(--clean)" in page, "plots have the page's colours, light or dark"
    assert "#0f8b8d" not in page[page.index("<body") :]
    for name, value, worth in figures(report):
        assert name and value and worth
    broken = verify_bundle(io.BytesIO(b"nothing"))
    assert "cannot be read" in html_report(broken)
    assert pdf_report(broken).startswith(b"%PDF")


def test_a_name_in_a_bundle_is_no_markup() -> None:
    import io

    report = verify_bundle(io.BytesIO(EvidenceSite(name="<script>$x$</script>", shares=3).run(1).bundle()))
    assert "<script>" not in html_report(report)
    assert pdf_report(report).startswith(b"%PDF")


@pytest.mark.parametrize(
    ("text", "moment"),
    [
        ("now", lambda now: now),
        ("-1h", lambda now: now - 3_600_000_000),
        ("-1.5d", lambda now: now - 129_600_000_000),
        ("1790000000", lambda _: 1_790_000_000_000_000),
        ("2026-11-23T12:00Z", lambda _: round(datetime(2026, 11, 23, 12, tzinfo=UTC).timestamp() * 1e6)),
        ("2026-11-23T12:00", lambda _: round(datetime(2026, 11, 23, 12, tzinfo=UTC).timestamp() * 1e6)),
        ("2026-11-23T13:00+01:00", lambda _: round(datetime(2026, 11, 23, 12, tzinfo=UTC).timestamp() * 1e6)),
    ],
)
def test_times_absolute_and_relative(text: str, moment: Callable[[int], int]) -> None:
    assert parse_time(text, 1_795_000_000_000_000) == moment(1_795_000_000_000_000)


def test_what_is_no_time_and_no_ledger(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="not a time"):
        parse_time("yesterday", 0)
    with pytest.raises(ConfigError, match="no ledger"):
        ledger_folder(tmp_path, None)
    for name in ("main", "testnet4"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "ledger.sqlite").touch()
    with pytest.raises(ConfigError, match="choose with --network: main, testnet4"):
        ledger_folder(tmp_path, None)
    assert ledger_folder(tmp_path, "main") == tmp_path / "main"
    done = CliRunner().invoke(
        cli,
        [
            "prove",
            "--data-dir",
            str(tmp_path),
            "--network",
            "main",
            "--from",
            "now",
            "--to",
            "-1h",
            "-o",
            "x",
        ],
    )
    assert isinstance(done.exception, ConfigError)


def test_no_figure_is_worth_more_than_what_it_rests_on() -> None:
    """Work is proven; whatever rests on the operator's clock, scale, meter or factors is his word."""
    import io

    statement = verify_bundle(io.BytesIO(SITE.bundle())).statement
    work = statement["work"]
    assert {work[name]["label"] for name in ("shares", "hashes")} == {"proven"}
    assert {row["label"] for row in work["accounts"]} == {"proven"}
    asserted = [
        statement["scale"], statement["site"], work["hashes_at_scale"], work["hashrate"], *work["hashes_per_hour"],
        statement["energy"]["metered"], statement["energy"]["efficiency"], statement["energy"]["inventory_best"],
        *statement["emissions"].values(), statement["rejected"],
    ]  # fmt: skip
    assert {block["label"] for block in statement["blocks"]} == {"proven; its state asserted"}
    assert {figure["label"] for figure in asserted} == {"asserted"}
    assert all(figure["label"].startswith("asserted") for figure in statement["matching"].values())
    assert "not shown" in statement["matching"]["hourly_matching"]["label"]


def test_receipts_are_held_against_the_bundle_of_their_epoch(tmp_path: Path) -> None:
    """Two files of one site, and receipts for both: each is judged where its share should be, and said so in few words."""
    site = EvidenceSite(name="receipts", shares=6).run(4)
    names, receipts = [], []
    for first, last in ((0, 2), (3, 4)):
        names.append(tmp_path / f"{first}.hwe")
        names[-1].write_bytes(site.bundle(first=first, last=last, claims=Claim.ENERGY))
        group = site.epochs[last].groups[0]
        receipts += give_receipts(
            site.key,
            site=site.id,
            epoch=last,
            accounts=[group.account],
            leaves=group.leaves[:1],
            deadline_us=2**62,
        )
    both = verify_bundles(names, Options(receipts=tuple(receipts), threads=1))
    assert [report.ok for report in both] == [True, True], [report.failures() for report in both]
    (one,) = verify_bundles(names[:1], Options(receipts=tuple(receipts * 3), threads=1))
    (failure,) = one.failures()
    assert failure.detail == "3 receipts for epoch 4, which the bundle does not hold"
    assert failure.meaning == "There are receipts that cannot be held against this file."
