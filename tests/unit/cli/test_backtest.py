"""`hashwerk backtest` as people and programs call it."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
from click.testing import CliRunner

from hashwerk.cli import cli
from hashwerk.cli.backtest import load_backtest
from hashwerk.config.problems import InvalidConfigError
from hashwerk.errors import FeedError

EXAMPLES = sorted((Path(__file__).parents[3] / "examples" / "backtest").glob("*.toml"))

SITE = """
[site]
name = "Little hall"

[backtest]
breaker_kw = 25
policies = ["one strike", "marginal strike", "optimiser"]

[backtest.price]
file = "p.csv"
column = "price"
name = "day-ahead hub"
publication = { kind = "day ahead", at = "13:00", zone = "Europe/Berlin" }

[backtest.hashprice]
per_ph_day = 45

[[backtest.groups]]
name = "a"
count = 10
modes = [{ name = "eco", power_w = 1500, hashrate_ths = 75 }, { name = "high", power_w = 3000, hashrate_ths = 120 }]
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "site.toml").write_text(SITE)
    rows = [
        f"2025-06-{day:02}T{hour:02}:00:00Z,{40 + 5 * hour}" for day in range(16, 20) for hour in range(24)
    ]
    (tmp_path / "p.csv").write_text("time_utc,price\n" + "\n".join(rows) + "\n")
    return tmp_path


def arguments(folder: Path, *more: str) -> list[str]:
    site = str(folder / "site.toml")
    return ["backtest", site, "--from", "2025-06-16", "--to", "2025-06-19", "--data", str(folder), *more]


def test_as_json_with_plots(folder: Path) -> None:
    done = CliRunner().invoke(
        cli, arguments(folder, "--json", "--plots", str(folder / "plots")), catch_exceptions=False
    )
    answer = json.loads(done.stdout)
    (site,) = answer["sites"]
    assert site["site"] == "Little hall"
    assert site["intervals"] == 288
    assert [policy["policy"] for policy in site["policies"]] == [
        "always on",
        "one strike",
        "marginal strike",
        "optimiser",
    ]
    always_on, _, marginal, optimiser = site["policies"]
    assert optimiser["against_strike"] == pytest.approx(optimiser["margin"] - marginal["margin"], abs=0.02)
    assert marginal["against_strike"] is None
    assert marginal["against_always_on"] == pytest.approx(marginal["margin"] - always_on["margin"], abs=0.02)
    assert site["foresight_margin"] >= max(policy["margin"] for policy in site["policies"])
    assert "energy price: day-ahead hub" in site["assumptions"]
    assert len(answer["plots"]) == 3
    assert all(Path(file).stat().st_size > 10_000 for file in answer["plots"])


def test_as_a_table(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "200")
    done = CliRunner().invoke(cli, arguments(folder), catch_exceptions=False)
    assert "marginal strike" in done.stdout
    assert "perfect foresight (a bound" in done.stdout
    assert "Assumed:" in done.stdout
    assert "against the strike" in done.stdout
    assert "settlement" not in done.stdout
    # Ten machines earn cents: nothing is rounded to thousands.
    assert "Money in EUR." in done.stdout
    assert re.search(r"margin +-?\d+\.\d\d +-?\d+\.\d\d", done.stdout)


def test_several_sites_run_side_by_side(folder: Path) -> None:
    (folder / "two.toml").write_text(
        SITE.replace("Little hall", "Other hall").replace("count = 10", "count = 20")
    )
    two = [*arguments(folder, "--json", "--processes", "2"), str(folder / "two.toml")]
    answer = json.loads(CliRunner().invoke(cli, two, catch_exceptions=False).stdout)
    assert [(site["site"], site["machines"]) for site in answer["sites"]] == [
        ("Little hall", 10),
        ("Other hall", 20),
    ]


def test_what_is_wrong_is_one_clear_line(folder: Path) -> None:
    (folder / "p.csv").unlink()
    done = CliRunner().invoke(cli, arguments(folder))
    assert isinstance(done.exception, FeedError)
    assert "p.csv: name the folder with --data" in str(done.exception)


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        (("[backtest", "[backtesting"), "is required"),
        (("breaker_kw", "braker_kw"), "did you mean breaker_kw"),
        (('column = "price"', ""), "is required"),
        (("count = 10", "count = -1"), ">= 0"),
        (("breaker_kw = 25", "breaker_kw = -25"), "> 0"),
    ],
)
def test_a_site_file_with_a_mistake_is_refused_with_a_hint(
    folder: Path, change: tuple[str, str], problem: str
) -> None:
    path = folder / "site.toml"
    path.write_text(SITE.replace(*change))
    with pytest.raises(InvalidConfigError) as caught:
        load_backtest(path)
    assert problem in str(caught.value)


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.stem)
def test_the_examples_can_be_read(path: Path) -> None:
    name, settings = load_backtest(path)
    assert name
    assert "settlement" in settings.price.name
    assert sum(group.count for group in settings.groups) == 4_800
    assert len(EXAMPLES) == 3
