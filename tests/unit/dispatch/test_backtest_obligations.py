"""What a contract, a place and a grid operator ask of a backtest: tariffs, rules, limits that change, ramps."""

from __future__ import annotations

import datetime
from pathlib import Path

import msgspec
import numpy as np
import pytest

from hashwerk.dispatch.backtest.leak import find_leak
from hashwerk.dispatch.backtest.load import load_scenario
from hashwerk.dispatch.backtest.replay import replay
from hashwerk.dispatch.backtest.run import Job, make_policy, run_backtest
from hashwerk.dispatch.backtest.settings import (
    BacktestSettings,
    CoincidentSettings,
    DemandSettings,
    GroupSettings,
    LimitSettings,
    ModeSettings,
    MoneySettings,
    PolicyName,
    SeriesSettings,
)
from hashwerk.energy.bill import make_bill
from hashwerk.energy.series import SeriesInfo, make_series
from hashwerk.energy.settings import TariffSettings
from hashwerk.energy.tariff import TariffError, load_tariff
from hashwerk.energy.usage import BillingFacts, Usage
from hashwerk.errors import ConfigError
from hashwerk.policy.settings import PlaceSettings
from support.backtests import waves

HOUR_S = 3_600.0
DAY_S = 24 * HOUR_S
MODES = (
    ModeSettings(name="eco", power_w=1_500.0, hashrate_ths=75.0),
    ModeSettings(name="high", power_w=3_000.0, hashrate_ths=120.0),
)
POLICIES: tuple[PolicyName, ...] = ("one strike", "marginal strike", "optimiser")


def utc(*parts: int) -> float:
    return datetime.datetime(*parts, tzinfo=datetime.UTC).timestamp()  # type: ignore[misc,arg-type]


def write(path: Path, first_s: float, values: list[float], step_s: float = HOUR_S) -> None:
    stamps = np.array([first_s + step_s * n for n in range(len(values))]).astype("datetime64[s]")
    rows = "".join(f"{stamp}Z,{value}\n" for stamp, value in zip(stamps, values, strict=True))
    path.write_text("time_utc,value\n" + rows)


def series(file: str) -> SeriesSettings:
    return SeriesSettings(file=file, column="value", name=f"invented {file}")


def settings(**more: object) -> BacktestSettings:
    values: dict[str, object] = {
        "groups": (GroupSettings(name="a", count=100, modes=MODES, wake_s=0.0, residual_w=10.0, feeder="F"),),
        "hashprice": MoneySettings(per_ph_day=45.0),
        "policies": POLICIES,
    }
    return BacktestSettings(**(values | more))  # type: ignore[arg-type]


def job(folder: Path, chosen: BacktestSettings, start_s: float, days: float) -> Job:
    return Job(name="x", settings=chosen, folder=str(folder), start_s=start_s, stop_s=start_s + days * DAY_S)


def test_a_month_under_a_tariff_costs_what_its_bill_says(tmp_path: Path) -> None:
    june_s = utc(2025, 6, 1)
    prices = [float(price) for price in np.round(waves(720, 3, hourly=False) - 40, 2)]
    write(tmp_path / "p.csv", june_s, prices)
    chosen = settings(
        price=series("p.csv"), tariff=TariffSettings(name="germany-day-ahead-2025"), policies=()
    )
    course = run_backtest(job(tmp_path, chosen, june_s, 30))
    (always_on,) = course.result.policies
    drawn_wh = np.round(course.import_w["always on"] / 4).astype(np.int64)
    info = SeriesInfo(name="p", unit="EUR/MWh", resolution_s=3_600, source="invented", currency="EUR")
    market = make_series(info, int(june_s) + 3_600 * np.arange(720), prices, published_s=0)
    facts = BillingFacts(year_to_date_kwh=2_000_000)  # type: ignore[arg-type]
    usage = Usage(start_s=int(june_s), interval_s=900, import_wh=drawn_wh)
    bill = make_bill(load_tariff("germany-day-ahead-2025"), usage, facts, market=market)
    assert always_on.energy_cost + always_on.demand_cost == pytest.approx(float(bill.total), abs=0.05)
    assert always_on.demand_cost == pytest.approx(300 * 118.80 * 30 / 365 * 1.19, abs=0.01)
    said = "\n".join(course.result.assumptions)
    assert "tariff: Germany, day-ahead with fees, 2025, valid from 2025-01-01 until 2026-01-01" in said
    assert "energy priced in blocks is priced at the last one" in said
    assert "grid fees" not in said


def test_a_tariff_alone_needs_no_market_and_its_least_power_is_paid(tmp_path: Path) -> None:
    chosen = settings(currency="CAD", tariff=TariffSettings(name="hydro-quebec-cb-large"))
    result = run_backtest(job(tmp_path, chosen, utc(2025, 6, 1), 30)).result
    for policy in result.policies:
        # 300 kW are drawn at most; 5,000 are paid.
        assert policy.demand_cost == pytest.approx(5_000 * 15.426, abs=0.01)
        assert policy.regret >= -0.01
    assert "unauthorized consumption" in next(line for line in result.assumptions if "left out" in line)


HOLE = """
name = "with a hole"
currency = "EUR"
zone = "Europe/Berlin"
source = "invented"
valid_from = 2025-01-01
[[components]]
kind = "energy"
name = "energy"
rates = [
  { name = "day", per_kwh = "0.10", when = { hours = ["06:00-22:00"] } },
  { name = "night", per_kwh = "0.05", when = { hours = ["23:00-06:00"] } },
]
"""


def test_a_tariff_without_an_hour_is_refused_and_the_hour_is_named(tmp_path: Path) -> None:
    (tmp_path / "hole.toml").write_text(HOLE)
    chosen = settings(tariff=TariffSettings(name=str(tmp_path / "hole.toml")))
    with pytest.raises(TariffError, match="22:00"):
        load_scenario("x", chosen, tmp_path, utc(2025, 6, 1), utc(2025, 6, 2))


@pytest.mark.parametrize(
    ("more", "message"),
    [
        ({}, "needs a price or a tariff"),
        (
            {"tariff": TariffSettings(name="hydro-quebec-cb-large")},
            "the tariff is in CAD, the backtest in EUR",
        ),
        ({"tariff": TariffSettings(name="germany-day-ahead-2025")}, "needs the market's prices"),
        (
            {
                "tariff": TariffSettings(name="hydro-quebec-cb-large"),
                "currency": "CAD",
                "price": series("p.csv"),
            },
            "no use for a market's price",
        ),
        (
            {
                "tariff": TariffSettings(name="germany-day-ahead-2025"),
                "price": series("p.csv"),
                "fees_per_mwh": 5.0,
            },
            "no place beside a tariff",
        ),
        (
            {
                "tariff": TariffSettings(name="germany-day-ahead-2025"),
                "price": series("p.csv"),
                "demand": DemandSettings(price_per_kw_month=1.0),
            },
            "no place beside a tariff that charges for power",
        ),
    ],
)
def test_a_price_and_a_tariff_that_do_not_fit_are_said(
    tmp_path: Path, more: dict[str, object], message: str
) -> None:
    write(tmp_path / "p.csv", utc(2025, 6, 1), [50.0] * 24)
    with pytest.raises(ConfigError, match=message):
        load_scenario("x", settings(**more), tmp_path, utc(2025, 6, 1), utc(2025, 6, 2))


def test_an_order_of_the_past_is_obeyed_by_everybody_and_the_bound_knows_it(tmp_path: Path) -> None:
    start_s = utc(2025, 6, 2)
    write(tmp_path / "p.csv", start_s, [20.0] * 72)
    write(tmp_path / "orders.csv", start_s + 30 * HOUR_S, [60.0] * 8, 900.0)
    order = LimitSettings(name="order of the operator", series=series("orders.csv"))
    feeder = LimitSettings(name="hot cable", series=series("orders.csv"), feeder="F")
    free = run_backtest(job(tmp_path, settings(price=series("p.csv")), start_s, 3))
    bound = run_backtest(job(tmp_path, settings(price=series("p.csv"), limits=(order,)), start_s, 3))
    ordered = slice(120, 128)
    for name, import_w in bound.import_w.items():
        assert import_w[ordered].max() <= 60_000.0, name
        after = import_w[128:]
        assert after.max() == free.import_w[name][128:].max(), name
        # An order of two hours costs two hours of mining and no more.
        assert (import_w < free.import_w[name]).sum() <= 8 + 4, name
    assert bound.result.foresight_margin < free.result.foresight_margin
    assert all(policy.regret >= -0.01 for policy in bound.result.policies)
    assert any("no limit there" in line for line in bound.result.assumptions)
    hot = run_backtest(job(tmp_path, settings(price=series("p.csv"), limits=(feeder,)), start_s, 3))
    assert all(import_w[ordered].max() <= 60_000.0 for import_w in hot.import_w.values())


def test_the_import_rises_no_faster_than_it_may(tmp_path: Path) -> None:
    start_s = utc(2025, 6, 2)
    write(tmp_path / "p.csv", start_s, [float(price) for price in waves(96, 1, hourly=False)])
    chosen = settings(price=series("p.csv"), up_kw_per_minute=4.0)
    course = run_backtest(job(tmp_path, chosen, start_s, 4))
    for name, import_w in course.import_w.items():
        assert np.diff(import_w).max() <= 60_000.0 + 1e-6, name
        assert name == "always on" or np.diff(import_w).max() > 55_000.0, name
    assert all(policy.regret >= -0.01 for policy in course.result.policies)


def test_a_peak_of_the_grid_is_avoided_by_who_expects_it_and_paid_by_who_does_not(tmp_path: Path) -> None:
    start_s = utc(2021, 6, 1)
    write(tmp_path / "p.csv", start_s, [30.0] * 72)
    # One peak, on the second day at 17:15Z; every day from 17 to 18 h each quarter may be it with a chance of a quarter.
    write(tmp_path / "peaks.csv", start_s + 41.25 * HOUR_S, [1.0, 0.0], 900.0)
    chances = [0.25 if 68 <= quarter % 96 < 72 else 0.0 for quarter in range(288)]
    write(tmp_path / "chances.csv", start_s, chances, 900.0)
    blind = CoincidentSettings(name="4CP", price_per_kw=15.0, happened=series("peaks.csv"))
    seeing = msgspec.structs.replace(blind, expected=series("chances.csv"))
    unseen = run_backtest(job(tmp_path, settings(price=series("p.csv"), coincident=(blind,)), start_s, 3))
    course = run_backtest(job(tmp_path, settings(price=series("p.csv"), coincident=(seeing,)), start_s, 3))
    for one in unseen.result.policies:
        assert one.demand_cost == pytest.approx(15.0 * 300)
        assert one.regret > 4_000
    for one in course.result.policies:
        asleep = one.policy in {"marginal strike", "optimiser"}
        assert one.demand_cost == pytest.approx(15.0 * (1 if asleep else 300)), one.policy
        assert one.regret >= 0.0
        import_w = course.import_w[one.policy]
        if asleep:  # an hour each day, and no more
            assert (import_w < 150_000).reshape(3, 96).sum(axis=1).tolist() == [4, 4, 4]
    assert course.result.foresight_margin == unseen.result.foresight_margin
    assert any("4CP: nobody sees the peaks coming" in line for line in unseen.result.assumptions)


def test_a_peak_said_by_the_hour_is_that_of_the_hours_mean(tmp_path: Path) -> None:
    start_s = utc(2021, 6, 1)
    write(tmp_path / "p.csv", start_s, [30.0] * 24)
    write(tmp_path / "peaks.csv", start_s, [0.0] * 17 + [1.0] + [0.0] * 6)
    hourly = CoincidentSettings(name="4CP", price_per_kw=15.0, happened=series("peaks.csv"))
    chosen = settings(price=series("p.csv"), coincident=(hourly,), policies=())
    (always_on,) = run_backtest(job(tmp_path, chosen, start_s, 1)).result.policies
    assert always_on.demand_cost == pytest.approx(15.0 * 300)


def test_rules_of_a_place_bind_from_their_day(tmp_path: Path) -> None:
    # Sichuan ordered its mines cleared by 20 June 2021; local midnight is 16:00Z of the day before.
    start_s = utc(2021, 6, 17)
    write(tmp_path / "p.csv", start_s, [30.0] * 24 * 6)
    place = PlaceSettings(jurisdictions=("CN", "CN-SC"))
    course = run_backtest(
        job(tmp_path, settings(price=series("p.csv"), place=place, currency="CNY"), start_s, 6)
    )
    forbidden = slice(int((utc(2021, 6, 19, 16) - start_s) // 900), None)
    for name, import_w in course.import_w.items():
        assert import_w[forbidden].max() <= 1_000.0 + 1e-6, name
        assert import_w[4 : forbidden.start].min() > 100_000.0, name
    assert any("the site may not run in 80 h" in line for line in course.result.assumptions)
    assert all(policy.regret >= -0.01 for policy in course.result.policies)


def test_a_fee_of_the_place_is_paid_on_every_kwh(tmp_path: Path) -> None:
    start_s = utc(2022, 6, 1)
    write(tmp_path / "p.csv", start_s, [20_000.0] * 48)
    money = MoneySettings(per_ph_day=40_000.0)
    place = PlaceSettings(jurisdictions=("KZ",))
    taxed = settings(price=series("p.csv"), currency="KZT", hashprice=money, policies=(), place=place)
    result = run_backtest(job(tmp_path, taxed, start_s, 2)).result
    (always_on,) = result.policies
    assert always_on.mean_price_per_mwh == pytest.approx(21_000.0)  # 1 KZT/kWh
    # In 2022 miners there had the nights of working days: 16 of these 48 hours.
    assert always_on.uptime == pytest.approx(16 / 48, abs=1e-4)
    assert any("1 KZT/kWh more" in line for line in result.assumptions)
    assert any("the site may not run in 32 h" in line for line in result.assumptions)


@pytest.mark.parametrize("name", ["marginal strike", "optimiser"])
def test_nobody_knows_an_order_or_a_rule_before_it_is_known(tmp_path: Path, name: PolicyName) -> None:
    start_s = utc(2021, 6, 17)
    write(tmp_path / "p.csv", start_s, [float(price) for price in waves(24 * 5, 2, hourly=False)])
    write(tmp_path / "orders.csv", start_s + 30 * HOUR_S, [60.0] * 8, 900.0)
    chosen = settings(
        price=series("p.csv"),
        limits=(LimitSettings(name="order", series=series("orders.csv")),),
        place=PlaceSettings(jurisdictions=("CN-SC",)),
    )
    loaded = load_scenario("x", chosen, tmp_path, start_s, start_s + 5 * DAY_S)
    cuts = [start_s + 29 * HOUR_S, start_s + 30.3 * HOUR_S]
    assert find_leak(loaded, lambda _: make_policy(name, chosen), cuts) is None
    assert replay(loaded, make_policy(name, chosen)).fallbacks == 0
