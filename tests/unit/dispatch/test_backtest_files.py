"""Series and settings from files: what is wrong is said, with the file and the hour."""

from __future__ import annotations

import datetime
import multiprocessing
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from hashwerk.dispatch.backtest.hashprice_history import hashprice_history
from hashwerk.dispatch.backtest.load import load_scenario
from hashwerk.dispatch.backtest.run import Job, run_many
from hashwerk.dispatch.backtest.series_files import describe_gaps, on_grid, read_series
from hashwerk.dispatch.backtest.settings import (
    BacktestSettings,
    CarbonSettings,
    DemandSettings,
    GroupSettings,
    ModeSettings,
    MoneySettings,
    PlanningSettings,
    SeriesSettings,
)
from hashwerk.dispatch.grid import uniform_grid
from hashwerk.errors import ConfigError, FeedError

HOUR_S = 3_600.0
START_S = datetime.datetime(2025, 6, 16, tzinfo=datetime.UTC).timestamp()


def write_hours(path: Path, hours: list[float], values: list[float], zone: list[str] | None = None) -> None:
    stamps = pa.array([int((START_S + hour * HOUR_S) * 1e6) for hour in hours], pa.timestamp("us", tz="UTC"))
    columns = {"time_utc": stamps, "price": pa.array(values)} | ({"zone": pa.array(zone)} if zone else {})
    pq.write_table(pa.table(columns), path)


def price_file(**more: object) -> SeriesSettings:
    return SeriesSettings(**({"file": "p.parquet", "column": "price", "name": "invented prices"} | more))  # type: ignore[arg-type]


def settings(**more: object) -> BacktestSettings:
    mode = ModeSettings(name="only", power_w=3_000.0, hashrate_ths=120.0)
    values: dict[str, object] = {
        "price": price_file(),
        "groups": (GroupSettings(name="a", count=10, modes=(mode,)),),
        "hashprice": MoneySettings(per_ph_day=45.0),
        "policies": ("marginal strike",),
    }
    return BacktestSettings(**(values | more))  # type: ignore[arg-type]


def test_parquet_and_csv_give_the_same(tmp_path: Path) -> None:
    write_hours(tmp_path / "p.parquet", [2, 0, 1], [30.0, 10.0, 20.0])
    (tmp_path / "p.csv").write_text(
        "time_utc,price\n2025-06-16T00:00:00Z,10\n2025-06-16T01:00:00Z,20\n2025-06-16T02:00:00Z,30\n"
    )
    parquet = read_series(tmp_path, price_file())
    csv = read_series(tmp_path, price_file(file="p.csv"))
    assert parquet.values.tolist() == csv.values.tolist() == [10, 20, 30]
    assert parquet.times_s.tolist() == csv.times_s.tolist()
    assert parquet.resolution_s == HOUR_S


def test_a_gap_stays_a_gap_and_is_described(tmp_path: Path) -> None:
    # 20 hours, then a jump by a day.
    write_hours(tmp_path / "p.parquet", [*range(20), *range(44, 60)], [50.0] * 36)
    series, grid = read_series(tmp_path, price_file()), uniform_grid(START_S, 900.0, 240)
    assert np.isnan(on_grid(series, grid)).sum() == 96
    assert describe_gaps(series, grid) == ("invented prices: 24 h are missing, from 2025-06-16T20:00Z")
    assert describe_gaps(series, uniform_grid(START_S, 900.0, 80)) is None
    assert describe_gaps(series, uniform_grid(START_S, 900.0, 260)) == (
        "invented prices: 29 h are missing in 2 gaps, the longest from 2025-06-16T20:00Z for 24 h"
    )


def test_a_market_that_changes_its_resolution_keeps_both_and_its_gaps(tmp_path: Path) -> None:
    # Two days by the hour, then two by the quarter, each with a row missing, and an hour again.
    hours = [float(hour) for hour in range(48) if hour != 30]
    quarters = [48 + quarter / 4 for quarter in range(192) if quarter != 50]
    write_hours(tmp_path / "p.parquet", [*hours, *quarters], [50.0] * (len(hours) + len(quarters)))
    series = read_series(tmp_path, price_file())
    assert series.resolution_s == HOUR_S
    missing = np.flatnonzero(np.isnan(on_grid(series, uniform_grid(START_S, 900.0, 96 * 4))))
    assert missing.tolist() == [120, 121, 122, 123, 192 + 50]


def test_rows_are_chosen_by_another_column(tmp_path: Path) -> None:
    write_hours(tmp_path / "p.parquet", [0, 0, 1, 1], [1.0, 5.0, 2.0, 6.0], ["x", "y", "x", "y"])
    assert read_series(tmp_path, price_file(where={"zone": "y"}, scale=10)).values.tolist() == [50, 60]
    with pytest.raises(FeedError, match="two different values at 2025-06-16T00:00Z"):
        read_series(tmp_path, price_file())


@pytest.mark.parametrize(
    ("more", "message"),
    [
        ({"file": "absent.parquet"}, r"absent.parquet: name the folder with --data"),
        ({"column": "preis"}, r"no column 'preis'; it has time_utc, price"),
        ({"file": "broken.parquet"}, r"broken.parquet cannot be read"),
    ],
)
def test_a_file_that_cannot_be_used_is_named(tmp_path: Path, more: dict[str, object], message: str) -> None:
    write_hours(tmp_path / "p.parquet", [0, 1], [1.0, 2.0])
    (tmp_path / "broken.parquet").write_bytes(b"PAR1 not really")
    with pytest.raises(FeedError, match=message):
        read_series(tmp_path, price_file(**more))


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        (
            "16.06.2025 00:00,50\n16.06.2025 01:00,50\n",
            "time_utc does not hold times like 2025-06-16T00:00:00Z",
        ),
        ("2025-06-16T00:00:00Z,50\n2025-06-16T01:00:00Z,cheap\n", "price does not hold numbers"),
        ("2025-06-16T00:00:00Z,50\n,50\n2025-06-16T02:00:00Z,50\n", "time_utc is empty in 1 of 3 rows"),
    ],
)
def test_rows_that_cannot_be_read_are_named(tmp_path: Path, rows: str, message: str) -> None:
    (tmp_path / "p.csv").write_text("time_utc,price\n" + rows)
    with pytest.raises(FeedError, match=r"p\.csv: " + message):
        read_series(tmp_path, price_file(file="p.csv"))


def test_what_is_not_known_of_emissions_is_said_and_never_taken_for_clean(tmp_path: Path) -> None:
    write_hours(tmp_path / "p.parquet", list(range(24)), [50.0] * 24)
    span = (START_S, START_S + 24 * HOUR_S)
    plain = load_scenario("x", settings(), tmp_path, *span)
    assert "nothing is known of the local mix: emissions are not counted" in plain.assumptions
    assert "there is no charge on the peak of a month" in plain.assumptions
    write_hours(tmp_path / "c.parquet", [2, 3, 5], [100.0, 400.0, 100.0])
    factors = SeriesSettings(file="c.parquet", column="price", name="invented factors")
    counted = load_scenario("x", settings(carbon=CarbonSettings(series=factors)), tmp_path, *span)
    assert counted.history.settled("carbon")[::4].tolist() == [100, 100, 100, 400, 400] + [100] * 19
    charged = load_scenario("x", settings(demand=DemandSettings(price_per_kw_month=2.5)), tmp_path, *span)
    assert "demand charge: 2.5 EUR per kW of each UTC month's highest mean over 15 min" in charged.assumptions
    sunny = load_scenario("x", settings(local=price_file(name="invented sun")), tmp_path, *span)
    assert "own generation: invented sun" in sunny.assumptions
    assert any("taken to be as the last hour before" in line for line in counted.assumptions)
    # What stands in for the hours before the first factor was not known any earlier.
    assert (counted.history.publications("carbon")[:8] >= counted.history.publications("carbon")[8]).all()


def test_a_series_without_a_value_in_the_span_is_refused(tmp_path: Path) -> None:
    write_hours(tmp_path / "p.parquet", list(range(24)), [50.0] * 24)
    write_hours(tmp_path / "old.parquet", [-90, -89], [1.0, 2.0])
    local = settings(local=SeriesSettings(file="old.parquet", column="price", name="invented sun"))
    with pytest.raises(FeedError, match="invented sun has no value in the span"):
        load_scenario("x", local, tmp_path, START_S, START_S + 24 * HOUR_S)


def test_missing_hours_are_an_assumption_that_is_printed(tmp_path: Path) -> None:
    write_hours(tmp_path / "p.parquet", [*range(10), *range(12, 24)], [50.0] * 22)
    job = Job(
        name="x", settings=settings(), folder=str(tmp_path), start_s=START_S, stop_s=START_S + 24 * HOUR_S
    )
    (course,) = run_many([job])
    assert course.result.missing_h == 2.0
    assert any(
        "2 h are missing" in line and "left out of every account" in line
        for line in course.result.assumptions
    )
    assert "energy price: invented prices" in course.result.assumptions


def test_sites_side_by_side_tell_how_far_they_are_and_which_one_failed(tmp_path: Path) -> None:
    write_hours(tmp_path / "p.parquet", list(range(48)), [50.0, 90.0] * 24)
    span = {"folder": str(tmp_path), "start_s": START_S, "stop_s": START_S + 48 * HOUR_S}
    planned = settings(policies=("marginal strike", "optimiser"))
    jobs = [Job(name=name, settings=planned, **span) for name in ("north", "south")]  # type: ignore[arg-type]
    lost = Job(name="lost", settings=settings(price=price_file(file="absent.parquet")), **span)  # type: ignore[arg-type]
    told: dict[str, list[float]] = {}
    courses = run_many(
        jobs, processes=2, progress=lambda site, share: told.setdefault(site, []).append(share)
    )
    assert [course.result.site for course in courses] == ["north", "south"]
    for shares in told.values():
        assert shares[0] == 0.0
        assert shares[-1] == 1.0
        assert shares == sorted(shares)
        assert any(0.0 < share < 1.0 for share in shares)
    with pytest.raises(FeedError, match=r"^lost: there is no file"):
        run_many([jobs[0], lost], processes=2)


def test_prices_of_minus_500_and_9000_are_prices(tmp_path: Path) -> None:
    write_hours(tmp_path / "p.parquet", list(range(24)), [-500.0, 9_000.0] * 12)
    three = settings(policies=("one strike", "marginal strike", "optimiser"))
    job = Job(name="x", settings=three, folder=str(tmp_path), start_s=START_S, stop_s=START_S + 24 * HOUR_S)
    (course,) = run_many([job])
    always, _, marginal, optimiser = course.result.policies
    assert always.margin < 0 < marginal.margin
    assert marginal.regret == pytest.approx(0, abs=2.0)  # starts lose a little hash
    assert optimiser.margin >= marginal.margin - 0.01


@pytest.mark.parametrize(
    ("more", "stop_h", "error", "message"),
    [
        ({}, 0, ConfigError, "ends after it begins"),
        ({"interval_s": 7_000.0}, 24, ConfigError, "must divide a day"),
        ({"planning": PlanningSettings(step_s=1_000.0)}, 24, ConfigError, "multiple of interval_s"),
        ({"feeders_kw": {"Z": 10.0}}, 24, ConfigError, "'Z', which feeds no group"),
        ({"carbon": CarbonSettings()}, 24, ConfigError, "needs g_per_kwh or a series"),
        ({"policies": ("carbon budget",)}, 24, ConfigError, "budget_t_per_month"),
        (
            {"price": price_file(column="price", where={"price": "1.0"})},
            24,
            FeedError,
            "no values of price are left",
        ),
        ({"hashprice": MoneySettings()}, 24, FeedError, "btc_difficulty_epochs.csv: name the folder"),
    ],
)
def test_settings_that_contradict_each_other_are_said(
    tmp_path: Path, more: dict[str, object], stop_h: int, error: type[Exception], message: str
) -> None:
    write_hours(tmp_path / "p.parquet", list(range(24)), [50.0] * 24)
    with pytest.raises(error, match=message):
        load_scenario("x", settings(**more), tmp_path, START_S, START_S + stop_h * HOUR_S)


def write_money(folder: Path) -> None:
    (folder / "btc_difficulty_epochs.csv").write_text(
        "height,timestamp,difficulty\n689472,1625290000,14363025673659\n691488,1626560000,13672594272814\n"
    )
    (folder / "btc_usd_daily_2012_2026.csv").write_text(
        "date,btc_usd_00utc\n2021-07-17,31338\n2021-07-24,33806\n"
    )
    (folder / "fx.csv").write_text("date,USD,SEK\n2021-07-16,1.20,10.0\n")


def test_the_hashprice_of_a_day_is_the_published_one(tmp_path: Path) -> None:
    # 17 July 2021: 0.2787 USD/TH/day at a fee share of 1.57 %, the index's own inputs.
    write_money(tmp_path)
    grid = uniform_grid(datetime.datetime(2021, 7, 17, tzinfo=datetime.UTC).timestamp(), 900.0, 8)
    money = MoneySettings(fee_share=0.0157, pool_fee=0.0, reject_share=0.0)
    assert hashprice_history(tmp_path, money, grid, "USD") == pytest.approx([278.7] * 8, abs=0.05)


def test_a_halving_within_a_period_of_the_difficulty_halves_the_hashprice_there(tmp_path: Path) -> None:
    # Block 840,000 is the 1,345th of its period: 1,344 blocks of ten minutes after the first.
    start_s = datetime.datetime(2024, 4, 10, tzinfo=datetime.UTC).timestamp()
    (tmp_path / "btc_difficulty_epochs.csv").write_text(
        f"height,timestamp,difficulty\n838656,{start_s:.0f},80000000000000\n840672,{start_s + 2_016 * 600:.0f},80000000000000\n"
    )
    days = [datetime.date(2024, 4, 10) + datetime.timedelta(days=number) for number in range(16)]
    rows = "".join(f"{day},60000\n" for day in days)
    (tmp_path / "btc_usd_daily_2012_2026.csv").write_text("date,btc_usd_00utc\n" + rows)
    grid = uniform_grid(start_s, 600.0, 16 * 144)
    values = hashprice_history(tmp_path, MoneySettings(), grid, "USD")
    assert (values[:1_344] == values[0]).all()
    assert (values[1_344:] == values[0] / 2).all()


def test_other_currencies_need_rates_and_take_those_of_the_day_before(tmp_path: Path) -> None:
    write_money(tmp_path)
    grid = uniform_grid(datetime.datetime(2021, 7, 17, tzinfo=datetime.UTC).timestamp(), 900.0, 1)
    money = MoneySettings(fee_share=0.0157, pool_fee=0.0, reject_share=0.0)
    with pytest.raises(FeedError, match="fx_file names the rates"):
        hashprice_history(tmp_path, money, grid, "EUR")
    with_rates = MoneySettings(fee_share=0.0157, pool_fee=0.0, reject_share=0.0, fx_file="fx.csv")
    assert hashprice_history(tmp_path, with_rates, grid, "EUR")[0] == pytest.approx(278.7 / 1.2, abs=0.05)
    assert hashprice_history(tmp_path, with_rates, grid, "SEK")[0] == pytest.approx(2_787 / 1.2, abs=0.5)
    late = uniform_grid(datetime.datetime(2021, 7, 24, tzinfo=datetime.UTC).timestamp(), 900.0, 1)
    with pytest.raises(FeedError, match="no rate of the week before 2021-07-24"):
        hashprice_history(tmp_path, with_rates, late, "EUR")
    gone = uniform_grid(datetime.datetime(2021, 7, 20, tzinfo=datetime.UTC).timestamp(), 900.0, 1)
    with pytest.raises(FeedError, match="no price of 2021-07-20"):
        hashprice_history(tmp_path, money, gone, "USD")


def test_an_interrupt_does_not_wait_for_the_end_of_a_year(tmp_path: Path) -> None:
    write_hours(tmp_path / "p.parquet", list(range(24 * 365)), [50.0, 90.0, 10.0] * 2_920)
    long = settings(policies=("optimiser",), planning=PlanningSettings(step_s=900.0, replan_h=0.25))
    span = {"folder": str(tmp_path), "start_s": START_S, "stop_s": START_S + 360 * 24 * HOUR_S}
    before = set(multiprocessing.active_children())

    def interrupt(_: str, share: float) -> None:
        if share > 0:
            raise KeyboardInterrupt

    jobs = [Job(name=name, settings=long, **span) for name in ("north", "south")]  # type: ignore[arg-type]
    with pytest.raises(KeyboardInterrupt):
        run_many(jobs, processes=2, progress=interrupt)
    assert set(multiprocessing.active_children()) <= before
