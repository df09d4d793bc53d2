"""What a site file may say about energy, and what becomes of it."""

from __future__ import annotations

import tomllib
from datetime import date
from decimal import Decimal

import msgspec
import pytest

from hashwerk.energy.settings import AttributionSettings, EnergySettings
from hashwerk.energy.sources import AttributionError

TEXT = """
[tariff]
name = "kazakhstan-mining-2023"
circumstances = ["own power"]
account_from = 2024-01-02

[[sources]]
name = "river"
kind = "own"
fuel = "hydro"

[[sources]]
name = "wind farm"
kind = "contract"
fuel = "wind"
price_per_mwh = "41.5"
min_take_mwh = "12.5"
shortfall_per_mwh = 20

[attribution]
order = ["river", "wind farm"]
factors = "ccaf-2025"
"""


def decode(text: str) -> EnergySettings:
    return msgspec.convert(tomllib.loads(text, parse_float=Decimal), type=EnergySettings)


def test_a_site_file_becomes_tariff_sources_and_a_declaration():
    settings = decode(TEXT)
    assert settings.tariff.load().currency == "KZT"
    assert settings.tariff.facts().account_from == date(2024, 1, 2)
    assert [source.source().kind.value for source in settings.sources] == ["own", "contract"]
    assert settings.sources[0].take_or_pay("EUR") is None
    assert settings.sources[1].take_or_pay("EUR").min_take_wh == 12_500_000
    assert settings.attribution.factor_set().name == "CCAF"
    declared = settings.declare(99.5)
    assert (declared.declared_s, declared.start_s) == (99, 3_600)
    assert declared.factors.label == "CCAF 2025, life cycle"
    assert [source.name for source in declared.sources] == ["river", "wind farm"]


def test_nothing_set_is_a_site_on_the_market_alone():
    settings = decode("")
    assert settings.tariff.load() is None
    assert settings.sources == ()


@pytest.mark.parametrize(
    ("text", "says"),
    [
        (TEXT.replace('name = "wind farm"', 'name = "river"'), "two have one name"),
        (TEXT.replace('name = "wind farm"', 'name = "grid"'), "called 'grid'"),
        (TEXT.replace('"river", "wind farm"', '"sea"'), "no source 'sea'"),
        (TEXT.replace('fuel = "hydro"', 'fuel = "love"'), "love"),
        ("unknown = 1", "unknown"),
        (TEXT.replace('min_take_mwh = "12.5"', 'min_take_mwh = "-1"'), "not negative"),
        ("[grid]\ng_per_kwh = -1", "not negative"),
        ('[attribution]\nfactors = "mine"', "mine"),
    ],
)
def test_what_cannot_be_is_refused_with_its_name(text, says):
    with pytest.raises(msgspec.ValidationError, match=says):
        decode(text)


def test_a_rule_holds_from_the_next_full_hour_and_never_earlier():
    settings = decode(TEXT)
    assert settings.declare(7_200.0).start_s == 10_800, "the hour that begins now has begun"
    with pytest.raises(AttributionError, match="declared 1 s after"):
        msgspec.structs.replace(settings.declare(7_199.0), declared_s=7_201)
    with pytest.raises(AttributionError, match="full hour"):
        msgspec.structs.replace(settings.declare(7_199.0), start_s=7_201)


def test_the_grid_is_counted_by_its_factor_or_by_its_mix():
    factors = AttributionSettings(factors="ccaf-2025").factor_set()
    assert decode("[grid]\ng_per_kwh = 380").grid.intensity_g_per_kwh(factors) == 380
    assert decode("[grid.mix]\ncoal = 1\nhydro = 3").grid.intensity_g_per_kwh(factors) == Decimal("266")
    assert decode("").grid.intensity_g_per_kwh(factors) is None
