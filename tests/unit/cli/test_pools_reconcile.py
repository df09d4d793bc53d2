"""`hashwerk pools reconcile` over a real ledger: exports and an API on loopback, verdicts, refusals."""

from __future__ import annotations

import asyncio
import datetime as dt
import json
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from hashwerk.cli import cli
from hashwerk.errors import ConfigError, FeedError, StoreError
from support.pool_ledger import DAY_1, DAY_2, KEY, braiins_api, export, fill


@pytest.fixture(scope="module")
def data_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("mine")
    (folder / "main").mkdir()
    asyncio.run(fill(folder / "main" / "ledger.sqlite"))
    return folder


def reconcile(data_dir: Path, *arguments: str, pool: str = "braiins") -> Result:
    command = ["pools", "reconcile", "--pool", pool, "--from", "2025-06-16", "--to", "2025-06-17"]
    return CliRunner().invoke(cli, [*command, "--data-dir", str(data_dir), *arguments])


def chain(folder: Path) -> Path:
    path = folder / "chain.csv"
    path.write_text(
        "day,difficulty,subsidy_sat,fees_low_sat,fees_high_sat\n"
        "2025-06-16,65536000000,312500000,0,0\n2025-06-17,65536000000,312500000,0,0\n"
    )
    return path


def test_books_that_agree(data_dir: Path, tmp_path: Path) -> None:
    result = reconcile(data_dir, "--csv", str(export(tmp_path, 37, 20)))
    assert result.exit_code == 0, result.output
    assert "The books agree" in result.output
    assert "2 shares: stale" in result.output
    assert "handed in and never answered" in result.output
    assert "2 of 2 days can be compared" in result.output
    assert "Only work is judged, not pay" in result.output


def test_a_pool_that_credits_less_ends_with_1_and_its_size_in_json(data_dir: Path, tmp_path: Path) -> None:
    result = reconcile(data_dir, "--csv", str(export(tmp_path, 36, 20)), "--json")
    assert result.exit_code == 1
    told = json.loads(result.stdout)
    assert told["verdict"] == "short"
    [short] = [finding for finding in told["whole"]["findings"] if finding["grade"] == "short"]
    assert short["size"] == "-65536"
    assert told["days"][0]["accepted"] == str(37 * 65_536)
    assert told["days"][0]["rejected"] == str(2 * 65_536)
    assert told["days"][0]["credited"] == str(36 * 65_536)
    assert told["days"][1]["shares"] == 20


def test_pay_is_judged_by_the_chain_and_the_fee(data_dir: Path, tmp_path: Path) -> None:
    """A share is a millionth of a block: 312.5 sat, 306.25 after two per cent."""
    owed = (11_331, 6_125)
    options = ["--csv", str(export(tmp_path, 37, 20, owed)), "--chain", str(chain(tmp_path))]
    assert reconcile(data_dir, *options, "--fee", "2", "--scheme", "PPS").exit_code == 0
    short = reconcile(data_dir, *options, "--fee", "0.5", "--scheme", "PPS", "--json")
    assert short.exit_code == 1
    findings = json.loads(short.stdout)["whole"]["findings"]
    assert "less credited in satoshi than the scheme owes" in {finding["reason"] for finding in findings}
    assert reconcile(data_dir, *options).exit_code == 2, "what is owed depends on the fee"


def test_days_that_one_side_lacks_are_said(data_dir: Path, tmp_path: Path) -> None:
    path = export(tmp_path, 37, 20)
    command = ["pools", "reconcile", "--pool", "braiins", "--from", "2025-06-15", "--to", "2025-06-18"]
    result = CliRunner().invoke(cli, [*command, "--data-dir", str(data_dir), "--csv", str(path)])
    assert result.exit_code == 0
    assert "2025-06-15: the ledger does not cover this time" in result.output
    assert "2025-06-15: the pool's books do not have this" in result.output
    assert "2025-06-18: the pool's books do not have this" in result.output
    assert "2 of 4 days can be compared" in result.output


def test_over_the_api_with_a_key_from_a_file_or_the_environment(
    data_dir: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("hashwerk.feeds.pool_accounts.braiins.PAUSE_S", 0.0)
    key_file = tmp_path / "key"
    key_file.write_text(KEY + "\n")
    with braiins_api() as url:
        result = reconcile(data_dir, "--url", url, "--key-file", str(key_file), "--json")
        assert result.exit_code == 0, result.output
        told = json.loads(result.stdout)
        assert told["compared_days"] == 1
        assert told["days"][0]["credited_sat"] == "11331.00000000"
        assert told["whole"]["paid_sat"] == "0"
        assert KEY not in result.output
        key_file.write_text("wrong")
        refused = reconcile(data_dir, "--url", url, "--key-file", str(key_file))
        assert isinstance(refused.exception, FeedError)
        assert "wrong" not in str(refused.exception)
        monkeypatch.setenv("HASHWERK_POOL_KEY", KEY)
        assert reconcile(data_dir, "--url", url).exit_code == 0


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ([], "needs a key"),
        (["--fee", "101"], "between 0 and 100"),
        (["--fee", "much"], "no percentage"),
        (["--day-start", "25:00"], "no time of day"),
        (["--from", "yesterday"], "no day"),
        (["--from", "2025-06-18"], "lies after"),
    ],
)
def test_what_cannot_be_asked_is_refused_with_the_reason(
    data_dir: Path, arguments: list[str], words: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("HASHWERK_POOL_KEY", raising=False)
    result = reconcile(data_dir, *arguments)
    assert result.exit_code == 2
    assert words in result.output


def test_a_key_never_travels_in_the_clear(data_dir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HASHWERK_POOL_KEY", KEY)
    result = reconcile(data_dir, "--url", "http://pool.example")
    assert result.exit_code == 2
    assert "https" in result.output


def test_other_pools_need_an_account(data_dir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HASHWERK_POOL_KEY", KEY)
    for pool in ("luxor", "f2pool", "ocean"):
        assert "--account" in reconcile(data_dir, pool=pool).output


def test_an_upstream_that_the_ledger_does_not_have_is_named_with_those_it_has(
    data_dir: Path, tmp_path: Path
) -> None:
    result = reconcile(data_dir, "--csv", str(export(tmp_path, 1, 1)), "--upstream", "nobody")
    assert isinstance(result.exception, StoreError)
    assert "no upstream named nobody; it knows braiins" in str(result.exception)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "day,difficulty\n2025-06-16,1\n",
        "day,difficulty,subsidy_sat,fees_low_sat,fees_high_sat\n2025-06-16,0,1,,\n",
        "day,difficulty,subsidy_sat,fees_low_sat,fees_high_sat\n2025-06-16,1,1,5,4\n",
        "day,difficulty,subsidy_sat,fees_low_sat,fees_high_sat\n2025-06-16,NaN,1,,\n",
        "day,difficulty,subsidy_sat,fees_low_sat,fees_high_sat\ntoday,1,1,,\n",
        "day,difficulty,subsidy_sat,fees_low_sat,fees_high_sat\n2025-06-16,1\n",
    ],
)
def test_a_file_of_the_chain_that_cannot_be_is_refused(data_dir: Path, tmp_path: Path, text: str) -> None:
    path = tmp_path / "chain.csv"
    path.write_text(text)
    arguments = ["--csv", str(export(tmp_path, 1, 1)), "--chain", str(path), "--fee", "2"]
    result = reconcile(data_dir, *arguments)
    assert isinstance(result.exception, ConfigError)
    assert str(path) in str(result.exception)


def test_the_days_are_those_of_the_calendar() -> None:
    assert dt.datetime.fromtimestamp(DAY_1, dt.UTC) == dt.datetime(2025, 6, 16, tzinfo=dt.UTC)
    assert DAY_2 - DAY_1 == 86_400
