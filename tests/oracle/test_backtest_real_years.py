"""Credible years from recorded series: figures that only hold if prices, money, limits and publication are all right."""

from __future__ import annotations

import datetime
from pathlib import Path

import msgspec
import numpy as np
import pytest

from hashwerk.cli.backtest import load_backtest
from hashwerk.dispatch.backtest.report import Course
from hashwerk.dispatch.backtest.run import Job, run_backtest

ROOT = Path(__file__).parents[2]
DATA = ROOT.parent / "shared" / "data"

pytestmark = pytest.mark.skipif(
    not DATA.is_dir(),
    reason="THE RECORDED SERIES ARE NOT HERE (../shared/data): no year of SE2, DE-LU or ERCOT is checked",
)


def run(example: str, first: str, last: str, *policies: str) -> Course:
    name, settings = load_backtest(ROOT / "examples" / "backtest" / f"{example}.toml")
    start, stop = (
        datetime.datetime.fromisoformat(day).replace(tzinfo=datetime.UTC).timestamp() for day in (first, last)
    )
    chosen = msgspec.structs.replace(settings, policies=policies)
    return run_backtest(Job(name=name, settings=chosen, folder=str(DATA), start_s=start, stop_s=stop))


def test_a_year_of_swedish_hydro() -> None:
    result = run("se2-hydro", "2023-01-01", "2024-01-01", "one strike", "marginal strike").result
    always_on, strike, marginal = result.policies
    assert result.intervals == 35_040
    # SE2's mean of 2023 was about 40 EUR/MWh; with 6.5 of fees a hall that always runs pays 46.5.
    assert always_on.mean_price_per_mwh == pytest.approx(46.5, abs=1.0)
    assert always_on.uptime == pytest.approx(1.0)
    assert always_on.margin < strike.margin < marginal.margin < result.foresight_margin
    assert marginal.regret < 0.002 * marginal.margin  # only starts stand between it and the bound
    assert max(policy.seconds for policy in result.policies) < 1.0


def test_a_year_on_the_german_auction_is_no_place_to_mine_and_a_demand_charge_wants_a_plan() -> None:
    result = run("german-day-ahead", "2025-01-01", "2026-01-01", "marginal strike", "optimiser").result
    always_on, marginal, optimiser = result.policies
    assert always_on.margin < -5e6
    assert 0.1 < marginal.uptime < 0.35
    assert 0 < marginal.margin < optimiser.margin < result.foresight_margin
    assert marginal.demand_cost > 0.4 * marginal.margin
    assert optimiser.demand_cost < marginal.demand_cost
    assert optimiser.fallbacks == 0


def test_february_2021_in_texas() -> None:
    course = run("ercot-hub", "2021-02-01", "2021-03-01", "marginal strike", "optimiser")
    always_on, marginal, optimiser = course.result.policies
    assert np.nanmax(course.price_per_mwh) > 8_000
    # A week at thousands of dollars takes more than the month earns.
    assert always_on.margin < 0 < marginal.margin
    assert 100 < marginal.curtailed_h < 250
    assert optimiser.margin == pytest.approx(marginal.margin, rel=0.002)
    storm = (course.starts_s >= 1_613_347_200) & (course.starts_s < 1_613_692_800)  # 15 to 18 February
    assert course.import_w["marginal strike"][storm].max() < 0.05 * course.import_w["always on"].max()
