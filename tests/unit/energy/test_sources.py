"""Attribution by a rule declared before the period, whole Wh, and the scores that rest on it."""

from __future__ import annotations

from decimal import Decimal
from fractions import Fraction

import pytest

from hashwerk.energy.factors import CCAF, Fuel
from hashwerk.energy.scores import (
    MatchedHour,
    TakeOrPay,
    by_hour,
    cfe_score,
    emissions,
    matching_score,
)
from hashwerk.energy.sources import (
    Attribution,
    AttributionError,
    BatteryContent,
    Declaration,
    Flows,
    Source,
    SourceKind,
)

DAY = 86_400
SOURCES = (
    Source(name="sun", kind=SourceKind.OWN, fuel=Fuel.SOLAR),
    Source(name="river", kind=SourceKind.OWN, fuel=Fuel.HYDRO),
    Source(name="wind farm", kind=SourceKind.CONTRACT, fuel=Fuel.WIND),
)
FUELS = {source.name: source.fuel for source in SOURCES}


def declare(rule: str = "own-first/1", **changes: object) -> Declaration:
    fields = {
        "rule": rule,
        "start_s": 0,
        "stop_s": DAY,
        "declared_s": -1,
        "order": ("river", "sun", "wind farm"),
    }
    return Declaration(**{**fields, **changes})


def flows(load_wh: int, **amounts: object) -> Flows:
    return Flows(start_s=0, stop_s=3_600, load_wh=load_wh, **amounts)


def test_own_plants_come_first_in_the_declared_order():
    result = Attribution(declare(), SOURCES).attribute(
        flows(1_000, own_wh={"sun": 500, "river": 300}, contract_wh={"wind farm": 150})
    )
    assert result.by_source == {"river": 300, "sun": 500, "wind farm": 150, "grid": 50}
    assert result.surplus_wh == {}


def test_a_surplus_is_told_by_source_and_serves_no_other_hour():
    result = Attribution(declare(), SOURCES).attribute(
        flows(400, own_wh={"sun": 500, "river": 300}, contract_wh={"wind farm": 150}, export_wh=400)
    )
    assert result.by_source == {"river": 300, "sun": 100}
    assert result.surplus_wh == {"sun": 400, "wind farm": 150}


def test_in_proportion_every_plant_serves_load_and_grid_alike():
    result = Attribution(declare("pro-rata/1"), SOURCES).attribute(
        flows(400, own_wh={"sun": 600, "river": 200}, export_wh=400)
    )
    assert result.by_source == {"sun": 300, "river": 100}
    assert result.surplus_wh == {"sun": 300, "river": 100}


def test_contracts_first_leaves_own_energy_for_the_grid():
    result = Attribution(declare("contracts-first/1"), SOURCES).attribute(
        flows(400, own_wh={"river": 300}, contract_wh={"wind farm": 250}, export_wh=150)
    )
    assert result.by_source == {"wind farm": 250, "river": 150}


def test_a_battery_gives_back_what_filled_it_less_its_losses():
    attribution = Attribution(declare(), SOURCES, BatteryContent(efficiency_ppm=900_000))
    attribution.attribute(flows(0, own_wh={"sun": 1_000}, charge_wh=1_000))
    night = Flows(start_s=3_600, stop_s=7_200, load_wh=2_000, discharge_wh=900)
    assert attribution.attribute(night).by_source == {"sun": 900, "grid": 1_100}
    # More than ever went in: nobody has shown where that comes from.
    more = Flows(start_s=7_200, stop_s=10_800, load_wh=500, discharge_wh=500)
    assert attribution.attribute(more).by_source == {"grid": 500}


def test_a_battery_filled_from_the_grid_is_the_grids():
    attribution = Attribution(declare(), SOURCES)
    attribution.attribute(flows(0, own_wh={"sun": 100}, charge_wh=1_000))
    later = Flows(start_s=3_600, stop_s=7_200, load_wh=900, discharge_wh=900)
    assert attribution.attribute(later).by_source == {"sun": 90, "grid": 810}


def test_a_rule_declared_after_the_period_began_is_refused():
    with pytest.raises(AttributionError, match="declared 1 s after its period began"):
        declare(declared_s=1)


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"rule": "sun-first"}, "no rule 'sun-first'; there are contracts-first/1, own-first/1, pro-rata/1"),
        ({"order": ("sun", "sun")}, "named twice"),
    ],
)
def test_a_declaration_names_a_rule_that_exists(change, says):
    with pytest.raises(AttributionError, match=says):
        declare(**change)


def test_an_interval_comes_once_and_within_the_period():
    attribution = Attribution(declare(), SOURCES)
    attribution.attribute(flows(10))
    with pytest.raises(AttributionError, match="comes twice"):
        attribution.attribute(flows(10))
    with pytest.raises(AttributionError, match="outside"):
        attribution.attribute(Flows(start_s=DAY, stop_s=DAY + 1, load_wh=1))


def test_a_contract_is_no_own_plant():
    with pytest.raises(AttributionError, match="'wind farm' is no source of the kind 'own'"):
        Attribution(declare(), SOURCES).attribute(flows(10, own_wh={"wind farm": 10}))


def test_energy_is_not_negative():
    with pytest.raises(ValueError, match="negative"):
        flows(-1)


HOURS = (
    MatchedHour(start_s=0, load_wh=1_000, clean_wh=3_000, grid_clean_ppm=500_000),
    MatchedHour(start_s=3_600, load_wh=1_000, clean_wh=0, grid_clean_ppm=500_000),
    MatchedHour(start_s=7_200, load_wh=2_000, clean_wh=500),
)


def test_surplus_in_one_hour_never_serves_another():
    assert matching_score(HOURS) == Fraction(1_500, 4_000)
    assert matching_score([]) is None


def test_the_grids_clean_part_counts_for_the_rest_where_it_is_known():
    assert cfe_score(HOURS) == Fraction(1_000 + 500 + 500, 4_000)


def test_hours_are_made_of_intervals_that_lie_within_them():
    attribution = Attribution(declare(), SOURCES)
    quarters = [
        attribution.attribute(
            Flows(start_s=n * 900, stop_s=(n + 1) * 900, load_wh=100, own_wh={"sun": 300 if n == 0 else 0})
        )
        for n in range(4)
    ]
    hours = by_hour(quarters, FUELS)
    assert hours.is_hourly
    assert hours.hours == (MatchedHour(start_s=0, load_wh=400, clean_wh=100),)
    with pytest.raises(ValueError, match="more than one hour"):
        by_hour([attribution.attribute(Flows(start_s=5_400, stop_s=9_000, load_wh=1))], FUELS)


def test_emissions_are_told_by_location_and_by_market():
    attributed = Attribution(declare(), SOURCES).attribute(
        flows(10_000, own_wh={"river": 2_000}, contract_wh={"wind farm": 3_000})
    )
    told = emissions(
        [attributed],
        FUELS,
        frozenset({"wind farm"}),
        factors=CCAF,
        grid_g_per_kwh={0: Decimal(400)},
        residual_g_per_kwh={0: Decimal(600)},
    )
    assert told.location_mg == 8_000 * 400
    assert told.market_mg == 3_000 * 13 + 5_000 * 600
    assert told.own_mg == 2_000 * 21
    assert told.factors == "CCAF 2025, life cycle"
    assert told.market_t == Decimal("0.003039")


def test_take_or_pay_charges_what_was_not_taken():
    ppa = TakeOrPay(
        name="wind farm",
        price_per_mwh=Decimal(40),
        min_take_wh=10_000_000,
        shortfall_per_mwh=Decimal(25),
        currency="EUR",
    )
    assert ppa.settle(6_000_000) == (Decimal(240), 4_000_000, Decimal(100))
    assert ppa.settle(12_000_000) == (Decimal(480), 0, Decimal(0))
